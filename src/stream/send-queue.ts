// Batches on their way: those in flight on the present stream, then those that wait, all in the order of their making.

import type { EncodedBatch } from './batch.ts';
import type { BufferPool } from './buffer-pool.ts';

/** A batch that is not confirmed yet. */
export interface Pending {
  readonly batch: EncodedBatch;
  /** On the present stream; 0: not sent on it. */
  streamSeq: number;
  /** Sent on some stream: a collector may have it. */
  readonly sent: boolean;
  /** A write was begun and its callback has not come: grpc-js may still read the buffer. */
  writing: boolean;
  /** Left the queue. */
  gone: boolean;
}

/** What waits and what travels. */
export interface QueueDepth {
  readonly batches: number;
  readonly events: number;
  /** Memory of their buffers. */
  readonly bytes: number;
}

export class SendQueue {
  /** Memory of all buffers in the queue. */
  bytes = 0;
  events = 0;
  /** Memory of those in flight. */
  inFlightBytes = 0;
  private readonly pending: Pending[] = [];
  /** pending[0..inFlight) are on the present stream. */
  private inFlight = 0;
  private readonly pool: BufferPool;

  constructor(pool: BufferPool) {
    this.pool = pool;
  }

  get depth(): QueueDepth {
    return { batches: this.pending.length, events: this.events, bytes: this.bytes };
  }

  get batchesInFlight(): number {
    return this.inFlight;
  }

  push(batch: EncodedBatch): void {
    this.pending.push({ batch, streamSeq: 0, sent: false, writing: false, gone: false });
    this.bytes += batch.buffer.length;
    this.events += batch.events;
  }

  /** The oldest batch that is not on the present stream. */
  next(): Pending | undefined {
    return this.pending[this.inFlight];
  }

  /** The first sequence of all; Infinity: there is none. */
  get firstSeq(): number {
    return this.pending.reduce((first, { batch }) => Math.min(first, batch.firstSeq), Number.POSITIVE_INFINITY);
  }

  /** `next` goes out under this number. Its buffer may be written to from here on: see EncodedBatch. */
  send(streamSeq: number): Pending | undefined {
    const pending = this.pending[this.inFlight];
    if (pending === undefined) return undefined;
    let { batch } = pending;
    // A dead stream's write may still read the buffer: leave that one to the garbage collector.
    if (pending.writing) batch = { ...batch, buffer: Buffer.from(batch.buffer) };
    // A new object: the late callback of an old write must not speak for this one.
    const sent = { batch, streamSeq, sent: true, writing: true, gone: false };
    this.pending[this.inFlight++] = sent;
    this.inFlightBytes += batch.buffer.length;
    return sent;
  }

  /** The write's callback came: the bytes are copied. */
  written(pending: Pending): void {
    pending.writing = false;
    if (pending.gone) this.pool.release(pending.batch.buffer);
  }

  /** Takes out what is confirmed up to a number; oldest first. */
  confirm(streamSeq: number): Pending[] {
    let count = 0;
    while (count < this.inFlight && (this.pending[count] as Pending).streamSeq <= streamSeq) count++;
    return this.remove(0, count);
  }

  /** Takes out one that is in flight. */
  take(streamSeq: number): Pending | undefined {
    for (let i = 0; i < this.inFlight; i++) {
      if (this.pending[i]?.streamSeq === streamSeq) return this.remove(i, 1)[0];
    }
    return undefined;
  }

  /** Takes out the oldest that is not in flight. */
  dropOldestUnsent(): Pending | undefined {
    return this.remove(this.inFlight, 1)[0];
  }

  /** Takes out the oldest that is not in flight and keeps its buffer: `putBack` or `release` has to follow. */
  lift(): Pending | undefined {
    const [pending] = this.pending.splice(this.inFlight, 1);
    if (pending === undefined) return undefined;
    this.bytes -= pending.batch.buffer.length;
    this.events -= pending.batch.events;
    return pending;
  }

  /** What was lifted waits again, before all others. */
  putBack(lifted: readonly Pending[]): void {
    this.pending.splice(this.inFlight, 0, ...lifted);
    for (const { batch } of lifted) {
      this.bytes += batch.buffer.length;
      this.events += batch.events;
    }
  }

  /** What was lifted is not needed any more. */
  release(lifted: Pending): void {
    lifted.gone = true;
    if (!lifted.writing) this.pool.release(lifted.batch.buffer);
  }

  /** The stream is gone: everything waits again. */
  rewind(): void {
    for (let i = 0; i < this.inFlight; i++) (this.pending[i] as Pending).streamSeq = 0;
    this.inFlight = 0;
    this.inFlightBytes = 0;
  }

  private remove(from: number, count: number): Pending[] {
    if (count === 0) return [];
    const removed = this.pending.splice(from, count);
    for (const pending of removed) {
      pending.gone = true;
      this.bytes -= pending.batch.buffer.length;
      this.events -= pending.batch.events;
      if (pending.streamSeq > 0) {
        this.inFlight--;
        this.inFlightBytes -= pending.batch.buffer.length;
      }
      if (!pending.writing) this.pool.release(pending.batch.buffer);
    }
    return removed;
  }
}
