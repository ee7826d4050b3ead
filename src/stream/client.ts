// EventCollector.Publish: sends batches, keeps each until it is confirmed, and sends it again on the next stream
// otherwise. At least once on the wire; a batch's identity is its run and sequences, so a reader drops repeats.

import { encodePublishRequest, type Hello, type PublishResponse, type Sparse } from '../../proto/contract.ts';
import { Backoff } from './backoff.ts';
import { type EncodedBatch, frame } from './batch.ts';
import { BufferPool } from './buffer-pool.ts';
import { Connection, DEADLINE_EXCEEDED, type Ended } from './connection.ts';
import { addKinds, type DeliveryLoss } from './delivery-losses.ts';
import type { Dialer, Target } from './endpoints.ts';
import { KIND_SLOTS } from './event-kinds.ts';
import { Outbox } from './outbox.ts';
import { RunLosses } from './run-losses.ts';
import type { QueueDepth } from './send-queue.ts';
import type { Spool, SpoolReading } from './spool/spool.ts';
import type { StreamLogger } from './stream-logger.ts';

export interface PublishClientOptions {
  /** Says where each stream goes. */
  readonly dialer: Dialer;
  readonly hello: Sparse<Hello>;
  readonly log: StreamLogger;
  /** The encoder's, so that confirmed buffers are used again. */
  readonly pool?: BufferPool;
  /** Memory for batches that are not confirmed; default 16 MiB. */
  readonly queueBytes?: number;
  /** Where batches go that memory is not for; the client closes it. */
  readonly spool?: Spool | undefined;
  /** Where losses are counted, the spool's among them. */
  readonly lost?: RunLosses;
  /** Without a stream for so long everything goes to the spool as it comes; default 2 s. */
  readonly spoolAfterMs?: number;
  /** Share of the stream for what is in the spool, while there are newer events too; default 0.5. */
  readonly catchUpShare?: number;
  /** Of them on the stream at once; default 4 MiB. */
  readonly inFlightBytes?: number;
  /** Without progress of the acknowledgements for so long the stream is opened again; default 30 s. */
  readonly ackDeadlineMs?: number;
  /** A healthy stream is opened again after this, +-20 %; default 10 min. */
  readonly reopenMs?: number;
  /** Most that a connection may take, 20 s by default; the first try has an eighth, and each that took too long doubles it. */
  readonly connectTimeoutMs?: number;
  readonly backoffMinMs?: number;
  readonly backoffMaxMs?: number;
  readonly random?: () => number;
}

/**
 * Where a collector's pod was replaced, packets may still go to the old one, which nobody answers: another try has another
 * port, and gets through. One that is busy with all its agents at once gets more time try by try.
 */
const FIRST_CONNECT = 1 / 8;
/** How long a collector may take to end a stream on which nothing is under way, at shutdown. */
const FAREWELL_MS = 1000;
/** And the spool, to take what is not confirmed then. */
const SPOOL_STOP_MS = 2500;

/** Where the client stands. A connection belongs to exactly one state. */
export type ClientState =
  | { readonly name: 'idle' }
  | { readonly name: 'connecting'; readonly connection: Connection }
  | { readonly name: 'open'; readonly connection: Connection; readonly since: number }
  /** Half-closed: the last acknowledgements are awaited, then the next stream is opened. */
  | { readonly name: 'draining'; readonly connection: Connection; readonly since: number }
  | { readonly name: 'waiting'; readonly retryAt: number }
  | { readonly name: 'closed' };

/** What of a batch that was given in time did not get through. */
export type Unconfirmed = QueueDepth;

export class PublishClient {
  /**
   * Events given to `send`, and those confirmed as durable, by kind (event-kinds.ts). Slot 0 of the confirmed takes back
   * what the collector refused of batches of several kinds.
   */
  readonly accepted = new Float64Array(KIND_SLOTS);
  readonly confirmed = new Float64Array(KIND_SLOTS);
  /** What did not arrive, of this run and of earlier ones. */
  readonly lost: RunLosses;
  /** When the collector last confirmed anything, ms since 1970; 0: never. */
  lastAckMs = 0;
  /** Events of earlier runs that were confirmed. */
  confirmedOfOthers = 0;
  /** Why there is no stream; '' while there is one. */
  problem = '';
  private current: ClientState = { name: 'idle' };
  private readonly options: PublishClientOptions;
  private readonly log: StreamLogger;
  private hello: Uint8Array;
  private readonly outbox: Outbox;
  private readonly inFlightBytes: number;
  private readonly ackDeadlineMs: number;
  private readonly backoff: Backoff;
  /** Events refused of batches in flight that are not confirmed yet, by stream_seq. */
  private readonly refused = new Map<number, number>();
  private lastStreamSeq = 0;
  private ackedStreamSeq = 0;
  private blocked = false;
  /** Connections in a row that took too long. */
  private slow = 0;
  /** Of the present stream, or of the last. */
  private target: Target | undefined;
  private ackTimer: NodeJS.Timeout | undefined;
  private timer: NodeJS.Timeout | undefined;
  private closing: Promise<Unconfirmed> | undefined;
  private settled: (() => void) | undefined;

  constructor(options: PublishClientOptions) {
    this.options = options;
    this.log = options.log;
    this.hello = encodePublishRequest({ hello: options.hello });
    this.lost = options.lost ?? new RunLosses('');
    const queueBytes = options.queueBytes ?? 16 << 20;
    this.outbox = new Outbox({
      pool: options.pool ?? new BufferPool(),
      lost: this.lost.own,
      queueBytes,
      spool: options.spool,
      spoolAfterMs: options.spoolAfterMs ?? 2000,
      catchUpShare: options.catchUpShare ?? 0.5,
      onMore: () => this.pump(),
    });
    this.inFlightBytes = Math.min(options.inFlightBytes ?? 4 << 20, queueBytes);
    this.ackDeadlineMs = options.ackDeadlineMs ?? 30_000;
    this.backoff = new Backoff(options.backoffMinMs ?? 500, options.backoffMaxMs ?? 30_000, options.random);
  }

  get state(): ClientState['name'] {
    return this.current.name;
  }

  /** Share of the memory for unconfirmed batches that is taken, 0 to 1. */
  get fill(): number {
    return this.outbox.fill;
  }

  /** Batches that are in memory alone, not confirmed. */
  get depth(): QueueDepth {
    return this.outbox.depth;
  }

  /** Sequence of the oldest event of this run that is in memory alone; Infinity: there is none. */
  get oldestUnsafe(): number {
    return this.outbox.oldestUnsafe;
  }

  /** Events of this run that are on disk, by kind. */
  get storedKinds(): Float64Array {
    return this.outbox.storedKinds;
  }

  /** What is on disk; undefined: no spool. */
  get stored(): SpoolReading | undefined {
    return this.outbox.stored;
  }

  start(): void {
    if (this.current.name === 'idle') this.connect();
  }

  /** Other facts of the node, from the next stream on. */
  greetWith(hello: Sparse<Hello>): void {
    this.hello = encodePublishRequest({ hello });
  }

  /** Takes a batch over. Where memory and disk are short the oldest is dropped whole, and counted. */
  send(batch: EncodedBatch): void {
    addKinds(this.accepted, batch.kinds);
    if (this.current.name === 'closed') {
      this.lost.own.add('queue', 'closed', batch);
      return;
    }
    this.outbox.push(batch);
    this.pump();
  }

  /** Totals of what did not arrive, by stage, reason and kind: the source of kerntap.loss. */
  losses(): DeliveryLoss[] {
    return this.lost.own.totals();
  }

  /**
   * Waits until what is in memory is confirmed, at most `timeoutMs`; the rest goes to the spool. Resolves to what did not
   * get there either. A second call gives the first one's result.
   */
  shutdown(timeoutMs: number): Promise<Unconfirmed> {
    this.closing ??= this.close(timeoutMs);
    return this.closing;
  }

  private async close(timeoutMs: number): Promise<Unconfirmed> {
    const deadline = Date.now() + timeoutMs;
    if (this.outbox.depth.batches > 0 && this.mayConfirm) await this.settle(timeoutMs);
    if (this.outbox.depth.batches === 0 && this.current.name === 'open') {
      // All is confirmed or on disk: let the collector end the stream, so that it sees a farewell and not a break.
      const { connection, since } = this.current;
      this.current = { name: 'draining', connection, since };
      connection.halfClose();
      await this.settle(Math.max(0, Math.min(FAREWELL_MS, deadline - Date.now())));
    }
    this.stopTimers();
    const state = this.current;
    this.current = { name: 'closed' };
    if ('connection' in state) state.connection.close();
    const left = await this.outbox.close(SPOOL_STOP_MS);
    if (left.batches > 0) this.log.warn({ ...left }, 'stopped with events that the collector did not confirm');
    return left;
  }

  /** Whether waiting helps: where the disk takes what there is, a collector that is away is not waited for. */
  private get mayConfirm(): boolean {
    const { name } = this.current;
    const disk = this.outbox.stored?.state ?? 'failing';
    return name === 'open' || name === 'draining' || (name !== 'idle' && disk === 'failing');
  }

  /** Until everything is confirmed or, with nothing to confirm, the stream has ended; at most `timeoutMs`. */
  private settle(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.settled = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  private connect(): void {
    let target: Target;
    try {
      target = this.options.dialer.target();
    } catch (error) {
      this.target = undefined;
      this.retryLater({ code: -1, message: error instanceof Error ? error.message : String(error) });
      return;
    }
    this.target = target;
    this.lastStreamSeq = 0;
    this.ackedStreamSeq = 0;
    this.refused.clear();
    this.blocked = false;
    const connection: Connection = new Connection({ connectTimeoutMs: this.connectTimeoutMs, ...target }, this.hello, {
      ready: () => this.ready(connection),
      response: (response) => this.answered(response),
      writable: () => {
        this.blocked = false;
        this.pump();
      },
      ended: (ended) => this.ended(ended),
    });
    this.current = { name: 'connecting', connection };
  }

  private get connectTimeoutMs(): number {
    return (this.options.connectTimeoutMs ?? 20_000) * Math.min(1, FIRST_CONNECT * 2 ** this.slow);
  }

  private ready(connection: Connection): void {
    if (this.current.name !== 'connecting') return;
    this.current = { name: 'open', connection, since: Date.now() };
    this.slow = 0;
    this.problem = '';
    this.log.info(
      { collector: this.target?.address, waiting: this.outbox.depth.batches },
      'connected to the collector',
    );
    const random = this.options.random ?? Math.random;
    this.timer = setTimeout(() => this.reopen(), (this.options.reopenMs ?? 600_000) * (0.8 + 0.4 * random()));
    this.outbox.connected();
    this.pump();
  }

  private pump(): void {
    const { current, outbox } = this;
    if (current.name !== 'open') return;
    while (!this.blocked && outbox.inFlightBytes < this.inFlightBytes) {
      const pending = outbox.send(this.lastStreamSeq + 1);
      if (pending === undefined) return;
      this.lastStreamSeq++;
      if (outbox.batchesInFlight === 1) this.awaitAck();
      const done = (): void => outbox.written(pending);
      this.blocked = !current.connection.write(frame(pending.batch, pending.streamSeq), done);
    }
  }

  private answered(response: PublishResponse): void {
    const acked = Number(response.ackedStreamSeq);
    const ahead = response.rejected.find(({ streamSeq }) => streamSeq > this.lastStreamSeq);
    if (ahead !== undefined || acked > this.lastStreamSeq) {
      this.violated(ahead === undefined ? `acknowledged batch ${acked}` : `rejected batch ${ahead.streamSeq}`);
      return;
    }
    for (const { streamSeq, reason, events: some } of response.rejected) {
      if (some > 0n) {
        this.refusedSome(Number(streamSeq), Number(some), reason);
        continue;
      }
      const rejected = this.outbox.take(Number(streamSeq));
      if (rejected === undefined) continue;
      const { firstSeq, events, otherRun } = rejected.batch;
      this.lost.of(otherRun).add('collector', 'rejected', rejected.batch);
      this.log.warn({ reason, first_seq: firstSeq, events }, 'the collector refused a batch');
    }
    for (const { batch, streamSeq } of this.outbox.confirm(acked)) {
      if (batch.otherRun === undefined) addKinds(this.confirmed, batch.kinds);
      else this.confirmedOfOthers += batch.events;
      this.bookRefused(batch, streamSeq);
    }
    if (acked > this.ackedStreamSeq || response.rejected.length > 0) {
      this.lastAckMs = Date.now();
      this.ackedStreamSeq = Math.max(acked, this.ackedStreamSeq);
      this.progressed();
      this.awaitAck();
    }
    this.pump();
    if (this.outbox.depth.batches === 0) this.settled?.();
  }

  /** Booked when the batch is confirmed: one that is sent again is answered again. */
  private refusedSome(streamSeq: number, events: number, reason: string): void {
    if (streamSeq <= this.ackedStreamSeq) return;
    if (!this.refused.has(streamSeq)) this.log.warn({ reason, events }, 'the collector refused events of a batch');
    this.refused.set(streamSeq, (this.refused.get(streamSeq) ?? 0) + events);
  }

  private bookRefused(batch: EncodedBatch, streamSeq: number): void {
    const told = this.refused.get(streamSeq);
    if (told === undefined) return;
    this.refused.delete(streamSeq);
    const events = Math.min(told, batch.events);
    const slot = this.lost.of(batch.otherRun).addSome('collector', 'refused_event', batch, events);
    if (batch.otherRun === undefined) this.confirmed[slot] = (this.confirmed[slot] as number) - events;
    else this.confirmedOfOthers -= events;
  }

  /** A collector that counts wrong must not make batches vanish: what it confirmed up to here stays, the rest goes again. */
  private violated(what: string): void {
    this.abandon(`the collector ${what} of ${this.lastStreamSeq} sent`);
  }

  private awaitAck(): void {
    clearTimeout(this.ackTimer);
    this.ackTimer = undefined;
    if (this.outbox.batchesInFlight === 0) return;
    this.ackTimer = setTimeout(() => {
      this.abandon(`no acknowledgement for ${this.ackDeadlineMs} ms`);
    }, this.ackDeadlineMs);
  }

  /** The stream is of use: what failed before it is forgotten. */
  private progressed(): void {
    this.backoff.reset();
    this.options.dialer.worked();
  }

  /** Goes on with another stream when all of this one is confirmed; nothing to do while none is open. */
  reopen(): void {
    if (this.current.name !== 'open') return;
    clearTimeout(this.timer);
    const { connection, since } = this.current;
    this.current = { name: 'draining', connection, since };
    connection.halfClose();
    this.timer = setTimeout(() => this.abandon('the collector did not end a half-closed stream'), this.ackDeadlineMs);
  }

  /** Closes a stream that is of no use any more. */
  private abandon(message: string): void {
    const state = this.current;
    if (!('connection' in state)) return;
    state.connection.close();
    this.ended({ code: -1, message });
  }

  private ended(ended: Ended): void {
    const state = this.current;
    if (!('connection' in state)) return;
    this.stopTimers();
    if (state.name === 'connecting' && ended.code === DEADLINE_EXCEEDED) this.slow++;
    this.outbox.rewind();
    if (this.closing !== undefined && this.outbox.depth.batches === 0) {
      this.current = { name: 'closed' };
      this.settled?.();
      return;
    }
    if (state.name === 'draining' && ended.code === 0) {
      this.options.dialer.over(false);
      this.connect();
      return;
    }
    if (state.name !== 'connecting' && Date.now() - state.since > (this.options.backoffMaxMs ?? 30_000)) {
      this.progressed();
    }
    this.retryLater(ended);
  }

  private retryLater({ code, message }: Ended): void {
    const { dialer } = this.options;
    const delay = this.backoff.next();
    const { batches, events } = this.outbox.depth;
    const collector = this.target?.address;
    const reason = this.target === undefined ? message : dialer.explain(this.target, message);
    this.problem = reason;
    this.log.warn({ collector, code, reason, retry_ms: delay, batches, events }, 'no stream to the collector');
    dialer.over(true);
    this.current = { name: 'waiting', retryAt: Date.now() + delay };
    this.timer = setTimeout(() => this.connect(), delay);
  }

  private stopTimers(): void {
    clearTimeout(this.timer);
    clearTimeout(this.ackTimer);
    this.timer = undefined;
    this.ackTimer = undefined;
  }
}
