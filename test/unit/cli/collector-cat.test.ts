import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { catFlags, eventLines } from '../../../src/cli/collector-cat.ts';
import { UsageError } from '../../../src/cli/flags.ts';
import { linesOf } from '../../../src/collector/found-files.ts';

const NOW = Date.parse('2026-11-22T12:30:00Z');

let out: string;

beforeEach(() => {
  out = mkdtempSync(join(tmpdir(), 'kerntap-cat-'));
});

afterEach(() => {
  rmSync(out, { recursive: true, force: true });
});

async function all(lines: AsyncIterable<string>): Promise<string[]> {
  const found: string[] = [];
  for await (const line of lines) found.push(line);
  return found;
}

interface Put {
  readonly time: string;
  readonly kind?: string;
  readonly namespace?: string | null;
  readonly pod?: string | null;
  readonly id: string;
}

/** One file of rows, all of the first one's hour. */
function put(rows: readonly Put[], suffix = '', name = 'node-run-1.ndjson'): string {
  const [{ time, kind = 'file.open' } = { time: '' }] = rows;
  const folder = `kind=${kind}/cluster=prod/dt=${time.slice(0, 10)}/hour=${time.slice(11, 13)}`;
  const path = join(out, folder, name);
  mkdirSync(dirname(path), { recursive: true });
  const lines = rows.map(({ id, namespace = null, pod = null, ...row }) =>
    JSON.stringify({ time: row.time, kind, event_id: id, k8s_namespace_name: namespace, k8s_pod_name: pod }),
  );
  writeFileSync(path, `${lines.join('\n')}\n${suffix}`);
  return path;
}

async function ids(...args: string[]): Promise<string[]> {
  const flags = catFlags(args, NOW);
  if (flags === undefined) throw new Error('help was asked for');
  const found: string[] = [];
  for await (const line of eventLines(out, flags)) found.push(String(JSON.parse(line).event_id));
  return found;
}

describe('kerntap collector cat', () => {
  it('prints the rows as they are, hour by hour', async () => {
    put([{ time: '2026-11-22T11:59:59.999999999Z', id: 'c' }]);
    put([
      { time: '2026-11-22T10:00:00.000000001Z', id: 'a' },
      { time: '2026-11-22T10:00:00.000000002Z', id: 'b' },
    ]);
    put([{ time: '2026-11-22T12:00:00.000000000Z', kind: 'process.exec', id: 'd' }]);
    expect(await ids()).toEqual(['a', 'b', 'c', 'd']);
    const [line] = await all(eventLines(out, catFlags(['--limit', '1'], NOW) as never));
    expect(line).toBe(
      '{"time":"2026-11-22T10:00:00.000000001Z","kind":"file.open","event_id":"a","k8s_namespace_name":null,"k8s_pod_name":null}',
    );
  });

  it('filters by kind and family, namespace, pod, time and number', async () => {
    const time = '2026-11-22T12:25:00.000000000Z';
    put([
      { time: '2026-11-22T12:05:00.000000000Z', id: 'old', namespace: 'shop', pod: 'web-1' },
      { time, id: 'web', namespace: 'shop', pod: 'web-2' },
      { time, id: 'host' },
    ]);
    put([{ time, kind: 'process.exec', id: 'exec', namespace: 'bank', pod: 'db-1' }]);
    put([{ time, kind: 'process.exit', id: 'exit', namespace: 'shop', pod: 'db-1' }]);
    put([{ time: '2026-11-20T12:00:00.000000000Z', id: 'older', namespace: 'shop', pod: 'web-9' }]);
    expect(await ids('--kind', 'process')).toEqual(['exec', 'exit']);
    expect(await ids('--kind', 'process.exit,file')).toEqual(['older', 'old', 'web', 'host', 'exit']);
    expect(await ids('--namespace', 'shop')).toEqual(['older', 'old', 'web', 'exit']);
    expect(await ids('--pod', 'web-*', '--namespace', 'sh*,b*')).toEqual(['older', 'old', 'web']);
    expect(await ids('--since', '10m')).toEqual(['web', 'host', 'exec', 'exit']);
    expect(await ids('--since', '2026-11-22T12:05:00Z', '--namespace', 'shop')).toEqual(['old', 'web', 'exit']);
    expect(await ids('--since', '7d', '--limit', '2')).toEqual(['older', 'old']);
    expect(await ids('--kind', 'socket')).toEqual([]);
  });

  it('reads what is still written up to its last whole line, and no further than what a crash left', async () => {
    const time = '2026-11-22T12:25:00.000000000Z';
    put([{ time, id: 'a' }], '{"time":"2026-11-22T12:25', 'node-run-1.ndjson.tmp');
    put([{ time, id: 'b' }], `\0\0\0{"event_id":"never"}\n`, 'node-run-2.ndjson.tmp');
    expect(await ids()).toEqual(['a', 'b']);
  });

  it('follows a file that gets its final name meanwhile, and passes one that is gone', async () => {
    const time = '2026-11-22T12:25:00.000000000Z';
    const path = put([{ time, id: 'a' }], '', 'node-run-1.ndjson.tmp');
    renameSync(path, path.replace('.tmp', ''));
    expect(await all(linesOf(path))).toHaveLength(1);
    expect(await all(linesOf(join(out, 'gone.ndjson')))).toEqual([]);
  });

  it('takes lines apart wherever a read ends', async () => {
    const path = join(out, 'long');
    const lines = Array.from({ length: 40 }, (_, i) => `${i}:${'é'.repeat(30_000 + i)}`);
    writeFileSync(path, `${lines.join('\n')}\n`);
    expect(await all(linesOf(path))).toEqual(lines);
  });

  it('refuses a file of one endless line', async () => {
    const path = join(out, 'endless');
    writeFileSync(path, 'x'.repeat(10 << 20));
    await expect(all(linesOf(path))).rejects.toThrow('a line of more than');
  });

  it.each([
    ['--since', 'yesterday'],
    ['--since', '10'],
    ['--since', '2026-11-22'],
    ['--limit', '0'],
    ['--limit', 'x'],
    ['--kinds', 'file'],
    ['extra'],
  ])('refuses %s %s', (...args) => {
    expect(() => catFlags(args, NOW)).toThrow(UsageError);
  });
});

it('ends when its reader has gone, with 0', async () => {
  const time = '2026-11-22T12:25:00.000000000Z';
  put(Array.from({ length: 20_000 }, (_, i) => ({ time, id: `event-${i}-${'x'.repeat(100)}` })));
  const main = join(import.meta.dirname, '../../../dist/src/cli/main.js');
  const args = [main, 'collector', 'cat', '--out', out];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  child.stdout.once('data', () => child.stdout.destroy());
  expect(await new Promise((resolve) => child.on('close', resolve))).toBe(0);
});
