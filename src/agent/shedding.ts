import { KT_FILE_OPEN, KT_SOCKET_CONNECT } from '../kernel/layout.gen.ts';
import { KIND_SLOTS } from '../stream/event-kinds.ts';

/** Shares of the memory for unconfirmed batches from which on a family is not taken any more. */
const FILES_AT = 0.75;
const SOCKETS_AT = 0.9;

/**
 * While the collector does not keep up, what still fits is kept for what matters more: files go first, then sockets;
 * processes are taken until the queue itself drops its oldest batch. What is shed is counted by kind.
 */
export class Shedding {
  readonly counts = new Float64Array(KIND_SLOTS);
  #from = Number.POSITIVE_INFINITY;
  #to = Number.POSITIVE_INFINITY;

  /** @param fill of the queue, 0 to 1 */
  update(fill: number): void {
    this.#from = fill >= FILES_AT ? KT_FILE_OPEN : Number.POSITIVE_INFINITY;
    this.#to = fill >= SOCKETS_AT ? Number.POSITIVE_INFINITY : KT_SOCKET_CONNECT;
  }

  /** Whether an event of this kind is not taken now; it is counted. */
  sheds(kind: number): boolean {
    if (kind < this.#from || kind >= this.#to) return false;
    this.counts[kind] = (this.counts[kind] ?? 0) + 1;
    return true;
  }
}
