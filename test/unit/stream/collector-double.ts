// A real grpc-js server on loopback that confirms as it is told, and keeps everything that it was sent.

import { Server as GrpcServer, type Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import { EVENT_COLLECTOR, type PublishResponse, type Sparse } from '../../../proto/contract.ts';
import type { Plain } from '../../expected-events.ts';
import { decode } from './oracle.ts';

export type Call = ServerDuplexStream<Buffer, Sparse<PublishResponse>>;

/** One stream as the collector saw it. */
export interface Seen {
  readonly call: Call;
  hello: Plain | undefined;
  /** The batches in their order, with stream_seq. */
  readonly batches: (Plain & { streamSeq: string; firstSeq: string; runId: string; events: Plain[] })[];
  ended: boolean;
}

/** What to do with a batch; `index` counts from 0 on its stream. */
export type Behaviour = (seen: Seen, index: number) => void;

export const acknowledge: Behaviour = (seen) => {
  seen.call.write({ ackedStreamSeq: BigInt(seen.batches.at(-1)?.streamSeq ?? 0) });
};

export class CollectorDouble {
  readonly streams: Seen[] = [];
  behaviour: Behaviour;
  private server: Server | undefined;
  private port = 0;

  constructor(behaviour: Behaviour = acknowledge) {
    this.behaviour = behaviour;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Listens; after a stop on the port that it had. */
  async start(): Promise<void> {
    const server = new GrpcServer();
    server.addService(EVENT_COLLECTOR, { Publish: (call: Call) => this.serve(call) });
    this.port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(`127.0.0.1:${this.port}`, ServerCredentials.createInsecure(), (error, port) => {
        if (error === null) resolve(port);
        else reject(error);
      });
    });
    this.server = server;
  }

  /** Breaks every connection. */
  stop(): void {
    this.server?.forceShutdown();
    this.server = undefined;
  }

  /** All batches of all streams. */
  get batches(): Seen['batches'] {
    return this.streams.flatMap((seen) => seen.batches);
  }

  private serve(call: Call): void {
    const seen: Seen = { call, hello: undefined, batches: [], ended: false };
    this.streams.push(seen);
    call.on('data', (request: Buffer) => {
      const { hello, batch } = decode('PublishRequest', request);
      if (hello !== undefined) seen.hello = hello as Plain;
      if (batch === undefined) return;
      seen.batches.push(batch as Seen['batches'][number]);
      this.behaviour(seen, seen.batches.length - 1);
    });
    call.on('end', () => {
      seen.ended = true;
      call.end();
    });
    call.on('error', () => {});
  }
}

/** Resolves when `condition` holds; fails with its text after 10 s. */
export async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not within 10 s: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
