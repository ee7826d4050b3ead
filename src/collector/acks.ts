import type { Rejected } from '../../proto/contract.ts';

/** Bytes of batches that are not durable yet. */
const OPEN_BYTES_MAX = 8 << 20;
/** Rejections that the peer was not told yet. */
const REJECTED_MAX = 256;
const REASON_CHARS_MAX = 200;

/** Sends one response; `sent` when it went out. */
export type Send = (ackedStreamSeq: bigint, rejected: readonly Rejected[], sent: () => void) => void;

/**
 * What one stream still owes its peer. Acks are cumulative, follow durability, and at most one is on its way: a peer
 * that does not read gets fewer, not a queue.
 */
export class Acks {
  readonly #send: Send;
  #takenSeq = 0n;
  #durableSeq = 0n;
  #sentSeq = 0n;
  #openBytes = 0;
  #rejected: Rejected[] = [];
  #sending = false;
  #over = false;
  #waiters: (() => void)[] = [];

  constructor(send: Send) {
    this.#send = send;
  }

  /** The stream_seq that must come next. */
  get nextSeq(): bigint {
    return this.#takenSeq + 1n;
  }

  /** The next batch is refused for good; `taken` follows. */
  reject(reason: string): void {
    this.#push(reason, 0n);
  }

  /** So many events of the next batch are refused for good, the others are taken; `taken` follows. */
  rejectEvents(reason: string, events: bigint): void {
    this.#push(reason, events);
  }

  #push(reason: string, events: bigint): void {
    this.#rejected.push({ streamSeq: this.nextSeq, reason: reason.slice(0, REASON_CHARS_MAX), events });
  }

  /** The next batch was taken or rejected: acknowledge it when `durable` resolves. Rejects as `durable` does. */
  async taken(bytes: number, durable: Promise<void>): Promise<void> {
    this.#takenSeq += 1n;
    const seq = this.#takenSeq;
    this.#openBytes += bytes;
    await durable;
    this.#durableSeq = seq;
    this.#openBytes -= bytes;
    this.#changed();
    // After all batches of the same commit, so that one ack stands for them.
    setImmediate(() => this.#ack());
  }

  /** Resolves when the next batch may be read. */
  async room(): Promise<void> {
    while (!this.#over && (this.#openBytes > OPEN_BYTES_MAX || this.#rejected.length > REJECTED_MAX)) {
      await this.#change();
    }
  }

  /** Resolves when everything taken is acknowledged, or the stream is over. */
  async settled(): Promise<void> {
    while (!this.#over && this.#sentSeq < this.#takenSeq) await this.#change();
  }

  /** Nothing more can be sent: lets go who waits. */
  end(): void {
    this.#over = true;
    this.#changed();
  }

  #change(): Promise<void> {
    return new Promise<void>((resolve) => this.#waiters.push(resolve));
  }

  #changed(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }

  #ack(): void {
    if (this.#sending || this.#over || this.#durableSeq === this.#sentSeq) return;
    const seq = this.#durableSeq;
    const rejected = this.#rejected.filter(({ streamSeq }) => streamSeq <= seq);
    this.#rejected = this.#rejected.filter(({ streamSeq }) => streamSeq > seq);
    this.#sending = true;
    this.#send(seq, rejected, () => {
      this.#sending = false;
      this.#sentSeq = seq;
      this.#changed();
      this.#ack();
    });
  }
}
