// What an event costs between the drain buffer and the wire, and how many bytes it is there: the transcoder against
// protobufjs's fromObject + encode on the same events in the same run, in short interleaved rounds, so that a busy
// machine disturbs few of them and both alike. It runs the compiled dist/: build first.

import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import protobuf from 'protobufjs';
import { expect, it } from 'vitest';
import { makeWorkload, type Workload } from '../../src/kubernetes/workload.ts';
import { Random } from '../random-records.ts';
import {
  type Body,
  drainBuffer,
  type Head,
  kernelPath,
  makeExec,
  makeFile,
  makeHead,
  noPath,
  type RecordPlan,
  recordBytes,
} from '../records.ts';

/** About one full drain buffer. */
const EVENTS = 1150;
const ROUNDS = 150;
/** Turns in a row: as in the agent, which walks one drain buffer after the other. */
const TURNS = 10;
const CONTAINERS = 20;
const PROCESSES = 60;

const built = new URL('../../dist/src/stream/', import.meta.url);
const load = async <T>(file: string): Promise<T> => (await import(new URL(file, built).href)) as T;
const { batchBytes } = await load<typeof import('../../src/stream/batch.ts')>('batch.js');
const { BufferPool } = await load<typeof import('../../src/stream/buffer-pool.ts')>('buffer-pool.js');
const { BATCH_FULL, BatchEncoder } = await load<typeof import('../../src/stream/encoder.ts')>('encoder.js');
const { ProcessTable } = await load<typeof import('../../src/stream/processes.ts')>('processes.js');

const hex = (random: Random, bytes: number): string => random.bytes(bytes).toString('hex');

function workload(random: Random, i: number): Workload {
  const pod = `payments-api-${hex(random, 5)}-${hex(random, 3).slice(0, 5)}`;
  const uid = `${hex(random, 4)}-${hex(random, 2)}-4${hex(random, 2).slice(1)}-${hex(random, 2)}-${hex(random, 6)}`;
  const containerId = hex(random, 32);
  return makeWorkload({
    cgroupId: 10_000n + BigInt(i),
    cgroupPath: `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${uid.replaceAll('-', '_')}.slice/cri-containerd-${containerId}.scope`,
    state: 'complete',
    reason: '',
    containerId,
    containerName: 'api',
    containerRuntime: 'containerd',
    imageName: 'registry.example.com/payments/api:1.42.0',
    imageDigest: `sha256:${hex(random, 32)}`,
    podUid: uid,
    podName: pod,
    namespace: 'payments',
    labels: { app: 'payments-api', 'pod-template-hash': hex(random, 5), 'app.kubernetes.io/part-of': 'payments' },
    serviceAccount: 'payments-api',
    ownerKind: 'ReplicaSet',
    ownerName: pod.slice(0, -6),
    ownerDerived: false,
  });
}

const PATHS = [
  '/etc/passwd',
  '/usr/lib/x86_64-linux-gnu/libc.so.6',
  '/var/lib/app/data/segment-000042.db',
  '/proc/self/status',
  '/usr/local/lib/python3.11/site-packages/requests/adapters.py',
  '/tmp/session-9f8e7d6c',
];

function body(random: Random): Body {
  const dice = random.next();
  const file = { inode: BigInt(random.u32()), dev: 0x800001, mode: 0o100644, path: kernelPath(random.pick(PATHS)) };
  if (dice < 0.7) return makeFile('file.open', { ...file, openFlags: 0o100000, flags: 16 });
  if (dice < 0.8) return makeFile('file.close', { ...file, size: BigInt(random.below(1e6)), flags: 4 | 16 });
  if (dice < 0.84) {
    return makeExec({
      exe: kernelPath('/usr/bin/curl'),
      cwd: kernelPath('/srv/app'),
      filename: Buffer.from('/usr/bin/curl'),
      argv: Buffer.from(`curl\0-sf\0http://10.0.${random.below(256)}.7:8080/healthz\0`),
      argc: 3,
      exeInode: 123_456n,
      exeDev: 0x800001,
      loginuid: 0xffffffff,
    });
  }
  if (dice < 0.88) return { kind: 'process.exit', duration: BigInt(random.u32()), code: 0, signal: 0, core: 0 };
  const close = dice >= 0.94;
  return {
    kind: close ? 'socket.close' : 'socket.connect',
    connStart: 123_456_789_012_345n + BigInt(random.u32()),
    bytesSent: BigInt(random.below(1e5)),
    bytesReceived: BigInt(random.below(1e6)),
    duration: BigInt(random.u32()),
    localAddr: random.bytes(16),
    remoteAddr: random.bytes(16),
    askedAddr: random.bytes(16),
    family: 2,
    protocol: 6,
    localPort: 32_768 + random.below(28_000),
    remotePort: 443,
    askedFamily: 2,
    askedPort: 443,
    flags: 7 | (close ? 8 : 0),
    ret: 0,
    backlog: 0,
    endedBy: close ? 1 : 0,
    path: noPath(),
    name: Buffer.alloc(0),
  };
}

/** Events of 60 processes in 20 containers at a rate, events/s; a process acts in bursts. */
function events(random: Random, count: number, rate: number): { plans: RecordPlan[]; owners: number[] } {
  const heads: Head[] = Array.from({ length: PROCESSES }, (_, i) => {
    const startTime = 100_000_000_000_000n + BigInt(random.u32());
    return makeHead({
      cgroupId: 10_000n + BigInt(i % CONTAINERS),
      tgid: 1000 + i * 7,
      tid: 1000 + i * 7,
      startTime,
      imageTgid: 1000 + i * 7,
      imageStartTime: startTime,
      parentTgid: 900 + i,
      parentStartTime: 99_000_000_000_000n,
      mntNs: 4_026_532_000 + i,
      netNs: 4_026_533_000 + i,
      comm: Buffer.from(random.pick(['python3', 'java', 'envoy', 'postgres'])),
    });
  });
  let at = 0;
  let ktime = 123_456_789_000_000n;
  const owners: number[] = [];
  const plans = Array.from({ length: count }, () => {
    if (random.chance(0.2)) at = random.below(PROCESSES);
    ktime += BigInt(random.below(2 * Math.round(1e9 / rate)));
    owners.push(at % CONTAINERS);
    return { head: { ...(heads[at] as Head), ktime }, body: body(random) };
  });
  return { plans, owners };
}

const quantile = (values: number[], q: number): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length * q)] ?? Number.NaN;

it('costs at most 300 ns an event, and less than a third of protobufjs', () => {
  const random = new Random(7);
  const workloads = Array.from({ length: CONTAINERS }, (_, i) => workload(random, i));
  const { plans, owners } = events(random, EVENTS, 50_000);
  const { bytes, offsets } = drainBuffer(plans.map(recordBytes));
  const processes = new ProcessTable();
  const pool = new BufferPool();
  const encoder = new BatchEncoder({ runId: Buffer.alloc(16, 1), processes, pool });
  const order = owners.map((owner) => workloads[owner] as Workload);

  const transcode = (collect?: Buffer[]): void => {
    const flush = (): void => {
      const batch = encoder.finish(0n);
      if (batch === undefined) return;
      collect?.push(Buffer.from(batchBytes(batch)));
      pool.release(batch.buffer);
    };
    for (let i = 0; i < EVENTS; i++) {
      const offset = offsets[i] as number;
      const owner = order[i] as Workload;
      if (encoder.add(bytes, offset, owner) === BATCH_FULL) {
        flush();
        encoder.add(bytes, offset, owner);
      }
    }
    flush();
  };

  const root = protobuf.loadSync(fileURLToPath(new URL('../../proto/kerntap/v1/events.proto', import.meta.url)));
  const Batch = root.lookupType('kerntap.v1.Batch');
  const Event = root.lookupType('kerntap.v1.Event');
  const full: Buffer[] = [];
  transcode(full);
  const objects = full.flatMap((batch) => {
    const { events } = Batch.toObject(Batch.decode(batch), { longs: Number }) as { events: object[] };
    return events;
  });
  expect(objects.length).toBe(EVENTS);
  let sink = 0;
  const reflect = (): void => {
    for (const object of objects) sink += Event.encode(Event.fromObject(object)).finish().length;
  };

  const ours: number[] = [];
  const theirs: number[] = [];
  const timed = (run: () => void): number => {
    const start = process.hrtime.bigint();
    run();
    return Number(process.hrtime.bigint() - start) / EVENTS;
  };
  for (let i = 0; i < 100; i++) {
    transcode();
    reflect();
  }
  for (let i = 0; i < ROUNDS; i++) {
    for (let turn = 0; turn < TURNS; turn++) ours.push(timed(transcode));
    for (let turn = 0; turn < TURNS; turn++) theirs.push(timed(reflect));
  }
  expect(sink).toBeGreaterThan(0);

  // No object per event: the heap grows by what batches need, not by what events would.
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < 100; i++) transcode();
  const heap = (process.memoryUsage().heapUsed - before) / (100 * EVENTS);

  const size = (batches: Buffer[], count: number): string => {
    const raw = batches.reduce((sum, batch) => sum + batch.length, 0);
    const zipped = batches.reduce((sum, batch) => sum + gzipSync(batch).length, 0);
    return `${(raw / count).toFixed(1)} raw, ${(zipped / count).toFixed(1)} gzip`;
  };
  // As the agent flushes: full, or once a second.
  const slow = (rate: number): string => {
    const count = Math.max(500, rate);
    const some = events(new Random(rate), count, rate);
    const drained = drainBuffer(some.plans.map(recordBytes));
    const batches: Buffer[] = [];
    const flush = (): void => {
      const batch = encoder.finish(0n);
      if (batch !== undefined) batches.push(Buffer.from(batchBytes(batch)));
    };
    for (const [i, offset] of drained.offsets.entries()) {
      const owner = workloads[some.owners[i] as number] as Workload;
      if (encoder.add(drained.bytes, offset, owner) === BATCH_FULL) {
        flush();
        encoder.add(drained.bytes, offset, owner);
      }
      if ((i + 1) % rate === 0) flush();
    }
    flush();
    return size(batches, count);
  };

  const rates = [50_000, 500, 50].map((rate) => `batches at ${rate} events/s: ${slow(rate)} bytes/event`);
  console.log(
    [
      `transcoder: ${quantile(ours, 0.5).toFixed(0)} ns/event, undisturbed (10th percentile) ${quantile(ours, 0.1).toFixed(0)}`,
      `protobufjs, without reading the record: ${quantile(theirs, 0.5).toFixed(0)} and ${quantile(theirs, 0.1).toFixed(0)}`,
      `heap ${heap.toFixed(1)}, kernel record ${(bytes.length / EVENTS).toFixed(0)} bytes/event`,
      ...rates,
    ].join('\n'),
  );
  expect(quantile(ours, 0.1)).toBeLessThan(300);
  expect(quantile(ours, 0.5) * 3).toBeLessThan(quantile(theirs, 0.5));
  expect(heap).toBeLessThan(16);
});
