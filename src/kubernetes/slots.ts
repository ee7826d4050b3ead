import type { Placement } from './placement.ts';
import type { Workload } from './workload.ts';

/** One cgroup of the workload table. */
export class Slot {
  readonly placement: Placement;
  readonly low: number;
  readonly high: number;
  workload: Workload;
  removed = false;
  /** When the cgroup was first heard of; ms of the table's clock. */
  readonly since: number;
  /** Another cgroup with the same low half. */
  next: Slot | undefined = undefined;

  constructor(placement: Placement, workload: Workload, since: number) {
    this.placement = placement;
    this.low = lowOf(placement.id);
    this.high = highOf(placement.id);
    this.workload = workload;
    this.since = since;
  }
}

/**
 * Slots by cgroup id, without an allocation a look-up: both halves of the id are compared as signed 32-bit numbers,
 * which V8 keeps unboxed; an id joined to one number would be a heap object as Map key.
 */
export class SlotIndex {
  readonly #first = new Map<number, Slot>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The halves may be given signed or unsigned. */
  get(idLow: number, idHigh: number): Slot | undefined {
    let slot = this.#first.get(idLow | 0);
    const high = idHigh | 0;
    while (slot !== undefined && slot.high !== high) slot = slot.next;
    return slot;
  }

  find(id: bigint): Slot | undefined {
    return this.get(lowOf(id), highOf(id));
  }

  *[Symbol.iterator](): Iterator<Slot> {
    for (const first of this.#first.values()) {
      for (let slot: Slot | undefined = first; slot !== undefined; slot = slot.next) yield slot;
    }
  }

  /** The id must not be there yet. */
  insert(slot: Slot): void {
    slot.next = this.#first.get(slot.low);
    this.#first.set(slot.low, slot);
    this.#size++;
  }

  /** False where this very slot is not (or no longer) in the index. */
  delete(slot: Slot): boolean {
    let before: Slot | undefined;
    let at = this.#first.get(slot.low);
    while (at !== undefined && at !== slot) {
      before = at;
      at = at.next;
    }
    if (at === undefined) return false;
    if (before !== undefined) before.next = slot.next;
    else if (slot.next !== undefined) this.#first.set(slot.low, slot.next);
    else this.#first.delete(slot.low);
    this.#size--;
    return true;
  }
}

function lowOf(id: bigint): number {
  return Number(BigInt.asIntN(32, id));
}

function highOf(id: bigint): number {
  return Number(BigInt.asIntN(32, id >> 32n));
}
