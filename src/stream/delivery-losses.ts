// Events that did not reach the collector's disk, by reason and kind.

import type { EncodedBatch } from './batch.ts';
import { KIND_NAMES, KIND_SLOTS } from './event-kinds.ts';

/** `queue`: dropped here; `collector`: refused there. */
export interface DeliveryLoss {
  readonly stage: 'queue' | 'collector';
  readonly reason: string;
  readonly kind: string;
  /** Events in this run; only grows. */
  readonly total: number;
}

/** Adds a batch's events by kind to a sum of KIND_SLOTS. */
export function addKinds(sum: Float64Array, kinds: Uint32Array): void {
  for (let i = 0; i < kinds.length; i++) sum[i] = (sum[i] as number) + (kinds[i] as number);
}

export class DeliveryLosses {
  private readonly entries = new Map<string, { stage: DeliveryLoss['stage']; reason: string; kinds: Float64Array }>();

  /** Counts a whole batch. */
  add(stage: DeliveryLoss['stage'], reason: string, batch: EncodedBatch): void {
    const key = `${stage} ${reason}`;
    let entry = this.entries.get(key);
    if (entry === undefined) {
      entry = { stage, reason, kinds: new Float64Array(KIND_SLOTS) };
      this.entries.set(key, entry);
    }
    addKinds(entry.kinds, batch.kinds);
  }

  /** One line for each stage, reason and kind that lost something. */
  totals(): DeliveryLoss[] {
    const out: DeliveryLoss[] = [];
    for (const { stage, reason, kinds } of this.entries.values()) {
      for (const [kind, total] of kinds.entries()) {
        if (total > 0) out.push({ stage, reason, kind: KIND_NAMES.get(kind) ?? `kind_${kind}`, total });
      }
    }
    return out;
  }
}
