// What is not confirmed yet, in two lanes: live batches in memory, and a backlog on disk. Memory moves to the disk when it
// fills or when there is no stream for a while; while the collector keeps up nothing is written. On a stream both lanes
// take turns, so that what happens now is seen now.

import { batchBytes, type EncodedBatch } from './batch.ts';
import type { BufferPool } from './buffer-pool.ts';
import type { DeliveryLosses } from './delivery-losses.ts';
import { type Pending, type QueueDepth, SendQueue } from './send-queue.ts';
import type { FrameContent } from './spool/format.ts';
import type { Spool, SpoolReading } from './spool/spool.ts';
import type { StoredBatch } from './spool/spool-reader.ts';
import { Turns } from './turns.ts';

export interface OutboxOptions {
  readonly pool: BufferPool;
  readonly lost: DeliveryLosses;
  /** Memory for batches that are neither confirmed nor on disk. */
  readonly queueBytes: number;
  /** Undefined: memory is all there is. */
  readonly spool: Spool | undefined;
  /** Without a stream for so long everything goes to the disk as it comes. */
  readonly spoolAfterMs: number;
  /** Share of the stream for what is on disk, 0 to 1, while both lanes have something. */
  readonly catchUpShare: number;
  /** There is more to send. */
  readonly onMore: () => void;
}

/** Of the memory: above it the oldest go to the disk. */
const SPOOL_AT = 0.5;
/** Written at once. */
const WRITE_BYTES = 1 << 20;
/** Read from the disk ahead of the stream. */
const READ_AHEAD_BYTES = 512 * 1024;
/** How often it is looked whether the disk takes again what it refused. */
const RETRY_MS = 500;

function isStored(batch: EncodedBatch): batch is StoredBatch {
  return 'segment' in batch;
}

export class Outbox {
  private readonly options: OutboxOptions;
  private readonly live: SendQueue;
  private readonly backlog: SendQueue;
  private readonly turns: Turns;
  /** On their way to the disk. */
  private spilling: Pending[] = [];
  private spillingBytes = 0;
  private spillingEvents = 0;
  private reading = false;
  private closing = false;
  private streaming = false;
  private downSince = performance.now();
  private retry: NodeJS.Timeout | undefined;

  constructor(options: OutboxOptions) {
    this.options = options;
    this.live = new SendQueue(options.pool);
    this.backlog = new SendQueue(options.pool);
    this.turns = new Turns(options.catchUpShare);
    if (options.spool !== undefined) options.spool.onUnread = () => this.readAhead();
  }

  /** What is in memory alone: live batches, and those on their way to the disk. */
  get depth(): QueueDepth {
    const { batches, events, bytes } = this.live.depth;
    return {
      batches: batches + this.spilling.length,
      events: events + this.spillingEvents,
      bytes: bytes + this.spillingBytes,
    };
  }

  /** Share of the memory that is taken, 0 to 1. */
  get fill(): number {
    return (this.live.bytes + this.spillingBytes) / this.options.queueBytes;
  }

  get stored(): SpoolReading | undefined {
    return this.options.spool?.read;
  }

  /** Events of this run that are stored and not confirmed, by kind. */
  get storedKinds(): Float64Array {
    return this.options.spool?.segments.own ?? new Float64Array(0);
  }

  get inFlightBytes(): number {
    return this.live.inFlightBytes + this.backlog.inFlightBytes;
  }

  get batchesInFlight(): number {
    return this.live.batchesInFlight + this.backlog.batchesInFlight;
  }

  /** Sequence of the oldest event of this run that is in memory alone; Infinity: there is none. */
  get oldestUnsafe(): number {
    return this.spilling.reduce((oldest, { batch }) => Math.min(oldest, batch.firstSeq), this.live.firstSeq);
  }

  /** Takes a batch over. Where neither memory nor disk has room the oldest that is not on the stream is lost, whole. */
  push(batch: EncodedBatch): void {
    this.live.push(batch);
    this.spill();
    while (this.live.bytes + this.spillingBytes > this.options.queueBytes) {
      const dropped = this.live.dropOldestUnsent();
      if (dropped === undefined) return;
      this.options.lost.add('queue', dropped.sent ? 'evicted_unconfirmed' : 'overflow', dropped.batch);
    }
  }

  /** The next batch goes out under this number. Its buffer may be written to from here on: see EncodedBatch. */
  send(streamSeq: number): Pending | undefined {
    const lane = this.turns.next(this.live.next()?.batch.length, this.backlog.next()?.batch.length);
    if (lane === undefined) return undefined;
    const pending = this[lane].send(streamSeq);
    if (lane === 'backlog') this.readAhead();
    return pending;
  }

  /** The write's callback came: the bytes are copied. */
  written(pending: Pending): void {
    this.live.written(pending);
  }

  /** Takes out what is confirmed up to a number. */
  confirm(streamSeq: number): Pending[] {
    const confirmed = [...this.live.confirm(streamSeq), ...this.settled(this.backlog.confirm(streamSeq))];
    this.readAhead();
    return confirmed;
  }

  /** Takes out one that is in flight. */
  take(streamSeq: number): Pending | undefined {
    const taken = this.live.take(streamSeq);
    if (taken !== undefined) return taken;
    const stored = this.backlog.take(streamSeq);
    return stored === undefined ? undefined : this.settled([stored])[0];
  }

  /** There is a stream, which takes batches. */
  connected(): void {
    this.streaming = true;
    this.readAhead();
  }

  /** The stream is gone: everything waits again. */
  rewind(): void {
    this.live.rewind();
    this.backlog.rewind();
    if (this.streaming) this.downSince = performance.now();
    this.streaming = false;
    this.spill();
  }

  /** What is not confirmed goes to the disk, within `timeoutMs`. Resolves to what could not. */
  async close(timeoutMs: number): Promise<QueueDepth> {
    this.closing = true;
    this.rewind();
    clearTimeout(this.retry);
    const { spool } = this.options;
    if (spool === undefined) return this.depth;
    const deadline = performance.now() + timeoutMs;
    const tick = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 10));
    await Promise.race([spool.opened, new Promise((resolve) => setTimeout(resolve, timeoutMs).unref())]);
    while (this.depth.batches > 0 && performance.now() < deadline) {
      this.spill();
      if (this.spilling.length === 0) break;
      await tick();
    }
    await spool.close(Math.max(0, deadline - performance.now()));
    this.dropUnstored();
    return this.depth;
  }

  /** Read from a segment that was deleted since, and not confirmed: nothing has it now. */
  private dropUnstored(): void {
    for (let one = this.backlog.dropOldestUnsent(); one !== undefined; one = this.backlog.dropOldestUnsent()) {
      const { batch } = one;
      if (!isStored(batch) || !batch.segment.gone) continue;
      this.options.spool?.drop(batch, one.sent ? 'evicted_unconfirmed' : 'evicted');
    }
  }

  private settled(confirmed: Pending[]): Pending[] {
    for (const { batch } of confirmed) if (isStored(batch)) this.options.spool?.settle(batch);
    return confirmed;
  }

  /** Starts to move batches to the disk, where that is due. */
  private spill(): void {
    const { spool, queueBytes } = this.options;
    if (spool === undefined || this.spilling.length > 0) return;
    const keepBytes = this.wantsDisk() ? 0 : SPOOL_AT * queueBytes;
    if (this.live.bytes <= keepBytes || this.live.next() === undefined) return;
    if (!spool.accepts) {
      this.again();
      return;
    }
    const frames: FrameContent[] = [];
    while (this.live.bytes > keepBytes && this.spillingBytes < WRITE_BYTES) {
      const pending = this.live.lift();
      if (pending === undefined) break;
      const { batch, sent } = pending;
      this.spilling.push(pending);
      this.spillingBytes += batch.buffer.length;
      this.spillingEvents += batch.events;
      const { firstSeq, events, kinds } = batch;
      frames.push({ bytes: batchBytes(batch), firstSeq, events, sent, kinds });
    }
    void spool.append(frames).then((stored) => this.spilled(stored));
  }

  private spilled(stored: boolean): void {
    const lifted = this.spilling;
    this.spilling = [];
    this.spillingBytes = 0;
    this.spillingEvents = 0;
    if (stored) {
      for (const pending of lifted) this.live.release(pending);
      this.spill();
    } else {
      this.live.putBack(lifted);
      this.again();
      this.options.onMore();
    }
  }

  /** Whether everything is to go to the disk. */
  private wantsDisk(): boolean {
    if (this.closing) return true;
    if (this.streaming) return false;
    const left = this.downSince + this.options.spoolAfterMs - performance.now();
    if (left > 0) this.again(left);
    return left <= 0;
  }

  private again(afterMs = RETRY_MS): void {
    if (this.retry !== undefined || this.closing) return;
    this.retry = setTimeout(() => {
      this.retry = undefined;
      this.spill();
    }, afterMs);
    this.retry.unref();
  }

  /** Keeps some batches of the disk ready for the stream. */
  private readAhead(): void {
    const { spool, pool } = this.options;
    if (spool === undefined || this.reading || !this.streaming || this.closing) return;
    if (this.backlog.bytes - this.backlog.inFlightBytes >= READ_AHEAD_BYTES) return;
    this.reading = true;
    void spool.next(pool).then((batch) => {
      this.reading = false;
      if (batch === undefined) return;
      this.backlog.push(batch);
      if (this.streaming) this.options.onMore();
      this.readAhead();
    });
  }
}
