import { describe, expect, it } from 'vitest';
import { makeWorkload } from '../../../src/kubernetes/workload.ts';
import { batchBytes, FRAME_HEADROOM, frame } from '../../../src/stream/batch.ts';
import { BufferPool } from '../../../src/stream/buffer-pool.ts';
import { BATCH_BYTES, BATCH_FULL, BatchEncoder, MESSAGE_BYTES_MAX, REFUSED } from '../../../src/stream/encoder.ts';
import { KIND_LOSS, KIND_POD } from '../../../src/stream/event-kinds.ts';
import { ProcessTable } from '../../../src/stream/processes.ts';
import { WORKLOAD_BYTES_MAX } from '../../../src/stream/workload-dictionary.ts';
import { drainBuffer, kernelPath, makeExec, makeFile, makeHead, type RecordPlan, recordBytes } from '../../records.ts';
import { decode, decodeBatch, type PlainBatch } from './oracle.ts';

const RUN = Buffer.alloc(16, 3);
const HOST = makeWorkload({ cgroupId: 77n, cgroupPath: '/', state: 'host', reason: '' });

const encoderOf = (pool = new BufferPool()): BatchEncoder =>
  new BatchEncoder({ runId: RUN, processes: new ProcessTable(), pool });
const unlink = (path: string, head = makeHead()): RecordPlan => ({
  head,
  body: makeFile('file.unlink', { path: kernelPath(path) }),
});
const put = (encoder: BatchEncoder, plan: RecordPlan, workload = HOST): number =>
  encoder.add(drainBuffer([recordBytes(plan)]).bytes, 0, workload);
const finished = (encoder: BatchEncoder): PlainBatch => {
  const batch = encoder.finish(0n);
  if (batch === undefined) throw new Error('no batch');
  return decodeBatch(batchBytes(batch));
};

describe('a batch', () => {
  it('is full before it exceeds 64 KiB, and the next continues the sequence', () => {
    const encoder = encoderOf();
    let sequence = 1;
    for (let batches = 0; batches < 3; batches++) {
      const firstSeq = sequence;
      while (put(encoder, unlink(`/${'x'.repeat(sequence % 250)}`)) !== BATCH_FULL) sequence++;
      const batch = encoder.finish(0n);
      expect(batch).toMatchObject({ firstSeq, events: sequence - firstSeq });
      expect(batch?.buffer.length).toBe(BATCH_BYTES);
      expect((batch?.length ?? 0) + FRAME_HEADROOM).toBeLessThanOrEqual(BATCH_BYTES);
      expect(batch?.length).toBeGreaterThan(BATCH_BYTES - 1000);
    }
    expect(encoder.finish(0n)).toBeUndefined();
  });

  it('names a process again when its workload, its thread name or its credentials change, and only then', () => {
    const encoder = encoderOf();
    const named = makeWorkload({ ...HOST, state: 'complete', podName: 'web' });
    for (const [plan, workload] of [
      [unlink('/a'), HOST],
      [unlink('/b', makeHead({ ktime: 9n, tid: 5, actor: 1, tier: 3, weight: 4 })), HOST],
      [unlink('/c'), named],
      [unlink('/d', makeHead({ comm: Buffer.from('worker') })), named],
      [unlink('/e', makeHead({ euid: 0 })), named],
      [unlink('/f'), HOST],
      [unlink('/g'), named],
    ] as const) {
      put(encoder, plan, workload);
    }
    const { events, processes, workloads } = finished(encoder);
    expect(events.map(({ process }) => process)).toEqual([1, 1, 2, 3, 4, 1, 2]);
    expect(processes.map(({ workload }) => workload)).toEqual([1, 2, 2, 2]);
    expect(workloads).toHaveLength(2);
    put(encoder, unlink('/a'), named);
    expect(finished(encoder)).toMatchObject({ workloads: [{ podName: 'web' }], processes: [{ workload: 1 }] });
  });

  it('is full when it names 2,048 processes', () => {
    const encoder = encoderOf();
    const tiny = (i: number): RecordPlan => {
      const zero = { tgid: 0, tid: 0, startTime: 0n, execId: 0n, parentStartTime: 0n, parentExecId: 0n, nsTgid: 0 };
      const blank = { ...zero, imageStartTime: 0n, imageTgid: 0, parentTgid: 0, gid: 0, euid: 0, mntNs: 0, netNs: 0 };
      return unlink('/', makeHead({ ...blank, uid: i, entry: 0, tier: 0, comm: Buffer.alloc(0) }));
    };
    let count = 0;
    while (put(encoder, tiny(count)) !== BATCH_FULL) count++;
    expect(count).toBe(2048);
    expect(finished(encoder).processes).toHaveLength(2048);
  });

  it('tells the agent own events apart, in one sequence with the others', () => {
    const encoder = encoderOf();
    put(encoder, unlink('/a', makeHead({ ktime: 1000n })));
    const loss = { stage: 'kernel', reason: 'ring_full', kind: 'file.open', count: 3n, total: 2n ** 63n };
    expect(encoder.addMessage({ loss }, 900n)).toBe(2);
    expect(encoder.addMessage({ pod: { uid: 'u', name: 'web', labels: { a: 'b' } } }, 1500n)).toBe(3);
    expect(put(encoder, unlink('/b', makeHead({ ktime: 1400n })))).toBe(4);
    const batch = encoder.finish(0n);
    if (batch === undefined) throw new Error('no batch');
    expect([batch.kinds[KIND_LOSS], batch.kinds[KIND_POD]]).toEqual([1, 1]);
    const { baseTimeNs, events } = decodeBatch(batchBytes(batch));
    expect(baseTimeNs).toBe('1000');
    expect(events.map(({ timeDeltaNs = '0' }) => timeDeltaNs)).toEqual(['0', '-100', '600', '-100']);
    expect(events[1]).toMatchObject({ loss: { ...loss, count: '3', total: String(2n ** 63n) } });
    expect(events[2]).toMatchObject({ pod: { uid: 'u', name: 'web', labels: { a: 'b' } } });
    expect(events[1]).not.toHaveProperty('process');
  });

  it('begins with an own event at its time', () => {
    const encoder = encoderOf();
    encoder.addMessage({ probe: { kind: 'file.open', state: 'on' } }, 2n ** 60n + 1n);
    expect(finished(encoder)).toMatchObject({
      baseTimeNs: String(2n ** 60n + 1n),
      events: [{ probe: { state: 'on' } }],
    });
  });

  it('refuses an own event beyond its bound, and asks for a new batch before one that does not fit', () => {
    const encoder = encoderOf();
    expect(encoder.addMessage({ pod: { uid: 'x'.repeat(MESSAGE_BYTES_MAX) } }, 1n)).toBe(REFUSED);
    put(encoder, unlink('/a'));
    const large = { pod: { uid: 'x'.repeat(MESSAGE_BYTES_MAX - 100) } };
    expect(encoder.addMessage(large, 1n)).toBe(BATCH_FULL);
    expect(finished(encoder).events).toHaveLength(1);
    expect(encoder.addMessage(large, 1n)).toBe(2);
    expect(finished(encoder).events).toHaveLength(1);
  });

  it('sends a workload without labels that are too large', () => {
    const encoder = encoderOf();
    const labels = Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`label-${i}`, 'v'.repeat(63)]));
    put(encoder, unlink('/a'), makeWorkload({ ...HOST, state: 'complete', podName: 'web', labels }));
    const { workloads } = finished(encoder);
    expect(workloads[0]).toMatchObject({ podName: 'web', metadataReason: 'labels left out: too large' });
    expect(workloads[0]).not.toHaveProperty('podLabels');
    put(encoder, unlink('/a'), makeWorkload({ ...HOST, podUid: 'u', reason: 'x'.repeat(WORKLOAD_BYTES_MAX) }));
    expect(finished(encoder).workloads[0]).toMatchObject({ podUid: 'u' });
  });

  it('comes with one event and a given sequence for the tail', () => {
    const processes = new ProcessTable();
    const tail = new BatchEncoder({ runId: RUN, processes });
    const body = makeExec({ exe: kernelPath('/bin/ls'), argv: Buffer.from('ls\0'), argc: 1 });
    for (const sequence of [7, 2 ** 40]) {
      const { bytes } = drainBuffer([recordBytes({ head: makeHead({ ktime: 5n }), body })]);
      processes.observe(bytes, 0);
      const one = tail.encodeOne(bytes, 0, HOST, sequence, -2n);
      expect(decodeBatch(one ?? Buffer.alloc(0))).toMatchObject({
        firstSeq: String(sequence),
        baseTimeNs: '5',
        wallOffsetNs: '-2',
        processes: [{ exe: '/bin/ls' }],
        events: [{ processExec: { argv: ['ls'] } }],
      });
    }
    expect(tail.encodeOne(new Uint8Array(10), 0, HOST, 9, 0n)).toBeUndefined();
  });

  it('travels as a PublishRequest with any stream_seq', () => {
    const encoder = encoderOf();
    put(encoder, unlink('/a'));
    const batch = encoder.finish(0n);
    if (batch === undefined) throw new Error('no batch');
    const { streamSeq: _, ...first } = decode('PublishRequest', frame(batch, 1))['batch'] as { streamSeq: string };
    for (const streamSeq of [1, 127, 128, 2 ** 31, 2 ** 32, 2 ** 52]) {
      expect(decode('PublishRequest', frame(batch, streamSeq))).toEqual({
        batch: { ...first, streamSeq: String(streamSeq) },
      });
    }
  });

  it('refuses a run id of another length', () => {
    expect(() => new BatchEncoder({ runId: Buffer.alloc(15), processes: new ProcessTable() })).toThrow(RangeError);
  });
});

describe('BufferPool', () => {
  it('gives a released buffer again, within its bound, and never one that is in use', () => {
    const pool = new BufferPool(80 * 1024);
    const first = pool.take(60_000);
    expect(pool.take(60_000)).not.toBe(first);
    pool.release(first);
    expect(pool.take(10)).toHaveLength(4096);
    expect(pool.take(65_536)).toBe(first);
    const large = pool.take(65_537);
    expect(large).toHaveLength(65_537);
    pool.release(large);
    expect(pool.idleBytes).toBe(0);
    for (let i = 0; i < 3; i++) pool.release(Buffer.allocUnsafeSlow(65_536));
    expect(pool.idleBytes).toBe(65_536);
  });
});
