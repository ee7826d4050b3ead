// Bodies of file.* records -> FileOpen, FileClose, FileRename, FileUnlink, FileChmod.

import {
  FILE,
  HEAD,
  KT_FILE_CREATED,
  KT_FILE_MODIFIED,
  KT_FILE_MODIFIED_KNOWN,
  KT_FILE_SENSITIVE,
} from '../kernel/layout.gen.ts';
import { fieldPath, PATH_OVERHEAD } from './path.ts';
import type { RecordWindow } from './record.ts';
import { BYTES, fieldBytes, fieldS32, fieldU32, fieldU64, presentU32, tag, VARINT } from './wire.ts';

const BODY = HEAD.SIZE;
const FIRST_PATH = BODY + FILE.SIZE;

/** Upper bound of any body of the family. */
export function fileBound(record: RecordWindow): number {
  return 2 * PATH_OVERHEAD + 60 + (record.len - FIRST_PATH);
}

const sensitive = (out: DataView, at: number, tagByte: number, record: RecordWindow): number =>
  (record.i32(BODY + FILE.flags) & KT_FILE_SENSITIVE) !== 0 ? fieldU32(out, at, tagByte, 1) : at;

const inode = (out: DataView, at: number, tagByte: number, record: RecordWindow): number =>
  fieldU64(out, at, tagByte, record.i32(BODY + FILE.inode), record.i32(BODY + FILE.inode + 4));

const path = (out: DataView, at: number, tagByte: number, record: RecordWindow): number =>
  fieldPath(out, at, tagByte, record, BODY + FILE.path, FIRST_PATH);

const OPEN_PATH = tag(1, BYTES);
const OPEN_ASKED = tag(2, BYTES);
const OPEN_ASKED_SOURCE = tag(3, VARINT);
const OPEN_FLAGS = tag(4, VARINT);
const OPEN_MODE = tag(5, VARINT);
const OPEN_DEV = tag(6, VARINT);
const OPEN_INODE = tag(7, VARINT);
const OPEN_CREATED = tag(8, VARINT);
const OPEN_SENSITIVE = tag(9, VARINT);
const OPEN_RESULT = tag(10, VARINT);

/** Writes a FileOpen's fields. */
export function writeOpen(out: DataView, start: number, record: RecordWindow): number {
  let at = path(out, start, OPEN_PATH, record);
  const asked = record.u16(BODY + FILE.asked_len);
  if (asked > 0) {
    at = fieldBytes(out, at, OPEN_ASKED, record.view, record.start + record.len - asked, asked);
    at = fieldU32(out, at, OPEN_ASKED_SOURCE, record.u8(BODY + FILE.asked_source));
  }
  at = fieldU32(out, at, OPEN_FLAGS, record.i32(BODY + FILE.open_flags));
  at = fieldU32(out, at, OPEN_MODE, record.i32(BODY + FILE.mode));
  at = fieldU32(out, at, OPEN_DEV, record.i32(BODY + FILE.dev));
  at = inode(out, at, OPEN_INODE, record);
  if ((record.i32(BODY + FILE.flags) & KT_FILE_CREATED) !== 0) at = fieldU32(out, at, OPEN_CREATED, 1);
  at = sensitive(out, at, OPEN_SENSITIVE, record);
  return fieldS32(out, at, OPEN_RESULT, record.i32(BODY + FILE.ret));
}

const CLOSE_PATH = tag(1, BYTES);
const CLOSE_DEV = tag(2, VARINT);
const CLOSE_INODE = tag(3, VARINT);
const CLOSE_SIZE = tag(4, VARINT);
const CLOSE_MODIFIED = tag(5, VARINT);
const CLOSE_SENSITIVE = tag(6, VARINT);
const CLOSE_MODE = tag(7, VARINT);

/** Writes a FileClose's fields. */
export function writeFileClose(out: DataView, start: number, record: RecordWindow): number {
  const flags = record.i32(BODY + FILE.flags);
  let at = path(out, start, CLOSE_PATH, record);
  at = fieldU32(out, at, CLOSE_DEV, record.i32(BODY + FILE.dev));
  at = inode(out, at, CLOSE_INODE, record);
  at = fieldU64(out, at, CLOSE_SIZE, record.i32(BODY + FILE.size), record.i32(BODY + FILE.size + 4));
  if ((flags & KT_FILE_MODIFIED_KNOWN) !== 0) {
    at = presentU32(out, at, CLOSE_MODIFIED, (flags & KT_FILE_MODIFIED) === 0 ? 0 : 1);
  }
  at = sensitive(out, at, CLOSE_SENSITIVE, record);
  return fieldU32(out, at, CLOSE_MODE, record.i32(BODY + FILE.mode));
}

const RENAME_PATH = tag(1, BYTES);
const RENAME_NEW_PATH = tag(2, BYTES);
const RENAME_FLAGS = tag(3, VARINT);
const RENAME_RESULT = tag(4, VARINT);
const RENAME_SENSITIVE = tag(5, VARINT);

/** Writes a FileRename's fields. */
export function writeRename(out: DataView, start: number, record: RecordWindow): number {
  const second = FIRST_PATH + record.pathLength(BODY + FILE.path);
  let at = path(out, start, RENAME_PATH, record);
  at = fieldPath(out, at, RENAME_NEW_PATH, record, BODY + FILE.path2, second);
  at = fieldU32(out, at, RENAME_FLAGS, record.i32(BODY + FILE.open_flags));
  at = fieldS32(out, at, RENAME_RESULT, record.i32(BODY + FILE.ret));
  return sensitive(out, at, RENAME_SENSITIVE, record);
}

const UNLINK_PATH = tag(1, BYTES);
const UNLINK_RESULT = tag(2, VARINT);
const UNLINK_SENSITIVE = tag(3, VARINT);

/** Writes a FileUnlink's fields. */
export function writeUnlink(out: DataView, start: number, record: RecordWindow): number {
  const at = path(out, start, UNLINK_PATH, record);
  const next = fieldS32(out, at, UNLINK_RESULT, record.i32(BODY + FILE.ret));
  return sensitive(out, next, UNLINK_SENSITIVE, record);
}

const CHMOD_PATH = tag(1, BYTES);
const CHMOD_MODE = tag(2, VARINT);
const CHMOD_RESULT = tag(3, VARINT);
const CHMOD_DEV = tag(4, VARINT);
const CHMOD_INODE = tag(5, VARINT);
const CHMOD_SENSITIVE = tag(6, VARINT);

/** Writes a FileChmod's fields. */
export function writeChmod(out: DataView, start: number, record: RecordWindow): number {
  let at = path(out, start, CHMOD_PATH, record);
  at = fieldU32(out, at, CHMOD_MODE, record.i32(BODY + FILE.mode));
  at = fieldS32(out, at, CHMOD_RESULT, record.i32(BODY + FILE.ret));
  at = fieldU32(out, at, CHMOD_DEV, record.i32(BODY + FILE.dev));
  at = inode(out, at, CHMOD_INODE, record);
  return sensitive(out, at, CHMOD_SENSITIVE, record);
}
