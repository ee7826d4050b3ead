/** What the collector must have written for an act: independent of the code that writes it, by the public columns. */
import type { Row } from './event-files.ts';
import type { Act } from './truth-program.ts';

/** A test of one value that is not plain equality. */
export interface Matcher {
  readonly says: string;
  readonly matches: (value: unknown, row: Row) => boolean;
}

export type Expected = Readonly<Record<string, unknown>>;

const PATH_STATES = ['truncated', 'deleted', 'unreachable', 'chrooted', 'pseudo', 'unreadable'];
const TRUNCATED = 1;
const PSEUDO = 16;
const FAULT = 32;
/** The kernel adds it to every open of a 64-bit process. */
const O_LARGEFILE = 0o100000;
/** Longest path that is told in full. */
const PATH_MAX = 4096;
export const ARGV_CAP = 8192;

const FILE_TYPES = new Map([
  [0o010000, 'fifo'],
  [0o020000, 'character_device'],
  [0o040000, 'directory'],
  [0o060000, 'block_device'],
  [0o100000, 'regular'],
  [0o120000, 'symbolic_link'],
  [0o140000, 'socket'],
]);

export function matcher(says: string, matches: (value: unknown, row: Row) => boolean): Matcher {
  return { says, matches };
}

export function isMatcher(value: unknown): value is Matcher {
  return typeof value === 'object' && value !== null && 'matches' in value;
}

/** The bytes of a column: exact ones where they are not UTF-8. One character a byte. */
export function columnBytes(row: Row, name: string): string | null {
  const exact = row[`${name}_b64`];
  if (typeof exact === 'string') return Buffer.from(exact, 'base64').toString('latin1');
  const text = row[name];
  return typeof text === 'string' ? Buffer.from(text, 'utf8').toString('latin1') : null;
}

/** The bytes of a list column. */
export function columnList(row: Row, name: string): string[] | null {
  const list = row[name];
  if (!Array.isArray(list)) return null;
  const exact: unknown = row[`${name}_b64`];
  return list.map((text: unknown, i) => {
    const item: unknown = Array.isArray(exact) ? exact[i] : null;
    return typeof item === 'string'
      ? Buffer.from(item, 'base64').toString('latin1')
      : Buffer.from(String(text), 'utf8').toString('latin1');
  });
}

function short(text: string): string {
  return text.length > 200 ? `${text.slice(0, 90)}...${text.slice(-90)} (${text.length})` : text;
}

function bytes(name: string, expected: string): Matcher {
  return matcher(`bytes ${JSON.stringify(short(expected))}`, (_, row) => (columnBytes(row, name) ?? '') === expected);
}

function text(act: Act, field: string): string | undefined {
  const value = act[field];
  return typeof value === 'string' ? value : undefined;
}

function number(act: Act, field: string): number | undefined {
  const value = act[field];
  return typeof value === 'number' ? value : undefined;
}

function stateText(bits: number): string {
  return bits === 0 ? 'ok' : PATH_STATES.filter((_, bit) => (bits & (1 << bit)) !== 0).join(',');
}

function deviceText(dev: number): string {
  return `${dev >>> 20}:${dev & 0xfffff}`;
}

function octal(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0');
}

/** A path with its state: whole up to 4,096 bytes, else its leaf end, marked, long and not looking absolute. */
function pathColumns(name: string, path: string, state: number, source: string | undefined): Record<string, unknown> {
  const columns: Record<string, unknown> = { [`${name}_state`]: stateText(state) };
  if ((state & PSEUDO) !== 0) {
    // A name, not a place. A pipe has none: what the kernel prints is made up when asked, and is its inode's number.
    columns[name] = matcher(`${path}, or nothing`, (_, row) => [path, ''].includes(columnBytes(row, name) ?? ''));
  } else if ((state & TRUNCATED) !== 0 && source === 'user') {
    // Of the directory the leaf end is kept, of a string that the caller passed its beginning.
    columns[name] = matcher(`4,095 bytes or so of ${short(path)}`, (_, row) => {
      const value = (columnBytes(row, name) ?? '').replace(/^\//, '');
      return value.length >= PATH_MAX - 256 && (path.endsWith(value) || path.replace(/^\//, '').startsWith(value));
    });
  } else if ((state & TRUNCATED) !== 0) {
    columns[name] = matcher(`the end of ${short(path)}, ${PATH_MAX - 256} bytes or more`, (_, row) => {
      const value = columnBytes(row, name);
      return value !== null && path.endsWith(value) && value.length >= PATH_MAX - 256 && !value.startsWith('/');
    });
  } else {
    columns[name] = bytes(name, path);
  }
  if (source === 'kernel_file') columns[`${name}_source`] = 'kernel_file';
  if (source === 'user') {
    columns[`${name}_source`] = matcher('user_enter or user_exit', (v) => v === 'user_enter' || v === 'user_exit');
  }
  return columns;
}

function place(act: Act): Record<string, unknown> {
  const columns: Record<string, unknown> = {};
  const inode = text(act, 'inode');
  const dev = number(act, 'dev');
  const mode = number(act, 'mode');
  if (inode !== undefined) columns['file_inode'] = Number(inode);
  if (dev !== undefined) columns['file_device'] = deviceText(dev);
  if (mode !== undefined) {
    columns['file_mode'] = octal(mode);
    columns['file_type'] = FILE_TYPES.get(mode & 0o170000);
  }
  return columns;
}

function fileColumns(act: Act): Record<string, unknown> {
  const columns: Record<string, unknown> = { file_sensitive: false };
  const path = text(act, 'path');
  const state = number(act, 'path_state');
  if (path !== undefined && state !== undefined) {
    Object.assign(columns, pathColumns('file_path', path, state, text(act, 'path_source')));
  } else if (state === FAULT) {
    columns['file_path_state'] = matcher('contains unreadable', (v) => String(v).split(',').includes('unreadable'));
  }
  const to = text(act, 'new_path');
  if (to !== undefined) Object.assign(columns, pathColumns('file_new_path', to, 0, 'user'));
  const result = number(act, 'result');
  if (result !== undefined) columns['result'] = result;
  return columns;
}

function openColumns(act: Act): Record<string, unknown> {
  const columns: Record<string, unknown> = { ...fileColumns(act), ...place(act) };
  const flags = number(act, 'flags');
  if (flags !== undefined) {
    columns['file_open_flags'] = matcher(
      `${flags} (O_LARGEFILE or not)`,
      (value) => ((Number(value) ^ flags) & ~O_LARGEFILE) === 0,
    );
  }
  if (act['created'] !== undefined) columns['file_created'] = act['created'];
  const asked = text(act, 'asked');
  const path = text(act, 'path') ?? '';
  columns['file_path_asked'] =
    asked === undefined
      ? null
      : matcher(`bytes ${JSON.stringify(short(asked))}, or nothing where the path ends in it`, (_, row) => {
          const value = columnBytes(row, 'file_path_asked');
          if (value === null)
            return (
              path.endsWith(asked) ||
              (number(act, 'path_state') ?? 0) === TRUNCATED ||
              columnBytes(row, 'file_path')?.endsWith(asked) === true
            );
          return value === asked;
        });
  return columns;
}

function addressColumns(act: Act): Record<string, unknown> {
  const columns: Record<string, unknown> = {};
  for (const [end, column] of [
    ['local', 'local'],
    ['remote', 'peer'],
    ['asked', 'asked'],
  ]) {
    const ip = text(act, `${end}_ip`);
    if (ip === undefined) continue;
    columns[`network_${column}_address`] = ip;
    columns[`network_${column}_port`] = number(act, `${end}_port`);
  }
  return columns;
}

const FAMILIES = new Map([
  [1, 'unix'],
  [2, 'inet'],
  [10, 'inet6'],
]);
const TRANSPORTS = new Map([
  [6, 'tcp'],
  [17, 'udp'],
]);

function socketColumns(act: Act): Record<string, unknown> {
  const family = number(act, 'family') ?? 0;
  const protocol = number(act, 'protocol') ?? 0;
  const columns: Record<string, unknown> = {
    network_socket_family: FAMILIES.get(family),
    network_transport: family === 1 ? 'unix' : TRANSPORTS.get(protocol),
    ...addressColumns(act),
  };
  const result = number(act, 'result');
  if (result !== undefined) columns['result'] = result;
  return columns;
}

function connectColumns(act: Act): Record<string, unknown> {
  const columns = socketColumns(act);
  if (act['result_is_failure'] === true) columns['result'] = matcher('a failure', (value) => Number(value) < 0);
  if (act['family'] !== 1) {
    // Where it is not told apart, what was asked for is what was reached.
    const asked = text(act, 'asked_ip');
    if (asked !== undefined) {
      const port = number(act, 'asked_port');
      columns['network_asked_address'] = matcher(
        `${asked}, or null and the peer is it`,
        (v, row) => v === asked || (v === null && row['network_peer_address'] === asked),
      );
      columns['network_asked_port'] = matcher(
        `${port}, or null and the peer's`,
        (v, row) => v === port || (v === null && row['network_peer_port'] === port),
      );
    }
    return columns;
  }
  columns['network_unix_type'] = act['protocol'] === 1 ? 'stream' : 'dgram';
  columns['network_unix_name'] = bytes('network_unix_name', text(act, 'unix_name') ?? '');
  columns['network_unix_abstract'] = act['unix_abstract'];
  const path = text(act, 'unix_path');
  columns['network_unix_path'] = path === undefined ? null : bytes('network_unix_path', path);
  return columns;
}

function closeColumns(act: Act): Record<string, unknown> {
  const columns = socketColumns(act);
  const sent = number(act, 'bytes_sent');
  if (sent !== undefined) {
    columns['network_bytes_sent'] = sent;
    columns['network_bytes_received'] = number(act, 'bytes_received');
  }
  if (act['ended_by'] !== 'any') columns['network_ended_by'] = act['ended_by'];
  return columns;
}

function argvColumns(act: Act): Record<string, unknown> {
  const argv = (Array.isArray(act['argv']) ? act['argv'] : []).map(String);
  const total = argv.reduce((sum, item) => sum + item.length + 1, 0);
  const whole = `${argv.join('\0')}\0`;
  const cut = total > ARGV_CAP;
  return {
    process_args_count: argv.length,
    process_command_args_bytes: total,
    process_command_args_truncated: cut,
    process_command_args_unreadable: false,
    process_command_args: matcher(
      `${JSON.stringify(short(argv.join(' ')))}${cut ? `, cut at ${ARGV_CAP}` : ''}`,
      (_, row) => {
        const list = columnList(row, 'process_command_args');
        if (list === null) return false;
        if (!cut) return list.length === argv.length && list.every((item, i) => item === argv[i]);
        const told = list.join('\0');
        return whole.startsWith(told) && told.length >= ARGV_CAP - 1 && told.length <= ARGV_CAP;
      },
    ),
  };
}

function execColumns(act: Act): Record<string, unknown> {
  const columns: Record<string, unknown> = {
    ...pathColumns('process_executable_path', text(act, 'exe') ?? '', number(act, 'exe_state') ?? 0, 'kernel_file'),
    ...pathColumns('process_working_directory', text(act, 'cwd') ?? '', 0, 'kernel_file'),
    process_executable_asked: bytes('process_executable_asked', text(act, 'filename') ?? ''),
    process_interpreter: bytes('process_interpreter', text(act, 'interpreter') ?? ''),
    ...argvColumns(act),
  };
  for (const [field, column] of [
    ['upper_layer', 'process_executable_upper_layer'],
    ['memfd', 'process_executable_memfd'],
    ['deleted', 'process_executable_deleted'],
    ['secureexec', 'process_secureexec'],
  ] as const) {
    columns[column] = act[field] ?? false;
  }
  const caps = text(act, 'cap_permitted');
  if (caps !== undefined) {
    columns['process_capabilities_permitted'] = Number(caps);
    columns['process_capabilities_effective'] = Number(caps);
  }
  const inode = text(act, 'inode');
  if (inode !== undefined) {
    columns['process_executable_inode'] = Number(inode);
    columns['process_executable_device'] = deviceText(number(act, 'dev') ?? 0);
  }
  return columns;
}

function exitColumns(act: Act): Record<string, unknown> {
  const signal = number(act, 'signal') ?? 0;
  return {
    process_exit_code: signal === 0 ? act['code'] : null,
    process_exit_signal: signal === 0 ? null : signal,
    process_core_dumped: act['core'],
  };
}

/** The columns of the act's own kind. */
export function bodyOf(act: Act): Expected {
  switch (act.kind) {
    case 'process.exec':
      return execColumns(act);
    case 'process.exit':
      return exitColumns(act);
    case 'process.io_uring':
      return { io_uring_entries: act['entries'], io_uring_flags: act['flags'], result: act['result'] };
    case 'file.open':
      return openColumns(act);
    case 'file.close':
      return { ...fileColumns(act), ...place(act), file_size: act['size'], file_modified: act['modified'] ?? true };
    case 'file.rename':
      return { ...fileColumns(act), file_rename_flags: act['flags'] };
    case 'file.unlink':
      return fileColumns(act);
    case 'file.chmod':
      return { ...fileColumns(act), ...place(act), file_mode: octal(number(act, 'new_mode') ?? 0) };
    case 'socket.connect':
      return connectColumns(act);
    case 'socket.accept':
      return socketColumns(act);
    case 'socket.listen':
      return { ...socketColumns(act), network_listen_backlog: act['backlog'] };
    case 'socket.close':
      return closeColumns(act);
    default:
      throw new Error(`no expectation for ${act.kind}`);
  }
}
