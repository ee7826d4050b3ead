/**
 * The books of one run: what the kernel side saw, by kind, and what became of it.
 * seen = emitted + suppressed + lost in the kernel, exactly, for every kind; what is lost after the ring stands by stage.
 */
import {
  KT_EMITTED,
  KT_FILTERED,
  KT_KIND_COUNT,
  KT_LOST_BUDGET,
  KT_LOST_NO_SLOT,
  KT_LOST_RING_FULL,
  KT_LOST_STATE_FULL,
  KT_LOST_TOO_BIG,
  KT_LOST_UNPAIRED,
  KT_NOTE_STATE_FULL,
  KT_NOTE_USER_FAULT,
  KT_REASON_COUNT,
  KT_SAMPLED,
  KT_SEEN,
  KT_SELF,
} from '../kernel/layout.gen.ts';
import type { LossBook } from './losses.ts';

const SUPPRESSED: ReadonlyMap<number, string> = new Map([
  [KT_FILTERED, 'filtered'],
  [KT_SAMPLED, 'sampled'],
  [KT_SELF, 'self'],
]);

const LOST: ReadonlyMap<number, string> = new Map([
  [KT_LOST_RING_FULL, 'ring_full'],
  [KT_LOST_BUDGET, 'budget'],
  [KT_LOST_NO_SLOT, 'no_slot'],
  [KT_LOST_UNPAIRED, 'unpaired'],
  [KT_LOST_STATE_FULL, 'state_map_full'],
  [KT_LOST_TOO_BIG, 'too_big'],
]);

const NOTES: ReadonlyMap<number, string> = new Map([
  [KT_NOTE_USER_FAULT, 'user_fault'],
  [KT_NOTE_STATE_FULL, 'tracker_map_full'],
]);

/** One kind's line; maps leave out what is zero. */
export interface KindLedger {
  readonly seen: number;
  readonly emitted: number;
  readonly suppressed: Readonly<Record<string, number>>;
  readonly lost: Readonly<Record<string, number>>;
  /** Not part of the sum: the event itself is among emitted or lost. */
  readonly notes: Readonly<Record<string, number>>;
}

/** What the user side counted. Records and events are the same number but for control records. */
export interface UserCounts {
  /** Taken from the rings, control records included. */
  readonly drained: number;
  readonly control: number;
  /** Encoded into batches. */
  readonly encoded: number;
  /** Confirmed as durable by the collector. */
  readonly acked: number;
  /** Waiting: held, in an open batch, in memory or on disk and not confirmed. */
  readonly inFlight: number;
  /** Of them on disk: a restart keeps them. */
  readonly spooled: number;
}

/** What is told of runs that are over: nothing of it is in this run's balance. */
export interface EarlierRuns {
  /** Their events that wait on disk, and those that were confirmed. */
  readonly spooled: number;
  readonly acked: number;
  readonly lost: readonly RunLoss[];
}

export interface RunLoss {
  /** In hex. */
  readonly run: string;
  readonly stage: string;
  readonly reason: string;
  readonly kind: string;
  readonly total: number;
  readonly unaccountable: boolean;
}

/** What became of the events that were handed to one way out: accepted = confirmed + lost + in flight. */
export interface DeliveryLedger {
  readonly accepted: number;
  readonly confirmed: number;
  readonly inFlight: number;
  readonly lost: readonly { readonly reason: string; readonly kind: string; readonly total: number }[];
}

export interface LedgerSnapshot {
  readonly kinds: Readonly<Record<string, KindLedger>>;
  readonly user: UserCounts;
  readonly lost: readonly { stage: string; reason: string; kind: string; total: number; unaccountable: boolean }[];
  /** Undefined: no spool. */
  readonly earlierRuns?: EarlierRuns;
  /** Undefined: no OTLP. The agent's own events are among them. */
  readonly otlp?: DeliveryLedger;
}

function pick(names: ReadonlyMap<number, string>, counters: BigUint64Array, base: number): Record<string, number> {
  const out: Record<string, number> = {};
  for (const [reason, name] of names) {
    const value = Number(counters[base + reason] ?? 0n);
    if (value !== 0) out[name] = value;
  }
  return out;
}

/** Fills the book with the kernel's losses; `counters` as EventSource.counters leaves them. */
export function noteKernelLosses(
  book: LossBook,
  counters: BigUint64Array,
  kindNames: ReadonlyMap<number, string>,
): void {
  for (let kind = 0; kind < KT_KIND_COUNT; kind++) {
    for (const [reason, name] of LOST) {
      const total = counters[kind * KT_REASON_COUNT + reason] ?? 0n;
      if (total !== 0n) book.note('kernel', name, kindNames.get(kind) ?? `kind_${kind}`, Number(total));
    }
  }
}

/**
 * The present state of the books as a plain object: for the exit line, the local socket and metrics. `byPolicy`: records
 * that were taken from the rings and suppressed by a policy then, by kind; they are not among the emitted.
 */
export function ledgerSnapshot(
  counters: BigUint64Array,
  kindNames: ReadonlyMap<number, string>,
  user: UserCounts,
  book: LossBook,
  byPolicy: ArrayLike<number> = [],
): LedgerSnapshot {
  const kinds: Record<string, KindLedger> = {};
  for (let kind = 0; kind < KT_KIND_COUNT; kind++) {
    const base = kind * KT_REASON_COUNT;
    const seen = Number(counters[base + KT_SEEN] ?? 0n);
    const notes = pick(NOTES, counters, base);
    const policy = byPolicy[kind] ?? 0;
    if (seen === 0 && Object.keys(notes).length === 0) continue;
    kinds[kindNames.get(kind) ?? `kind_${kind}`] = {
      seen,
      emitted: Number(counters[base + KT_EMITTED] ?? 0n) - policy,
      suppressed: { ...pick(SUPPRESSED, counters, base), ...(policy === 0 ? {} : { policy }) },
      lost: pick(LOST, counters, base),
      notes,
    };
  }
  return { kinds, user, lost: book.totals() };
}
