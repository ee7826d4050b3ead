// Losses of the run that is on, and of earlier ones whose events it found on disk.

import { DeliveryLosses } from './delivery-losses.ts';
import type { SpoolLoss } from './spool/losses.ts';

/** Runs that are kept apart; what more runs lost is counted under the last. */
const RUNS_MAX = 64;

export class RunLosses {
  readonly own = new DeliveryLosses();
  /** By run id in hex. */
  readonly others = new Map<string, DeliveryLosses>();
  private readonly run: string;

  /** `run`: the one that is on, in hex. */
  constructor(run: string) {
    this.run = run;
  }

  /** Undefined: of the run that is on. */
  of(run: string | undefined): DeliveryLosses {
    if (run === undefined || run === this.run) return this.own;
    const known = this.others.get(run) ?? (this.others.size < RUNS_MAX ? undefined : [...this.others.values()].at(-1));
    if (known !== undefined) return known;
    const losses = new DeliveryLosses();
    this.others.set(run, losses);
    return losses;
  }

  /** What the spool tells. */
  spool({ run, reason, kinds, firstSeq, lastSeq, unaccountable }: SpoolLoss): void {
    this.of(run).addKinds('spool', reason, kinds, { firstSeq, lastSeq }, unaccountable);
  }
}
