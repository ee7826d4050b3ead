// Bodies of socket.* records -> SocketConnect, SocketAccept, SocketListen, SocketClose.

import {
  HEAD,
  KT_SOCK_ASKED,
  KT_SOCK_COUNTERS,
  KT_SOCK_LOCAL,
  KT_SOCK_REMOTE,
  KT_SOCK_UNIX_ABSTRACT,
  SOCKET,
} from '../kernel/layout.gen.ts';
import { fieldPath, PATH_OVERHEAD } from './path.ts';
import type { RecordWindow } from './record.ts';
import {
  BYTES,
  copy,
  fieldBytes,
  fieldS32,
  fieldU32,
  fieldU64,
  presentU64,
  tag,
  VARINT,
  varint32Length,
} from './wire.ts';

const BODY = HEAD.SIZE;
const PATH_BYTES = BODY + SOCKET.SIZE;
const AF_INET = 2;
const AF_INET6 = 10;
const ADDRESS_IP = tag(1, BYTES);
const ADDRESS_PORT = tag(2, VARINT);

/** Upper bound of any body of the family. */
export function socketBound(record: RecordWindow): number {
  return PATH_OVERHEAD + 160 + (record.len - PATH_BYTES);
}

/** A SocketAddress field where `flag` says that the end is known and its family is of the internet. */
function address(
  out: DataView,
  at: number,
  tagByte: number,
  record: RecordWindow,
  flag: number,
  family: number,
  ip: number,
  port: number,
): number {
  if ((record.i32(BODY + SOCKET.flags) & flag) === 0) return at;
  const kind = record.u16(BODY + family);
  const length = kind === AF_INET ? 4 : kind === AF_INET6 ? 16 : 0;
  if (length === 0) return at;
  const number = record.u16(BODY + port);
  out.setUint8(at, tagByte);
  out.setUint8(at + 1, 2 + length + (number === 0 ? 0 : 1 + varint32Length(number)));
  out.setUint8(at + 2, ADDRESS_IP);
  out.setUint8(at + 3, length);
  const next = copy(out, at + 4, record.view, record.start + BODY + ip, length);
  return fieldU32(out, next, ADDRESS_PORT, number);
}

const local = (out: DataView, at: number, tagByte: number, record: RecordWindow): number =>
  address(out, at, tagByte, record, KT_SOCK_LOCAL, SOCKET.family, SOCKET.local_addr, SOCKET.local_port);

const remote = (out: DataView, at: number, tagByte: number, record: RecordWindow): number =>
  address(out, at, tagByte, record, KT_SOCK_REMOTE, SOCKET.family, SOCKET.remote_addr, SOCKET.remote_port);

const asked = (out: DataView, at: number, tagByte: number, record: RecordWindow): number =>
  address(out, at, tagByte, record, KT_SOCK_ASKED, SOCKET.asked_family, SOCKET.asked_addr, SOCKET.asked_port);

const u64 = (out: DataView, at: number, tagByte: number, record: RecordWindow, field: number): number =>
  fieldU64(out, at, tagByte, record.i32(BODY + field), record.i32(BODY + field + 4));

const FAMILY = tag(1, VARINT);
const PROTOCOL = tag(2, VARINT);
const LOCAL = tag(3, BYTES);
const REMOTE = tag(4, BYTES);

/** Fields 1..3 are the same in all four messages. */
function familyAndLocal(out: DataView, start: number, record: RecordWindow): number {
  let at = fieldU32(out, start, FAMILY, record.u16(BODY + SOCKET.family));
  at = fieldU32(out, at, PROTOCOL, record.u16(BODY + SOCKET.protocol));
  return local(out, at, LOCAL, record);
}

const CONNECT_ASKED = tag(5, BYTES);
const CONNECT_RESULT = tag(6, VARINT);
const CONNECT_START = tag(7, VARINT);
const CONNECT_UNIX_PATH = tag(8, BYTES);
const CONNECT_UNIX_NAME = tag(9, BYTES);
const CONNECT_UNIX_ABSTRACT = tag(10, VARINT);

/** Writes a SocketConnect's fields. */
export function writeConnect(out: DataView, start: number, record: RecordWindow): number {
  let at = remote(out, familyAndLocal(out, start, record), REMOTE, record);
  at = asked(out, at, CONNECT_ASKED, record);
  at = fieldS32(out, at, CONNECT_RESULT, record.i32(BODY + SOCKET.ret));
  at = u64(out, at, CONNECT_START, record, SOCKET.conn_start);
  at = fieldPath(out, at, CONNECT_UNIX_PATH, record, BODY + SOCKET.path, PATH_BYTES);
  const name = record.u16(BODY + SOCKET.name_len);
  at = fieldBytes(out, at, CONNECT_UNIX_NAME, record.view, record.start + record.len - name, name);
  const abstract = (record.i32(BODY + SOCKET.flags) & KT_SOCK_UNIX_ABSTRACT) !== 0;
  return abstract ? fieldU32(out, at, CONNECT_UNIX_ABSTRACT, 1) : at;
}

const ACCEPT_START = tag(5, VARINT);

/** Writes a SocketAccept's fields. */
export function writeAccept(out: DataView, start: number, record: RecordWindow): number {
  const at = remote(out, familyAndLocal(out, start, record), REMOTE, record);
  return u64(out, at, ACCEPT_START, record, SOCKET.conn_start);
}

const LISTEN_BACKLOG = tag(4, VARINT);
const LISTEN_RESULT = tag(5, VARINT);

/** Writes a SocketListen's fields. */
export function writeListen(out: DataView, start: number, record: RecordWindow): number {
  const at = familyAndLocal(out, start, record);
  const next = fieldU32(out, at, LISTEN_BACKLOG, record.i32(BODY + SOCKET.backlog));
  return fieldS32(out, next, LISTEN_RESULT, record.i32(BODY + SOCKET.ret));
}

const CLOSE_START = tag(5, VARINT);
const CLOSE_DURATION = tag(6, VARINT);
const CLOSE_SENT = tag(7, VARINT);
const CLOSE_RECEIVED = tag(8, VARINT);
const CLOSE_ENDED_BY = tag(9, VARINT);
const CLOSE_RESULT = tag(10, VARINT);
const CLOSE_ASKED = tag(11, BYTES);

/** Writes a SocketClose's fields. */
export function writeSocketClose(out: DataView, start: number, record: RecordWindow): number {
  const { words } = record;
  let at = remote(out, familyAndLocal(out, start, record), REMOTE, record);
  at = u64(out, at, CLOSE_START, record, SOCKET.conn_start);
  at = u64(out, at, CLOSE_DURATION, record, SOCKET.duration);
  if ((record.i32(BODY + SOCKET.flags) & KT_SOCK_COUNTERS) !== 0) {
    const word = record.word + ((BODY + SOCKET.bytes_sent) >>> 2);
    at = presentU64(out, at, CLOSE_SENT, words[word] as number, words[word + 1] as number);
    at = presentU64(out, at, CLOSE_RECEIVED, words[word + 2] as number, words[word + 3] as number);
  }
  at = fieldU32(out, at, CLOSE_ENDED_BY, record.u8(BODY + SOCKET.ended_by));
  at = fieldS32(out, at, CLOSE_RESULT, record.i32(BODY + SOCKET.ret));
  return asked(out, at, CLOSE_ASKED, record);
}
