// Records as the kernel side writes them (native/record.h), for tests: every field that is not named is 0.
import {
  CGROUP,
  EXEC,
  EXIT,
  FILE,
  HEAD,
  IO_URING,
  KT_CGROUP_MKDIR,
  KT_FILE_CHMOD,
  KT_FILE_OPEN,
  KT_PATH_KERNEL_FILE,
  KT_PROCESS_EXEC,
  KT_PROCESS_EXIT,
  KT_PROCESS_IO_URING,
  KT_RECORD_VERSION,
  KT_SOCKET_CLOSE,
  KT_SOCKET_CONNECT,
  PATH,
  SOCKET,
} from '../../../src/kernel/layout.gen.ts';

export interface PathText {
  /** "/a/b", as components; '' : none. */
  readonly path?: string;
  /** Appended to it. */
  readonly text?: string;
}

export interface RecordText {
  readonly kind: number;
  readonly paths?: readonly PathText[];
  /** What follows the paths, in the order of record.h. */
  readonly strings?: readonly (string | Uint8Array)[];
}

interface Shape {
  readonly size: number;
  readonly paths: readonly number[];
  /** Offset of each string's length and its width in bytes. */
  readonly strings: readonly (readonly [number, 2 | 4])[];
}

function shapeOf(kind: number): Shape {
  if (kind === KT_PROCESS_EXEC) {
    return {
      size: EXEC.SIZE,
      paths: [EXEC.exe, EXEC.cwd],
      strings: [
        [EXEC.filename_len, 2],
        [EXEC.interp_len, 2],
        [EXEC.tty_len, 2],
        [EXEC.argv_len, 4],
        [EXEC.env_len, 4],
      ],
    };
  }
  if (kind === KT_PROCESS_EXIT) return { size: EXIT.SIZE, paths: [], strings: [] };
  if (kind === KT_PROCESS_IO_URING) return { size: IO_URING.SIZE, paths: [], strings: [] };
  if (kind >= KT_FILE_OPEN && kind <= KT_FILE_CHMOD) {
    return { size: FILE.SIZE, paths: [FILE.path, FILE.path2], strings: [[FILE.asked_len, 2]] };
  }
  if (kind >= KT_SOCKET_CONNECT && kind <= KT_SOCKET_CLOSE) {
    return { size: SOCKET.SIZE, paths: [SOCKET.path], strings: [[SOCKET.name_len, 2]] };
  }
  if (kind >= KT_CGROUP_MKDIR) return { size: CGROUP.SIZE, paths: [], strings: [[CGROUP.path_len, 2]] };
  throw new Error(`kind ${kind}`);
}

/** Leaf to root, each with its length. */
function components(path: string): Buffer {
  const names = path.split('/').filter(Boolean).reverse();
  return Buffer.concat(names.map((name) => Buffer.concat([Buffer.from([Buffer.byteLength(name)]), Buffer.from(name)])));
}

/** One record, its exact length in the head, padded with zeros to 8 bytes. */
export function buildRecord({ kind, paths = [], strings = [] }: RecordText): Buffer {
  const shape = shapeOf(kind);
  const fixed = Buffer.alloc(HEAD.SIZE + shape.size);
  const tail: Buffer[] = [];
  shape.paths.forEach((at, index) => {
    const { path = '', text = '' } = paths[index] ?? {};
    if (path === '' && text === '') return;
    const names = components(path);
    fixed.writeUInt16LE(names.length, HEAD.SIZE + at + PATH.comps_len);
    fixed.writeUInt16LE(Buffer.byteLength(text), HEAD.SIZE + at + PATH.str_len);
    fixed.writeUInt8(KT_PATH_KERNEL_FILE, HEAD.SIZE + at + PATH.source);
    tail.push(names, Buffer.from(text));
  });
  shape.strings.forEach(([at, width], index) => {
    const bytes = Buffer.from(strings[index] ?? '');
    fixed.writeUIntLE(bytes.length, HEAD.SIZE + at, width);
    tail.push(bytes);
  });
  const bytes = Buffer.concat([fixed, ...tail]);
  bytes.writeUInt32LE(bytes.length, HEAD.len);
  bytes.writeUInt8(KT_RECORD_VERSION, HEAD.version);
  bytes.writeUInt8(kind, HEAD.kind);
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 7)]);
}

/** One good record of each kind that has a shape of its own. */
export function sampleRecords(): Buffer[] {
  const exe = { path: '/usr/bin/true' };
  return [
    buildRecord({ kind: KT_PROCESS_EXEC, paths: [exe, { path: '/' }], strings: ['true', '', '', 'true\0-x\0', ''] }),
    buildRecord({ kind: KT_PROCESS_EXIT }),
    buildRecord({ kind: KT_PROCESS_IO_URING }),
    buildRecord({ kind: KT_FILE_OPEN, paths: [{ path: '/etc/shadow' }], strings: ['shadow'] }),
    buildRecord({
      kind: KT_FILE_OPEN + 2,
      paths: [
        { path: '/tmp', text: 'a' },
        { path: '/tmp', text: 'bc' },
      ],
    }),
    buildRecord({ kind: KT_SOCKET_CONNECT, paths: [{ path: '/run/docker.sock' }], strings: ['/run/docker.sock'] }),
    buildRecord({ kind: KT_SOCKET_CLOSE }),
    buildRecord({ kind: KT_CGROUP_MKDIR, strings: ['/kubepods.slice/x'] }),
  ];
}
