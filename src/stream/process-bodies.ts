// Bodies of process.* records -> ProcessExec, ProcessExit, ProcessIoUring.

import {
  EXEC,
  EXIT,
  HEAD,
  IO_URING,
  KT_EXEC_ARGV_FAULT,
  KT_EXEC_DELETED,
  KT_EXEC_MEMFD,
  KT_EXEC_SECURE,
  KT_EXEC_UPPER_LAYER,
} from '../kernel/layout.gen.ts';
import { fieldPath, PATH_OVERHEAD } from './path.ts';
import type { RecordWindow } from './record.ts';
import {
  BYTES,
  element,
  elementTag2,
  fieldBytes,
  fieldBytesTag2,
  fieldI32,
  fieldS32,
  fieldU32,
  fieldU32Tag2,
  fieldU64,
  fieldU64Tag2,
  presentU32,
  presentU32Tag2,
  tag,
  tag2,
  VARINT,
} from './wire.ts';

const BODY = HEAD.SIZE;
const UNSET = -1; // 0xffffffff as a signed pattern

const EXEC_EXE = tag(1, BYTES);
const EXEC_FILENAME = tag(2, BYTES);
const EXEC_ARGV = tag(3, BYTES);
const EXEC_ARGC = tag(4, VARINT);
const EXEC_ARGV_LENGTH = tag(5, VARINT);
const EXEC_ARGV_TRUNCATED = tag(6, VARINT);
const EXEC_CWD = tag(7, BYTES);
const EXEC_EXE_INODE = tag(8, VARINT);
const EXEC_EXE_DEV = tag(9, VARINT);
const EXEC_EXE_UPPER_LAYER = tag(10, VARINT);
const EXEC_EXE_MEMFD = tag(11, VARINT);
const EXEC_EXE_DELETED = tag(12, VARINT);
const EXEC_SECUREEXEC = tag(13, VARINT);
const EXEC_CAP_PERMITTED = tag(14, VARINT);
const EXEC_CAP_EFFECTIVE = tag(15, VARINT);
const EXEC_CAP_INHERITABLE = tag2(16, VARINT);
const EXEC_INTERPRETER = tag2(17, BYTES);
const EXEC_LOGINUID = tag2(18, VARINT);
const EXEC_SESSION_ID = tag2(19, VARINT);
const EXEC_TTY = tag2(20, BYTES);
const EXEC_ENV = tag2(21, BYTES);
const EXEC_ARGV_FAULT = tag2(22, VARINT);

/**
 * Upper bound of a ProcessExec. An empty argument is a NUL in the record and two bytes on the wire, an empty
 * environment entry three: no longer string grows by more than that.
 */
export function execBound(record: RecordWindow): number {
  const argv = record.i32(BODY + EXEC.argv_len);
  const env = record.i32(BODY + EXEC.env_len);
  return 2 * PATH_OVERHEAD + 160 + (record.len - BODY - EXEC.SIZE) + argv + 2 * env;
}

/** Writes a ProcessExec's fields. */
export function writeExec(out: DataView, start: number, record: RecordWindow): number {
  const { bytes, view } = record;
  const flags = record.i32(BODY + EXEC.flags);
  const argvLength = record.i32(BODY + EXEC.argv_len);
  const argvOriginal = record.i32(BODY + EXEC.argv_orig_len);
  const argc = record.i32(BODY + EXEC.argc);
  let from = BODY + EXEC.SIZE;

  let at = fieldPath(out, start, EXEC_EXE, record, BODY + EXEC.exe, from);
  from += record.pathLength(BODY + EXEC.exe);
  at = fieldPath(out, at, EXEC_CWD, record, BODY + EXEC.cwd, from);
  from += record.pathLength(BODY + EXEC.cwd);

  let length = record.u16(BODY + EXEC.filename_len);
  at = fieldBytes(out, at, EXEC_FILENAME, view, record.start + from, length);
  from += length;
  length = record.u16(BODY + EXEC.interp_len);
  at = fieldBytesTag2(out, at, EXEC_INTERPRETER, view, record.start + from, length);
  from += length;
  length = record.u16(BODY + EXEC.tty_len);
  at = fieldBytesTag2(out, at, EXEC_TTY, view, record.start + from, length);
  from += length;

  // The strings of a block end at a NUL each; the last one's may be cut off, and is no empty string more if not.
  let string = record.start + from;
  let end = string + argvLength;
  while (string < end) {
    let nul = string;
    while (nul < end && bytes[nul] !== 0) nul++;
    at = element(out, at, EXEC_ARGV, view, string, nul - string);
    string = nul + 1;
  }
  string = end;
  end += record.i32(BODY + EXEC.env_len);
  while (string < end) {
    let nul = string;
    while (nul < end && bytes[nul] !== 0) nul++;
    at = elementTag2(out, at, EXEC_ENV, view, string, nul - string);
    string = nul + 1;
  }

  if (argc !== UNSET) at = presentU32(out, at, EXEC_ARGC, argc);
  at = fieldU32(out, at, EXEC_ARGV_LENGTH, argvOriginal);
  if (argvOriginal >>> 0 > argvLength) at = fieldU32(out, at, EXEC_ARGV_TRUNCATED, 1);
  at = fieldU64(out, at, EXEC_EXE_INODE, record.i32(BODY + EXEC.exe_inode), record.i32(BODY + EXEC.exe_inode + 4));
  at = fieldU32(out, at, EXEC_EXE_DEV, record.i32(BODY + EXEC.exe_dev));
  if ((flags & KT_EXEC_UPPER_LAYER) !== 0) at = fieldU32(out, at, EXEC_EXE_UPPER_LAYER, 1);
  if ((flags & KT_EXEC_MEMFD) !== 0) at = fieldU32(out, at, EXEC_EXE_MEMFD, 1);
  if ((flags & KT_EXEC_DELETED) !== 0) at = fieldU32(out, at, EXEC_EXE_DELETED, 1);
  if ((flags & KT_EXEC_SECURE) !== 0) at = fieldU32(out, at, EXEC_SECUREEXEC, 1);
  at = capabilities(out, at, record);
  const loginuid = record.i32(BODY + EXEC.loginuid);
  if (loginuid !== UNSET) at = presentU32Tag2(out, at, EXEC_LOGINUID, loginuid);
  const session = record.i32(BODY + EXEC.sessionid);
  if (session !== UNSET) at = presentU32Tag2(out, at, EXEC_SESSION_ID, session);
  return (flags & KT_EXEC_ARGV_FAULT) !== 0 ? fieldU32Tag2(out, at, EXEC_ARGV_FAULT, 1) : at;
}

function capabilities(out: DataView, start: number, record: RecordWindow): number {
  const { words } = record;
  const word = record.word + ((BODY + EXEC.cap_permitted) >>> 2);
  const at = fieldU64(out, start, EXEC_CAP_PERMITTED, words[word] as number, words[word + 1] as number);
  const next = fieldU64(out, at, EXEC_CAP_EFFECTIVE, words[word + 2] as number, words[word + 3] as number);
  return fieldU64Tag2(out, next, EXEC_CAP_INHERITABLE, words[word + 4] as number, words[word + 5] as number);
}

const EXIT_DURATION = tag(1, VARINT);
const EXIT_CODE = tag(2, VARINT);
const EXIT_SIGNAL = tag(3, VARINT);
const EXIT_CORE = tag(4, VARINT);

/** Upper bound of a ProcessExit. */
export const EXIT_BOUND = 11 + 11 + 6 + 2;

/** Writes a ProcessExit's fields. */
export function writeExit(out: DataView, start: number, record: RecordWindow): number {
  let at = fieldU64(out, start, EXIT_DURATION, record.i32(BODY + EXIT.duration), record.i32(BODY + EXIT.duration + 4));
  at = fieldI32(out, at, EXIT_CODE, record.i32(BODY + EXIT.code));
  at = fieldU32(out, at, EXIT_SIGNAL, record.i32(BODY + EXIT.signal));
  return fieldU32(out, at, EXIT_CORE, record.i32(BODY + EXIT.core) === 0 ? 0 : 1);
}

const IO_URING_ENTRIES = tag(1, VARINT);
const IO_URING_FLAGS = tag(2, VARINT);
const IO_URING_RESULT = tag(3, VARINT);

/** Upper bound of a ProcessIoUring. */
export const IO_URING_BOUND = 3 * 6;

/** Writes a ProcessIoUring's fields. */
export function writeIoUring(out: DataView, start: number, record: RecordWindow): number {
  const at = fieldU32(out, start, IO_URING_ENTRIES, record.i32(BODY + IO_URING.entries));
  const next = fieldU32(out, at, IO_URING_FLAGS, record.i32(BODY + IO_URING.flags));
  return fieldS32(out, next, IO_URING_RESULT, record.i32(BODY + IO_URING.ret));
}
