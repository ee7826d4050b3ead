import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { ColumnInfo } from '../../../proto/column.ts';
import { COMMON_COLUMNS, KINDS, PROCESS_COLUMNS } from '../../../proto/kinds.ts';
import { attributeOf, CONTAINER_COLUMNS, UNTOLD } from './attributes.ts';

/** What OTLP has fields for. */
const FIELDS: Readonly<Record<string, string>> = {
  time: '`time_unix_nano`',
  time_ns: '`time_unix_nano`',
  kind: '`event_name`: `kerntap.<kind>`',
  event_id: '`log.record.uid`',
  seq: 'the number in `log.record.uid`',
};

function shown(column: string): string {
  const { name, entries } = attributeOf(column);
  return FIELDS[column] ?? (entries ? `\`${name}.<key>\`` : `\`${name}\``);
}

function table(columns: readonly ColumnInfo[]): string {
  const rows = columns.map(({ name }) => `| \`${name}\` | ${shown(name)} |`);
  return ['| column | OTLP |', '|---|---|', ...rows].join('\n');
}

/** Of a kind's own columns those whose attribute is more than the column's name. */
function named(columns: readonly ColumnInfo[]): ColumnInfo[] {
  return columns.filter(({ name }) => attributeOf(name).name !== `kerntap.${name}`);
}

/** docs/otlp.md, from the table that attributes are named by. */
export function otlpManual(): string {
  const common = COMMON_COLUMNS.filter(({ name }) => !UNTOLD.has(name));
  const resource = [
    ...common.filter(({ name }) => FIELDS[name] === undefined),
    ...PROCESS_COLUMNS.filter(({ name }) => CONTAINER_COLUMNS.has(name)),
  ];
  const record = [
    ...common.filter(({ name }) => FIELDS[name] !== undefined),
    ...PROCESS_COLUMNS.filter(({ name }) => !CONTAINER_COLUMNS.has(name)),
  ];
  const shownAbove = new Set([...resource, ...record].map(({ name }) => name));
  const own = new Map(
    KINDS.flatMap(({ columns }) => named(columns))
      .filter(({ name }) => !shownAbove.has(name))
      .map((column) => [column.name, column]),
  );
  return `# Events as OpenTelemetry logs

<!-- Made from src/stream/otlp by \`node dist/src/stream/otlp/manual.js > docs/otlp.md\`; a test compares them. -->

The agent sends the same events as OpenTelemetry logs over gRPC (OTLP) to any receiver: an OpenTelemetry Collector, or what
speaks OTLP itself. Beside the collector, or instead of it:

\`\`\`yaml
stream:
  otlp:
    endpoint: otel-collector.observability:4317
    # tls: {caFile: /etc/otel/ca.crt}           # also certFile and keyFile; followed, as collector.tls
    # headers: [{name: authorization, file: /etc/otel/token}]   # or value, or env
\`\`\`

\`kerntap agent --otlp HOST:PORT\` does the same. In the chart it is \`config.stream\`, with \`collector.enabled: false\` where
OTLP is to be the only way out, and \`agent.extraVolumes\` or \`agent.extraEnv\` for what is secret. All keys:
\`kerntap config explain stream.otlp\`.

Each way out has a queue and books of its own: neither waits for the other, and a slow one costs the other nothing. With both,
an event is delivered when the collector has it on disk; with OTLP alone, when the receiver took it. What the receiver does
with it then is not known here: an OpenTelemetry Collector answers before its own queue is through, unless
\`sending_queue\` is off or on disk.

## A record

- One \`ResourceLogs\` for each container, with what is the same for all its events; of the host and of the agent's own events
  with the node alone. The scope is \`kerntap\` with the agent's version.
- \`time_unix_nano\` is the kernel's time on the wall clock, \`observed_time_unix_nano\` when the agent had the event,
  \`severity_number\` 9 (INFO). There is no body, no trace and no span.
- \`event_name\` is \`kerntap.<kind>\`, as \`kerntap.process.exec\`.
- \`log.record.uid\` is the event's id, \`<run>-<number>\`: the same when a record was sent again. Records with the same one are
  the same event; numbers of a run have no holes but for what \`kerntap.loss\` says.
- Names are those of the semantic conventions (1.45) where they have one; every other column is \`kerntap.<column>\`, as in
  [events.md](events.md). What is not known is left out.
- A controller is told by the conventions' name for it, too (\`k8s.deployment.name\`, \`k8s.job.name\`, ...), and the tag of an
  image as \`container.image.tags\`.
- Bytes that are not UTF-8 read U+FFFD, and the exact bytes are in \`kerntap.<column>_b64\` as bytes.
- Integers are OTLP's only kind, signed: what is beyond 2^63 (bit sets) reads negative.
- The conventions advise against \`process.command_args\` without sanitising: secrets in it are redacted (\`argv.redact\`).
- Connections have \`network.community_id\` (\`communityId\`, \`communityIdSeed\`).

## What is sent again, and what is lost

By the OTLP specification. CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE and DATA_LOSS are tried again,
RESOURCE_EXHAUSTED where the receiver says when (RetryInfo); with growing, jittered pauses, for ever, and not before the
receiver wants it. Records that a receiver rejects (partial success) and requests refused with any other status are not
sent again. So a record may come twice.

Events wait in memory (\`queueBytes\`, 16 MiB). What is lost is counted by kind and reason, in band
(\`kerntap.loss\` with the stage \`otlp\`), in \`kerntap ledger\` and in \`kerntap_otlp_lost_events_total\`:

| reason | what happened |
|---|---|
| \`overflow\` | the memory was full: the oldest went |
| \`rejected\` | the receiver took the request and rejected these records |
| \`invalid_argument\`, \`unauthenticated\`, ... | the status with which the receiver refused the request |
| \`undeliverable\` | this request failed ten times while others went through |
| \`unwritable\` | the event could not be told |
| \`closed\` | it came when the agent was stopping |

Memory: the queue, and for each of \`concurrency\` calls (4) a request of at most \`maxBatchBytes\` (1 MiB), compressed besides.

## Resource attributes

${table(resource)}

## Attributes of every record

Of \`kerntap.*\` records the first ones only.

${table(record)}

## Attributes of some kinds

Columns of a kind that are not in these tables are \`kerntap.<column>\`.

${table([...own.values()])}
`;
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  process.stdout.write(otlpManual());
}
