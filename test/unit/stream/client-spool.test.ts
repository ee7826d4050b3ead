import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeBatch } from '../../../proto/contract.ts';
import { makeWorkload } from '../../../src/kubernetes/workload.ts';
import { BufferPool } from '../../../src/stream/buffer-pool.ts';
import { PublishClient, type PublishClientOptions } from '../../../src/stream/client.ts';
import { BatchEncoder } from '../../../src/stream/encoder.ts';
import { Endpoints } from '../../../src/stream/endpoints.ts';
import { ProcessTable } from '../../../src/stream/processes.ts';
import { RunLosses } from '../../../src/stream/run-losses.ts';
import type { SpoolOptions } from '../../../src/stream/spool/spool.ts';
import { drainBuffer, kernelPath, makeFile, makeHead, recordBytes } from '../../records.ts';
import { acknowledge, type Behaviour, CollectorDouble, until } from './collector-double.ts';
import { RUN_A, RUN_B, SpoolRig } from './spool/stored.ts';

const HOST = makeWorkload({ cgroupId: 77n, cgroupPath: '/', state: 'host', reason: '' });
const EVENTS = 3;
const total = (counts: Float64Array): number => counts.reduce((sum, count) => sum + count, 0);

let disk: SpoolRig;
let collector: CollectorDouble;
const clients: PublishClient[] = [];

beforeEach(async () => {
  disk = new SpoolRig();
  collector = new CollectorDouble(acknowledge);
  await collector.start();
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.shutdown(0);
  collector.stop();
  await disk.close();
});

interface Agent {
  readonly client: PublishClient;
  readonly lost: RunLosses;
  /** One batch of three opens, whose inodes are their sequences. */
  send(pathBytes?: number): void;
}

function agent(run: string, options: Partial<PublishClientOptions & SpoolOptions> = {}): Agent {
  const pool = new BufferPool();
  const runId = Buffer.from(run, 'hex');
  const node = { runId, nodeName: `node of ${run.slice(0, 2)}` };
  const lost = new RunLosses(run);
  const spool = disk.open(run, {
    facts: () => ({ node: Buffer.from(encodeBatch({ node })).toString('base64'), agentVersion: '1' }),
    lost: (loss) => lost.spool(loss),
    ...options,
  });
  const client = new PublishClient({
    dialer: new Endpoints({ addresses: [collector.address] }),
    hello: { schema: 1, node, agentVersion: '1' },
    log: { info: () => {}, warn: () => {} },
    pool,
    lost,
    spool,
    backoffMinMs: 5,
    backoffMaxMs: 40,
    spoolAfterMs: 50,
    ...options,
  });
  clients.push(client);
  client.start();
  const encoder = new BatchEncoder({ runId, processes: new ProcessTable(), pool });
  const send = (pathBytes = 0): void => {
    for (let i = 0; i < EVENTS; i++) {
      const path = kernelPath(
        `/${Array.from({ length: Math.ceil(pathBytes / 200) }, () => 'x'.repeat(199)).join('/')}`,
      );
      const body = makeFile('file.open', { path, inode: BigInt(encoder.sequence) });
      const { bytes } = drainBuffer([recordBytes({ head: makeHead(), body })]);
      expect(encoder.add(bytes, 0, HOST)).toBeGreaterThan(0);
    }
    const batch = encoder.finish(0n);
    if (batch === undefined) throw new Error('no batch');
    client.send(batch);
  };
  return { client, lost, send };
}

/** Everything has arrived that an agent took, or is counted. */
const settled = ({ client }: Agent): boolean => client.depth.batches === 0 && client.stored?.events === 0;

/** Sequences that arrived of a run, in the order of their arrival; each event says its own. */
function arrived(run: string): number[] {
  const sequences: number[] = [];
  for (const batch of collector.batches) {
    if (Buffer.from(batch.runId, 'latin1').toString('hex') !== run) continue;
    for (const [i, event] of batch.events.entries()) {
      const sequence = Number(batch.firstSeq) + i;
      expect(event).toMatchObject({ fileOpen: { inode: String(sequence) } });
      sequences.push(sequence);
    }
  }
  return sequences;
}
const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);
const once = (sequences: number[]): number[] => [...new Set(sequences)].sort((a, b) => a - b);
const SILENT: Behaviour = () => {};

describe('a client with a spool', () => {
  it('writes nothing while the collector keeps up', async () => {
    const one = agent(RUN_A);
    for (let i = 0; i < 50; i++) {
      one.send();
      if (i % 10 === 0) await until(() => one.client.depth.batches < 5);
    }
    await until(() => settled(one));
    expect(one.client.stored).toMatchObject({ writtenBytes: 0, bytes: 0, segments: 0 });
    expect(disk.segments()).toEqual([]);
    expect(arrived(RUN_A)).toEqual(upTo(150));
  });

  it('moves everything to the disk when the collector stays away, and delivers it when it is back', async () => {
    const one = agent(RUN_A);
    collector.stop();
    await until(() => one.client.state === 'waiting');
    for (let i = 0; i < 20; i++) one.send();
    await until(() => one.client.depth.batches === 0);
    expect(one.client.stored?.events).toBe(60);
    one.send();
    await until(() => one.client.stored?.events === 63);
    await collector.start();
    await until(() => settled(one));
    expect(once(arrived(RUN_A))).toEqual(upTo(63));
    expect(total(one.client.confirmed)).toBe(63);
    expect(one.client.losses()).toEqual([]);
    await until(() => disk.segments().length === 0);
  });

  it('moves the oldest to the disk when the collector is too slow for its memory', async () => {
    collector.behaviour = SILENT;
    const one = agent(RUN_A, { queueBytes: 256 * 1024, inFlightBytes: 32 * 1024 });
    for (let i = 0; i < 60; i++) {
      one.send(3000);
      expect(one.client.fill).toBeLessThanOrEqual(1);
      await until(() => one.client.fill < 0.75);
    }
    expect(one.client.stored?.events).toBeGreaterThan(60);
    expect(one.client.losses()).toEqual([]);
    collector.behaviour = acknowledge;
    const stuck = collector.streams[0];
    if (stuck !== undefined) acknowledge(stuck, 0);
    await until(() => settled(one));
    expect(once(arrived(RUN_A))).toEqual(upTo(180));
    expect(total(one.client.confirmed)).toBe(180);
  });

  it('lets new events and old ones take turns on the stream, both in their order', async () => {
    // The collector sets the pace, not the disk: else nothing old is at hand while the disk has others to serve.
    collector.behaviour = (stream, index) => void setTimeout(() => acknowledge(stream, index), 10);
    const one = agent(RUN_A, { inFlightBytes: 16 * 1024 });
    collector.stop();
    await until(() => one.client.state === 'waiting');
    for (let i = 0; i < 100; i++) one.send(3000);
    await until(() => one.client.depth.batches === 0);
    await collector.start();
    await until(() => collector.batches.length > 0);
    const before = collector.batches.length;
    for (let i = 0; i < 30; i++) one.send(3000);
    await until(() => settled(one));
    const order = arrived(RUN_A).filter((sequence) => (sequence - 1) % EVENTS === 0);
    const [old, fresh] = [order.filter((seq) => seq <= 300), order.filter((seq) => seq > 300)];
    expect(old).toEqual([...old].sort((a, b) => a - b));
    expect(fresh).toEqual([...fresh].sort((a, b) => a - b));
    // Half and half: the last of the 30 new batches came when some 30 old ones had come beside them.
    const oldBeforeLastNew = order.indexOf(fresh.at(-1) ?? 0) - fresh.length + 1;
    expect(oldBeforeLastNew).toBeGreaterThanOrEqual(15);
    expect(oldBeforeLastNew).toBeLessThanOrEqual(before + 60);
  });

  it('puts at its end what is not confirmed on the disk, and the next run sends it with its own facts', async () => {
    collector.behaviour = SILENT;
    const first = agent(RUN_A);
    for (let i = 0; i < 10; i++) first.send();
    await until(() => collector.batches.length === 10);
    expect(await first.client.shutdown(50)).toEqual({ batches: 0, events: 0, bytes: 0 });
    expect(first.client.losses()).toEqual([]);
    expect(first.client.stored?.events).toBe(30);
    expect(disk.segments()).toHaveLength(1);
    collector.behaviour = acknowledge;
    const second = agent(RUN_B);
    second.send();
    await until(() => settled(second) && second.client.confirmedOfOthers === 30);
    expect(once(arrived(RUN_A))).toEqual(upTo(30));
    expect(arrived(RUN_B)).toEqual(upTo(3));
    const resent = collector.streams
      .at(-1)
      ?.batches.filter(({ runId }) => runId !== Buffer.from(RUN_B, 'hex').toString('latin1'));
    expect(resent?.length).toBe(10);
    for (const { node } of resent ?? []) expect(node).toMatchObject({ nodeName: 'node of aa' });
    expect(total(second.client.confirmed)).toBe(3);
    await until(() => disk.segments().length === 0);
  });

  it('does not wait at its end for a collector that is away', async () => {
    const one = agent(RUN_A, { spoolAfterMs: 60_000 });
    await until(() => one.client.state === 'open');
    collector.stop();
    await until(() => one.client.state === 'waiting');
    for (let i = 0; i < 10; i++) one.send();
    const begun = performance.now();
    await one.client.shutdown(5000);
    expect(performance.now() - begun).toBeLessThan(2000);
    expect(one.client.stored?.events).toBe(30);
  });

  it('counts what it evicts, and what is left is what arrives', async () => {
    const one = agent(RUN_A, { maxBytes: 100_000, segmentBytes: 20_000 });
    collector.stop();
    await until(() => one.client.state === 'waiting');
    for (let i = 0; i < 100; i++) {
      one.send(1000);
      await until(() => one.client.depth.batches === 0);
    }
    await collector.start();
    await until(() => settled(one));
    const losses = one.client.losses();
    const evicted = losses.reduce((sum, loss) => sum + loss.total, 0);
    expect(losses).toEqual([{ stage: 'spool', reason: 'evicted', kind: 'file.open', total: evicted }]);
    expect(evicted).toBeGreaterThan(100);
    expect(once(arrived(RUN_A))).toEqual(upTo(300).slice(evicted));
    expect(total(one.client.confirmed) + evicted).toBe(300);
  });

  it('counts what an earlier run lost as that run’s', async () => {
    const first = agent(RUN_A);
    collector.stop();
    await until(() => first.client.state !== 'open');
    for (let i = 0; i < 10; i++) first.send();
    await first.client.shutdown(0);
    collector.behaviour = (seen, index) => {
      const rejected = index === 0 ? [{ streamSeq: 1n, reason: 'poison' }] : [];
      seen.call.write({ ackedStreamSeq: BigInt(index + 1), rejected });
    };
    await collector.start();
    const second = agent(RUN_B);
    await until(() => second.client.confirmedOfOthers === 27);
    expect(second.client.losses()).toEqual([]);
    expect(second.lost.of(RUN_A).totals()).toEqual([
      { stage: 'collector', reason: 'rejected', kind: 'file.open', total: 3 },
    ]);
  });

  it('is as one without where the disk refuses: memory, and what that cannot hold is lost', async () => {
    const one = agent(RUN_A, { dir: '/proc/kerntap-spool', queueBytes: 64 * 1024 });
    collector.stop();
    await until(() => one.client.state === 'waiting');
    for (let i = 0; i < 30; i++) one.send();
    const { events } = one.client.depth;
    expect(events).toBeGreaterThan(15);
    expect(one.client.losses()).toEqual([
      { stage: 'queue', reason: 'overflow', kind: 'file.open', total: 90 - events },
    ]);
    await until(() => one.client.stored?.state === 'failing');
    expect(one.client.stored?.events).toBe(0);
    await collector.start();
    await until(() => settled(one));
    expect(total(one.client.confirmed)).toBe(events);
  });
});
