import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync, rmSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { type Collector, startCollector } from '../../../src/collector/server.ts';
import { rowsUnder } from './event-files.ts';
import { openBatch, Publisher } from './publisher.ts';

const WAIT = { timeout: 10_000 };

const log = pino({ level: 'silent' });
const undo: (() => unknown)[] = [];

afterEach(async () => {
  vi.restoreAllMocks();
  for (const step of undo.splice(0).reverse()) await step();
});

async function collectorIn(out: string): Promise<[Collector, Publisher]> {
  const collector = await startCollector({ listen: '127.0.0.1:0', out, log, retryMs: 20, closeMs: 500 });
  undo.push(() => collector.close());
  const agent = new Publisher(collector.address).hello();
  undo.push(() => agent.close());
  return [collector, agent];
}

function folder(): string {
  const out = mkdtempSync(join(tmpdir(), 'kerntap-disk-'));
  undo.push(() => rmSync(out, { recursive: true, force: true }));
  return out;
}

// A tmpfs of 1 MiB; null where this user may not mount.
function tinyDisk(): string | null {
  const out = mkdtempSync(join(tmpdir(), 'kerntap-tiny-'));
  undo.push(() => rmdirSync(out));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'kerntap-test', out], { stdio: 'pipe' });
  } catch {
    return null;
  }
  undo.push(() => execFileSync('umount', [out]));
  return out;
}

async function handlePrototype(): Promise<FileHandle> {
  const handle = await open('/dev/null');
  await handle.close();
  return Object.getPrototypeOf(handle) as FileHandle;
}

describe('a full disk', () => {
  test('stops acks and reading, and nothing is lost or torn once there is space again', async (context) => {
    const out = tinyDisk();
    if (out === null) return context.skip('mounting a tmpfs needs root');
    const [collector, agent] = await collectorIn(out);
    const batches = 60n;
    for (let i = 0n; i < batches; i++) agent.batch(openBatch(i + 1n, i * 50n + 1n, 50));
    await expect.poll(() => collector.stats().blocked, WAIT).toContain('ENOSPC');
    const errors = collector.stats().diskErrors;
    await expect.poll(() => collector.stats().diskErrors, WAIT).toBeGreaterThan(errors + 3);
    expect(agent.acked).toBeLessThan(batches);
    expect(agent.status).toBe('open');

    execFileSync('mount', ['-o', 'remount,size=64m', out]);
    await agent.untilAcked(batches);
    expect(agent.acked).toBe(batches);
    expect(collector.stats().blocked).toBeNull();
    await collector.close();
    const seqs = rowsUnder(out).map((row) => row['seq'] as number);
    expect(seqs.sort((a, b) => a - b)).toEqual(Array.from({ length: 3000 }, (_, i) => i + 1));
  });

  test('does not keep the collector from stopping; what was acknowledged is there at the next start', async (context) => {
    const out = tinyDisk();
    if (out === null) return context.skip('mounting a tmpfs needs root');
    const [collector, agent] = await collectorIn(out);
    await agent.batch(openBatch(1n, 1n, 10)).untilAcked(1n);
    for (let i = 1n; i < 60n; i++) agent.batch(openBatch(i + 1n, i * 50n + 1n, 50));
    await expect.poll(() => collector.stats().blocked, WAIT).toContain('ENOSPC');
    const acked = agent.acked;
    await collector.close();
    await agent.until(() => agent.status !== 'open');
    expect(agent.acked).toBe(acked);
    execFileSync('mount', ['-o', 'remount,size=64m', out]);
    await collectorIn(out);
    const seqs = new Set(rowsUnder(out).map((row) => row['seq'] as number));
    for (let seq = 1; seq <= 10; seq++) expect(seqs.has(seq)).toBe(true);
    for (let seq = 51; seq <= Number(acked - 1n) * 50; seq++) expect(seqs.has(seq)).toBe(true);
  });
});

describe('an ack', () => {
  test('waits for the sync of the file', async () => {
    const prototype = await handlePrototype();
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const sync = vi.spyOn(prototype, 'datasync').mockImplementation(() => gate);
    const [collector, agent] = await collectorIn(folder());
    agent.batch(openBatch(1n, 1n, 1));
    await expect.poll(() => sync.mock.calls.length, WAIT).toBe(1);
    agent.batch(openBatch(2n, 2n, 1));
    await expect.poll(() => collector.stats().batches, WAIT).toBe(2);
    expect(agent.responses).toEqual([]);
    release();
    await agent.untilAcked(2n);
    expect(agent.acked).toBe(2n);
  });

  test('of rows whose sync failed waits till they were written again', async () => {
    const prototype = await handlePrototype();
    const write = vi.spyOn(prototype, 'writev');
    vi.spyOn(prototype, 'datasync').mockRejectedValueOnce(Object.assign(new Error('EIO: i/o error'), { code: 'EIO' }));
    const out = folder();
    const [collector, agent] = await collectorIn(out);
    await agent.batch(openBatch(1n, 1n, 3)).untilAcked(1n);
    expect(collector.stats()).toMatchObject({ diskErrors: 1, blocked: null });
    // The same bytes at the same place, twice.
    expect((write.mock.calls as unknown[][]).map((call) => call[1])).toEqual([0, 0]);
    expect(rowsUnder(out, true)).toHaveLength(3);
  });
});
