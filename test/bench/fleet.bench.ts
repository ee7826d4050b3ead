import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, test } from 'vitest';

/**
 * One replica of the reference collector and a growing fleet of agents, each with a connection of its own and a batch of
 * 50 events a second: decoded, made rows, written and synced before they are confirmed. The collector is pinned to one
 * processor, the fleet (bare HTTP/2, batches encoded once) to the other.
 */
const STREAMS = (process.env['STREAMS'] ?? '100,500,1000,2000,5000').split(',').map(Number);
const PER_SECOND = Number(process.env['PER_SECOND'] ?? 50);
const SECONDS = Number(process.env['SECONDS'] ?? 20);
const ROOT = join(import.meta.dirname, '../..');
const TICKS_PER_SECOND = 100;

interface Totals {
  readonly sent: number;
  readonly acked: number;
  /** Events that an agent had no window for: it would have spooled them. */
  readonly held?: number;
  readonly resent: number;
  readonly unconfirmed: number;
  readonly bytes: number;
  readonly failures: Record<string, number>;
  readonly during: { readonly acked: number; readonly ns: number };
  /** Of a batch from its making to its confirmation, ms. */
  readonly p50: number;
  readonly p99: number;
}

const linesOf = ({ stdout }: ChildProcess) => {
  if (stdout === null) throw new Error('not piped');
  return createInterface({ input: stdout })[Symbol.asyncIterator]();
};

/** Seconds of processor time so far, and the most memory that it had, in MB (proc(5)). */
function usage(pid: number): { cpu: number; peak: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const peak = Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
  return { cpu: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND, peak };
}

async function step(streams: number): Promise<string> {
  const out = mkdtempSync(join(tmpdir(), 'kerntap-fleet-'));
  const main = join(ROOT, 'dist/src/cli/main.js');
  const flags = ['--listen', '127.0.0.1:0', '--out', out, '--metrics', 'off'];
  // A connection is a file descriptor.
  const limited = (cpu: string, ...command: string[]) =>
    spawn('sh', ['-c', `ulimit -n 16384; exec taskset -c ${cpu} "$@"`, 'sh', process.execPath, ...command], {
      stdio: 'pipe',
    });
  const collector = limited('0', main, 'collector', ...flags);
  collector.stdout.resume();
  let fleet: ChildProcess | undefined;
  try {
    const address = await new Promise<string>((resolve, reject) => {
      // To its end: it logs every stream.
      createInterface({ input: collector.stderr }).on('line', (line) => {
        const listening = /"address":"([^"]+)"/.exec(line)?.[1];
        if (listening !== undefined) resolve(listening);
      });
      collector.once('exit', (code) => reject(new Error(`the collector ended with ${code}`)));
    });
    const load = join(import.meta.dirname, 'fleet-load.mjs');
    fleet = limited('1', load, address, String(streams), String(PER_SECOND), String(SECONDS));
    fleet.stderr?.pipe(process.stderr);
    const lines = linesOf(fleet);
    const { connected } = JSON.parse(String((await lines.next()).value)) as { connected: number };
    expect(connected).toBe(streams);
    const pid = collector.pid ?? 0;
    const before = usage(pid);
    const totals = JSON.parse(String((await lines.next()).value)) as Totals;
    const { cpu, peak } = usage(pid);
    const seconds = totals.during.ns / 1e9;
    collector.kill('SIGTERM');
    await new Promise((resolve) => collector.once('exit', resolve));
    const files = readdirSync(out, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ndjson'));
    const bytes = files.reduce((sum, name) => sum + statSync(join(out, name)).size, 0);
    return [
      streams,
      ((totals.sent + (totals.held ?? 0)) / seconds).toFixed(0),
      (totals.during.acked / seconds).toFixed(0),
      `${((1e6 * (cpu - before.cpu)) / totals.acked).toFixed(1)} us`,
      `${totals.p50.toFixed(0)} / ${totals.p99.toFixed(0)} ms`,
      peak.toFixed(0),
      totals.held ?? 0,
      totals.resent,
      files.length,
      (bytes / totals.acked).toFixed(0),
      (totals.bytes / (totals.sent + totals.resent)).toFixed(0),
    ].join(' | ');
  } finally {
    fleet?.kill('SIGKILL');
    collector.kill('SIGKILL');
    rmSync(out, { recursive: true, force: true });
  }
}

test('a fleet of agents at one collector', async () => {
  console.log(
    '\n| streams | offered/s | confirmed/s | CPU/event | batch confirmed p50 / p99 | RSS MB, peak | held back | sent again | files | B/row | B/event on the wire |',
  );
  console.log('|---|---|---|---|---|---|---|---|---|---|---|');
  for (const streams of STREAMS) console.log(`| ${await step(streams)} |`);
});
