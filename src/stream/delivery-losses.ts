// Events that did not reach the collector's disk, by reason and kind.

import type { EncodedBatch } from './batch.ts';
import { KIND_NAMES, KIND_SLOTS } from './event-kinds.ts';

/**
 * `queue`: dropped here; `spool`: lost on the disk; `collector`: refused there; `otlp`: either, on the way to the OTLP
 * receiver.
 */
export interface DeliveryLoss {
  readonly stage: 'queue' | 'spool' | 'collector' | 'otlp';
  readonly reason: string;
  /** '' : not known. */
  readonly kind: string;
  /** Events in this run; only grows. */
  readonly total: number;
  /** The total is a lower bound. */
  readonly unaccountable?: true;
}

/** Events of a batch, by kind and in all; their sequences where they stand in a row. */
export type CountedEvents = Pick<EncodedBatch, 'kinds' | 'events'> & { readonly firstSeq?: number };

/** Adds a batch's events by kind to a sum of KIND_SLOTS. */
export function addKinds(sum: Float64Array, kinds: ArrayLike<number>): void {
  for (let i = 0; i < kinds.length; i++) sum[i] = (sum[i] as number) + (kinds[i] as number);
}

/** Sequences among which events were lost; 0: not known. */
export interface SequenceSpan {
  readonly firstSeq: number;
  readonly lastSeq: number;
}

function spanOf({ firstSeq = 0, events }: CountedEvents): SequenceSpan {
  return { firstSeq, lastSeq: firstSeq === 0 ? 0 : firstSeq + events - 1 };
}

interface Entry {
  readonly stage: DeliveryLoss['stage'];
  readonly reason: string;
  readonly kinds: Float64Array;
  unaccountable: boolean;
  /** Of what was lost since it was told. */
  span: SequenceSpan | undefined;
}

export class DeliveryLosses {
  private readonly entries = new Map<string, Entry>();

  /** Counts a whole batch. */
  add(stage: DeliveryLoss['stage'], reason: string, batch: CountedEvents): void {
    this.addKinds(stage, reason, batch.kinds, spanOf(batch));
  }

  /** Counts events by kind. `unaccountable`: at least so many. */
  addKinds(
    stage: DeliveryLoss['stage'],
    reason: string,
    kinds: ArrayLike<number>,
    span: SequenceSpan,
    unaccountable = false,
  ): void {
    const entry = this.entryOf(stage, reason);
    addKinds(entry.kinds, kinds);
    entry.unaccountable ||= unaccountable;
    if (span.firstSeq === 0) return;
    const { firstSeq, lastSeq } = entry.span ?? span;
    entry.span = { firstSeq: Math.min(firstSeq, span.firstSeq), lastSeq: Math.max(lastSeq, span.lastSeq) };
  }

  /** Counts so many events of a batch, by kind where it has one kind alone; returns the kind's slot, else 0. */
  addSome(stage: DeliveryLoss['stage'], reason: string, batch: CountedEvents, events: number): number {
    let slot = 0;
    for (const [kind, count] of batch.kinds.entries()) {
      if (count === batch.events) slot = kind;
    }
    const kinds = new Float64Array(KIND_SLOTS);
    kinds[slot] = events;
    this.addKinds(stage, reason, kinds, spanOf(batch));
    return slot;
  }

  /** Where losses since the last call lie, by `stage reason`. */
  takeSpans(): ReadonlyMap<string, SequenceSpan> {
    const spans = new Map<string, SequenceSpan>();
    for (const [key, entry] of this.entries) {
      if (entry.span !== undefined) spans.set(key, entry.span);
      entry.span = undefined;
    }
    return spans;
  }

  /** One line for each stage, reason and kind that lost something. */
  totals(): DeliveryLoss[] {
    const out: DeliveryLoss[] = [];
    for (const { stage, reason, kinds, unaccountable } of this.entries.values()) {
      for (const [kind, total] of kinds.entries()) {
        if (total === 0) continue;
        const name = kind === 0 ? '' : (KIND_NAMES.get(kind) ?? `kind_${kind}`);
        out.push({ stage, reason, kind: name, total, ...(unaccountable ? { unaccountable: true as const } : {}) });
      }
    }
    return out;
  }

  private entryOf(stage: DeliveryLoss['stage'], reason: string): Entry {
    const key = `${stage} ${reason}`;
    let entry = this.entries.get(key);
    if (entry === undefined) {
      entry = { stage, reason, kinds: new Float64Array(KIND_SLOTS), unaccountable: false, span: undefined };
      this.entries.set(key, entry);
    }
    return entry;
  }
}
