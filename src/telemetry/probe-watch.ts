import type { ProbeReading } from './readings.ts';

/** Tells a probe that was lost from one that never was: the one is a fault of now, the other one of this node. */
export class ProbeWatch {
  readonly #was = new Set<string>();
  readonly #lost = new Map<string, string>();

  /** Probes as they are; called often enough to see each be on. */
  observe(probes: readonly ProbeReading[]): void {
    for (const { name, state, reason } of probes) {
      if (state === 'on') this.#was.add(name);
      else if (state === 'off') this.#was.delete(name);
      if (state === 'failed' && this.#was.has(name)) this.#lost.set(name, reason);
      else this.#lost.delete(name);
    }
  }

  /** Name -> why. */
  get lost(): ReadonlyMap<string, string> {
    return this.#lost;
  }
}
