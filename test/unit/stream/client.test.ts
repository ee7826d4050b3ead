import { status } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { makeWorkload } from '../../../src/kubernetes/workload.ts';
import type { EncodedBatch } from '../../../src/stream/batch.ts';
import { BufferPool } from '../../../src/stream/buffer-pool.ts';
import { PublishClient, type PublishClientOptions } from '../../../src/stream/client.ts';
import { BatchEncoder } from '../../../src/stream/encoder.ts';
import { Endpoints } from '../../../src/stream/endpoints.ts';
import { ProcessTable } from '../../../src/stream/processes.ts';
import { drainBuffer, kernelPath, makeFile, makeHead, recordBytes } from '../../records.ts';
import { acknowledge, type Behaviour, CollectorDouble, type Seen, until } from './collector-double.ts';

const RUN = Buffer.alloc(16, 7);
const HOST = makeWorkload({ cgroupId: 77n, cgroupPath: '/', state: 'host', reason: '' });
const SILENT: Behaviour = () => {};

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface Rig {
  collector: CollectorDouble;
  client: PublishClient;
  pool: BufferPool;
  logged: string[];
  /** Sends one batch of `events` opens, as large as `pathBytes` make it. */
  send(events?: number, pathBytes?: number): EncodedBatch;
}

async function rig(behaviour: Behaviour, options: Partial<PublishClientOptions> = {}, started = true): Promise<Rig> {
  const collector = new CollectorDouble(behaviour);
  await collector.start();
  const pool = new BufferPool();
  const logged: string[] = [];
  const log = {
    info: (fields: object, message: string) => logged.push(`${message} ${JSON.stringify(fields)}`),
    warn: (fields: object, message: string) => logged.push(`${message} ${JSON.stringify(fields)}`),
  };
  const client = new PublishClient({
    dialer: new Endpoints({ addresses: [collector.address] }),
    hello: { schema: 1, node: { runId: RUN, nodeName: 'node-1' }, agentVersion: '0.1.0' },
    log,
    pool,
    backoffMinMs: 5,
    backoffMaxMs: 40,
    ...options,
  });
  const encoder = new BatchEncoder({ runId: RUN, processes: new ProcessTable(), pool });
  closers.push(
    () => collector.stop(),
    () => client.shutdown(0),
  );
  if (started) client.start();
  const send = (events = 3, pathBytes = 0): EncodedBatch => {
    for (let i = 0; i < events; i++) {
      const path = kernelPath(
        `/${Array.from({ length: Math.ceil(pathBytes / 200) }, () => 'x'.repeat(199)).join('/')}`,
      );
      // The inode tells the sequence: contents that moved to another batch would show.
      const body = makeFile('file.open', { path, inode: BigInt(encoder.sequence) });
      const { bytes } = drainBuffer([recordBytes({ head: makeHead(), body })]);
      expect(encoder.add(bytes, 0, HOST)).toBeGreaterThan(0);
    }
    const batch = encoder.finish(0n);
    if (batch === undefined) throw new Error('no batch');
    client.send(batch);
    return batch;
  };
  return { collector, client, pool, logged, send };
}

/** Sequences that arrived, each once: a collector's dedup by (run, sequence). */
function sequences(collector: CollectorDouble): number[] {
  const seen = new Set<number>();
  for (const batch of collector.batches) {
    expect(batch.runId).toBe(RUN.toString('latin1'));
    for (const [i, event] of batch.events.entries()) {
      const sequence = Number(batch.firstSeq) + i;
      expect(event).toMatchObject({ fileOpen: { inode: String(sequence) } });
      seen.add(sequence);
    }
  }
  return [...seen].sort((a, b) => a - b);
}

const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);
const total = (counts: Float64Array): number => counts.reduce((sum, count) => sum + count, 0);

describe('PublishClient', () => {
  it('says hello first, numbers batches from 1 and frees what is confirmed', async () => {
    const { collector, client, pool, send } = await rig(acknowledge);
    for (let i = 0; i < 20; i++) send();
    await until(() => total(client.confirmed) === 60);
    const [stream] = collector.streams;
    expect(stream?.hello).toMatchObject({ schema: 1, agentVersion: '0.1.0', node: { nodeName: 'node-1' } });
    expect(stream?.batches.map(({ streamSeq }) => streamSeq)).toEqual(upTo(20).map(String));
    expect(sequences(collector)).toEqual(upTo(60));
    expect(client.depth).toEqual({ batches: 0, events: 0, bytes: 0 });
    expect(pool.idleBytes).toBeGreaterThan(0);
    expect(await client.shutdown(1000)).toEqual({ batches: 0, events: 0, bytes: 0 });
    await until(() => collector.streams[0]?.ended === true);
  });

  it('keeps batches while acknowledgements are late, and takes cumulative ones', async () => {
    const { collector, client, send } = await rig((seen, index) => {
      if (index === 9) acknowledge(seen, index);
    });
    for (let i = 0; i < 9; i++) send();
    await until(() => collector.batches.length === 9);
    expect(client.depth.batches).toBe(9);
    send();
    await until(() => client.depth.batches === 0);
    expect(total(client.confirmed)).toBe(30);
  });

  it('opens the stream again when acknowledgements stop, and sends the rest again', async () => {
    let quiet = true;
    const { collector, client, logged, send } = await rig(
      (seen, index) => {
        if (!quiet || index < 2) acknowledge(seen, index);
      },
      { ackDeadlineMs: 60 },
    );
    for (let i = 0; i < 5; i++) send();
    await until(() => collector.streams.length >= 2);
    quiet = false;
    await until(() => total(client.confirmed) === 15);
    expect(sequences(collector)).toEqual(upTo(15));
    const [first, second] = collector.streams;
    expect(first?.batches.length).toBe(5);
    expect(second?.batches[0]).toMatchObject({ streamSeq: '1', firstSeq: '7' });
    expect(logged.join('\n')).toContain('no acknowledgement for 60 ms');
  });

  it('closes a stream that acknowledges more than was sent, and trusts nothing of that message', async () => {
    const { collector, client, logged, send } = await rig((seen, index) => {
      if (collector.streams.length === 1) seen.call.write({ ackedStreamSeq: 1000n });
      else acknowledge(seen, index);
    });
    send();
    await until(() => collector.streams.length === 2 && client.depth.batches === 0);
    expect(collector.streams[1]?.batches.map(({ firstSeq }) => firstSeq)).toEqual(['1']);
    expect(total(client.confirmed)).toBe(3);
    expect(logged.join('\n')).toContain('acknowledged batch 1000 of 1 sent');
  });

  it('delivers every event across restarts of the collector in the middle of streams', async () => {
    const { collector, client, send } = await rig((seen, index) => {
      if (index % 3 === 2) acknowledge(seen, index);
    });
    for (let round = 0; round < 4; round++) {
      const before = collector.batches.length;
      for (let i = 0; i < 10; i++) send();
      await until(() => collector.batches.length >= before + 5);
      collector.stop();
      await until(() => client.state !== 'open');
      for (let i = 0; i < 5; i++) send();
      await collector.start();
      await until(() => client.state === 'open');
    }
    collector.behaviour = acknowledge;
    send();
    await until(() => client.depth.batches === 0);
    expect(sequences(collector)).toEqual(upTo(61 * 3));
    expect(client.losses()).toEqual([]);
    expect(total(client.confirmed)).toBe(total(client.accepted));
    for (const stream of collector.streams) {
      expect(stream.batches.map(({ streamSeq }) => streamSeq)).toEqual(upTo(stream.batches.length).map(String));
    }
  });

  it('takes RESOURCE_EXHAUSTED as a reason to wait and try again', async () => {
    const { collector, client, logged, send } = await rig((seen, index) => {
      if (collector.streams.length < 3) {
        seen.call.emit(
          'error',
          Object.assign(new Error('quota'), { code: status.RESOURCE_EXHAUSTED, details: 'quota' }),
        );
      } else {
        acknowledge(seen, index);
      }
    });
    send();
    await until(() => client.depth.batches === 0);
    expect(collector.streams.length).toBe(3);
    expect(sequences(collector)).toEqual(upTo(3));
    expect(logged.filter((line) => line.includes('"code":8,"reason":"quota"'))).toHaveLength(2);
  });

  it.each(Array.from({ length: 17 }, (_, code) => code))(
    'delivers every event though streams end with status %i, before an acknowledgement and after one',
    async (code) => {
      let left = 4;
      const { collector, client, send } = await rig((seen, index) => {
        if (left === 0 || (index === 0 && left % 2 === 0)) {
          acknowledge(seen, index);
          return;
        }
        left--;
        if (code === 0) seen.call.end();
        else seen.call.emit('error', Object.assign(new Error('no'), { code, details: `status ${code}` }));
      });
      for (let i = 0; i < 10; i++) send();
      await until(() => client.depth.batches === 0);
      expect(left).toBe(0);
      expect(sequences(collector)).toEqual(upTo(30));
      expect(total(client.confirmed)).toBe(30);
      expect(client.losses()).toEqual([]);
    },
  );

  it('counts a refused batch by kind and goes on', async () => {
    const { collector, client, send } = await rig((seen, index) => {
      const rejected = index === 1 ? [{ streamSeq: 2n, reason: 'poison' }] : [];
      seen.call.write({ ackedStreamSeq: BigInt(index + 1), rejected });
    });
    for (let i = 0; i < 3; i++) send();
    await until(() => client.depth.batches === 0);
    expect(collector.streams).toHaveLength(1);
    expect(client.losses()).toEqual([{ stage: 'collector', reason: 'rejected', kind: 'file.open', total: 3 }]);
    expect(total(client.confirmed)).toBe(6);
  });

  it('counts events that were refused of a batch that was taken, once, when it is confirmed', async () => {
    let broken = false;
    const { client, send } = await rig((seen, index) => {
      const seq = BigInt(index + 1);
      if (index === 1 && !broken) {
        // Told without its acknowledgement, and then told again on the next stream.
        broken = true;
        seen.call.write({ ackedStreamSeq: 1n, rejected: [{ streamSeq: 2n, reason: 'x', events: 1n }] });
        seen.call.emit('error', Object.assign(new Error('gone'), { code: status.UNAVAILABLE, details: 'gone' }));
        return;
      }
      const rejected = [
        { streamSeq: seq, reason: 'row above 1 MiB', events: 1n },
        { streamSeq: seq, reason: 'time out of range', events: 1n },
        { streamSeq: 0n, reason: 'of no batch', events: 3n },
      ];
      seen.call.write({ ackedStreamSeq: seq, rejected: index === 0 ? rejected : [] });
    });
    for (let i = 0; i < 3; i++) send();
    await until(() => client.depth.batches === 0);
    const [loss, ...more] = client.losses();
    expect(more).toEqual([]);
    expect(loss).toMatchObject({ stage: 'collector', reason: 'refused_event', kind: 'file.open' });
    // Two of the first batch on each of the two streams.
    expect(loss?.total).toBe(4);
    expect(total(client.confirmed)).toBe(9 - 4);
  });

  it('never counts more than the batch has, whatever the collector says', async () => {
    const { client, send } = await rig((seen, index) => {
      const seq = BigInt(index + 1);
      seen.call.write({ ackedStreamSeq: seq, rejected: [{ streamSeq: seq, reason: 'x', events: 2n ** 60n }] });
    });
    for (let i = 0; i < 2; i++) send();
    await until(() => client.depth.batches === 0);
    expect(client.losses()).toEqual([{ stage: 'collector', reason: 'refused_event', kind: 'file.open', total: 6 }]);
    expect(total(client.confirmed)).toBe(0);
  });

  it('drops the oldest whole batches beyond its memory, counted, while there is no collector', async () => {
    const { collector, client, send } = await rig(acknowledge, { queueBytes: 64 * 1024 });
    collector.stop();
    await until(() => client.state === 'waiting');
    for (let i = 0; i < 30; i++) send();
    expect(client.depth.bytes).toBeLessThanOrEqual(64 * 1024);
    const kept = client.depth.batches;
    expect(kept).toBeGreaterThan(5);
    expect(client.losses()).toEqual([
      { stage: 'queue', reason: 'overflow', kind: 'file.open', total: (30 - kept) * 3 },
    ]);
    await collector.start();
    await until(() => client.depth.batches === 0);
    expect(sequences(collector)).toEqual(upTo(90).slice((30 - kept) * 3));
    expect(total(client.confirmed) + (30 - kept) * 3).toBe(90);
  });

  it('names a dropped batch evicted_unconfirmed where a collector may have it', async () => {
    const { collector, client, send } = await rig(SILENT, { queueBytes: 64 * 1024 });
    for (let i = 0; i < 4; i++) send();
    await until(() => collector.batches.length === 4);
    collector.stop();
    await until(() => client.state === 'waiting');
    for (let i = 0; i < 14; i++) send();
    expect(client.losses()).toEqual([{ stage: 'queue', reason: 'evicted_unconfirmed', kind: 'file.open', total: 6 }]);
  });

  it('has no more on the stream than its in-flight limit', async () => {
    const { collector, client, send } = await rig(SILENT, { inFlightBytes: 128 * 1024 });
    for (let i = 0; i < 10; i++) send(15, 4000);
    await until(() => collector.batches.length === 2);
    collector.behaviour = acknowledge;
    const [stream] = collector.streams;
    if (stream !== undefined) acknowledge(stream, 1);
    await until(() => client.depth.batches === 0);
    expect(sequences(collector)).toEqual(upTo(150));
  });

  it('uses buffers again while others are on their way, and never one that is', async () => {
    const { collector, client, pool, send } = await rig((seen, index) => {
      if (index % 4 === 3) acknowledge(seen, index);
    });
    let largest = 0;
    for (let i = 0; i < 150; i++) {
      send(14, 4000);
      if (i % 10 === 9) await until(() => client.depth.batches < 4);
      largest = Math.max(largest, pool.idleBytes);
    }
    collector.behaviour = acknowledge;
    send();
    await until(() => client.depth.batches === 0);
    expect(largest).toBeGreaterThan(0);
    expect(sequences(collector)).toEqual(upTo(150 * 14 + 3));
  });

  it('never uses a buffer again that is still being written, though the collector has confirmed it unread', async () => {
    const { collector, client, send } = await rig(({ call }) => void call.pause());
    // grpc-js takes sixteen messages at a time, and HTTP/2 only part of them while nobody reads.
    for (let i = 0; i < 40; i++) send(14, 4000);
    await until(() => collector.batches.length === 1);
    const { call } = collector.streams[0] as Seen;
    call.write({ ackedStreamSeq: 15n });
    await until(() => client.depth.batches === 25);
    // These would take the buffers of the first ones, had they been given back.
    for (let i = 0; i < 40; i++) send(14, 4000);
    collector.behaviour = acknowledge;
    call.resume();
    await until(() => collector.batches.length >= 80);
    // Reads the inode of each event, which tells its sequence.
    expect(sequences(collector)).toEqual(upTo(80 * 14));
    expect(collector.streams).toHaveLength(1);
  });

  it('half-closes now and then, awaits the last acknowledgements and goes on with a new stream', async () => {
    const { collector, client, logged, send } = await rig(acknowledge, { reopenMs: 30 });
    const more = setInterval(() => send(), 5);
    await until(() => collector.streams.length >= 4);
    clearInterval(more);
    await until(() => client.depth.batches === 0);
    expect(sequences(collector)).toEqual(upTo(total(client.accepted)));
    expect(collector.batches.length * 3).toBe(total(client.accepted));
    expect(logged.join('\n')).not.toContain('no stream');
  });

  it('tells other facts of the node from the next stream on', async () => {
    const { collector, client, send } = await rig(acknowledge, { reopenMs: 30 });
    send();
    client.greetWith({ schema: 1, node: { runId: RUN, nodeName: 'node-1', cloudRegion: 'eu-west-1' } });
    const told = (stream: number) => collector.streams[stream]?.hello?.['node'];
    await until(() => told(1) !== undefined);
    expect(told(0)).not.toHaveProperty('cloudRegion');
    expect(told(1)).toMatchObject({ nodeName: 'node-1', cloudRegion: 'eu-west-1' });
  });

  it('starts without a collector and finds it later', async () => {
    const { collector, client, logged, send } = await rig(acknowledge, {}, false);
    collector.stop();
    client.start();
    send();
    await until(() => logged.some((line) => line.includes('ECONNREFUSED')));
    await collector.start();
    await until(() => client.depth.batches === 0);
    expect(sequences(collector)).toEqual(upTo(3));
  });

  it('opens again when a peer accepts connections but never speaks', async () => {
    const net = await import('node:net');
    const sockets = new Set<import('node:net').Socket>();
    const server = net.createServer((socket) => sockets.add(socket.on('error', () => {})));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    closers.push(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    const { port } = server.address() as import('node:net').AddressInfo;
    const { client, logged, send } = await rig(
      acknowledge,
      { dialer: new Endpoints({ addresses: [`127.0.0.1:${port}`] }), connectTimeoutMs: 400, ackDeadlineMs: 50 },
      false,
    );
    client.start();
    send();
    await until(() => sockets.size >= 6);
    expect(client.depth.batches).toBe(1);
    const waited = logged.flatMap((line) => /no connection within (\d+) ms/.exec(line)?.[1] ?? []);
    // Soon at first, then with patience.
    expect(waited.slice(0, 5)).toEqual(['50', '100', '200', '400', '400']);
  });

  it('reports at shutdown what was not confirmed in time, once', async () => {
    const { collector, client, send } = await rig(SILENT);
    send();
    await until(() => collector.batches.length === 1);
    const first = client.shutdown(30);
    expect(client.shutdown(10_000)).toBe(first);
    expect(await first).toMatchObject({ batches: 1, events: 3 });
    expect(client.state).toBe('closed');
    send();
    expect(client.losses()).toEqual([{ stage: 'queue', reason: 'closed', kind: 'file.open', total: 3 }]);
  });

  it('waits at shutdown for the acknowledgements of what it was given before', async () => {
    const { collector, client, send } = await rig((seen, index) => {
      setTimeout(() => acknowledge(seen, index), 20);
    });
    for (let i = 0; i < 10; i++) send();
    expect(await client.shutdown(5000)).toEqual({ batches: 0, events: 0, bytes: 0 });
    expect(sequences(collector)).toEqual(upTo(30));
  });
});
