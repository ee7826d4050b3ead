import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { json, linesOf, usage, waitForLine } from './agent-process.ts';

/**
 * A paced ladder of opens through the whole agent to an acknowledging peer: what was delivered, what was lost (each
 * counted), the agent's processor time per event and its memory. Budgets are off. The load is pinned to one processor,
 * the agent to the other; the peer shares the agent's.
 */
const RATES = (process.env['RATES'] ?? '10000,50000,100000,150000,200000,0').split(',').map(Number);
const SECONDS = Number(process.env['SECONDS'] ?? 6);
const ROOT = join(import.meta.dirname, '../..');
/** As package.json and the image start it: little is allocated, so a small nursery costs nothing and saves memory. */
const NODE_FLAGS = ['--max-semi-space-size=4'];

/** One kind, every open, nothing shed by budget, nothing on stdout. */
const CONFIG = `apiVersion: kerntap.dev/v1alpha1
probes: {process.exec: off, process.exit: off, process.io_uring: off, file.open: all, file.close: off, file.rename: off,
  file.unlink: off, file.chmod: off, socket.connect: off, socket.accept: off, socket.listen: off, socket.close: off}
budgets: {containerEventsPerSecond: 0, nodeEventsPerSecond: 0, cpuCores: 0}
tail: {enabled: false}
`;

let folder: string;
let pace: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'kerntap-bench-'));
  pace = join(folder, 'pace');
  execFileSync('cc', ['-static', '-O2', '-o', pace, join(import.meta.dirname, 'pace.c')]);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface KindCounts {
  readonly seen: number;
  readonly emitted: number;
  readonly suppressed: Record<string, number>;
  readonly lost: Record<string, number>;
}
const sum = (counts: Record<string, number>) => Object.values(counts).reduce((a, b) => a + b, 0);

async function step(rate: number): Promise<string> {
  const sink = spawn('taskset', ['-c', '0', process.execPath, join(import.meta.dirname, 'sink.mjs')], {
    stdio: 'pipe',
  });
  const sinkLines = linesOf(sink, 'stdout');
  const { port } = await json(sinkLines);
  const config = join(folder, 'kerntap.yaml');
  writeFileSync(config, CONFIG);
  const flags = ['--config', config, '--collector', `127.0.0.1:${port}`];
  const main = join(ROOT, 'dist/src/cli/main.js');
  const agent = spawn('taskset', ['-c', '0', process.execPath, ...NODE_FLAGS, main, 'agent', ...flags], {
    stdio: 'pipe',
  });
  agent.stdout.resume();
  const log = linesOf(agent, 'stderr');
  try {
    await waitForLine(log, (line) => line.includes('watching this node'));
    const pid = agent.pid ?? 0;
    const before = usage(pid);
    const load = JSON.parse(
      await new Promise<string>((resolve, reject) => {
        const child = spawn('taskset', ['-c', '1', pace, String(rate), String(SECONDS)], { stdio: 'pipe' });
        let out = '';
        child.stdout.on('data', (chunk) => {
          out += chunk;
        });
        child.on('close', (code) => (code === 0 ? resolve(out) : reject(new Error(`pace ended with ${code}`))));
      }),
    ) as { made: number; ns: number };
    const after = usage(pid);
    agent.kill('SIGTERM');
    const ledger = (
      JSON.parse(await waitForLine(log, (line) => line.includes('"ledger"'))) as {
        ledger: { kinds: Record<string, KindCounts>; user: { acked: number; drained: number } };
      }
    ).ledger;
    sink.kill('SIGTERM');
    const counted = (await json(sinkLines)) as { events: number; bytes: number };
    const opens = ledger.kinds['file.open'];
    if (opens === undefined) throw new Error('no file.open in the ledger');
    const lost = sum(opens.lost);
    expect(opens.seen).toBe(opens.emitted + sum(opens.suppressed) + lost);
    expect(opens.seen).toBeGreaterThanOrEqual(load.made);
    const events = opens.emitted;
    const offered = load.made / (load.ns / 1e9);
    const cpu = after.cpu - before.cpu;
    return [
      rate === 0 ? 'unpaced' : rate,
      offered.toFixed(0),
      counted.events,
      lost,
      `${((100 * lost) / opens.seen).toFixed(2)} %`,
      `${((1e6 * cpu) / events).toFixed(2)} us`,
      `${((100 * cpu) / (load.ns / 1e9)).toFixed(0)} %`,
      `${after.rss.toFixed(0)} (${after.peak.toFixed(0)})`,
      (counted.bytes / counted.events).toFixed(0),
    ].join(' | ');
  } finally {
    agent.kill('SIGKILL');
    sink.kill('SIGKILL');
  }
}

test('a ladder of opens, ring to acknowledged gRPC', async () => {
  const rows: string[] = [];
  for (const rate of RATES) rows.push(await step(rate));
  console.log(
    '\n| paced at | offered/s | delivered | lost | lost | agent CPU/event | of a core | RSS MB (peak) | B/event |',
  );
  console.log('|---|---|---|---|---|---|---|---|---|');
  for (const row of rows) console.log(`| ${row} |`);
});
