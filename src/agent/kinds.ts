import {
  KT_FILE_CHMOD,
  KT_FILE_CLOSE,
  KT_FILE_OPEN,
  KT_FILE_RENAME,
  KT_FILE_UNLINK,
  KT_PROCESS_EXEC,
  KT_PROCESS_EXIT,
  KT_PROCESS_FORK,
  KT_PROCESS_IO_URING,
  KT_SOCKET_ACCEPT,
  KT_SOCKET_CLOSE,
  KT_SOCKET_CONNECT,
  KT_SOCKET_LISTEN,
} from '../kernel/layout.gen.ts';

/** Public names of the kernel's kinds, in the order in which help texts list them. */
export const KINDS = {
  'process.exec': KT_PROCESS_EXEC,
  'process.exit': KT_PROCESS_EXIT,
  'process.fork': KT_PROCESS_FORK,
  'process.io_uring': KT_PROCESS_IO_URING,
  'file.open': KT_FILE_OPEN,
  'file.close': KT_FILE_CLOSE,
  'file.rename': KT_FILE_RENAME,
  'file.unlink': KT_FILE_UNLINK,
  'file.chmod': KT_FILE_CHMOD,
  'socket.connect': KT_SOCKET_CONNECT,
  'socket.accept': KT_SOCKET_ACCEPT,
  'socket.listen': KT_SOCKET_LISTEN,
  'socket.close': KT_SOCKET_CLOSE,
} as const;

export type Kind = keyof typeof KINDS;

export const KIND_NAMES = Object.keys(KINDS) as readonly Kind[];

/** Counters' kind dimension -> name; 0 counts what has no kind of its own: the cgroup tracker. */
export const KIND_BY_NUMBER: ReadonlyMap<number, string> = new Map<number, string>([
  [0, 'cgroup'],
  ...KIND_NAMES.map((name): [number, string] => [KINDS[name], name]),
]);

/** On unless told otherwise. process.fork is always tracked, but no event by default. */
export const DEFAULT_KINDS: readonly Kind[] = KIND_NAMES.filter((name) => name !== 'process.fork');
