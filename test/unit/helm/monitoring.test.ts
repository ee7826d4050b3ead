import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { METRICS } from '../../../src/telemetry/metrics.ts';

const folder = join(import.meta.dirname, '../../../helm/kerntap/monitoring');
const text = (name: string) => readFileSync(join(folder, name), 'utf8');

/** Labels that Prometheus and the PodMonitor add; `exported_` is put before one of the agent's that they take. */
const OF_THE_TARGET = ['node', 'pod', 'namespace', 'container', 'instance', 'job'];

interface Panel {
  readonly targets: readonly { readonly expr: string }[];
}

const rules: { readonly alert: string; readonly expr: string }[] = parse(text('rules.yaml')).groups.flatMap(
  (group: { rules: unknown[] }) => group.rules,
);
const panels: readonly Panel[] = JSON.parse(text('dashboard.json')).panels;
const expressions = [...rules.map(({ expr }) => expr), ...panels.flatMap(({ targets }) => targets.map((t) => t.expr))];

describe('rules and dashboard', () => {
  it.each(expressions)('ask for metrics and labels that there are: %s', (expr) => {
    const names = expr.match(/\b(?:kerntap|process)_[a-z_]+\b/g) ?? [];
    expect(names.length).toBeGreaterThan(0);
    const known = new Set<string>(OF_THE_TARGET);
    for (const name of names) {
      expect(Object.keys(METRICS)).toContain(name);
      for (const label of METRICS[name]?.labels ?? []) {
        known.add(OF_THE_TARGET.includes(label) ? `exported_${label}` : label);
      }
    }
    const matched = [...expr.matchAll(/\{([^}]*)\}/g)].flatMap(
      ([, list = '']) => list.match(/[a-z_]+(?=\s*[=!]~?)/g) ?? [],
    );
    const grouped = [...expr.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, list = '']) => list.split(/,\s*/));
    expect([...matched, ...grouped].filter((label) => !known.has(label))).toEqual([]);
  });

  it('have an alert for each fault that needs someone', () => {
    expect(rules.map(({ alert }) => alert)).toEqual([
      'KerntapEventsLost',
      'KerntapBudgetExceeded',
      'KerntapProbeFailed',
      'KerntapMetadataStale',
      'KerntapReloadFailed',
      'KerntapNotDelivering',
      'KerntapOtlpNotDelivering',
      'KerntapNotAcknowledged',
      'KerntapSpoolFilling',
      'KerntapSpoolRefused',
      'KerntapNodeWasBlind',
      'KerntapCollectorBlocked',
      'KerntapBatchesRejected',
      'KerntapCertificateExpires',
      'KerntapCertificateRefused',
      'KerntapStreamsRefused',
    ]);
  });
});
