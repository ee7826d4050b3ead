import { isUtf8 } from 'node:buffer';
import { constants } from 'node:os';
import type { Path } from './messages.ts';
import type { Cell } from './ndjson.ts';

/**
 * What a column holds in JSON. `integer` may exceed 2^53: read it as a signed 64-bit number; `unsigned` may exceed 2^63.
 */
export type ColumnType = 'string' | 'integer' | 'unsigned' | 'boolean' | 'strings' | 'map' | 'objects';

/** One column as its readers see it. */
export interface ColumnInfo {
  readonly name: string;
  readonly type: ColumnType;
  readonly doc: string;
  /** Of `objects`: the fields of each. */
  readonly fields?: readonly ColumnInfo[];
}

/** One column of a table: `read` takes it from the decoded message `Source`; null where it is not known. */
export interface Column<Source> extends ColumnInfo {
  /** `,"name":` */
  readonly key: string;
  readonly read: (source: Source) => Cell;
}

/** A column. */
export function column<Source>(
  name: string,
  type: ColumnType,
  doc: string,
  read: (source: Source) => Cell,
): Column<Source> {
  return { name, type, doc, key: `,"${name}":`, read };
}

/** A list of objects with these fields, all of them always present. */
export function objects<Source, Item>(
  name: string,
  doc: string,
  fields: readonly Column<Item>[],
  get: (source: Source) => readonly Item[],
): Column<Source> {
  const cell = (item: Item): Cell => Object.fromEntries(fields.map((field) => [field.name, field.read(item)]));
  return { ...column<Source>(name, 'objects', doc, (source) => get(source).map(cell)), fields: infos(fields) };
}

/** Without what reads them. */
export function infos(columns: readonly ColumnInfo[]): ColumnInfo[] {
  return columns.map(({ name, type, doc, fields }) => ({
    name,
    type,
    doc,
    ...(fields === undefined ? {} : { fields: infos(fields) }),
  }));
}

function buffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

let lastBytes: Uint8Array | null = null;
let lastText = '';

// A column and its _b64 ask for the same bytes one after the other.
function utf8(bytes: Uint8Array): string {
  if (bytes !== lastBytes) {
    lastText = buffer(bytes).toString();
    lastBytes = bytes;
  }
  return lastText;
}

// Decoding puts U+FFFD for what is not UTF-8; it may also stand there in its own right.
function inexact(bytes: Uint8Array): boolean {
  return utf8(bytes).includes('\ufffd') && !isUtf8(bytes);
}

function base64(bytes: Uint8Array): string {
  return buffer(bytes).toString('base64');
}

const EXACT = 'exact bytes (base64) where they are not UTF-8';

/** Kernel bytes: text with U+FFFD for what is not UTF-8, and then the exact bytes in `<name>_b64`. Empty is null. */
export function bytes<Source>(name: string, doc: string, get: (source: Source) => Uint8Array): Column<Source>[] {
  return [
    column(name, 'string', doc, (source) => {
      const value = get(source);
      return value.length === 0 ? null : utf8(value);
    }),
    column(`${name}_b64`, 'string', `${name}: ${EXACT}`, (source) => {
      const value = get(source);
      return value.length > 0 && inexact(value) ? base64(value) : null;
    }),
  ];
}

/** A list of kernel bytes; `<name>_b64` is a list of the same length with null where the text is exact. */
export function bytesList<Source>(
  name: string,
  doc: string,
  get: (source: Source) => readonly Uint8Array[],
): Column<Source>[] {
  return [
    column(name, 'strings', doc, (source) => get(source).map(utf8)),
    column(
      `${name}_b64`,
      'strings',
      `${name}: list of the same length, ${EXACT}, else null; null if all are`,
      (source) => {
        const items = get(source);
        return items.some(inexact) ? items.map((item) => (inexact(item) ? base64(item) : null)) : null;
      },
    ),
  ];
}

/** Name of an enum's value; one that a newer agent added reads `unrecognized_<n>`. */
export function enumName(names: readonly string[], value: number): string {
  return names[value] ?? `unrecognized_${value}`;
}

const PATH_STATES = ['truncated', 'deleted', 'unreachable', 'chrooted', 'pseudo', 'unreadable'];
const PATH_SOURCES = [null, 'kernel_file', 'kernel_name', 'user_enter', 'user_exit'] as const;

function pathState(bits: number): string {
  if (bits === 0) return 'ok';
  const names: string[] = [];
  for (let bit = 0; bit < 32; bit++) {
    if ((bits & (1 << bit)) !== 0) names.push(PATH_STATES[bit] ?? `unrecognized_${bit}`);
  }
  return names.join(',');
}

/** Name of an enum PathSource; null for none. */
export function pathSource(value: number): string | null {
  return value === 0 ? null : (PATH_SOURCES[value] ?? `unrecognized_${value}`);
}

// A path message with source none says that there is no path; a state may still say why (unreadable).
function known(path: Path | null): Path | null {
  return path !== null && (path.source !== 0 || path.state !== 0 || path.path.length > 0) ? path : null;
}

const NO_BYTES = new Uint8Array(0);

/** A path: `<name>`, `<name>_b64`, `<name>_state` and `<name>_source`. */
export function path<Source>(name: string, doc: string, get: (source: Source) => Path | null): Column<Source>[] {
  return [
    ...bytes<Source>(name, doc, (source) => get(source)?.path ?? NO_BYTES),
    column(
      `${name}_state`,
      'string',
      `ok, or comma-joined: ${PATH_STATES.join(', ')}; of a truncated path the leaf end is kept`,
      (source) => {
        const value = known(get(source));
        return value === null ? null : pathState(value.state);
      },
    ),
    column(`${name}_source`, 'string', 'kernel_file, kernel_name, user_enter, user_exit', (source) =>
      pathSource(get(source)?.source ?? 0),
    ),
  ];
}

// The kernel's numbers are the same on x86-64 and arm64. Aliases keep the kernel's first name.
const ERRNO_NAMES = new Map<number, string>();
for (const [name, errno] of Object.entries(constants.errno)) {
  if (!ERRNO_NAMES.has(errno) || name === 'EAGAIN' || name === 'EOPNOTSUPP') ERRNO_NAMES.set(errno, name);
}

/** `result` (0, a value, or -errno) and `error` (the errno's name, null on success). */
export function outcome<Source extends { readonly result: number }>(doc: string): Column<Source>[] {
  return [
    column('result', 'integer', doc, (source) => source.result),
    column('error', 'string', 'name of the errno, as ECONNREFUSED; null on success', (source) =>
      source.result >= 0 ? null : (ERRNO_NAMES.get(-source.result) ?? `errno_${-source.result}`),
    ),
  ];
}

/** '' and 0 mean not known: null. */
export function orNull<Value extends string | number | bigint>(value: Value): Value | null {
  return value === '' || value === 0 || value === 0n ? null : value;
}

/** Kernel device number (major << 20 | minor) as `major:minor`; null for 0. */
export function device(dev: number): string | null {
  return dev === 0 ? null : `${dev >>> 20}:${dev & 0xfffff}`;
}
