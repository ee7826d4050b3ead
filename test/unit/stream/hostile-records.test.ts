import { describe, expect, it } from 'vitest';
import { makeWorkload } from '../../../src/kubernetes/workload.ts';
import { batchBytes } from '../../../src/stream/batch.ts';
import { BATCH_FULL, BatchEncoder, REFUSED } from '../../../src/stream/encoder.ts';
import { ProcessTable } from '../../../src/stream/processes.ts';
import { REFUSAL_REASONS } from '../../../src/stream/record.ts';
import { expectedEvent } from '../../expected-events.ts';
import { Random, randomPlan, randomProcess } from '../../random-records.ts';
import { drainBuffer, kernelPath, makeExec, makeFile, makeHead, noPath, recordBytes } from '../../records.ts';
import { decodeBatch } from './oracle.ts';

const RUN = Buffer.alloc(16, 1);
const HOST = makeWorkload({ cgroupId: 77n, cgroupPath: '/', state: 'host', reason: '' });
const sum = (counts: Float64Array): number => counts.reduce((total, count) => total + count, 0);

/** The record, harmed in one of the ways that memory or a broken producer could harm it. */
function harm(random: Random, record: Buffer): Buffer {
  switch (random.below(5)) {
    case 0:
      return record.subarray(0, random.below(record.length));
    case 1: {
      const flipped = Buffer.from(record);
      for (let i = random.below(8); i >= 0; i--) {
        const at = random.below(flipped.length);
        flipped[at] = (flipped[at] ?? 0) ^ (1 << random.below(8));
      }
      return flipped;
    }
    case 2: {
      // Lengths and counts lie in the words after the head.
      const extreme = Buffer.from(record);
      const at = 128 + random.below(Math.max(1, Math.min(120, record.length - 132)));
      if (at + 4 <= extreme.length)
        extreme.writeUInt32LE(random.pick([0, 1, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff]), at);
      return extreme;
    }
    case 3: {
      const noise = random.bytes(random.below(400));
      if (noise.length >= 8 && random.chance(0.8)) {
        noise.writeUInt32LE(noise.length, 0);
        noise[4] = 1;
        noise[5] = random.pick([1, 2, 4, 10, 11, 12, 13, 14, 20, 21, 22, 23]);
      }
      return noise;
    }
    default: {
      const relabelled = Buffer.from(record);
      relabelled[random.pick([0, 1, 2, 3, 4, 5])] = random.below(256);
      return relabelled;
    }
  }
}

describe('hostile records', () => {
  it('never throw, and each of 100,000 is in the batch or counted', { timeout: 300_000 }, () => {
    const random = new Random(31337);
    const processes = Array.from({ length: 20 }, () => randomProcess(random));
    const table = new ProcessTable(64, 20_000);
    const encoder = new BatchEncoder({ runId: RUN, processes: table });
    let encoded = 0;
    let decoded = 0;
    let sound: ReturnType<typeof expectedEvent>[] = [];
    let positions: number[] = [];
    const flush = (): void => {
      const batch = encoder.finish(0n);
      if (batch === undefined) return;
      const { events, processes: named, workloads } = decodeBatch(batchBytes(batch));
      expect(events.length).toBe(batch.events);
      for (const { process } of events) expect(Number(process)).toBeLessThanOrEqual(named.length);
      expect(workloads.length).toBe(1);
      // What came between the harmed ones is unharmed.
      for (const [i, position] of positions.entries()) {
        const { timeDeltaNs: _, process: __, ...event } = events[position] ?? {};
        expect(event).toEqual(sound[i]);
      }
      decoded += events.length;
      sound = [];
      positions = [];
    };
    const add = (record: Buffer): number => {
      const bytes = new Uint8Array((record.length + 7) & ~7).fill(0xaa);
      bytes.set(record);
      const exact = bytes.subarray(0, record.length);
      table.observe(exact, 0);
      let added = encoder.add(exact, 0, HOST);
      if (added === BATCH_FULL) {
        flush();
        added = encoder.add(exact, 0, HOST);
      }
      if (added !== REFUSED) encoded++;
      return added;
    };
    let refused = 0;
    const originals = Array.from({ length: 4000 }, () => {
      const plan = randomPlan(random, random.pick(processes), random.u64());
      return { plan, record: recordBytes(plan) };
    });
    for (let i = 0; i < 100_000; i++) {
      const { plan, record } = random.pick(originals);
      if (add(harm(random, record)) === REFUSED) refused++;
      if (i % 50 === 0) {
        expect(add(record)).toBeGreaterThan(0);
        positions.push(encoder.events - 1);
        sound.push(expectedEvent(plan.head, plan.body));
      }
    }
    flush();
    expect(decoded).toBe(encoded);
    expect(sum(encoder.refused)).toBe(refused);
    expect(sum(encoder.refusedKinds)).toBe(refused);
    expect(refused).toBeGreaterThan(40_000);
    for (const reason of ['short', 'version', 'kind', 'length', 'path']) {
      expect(encoder.refused[REFUSAL_REASONS.indexOf(reason as 'short')], reason).toBeGreaterThan(0);
    }
    expect(table.size).toBeLessThanOrEqual(64);
    expect(table.pathBytes).toBeLessThanOrEqual(20_000 + 4096 * 3);
  });

  const whole = (): { record: Buffer; encoder: BatchEncoder } => {
    const body = makeFile('file.open', { path: kernelPath('/etc/shadow'), asked: Buffer.from('shadow') });
    const encoder = new BatchEncoder({ runId: RUN, processes: new ProcessTable() });
    return { record: recordBytes({ head: makeHead(), body }), encoder };
  };
  const refusal = (encoder: BatchEncoder, record: Buffer): string => {
    const { bytes } = drainBuffer([record]);
    expect(encoder.add(bytes.subarray(0, record.length), 0, HOST)).toBe(REFUSED);
    expect(encoder.finish(0n)).toBeUndefined();
    return REFUSAL_REASONS[encoder.refused.findIndex((count) => count > 0)] ?? '';
  };

  it('are refused with the reason', () => {
    const cases: [string, (record: Buffer) => Buffer][] = [
      ['short', (record) => record.subarray(0, 127)],
      ['short', (record) => record.subarray(0, record.length - 1)],
      ['version', (record) => record.fill(2, 4, 5)],
      ['kind', (record) => record.fill(64, 5, 6)],
      ['kind', (record) => record.fill(3, 5, 6)],
      ['length', (record) => record.fill(11, 128 + 36, 128 + 37)],
      ['length', (record) => record.fill(0xff, 128 + 42, 128 + 44)],
      ['path', (record) => record.fill(250, 184, 185)],
      ['path', (record) => record.fill(0, 184, 185)],
      ['path', (record) => record.fill(0, 128 + 45, 128 + 46)],
    ];
    for (const [reason, change] of cases) {
      const { record, encoder } = whole();
      expect(refusal(encoder, change(record))).toBe(reason);
      expect(encoder.refusedKinds.reduce((a, b) => a + b, 0)).toBe(1);
    }
  });

  it('refuses an argv length that would wrap round', () => {
    const { encoder } = whole();
    const record = recordBytes({
      head: makeHead(),
      body: makeExec({ argv: Buffer.from('abcd'), env: Buffer.from('x') }),
    });
    record.writeUInt32LE(0xffffffff, 128 + 60);
    record.writeUInt32LE(6, 128 + 64);
    expect(refusal(encoder, record)).toBe('length');
  });

  it('takes the largest record that there can be, whatever is in it', () => {
    const encoder = new BatchEncoder({ runId: RUN, processes: new ProcessTable() });
    const room = 65536 - 128 - 96;
    for (const body of [
      makeExec({ argv: Buffer.alloc(room) }),
      makeExec({ env: Buffer.alloc(room) }),
      makeExec({ argv: Buffer.alloc(room, 'ab\0') }),
      makeExec({ argv: Buffer.alloc(room, 1), exe: noPath() }),
    ]) {
      const { bytes } = drainBuffer([recordBytes({ head: makeHead(), body })]);
      expect(encoder.add(bytes, 0, HOST)).toBeGreaterThan(0);
      const small = makeFile('file.unlink', { path: kernelPath('/a') });
      const next = drainBuffer([recordBytes({ head: makeHead(), body: small })]);
      expect(encoder.add(next.bytes, 0, HOST)).toBe(BATCH_FULL);
      const batch = encoder.finish(0n);
      if (batch === undefined) throw new Error('no batch');
      const [event] = decodeBatch(batchBytes(batch)).events;
      expect(event).toEqual({ process: 1, ...expectedEvent(makeHead(), body) });
    }
  });

  it('reads a record that is not aligned', () => {
    const { record, encoder } = whole();
    for (let shift = 0; shift < 8; shift++) {
      const bytes = new Uint8Array(record.length + 8);
      bytes.set(record, shift);
      expect(encoder.add(bytes, shift, HOST)).toBe(2 * shift + 1);
      expect(encoder.add(bytes.subarray(shift), 0, HOST)).toBe(2 * shift + 2);
      const batch = encoder.finish(0n);
      if (batch === undefined) throw new Error('no batch');
      const [first, second] = decodeBatch(batchBytes(batch)).events;
      expect(first).toMatchObject({ fileOpen: { path: { path: '/etc/shadow' }, asked: 'shadow' } });
      expect(second).toEqual(first);
    }
  });
});
