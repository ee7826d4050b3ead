import { Client, type ClientDuplexStream, credentials, type ServiceError } from '@grpc/grpc-js';
import {
  type Batch,
  EVENT_COLLECTOR,
  encodePublishRequest,
  type NodeFacts,
  type PublishResponse,
  type Sparse,
} from '../../../proto/contract.ts';
import { nodeFacts } from '../../node-facts.ts';

export const RUN = Buffer.from('00112233445566778899aabbccddeeff', 'hex');

export const NODE = nodeFacts({
  runId: RUN,
  bootId: 'b0071d00-0000-4000-8000-000000000001',
  clusterName: 'prod',
  nodeName: 'node-1',
  hostName: 'ip-10-0-0-1',
  kernelRelease: '6.12.0',
  architecture: 'x86_64',
  machineId: '0123456789abcdef0123456789abcdef',
  nodeUid: 'cafe',
  nodeIps: ['10.0.0.1'],
});

/** 2026-11-22T07:59:59.123456789Z */
export const WALL_NS = 1_795_334_399_123_456_789n;
export const BASE_NS = 9_007_199_254_740_993n;

/** A batch of `count` file.open events, whose paths name their sequence. */
export function openBatch(
  streamSeq: bigint,
  firstSeq: bigint,
  count: number,
  changes: Sparse<Batch> = {},
): Sparse<Batch> {
  return {
    streamSeq,
    runId: RUN,
    firstSeq,
    baseTimeNs: BASE_NS,
    wallOffsetNs: WALL_NS - BASE_NS,
    workloads: [{ state: 4 }],
    processes: [
      { workload: 1, tgid: 4242, startTimeNs: 77n, comm: Buffer.from('cat'), exe: Buffer.from('/usr/bin/cat') },
    ],
    events: Array.from({ length: count }, (_, i) => ({
      process: 1,
      fileOpen: {
        path: { path: Buffer.from(`/data/${firstSeq + BigInt(i)}`), source: 1 },
        mode: 0o100644,
        inode: 5n,
        dev: 1,
      },
    })),
    ...changes,
  };
}

/** A Publish stream that a test drives; it keeps what the collector answers. */
export class Publisher {
  readonly client: Client;
  readonly stream: ClientDuplexStream<Uint8Array, PublishResponse>;
  readonly responses: PublishResponse[] = [];
  acked = 0n;
  status: ServiceError | 'open' | 'ended' = 'open';
  readonly #waiters = new Set<() => void>();

  constructor(address: string) {
    // A connection of its own: agents are on machines of their own.
    this.client = new Client(address, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 });
    const { path, requestSerialize, responseDeserialize } = EVENT_COLLECTOR.Publish;
    this.stream = this.client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
    this.stream.on('data', (response: PublishResponse) => {
      this.responses.push(response);
      this.acked = response.ackedStreamSeq;
      this.#wake();
    });
    this.stream.on('error', (error: ServiceError) => {
      this.status = error;
      this.#wake();
    });
    this.stream.on('end', () => {
      if (this.status === 'open') this.status = 'ended';
      this.#wake();
    });
  }

  #wake(): void {
    for (const waiter of this.#waiters) waiter();
  }

  hello(node: Sparse<NodeFacts> = NODE, schema = 1): this {
    this.stream.write(encodePublishRequest({ hello: { schema, node, agentVersion: 'test' } }));
    return this;
  }

  batch(batch: Sparse<Batch>): this {
    this.stream.write(encodePublishRequest({ batch }));
    return this;
  }

  raw(bytes: Uint8Array): this {
    this.stream.write(bytes);
    return this;
  }

  /** Waits for a state of this stream; fails after `ms`. */
  async until(condition: () => boolean, ms = 10_000): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiters.delete(check);
      };
      const check = (): void => {
        if (!condition()) return;
        done();
        resolve();
      };
      const timer = setTimeout(() => {
        done();
        reject(new Error(`not within ${ms} ms: ${condition}; acked ${this.acked}, status ${String(this.status)}`));
      }, ms);
      this.#waiters.add(check);
      check();
    });
  }

  untilAcked(streamSeq: bigint): Promise<void> {
    return this.until(() => this.acked >= streamSeq || this.status !== 'open');
  }

  close(): void {
    this.stream.cancel();
    this.client.close();
  }
}
