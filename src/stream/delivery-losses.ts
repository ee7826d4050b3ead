// Events that did not reach the collector's disk, by reason and kind.

import type { EncodedBatch } from './batch.ts';
import { KIND_NAMES, KIND_SLOTS } from './event-kinds.ts';

/** `queue`: dropped here; `collector`: refused there; `otlp`: either, on the way to the OTLP receiver. */
export interface DeliveryLoss {
  readonly stage: 'queue' | 'collector' | 'otlp';
  readonly reason: string;
  /** '' : not known. */
  readonly kind: string;
  /** Events in this run; only grows. */
  readonly total: number;
}

/** Events of a batch, by kind and in all. */
export type CountedEvents = Pick<EncodedBatch, 'kinds' | 'events'>;

/** Adds a batch's events by kind to a sum of KIND_SLOTS. */
export function addKinds(sum: Float64Array, kinds: Uint32Array): void {
  for (let i = 0; i < kinds.length; i++) sum[i] = (sum[i] as number) + (kinds[i] as number);
}

export class DeliveryLosses {
  private readonly entries = new Map<string, { stage: DeliveryLoss['stage']; reason: string; kinds: Float64Array }>();

  /** Counts a whole batch. */
  add(stage: DeliveryLoss['stage'], reason: string, batch: CountedEvents): void {
    addKinds(this.kindsOf(stage, reason), batch.kinds);
  }

  /** Counts so many events of a batch, by kind where it has one kind alone; returns the kind's slot, else 0. */
  addSome(stage: DeliveryLoss['stage'], reason: string, batch: CountedEvents, events: number): number {
    const kinds = this.kindsOf(stage, reason);
    let slot = 0;
    for (const [kind, count] of batch.kinds.entries()) {
      if (count === batch.events) slot = kind;
    }
    kinds[slot] = (kinds[slot] as number) + events;
    return slot;
  }

  /** One line for each stage, reason and kind that lost something. */
  totals(): DeliveryLoss[] {
    const out: DeliveryLoss[] = [];
    for (const { stage, reason, kinds } of this.entries.values()) {
      for (const [kind, total] of kinds.entries()) {
        if (total > 0)
          out.push({ stage, reason, kind: kind === 0 ? '' : (KIND_NAMES.get(kind) ?? `kind_${kind}`), total });
      }
    }
    return out;
  }

  private kindsOf(stage: DeliveryLoss['stage'], reason: string): Float64Array {
    const key = `${stage} ${reason}`;
    let entry = this.entries.get(key);
    if (entry === undefined) {
      entry = { stage, reason, kinds: new Float64Array(KIND_SLOTS) };
      this.entries.set(key, entry);
    }
    return entry.kinds;
  }
}
