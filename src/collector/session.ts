import { type ServerDuplexStream, status } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { rowsOf } from '../../proto/columns.ts';
import {
  type Batch,
  decodePublishRequest,
  type NodeFacts,
  type PublishRequest,
  type PublishResponse,
  type Sparse,
} from '../../proto/contract.ts';
import { Acks } from './acks.ts';
import type { Admission, Guest } from './admission.ts';
import type { Complaints } from './complaints.ts';
import type { Counters } from './counters.ts';
import type { Line } from './event-file.ts';
import { batchNode, PoisonBatch, ProtocolError, readHello, runName } from './peer.ts';
import type { EventStore, RunWriter } from './store.ts';
import type { Turns } from './turns.ts';

export type PublishCall = ServerDuplexStream<Buffer, Sparse<PublishResponse>>;

/** Longest row: far above what a record of 64 KiB can become, far below what a hostile dictionary could make of it. */
const LINE_CHARS_MAX = 1 << 20;
const HELLO_MS = 10_000;
/** Rejections that are logged, for a stream; all are counted. */
const COMPLAINTS_MAX = 10;
/** A node's name in the log. */
const NAME_CHARS_MAX = 253;

/** A client over its quota is looked at so often while it waits: the stream may end meanwhile. */
const QUOTA_WAIT_MS = 500;

/** What all sessions of a collector have in common. */
export interface SessionParts {
  readonly store: EventStore;
  readonly counters: Counters;
  readonly admission: Admission;
  readonly complaints: Complaints;
  readonly turns: Turns;
  readonly communityIdSeed: number;
  readonly log: Logger;
}

interface Peer {
  readonly node: NodeFacts;
  readonly writer: RunWriter;
}

/**
 * One Publish stream: Hello, then batches one at a time; reading pauses while the store has no room or too much is not
 * acknowledged.
 */
export class Session {
  /** Resolves when the stream is over. */
  readonly ended: Promise<void>;
  readonly #call: PublishCall;
  readonly #store: EventStore;
  readonly #counters: Counters;
  readonly #communityIdSeed: number;
  readonly #admission: Admission;
  readonly #complain: Complaints;
  readonly #turns: Turns;
  readonly #log: Logger;
  readonly #acks: Acks;
  readonly #helloTimer: NodeJS.Timeout;
  #peer: Peer | null = null;
  #guest: Guest | null = null;
  #over = false;
  #stopping = false;
  #complaints = 0;
  #working: Promise<void> = Promise.resolve();

  constructor(
    call: PublishCall,
    { store, counters, admission, complaints, turns, communityIdSeed, log }: SessionParts,
  ) {
    this.#turns = turns;
    this.#call = call;
    this.#admission = admission;
    this.#complain = complaints;
    this.#store = store;
    this.#counters = counters;
    this.#communityIdSeed = communityIdSeed;
    this.#log = log.child({ peer: call.getPeer() });
    this.#acks = new Acks((ackedStreamSeq, rejected, sent) => call.write({ ackedStreamSeq, rejected }, sent));
    counters.streams += 1;
    counters.streamsOpened += 1;
    this.#helloTimer = setTimeout(
      () => this.#fail(new ProtocolError(status.DEADLINE_EXCEEDED, 'no Hello came')),
      HELLO_MS,
    );
    this.ended = new Promise<void>((resolve) => {
      call.once('close', () => {
        clearTimeout(this.#helloTimer);
        counters.streams -= 1;
        this.#over = true;
        this.#acks.end();
        this.#guest?.leave();
        resolve();
      });
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
    call.once('end', () => void this.#finish());
  }

  /** Takes no more, acknowledges what was taken, and ends the stream as UNAVAILABLE. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#call.pause();
    await this.#working;
    await this.#acks.settled();
    this.#end(status.UNAVAILABLE, 'the collector is shutting down');
  }

  // The peer sends no more.
  async #finish(): Promise<void> {
    await this.#working;
    await this.#acks.settled();
    this.#end(status.OK, '');
  }

  async #take(frame: Buffer): Promise<void> {
    if (this.#over || this.#stopping) return;
    this.#counters.bytesReceived += frame.length;
    if (this.#peer === null) {
      this.#peer = this.#greet(frame);
      return;
    }
    const peer = this.#peer;
    const events = await this.#turns.take(() => this.#decodeAndWrite(frame, peer));
    if (events === null) return;
    this.#acks.taken(frame.length, this.#store.durable()).catch((error: unknown) => this.#fail(error));
    if (!this.#stopping) await this.#acks.room();
    await this.#payOff(frame.length, events);
  }

  /** Resolves to how many events the batch had; null: it was none. */
  async #decodeAndWrite(frame: Buffer, peer: Peer): Promise<number | null> {
    // It may have ended while it waited for its turn: what is not confirmed comes again.
    if (this.#over) return null;
    try {
      const batch = this.#read(frame);
      if (batch === null) return null;
      await this.#write(batch, peer);
      return batch.events.length;
    } catch (error) {
      if (!(error instanceof PoisonBatch)) throw error;
      this.#reject(error);
      return 0;
    }
  }

  /** What was sent is taken and confirmed; over its quota a client is not read further for a while. */
  async #payOff(bytes: number, events: number): Promise<void> {
    let left = this.#guest?.spend(bytes, events) ?? 0;
    this.#counters.throttledMs += left;
    for (; left > 0 && !this.#over && !this.#stopping; left -= QUOTA_WAIT_MS) {
      await new Promise((resolve) => setTimeout(resolve, Math.min(left, QUOTA_WAIT_MS)));
    }
  }

  #greet(frame: Buffer): Peer {
    const { node, agentVersion } = readHello(frame);
    this.#guest = this.#admission.admit(this.#call.getAuthContext().sslPeerCertificate, node.nodeName);
    clearTimeout(this.#helloTimer);
    const name = node.nodeName.slice(0, NAME_CHARS_MAX);
    this.#log.info(
      { node: name, run: runName(node.runId), agent: agentVersion.slice(0, 64), client: this.#guest.name || undefined },
      'an agent publishes',
    );
    return this.#peerOf(node);
  }

  #peerOf(node: NodeFacts): Peer {
    return { node, writer: this.#store.writer(node.clusterName, node.nodeName, runName(node.runId)) };
  }

  // Null: not a batch, nothing to acknowledge. A frame that cannot be decoded is the next batch: they are contiguous.
  #read(frame: Buffer): Batch | null {
    let request: PublishRequest;
    try {
      request = decodePublishRequest(frame);
    } catch (error) {
      throw new PoisonBatch(
        'undecodable',
        `not a PublishRequest: ${error instanceof Error ? error.message : 'undecodable'}`,
      );
    }
    if (request.hello !== null) throw new ProtocolError(status.INVALID_ARGUMENT, 'a second Hello');
    const { batch } = request;
    if (batch === null) {
      this.#counters.messagesIgnored += 1;
      return null;
    }
    const { nextSeq } = this.#acks;
    if (batch.streamSeq !== nextSeq) {
      throw new ProtocolError(status.INVALID_ARGUMENT, `stream_seq ${batch.streamSeq} after ${nextSeq - 1n}`);
    }
    return batch;
  }

  async #write(batch: Batch, hello: Peer): Promise<void> {
    const facts = batchNode(batch, hello.node, this.#guest?.node);
    const { node, writer } = facts === hello.node ? hello : this.#peerOf(facts);
    const refused = new Map<string, bigint>();
    const refuse = (reason: string): void => {
      this.#refuse(reason);
      refused.set(reason, (refused.get(reason) ?? 0n) + 1n);
    };
    for (const event of rowsOf(batch, node, Date.now(), this.#communityIdSeed)) {
      if ('refused' in event) {
        refuse(event.refused);
        continue;
      }
      const line = event.pieces();
      if (charsOf(line) > LINE_CHARS_MAX) {
        refuse('row above 1 MiB');
        continue;
      }
      if (!this.#store.hasRoom) await this.#store.room();
      writer.append(event.kind, event.timeNs, event.seq, line);
    }
    for (const [reason, events] of refused) this.#acks.rejectEvents(reason, events);
    this.#counters.batches += 1;
  }

  #refuse(reason: string): void {
    if (this.#counters.eventsRefused[reason] === undefined) {
      this.#log.warn({ reason }, 'an event could not be made a row (further ones are only counted)');
    }
    this.#counters.refusedEvent(reason);
  }

  #reject({ reason: counted, message: reason }: PoisonBatch): void {
    this.#counters.rejectedBatch(counted);
    this.#complaints += 1;
    if (this.#complaints <= COMPLAINTS_MAX) {
      this.#log.warn({ streamSeq: String(this.#acks.nextSeq), reason }, 'a batch was rejected');
    }
    this.#acks.reject(reason);
  }

  #fail(error: unknown): void {
    if (this.#over) return;
    if (error instanceof ProtocolError) {
      this.#counters.refusedPeer(error.reason);
      this.#complain.warn(error.reason, { peer: this.#call.getPeer(), reason: error.message }, 'ended a stream');
      this.#end(error.code, error.message);
      return;
    }
    this.#log.error({ err: error }, 'a stream failed');
    this.#end(status.UNAVAILABLE, 'the collector could not take the batch');
  }

  #end(code: status, details: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#acks.end();
    if (code === status.OK) this.#call.end();
    // grpc-js sends the status after what was written before.
    else this.#call.emit('error', { code, details });
    this.#call.resume();
  }
}

function charsOf(line: Line): number {
  let chars = 0;
  for (const { length } of line) chars += length;
  return chars;
}
