import { mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Counters } from '../../../src/collector/counters.ts';
import { Retention, type RetentionOptions } from '../../../src/collector/retention.ts';
import { startCollector } from '../../../src/collector/server.ts';
import { filesUnder } from './event-files.ts';
import { openBatch, Publisher } from './publisher.ts';

const NOW = Date.parse('2026-11-22T12:30:00Z');
const HOUR = 3_600_000;
const log = pino({ level: 'silent' });

let dir: string;
let out: string;
let counters: Counters;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'kerntap-retention-'));
  out = join(dir, 'events');
  mkdirSync(out);
  counters = new Counters();
});

afterEach(() => {
  vi.restoreAllMocks();
  rmSync(dir, { recursive: true, force: true });
});

/** A file of the hour that began so many hours before NOW's, finished a little later. */
function put(hoursAgo: number, name: string, bytes: number, kind = 'file.open'): string {
  const time = new Date(NOW - hoursAgo * HOUR);
  const iso = time.toISOString();
  const path = `kind=${kind}/cluster=prod/dt=${iso.slice(0, 10)}/hour=${iso.slice(11, 13)}/${name}`;
  mkdirSync(dirname(join(out, path)), { recursive: true });
  writeFileSync(join(out, path), 'x'.repeat(bytes));
  utimesSync(join(out, path), time, time);
  return path;
}

const sweep = (options: Partial<RetentionOptions>) =>
  new Retention(out, { retainBytes: 0, retainMs: 0, now: () => NOW, ...options }, counters, log).sweep();

describe('retention', () => {
  test('by size deletes whole files, the oldest hours first, of all kinds, until the rest fits', async () => {
    put(30, 'a-1.ndjson', 100);
    put(20, 'a-2.ndjson', 100, 'process.exec');
    const kept = [put(10, 'a-3.ndjson', 100), put(1, 'a-4.ndjson', 100, 'process.exec'), put(0, 'a-5.ndjson.tmp', 50)];
    await sweep({ retainBytes: 250 });
    expect(filesUnder(out)).toEqual(kept.sort());
    expect(counters).toMatchObject({ retentionDeletedFiles: 2, retentionDeletedBytes: 200, diskErrors: 0 });
    await sweep({ retainBytes: 250 });
    expect(counters.retentionDeletedFiles).toBe(2);
  });

  test('by age deletes what was finished before, whatever the size', async () => {
    put(30, 'a-1.ndjson', 1);
    put(25, 'a-2.ndjson', 1);
    const kept = [put(23, 'a-3.ndjson', 1), put(0, 'a-4.ndjson', 1)];
    await sweep({ retainMs: 24 * HOUR });
    expect(filesUnder(out)).toEqual(kept.sort());
  });

  test('never touches what is still written, what is not its own, nor anything outside', async () => {
    const outside = join(dir, 'outside');
    mkdirSync(join(outside, 'hour=01'), { recursive: true });
    writeFileSync(join(outside, 'hour=01', 'p.ndjson'), 'precious');
    writeFileSync(join(dir, 'top.ndjson'), 'precious');
    const unfinished = put(40, 'a-1.ndjson.tmp', 1000);
    const [other, notes] = [put(40, 'notes.txt', 1000), put(40, 'deep', 0)];
    rmSync(join(out, notes));
    mkdirSync(join(out, notes));
    writeFileSync(join(out, notes, 'x.ndjson'), 'precious');
    mkdirSync(join(out, 'kind=..'), { recursive: true });
    writeFileSync(join(out, 'kind=..', 'x.ndjson'), 'precious');
    writeFileSync(join(out, 'x.ndjson'), 'precious');
    symlinkSync(outside, join(out, dirname(unfinished), '..', '..', 'dt=2020-01-01'));
    symlinkSync(join(dir, 'top.ndjson'), join(out, dirname(unfinished), 'link.ndjson'));
    await sweep({ retainBytes: 1, retainMs: 1 });
    expect(filesUnder(out)).toEqual(
      [unfinished, other, `${notes}/x.ndjson`, 'kind=../x.ndjson', 'x.ndjson'].sort((a, b) => (a < b ? -1 : 1)),
    );
    expect(filesUnder(outside)).toEqual(['hour=01/p.ndjson']);
    expect(counters).toMatchObject({ retentionDeletedFiles: 0, diskErrors: 0 });
  });

  test('removes folders that became empty, unless they are young', async () => {
    put(30, 'a-1.ndjson', 10);
    const young = put(0, 'a-2.ndjson', 10);
    await sweep({ retainBytes: 1 });
    expect(filesUnder(out)).toEqual([]);
    const folders = (await fs.readdir(out, { recursive: true })).sort();
    const parts = dirname(young).split('/');
    expect(folders).toEqual(parts.map((_, i) => parts.slice(0, i + 1).join('/')));
  });

  test('counts what it cannot delete, and goes on', async () => {
    put(30, 'a-1.ndjson', 10);
    put(20, 'a-2.ndjson', 10);
    const [first = ''] = filesUnder(out);
    // Asked for the time of the first, after the files were listed: another one has deleted it just then.
    const now = () => {
      rmSync(join(out, first), { force: true });
      return NOW;
    };
    await sweep({ retainMs: HOUR, now });
    expect(counters).toMatchObject({ retentionDeletedFiles: 1, diskErrors: 1 });
    expect(filesUnder(out)).toEqual([]);
  });

  test('is off without a bound, and kept by a collector while it writes', async () => {
    const old = put(100, 'old-1.ndjson', 1000);
    let collector = await startCollector({ listen: '127.0.0.1:0', out, log });
    await collector.close();
    expect(filesUnder(out)).toEqual([old]);

    collector = await startCollector({ listen: '127.0.0.1:0', out, log, retainBytes: 500 });
    const agent = new Publisher(collector.address).hello();
    try {
      await expect.poll(() => collector.stats().retentionDeletedFiles).toBe(1);
      agent.batch(openBatch(1n, 1n, 10));
      await agent.untilAcked(1n);
      expect(filesUnder(out)).toHaveLength(1);
    } finally {
      agent.close();
      await collector.close();
    }
  });
});
