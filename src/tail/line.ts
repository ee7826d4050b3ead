import { escapeJson } from './escape.ts';

/** A log line of 8 KiB or more is split by CRI-O; containerd's limit is 16 KiB. */
export const LINE_BYTES_MAX = 8191;
/** Column that names the columns that were cut to keep the line short. */
export const CUT_COLUMN = 'tail_cut';

type Row = Readonly<Record<string, unknown>>;

/** JSON of a value; integers beyond 2^53 keep all their digits. */
function toJson(value: unknown): string {
  if (typeof value === 'bigint') return value.toString();
  if (Array.isArray(value)) return `[${value.map(toJson).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const parts: string[] = [];
    for (const [key, item] of Object.entries(value)) {
      if (item !== undefined) parts.push(`${JSON.stringify(key)}:${toJson(item)}`);
    }
    return `{${parts.join(',')}}`;
  }
  return value === undefined ? 'null' : escapeJson(JSON.stringify(value));
}

function jsonBytes(value: unknown): number {
  return Buffer.byteLength(toJson(value));
}

/** The longest start of `text` whose JSON has at most `bytes` bytes, on a character's boundary. */
function cutString(text: string, bytes: number): string {
  let low = 0;
  let high = text.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (jsonBytes(text.slice(0, middle)) <= bytes) low = middle;
    else high = middle - 1;
  }
  const last = text.charCodeAt(low - 1);
  return text.slice(0, last >= 0xd800 && last < 0xdc00 ? low - 1 : low);
}

/** The value made to fit `bytes` bytes of JSON, or undefined where nothing useful would be left of it. */
function cutValue(value: unknown, bytes: number): unknown {
  if (typeof value === 'string') return bytes > 2 ? cutString(value, bytes) : undefined;
  if (Array.isArray(value)) {
    const kept: unknown[] = [];
    let room = bytes - 2;
    for (const item of value) {
      const size = jsonBytes(item) + 1;
      if (size > room) {
        const rest = cutValue(item, room - 1);
        if (rest !== undefined) kept.push(rest);
        break;
      }
      kept.push(item);
      room -= size;
    }
    return bytes < 2 ? undefined : kept;
  }
  if (typeof value === 'object' && value !== null) {
    const kept: Record<string, unknown> = {};
    let room = bytes - 2;
    for (const [key, item] of Object.entries(value)) {
      const size = jsonBytes(key) + jsonBytes(item) + 2;
      if (size > room) continue;
      kept[key] = item;
      room -= size;
    }
    return bytes < 2 ? undefined : kept;
  }
  return undefined;
}

/**
 * One event as one line of JSON without its newline, at most LINE_BYTES_MAX bytes: the longest columns are cut first
 * and named in `tail_cut`; base64 columns go whole, half of one being of no use. The collector's copy is never cut.
 */
export function renderLine(row: Row): string {
  const whole = toJson(row);
  if (Buffer.byteLength(whole) <= LINE_BYTES_MAX) return whole;

  const columns = new Map(Object.entries(row).filter(([, value]) => value !== undefined));
  const sizes = new Map<string, number>();
  let total = 2;
  for (const [name, value] of columns) {
    const size = jsonBytes(name) + jsonBytes(value) + 2;
    sizes.set(name, size);
    total += size;
  }
  const cut: string[] = [];
  for (const [name, size] of [...sizes].sort((a, b) => b[1] - a[1])) {
    // Room for this column's name in `tail_cut`, and for that column itself the first time.
    total += jsonBytes(name) + 1 + (cut.length === 0 ? CUT_COLUMN.length + 6 : 0);
    cut.push(name);
    const overhead = jsonBytes(name) + 2;
    const room = size - overhead - (total - LINE_BYTES_MAX);
    const value = name.endsWith('_b64') ? undefined : cutValue(columns.get(name), room);
    total -= size;
    if (value === undefined) {
      columns.delete(name);
    } else {
      columns.set(name, value);
      total += overhead + jsonBytes(value);
    }
    if (total <= LINE_BYTES_MAX) break;
  }
  columns.set(CUT_COLUMN, cut);
  return toJson(Object.fromEntries(columns));
}
