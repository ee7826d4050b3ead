import { status } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { makeWorkload } from '../../../src/kubernetes/workload.ts';
import { PublishClient, type PublishClientOptions } from '../../../src/stream/client.ts';
import { BatchEncoder } from '../../../src/stream/encoder.ts';
import { Endpoints } from '../../../src/stream/endpoints.ts';
import { ProcessTable } from '../../../src/stream/processes.ts';
import { drainBuffer, kernelPath, makeFile, makeHead, recordBytes } from '../../records.ts';
import { acknowledge, type Behaviour, CollectorDouble, until } from './collector-double.ts';

const RUN = Buffer.alloc(16, 7);
const HOST = makeWorkload({ cgroupId: 77n, cgroupPath: '/', state: 'host', reason: '' });

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function replicas(...behaviours: Behaviour[]): Promise<CollectorDouble[]> {
  return Promise.all(
    behaviours.map(async (behaviour) => {
      const collector = new CollectorDouble(behaviour);
      await collector.start();
      closers.push(() => collector.stop());
      return collector;
    }),
  );
}

interface Rig {
  readonly client: PublishClient;
  readonly logged: { readonly collector?: string; readonly reason?: string }[];
  send(): void;
}

function rig(addresses: readonly string[], options: Partial<PublishClientOptions> = {}): Rig {
  const logged: object[] = [];
  const client = new PublishClient({
    dialer: new Endpoints({ addresses }),
    hello: { schema: 1, node: { runId: RUN, nodeName: 'node-1' }, agentVersion: '0.1.0' },
    log: { info: (fields) => logged.push(fields), warn: (fields) => logged.push(fields) },
    backoffMinMs: 5,
    backoffMaxMs: 40,
    ...options,
  });
  closers.push(() => client.shutdown(0));
  client.start();
  const encoder = new BatchEncoder({ runId: RUN, processes: new ProcessTable() });
  const send = (): void => {
    const body = makeFile('file.open', { path: kernelPath('/f') });
    encoder.add(drainBuffer([recordBytes({ head: makeHead(), body })]).bytes, 0, HOST);
    const batch = encoder.finish(0n);
    if (batch !== undefined) client.send(batch);
  };
  return { client, logged, send };
}

const refuse =
  (code: status): Behaviour =>
  ({ call }) =>
    void call.emit('error', Object.assign(new Error('no'), { code, details: 'no' }));

describe('several endpoints', () => {
  it('the first takes all, as long as it works', async () => {
    const [first, second] = (await replicas(acknowledge, acknowledge)) as [CollectorDouble, CollectorDouble];
    const { client, send } = rig([first.address, second.address]);
    for (let i = 0; i < 10; i++) send();
    await until(() => first.batches.length === 10 && client.depth.batches === 0);
    expect(second.streams).toEqual([]);
  });

  it('the next one stands in for one that is not there, and the first is back at the next re-open', async () => {
    const [first, second] = (await replicas(acknowledge, acknowledge)) as [CollectorDouble, CollectorDouble];
    first.stop();
    const { client, send, logged } = rig([first.address, second.address]);
    send();
    await until(() => second.batches.length === 1 && client.depth.batches === 0);
    expect(logged.map(({ collector }) => collector)).toEqual([first.address, second.address]);
    await first.start();
    client.reopen();
    await until(() => first.streams.length === 1 && client.state === 'open');
    send();
    await until(() => first.batches.length === 1 && client.depth.batches === 0);
    expect(second.batches).toHaveLength(1);
  });

  it('one that takes connections but refuses every stream is passed, too', async () => {
    const [full, dead, good] = (await replicas(
      refuse(status.RESOURCE_EXHAUSTED),
      refuse(status.UNAVAILABLE),
      acknowledge,
    )) as [CollectorDouble, CollectorDouble, CollectorDouble];
    const { client, send } = rig([full.address, dead.address, good.address]);
    send();
    await until(() => client.depth.batches === 0);
    expect([full, dead, good].map(({ streams }) => streams.length)).toEqual([1, 1, 1]);
  });

  it('one that was of use and is lost is looked for again from the first on; nothing is lost between them', async () => {
    const [first, second] = (await replicas(acknowledge, acknowledge)) as [CollectorDouble, CollectorDouble];
    const { client, send } = rig([first.address, second.address]);
    send();
    await until(() => client.depth.batches === 0);
    first.stop();
    for (let i = 0; i < 5; i++) send();
    await until(() => client.depth.batches === 0);
    expect(second.batches).toHaveLength(5);
    await first.start();
    second.stop();
    for (let i = 0; i < 5; i++) send();
    await until(() => client.depth.batches === 0);
    expect(first.batches).toHaveLength(6);
  });

  it('are asked in turn for ever while none is there', async () => {
    const [first, second] = (await replicas(acknowledge, acknowledge)) as [CollectorDouble, CollectorDouble];
    first.stop();
    second.stop();
    const { logged } = rig([first.address, second.address]);
    await until(() => logged.length >= 6);
    const expected = [0, 1, 0, 1, 0, 1].map((i) => [first, second][i]?.address);
    expect(logged.slice(0, 6).map(({ collector }) => collector)).toEqual(expected);
    expect(logged[0]?.reason).toMatch(/^Error: connect ECONNREFUSED 127\.0\.0\.1:\d+$/);
  });
});

it('a stream that was of use does not end for want of TLS', () => {
  const endpoints = new Endpoints({ addresses: ['collector:4750'] });
  const target = endpoints.target();
  expect(endpoints.explain(target, 'read ECONNRESET')).toMatch(/if it wants TLS, set collector\.tls/);
  endpoints.worked();
  expect(endpoints.explain(target, 'read ECONNRESET')).toBe('read ECONNRESET');
  endpoints.over(true);
  expect(endpoints.explain(endpoints.target(), 'read ECONNRESET')).toMatch(/if it wants TLS/);
});

describe('a name with several addresses behind it', () => {
  it('leads to any of them, anew at each open', async () => {
    const all = (await replicas(acknowledge, acknowledge, acknowledge)) as CollectorDouble[];
    const { client } = rig([`ipv4:${all.map(({ address }) => address).join()}`]);
    const opened = (): number[] => all.map(({ streams }) => streams.length);
    const total = (): number => opened().reduce((sum, count) => sum + count, 0);
    for (let i = 1; i <= 30; i++) {
      await until(() => client.state === 'open' && total() === i);
      client.reopen();
    }
    // Each of three is left out by 30 fair choices with a chance of (2/3)^30 = 5e-6.
    expect(Math.min(...opened())).toBeGreaterThan(0);
  });
});
