import { COLUMNS } from '../proto/columns.ts';

/** A row as it was written, whole: the columns of its kind that were left out are null. */
export function wholeRow<Row extends Readonly<Record<string, unknown>>>(row: Row): Row {
  const whole: Record<string, unknown> = {};
  for (const { name } of COLUMNS.get(String(row['kind'])) ?? []) whole[name] = null;
  return Object.assign(whole, row) as Row;
}
