import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { agentMetrics } from '../../../src/telemetry/agent-metrics.ts';
import { Exposition } from '../../../src/telemetry/exposition.ts';
import { LongestGap } from '../../../src/telemetry/longest-gap.ts';
import { AGENT_METRICS, METRICS } from '../../../src/telemetry/metrics.ts';
import { metricsReference } from '../../../src/telemetry/metrics-doc.ts';
import { NAMESPACES_MAX, NamespaceCounts } from '../../../src/telemetry/namespaces.ts';
import { READINGS } from './agent-readings.ts';
import { type Family, parseExposition } from './exposition-parser.ts';

const valuesOf = (family: Family | undefined) => family?.samples.map(({ labels, value }) => [labels, value]);

describe('the exposition', () => {
  it('keeps families in one piece, in order, and leaves out those without a sample', () => {
    const out = new Exposition({
      a_total: { type: 'counter', help: 'A', labels: ['x'] },
      b: { type: 'gauge', help: 'B', labels: [] },
      c: { type: 'gauge', help: 'C', labels: [] },
    } as const);
    out.add('c', 1.5);
    out.add('a_total', 1, 'p');
    out.add('c', 2);
    out.add('a_total', 2, 'q');
    expect(out.text()).toBe(
      '# HELP a_total A\n# TYPE a_total counter\na_total{x="p"} 1\na_total{x="q"} 2\n# HELP c C\n# TYPE c gauge\nc 1.5\nc 2\n',
    );
  });

  it('escapes what would end a label or a help', () => {
    const out = new Exposition({ m: { type: 'gauge', help: 'a\\b\nc', labels: ['x'] } } as const);
    const hostile = 'q"} 1\nm{x="\\n';
    out.add('m', 1e21, hostile);
    const family = parseExposition(out.text()).get('m');
    expect(family?.help).toBe('a\\b\nc');
    expect(valuesOf(family)).toEqual([[{ x: hostile }, 1e21]]);
  });
});

describe("the agent's metrics", () => {
  it('are those of the table, with their types and labels, whole', () => {
    const families = parseExposition(agentMetrics(READINGS));
    expect([...families.keys()]).toEqual(Object.keys(AGENT_METRICS));
    for (const [name, { type, help, samples }] of families) {
      const metric = METRICS[name];
      expect({ type, help }).toEqual({ type: metric?.type, help: metric?.help });
      for (const { labels } of samples) expect(Object.keys(labels)).toEqual(metric?.labels);
    }
  });

  it('tell what was read', () => {
    const families = parseExposition(agentMetrics(READINGS));
    const tell = (name: keyof typeof AGENT_METRICS) => valuesOf(families.get(name));
    expect(tell('kerntap_seen_total')).toEqual([
      [{ kind: 'file.open' }, 100],
      [{ kind: 'process.exec' }, 7],
    ]);
    expect(tell('kerntap_suppressed_total')).toEqual([
      [{ kind: 'file.open', reason: 'filtered' }, 50],
      [{ kind: 'file.open', reason: 'self' }, 5],
    ]);
    expect(tell('kerntap_lost_total')).toEqual([
      [{ stage: 'kernel', reason: 'ring_full', kind: 'file.open' }, 5],
      [{ stage: 'queue', reason: 'overflow', kind: '' }, 2],
    ]);
    expect(tell('kerntap_otlp_lost_events_total')).toEqual([
      [{ reason: 'rejected' }, 4],
      [{ reason: 'overflow' }, 1],
    ]);
    expect(tell('kerntap_otlp_waiting_events')).toEqual([[{}, 15]]);
    expect(tell('kerntap_drain_lag_seconds')).toEqual([[{}, 0.0175]]);
    expect(tell('kerntap_probe_state')).toEqual([
      [{ kind: 'process.exec', tier: 'tracker', state: 'on' }, 1],
      [{ kind: 'file.open', tier: '', state: 'failed' }, 1],
    ]);
    expect(tell('kerntap_probe_run_seconds_total')?.[0]).toEqual([{ program: 'kt_a' }, 2.5]);
    expect(tell('kerntap_probe_misses_total')).toEqual([[{ program: 'kt_a' }, 3]]);
    expect(tell('kerntap_kubelet_last_success_timestamp_seconds')).toEqual([[{}, 1_700_000_000.5]]);
    expect(tell('kerntap_pod_source_active')).toEqual([
      [{ source: 'pods-api' }, 1],
      [{ source: 'kubelet' }, 0],
    ]);
    expect(tell('kerntap_pod_source_failures_total')).toEqual([[{ source: 'pods-api', reason: 'exhausted' }, 1]]);
    expect(tell('kerntap_config_last_reload_successful')).toEqual([[{}, 0]]);
    expect(tell('kerntap_certificate_expiry_timestamp_seconds')).toEqual([
      [{ peer: 'collector', certificate: 'own' }, 1_700_000_002],
      [{ peer: 'collector', certificate: 'authority' }, 1_700_000_003],
      [{ peer: 'otlp', certificate: 'authority' }, 1_700_000_004],
    ]);
    expect(tell('kerntap_certificate_reloads_total')).toEqual([
      [{ peer: 'collector', result: 'applied' }, 3],
      [{ peer: 'collector', result: 'refused' }, 1],
      [{ peer: 'otlp', result: 'applied' }, 0],
      [{ peer: 'otlp', result: 'refused' }, 0],
    ]);
    expect(tell('kerntap_certificate_last_reload_successful')).toEqual([
      [{ peer: 'collector' }, 0],
      [{ peer: 'otlp' }, 1],
    ]);
    expect(tell('kerntap_build_info')).toEqual([[{ version: '1.2.3' }, 1]]);
  });

  it('leave out the parts that are not there', () => {
    const without = {
      ...READINGS,
      otlp: undefined,
      pods: undefined,
      hold: undefined,
      config: undefined,
      tailDropped: undefined,
    };
    const names = [...parseExposition(agentMetrics(without)).keys()];
    expect(names.filter((name) => /otlp|kubelet|pod|hold|config|tail/.test(name))).toEqual([]);
    expect(names).toContain('kerntap_stream_connected');
    const alone = [...parseExposition(agentMetrics({ ...READINGS, stream: undefined })).keys()];
    expect(alone.filter((name) => name.startsWith('kerntap_stream_'))).toEqual([]);
    expect(alone).toContain('kerntap_otlp_connected');
  });
});

describe('counts by namespace', () => {
  it('are bounded: beyond the first hundred all share one', () => {
    const counts = new NamespaceCounts();
    for (let i = 0; i < 10_000; i++) counts.count(`ns-${i}`);
    counts.count('ns-0');
    counts.count('other');
    const totals = new Map(counts.totals().map(({ namespace, events }) => [namespace, events]));
    expect(totals.size).toBe(NAMESPACES_MAX + 1);
    expect(totals.get('ns-0')).toBe(2);
    expect(totals.get('other')).toBe(10_000 - NAMESPACES_MAX + 1);
    expect([...totals.values()].reduce((sum, events) => sum + events)).toBe(10_002);
  });
});

describe('the longest gap', () => {
  it('is kept for a minute, and counts the one that goes on', () => {
    const gaps = new LongestGap();
    expect(gaps.longest(5)).toBe(0);
    gaps.tick(1000);
    gaps.tick(1015);
    expect(gaps.longest(1020)).toBe(15);
    expect(gaps.longest(1045)).toBe(30);
    gaps.tick(4015);
    gaps.tick(4030);
    expect(gaps.longest(4030)).toBe(3000);
    for (let now = 4045; now < 49_000; now += 15) gaps.tick(now);
    expect(gaps.longest(49_000)).toBe(3000);
    for (let now = 49_000; now < 75_000; now += 15) gaps.tick(now);
    expect(gaps.longest(75_000)).toBeLessThan(30);
  });
});

it('docs/metrics.md is current (node dist/src/telemetry/metrics-doc.js > docs/metrics.md)', () => {
  expect(readFileSync(join(import.meta.dirname, '../../../docs/metrics.md'), 'utf8')).toBe(metricsReference());
});
