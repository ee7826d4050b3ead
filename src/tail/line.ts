import { type Cell, cellToJson, type Row, toLine } from '../../proto/ndjson.ts';

/** A log line of 8 KiB or more is split by CRI-O; containerd's limit is 16 KiB. */
export const LINE_BYTES_MAX = 8191;
/** Column that names the columns that were cut to keep the line short. */
export const CUT_COLUMN = 'tail_cut';

function jsonBytes(value: Cell): number {
  return Buffer.byteLength(cellToJson(value));
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
function cutValue(value: Cell, bytes: number): Cell | undefined {
  if (typeof value === 'string') return bytes > 2 ? cutString(value, bytes) : undefined;
  if (Array.isArray(value)) {
    const kept: Cell[] = [];
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
    const kept: Record<string, Cell> = {};
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
 * An event's line of JSON (without newline) made to fit LINE_BYTES_MAX bytes: the longest columns are cut first and named
 * in `tail_cut`; base64 columns go whole, half of one being of no use. The collector's copy is never cut.
 * @param line as EventRow.line() gives it
 * @param row the same event's columns; asked for only where the line is too long
 */
export function fitLine(line: string, row: () => Row): string {
  return Buffer.byteLength(line) <= LINE_BYTES_MAX ? line : cutRow(row());
}

function cutRow(row: Row): string {
  const columns = new Map<string, Cell>(Object.entries(row));
  const sizes = [...columns].map(([name, cell]): [string, number] => [name, jsonBytes(name) + jsonBytes(cell) + 2]);
  let total = sizes.reduce((sum, [, size]) => sum + size, 1);
  const cut: string[] = [];
  for (const [name, size] of sizes.sort((a, b) => b[1] - a[1])) {
    // Room for this column's name in `tail_cut`, and for that column itself the first time.
    total += jsonBytes(name) + 1 + (cut.length === 0 ? CUT_COLUMN.length + 6 : 0);
    cut.push(name);
    const overhead = jsonBytes(name) + 2;
    const cell = columns.get(name) ?? null;
    const rest = name.endsWith('_b64') ? undefined : cutValue(cell, size - overhead - (total - LINE_BYTES_MAX));
    total -= size;
    if (rest === undefined) {
      columns.delete(name);
    } else {
      columns.set(name, rest);
      total += overhead + jsonBytes(rest);
    }
    if (total <= LINE_BYTES_MAX) break;
  }
  columns.set(CUT_COLUMN, cut);
  return toLine(Object.fromEntries(columns));
}
