import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { METRICS } from '../../src/telemetry/metrics.ts';
import { type Family, parseExposition } from '../unit/telemetry/exposition-parser.ts';
import { ControlGroup } from './control-group.ts';
import { RunningAgent } from './running-agent.ts';
import { runTruth } from './truth-program.ts';

const ACTS = 20;

let agent: RunningAgent;
let address = '';

beforeAll(async () => {
  agent = await RunningAgent.start({ flags: ['--all', '--metrics', '127.0.0.1:0'] });
  const line = agent.log.find((text) => text.includes('"msg":"metrics and health"'));
  address = (JSON.parse(line ?? '{}') as { address: string }).address;
});

afterAll(async () => {
  await agent.stop();
  agent.clean();
});

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
