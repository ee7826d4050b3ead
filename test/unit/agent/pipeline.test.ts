import { describe, expect, it } from 'vitest';
import { decodeBatch } from '../../../proto/contract.ts';
import { DrainLoop } from '../../../src/agent/drain.ts';
import { Hold } from '../../../src/agent/hold.ts';
import { BATCH_MS, Pipeline } from '../../../src/agent/pipeline.ts';
import { FakeEventSource } from '../../../src/kernel/fake.ts';
import {
  CGROUP,
  HEAD,
  KT_CGROUP_MKDIR,
  KT_FILE_OPEN,
  KT_PROCESS_EXEC,
  KT_RECORD_VERSION,
} from '../../../src/kernel/layout.gen.ts';
import { WorkloadTable } from '../../../src/kubernetes/table.ts';
import { batchBytes, type EncodedBatch } from '../../../src/stream/batch.ts';
import { BatchEncoder } from '../../../src/stream/encoder.ts';
import { ProcessTable } from '../../../src/stream/processes.ts';
import type { Tail } from '../../../src/tail/tail.ts';
import { drainBuffer, kernelPath, makeExec, makeFile, makeHead, recordBytes } from '../../records.ts';

const UID = '11111111-2222-3333-4444-555555555555';
const CONTAINER = 'c'.repeat(64);
const POD_CGROUP = 70n;
const CONTAINER_CGROUP = 71n;

function mkdir(id: bigint, parentId: bigint, path: string): Buffer {
  const bytes = Buffer.alloc(HEAD.SIZE + CGROUP.SIZE + path.length);
  bytes.writeUInt32LE(bytes.length, HEAD.len);
  bytes.writeUInt8(KT_RECORD_VERSION, HEAD.version);
  bytes.writeUInt8(KT_CGROUP_MKDIR, HEAD.kind);
  bytes.writeBigUInt64LE(id, HEAD.SIZE + CGROUP.id);
  bytes.writeBigUInt64LE(parentId, HEAD.SIZE + CGROUP.parent_id);
  bytes.writeUInt16LE(path.length, HEAD.SIZE + CGROUP.path_len);
  bytes.write(path, HEAD.SIZE + CGROUP.SIZE);
  return bytes;
}

const madeByKubelet = [
  mkdir(POD_CGROUP, 1n, `/kubepods/pod${UID}`),
  mkdir(CONTAINER_CGROUP, POD_CGROUP, `/kubepods/pod${UID}/${CONTAINER}`),
];

const process = {
  cgroupId: CONTAINER_CGROUP,
  tgid: 9,
  tid: 9,
  startTime: 5n,
  execId: 2n,
  imageTgid: 9,
  imageStartTime: 5n,
};

function opened(file: string, head = {}): Buffer {
  return recordBytes({
    head: makeHead({ ...process, ...head }),
    body: makeFile('file.open', { path: kernelPath(file) }),
  });
}

function setUp({ hold = false } = {}) {
  const source = new FakeEventSource();
  const workloads = new WorkloadTable();
  workloads.addFound([{ id: 1n, path: '/', podUid: '', containerId: '', rootId: 0n }]);
  const processes = new ProcessTable();
  const encoder = new BatchEncoder({ runId: new Uint8Array(16), processes });
  const sent: EncodedBatch[] = [];
  const clock = { now: 0 };
  const queue = { fill: 0 };
  const pipeline = new Pipeline({
    workloads,
    processes,
    encoder,
    tail: undefined,
    send: (batch) => sent.push(batch),
    queueFill: () => queue.fill,
    wallOffsetNs: () => 0n,
  });
  if (hold) {
    pipeline.useHold(
      new Hold({
        deadlineMs: 1000,
        capacityBytes: 1 << 20,
        worthWaiting: () => true,
        lookup: (low, high) => workloads.get(low, high),
        release: pipeline.event.bind(pipeline),
      }),
    );
  }
  const loop = new DrainLoop({
    source,
    onRecord: pipeline.record.bind(pipeline),
    onTick: (now) => pipeline.tick(now),
    now: () => clock.now,
  });
  const drain = (...records: Buffer[]): void => {
    source.push(drainBuffer(records).bytes);
    loop.drainAll(Number.POSITIVE_INFINITY);
  };
  const batches = () => sent.map((batch) => decodeBatch(batchBytes(batch)));
  const rows = () =>
    batches().flatMap((batch) =>
      batch.events.map((event) => {
        const actor = batch.processes[event.process - 1];
        const workload = actor && batch.workloads[actor.workload - 1];
        return {
          path: event.fileOpen?.path?.path.toString(),
          exe: actor?.exe.toString(),
          container: workload?.containerId,
          pod: workload?.podName,
          state: workload?.state,
        };
      }),
    );
  return { pipeline, drain, batches, rows, sent, workloads, encoder, clock, loop, queue };
}

describe('the pipeline', () => {
  it('names an event by the cgroup and the exec that came before it in the same drain', () => {
    const { drain, pipeline, rows } = setUp();
    const exec = recordBytes({ head: makeHead(process), body: makeExec({ exe: kernelPath('/bin/app') }) });
    drain(...madeByKubelet, exec, opened('/x'));
    pipeline.finish();
    expect(rows()).toEqual([
      { path: undefined, exe: '/bin/app', container: CONTAINER, pod: '', state: 2 },
      { path: '/x', exe: '/bin/app', container: CONTAINER, pod: '', state: 2 },
    ]);
    expect(pipeline).toMatchObject({ control: 2, encoded: 2, badControl: 0 });
  });

  it('holds the events of a pod that is not known and sends them in order, named, when it is', () => {
    const { drain, pipeline, rows, workloads } = setUp({ hold: true });
    drain(...madeByKubelet, opened('/1'), opened('/host', { cgroupId: 1n, tgid: 3 }), opened('/2'));
    workloads.applyPods([pod()]);
    drain(opened('/3'));
    pipeline.finish();
    expect(rows().map((row) => [row.path, row.pod])).toEqual([
      ['/host', ''],
      ['/1', 'web-0'],
      ['/2', 'web-0'],
      ['/3', 'web-0'],
    ]);
  });

  it('sheds files while the collector does not keep up, counted, and keeps execs', () => {
    const { drain, pipeline, rows, queue } = setUp();
    const shown: number[] = [];
    const offer = (_buf: Uint8Array, _at: number, _length: number, kind: number, _who: unknown, sequence: number) =>
      shown.push(kind, sequence);
    pipeline.watch({ offer, tick: () => {} } as unknown as Tail);
    queue.fill = 0.8;
    drain(...madeByKubelet); // what is full is looked at once a drain
    const exec = recordBytes({ head: makeHead(process), body: makeExec({ exe: kernelPath('/bin/app') }) });
    drain(exec, opened('/x'), opened('/y'));
    queue.fill = 0;
    drain();
    drain(opened('/z'));
    pipeline.finish();
    expect(rows().map((row) => row.path ?? row.exe)).toEqual(['/bin/app', '/z']);
    expect([pipeline.encoded, pipeline.shedding.counts[KT_FILE_OPEN]]).toEqual([2, 2]);
    // Whoever watches on the node sees all of them.
    expect(shown).toEqual([KT_PROCESS_EXEC, 1, KT_FILE_OPEN, 0, KT_FILE_OPEN, 0, KT_FILE_OPEN, 2]);
  });

  it('sends what is held at the end, as pending', () => {
    const { drain, pipeline, rows } = setUp({ hold: true });
    drain(...madeByKubelet, opened('/1'));
    expect(rows()).toEqual([]);
    pipeline.finish();
    expect(rows()).toMatchObject([{ path: '/1', container: CONTAINER, state: 2 }]);
  });

  it('closes a batch after a second, or when it is full, without losing or reordering', () => {
    const { drain, batches, clock, sent, pipeline } = setUp();
    drain(opened('/a'));
    clock.now = BATCH_MS - 1;
    drain();
    expect(sent).toHaveLength(0);
    clock.now = BATCH_MS;
    drain();
    expect(sent).toHaveLength(1);
    for (let i = 0; i < 50; i++) drain(...Array.from({ length: 100 }, (_, k) => opened(`/dir/${i}-${k}`)));
    pipeline.finish();
    expect(sent.length).toBeGreaterThan(2);
    const all = batches();
    expect(all.flatMap((batch) => batch.events.map((event) => event.fileOpen?.path?.path.toString()))).toEqual([
      '/a',
      ...Array.from({ length: 5000 }, (_, i) => `/dir/${Math.floor(i / 100)}-${i % 100}`),
    ]);
    let next = 1n;
    for (const batch of all) {
      expect(batch.firstSeq).toBe(next);
      next += BigInt(batch.events.length);
    }
  });

  it('puts its own events in line with the others', () => {
    const { drain, pipeline, batches } = setUp();
    drain(opened('/a'));
    pipeline.own({ probe: { kind: 'file.open', tier: 'syscall', state: 'on', reason: '' } }, 77n);
    drain(opened('/b'));
    pipeline.finish();
    const [batch] = batches();
    expect(batch?.events.map((event) => event.probe?.state ?? event.fileOpen?.path?.path.toString())).toEqual([
      '/a',
      'on',
      '/b',
    ]);
  });

  it('counts control records that do not add up, and records that cannot be encoded, and goes on', () => {
    const { drain, pipeline, encoder, rows } = setUp();
    const short = mkdir(90n, 1n, '/abc');
    short.writeUInt16LE(400, HEAD.SIZE + CGROUP.path_len);
    const unknownControl = mkdir(91n, 1n, '/abd');
    unknownControl.writeUInt8(99, HEAD.kind);
    const unknownKind = opened('/x');
    unknownKind.writeUInt8(30, HEAD.kind);
    drain(short, unknownControl, unknownKind, opened('/y', { cgroupId: 1n }));
    pipeline.finish();
    expect(pipeline.badControl).toBe(2);
    expect(encoder.refused.reduce((a, b) => a + b)).toBe(1);
    expect(rows().map((row) => row.path)).toEqual(['/y']);
  });
});

function pod() {
  return {
    uid: UID,
    name: 'web-0',
    namespace: 'shop',
    labels: { app: 'web' },
    ips: [],
    hostNetwork: false,
    hostPid: false,
    serviceAccount: 'default',
    ownerKind: '',
    ownerName: '',
    ownerDerived: false,
    containers: [
      {
        id: CONTAINER,
        name: 'nginx',
        type: 'container' as const,
        imageName: 'nginx:1',
        imageDigest: 'sha256:aa',
        runtime: 'containerd',
        restartCount: 0,
        privileged: false,
        addedCapabilities: [],
        startedAt: '',
        finishedAt: '',
        probeCommands: [],
        previousIds: [],
      },
    ],
    phase: 'Running',
    startedAt: '',
    hostPaths: [],
  };
}
