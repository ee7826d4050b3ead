import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Books } from '../../src/cli/ledger.ts';
import { METRICS } from '../../src/telemetry/metrics.ts';
import { type Family, parseExposition } from '../unit/telemetry/exposition-parser.ts';
import { until } from './condition.ts';
import { ControlGroup } from './control-group.ts';
import { RunningAgent } from './running-agent.ts';
import { runTruth } from './truth-program.ts';

const ACTS = 20;
const MAIN = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));

let agent: RunningAgent;
let address = '';
const socket = `/run/kerntap-test-${process.pid}/agent.sock`;

beforeAll(async () => {
  agent = await RunningAgent.start({ flags: ['--all', '--metrics', '127.0.0.1:0', '--socket', socket] });
  const line = agent.log.find((text) => text.includes('"msg":"metrics and health"'));
  address = (JSON.parse(line ?? '{}') as { address: string }).address;
});

afterAll(async () => {
  await agent.stop();
  agent.clean();
  rmSync(dirname(socket), { recursive: true, force: true });
});

interface Asked {
  readonly child: ChildProcess;
  readonly lines: string[];
  readonly ended: Promise<number>;
}

function kerntap(...args: string[]): Asked {
  const child = spawn(process.execPath, [MAIN, ...args, '--socket', socket], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines: string[] = [];
  let rest = '';
  child.stdout.setEncoding('utf8');
  child.stdout.on('data', (text: string) => {
    const whole = (rest + text).split('\n');
    rest = whole.pop() ?? '';
    lines.push(...whole);
  });
  return { child, lines, ended: new Promise((resolve) => child.on('close', (code) => resolve(code ?? -1))) };
}

const parsed = (line: string) => JSON.parse(line) as Record<string, unknown>;

async function get(path: string): Promise<{ status: number; body: string }> {
  const response = await fetch(`http://${address}${path}`);
  return { status: response.status, body: await response.text() };
}

async function scrape(): Promise<Map<string, Family>> {
  return parseExposition((await get('/metrics')).body);
}

const byKind = (family: Family | undefined) =>
  new Map((family?.samples ?? []).map(({ labels, value }) => [labels['kind'] ?? '', value]));

function rowsByKind(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const row of agent.rows()) counts.set(String(row['kind']), (counts.get(String(row['kind'])) ?? 0) + 1);
  return counts;
}

describe('a running agent', () => {
  it('is alive, ready and well', async () => {
    for (const path of ['/healthz', '/readyz']) {
      const { status, body } = await get(path);
      expect(status).toBe(200);
      expect(JSON.parse(body)).toEqual({ status: 'ok', failed: [], degraded: [] });
    }
  });

  it("serves known metrics only, whose counts are between the collector's rows before and after", async () => {
    await agent.settle();
    const before = rowsByKind();
    const earlier = byKind((await scrape()).get('kerntap_seen_total'));
    const group = ControlGroup.host('counted');
    for (let i = 0; i < ACTS; i++) await runTruth(group, 'nop');
    group.remove();
    await agent.settle();
    const families = await scrape();
    await agent.settle();
    const after = rowsByKind();

    for (const [name, { type, samples }] of families) {
      expect(METRICS[name]?.type, name).toBe(type);
      for (const { labels } of samples) expect(Object.keys(labels)).toEqual(METRICS[name]?.labels);
    }
    const seen = byKind(families.get('kerntap_seen_total'));
    expect((seen.get('process.exec') ?? 0) - (earlier.get('process.exec') ?? 0)).toBeGreaterThanOrEqual(ACTS);
    const events = byKind(families.get('kerntap_events_total'));
    expect(events.get('process.exec')).toBeGreaterThanOrEqual((before.get('process.exec') ?? 0) + ACTS);
    for (const [kind, count] of events) {
      expect(count, kind).toBeGreaterThanOrEqual(before.get(kind) ?? 0);
      expect(count, kind).toBeLessThanOrEqual(after.get(kind) ?? 0);
    }
    const acked = families.get('kerntap_stream_acked_events_total')?.samples[0]?.value ?? 0;
    expect(acked).toBeLessThanOrEqual([...after.values()].reduce((sum, count) => sum + count, 0));
    expect(acked).toBeGreaterThan(ACTS);
  });

  it('tells the state of every probe, and that of its peers', async () => {
    const families = await scrape();
    const states = families.get('kerntap_probe_state')?.samples.map(({ labels }) => labels) ?? [];
    expect(states.find(({ kind }) => kind === 'process.exec')).toEqual({
      kind: 'process.exec',
      tier: 'tracker',
      state: 'on',
    });
    expect(new Set(states.map(({ kind }) => kind)).size).toBe(states.length);
    expect(families.get('kerntap_stream_connected')?.samples[0]?.value).toBe(1);
    expect(families.get('kerntap_ring_capacity_bytes')?.samples.map(({ labels }) => labels['ring'])).toEqual([
      'control',
      'process',
      'events',
    ]);
  });
});

describe('asked on its local socket', () => {
  it('tells books that balance, to the event that the collector has', async () => {
    await agent.settle();
    const before = rowsByKind();
    const { lines, ended } = kerntap('ledger', '--json');
    expect(await ended).toBe(0);
    await agent.settle();
    const after = rowsByKind();
    const { balance } = JSON.parse(lines[0] ?? '') as Books;
    expect(balance).toMatchObject({ balances: true, gaps: [] });
    for (const { kind, seen, suppressed, lost, delivered, inFlight } of balance.kinds) {
      expect(suppressed + lost + delivered + inFlight, kind).toBe(seen);
      expect(delivered + inFlight, kind).toBeGreaterThanOrEqual(before.get(kind) ?? 0);
      expect(delivered, kind).toBeLessThanOrEqual(after.get(kind) ?? 0);
    }
    expect(balance.kinds.map(({ kind }) => kind)).toContain('process.exec');
  });

  it('shows live what was asked for, with the columns and the ids that the collector has', async () => {
    const tail = kerntap('tail', '--process', 'nop', '--kinds', 'process.exec,process.exit');
    const group = ControlGroup.host('watched');
    const lastPid = () => agent.of(group).findLast((row) => row['kind'] === 'process.exit')?.['process_pid'];
    try {
      for (const until = performance.now() + 15_000; tail.lines.length === 0; ) {
        expect(performance.now(), 'the tail sees nothing').toBeLessThan(until);
        await runTruth(group, 'nop');
      }
      await runTruth(group, 'nop');
      await agent.settle();
      await until('the last exit', () => tail.lines.some((line) => parsed(line)['process_pid'] === lastPid()));
    } finally {
      tail.child.kill('SIGINT');
      group.remove();
    }
    expect(await tail.ended).toBe(0);
    const rows = new Map(agent.rows().map((row) => [row['event_id'], row]));
    for (const line of tail.lines) {
      const row = parsed(line);
      expect(row['process_executable_path']).toMatch(/\/nop$/);
      expect(rows.get(String(row['event_id']))).toMatchObject({
        ...row,
        time_ns: expect.anything(),
        ingest_time: expect.anything(),
      });
    }
  });

  it('loses nothing by clients that are stopped, killed, or wrong', async () => {
    const stopped = kerntap('tail');
    const killed = kerntap('tail', '--json');
    await until('both watch', () => stopped.lines.length > 0 && killed.lines.length > 0);
    stopped.child.kill('SIGSTOP');
    const wrong = kerntap('tail', '--kinds', 'nonsense');
    expect(await wrong.ended).toBe(1);
    const group = ControlGroup.host('beside');
    const file = join(agent.dir, 'stormed');
    writeFileSync(file, '');
    let acts = 0;
    try {
      const STORM = 3000;
      const run = runTruth(group, 'storm', { args: ['open', file, String(STORM)] });
      killed.child.kill('SIGKILL');
      acts = (await run).acts.length;
      await agent.settle();
      const opens = agent.of(group).filter((row) => row['kind'] === 'file.open' && row['file_path'] === file);
      expect(opens).toHaveLength(STORM);
    } finally {
      stopped.child.kill('SIGCONT');
      stopped.child.kill('SIGINT');
      group.remove();
    }
    expect(acts).toBeGreaterThan(0);
    expect(await stopped.ended).toBe(0);
    const books = kerntap('ledger', '--json');
    expect(await books.ended).toBe(0);
    const { ledger } = JSON.parse(books.lines[0] ?? '') as Books;
    expect(ledger.lost.filter(({ stage }) => stage !== 'kernel')).toEqual([]);
  });
});
