/**
 * Whether the books balance: what the kernel side saw is suppressed, lost, delivered or in flight, kind by kind, and
 * what is called in flight is really there. Every equation is between counters that are kept apart.
 */
import type { DeliveryLedger, LedgerSnapshot } from './ledger.ts';

type Counts = ReadonlyMap<string, number>;

/** Counters as they are at one moment. Counts are events; by name of kind, '' : not known. */
export interface BalanceInput {
  readonly ledger: Pick<LedgerSnapshot, 'kinds' | 'lost'>;
  /** Kinds that the kernel side makes events of. */
  readonly eventKinds: Iterable<string>;
  /** Bytes that wait in the rings. */
  readonly ringBytes: number;
  /** Taken from the rings, control records left out; and those that were skipped there. */
  readonly drained: number;
  readonly skipped: number;
  readonly held: number;
  /** Kernel events taken by the encoder, and refused by it. */
  readonly encoded: number;
  readonly refused: Counts;
  /** From here the agent's own events are among them. Sequences given. */
  readonly sequences: number;
  readonly openBatch: number;
  readonly accepted: Counts;
  readonly confirmed: Counts;
  /** Lost after they were accepted. */
  readonly undelivered: Counts;
  readonly queued: number;
  /** Undefined: no OTLP. */
  readonly otlp?: DeliveryLedger | undefined;
}

export interface KindBalance {
  /** '' : not known; what of the delivered above the collector refused. */
  readonly kind: string;
  readonly seen: number;
  readonly suppressed: number;
  readonly lost: number;
  readonly delivered: number;
  readonly inFlight: number;
}

/** One equation: what one side has more than the other. */
export interface Gap {
  /** hook, ring, encoder, batch, stream, otlp: up to where it was counted. */
  readonly at: string;
  readonly events: number;
}

export interface Balance {
  readonly kinds: readonly KindBalance[];
  /** Empty: the books balance. Acts and drains in progress may show for a moment. */
  readonly gaps: readonly Gap[];
  readonly balances: boolean;
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

const at = (counts: Counts, kind: string): number => counts.get(kind) ?? 0;

export function balanceOf(now: BalanceInput): Balance {
  const { ledger, refused, confirmed, undelivered } = now;
  const kinds: KindBalance[] = [];
  let unseen = 0;
  let emittedAll = 0;
  let policyAll = 0;
  for (const kind of now.eventKinds) {
    const line = ledger.kinds[kind];
    if (line === undefined) continue;
    const suppressed = sum(Object.values(line.suppressed));
    const lostInKernel = sum(Object.values(line.lost));
    const lostLater = at(undelivered, kind) + at(refused, kind);
    const delivered = at(confirmed, kind);
    unseen += Math.abs(line.seen - line.emitted - suppressed - lostInKernel);
    emittedAll += line.emitted;
    policyAll += line.suppressed['policy'] ?? 0;
    kinds.push({
      kind,
      seen: line.seen,
      suppressed,
      lost: lostInKernel + lostLater,
      delivered,
      inFlight: line.emitted - lostLater - delivered,
    });
  }
  // Of batches of several kinds: their kinds' lines have them as delivered.
  const takenBack = at(confirmed, '');
  if (takenBack !== 0) {
    kinds.push({ kind: '', seen: 0, suppressed: 0, lost: at(undelivered, ''), delivered: takenBack, inFlight: 0 });
  }
  // What a policy suppressed was taken from the rings first.
  const waiting = emittedAll + policyAll - now.drained - now.skipped;
  const given = sum(now.accepted.values());
  const equations: Gap[] = [
    { at: 'hook', events: unseen },
    { at: 'ring', events: now.ringBytes > 0 && waiting > 0 ? 0 : waiting },
    { at: 'encoder', events: now.drained - policyAll - now.held - now.encoded - sum(refused.values()) },
    { at: 'batch', events: now.sequences - now.openBatch - given },
    { at: 'stream', events: given - sum(confirmed.values()) - sum(undelivered.values()) - now.queued },
  ];
  if (now.otlp !== undefined) {
    const { accepted: taken, confirmed: had, inFlight, lost } = now.otlp;
    equations.push(
      { at: 'otlp', events: taken - had - inFlight - sum(lost.map(({ total }) => total)) },
      // What is handed to one way is handed to all.
      { at: 'batch', events: given - taken },
    );
  }
  const gaps = equations.filter(({ events }) => events !== 0);
  return { kinds, gaps, balances: gaps.length === 0 };
}
