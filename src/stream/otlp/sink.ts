// Sends batches as OpenTelemetry logs to an OTLP receiver over gRPC. Its own queue and books: neither this sink nor the
// stream to the collector waits for the other. Batches wait as they are and become requests when there is a call for
// them, a little at a time, so that the drain of the rings goes on meanwhile.

import { decodeBatch } from '../../../proto/contract.ts';
import { Backoff } from '../backoff.ts';
import { batchBytes, type EncodedBatch, FRAME_HEADROOM } from '../batch.ts';
import { BufferPool } from '../buffer-pool.ts';
import { addKinds, type DeliveryLoss } from '../delivery-losses.ts';
import type { Dialer } from '../endpoints.ts';
import { KIND_SLOTS } from '../event-kinds.ts';
import { RunLosses } from '../run-losses.ts';
import { type QueueDepth, SendQueue } from '../send-queue.ts';
import type { StreamLogger } from '../stream-logger.ts';
import { ExportChannel } from './export-channel.ts';
import { type Exporting, type ExportRequest, LogRecords, type Unwritable } from './log-records.ts';
import { type Accepted, type CallFailure, judge } from './response.ts';

export interface OtlpSinkOptions {
  readonly dialer: Dialer;
  readonly exporting: Exporting;
  readonly log: StreamLogger;
  /** Metadata of every call, read for each channel anew. Throws where it cannot be had. */
  readonly headers?: () => Readonly<Record<string, string>>;
  /** Where losses are counted. */
  readonly lost?: RunLosses;
  /** Default gzip, which every receiver has to take. */
  readonly compression?: 'gzip' | 'none';
  /** Of one call; default 10 s. */
  readonly timeoutMs?: number;
  /** Calls at once; default 4. */
  readonly concurrency?: number;
  /** Memory for batches that are not confirmed; default 16 MiB. Beside it each call has its request. */
  readonly queueBytes?: number;
  /** A channel is opened anew after this, +-20 %; default 10 min. */
  readonly reopenMs?: number;
  readonly backoffMinMs?: number;
  readonly backoffMaxMs?: number;
  readonly random?: () => number;
}

/** waiting: until a failed call is tried again. connecting: since a failure or a refusal nothing was taken yet. */
export type SinkState = 'idle' | 'connecting' | 'open' | 'waiting' | 'closed';

/** Longest that it works before others have their turn. */
const TURN_MS = 2;
/** A request that failed so often while others went through is not the receiver's trouble but its own. */
const TRIES = 10;
/** Between two complaints of a kind. */
const COMPLAINT_MS = 10_000;

/** A batch that becomes requests. */
interface Conversion {
  readonly streamSeq: number;
  readonly batch: EncodedBatch;
  readonly steps: Iterator<ExportRequest | Unwritable | undefined, void>;
  /** Events by kind that are not in a request yet. */
  readonly left: Uint32Array;
  /** Requests that are not settled. */
  requests: number;
  made: boolean;
}

/** A request on its way. */
interface Flight {
  readonly request: ExportRequest;
  readonly of: Conversion;
  failures: number;
  /** Requests that had been confirmed when it failed first. */
  confirmedBefore: number;
}

interface TakenBatch extends EncodedBatch {
  /** When the sink was given it, ms since 1970. */
  readonly takenMs: number;
}

export class OtlpSink {
  /**
   * Events given to `send`, and those that the receiver took, by kind (event-kinds.ts). Slot 0 of the confirmed takes
   * back what it rejected of requests of several kinds.
   */
  readonly accepted = new Float64Array(KIND_SLOTS);
  readonly confirmed = new Float64Array(KIND_SLOTS);
  readonly lost: RunLosses;
  readonly stored: undefined;
  readonly confirmedOfOthers = 0;
  /** Bytes of the requests that were taken, before compression. */
  sentBytes = 0;
  state: SinkState = 'idle';
  /** Why it is not open; '' : it is, or nothing was tried yet. */
  problem = '';
  private readonly options: OtlpSinkOptions;
  private readonly log: StreamLogger;
  private readonly records: LogRecords;
  private readonly pool = new BufferPool();
  private readonly queue = new SendQueue(this.pool);
  private readonly queueBytes: number;
  private readonly concurrency: number;
  private readonly backoff: Backoff;
  private channel: ExportChannel | undefined;
  private conversion: Conversion | undefined;
  /** Requests that failed and are to be sent again. */
  private readonly again: Flight[] = [];
  private calling = 0;
  private confirmedRequests = 0;
  /** Events of batches in the queue that are confirmed or lost already. */
  private settledEvents = 0;
  private lastStreamSeq = 0;
  private turn: NodeJS.Immediate | undefined;
  private turnEndsMs = 0;
  private timer: NodeJS.Timeout | undefined;
  private retryAtMs = 0;
  /** When each was said last. */
  private readonly complainedMs = new Map<string, number>();
  private closing: Promise<QueueDepth> | undefined;
  private settled: (() => void) | undefined;

  constructor(options: OtlpSinkOptions) {
    this.options = options;
    this.log = options.log;
    this.records = new LogRecords(options.exporting);
    this.queueBytes = options.queueBytes ?? 16 << 20;
    this.concurrency = options.concurrency ?? 4;
    this.lost = options.lost ?? new RunLosses('');
    this.backoff = new Backoff(options.backoffMinMs ?? 500, options.backoffMaxMs ?? 30_000, options.random);
  }

  /** Share of the memory for unconfirmed batches that is taken, 0 to 1. */
  get fill(): number {
    return this.queue.bytes / this.queueBytes;
  }

  /** Batches that are not confirmed, with those of their events that are not. */
  get depth(): QueueDepth {
    const { batches, events, bytes } = this.queue.depth;
    return { batches, events: events - this.settledEvents, bytes };
  }

  start(): void {
    if (this.state !== 'idle') return;
    this.state = 'connecting';
    this.goOn();
  }

  /** Takes a copy of a batch. Where memory is short the oldest that is not under way is dropped whole, and counted. */
  send(batch: EncodedBatch): void {
    addKinds(this.accepted, batch.kinds);
    if (this.state === 'closed') {
      this.lost.own.add('otlp', 'closed', batch);
      return;
    }
    const { length, firstSeq, events, kinds } = batch;
    const buffer = this.pool.take(FRAME_HEADROOM + length);
    buffer.set(batchBytes(batch), FRAME_HEADROOM);
    const taken: TakenBatch = { buffer, length, firstSeq, events, kinds, takenMs: Date.now() };
    this.queue.push(taken);
    while (this.queue.bytes > this.queueBytes) {
      const dropped = this.queue.dropOldestUnsent();
      if (dropped === undefined) break;
      this.lost.own.add('otlp', 'overflow', dropped.batch);
    }
    this.goOn();
  }

  /** The next call is made on a new channel: the certificates changed. */
  reopen(): void {
    if (this.channel !== undefined) this.channel.stale = true;
  }

  /** Totals of what did not arrive, by reason and kind: the source of kerntap.loss. */
  losses(): DeliveryLoss[] {
    return this.lost.own.totals();
  }

  /** Waits until everything is settled, at most `timeoutMs`, and closes. Resolves to what is left. */
  shutdown(timeoutMs: number): Promise<QueueDepth> {
    this.closing ??= this.close(timeoutMs);
    return this.closing;
  }

  private async close(timeoutMs: number): Promise<QueueDepth> {
    if (this.queue.depth.batches > 0 && this.state !== 'idle') {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, timeoutMs);
        this.settled = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    clearTimeout(this.timer);
    clearImmediate(this.turn);
    this.state = 'closed';
    this.channel?.cancel();
    const left = this.depth;
    if (left.events > 0) this.log.warn({ ...left }, 'stopped with events that the OTLP receiver did not confirm');
    return left;
  }

  /** Lets the work begin, or go on, in a turn of its own. */
  private goOn(): void {
    if (this.turn !== undefined || (this.state !== 'open' && this.state !== 'connecting')) return;
    this.turn = setImmediate(() => {
      this.turn = undefined;
      this.work();
    });
  }

  private work(): void {
    this.turnEndsMs = performance.now() + TURN_MS;
    while (this.state === 'open' || this.state === 'connecting') {
      const failed = this.calling < this.concurrency ? this.again.shift() : undefined;
      if (failed !== undefined) {
        this.call(failed);
        continue;
      }
      if (this.calling + this.again.length >= this.concurrency) return;
      this.conversion ??= this.nextConversion();
      if (this.conversion === undefined) return;
      this.step(this.conversion);
      if (performance.now() >= this.turnEndsMs) {
        this.goOn();
        return;
      }
    }
  }

  private nextConversion(): Conversion | undefined {
    const pending = this.queue.send(this.lastStreamSeq + 1);
    if (pending === undefined) return undefined;
    const streamSeq = ++this.lastStreamSeq;
    const { batch } = pending;
    // Nothing of grpc-js reads this buffer: requests are copies.
    this.queue.written(pending);
    const takenMs = (batch as Partial<TakenBatch>).takenMs ?? Date.now();
    const steps = this.stepsOf(batch, takenMs);
    return { streamSeq, batch, steps, left: batch.kinds.slice(), requests: 0, made: false };
  }

  private *stepsOf(batch: EncodedBatch, takenMs: number): Generator<ExportRequest | Unwritable | undefined, void> {
    const decoded = decodeBatch(batchBytes(batch));
    yield* this.records.requestsOf(decoded, takenMs, () => performance.now() >= this.turnEndsMs);
  }

  private step(conversion: Conversion): void {
    let result: IteratorResult<ExportRequest | Unwritable | undefined, void>;
    try {
      result = conversion.steps.next();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.complain(
        { reason, first_seq: conversion.batch.firstSeq },
        'a batch could not be told as OpenTelemetry logs',
      );
      result = { done: true, value: undefined };
    }
    if (result.done) {
      this.made(conversion);
      return;
    }
    const step = result.value;
    if (step === undefined || 'refused' in step) return;
    for (const [kind, count] of step.kinds.entries()) conversion.left[kind] = (conversion.left[kind] ?? 0) - count;
    conversion.requests++;
    this.call({ request: step, of: conversion, failures: 0, confirmedBefore: 0 });
  }

  /** Every request of a batch is made: what is in none will not be. */
  private made(conversion: Conversion): void {
    this.conversion = undefined;
    conversion.made = true;
    const events = conversion.left.reduce((sum, count) => sum + count, 0);
    if (events > 0) {
      this.lost.own.add('otlp', 'unwritable', { kinds: conversion.left, events });
      this.settledEvents += events;
    }
    this.settle(conversion);
  }

  private settle(conversion: Conversion): void {
    if (!conversion.made || conversion.requests > 0) return;
    this.settledEvents -= conversion.batch.events;
    this.queue.take(conversion.streamSeq);
    if (this.queue.depth.batches === 0) this.settled?.();
  }

  private call(flight: Flight): void {
    let channel: ExportChannel;
    try {
      channel = this.openChannel();
    } catch (error) {
      this.again.push(flight);
      this.wait(error instanceof Error ? error.message : String(error), undefined);
      return;
    }
    this.calling++;
    channel.export(flight.request.bytes, (failure, accepted) => {
      this.calling--;
      if (this.state === 'closed') return;
      if (failure === null) this.accept(flight, accepted);
      else this.failed(flight, failure, channel);
      this.goOn();
    });
  }

  private openChannel(): ExportChannel {
    if (this.channel !== undefined && !this.channel.stale) return this.channel;
    const target = this.options.dialer.target();
    this.channel?.retire();
    const {
      compression = 'gzip',
      timeoutMs = 10_000,
      reopenMs = 600_000,
      random = Math.random,
      headers,
    } = this.options;
    this.channel = new ExportChannel(target, {
      headers: headers?.() ?? {},
      compression,
      timeoutMs,
      lifeMs: reopenMs * (0.8 + 0.4 * random()),
    });
    return this.channel;
  }

  private accept({ request, of }: Flight, { rejected, message }: Accepted): void {
    if (this.state !== 'open' && this.state !== 'waiting') {
      this.log.info({ receiver: this.channel?.target.address }, 'the OTLP receiver takes events');
    }
    if (this.state === 'connecting') this.state = 'open';
    if (this.state === 'open') this.problem = '';
    this.backoff.reset();
    this.options.dialer.worked();
    this.confirmedRequests++;
    this.sentBytes += request.bytes.length;
    addKinds(this.confirmed, request.kinds);
    const refused = Math.min(rejected, request.events);
    if (refused > 0) {
      const slot = this.lost.own.addSome('otlp', 'rejected', request, refused);
      this.confirmed[slot] = (this.confirmed[slot] ?? 0) - refused;
      this.complain({ reason: message, events: refused }, 'the OTLP receiver rejected events');
    } else if (message !== '') {
      this.complain({ reason: message }, 'the OTLP receiver warns');
    }
    this.done(of, request);
  }

  private failed(flight: Flight, failure: CallFailure, channel: ExportChannel): void {
    const { request, of } = flight;
    const { retry, afterMs, reason } = judge(failure);
    const message = this.options.dialer.explain(channel.target, failure.details);
    if (!retry) {
      this.complain({ status: reason, reason: message, events: request.events }, 'the OTLP receiver refused events');
      if (this.state === 'open') this.state = 'connecting';
      if (this.state === 'connecting') this.problem = `${reason}: ${message}`;
      this.drop(of, request, reason);
      return;
    }
    if (flight.failures++ === 0) flight.confirmedBefore = this.confirmedRequests;
    if (flight.failures >= TRIES && this.confirmedRequests > flight.confirmedBefore) {
      this.complain({ status: reason, reason: message, events: request.events }, 'events that do not get through');
      this.drop(of, request, 'undeliverable');
      return;
    }
    this.again.push(flight);
    // The pace of coming back is decided here; a new channel resolves the name again, and reads the certificates.
    if (this.channel === channel) channel.stale = true;
    this.wait(message, afterMs, reason);
  }

  private drop(of: Conversion, request: ExportRequest, reason: string): void {
    this.lost.own.add('otlp', reason, request);
    this.done(of, request);
  }

  private done(of: Conversion, request: ExportRequest): void {
    this.settledEvents += request.events;
    of.requests--;
    this.settle(of);
  }

  /** What may be said for every request: each seldom; how much it was is in the books. */
  private complain(fields: object, message: string): void {
    const nowMs = performance.now();
    if (nowMs - (this.complainedMs.get(message) ?? Number.NEGATIVE_INFINITY) < COMPLAINT_MS) return;
    this.complainedMs.set(message, nowMs);
    this.log.warn(fields, message);
  }

  /** No call before the back-off is over, or before the receiver wants one, where it says so. */
  private wait(reason: string, afterMs: number | undefined, status = ''): void {
    const known = this.state === 'waiting';
    if (this.state === 'closed' || (known && afterMs === undefined)) return;
    const delay = Math.max(afterMs ?? 0, known ? 0 : this.backoff.next());
    const at = performance.now() + delay;
    if (known && at <= this.retryAtMs) return;
    if (!known) {
      this.options.dialer.over(true);
      const { batches, events } = this.depth;
      this.log.warn(
        { status, reason, retry_ms: Math.round(delay), batches, events },
        'no answer from the OTLP receiver',
      );
    }
    this.state = 'waiting';
    this.problem = reason;
    this.retryAtMs = at;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.state = 'connecting';
      this.goOn();
    }, delay);
  }
}
