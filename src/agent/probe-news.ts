import type { Logger } from 'pino';
import type { ProbeStatus } from '../kernel/probe-switch.ts';
import type { OwnEvent } from '../stream/encoder.ts';

/** Tells of each probe that is not as it was: one event, and a log line. */
export class ProbeNews {
  readonly #tell: (event: OwnEvent) => void;
  readonly #log: Logger;
  readonly #told = new Map<number, string>();

  constructor(tell: (event: OwnEvent) => void, log: Logger) {
    this.#tell = tell;
    this.#log = log;
  }

  /** `asked`: kinds that are to be on; others are no news before they were. */
  look(probes: readonly ProbeStatus[], asked: readonly number[]): void {
    for (const probe of probes) {
      const { kind, name, tier, state, reason } = probe;
      const now = `${state} ${tier} ${reason}`;
      const before = this.#told.get(kind);
      if (now === before || (before === undefined && (state === 'off' || !asked.includes(kind)))) continue;
      this.#told.set(kind, now);
      this.#tell({ probe: { kind: name, tier: tier ?? '', state, reason } });
      if (state === 'failed') this.#log.error({ probe: name, reason }, 'a probe failed; the others go on');
      else this.#log.debug({ probe: name, tier, state, reason }, 'probe');
    }
  }
}
