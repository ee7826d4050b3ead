import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { ColumnInfo } from './column.ts';
import { COMMON_COLUMNS, KINDS, PROCESS_COLUMNS } from './kinds.ts';

function row({ name, type, doc }: ColumnInfo): string {
  return `| \`${name}\` | ${type} | ${doc.replaceAll('|', '\\|')} |`;
}

function table(columns: readonly ColumnInfo[]): string {
  const rows = columns.flatMap((column) => [
    row(column),
    ...(column.fields ?? []).map((field) => row({ ...field, name: `${column.name}[].${field.name}` })),
  ]);
  return ['| column | type | meaning |', '|---|---|---|', ...rows].join('\n');
}

/** docs/events.md, from the tables that rows are made with. */
export function eventReference(): string {
  const kinds = KINDS.map(
    ({ kind, doc, columns }) => `### ${kind}\n\n${doc[0]?.toUpperCase()}${doc.slice(1)}.\n\n${table(columns)}`,
  );
  return `# Event reference

<!-- Made from proto/ by \`node dist/proto/columns-doc.js > docs/events.md\`; a test compares them. -->

One event is one flat row: a line of NDJSON in the collector's files
(\`kind=<kind>/cluster=<cluster>/dt=<day>/hour=<hour>/<node>-<run>-<sequence>.ndjson\`, by the event's time in UTC; with more
than 16 agents at a collector, rows of many share \`many-<collector's start>-<number>.ndjson\`) and on the agent's stdout. Names are OpenTelemetry's where it has one, with dots as underscores.

- Columns of a kind keep their names, types and order. One that is not known or does not apply is left out of the line: read an
  absent column as null (with the columns given, every reader does: docs/hunts). Nothing is guessed.
- \`integer\` may exceed 2^53: read it as a 64-bit number (bit sets and inode numbers as an unsigned one).
- Names, paths and arguments are bytes to the kernel. What is not UTF-8 reads U+FFFD in its column, and the exact bytes are
  in \`<column>_b64\`; in lists that is a list of the same length with null where the text is exact.
- Control, bidirectional and invisible characters are escaped as \`\\uXXXX\`: a line is safe to print and loses nothing.
- Delivery is at least once: \`event_id\` is the same each time.
- Enum values that a newer agent sends and this version does not know read \`unrecognized_<number>\`.

## Columns of every kind

${table(COMMON_COLUMNS)}

## Columns of every kind but kerntap.*

\`process.exec\` has \`process_executable_path\` among its own columns, with state and source.

${table(PROCESS_COLUMNS)}

## Kinds and their own columns

${kinds.join('\n\n')}
`;
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  process.stdout.write(eventReference());
}
