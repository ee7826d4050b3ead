import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from 'vitest';
import { makeWorkload } from '../../../src/kubernetes/workload.ts';
import { batchBytes } from '../../../src/stream/batch.ts';
import { BATCH_FULL, BatchEncoder } from '../../../src/stream/encoder.ts';
import { ProcessTable } from '../../../src/stream/processes.ts';
import { expectedEvent, expectedProcess, expectedWorkload, type Plain, pathText } from '../../expected-events.ts';
import { Random, randomPlan, randomProcess, randomWorkload } from '../../random-records.ts';
import { drainBuffer, kernelPath, makeExec, makeFile, makeHead, recordBytes } from '../../records.ts';
import { decodeBatch } from './oracle.ts';

const RUN = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
const HOST = makeWorkload({ cgroupId: 77n, cgroupPath: '/a', state: 'host', reason: '' });

/** toEqual for many: its own comparison costs more than all the rest. */
function same(actual: unknown, wanted: unknown): void {
  if (!isDeepStrictEqual(actual, wanted)) expect(actual).toEqual(wanted);
}

const wrap64 = (value: bigint): bigint => BigInt.asUintN(64, value);

describe('BatchEncoder against protobufjs', () => {
  it('puts exec, open and exit into a batch', () => {
    const table = new ProcessTable();
    const encoder = new BatchEncoder({ runId: RUN, processes: table });
    const head = makeHead();
    const exec = makeExec({ exe: kernelPath('/usr/bin/cat'), argv: Buffer.from('cat\0/etc/shadow\0'), argc: 2 });
    const open = makeFile('file.open', {
      path: kernelPath('/etc/shadow'),
      flags: 8 | 16,
      openFlags: 0o100000,
      ret: -13,
    });
    const exit = { kind: 'process.exit', duration: 7n, code: 1, signal: 0, core: 0 } as const;
    const plans = [exec, open, exit].map((body, i) => ({ head: makeHead({ ktime: head.ktime + BigInt(i) }), body }));
    const { bytes, offsets } = drainBuffer(plans.map(recordBytes));
    for (const [i, offset] of offsets.entries()) {
      table.observe(bytes, offset);
      expect(encoder.add(bytes, offset, HOST)).toBe(i + 1);
    }
    const batch = encoder.finish(-5n);
    if (batch === undefined) throw new Error('no batch');
    expect(batch).toMatchObject({ firstSeq: 1, events: 3 });
    const decoded = decodeBatch(batchBytes(batch));
    expect(decoded).toMatchObject({ firstSeq: '1', baseTimeNs: '1000000000', wallOffsetNs: '-5' });
    expect(decoded.runId).toBe(RUN.toString('latin1'));
    expect(decoded.workloads).toEqual([expectedWorkload(HOST)]);
    expect(decoded.processes).toEqual([{ workload: 1, ...expectedProcess(head, '/usr/bin/cat') }]);
    expect(decoded.events).toEqual(
      plans.map(({ head, body }, i) => ({
        ...(i === 0 ? {} : { timeDeltaNs: '1' }),
        process: 1,
        ...expectedEvent(head, body),
      })),
    );
  });

  it('keeps every field of 24,000 random records of all kinds, with dictionaries reused', { timeout: 120_000 }, () => {
    const random = new Random(20261122);
    const workloads = Array.from({ length: 12 }, (_, i) => randomWorkload(random, i));
    const processes = Array.from({ length: 60 }, () => randomProcess(random));
    const table = new ProcessTable();
    const encoder = new BatchEncoder({ runId: RUN, processes: table, nextSeq: 2 ** 32 - 1000 });
    const images = new Map<string, string>();
    let fed: { event: Plain; ktime: bigint; process: Plain; workload: Plain; key: string }[] = [];
    let known = new Map<string, Plain>();
    let sequence = 2 ** 32 - 1000;
    let batches = 0;
    let ktime = 2n ** 53n;

    const check = (): void => {
      const batch = encoder.finish(1_700_000_000_123_456_789n);
      if (batch === undefined) throw new Error('no batch');
      batches++;
      const decoded = decodeBatch(batchBytes(batch));
      expect(decoded.firstSeq).toBe(String(sequence));
      expect(decoded.wallOffsetNs).toBe('1700000000123456789');
      expect(decoded.events.length).toBe(fed.length);
      expect(batch.events).toBe(fed.length);
      expect(batch.kinds.reduce((sum, count) => sum + count, 0)).toBe(fed.length);
      expect(decoded.processes.length).toBe(known.size);
      expect(decoded.workloads.length).toBe(new Set(fed.map(({ workload }) => workload)).size);
      let time = BigInt(decoded.baseTimeNs);
      for (const [i, want] of fed.entries()) {
        const { timeDeltaNs = '0', process, ...event } = decoded.events[i] as Plain & { timeDeltaNs?: string };
        time = wrap64(time + BigInt(timeDeltaNs));
        if (time !== want.ktime) expect(time, `time of event ${i}`).toBe(want.ktime);
        same(event, want.event);
        const { workload, ...entry } = decoded.processes[Number(process) - 1] as Plain;
        same(entry, want.process);
        same(decoded.workloads[Number(workload) - 1], want.workload);
      }
      sequence += fed.length;
      fed = [];
      known = new Map();
    };

    const expectations = new Map(workloads.map((workload) => [workload, expectedWorkload(workload)]));
    for (let round = 0; round < 240; round++) {
      const plans = Array.from({ length: 100 }, () => {
        // Rings meet: time goes back a little, or leaps anywhere.
        ktime = random.chance(0.01) ? random.u64() : wrap64(ktime + BigInt(random.below(100_000) - 10_000));
        return randomPlan(random, random.pick(processes), ktime);
      });
      const { bytes, offsets } = drainBuffer(plans.map(recordBytes));
      for (const [i, plan] of plans.entries()) {
        const { head, body } = plan;
        const offset = offsets[i] as number;
        const at = random.below(workloads.length);
        const workload = workloads[at] as (typeof workloads)[number];
        table.observe(bytes, offset);
        if (body.kind === 'process.exec') {
          const exe = body.exe.source === 0 ? '' : pathText(body.exe);
          images.set(`${head.tgid} ${head.startTime} ${head.execId}`, exe);
        }
        let added = encoder.add(bytes, offset, workload);
        if (added === BATCH_FULL) {
          check();
          added = encoder.add(bytes, offset, workload);
        }
        expect(added).toBe(sequence + fed.length);
        const block = { ...head, ktime: 0n, tid: 0, weight: 0, tier: 0, actor: 0, comm: head.comm.toString('hex') };
        const key = `${at} ${Object.values(block).join(' ')}`;
        let process = known.get(key);
        if (process === undefined) {
          process = expectedProcess(head, images.get(`${head.imageTgid} ${head.imageStartTime} ${head.execId}`));
          known.set(key, process);
        }
        const want = expectations.get(workload);
        if (want === undefined) throw new Error('workload');
        fed.push({ event: expectedEvent(head, body), ktime: head.ktime, process, workload: want, key });
      }
    }
    check();
    expect(batches).toBeGreaterThan(20);
    expect([...encoder.refused].reduce((sum, count) => sum + count, 0)).toBe(0);
  });
});
