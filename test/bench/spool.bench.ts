import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { json, linesOf, usage, waitForLine } from './agent-process.ts';

/**
 * What a spool costs while the collector keeps up: the agent's processor time for an event with one and without, opens at a
 * pace to a peer that takes everything. Medians of interleaved rounds.
 */
const RATE = Number(process.env['RATE'] ?? 50_000);
const SECONDS = Number(process.env['SECONDS'] ?? 5);
const ROUNDS = Number(process.env['ROUNDS'] ?? 5);
const ROOT = join(import.meta.dirname, '../..');

const CONFIG = `apiVersion: kerntap.dev/v1alpha1
probes: {process.exec: off, process.exit: off, process.io_uring: off, file.open: all, file.close: off, file.rename: off,
  file.unlink: off, file.chmod: off, socket.connect: off, socket.accept: off, socket.listen: off, socket.close: off}
budgets: {containerEventsPerSecond: 0, nodeEventsPerSecond: 0, cpuCores: 0}
tail: {enabled: false}
`;

interface Reading {
  readonly agentUs: number;
  readonly rssMb: number;
  readonly lost: number;
}

let folder: string;
let pace: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'kerntap-spool-'));
  pace = join(folder, 'pace');
  execFileSync('cc', ['-static', '-O2', '-o', pace, join(import.meta.dirname, 'pace.c')]);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function step(spool: string): Promise<Reading> {
  const sink = spawn('taskset', ['-c', '0', process.execPath, join(import.meta.dirname, 'sink.mjs')], {
    stdio: 'pipe',
  });
  const { port } = await json(linesOf(sink, 'stdout'));
  const file = join(folder, 'kerntap.yaml');
  writeFileSync(file, CONFIG);
  const flags = ['--config', file, '--collector', `127.0.0.1:${port}`, '--socket', 'off', '--metrics', 'off'];
  const main = join(ROOT, 'dist/src/cli/main.js');
  const command = [process.execPath, '--max-semi-space-size=4', main, 'agent', ...flags, '--spool', spool];
  const agent = spawn('taskset', ['-c', '0', ...command], { stdio: 'pipe' });
  agent.stdout.resume();
  const log = linesOf(agent, 'stderr');
  try {
    await waitForLine(log, (line) => line.includes('watching this node'));
    const before = usage(agent.pid ?? 0);
    execFileSync('taskset', ['-c', '1', pace, String(RATE), String(SECONDS)]);
    const after = usage(agent.pid ?? 0);
    agent.kill('SIGTERM');
    const { ledger } = JSON.parse(await waitForLine(log, (text) => text.includes('"ledger"'))) as {
      ledger: { user: { encoded: number }; lost: { total: number }[] };
    };
    expect(ledger.user.encoded).toBeGreaterThan(RATE * SECONDS * 0.9);
    // Nothing was written but notes.
    if (existsSync(spool)) expect(readdirSync(spool).filter((name) => name.endsWith('.seg'))).toEqual([]);
    return {
      agentUs: (1e6 * (after.cpu - before.cpu)) / ledger.user.encoded,
      rssMb: after.peak,
      lost: ledger.lost.reduce((sum, { total }) => sum + total, 0),
    };
  } finally {
    agent.kill('SIGKILL');
    sink.kill('SIGKILL');
  }
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

test('a spool that is not needed', async () => {
  const off: Reading[] = [];
  const on: Reading[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    off.push(await step('off'));
    on.push(await step(join(folder, 'spool')));
  }
  console.log(`\n${RATE} opens/s, ${ROUNDS} rounds of ${SECONDS} s each\n`);
  console.log('| spool | agent CPU/event: median (all) | RSS MB (peak) | lost |');
  console.log('|---|---|---|---|');
  for (const [name, all] of [
    ['off', off],
    ['on, idle', on],
  ] as const) {
    const us = all.map(({ agentUs }) => agentUs);
    const row = [
      name,
      `${median(us).toFixed(2)} us (${us.map((one) => one.toFixed(2)).join(', ')})`,
      median(all.map(({ rssMb }) => rssMb)).toFixed(0),
      all.reduce((sum, { lost }) => sum + lost, 0),
    ];
    console.log(`| ${row.join(' | ')} |`);
  }
  const ratio = median(on.map(({ agentUs }) => agentUs)) / median(off.map(({ agentUs }) => agentUs));
  console.log(`\nratio ${ratio.toFixed(3)}`);
});
