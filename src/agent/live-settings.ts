/** Puts changed settings into force while everything runs: only what changed is touched, other probes see no gap. */
import { isDeepStrictEqual } from 'node:util';
import type { Settings } from '../config/schema.ts';
import type { TapConfig } from '../kernel/config.ts';
import type { KernelTap } from '../kernel/tap.ts';
import { KERNEL_KINDS } from './kinds.ts';
import { kindsOf, sensitiveOf, tapConfigOf } from './tap-settings.ts';

export type SettableTap = Pick<KernelTap, 'configure' | 'setSensitive' | 'enable' | 'disable' | 'status' | 'snapshot'>;

/** What a change did, by the names of kinds. */
export interface SettingsChange {
  readonly turnedOn: readonly string[];
  readonly turnedOff: readonly string[];
}

const SOCKETS: ReadonlySet<number> = new Set(
  [...KERNEL_KINDS].filter(([name]) => name.startsWith('socket.')).map(([, kind]) => kind),
);
/** Long enough for execs to come in bursts, short enough that a new limit is felt at once. */
const LIMITED_BURST_SECONDS = 2;

export class LiveSettings {
  readonly #tap: SettableTap;
  #settings: Settings;
  #limit: number | undefined;

  /** `settings`: those that the tap was opened with. */
  constructor(tap: SettableTap, settings: Settings) {
    this.#tap = tap;
    this.#settings = settings;
  }

  get current(): Settings {
    return this.#settings;
  }

  /** Lowers the node's budget below what the settings say, with a short burst; undefined: as they say. */
  limitNode(perSecond: number | undefined): void {
    this.#limit = perSecond;
    this.#tap.configure(this.#tapConfig(this.#settings));
  }

  /** Applies them whole. Throws where the tap refuses a part, and takes the rest back. */
  apply(next: Settings): SettingsChange {
    const before = this.#settings;
    try {
      const change = this.#change(before, next);
      this.#settings = next;
      return change;
    } catch (error) {
      this.#change(next, before);
      throw error;
    }
  }

  #change(before: Settings, next: Settings): SettingsChange {
    const tap = this.#tap;
    const wanted = new Set(kindsOf(next));
    const had = new Set(kindsOf(before));
    const off = [...had].filter((kind) => !wanted.has(kind));
    const on = [...wanted].filter((kind) => !had.has(kind));
    // What goes goes first and what comes comes last, so that each kind is only ever taken by the settings meant for it.
    if (off.length > 0) tap.disable(off);
    if (!isDeepStrictEqual(tapConfigOf(before), tapConfigOf(next))) tap.configure(this.#tapConfig(next));
    if (!isDeepStrictEqual(sensitiveOf(before), sensitiveOf(next))) tap.setSensitive(sensitiveOf(next));
    if (on.length > 0) tap.enable(on);
    // Connections that are there already were not followed while no kind of theirs was on.
    const sockets = (kinds: Iterable<number>) => [...kinds].some((kind) => SOCKETS.has(kind));
    if (!sockets(had) && sockets(on)) tap.snapshot('socket');
    return { turnedOn: namesOf(on), turnedOff: namesOf(off) };
  }

  #tapConfig(settings: Settings): TapConfig {
    const config = tapConfigOf(settings);
    if (this.#limit === undefined) return config;
    const { nodePerSecond } = config.budgets;
    const limit = nodePerSecond === 0 ? this.#limit : Math.min(nodePerSecond, this.#limit);
    return { ...config, budgets: { ...config.budgets, nodePerSecond: limit, burstSeconds: LIMITED_BURST_SECONDS } };
  }
}

function namesOf(kinds: readonly number[]): string[] {
  return [...KERNEL_KINDS].filter(([, kind]) => kinds.includes(kind)).map(([name]) => name);
}
