/** OpenTelemetry log records read back as rows of the collector's columns, so that what holds of rows is asked of them. */
import { COLUMNS } from '../../proto/columns.ts';
import { rfc3339 } from '../../proto/time.ts';
import { attributeOf } from '../../src/stream/otlp/attributes.ts';
import type { AttributeValue, ReceivedRecord } from '../otlp-receiver.ts';
import { wholeRow } from '../rows.ts';
import type { Row } from './event-files.ts';

/** As JSON would have it: what fits is a number. */
function plain(value: AttributeValue | undefined): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (Buffer.isBuffer(value)) return value.toString('base64');
  if (Array.isArray(value)) return value.map(plain);
  return value ?? null;
}

const ARCHITECTURES: Readonly<Record<string, string>> = { amd64: 'x86_64', arm64: 'aarch64' };
/** Columns whose values the semantic conventions write otherwise. */
const BACK: Readonly<Record<string, (value: string) => unknown>> = {
  file_inode: Number,
  host_arch: (value) => ARCHITECTURES[value] ?? value,
};

export function rowOf({ resource, attributes, eventName, timeUnixNano }: ReceivedRecord): Row {
  const kind = eventName.startsWith('kerntap.loss') ? eventName : eventName.replace(/^kerntap\.(?!pod$|probe$)/, '');
  const told = { ...resource, ...attributes };
  const row: Record<string, unknown> = {};
  for (const { name: column } of COLUMNS.get(kind) ?? []) {
    const value = plain(told[attributeOf(column).name]);
    row[column] = column in BACK && value !== null ? BACK[column]?.(String(value)) : value;
  }
  const id = String(attributes['log.record.uid']);
  const time = rfc3339(timeUnixNano);
  return wholeRow({ ...row, kind, time, time_ns: String(timeUnixNano), event_id: id, seq: Number(id.split('-')[1]) });
}

/** One row for each `log.record.uid`, however often it came. */
export function rowsOnce(records: readonly ReceivedRecord[]): Map<string, Row> {
  const rows = new Map<string, Row>();
  for (const record of records) {
    const row = rowOf(record);
    rows.set(String(row['event_id']), row);
  }
  return rows;
}
