// struct kt_path -> text. Components come leaf first and are turned round while they are written.

import { KT_PATH_NONE, KT_PATH_PSEUDO, KT_PATH_TRUNCATED, PATH } from '../kernel/layout.gen.ts';
import type { RecordWindow } from './record.ts';
import { copy, fieldU32, presentU32, tag, VARINT, varint32Length } from './wire.ts';

const SLASH = 0x2f;
const DOT = 0x2e;
const PATH_BYTES = tag(1, 2);
const PATH_STATE = tag(2, VARINT);
const PATH_SOURCE = tag(3, VARINT);

/** Upper bound of a Path field (one-byte tag) beyond the record's bytes of that path. */
export const PATH_OVERHEAD = 1 + 3 + 1 + 3 + 1 + 3 + 3;

/** Bytes of the appended string that say nothing: a leading "./", repeated. */
function redundantPrefix(bytes: Uint8Array, start: number, length: number): number {
  let skip = 0;
  while (length - skip >= 2 && bytes[start + skip] === DOT && bytes[start + skip + 1] === SLASH) skip += 2;
  return skip;
}

/** Bytes that `writePathText` writes for the path whose struct is at `struct` and whose bytes begin at `from`. */
export function pathTextLength(record: RecordWindow, struct: number, from: number): number {
  const lengths = record.i32(struct);
  const comps = lengths & 0xffff;
  let text = comps;
  let string = lengths >>> 16;
  if (string > 0) {
    const at = record.start + from + comps;
    const skip = redundantPrefix(record.bytes, at, string);
    string -= skip;
    if (string > 0) text += string + (record.bytes[at + skip] === SLASH ? 0 : 1);
  }
  const state = record.u8(struct + PATH.state);
  if (text === 0) {
    if ((state & KT_PATH_PSEUDO) !== 0) return 0;
    text = 1;
  }
  return (state & KT_PATH_TRUNCATED) !== 0 ? text - 1 : text;
}

/** Writes the text: "/a/b"; "/" for the root; "a/b" when truncated, as the root end is missing; a nameless pipe has none. */
export function writePathText(
  out: DataView,
  at: number,
  record: RecordWindow,
  struct: number,
  from: number,
  textLength: number,
): number {
  if (textLength === 0) return at;
  const { bytes, view } = record;
  const lengths = record.i32(struct);
  const comps = lengths & 0xffff;
  // A truncated text lacks its first byte: the slash that would fall on origin is written, then overwritten or lost.
  const origin = (record.u8(struct + PATH.state) & KT_PATH_TRUNCATED) !== 0 ? at - 1 : at;
  const before = out.getUint8(at - 1);
  const source = writeComponents(out, origin, origin + comps, view, record.start + from);
  let next = origin + comps;
  const string = lengths >>> 16;
  if (string > 0) {
    const skip = redundantPrefix(bytes, source, string);
    if (string > skip) {
      if (bytes[source + skip] !== SLASH) out.setUint8(next++, SLASH);
      next = copy(out, next, view, source + skip, string - skip);
    }
  }
  if (next === origin) out.setUint8(next++, SLASH);
  if (origin !== at) out.setUint8(origin, before);
  return next;
}

/** Writes components, leaf first in `view` from `source` on, so that their text ends at `end`; returns where they end. */
function writeComponents(out: DataView, start: number, end: number, view: DataView, source: number): number {
  let from = source;
  let target = end;
  while (target > start) {
    const component = view.getUint8(from);
    target -= component + 1;
    out.setUint8(target, SLASH);
    copy(out, target + 1, view, from + 1, component);
    from += component + 1;
  }
  return from;
}

/** A Path message as field `tagByte`; nothing where the record has no path there. */
export function fieldPath(
  out: DataView,
  at: number,
  tagByte: number,
  record: RecordWindow,
  struct: number,
  from: number,
): number {
  const states = record.i32(struct + PATH.state);
  const source = (states >>> 8) & 0xff;
  if (source === KT_PATH_NONE) return at;
  const state = states & 0xff;
  const lengths = record.i32(struct);
  // Most paths: components alone, nothing to remark.
  const plain = state === 0 && lengths !== 0 && lengths >>> 16 === 0;
  const text = plain ? lengths : pathTextLength(record, struct, from);
  const inner =
    (text === 0 ? 0 : 1 + varint32Length(text) + text) +
    (state === 0 ? 0 : 1 + varint32Length(state)) +
    1 +
    varint32Length(source);
  let next = presentU32(out, at, tagByte, inner);
  if (text > 0) {
    next = presentU32(out, next, PATH_BYTES, text);
    if (plain) {
      writeComponents(out, next, next + text, record.view, record.start + from);
      next += text;
    } else {
      next = writePathText(out, next, record, struct, from, text);
    }
  }
  return presentU32(out, fieldU32(out, next, PATH_STATE, state), PATH_SOURCE, source);
}
