import { execFileSync, spawn } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Authority } from '../unit/kubernetes/certificates.ts';
import { json, linesOf, usage, waitForLine } from './agent-process.ts';

/**
 * What encryption and compression of the stream cost the agent, and what they save on the wire: opens at a pace through the
 * whole agent to an acknowledging peer. Medians of interleaved rounds.
 */
const RATES = (process.env['RATES'] ?? '500,20000').split(',').map(Number);
const SECONDS = Number(process.env['SECONDS'] ?? 5);
const ROUNDS = Number(process.env['ROUNDS'] ?? 3);
const ROOT = join(import.meta.dirname, '../..');
const CONFIG = `apiVersion: kerntap.dev/v1alpha1
probes: {process.exec: off, process.exit: off, process.io_uring: off, file.open: all, file.close: off, file.rename: off,
  file.unlink: off, file.chmod: off, socket.connect: off, socket.accept: off, socket.listen: off, socket.close: off}
budgets: {containerEventsPerSecond: 0, nodeEventsPerSecond: 0, cpuCores: 0}
tail: {enabled: false}
`;
const VARIANTS = [
  { name: 'plain', tls: false, gzip: false },
  { name: 'gzip', tls: false, gzip: true },
  { name: 'mutual TLS', tls: true, gzip: false },
  { name: 'mutual TLS, gzip', tls: true, gzip: true },
] as const;

interface Reading {
  /** us of the agent, and of its peer, for each event. */
  readonly agentUs: number;
  readonly peerUs: number;
  /** By TCP. */
  readonly bytes: number;
}

let folder: string;
let pace: string;
let authority: Authority;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'kerntap-wire-'));
  pace = join(folder, 'pace');
  execFileSync('cc', ['-static', '-O2', '-o', pace, join(import.meta.dirname, 'pace.c')]);
  writeFileSync(join(folder, 'kerntap.yaml'), CONFIG);
  authority = new Authority();
  const { certFile, keyFile } = authority.issue('kerntap', 'DNS:localhost');
  copyFileSync(authority.caFile, join(folder, 'ca.crt'));
  copyFileSync(certFile, join(folder, 'tls.crt'));
  copyFileSync(keyFile, join(folder, 'tls.key'));
});
afterAll(() => {
  for (const dir of [folder, authority.dir]) rmSync(dir, { recursive: true, force: true });
});

async function step(rate: number, { tls, gzip }: (typeof VARIANTS)[number]): Promise<Reading> {
  const env = { ...process.env, SINK_WIRE: '1', ...(tls ? { SINK_PKI: folder } : {}) };
  const sink = spawn('taskset', ['-c', '0', process.execPath, join(import.meta.dirname, 'sink.mjs')], {
    stdio: 'pipe',
    env,
  });
  const sinkLines = linesOf(sink, 'stdout');
  const { port } = await json(sinkLines);
  const pki = ['ca', 'cert', 'key'].flatMap((what) => [
    `--collector-${what}-file`,
    join(folder, what === 'ca' ? 'ca.crt' : what === 'cert' ? 'tls.crt' : 'tls.key'),
  ]);
  const flags = ['--config', join(folder, 'kerntap.yaml'), '--collector', `localhost:${port}`, '--socket', 'off'];
  const chosen = [...flags, ...(tls ? pki : []), ...(gzip ? ['--compression', 'gzip'] : []), '--metrics', 'off'];
  const main = join(ROOT, 'dist/src/cli/main.js');
  const agent = spawn('taskset', ['-c', '0', process.execPath, '--max-semi-space-size=4', main, 'agent', ...chosen], {
    stdio: 'pipe',
  });
  agent.stdout.resume();
  const log = linesOf(agent, 'stderr');
  try {
    await waitForLine(log, (line) => line.includes('watching this node'));
    const before = [usage(agent.pid ?? 0), usage(sink.pid ?? 0)] as const;
    execFileSync('taskset', ['-c', '1', pace, String(rate), String(SECONDS)]);
    const after = [usage(agent.pid ?? 0), usage(sink.pid ?? 0)] as const;
    agent.kill('SIGTERM');
    await waitForLine(log, (line) => line.includes('"ledger"'));
    sink.kill('SIGTERM');
    const counted = (await json(sinkLines)) as { events: number; wireBytes: number };
    expect(counted.events).toBeGreaterThan(rate * SECONDS * 0.95);
    const perEvent = (who: 0 | 1) => (1e6 * (after[who].cpu - before[who].cpu)) / counted.events;
    return { agentUs: perEvent(0), peerUs: perEvent(1), bytes: counted.wireBytes / counted.events };
  } finally {
    agent.kill('SIGKILL');
    sink.kill('SIGKILL');
  }
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

test('the stream, encrypted and compressed', async () => {
  console.log('\n| events/s | stream | agent CPU/event | peer CPU/event | B/event by TCP |');
  console.log('|---|---|---|---|---|');
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
        `${of('agentUs').toFixed(2)} us`,
        `${of('peerUs').toFixed(2)} us`,
        of('bytes').toFixed(0),
      ];
      console.log(`| ${row.join(' | ')} |`);
    }
  }
});
