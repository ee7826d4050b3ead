/**
 * What there is to say of the runs before this one, from what they wrote down and what is on disk: which events are gone
 * with them, and for how long nobody watched.
 */

import { KIND_NAMES } from '../stream/event-kinds.ts';
import type { FoundFrame } from '../stream/spool/recovery.ts';
import type { SpoolPosition } from '../stream/spool/spool.ts';
import { type Checkpoint, type KindCounts, type LossTotal, parseCheckpoint } from './checkpoint.ts';

/** A run that is over. */
export interface Ended {
  readonly run: string;
  /** It was not stopped, it was ended. */
  readonly killed: boolean;
  /** By name of kind: events that it had in memory alone, by its last checkpoint, and that are not on disk either. */
  readonly missing: ReadonlyMap<string, number>;
  /** What it had counted as lost, by its last checkpoint: the last of it may not have been told. */
  readonly lost: readonly LossTotal[];
  /** Those with a sequence are among these; 0: none has one. */
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** Boot clock, ns: its last word (0n: of another boot), and the start of the run that came next. */
  readonly fromNs: bigint;
  readonly toNs: bigint;
  readonly blindNs: bigint;
}

/** This run, as far as it matters here. */
export interface Successor {
  readonly bootId: string;
  /** When every probe was on. */
  readonly startNs: bigint;
  readonly wallMs: number;
}

const NS_PER_MS = 1_000_000n;

export class Predecessors {
  readonly #checkpoints = new Map<string, Checkpoint>();
  /** Events by run and kind that were stored after the run's last checkpoint and that it had in memory by then. */
  readonly #stored = new Map<string, Map<string, number>>();

  /** `values`: what their checkpoints hold. */
  constructor(values: Iterable<unknown>) {
    for (const value of values) {
      const checkpoint = parseCheckpoint(value);
      if (checkpoint !== undefined) this.#checkpoints.set(checkpoint.run, checkpoint);
    }
  }

  /** Segments up to this one may have been on a stream. */
  get readTo(): number {
    return Math.max(0, ...[...this.#checkpoints.values()].map(({ readTo }) => readTo));
  }

  /** A frame that is on disk. */
  found({ run, segment, at, firstSeq, kinds }: FoundFrame): void {
    const checkpoint = this.#checkpoints.get(run);
    if (checkpoint === undefined || firstSeq >= checkpoint.nextSeq) return;
    if (isBefore({ segment, at }, checkpoint.storedTo)) return;
    const counts = this.#stored.get(run) ?? new Map<string, number>();
    this.#stored.set(run, counts);
    for (const [kind, count] of kinds.entries()) {
      const name = KIND_NAMES.get(kind) ?? '';
      if (count > 0) counts.set(name, (counts.get(name) ?? 0) + count);
    }
  }

  /** All of them, the oldest first. */
  ended(successor: Successor): Ended[] {
    const runs = [...this.#checkpoints.values()].sort((a, b) => a.wallMs - b.wallMs);
    return runs.map((run, i): Ended => {
      const next = runs.slice(i + 1).find(({ startNs }) => startNs > 0n);
      const toNs = next?.startNs ?? successor.startNs;
      const boot = next?.bootId ?? successor.bootId;
      const sameBoot = run.bootId === boot && toNs >= run.timeNs;
      const byWall = BigInt(Math.max(0, Math.round((next?.wallMs ?? successor.wallMs) - run.wallMs))) * NS_PER_MS;
      const unsafe = run.oldestUnsafe < run.nextSeq;
      return {
        run: run.run,
        killed: !run.closed,
        missing: missingOf(run.inMemory, this.#stored.get(run.run) ?? new Map()),
        lost: run.lost,
        firstSeq: unsafe ? run.oldestUnsafe : 0,
        lastSeq: unsafe ? run.nextSeq - 1 : 0,
        fromNs: run.bootId === successor.bootId ? run.timeNs : 0n,
        toNs: boot === successor.bootId ? toNs : 0n,
        blindNs: sameBoot ? toNs - run.timeNs : byWall,
      };
    });
  }
}

function isBefore(a: SpoolPosition, b: SpoolPosition): boolean {
  return a.segment < b.segment || (a.segment === b.segment && a.at < b.at);
}

function missingOf(inMemory: KindCounts, stored: ReadonlyMap<string, number>): Map<string, number> {
  const missing = new Map<string, number>();
  for (const [kind, count] of Object.entries(inMemory)) {
    const left = count - (stored.get(kind) ?? 0);
    if (left > 0) missing.set(kind, left);
  }
  return missing;
}
