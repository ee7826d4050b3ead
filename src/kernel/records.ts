import {
  CGROUP,
  EXEC,
  EXIT,
  FILE,
  HEAD,
  IO_URING,
  KT_ACTOR_CGROUP_ONLY,
  KT_CGROUP_MKDIR,
  KT_CGROUP_PATH_MAX,
  KT_CGROUP_RMDIR,
  KT_ENTRY_HOST,
  KT_FILE_CHMOD,
  KT_FILE_CLOSE,
  KT_FILE_OPEN,
  KT_FILE_RENAME,
  KT_FILE_UNLINK,
  KT_PATH_MAX,
  KT_PATH_NONE,
  KT_PATH_USER_EXIT,
  KT_PROCESS_EXEC,
  KT_PROCESS_EXIT,
  KT_PROCESS_IMAGE,
  KT_PROCESS_IO_URING,
  KT_RECORD_MAX,
  KT_RECORD_VERSION,
  KT_SOCKET_ACCEPT,
  KT_SOCKET_CLOSE,
  KT_SOCKET_CONNECT,
  KT_SOCKET_LISTEN,
  KT_TIER_ITERATOR,
  PATH,
  SOCKET,
} from './layout.gen.ts';

/** What is wrong with a record. */
export type RecordFault = 'short' | 'version' | 'kind' | 'enum' | 'length' | 'path';

interface Shape {
  readonly body: number;
  /** Offsets in the body of each struct kt_path; their bytes follow the body first, in this order. */
  readonly paths: readonly number[];
  /** Offsets in the body of the lengths of the bytes that follow the paths. */
  readonly lengths16: readonly number[];
  readonly lengths32: readonly number[];
}

const fixed = (body: number): Shape => ({ body, paths: [], lengths16: [], lengths32: [] });
const file: Shape = { body: FILE.SIZE, paths: [FILE.path, FILE.path2], lengths16: [FILE.asked_len], lengths32: [] };
const socket: Shape = { body: SOCKET.SIZE, paths: [SOCKET.path], lengths16: [SOCKET.name_len], lengths32: [] };
const cgroup: Shape = { body: CGROUP.SIZE, paths: [], lengths16: [CGROUP.path_len], lengths32: [] };
const exec: Shape = {
  body: EXEC.SIZE,
  paths: [EXEC.exe, EXEC.cwd],
  lengths16: [EXEC.filename_len, EXEC.interp_len, EXEC.tty_len],
  lengths32: [EXEC.argv_len, EXEC.env_len],
};

const SHAPES: ReadonlyMap<number, Shape> = new Map([
  [KT_PROCESS_EXEC, exec],
  [KT_PROCESS_IMAGE, exec],
  [KT_PROCESS_EXIT, fixed(EXIT.SIZE)],
  [KT_PROCESS_IO_URING, fixed(IO_URING.SIZE)],
  ...[KT_FILE_OPEN, KT_FILE_CLOSE, KT_FILE_RENAME, KT_FILE_UNLINK, KT_FILE_CHMOD].map((kind) => [kind, file] as const),
  ...[KT_SOCKET_CONNECT, KT_SOCKET_ACCEPT, KT_SOCKET_LISTEN, KT_SOCKET_CLOSE].map((kind) => [kind, socket] as const),
  [KT_CGROUP_MKDIR, cgroup],
  [KT_CGROUP_RMDIR, cgroup],
]);

/**
 * Checks the record at view[offset..end) against record.h: version, kind, enums, and that every length adds up to the
 * record's own, down to the components of its paths. Undefined: after that every byte that it names can be read.
 */
export function faultOf(view: DataView, offset: number, end: number): RecordFault | undefined {
  if (offset + HEAD.SIZE > end) return 'short';
  const length = view.getUint32(offset + HEAD.len, true);
  if (length < HEAD.SIZE || length > KT_RECORD_MAX || offset + length > end) return 'short';
  if (view.getUint8(offset + HEAD.version) !== KT_RECORD_VERSION) return 'version';
  const shape = SHAPES.get(view.getUint8(offset + HEAD.kind));
  if (shape === undefined) return 'kind';
  if (
    view.getUint8(offset + HEAD.tier) > KT_TIER_ITERATOR ||
    view.getUint8(offset + HEAD.actor) > KT_ACTOR_CGROUP_ONLY ||
    view.getUint8(offset + HEAD.entry) > KT_ENTRY_HOST
  ) {
    return 'enum';
  }
  const body = offset + HEAD.SIZE;
  if (HEAD.SIZE + shape.body > length) return 'length';
  let total = HEAD.SIZE + shape.body;
  for (const at of shape.paths) {
    total += view.getUint16(body + at + PATH.comps_len, true) + view.getUint16(body + at + PATH.str_len, true);
  }
  for (const at of shape.lengths16) total += view.getUint16(body + at, true);
  for (const at of shape.lengths32) total += view.getUint32(body + at, true);
  if (total !== length) return 'length';
  if (shape === cgroup && view.getUint16(body + CGROUP.path_len, true) > KT_CGROUP_PATH_MAX) return 'length';
  let bytes = body + shape.body;
  for (const at of shape.paths) {
    if (!isPath(view, body + at, bytes)) return 'path';
    bytes += view.getUint16(body + at + PATH.comps_len, true) + view.getUint16(body + at + PATH.str_len, true);
  }
  return undefined;
}

/** The struct kt_path at `at` and its bytes at `bytes`: do the components fill their length exactly? */
function isPath(view: DataView, at: number, bytes: number): boolean {
  const components = view.getUint16(at + PATH.comps_len, true);
  const text = view.getUint16(at + PATH.str_len, true);
  const source = view.getUint8(at + PATH.source);
  if (source > KT_PATH_USER_EXIT) return false;
  if (source === KT_PATH_NONE) return components === 0 && text === 0;
  if (components > KT_PATH_MAX || text > KT_PATH_MAX) return false;
  let left = components;
  for (let next = bytes; left > 0; ) {
    const name = view.getUint8(next);
    if (name === 0) return false;
    left -= name + 1;
    next += name + 1;
  }
  return left === 0;
}

/** What a walk met. */
export interface WalkResult {
  good: number;
  readonly faults: Map<RecordFault, number>;
}

/**
 * Walks the records of a drain and hands on the good ones. A bad one is counted and passed over; where its length
 * cannot be, nothing tells where the next begins, and the walk ends. Never throws by itself.
 *
 * @param used bytes that drain() returned
 */
export function walkRecords(
  bytes: Uint8Array,
  used: number,
  onRecord: (view: DataView, offset: number, length: number) => void,
): WalkResult {
  const view = new DataView(bytes.buffer, bytes.byteOffset, Math.min(used, bytes.length));
  const result: WalkResult = { good: 0, faults: new Map() };
  for (let offset = 0; offset < view.byteLength; ) {
    const fault = faultOf(view, offset, view.byteLength);
    if (fault !== undefined) result.faults.set(fault, (result.faults.get(fault) ?? 0) + 1);
    if (fault === 'short') break;
    const length = view.getUint32(offset + HEAD.len, true);
    if (fault === undefined) {
      result.good++;
      onRecord(view, offset, length);
    }
    offset += (length + 7) & ~7;
  }
  return result;
}
