import { codeOf, reasonOf } from './failure.ts';
import type { Probe, Tier, TierName } from './probes.ts';
import type { ProgramSet } from './program-set.ts';

/** What a probe does now, for kerntap.probe, doctor and health. */
export interface ProbeStatus {
  readonly kind: number;
  readonly name: string;
  /** The tier it is on, or was on when it was turned off; undefined: none was found or tried. */
  readonly tier: TierName | undefined;
  readonly state: 'on' | 'off' | 'failed';
  /** Why it failed, tier by tier; on: what is missing from it, and why better tiers were refused. */
  readonly reason: string;
  /** Attached for it. */
  readonly programs: readonly string[];
}

/** Refusals that hold for every program of a tier: what one was told need not be asked for the next. */
export type TierRefusals = Map<TierName, string>;

/** Turns one probe on and off, choosing the first tier that loads and attaches. */
export class ProbeSwitch {
  readonly probe: Probe;
  readonly #programs: ProgramSet;
  readonly #refusals: TierRefusals;
  #tier: Tier | undefined;
  #state: ProbeStatus['state'] = 'off';
  #reason = '';
  #attached: string[] = [];

  constructor(probe: Probe, programs: ProgramSet, refusals: TierRefusals) {
    this.probe = probe;
    this.#programs = programs;
    this.#refusals = refusals;
  }

  get status(): ProbeStatus {
    const { kind, name } = this.probe;
    const tier = this.#state === 'failed' ? undefined : this.#tier?.tier;
    return { kind, name, tier, state: this.#state, reason: this.#reason, programs: [...this.#attached] };
  }

  get isOn(): boolean {
    return this.#state === 'on';
  }

  get isRaw(): boolean {
    return this.isOn && this.#tier?.tier === 'raw_syscall';
  }

  /** What the likeliest tier will ask for: so that several probes can be loaded at once. */
  likelyPrograms(failedOpens: boolean): readonly string[] {
    if (this.isOn) return [];
    const tier = this.#tier ?? this.probe.tiers.find((candidate) => !this.#refusals.has(candidate.tier));
    // A trampoline is often refused, and would take the others of its load with it.
    if (tier === undefined || tier.tier === 'trampoline') return [];
    return [...tier.required, ...wanted(tier, failedOpens)];
  }

  turnOn(failedOpens: boolean): void {
    if (this.isOn) return;
    const refused: string[] = [];
    const tiers = this.#tier === undefined ? this.probe.tiers : [this.#tier, ...this.probe.tiers];
    for (const tier of new Set(tiers)) {
      try {
        this.#turnOnBy(tier, failedOpens, refused);
        this.#tier = tier;
        this.#state = 'on';
        this.#reason = refused.join('; ');
        return;
      } catch (error) {
        const reason = error instanceof TierRefused ? error.message : reasonOf(error);
        // The same trampoline under its other name is no news.
        const line = `${tier.tier}: ${reason}`;
        if (!refused.includes(line)) refused.push(line);
        if (tier.tier === 'trampoline' && codeOf(error) === 'EPERM') this.#refusals.set(tier.tier, reason);
      }
    }
    this.#state = 'failed';
    this.#reason = refused.join('; ') || 'no program tells of it';
  }

  turnOff(): void {
    this.#detach(this.#attached);
    this.#state = 'off';
    this.#reason = '';
  }

  /** Attaches or detaches what only failed opens need. */
  followFailedOpens(failedOpens: boolean): void {
    const extra = this.#tier?.failedOpens;
    if (!this.isOn || this.#tier === undefined || extra === undefined) return;
    if (failedOpens) {
      const notes: string[] = [];
      this.#loadEach(extra, notes);
      this.#attachEach(extra, notes);
      this.#reason = [this.#reason, ...notes].filter(Boolean).join('; ');
    } else {
      this.#detach(this.#attached.filter((name) => extra.includes(name)));
    }
  }

  #turnOnBy(tier: Tier, failedOpens: boolean, notes: string[]): void {
    const refusal = this.#refusals.get(tier.tier);
    if (refusal !== undefined) throw new TierRefused(refusal);
    const { family } = this.probe;
    const optional = wanted(tier, failedOpens);
    try {
      this.#programs.load(family, [...tier.required, ...optional]);
    } catch (error) {
      if (optional.length === 0 || codeOf(error) === 'EPERM') throw error;
      this.#programs.load(family, tier.required);
      this.#loadEach(optional, notes);
    }
    const required = tier.required;
    try {
      this.#attachEach([...optional, ...required].sort(entriesFirst), notes, required);
    } catch (error) {
      this.#detach(this.#attached);
      throw error;
    }
  }

  #loadEach(names: readonly string[], notes: string[]): void {
    for (const name of names) {
      try {
        this.#programs.load(this.probe.family, [name]);
      } catch (error) {
        notes.push(`without ${name}: ${reasonOf(error)}`);
      }
    }
  }

  /** Attaches what is loaded; what is not required may be refused, and its hook may be missing on this kernel. */
  #attachEach(names: readonly string[], notes: string[], required: readonly string[] = []): void {
    for (const name of names) {
      if (!this.#programs.isLoaded(name) || this.#attached.includes(name)) continue;
      try {
        this.#programs.attach(name);
        this.#attached.push(name);
      } catch (error) {
        if (required.includes(name)) throw error;
        if (codeOf(error) !== 'ENOENT') notes.push(`without ${name}: ${reasonOf(error)}`);
      }
    }
  }

  #detach(names: readonly string[]): void {
    const gone = new Set(names);
    for (const name of [...gone].reverse()) this.#programs.detach(name);
    this.#attached = this.#attached.filter((name) => !gone.has(name));
  }
}

class TierRefused extends Error {}

function wanted(tier: Tier, failedOpens: boolean): string[] {
  return [...(failedOpens ? (tier.failedOpens ?? []) : []), ...(tier.optional ?? [])];
}

/** Stable: an exit without its entry would be counted as unpaired. */
function entriesFirst(a: string, b: string): number {
  return Number(a.includes('_exit')) - Number(b.includes('_exit'));
}
