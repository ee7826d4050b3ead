// Which writer a kind's body has, and where it stands in Event.

import {
  KT_FILE_CHMOD,
  KT_FILE_CLOSE,
  KT_FILE_OPEN,
  KT_FILE_RENAME,
  KT_FILE_UNLINK,
  KT_PROCESS_EXEC,
  KT_PROCESS_EXIT,
  KT_PROCESS_IO_URING,
  KT_SOCKET_ACCEPT,
  KT_SOCKET_CLOSE,
  KT_SOCKET_CONNECT,
  KT_SOCKET_LISTEN,
} from '../kernel/layout.gen.ts';
import { fileBound, writeChmod, writeFileClose, writeOpen, writeRename, writeUnlink } from './file-bodies.ts';
import { EXIT_BOUND, execBound, IO_URING_BOUND, writeExec, writeExit, writeIoUring } from './process-bodies.ts';
import type { RecordWindow } from './record.ts';
import { socketBound, writeAccept, writeConnect, writeListen, writeSocketClose } from './socket-bodies.ts';
import { BYTES, tag2 } from './wire.ts';

const BODY_TAGS = new Int32Array(256);
BODY_TAGS[KT_PROCESS_EXEC] = tag2(16, BYTES);
BODY_TAGS[KT_PROCESS_EXIT] = tag2(17, BYTES);
BODY_TAGS[KT_PROCESS_IO_URING] = tag2(19, BYTES);
BODY_TAGS[KT_FILE_OPEN] = tag2(24, BYTES);
BODY_TAGS[KT_FILE_CLOSE] = tag2(25, BYTES);
BODY_TAGS[KT_FILE_RENAME] = tag2(26, BYTES);
BODY_TAGS[KT_FILE_UNLINK] = tag2(27, BYTES);
BODY_TAGS[KT_FILE_CHMOD] = tag2(28, BYTES);
BODY_TAGS[KT_SOCKET_CONNECT] = tag2(32, BYTES);
BODY_TAGS[KT_SOCKET_ACCEPT] = tag2(33, BYTES);
BODY_TAGS[KT_SOCKET_LISTEN] = tag2(34, BYTES);
BODY_TAGS[KT_SOCKET_CLOSE] = tag2(35, BYTES);

/** The two-byte tag of a kind's body in Event. */
export const bodyTag = (kind: number): number => BODY_TAGS[kind] as number;

/** Most bytes that the body of this record, which `open` has accepted, can take. */
export function bodyBound(record: RecordWindow): number {
  switch (record.kind) {
    case KT_PROCESS_EXEC:
      return execBound(record);
    case KT_PROCESS_EXIT:
      return EXIT_BOUND;
    case KT_PROCESS_IO_URING:
      return IO_URING_BOUND;
    default:
      return record.kind < KT_SOCKET_CONNECT ? fileBound(record) : socketBound(record);
  }
}

/** Writes the fields of the body's message. */
export function writeBody(out: DataView, at: number, record: RecordWindow): number {
  switch (record.kind) {
    case KT_FILE_OPEN:
      return writeOpen(out, at, record);
    case KT_FILE_CLOSE:
      return writeFileClose(out, at, record);
    case KT_FILE_RENAME:
      return writeRename(out, at, record);
    case KT_FILE_UNLINK:
      return writeUnlink(out, at, record);
    case KT_FILE_CHMOD:
      return writeChmod(out, at, record);
    case KT_SOCKET_CONNECT:
      return writeConnect(out, at, record);
    case KT_SOCKET_ACCEPT:
      return writeAccept(out, at, record);
    case KT_SOCKET_LISTEN:
      return writeListen(out, at, record);
    case KT_SOCKET_CLOSE:
      return writeSocketClose(out, at, record);
    case KT_PROCESS_EXIT:
      return writeExit(out, at, record);
    case KT_PROCESS_IO_URING:
      return writeIoUring(out, at, record);
    default:
      return writeExec(out, at, record);
  }
}
