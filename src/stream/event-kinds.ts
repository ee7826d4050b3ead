// Numbers under which a batch counts its events.

import {
  KT_FILE_CHMOD,
  KT_FILE_CLOSE,
  KT_FILE_OPEN,
  KT_FILE_RENAME,
  KT_FILE_UNLINK,
  KT_KIND_COUNT,
  KT_PROCESS_EXEC,
  KT_PROCESS_EXIT,
  KT_PROCESS_IO_URING,
  KT_SOCKET_ACCEPT,
  KT_SOCKET_CLOSE,
  KT_SOCKET_CONNECT,
  KT_SOCKET_LISTEN,
} from '../kernel/layout.gen.ts';

/** The agent's own kinds follow those of record.h. */
export const KIND_LOSS = KT_KIND_COUNT;
export const KIND_POD = KT_KIND_COUNT + 1;
export const KIND_PROBE = KT_KIND_COUNT + 2;

/** Length of an array of counts by kind. */
export const KIND_SLOTS = KT_KIND_COUNT + 3;

/** Names of the kinds that can be in a batch. */
export const KIND_NAMES: ReadonlyMap<number, string> = new Map([
  [KT_PROCESS_EXEC, 'process.exec'],
  [KT_PROCESS_EXIT, 'process.exit'],
  [KT_PROCESS_IO_URING, 'process.io_uring'],
  [KT_FILE_OPEN, 'file.open'],
  [KT_FILE_CLOSE, 'file.close'],
  [KT_FILE_RENAME, 'file.rename'],
  [KT_FILE_UNLINK, 'file.unlink'],
  [KT_FILE_CHMOD, 'file.chmod'],
  [KT_SOCKET_CONNECT, 'socket.connect'],
  [KT_SOCKET_ACCEPT, 'socket.accept'],
  [KT_SOCKET_LISTEN, 'socket.listen'],
  [KT_SOCKET_CLOSE, 'socket.close'],
  [KIND_LOSS, 'kerntap.loss'],
  [KIND_POD, 'kerntap.pod'],
  [KIND_PROBE, 'kerntap.probe'],
]);
