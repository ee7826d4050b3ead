import { type ServerDuplexStream, status } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { rowsOf } from '../../proto/columns.ts';
import {
  type Batch,
  decodePublishRequest,
  type Hello,
  type NodeFacts,
  type PublishRequest,
  type PublishResponse,
  type Rejected,
  SCHEMA,
  type Sparse,
} from '../../proto/contract.ts';
import type { Counters } from './counters.ts';
import type { EventStore, RunWriter } from './store.ts';

export type PublishCall = ServerDuplexStream<Buffer, Sparse<PublishResponse>>;

/** Longest row: far above what a record of 64 KiB can become, far below what a hostile dictionary could make of it. */
const LINE_CHARS_MAX = 1 << 20;
/** Bytes of batches on one stream that are not acknowledged yet. */
const UNACKED_BYTES_MAX = 8 << 20;
/** Rejections that the peer has not read yet. */
const REJECTED_MAX = 256;
const REASON_CHARS_MAX = 200;
const RUN_ID_BYTES = 16;
const HELLO_MS = 10_000;
/** Rejections that are logged, for a stream; all are counted. */
const COMPLAINTS_MAX = 10;

/** The peer broke the protocol: the stream ends with this status. */
class ProtocolError extends Error {
  readonly code: status;

  constructor(code: status, message: string) {
    super(message);
    this.code = code;
  }
}

/** A batch that can never be taken. */
class PoisonBatch extends Error {}

interface Peer {
  readonly node: NodeFacts;
  readonly run: string;
  readonly writer: RunWriter;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/**
 * One Publish stream: Hello, then batches one at a time; reading pauses while the store has no room or too much is not
 * acknowledged. Acks follow durability and are cumulative; at most one is in flight.
 */
export class Session {
  readonly #call: PublishCall;
  readonly #store: EventStore;
  readonly #counters: Counters;
  readonly #log: Logger;
  /** Resolves when the stream is over. */
  readonly ended: Promise<void>;
  #peer: Peer | null = null;
  #lastSeq = 0n;
  #unackedBytes = 0;
  #durableSeq = 0n;
  #ackedSeq = 0n;
  #rejected: Rejected[] = [];
  #sending = false;
  #over = false;
  #stopping = false;
  #working: Promise<void> = Promise.resolve();
  readonly #waiters: (() => void)[] = [];
  #complaints = 0;
  readonly #helloTimer: NodeJS.Timeout;

  constructor(call: PublishCall, store: EventStore, counters: Counters, log: Logger) {
    this.#call = call;
    this.#store = store;
    this.#counters = counters;
    this.#log = log.child({ peer: call.getPeer() });
    counters.streams += 1;
    counters.streamsOpened += 1;
    this.ended = new Promise((resolve) => call.once('close', resolve));
    this.#helloTimer = setTimeout(
      () => this.#fail(new ProtocolError(status.DEADLINE_EXCEEDED, 'no Hello came')),
      HELLO_MS,
    );
    call.once('close', () => {
      clearTimeout(this.#helloTimer);
      counters.streams -= 1;
      this.#over = true;
      this.#changed();
    });
    call.on('data', (frame: Buffer) => {
      if (this.#over) return;
      call.pause();
      this.#working = this.#take(frame).then(
        () => {
          if (!this.#over && !this.#stopping) call.resume();
        },
        (error: unknown) => this.#fail(error),
      );
    });
    call.once('end', () => void this.#working.then(() => this.#finish()).catch((error: unknown) => this.#fail(error)));
  }

  /** Takes no more, acknowledges what was taken, and ends the stream as UNAVAILABLE. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#call.pause();
    this.#changed();
    await this.#working;
    try {
      await this.#allAcked();
    } catch {
      // The store stopped with rows that it could not write: the peer keeps them.
    }
    this.#end(status.UNAVAILABLE, 'the collector is shutting down');
  }

  async #take(frame: Buffer): Promise<void> {
    if (this.#over || this.#stopping) return;
    this.#counters.bytesReceived += frame.length;
    if (this.#peer === null) {
      this.#peer = this.#greet(frame);
      return;
    }
    let request: PublishRequest;
    try {
      request = decodePublishRequest(frame);
    } catch (error) {
      // Its number cannot be read, but they are contiguous.
      this.#reject(
        this.#lastSeq + 1n,
        `not a PublishRequest: ${error instanceof Error ? error.message : 'undecodable'}`,
      );
      await this.#settle(frame.length);
      return;
    }
    if (request.hello !== null) throw new ProtocolError(status.INVALID_ARGUMENT, 'a second Hello');
    const batch = request.batch;
    if (batch === null) {
      this.#counters.messagesIgnored += 1;
      return;
    }
    if (batch.streamSeq !== this.#lastSeq + 1n) {
      throw new ProtocolError(status.INVALID_ARGUMENT, `stream_seq ${batch.streamSeq} after ${this.#lastSeq}`);
    }
    try {
      await this.#write(batch, this.#peer);
    } catch (error) {
      if (!(error instanceof PoisonBatch)) throw error;
      this.#reject(batch.streamSeq, error.message);
    }
    await this.#settle(frame.length);
  }

  #greet(frame: Buffer): Peer {
    let hello: Hello | null;
    try {
      hello = decodePublishRequest(frame).hello;
    } catch {
      hello = null;
    }
    if (hello === null) throw new ProtocolError(status.FAILED_PRECONDITION, 'the first message must be a Hello');
    if (hello.schema !== SCHEMA) {
      throw new ProtocolError(
        status.FAILED_PRECONDITION,
        `schema ${hello.schema} is not known here: this collector reads ${SCHEMA}`,
      );
    }
    if (hello.node === null || hello.node.runId.length !== RUN_ID_BYTES) {
      throw new ProtocolError(status.FAILED_PRECONDITION, `Hello.node.run_id must have ${RUN_ID_BYTES} bytes`);
    }
    clearTimeout(this.#helloTimer);
    const peer = this.#peerOf(hello.node);
    this.#log.info(
      { node: hello.node.nodeName, cluster: hello.node.clusterName, run: peer.run, agent: hello.agentVersion },
      'an agent publishes',
    );
    return peer;
  }

  #peerOf(node: NodeFacts): Peer {
    const run = hex(node.runId);
    return { node, run, writer: this.#store.writer(node.clusterName, node.nodeName, run) };
  }

  #batchPeer(batch: Batch, hello: Peer): Peer {
    if (batch.runId.length !== RUN_ID_BYTES)
      throw new PoisonBatch(`run_id has ${batch.runId.length} bytes, not ${RUN_ID_BYTES}`);
    if (batch.firstSeq === 0n) throw new PoisonBatch('first_seq is 0: sequences begin at 1');
    const run = hex(batch.runId);
    if (run === hello.run) return hello;
    if (batch.node === null) throw new PoisonBatch('the run is not that of the Hello and the batch has no node facts');
    if (hex(batch.node.runId) !== run) throw new PoisonBatch('the node facts are of another run');
    return this.#peerOf(batch.node);
  }

  async #write(batch: Batch, hello: Peer): Promise<void> {
    const { node, writer } = this.#batchPeer(batch, hello);
    for (const event of rowsOf(batch, node, Date.now())) {
      if ('refused' in event) {
        this.#refuse(event.refused);
        continue;
      }
      const line = event.line();
      if (line.length > LINE_CHARS_MAX) {
        this.#refuse('row above 1 MiB');
        continue;
      }
      if (!this.#store.hasRoom) await this.#store.room();
      writer.append(event.kind, event.timeNs, event.seq, line);
    }
    this.#counters.batches += 1;
  }

  #refuse(reason: string): void {
    if (this.#counters.eventsRefused[reason] === undefined) {
      this.#log.warn({ reason }, 'an event could not be made a row (further ones are only counted)');
    }
    this.#counters.refusedEvent(reason);
  }

  #reject(streamSeq: bigint, reason: string): void {
    this.#counters.batchesRejected += 1;
    this.#complaints += 1;
    if (this.#complaints <= COMPLAINTS_MAX) {
      this.#log.warn({ streamSeq: String(streamSeq), reason }, 'a batch was rejected');
    }
    this.#rejected.push({ streamSeq, reason: reason.slice(0, REASON_CHARS_MAX) });
  }

  // The batch is in the store or rejected: acknowledge it with the next commit, and wait here while too much is open.
  async #settle(bytes: number): Promise<void> {
    this.#lastSeq += 1n;
    const seq = this.#lastSeq;
    this.#unackedBytes += bytes;
    this.#store.durable().then(
      () => {
        this.#durableSeq = seq;
        this.#unackedBytes -= bytes;
        this.#changed();
        // After all of this commit's batches, so that one ack stands for them.
        setImmediate(() => this.#ack());
      },
      (error: unknown) => this.#fail(error),
    );
    while (
      !this.#over &&
      !this.#stopping &&
      (this.#unackedBytes > UNACKED_BYTES_MAX || this.#rejected.length > REJECTED_MAX)
    ) {
      await this.#change();
    }
  }

  #change(): Promise<void> {
    return new Promise<void>((resolve) => this.#waiters.push(resolve));
  }

  #changed(): void {
    for (const wake of this.#waiters.splice(0)) wake();
  }

  #ack(): void {
    if (this.#sending || this.#over || this.#durableSeq === this.#ackedSeq) return;
    const seq = this.#durableSeq;
    const rejected = this.#rejected.filter(({ streamSeq }) => streamSeq <= seq);
    this.#rejected = this.#rejected.filter(({ streamSeq }) => streamSeq > seq);
    this.#sending = true;
    this.#call.write({ ackedStreamSeq: seq, rejected }, () => {
      this.#sending = false;
      this.#ackedSeq = seq;
      this.#changed();
      this.#ack();
    });
  }

  async #allAcked(): Promise<void> {
    if (this.#durableSeq < this.#lastSeq) await this.#store.durable();
    this.#ack();
    while (!this.#over && this.#ackedSeq < this.#lastSeq) await this.#change();
  }

  // The peer sends no more.
  async #finish(): Promise<void> {
    await this.#allAcked();
    this.#end(status.OK, '');
  }

  #fail(error: unknown): void {
    if (this.#over) return;
    if (error instanceof ProtocolError) {
      this.#counters.streamsRefused += 1;
      this.#log.warn({ reason: error.message }, 'ended a stream');
      this.#end(error.code, error.message);
      return;
    }
    this.#log.error({ err: error }, 'a stream failed');
    this.#end(status.UNAVAILABLE, 'the collector could not take the batch');
  }

  #end(code: status, details: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#changed();
    if (code === status.OK) this.#call.end();
    // grpc-js sends the status after what was written before.
    else this.#call.emit('error', { code, details });
    this.#call.resume();
  }
}
