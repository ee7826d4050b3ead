import { COLUMNS } from '../proto/columns.ts';

/** By kind: every column null. Rows inherit them, as an own null for each would be most of a test's memory. */
const absent = new Map<string, object>(
  [...COLUMNS].map(([kind, columns]) => [kind, Object.fromEntries(columns.map(({ name }) => [name, null]))]),
);

/** A row as it was written, whole: the columns of its kind that were left out are null (inherited: not its own keys). */
export function wholeRow<Row extends Readonly<Record<string, unknown>>>(row: Row): Row {
  return Object.assign(Object.create(absent.get(String(row['kind'])) ?? Object.prototype), row) as Row;
}

/** What a row says: its columns that are not null, as its own alone. */
export function withoutNulls(row: Readonly<Record<string, unknown>> | undefined): Record<string, unknown> {
  return Object.fromEntries(Object.entries(row ?? {}).filter(([, value]) => value !== null));
}
