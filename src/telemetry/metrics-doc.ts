import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { AGENT_METRICS, COLLECTOR_METRICS, type Metric } from './metrics.ts';

function table(metrics: Readonly<Record<string, Metric>>): string {
  const rows = Object.entries(metrics).map(
    ([name, { type, labels, help }]) =>
      `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(', ')} | ${help.replaceAll('|', '\\|')} |`,
  );
  return ['| metric | type | labels | meaning |', '|---|---|---|---|', ...rows].join('\n');
}

/** docs/metrics.md, from the tables that metrics are served by. */
export function metricsReference(): string {
  return `# Metrics and health

<!-- Made from src/telemetry by \`node dist/src/telemetry/metrics-doc.js > docs/metrics.md\`; a test compares them. -->

The agent serves \`/metrics\` (Prometheus' text format), \`/healthz\` and \`/readyz\` on \`:9464\` (\`--metrics ADDR\`, or
\`metrics.listen\` in its configuration; \`off\` for none; off with \`--standalone\`), the collector on \`:9465\`. Values are
read when they are asked for. Counters begin at 0 with each start. Metrics of parts that are not there (no kubelet, no
configuration file, no TLS, no tail) are absent. The number of series is bounded: labels are kinds, reasons, programs and at most
101 namespaces.

## Health

Both answer 200 or 503, with JSON: \`{"status": "ok" | "degraded" | "failed", "failed": [...], "degraded": [...]}\`, each
finding with its \`part\`, \`name\` and \`reason\`. The agent's \`/readyz\` also says where the names of pods come from:
\`"pods": {"source": "pods-api" | "kubelet" | "none", "age_s": ..., "problems": {...}}\`.

| | agent | collector |
|---|---|---|
| \`/healthz\` fails | the rings were not drained for 10 s; a probe that was attached is gone | never: it answers |
| \`/readyz\` fails | also until every probe was tried, and while it stops | the disk refuses: nothing is acknowledged |
| degraded, and still 200 | a probe that this node refuses; no stream to the collector; no answer from the OTLP receiver; no pods from the kubelet; a configuration or certificates that were refused | |

## Agent

${table(AGENT_METRICS)}

## Collector

${table(COLLECTOR_METRICS)}
`;
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  process.stdout.write(metricsReference());
}
