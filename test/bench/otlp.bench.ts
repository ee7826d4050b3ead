import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { json, linesOf, usage, waitForLine } from './agent-process.ts';

/**
 * OpenTelemetry logs beside the own protocol: opens at a pace through the whole agent to a peer that takes everything. Its
 * processor time, what goes over TCP, and the longest time between two drains of the rings. Medians of interleaved rounds.
 */
const RATES = (process.env['RATES'] ?? '1000,5000,20000').split(',').map(Number);
const SECONDS = Number(process.env['SECONDS'] ?? 5);
const WARM_SECONDS = 4;
const ROUNDS = Number(process.env['ROUNDS'] ?? 3);
const ROOT = join(import.meta.dirname, '../..');
const VARIANTS = [
  { name: 'collector', collector: true, otlp: '' },
  { name: 'OTLP, gzip', collector: false, otlp: 'gzip' },
  { name: 'OTLP, not compressed', collector: false, otlp: 'none' },
  { name: 'collector and OTLP, gzip', collector: true, otlp: 'gzip' },
] as const;

interface Reading {
  readonly agentUs: number;
  /** By TCP, for each event. */
  readonly wireBytes: number;
  /** Longest between two drains. */
  readonly drainMs: number;
  readonly rssMb: number;
  /** Of a hundred events. */
  readonly lost: number;
}

let folder: string;
let pace: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'kerntap-otlp-'));
  pace = join(folder, 'pace');
  execFileSync('cc', ['-static', '-O2', '-o', pace, join(import.meta.dirname, 'pace.c')]);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function config(port: unknown, { collector, otlp }: (typeof VARIANTS)[number]): string {
  return `apiVersion: kerntap.dev/v1alpha1
probes: {process.exec: off, process.exit: off, process.io_uring: off, file.open: all, file.close: off, file.rename: off,
  file.unlink: off, file.chmod: off, socket.connect: off, socket.accept: off, socket.listen: off, socket.close: off}
budgets: {containerEventsPerSecond: 0, nodeEventsPerSecond: 0, cpuCores: 0}
tail: {enabled: false}
${collector ? `collector: {endpoint: "127.0.0.1:${port}"}` : ''}
${otlp === '' ? '' : `stream: {otlp: {endpoint: "127.0.0.1:${port}", compression: ${otlp}}}`}
`;
}

interface Ledger {
  readonly user: { readonly acked: number };
  readonly otlp?: { readonly accepted: number; readonly confirmed: number };
}

async function step(rate: number, variant: (typeof VARIANTS)[number]): Promise<Reading> {
  const env = { ...process.env, SINK_WIRE: '1' };
  const sink = spawn('taskset', ['-c', '0', process.execPath, join(import.meta.dirname, 'sink.mjs')], {
    stdio: 'pipe',
    env,
  });
  const sinkLines = linesOf(sink, 'stdout');
  const { port } = await json(sinkLines);
  const file = join(folder, 'kerntap.yaml');
  writeFileSync(file, config(port, variant));
  const flags = ['--config', file, '--socket', 'off', '--metrics', '127.0.0.1:0'];
  const main = join(ROOT, 'dist/src/cli/main.js');
  const agent = spawn('taskset', ['-c', '0', process.execPath, '--max-semi-space-size=4', main, 'agent', ...flags], {
    stdio: 'pipe',
  });
  agent.stdout.resume();
  const log = linesOf(agent, 'stderr');
  try {
    const { address } = JSON.parse(await waitForLine(log, (line) => line.includes('metrics and health'))) as {
      address: string;
    };
    await waitForLine(log, (line) => line.includes('watching this node'));
    // Code that has just begun to run is not compiled yet: so much of the load is not counted.
    execFileSync('taskset', ['-c', '1', pace, String(rate), String(WARM_SECONDS)]);
    const before = usage(agent.pid ?? 0);
    const load = execFileSync('taskset', ['-c', '1', pace, String(rate), String(SECONDS)], { encoding: 'utf8' });
    const after = usage(agent.pid ?? 0);
    const metrics = await (await fetch(`http://${address}/metrics`)).text();
    const lag = Number(/^kerntap_drain_lag_seconds (\S+)$/m.exec(metrics)?.[1]);
    agent.kill('SIGTERM');
    const line = await waitForLine(log, (text) => text.includes('"ledger"'));
    const { ledger } = JSON.parse(line) as { ledger: Ledger };
    sink.kill('SIGTERM');
    const { wireBytes } = (await json(sinkLines)) as { wireBytes: number };
    const confirmed = variant.otlp === '' ? ledger.user.acked : (ledger.otlp?.confirmed ?? 0);
    const accepted = ledger.otlp?.accepted ?? confirmed;
    expect(accepted).toBeGreaterThan(rate * SECONDS * 0.95);
    return {
      agentUs: (1e6 * (after.cpu - before.cpu)) / (JSON.parse(load) as { made: number }).made,
      wireBytes: wireBytes / accepted,
      drainMs: lag * 1000,
      rssMb: after.peak,
      lost: (100 * (accepted - confirmed)) / accepted,
    };
  } finally {
    agent.kill('SIGKILL');
    sink.kill('SIGKILL');
  }
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

test('OTLP beside the own protocol', async () => {
  console.log(
    '\n| events/s | way out | agent CPU/event | of a core | B/event by TCP | drain at most | RSS MB (peak) | lost |',
  );
  console.log('|---|---|---|---|---|---|---|---|');
  for (const rate of RATES) {
    const readings = new Map<string, Reading[]>(VARIANTS.map(({ name }) => [name, []]));
    for (let round = 0; round < ROUNDS; round++) {
      for (const variant of VARIANTS) readings.get(variant.name)?.push(await step(rate, variant));
    }
    for (const [name, all] of readings) {
      const of = (key: keyof Reading) => median(all.map((reading) => reading[key]));
      const row = [
        rate,
        name,
        `${of('agentUs').toFixed(1)} us`,
        `${((of('agentUs') * rate) / 1e4).toFixed(1)} %`,
        of('wireBytes').toFixed(0),
        `${of('drainMs').toFixed(0)} ms`,
        of('rssMb').toFixed(0),
        `${of('lost').toFixed(1)} %`,
      ];
      console.log(`| ${row.join(' | ')} |`);
    }
  }
});
