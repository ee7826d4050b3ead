import { beforeEach, describe, expect, it } from 'vitest';
import { Hold } from '../../../src/agent/hold.ts';
import { makeWorkload, type Workload } from '../../../src/kubernetes/workload.ts';

const A = 'a'.repeat(64);
const B = 'b'.repeat(64);

/** Workloads by cgroup id, as a table would answer. */
let table: Map<number, Workload>;
let left: { text: string; workload: Workload }[];

function pending(cgroupId: number, containerId: string): Workload {
  const workload = makeWorkload({
    cgroupId: BigInt(cgroupId),
    cgroupPath: `/kubepods/pod${cgroupId}/${containerId}`,
    state: 'pending',
    reason: 'not asked yet',
    containerId,
    podUid: `uid-${cgroupId}`,
  });
  table.set(cgroupId, workload);
  return workload;
}

function complete(cgroupId: number): Workload {
  const before = table.get(cgroupId);
  if (before === undefined) throw new Error('no such workload');
  const workload = makeWorkload({ ...before, state: 'complete', reason: '', podName: `pod-${cgroupId}` });
  table.set(cgroupId, workload);
  return workload;
}

function lookup(low: number, high: number): Workload {
  const found = table.get(low + high * 2 ** 32);
  if (found === undefined) throw new Error(`no workload for ${low} ${high}`);
  return found;
}

function makeHold(options: { deadlineMs?: number; capacityBytes?: number; worthWaiting?: () => boolean } = {}): Hold {
  return new Hold({
    deadlineMs: options.deadlineMs ?? 1000,
    capacityBytes: options.capacityBytes ?? 1 << 20,
    worthWaiting: options.worthWaiting ?? (() => true),
    lookup,
    release: (buf, offset, length, workload) => {
      left.push({ text: Buffer.from(buf.subarray(offset, offset + length)).toString(), workload });
    },
  });
}

function pass(hold: Hold, text: string, workload: Workload, nowMs: number): void {
  // Not at the start, and the buffer is overwritten right after, as the drain does.
  const buf = Buffer.from(`########${text}########`);
  hold.pass(buf, 8, Buffer.byteLength(text), workload, nowMs);
  buf.fill(0);
}

const texts = (): string[] => left.map((item) => item.text);

beforeEach(() => {
  table = new Map();
  left = [];
});

describe('the hold', () => {
  it('lets what is known and what is of the host pass at once', () => {
    const hold = makeHold();
    pending(1, A);
    pass(hold, 'known', complete(1), 0);
    pass(hold, 'host', makeWorkload({ cgroupId: 9n, cgroupPath: '/', state: 'host', reason: '' }), 0);
    expect(texts()).toEqual(['known', 'host']);
    expect(hold.counts.held).toBe(0);
  });

  it('holds nothing where no source could answer', () => {
    const hold = makeHold({ worthWaiting: () => false });
    pass(hold, 'x', pending(1, A), 0);
    expect(texts()).toEqual(['x']);
    expect(left[0]?.workload.state).toBe('pending');
  });

  it('releases in order, byte for byte, under the workload that became known', () => {
    const hold = makeHold();
    const workload = pending(1, A);
    const sent = Array.from({ length: 300 }, (_, i) => `event ${i} ${'é'.repeat(i)}`);
    for (const text of sent) pass(hold, text, workload, 0);
    expect(left).toEqual([]);
    const known = complete(1);
    hold.tick(10);
    expect(texts()).toEqual(sent);
    expect(new Set(left.map((item) => item.workload))).toEqual(new Set([known]));
    expect(hold.heldBytes).toBe(0);
    expect(hold.counts).toEqual({ held: 300, released: 300, expired: 0, overflowed: 0 });
  });

  it('keeps the order when an event under the known workload comes before the next tick', () => {
    const hold = makeHold();
    pass(hold, '1', pending(1, A), 0);
    pass(hold, '2', complete(1), 5);
    expect(texts()).toEqual(['1', '2']);
    expect(left.map((item) => item.workload.podName)).toEqual(['pod-1', 'pod-1']);
  });

  it('keeps one order for all cgroups of a container', () => {
    const hold = makeHold();
    pass(hold, '1', pending(1, A), 0);
    pass(hold, '2', pending(2, A), 1);
    complete(1);
    complete(2);
    hold.tick(2);
    expect(texts()).toEqual(['1', '2']);
    expect(left.map((item) => item.workload.podName)).toEqual(['pod-1', 'pod-2']);
  });

  it('does not let one container wait for another', () => {
    const hold = makeHold();
    pass(hold, 'a', pending(1, A), 0);
    pass(hold, 'b', pending(2, B), 0);
    complete(2);
    hold.tick(1);
    expect(texts()).toEqual(['b']);
  });

  it('gives up at the deadline, as pending, and does not wait for the same state again', () => {
    const hold = makeHold({ deadlineMs: 1000 });
    const workload = pending(1, A);
    pass(hold, '1', workload, 0);
    for (let now = 0; now < 1000; now += 15) hold.tick(now);
    expect(texts()).toEqual([]);
    hold.tick(1000);
    expect(texts()).toEqual(['1']);
    expect(left[0]?.workload.state).toBe('pending');
    pass(hold, '2', workload, 1001);
    expect(texts()).toEqual(['1', '2']);
    expect(hold.counts).toEqual({ held: 1, released: 0, expired: 1, overflowed: 0 });
  });

  it('does not count the time in which the agent itself stood still: the answer may be there, unread', () => {
    const hold = makeHold({ deadlineMs: 1000 });
    hold.tick(0);
    pass(hold, '1', pending(1, A), 0);
    hold.tick(3000);
    expect(texts()).toEqual([]);
    complete(1);
    hold.tick(3015);
    expect(left.map((item) => item.workload.podName)).toEqual(['pod-1']);
  });

  it('keeps nothing longer than 5 s, whatever is asked for', () => {
    const hold = makeHold({ deadlineMs: 60_000 });
    pass(hold, '1', pending(1, A), 0);
    hold.tick(5000);
    expect(texts()).toEqual(['1']);
  });

  it('never keeps more than its memory, sends the oldest container first, and loses nothing', () => {
    const capacityBytes = 64 * 1024;
    const hold = makeHold({ capacityBytes });
    const first = pending(1, A);
    const second = pending(2, B);
    const text = 'x'.repeat(1000);
    let most = 0;
    for (let i = 0; i < 20; i++) pass(hold, `a${i} ${text}`, first, i);
    for (let i = 0; i < 200; i++) {
      pass(hold, `b${i} ${text}`, second, 100 + i);
      most = Math.max(most, hold.heldBytes);
    }
    expect(most).toBeLessThanOrEqual(capacityBytes);
    expect(hold.counts.overflowed).toBeGreaterThan(0);
    expect(texts()[0]).toMatch(/^a0 /);
    hold.releaseAll();
    const order = (prefix: string) =>
      texts()
        .filter((item) => item.startsWith(prefix))
        .map((item) => Number.parseInt(item.slice(1), 10));
    expect(order('a')).toEqual(Array.from({ length: 20 }, (_, i) => i));
    expect(order('b')).toEqual(Array.from({ length: 200 }, (_, i) => i));
    expect(hold.heldBytes).toBe(0);
    expect(hold.heldRecords).toBe(0);
  });

  it('passes on a record that is larger than all of its memory', () => {
    const hold = makeHold({ capacityBytes: 1024 });
    pass(hold, 'y'.repeat(5000), pending(1, A), 0);
    expect(left).toHaveLength(1);
  });
});
