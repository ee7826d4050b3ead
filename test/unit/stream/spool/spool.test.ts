import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BufferPool } from '../../../../src/stream/buffer-pool.ts';
import type { Spool } from '../../../../src/stream/spool/spool.ts';
import type { StoredBatch } from '../../../../src/stream/spool/spool-reader.ts';
import { until } from '../collector-double.ts';
import { frameOf, framesOf, RUN_A, RUN_B, SpoolRig } from './stored.ts';

let rig: SpoolRig;
const pool = new BufferPool();
beforeEach(() => {
  rig = new SpoolRig();
});
afterEach(() => rig.close());

async function readAll(spool: Spool): Promise<StoredBatch[]> {
  const read: StoredBatch[] = [];
  for (let one = await spool.next(pool); one !== undefined; one = await spool.next(pool)) read.push(one);
  return read;
}
const firsts = (batches: readonly StoredBatch[]): number[] => batches.map(({ firstSeq }) => firstSeq);

describe('a spool', () => {
  it('is its owner’s alone', async () => {
    const spool = rig.open(RUN_A);
    await spool.append([frameOf(1)]);
    expect(statSync(join(rig.dir, 'spool')).mode & 0o777).toBe(0o700);
    expect(statSync(join(rig.dir, 'spool', rig.segments()[0] ?? '')).mode & 0o777).toBe(0o600);
  });

  it('gives back in order what it was given, and keeps a segment until all of it is settled', async () => {
    const spool = rig.open(RUN_A, { segmentBytes: 1000 });
    for (let i = 0; i < 20; i++) expect(await spool.append([frameOf(1 + 3 * i)])).toBe(true);
    expect(rig.segments().length).toBeGreaterThan(3);
    expect(spool.read).toMatchObject({ events: 60, otherRunsEvents: 0, state: 'ready', problem: '' });
    const read = await readAll(spool);
    expect(firsts(read)).toEqual(Array.from({ length: 20 }, (_, i) => 1 + 3 * i));
    expect(read.every(({ otherRun }) => otherRun === undefined)).toBe(true);
    const [oldest] = rig.segments();
    for (const batch of read.slice(1)) spool.settle(batch);
    // The first segment has one batch that is not settled.
    await until(() => rig.segments().length === 1);
    expect(rig.segments()).toEqual([oldest]);
    expect(spool.read.events).toBe(3);
    for (const batch of read.slice(0, 1)) spool.settle(batch);
    await until(() => rig.segments().length === 0);
    expect(spool.read).toMatchObject({ events: 0, bytes: 0, segments: 0 });
    expect(rig.lost).toEqual([]);
  });

  it('goes on after all was settled, and reads what comes while it is read', async () => {
    const spool = rig.open(RUN_A);
    for (let round = 0; round < 3; round++) {
      await spool.append([frameOf(1 + round * 6), frameOf(4 + round * 6)]);
      const [first] = [await spool.next(pool)];
      await spool.append([frameOf(100 + round)]);
      const rest = await readAll(spool);
      expect([first?.firstSeq, ...firsts(rest)]).toEqual([1 + round * 6, 4 + round * 6, 100 + round]);
      for (const batch of [first, ...rest]) if (batch !== undefined) spool.settle(batch);
      await until(() => rig.segments().length === 0);
    }
  });

  it('gives a later run what earlier ones left, the oldest first, with their node', async () => {
    const first = rig.open(RUN_A);
    await first.append(framesOf(4));
    await first.close(2000);
    const second = rig.open(RUN_B);
    await second.opened;
    expect(second.read).toMatchObject({ events: 0, otherRunsEvents: 12 });
    await second.append([frameOf(1)]);
    const read = await readAll(second);
    expect(read.map(({ firstSeq, otherRun }) => [otherRun, firstSeq])).toEqual([
      [RUN_A, 1],
      [RUN_A, 4],
      [RUN_A, 7],
      [RUN_A, 10],
      [undefined, 1],
    ]);
    for (const batch of read) second.settle(batch);
    await until(() => rig.segments().length === 0);
    expect(second.read).toMatchObject({ events: 0, otherRunsEvents: 0 });
  });

  it('is not shared: a second agent waits until the first one is gone', async () => {
    const first = rig.open(RUN_A);
    expect(await first.append([frameOf(1)])).toBe(true);
    const second = rig.open(RUN_B);
    expect(await second.append([frameOf(1)])).toBe(false);
    expect(second.read.problem).toMatch(/another agent uses .*spool/);
    await first.close(2000);
    await until(() => second.accepts);
    expect(await second.append([frameOf(1)])).toBe(true);
    expect(second.read).toMatchObject({ state: 'ready', events: 3, otherRunsEvents: 3 });
  });

  it('tells damage to this run’s own segments to the last event', async () => {
    const spool = rig.open(RUN_A);
    await spool.append(framesOf(5));
    const path = join(rig.dir, 'spool', rig.segments()[0] ?? '');
    const { size } = statSync(path);
    // The head of the third frame, and the whole of the fourth.
    const frame = (size - 600) / 5;
    const { promises } = await import('node:fs');
    const file = await promises.open(path, 'r+');
    const at = size - Math.floor(frame) * 2;
    await file.write(Buffer.alloc(80, 0xee), 0, 80, at);
    await file.close();
    const read = await readAll(spool);
    expect(read.length).toBeLessThan(5);
    expect(rig.lostEvents()).toEqual({ corrupt: (5 - read.length) * 3 });
    for (const batch of read) spool.settle(batch);
    expect(spool.read.events).toBe(0);
  });
});

describe('a spool that is full', () => {
  it('drops its oldest segment whole, counted by kind, and never more than it has to', async () => {
    const spool = rig.open(RUN_A, { segmentBytes: 4000, maxBytes: 20_000 });
    for (let i = 0; i < 200; i++) expect(await spool.append([frameOf(1 + 3 * i)])).toBe(true);
    expect(spool.read.bytes).toBeLessThanOrEqual(20_000);
    expect(spool.read.bytes).toBeGreaterThan(20_000 - 2 * 4000);
    const read = await readAll(spool);
    const { evicted = 0, ...others } = rig.lostEvents();
    expect(others).toEqual({});
    // A hole at the beginning, and nothing else.
    expect(firsts(read)).toEqual(Array.from({ length: read.length }, (_, i) => 1 + 3 * (200 - read.length + i)));
    expect(evicted).toBe((200 - read.length) * 3);
    expect(rig.lost.every(({ unaccountable }) => !unaccountable)).toBe(true);
    expect(Math.max(...rig.lost.map(({ lastSeq }) => lastSeq))).toBe((read[0]?.firstSeq ?? 0) - 1);
  });

  it('says so where a collector may have what it drops', async () => {
    const spool = rig.open(RUN_A, { segmentBytes: 4000, maxBytes: 20_000 });
    for (let i = 0; i < 200; i++) await spool.append([frameOf(1 + 3 * i, 3, 60, i % 2 === 0)]);
    const { evicted = 0, evicted_unconfirmed = 0 } = rig.lostEvents();
    expect(evicted).toBeGreaterThan(0);
    expect(Math.abs(evicted - evicted_unconfirmed)).toBeLessThan(10);
    const left = (await readAll(spool)).length;
    expect(evicted + evicted_unconfirmed + 3 * left).toBe(600);
  });

  it('keeps what was read of a segment that it drops', async () => {
    const spool = rig.open(RUN_A, { segmentBytes: 4000, maxBytes: 9000 });
    for (let i = 0; i < 20; i++) await spool.append([frameOf(1 + 3 * i)]);
    const read = [await spool.next(pool), await spool.next(pool)].filter((one) => one !== undefined);
    for (let i = 20; i < 100; i++) await spool.append([frameOf(1 + 3 * i)]);
    const rest = await readAll(spool);
    const { evicted = 0 } = rig.lostEvents();
    expect(read.length + rest.length + evicted / 3).toBe(100);
    for (const batch of [...read, ...rest]) spool.settle(batch);
    expect(spool.read.events).toBe(0);
  });

  it('leaves the disk its free space, and takes nothing rather than too much', async () => {
    const spool = rig.open(RUN_A, { minFreePercent: 100 });
    expect(await spool.append([frameOf(1)])).toBe(false);
    expect(spool.read.problem).toMatch(/% of the disk are free, and 100 % have to stay free/);
    expect(rig.segments()).toEqual([]);
    expect(rig.lost).toEqual([]);
  });

  it('takes by default no more than 1 GiB and 5 % of the disk', async () => {
    const spool = rig.open(RUN_A, { maxBytes: undefined });
    await spool.append([frameOf(1)]);
    expect(spool.read.capacityBytes).toBeLessThanOrEqual(1 << 30);
    expect(spool.read.capacityBytes).toBeGreaterThan(0);
  });
});

describe('a disk that refuses', () => {
  it('is tried again, and costs no batch', async () => {
    const blocked = join(rig.dir, 'file');
    writeFileSync(blocked, '');
    const spool = rig.open(RUN_A, { dir: join(blocked, 'spool') });
    await spool.opened;
    expect(spool.read).toMatchObject({ state: 'failing' });
    expect(spool.read.problem).toMatch(/ENOTDIR|EEXIST/);
    expect(spool.accepts).toBe(false);
    rmSync(blocked);
    mkdirSync(blocked);
    await until(() => spool.accepts);
    expect(await spool.append(framesOf(2))).toBe(true);
    expect(spool.read).toMatchObject({ state: 'ready', problem: '', events: 6 });
    expect(rig.logged.filter((line) => line.includes('takes no events'))).toHaveLength(1);
    expect(rig.logged.filter((line) => line.includes('takes events again'))).toHaveLength(1);
    expect(firsts(await readAll(spool))).toEqual([1, 4]);
  });

  it('begins a new segment after an error, and reads what was whole', async () => {
    const spool = rig.open(RUN_A);
    await spool.append(framesOf(2));
    rmSync(join(rig.dir, 'spool'), { recursive: true });
    // The open file still takes bytes; the next segment cannot be made.
    const small = rig.open(RUN_B);
    await small.close(1000);
    expect(await spool.append([frameOf(7)])).toBe(true);
    expect(spool.read.events).toBe(9);
  });
});
