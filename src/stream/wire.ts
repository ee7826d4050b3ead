// Protobuf wire primitives on a caller's buffer. Each writes at `at` and returns the next position; none checks bounds
// (the encoder proves the room beforehand) and none allocates. 32-bit values may come as signed bit patterns.

/** Wire tags of one byte are `field << 3 | type`. Fields 16..2047 take two: see `tag2`. */
export const VARINT = 0;
export const FIXED64 = 1;
export const BYTES = 2;

/** The tag of a field numbered 1..15. */
export const tag = (field: number, type: number): number => (field << 3) | type;

/** The two-byte tag of a field numbered 16..2047, low byte first. */
export const tag2 = (field: number, type: number): number => {
  const value = (field << 3) | type;
  return (value & 0x7f) | 0x80 | ((value >>> 7) << 8);
};

/** uint32 as varint: 1..5 bytes, in two stores at most. */
export function varint32(out: DataView, at: number, value: number): number {
  if (value >>> 7 === 0) {
    out.setUint8(at, value);
    return at + 1;
  }
  const two = (value & 0x7f) | 0x80 | ((value << 1) & 0x7f00);
  if (value >>> 14 === 0) {
    out.setUint16(at, two, true);
    return at + 2;
  }
  if (value >>> 21 === 0) {
    out.setUint16(at, two | 0x8000, true);
    out.setUint8(at + 2, value >>> 14);
    return at + 3;
  }
  const four = two | 0x808000 | ((value << 2) & 0x7f0000) | ((value << 3) & 0x7f000000);
  if (value >>> 28 === 0) {
    out.setInt32(at, four, true);
    return at + 4;
  }
  out.setInt32(at, four | 0x80000000, true);
  out.setUint8(at + 4, value >>> 28);
  return at + 5;
}

/** uint64 in two 32-bit halves as varint: 1..10 bytes. */
export function varint64(out: DataView, at: number, low: number, high: number): number {
  if (high === 0) return varint32(out, at, low);
  const four = (low & 0x7f) | ((low << 1) & 0x7f00) | ((low << 2) & 0x7f0000) | ((low << 3) & 0x7f000000);
  out.setInt32(at, four | 0x80808080, true);
  const rest = (low >>> 28) | (high << 4);
  const top = high >>> 28;
  if (top === 0) return varint32(out, at + 4, rest);
  // 64 bits: nine full groups and one bit.
  const next = (rest & 0x7f) | ((rest << 1) & 0x7f00) | ((rest << 2) & 0x7f0000) | ((rest << 3) & 0x7f000000);
  out.setInt32(at + 4, next | 0x80808080, true);
  return varint32(out, at + 8, (rest >>> 28) | (top << 4));
}

/** A uint32, bool or enum field; 0 is proto3's default and is left out. */
export function fieldU32(out: DataView, at: number, tagByte: number, value: number): number {
  return value === 0 ? at : presentU32(out, at, tagByte, value);
}

/** Likewise with a two-byte tag (field 16 and up). */
export function fieldU32Tag2(out: DataView, at: number, tagBytes: number, value: number): number {
  if (value === 0) return at;
  return presentU32Tag2(out, at, tagBytes, value);
}

/** An `optional` uint32 field that is present, also when 0. */
export function presentU32(out: DataView, at: number, tagByte: number, value: number): number {
  if (value >>> 7 === 0) {
    out.setUint16(at, tagByte | (value << 8), true);
    return at + 2;
  }
  out.setUint8(at, tagByte);
  return varint32(out, at + 1, value);
}

/** Likewise with a two-byte tag. */
export function presentU32Tag2(out: DataView, at: number, tagBytes: number, value: number): number {
  out.setUint16(at, tagBytes, true);
  return varint32(out, at + 2, value);
}

/** A uint64 field; 0 is left out. */
export function fieldU64(out: DataView, at: number, tagByte: number, low: number, high: number): number {
  if ((low | high) === 0) return at;
  return presentU64(out, at, tagByte, low, high);
}

/** Likewise with a two-byte tag. */
export function fieldU64Tag2(out: DataView, at: number, tagBytes: number, low: number, high: number): number {
  if ((low | high) === 0) return at;
  out.setUint16(at, tagBytes, true);
  return varint64(out, at + 2, low, high);
}

/** An `optional` uint64 field that is present, also when 0. */
export function presentU64(out: DataView, at: number, tagByte: number, low: number, high: number): number {
  out.setUint8(at, tagByte);
  return varint64(out, at + 1, low, high);
}

/** A sint32 field; 0 is left out. */
export function fieldS32(out: DataView, at: number, tagByte: number, value: number): number {
  return value === 0 ? at : presentU32(out, at, tagByte, (value << 1) ^ (value >> 31));
}

/** An int32 field: negative values are sign-extended to ten bytes; 0 is left out. */
export function fieldI32(out: DataView, at: number, tagByte: number, value: number): number {
  if (value === 0) return at;
  out.setUint8(at, tagByte);
  return varint64(out, at + 1, value, value >> 31);
}

/** fixed64 or sfixed64 without its tag. */
export function fixed64(out: DataView, at: number, low: number, high: number): number {
  out.setInt32(at, low, true);
  out.setInt32(at + 4, high, true);
  return at + 8;
}

/** A bytes field of `length` bytes of `from`; none is left out. */
export function fieldBytes(
  out: DataView,
  at: number,
  tagByte: number,
  from: DataView,
  start: number,
  length: number,
): number {
  if (length === 0) return at;
  out.setUint8(at, tagByte);
  return copy(out, varint32(out, at + 1, length), from, start, length);
}

/** Likewise with a two-byte tag. */
export function fieldBytesTag2(
  out: DataView,
  at: number,
  tagBytes: number,
  from: DataView,
  start: number,
  length: number,
): number {
  if (length === 0) return at;
  return elementTag2(out, at, tagBytes, from, start, length);
}

/** A bytes field with a two-byte tag of a whole array; none is left out. */
export function fieldArrayTag2(out: DataView, at: number, tagBytes: number, from: Uint8Array): number {
  if (from.length === 0) return at;
  out.setUint16(at, tagBytes, true);
  return copyArray(out, varint32(out, at + 2, from.length), from);
}

/** An element of a repeated bytes field with a two-byte tag: written also when empty. */
export function elementTag2(
  out: DataView,
  at: number,
  tagBytes: number,
  from: DataView,
  start: number,
  length: number,
): number {
  out.setUint16(at, tagBytes, true);
  return copy(out, varint32(out, at + 2, length), from, start, length);
}

/** An element of a repeated bytes field: written also when empty. */
export function element(
  out: DataView,
  at: number,
  tagByte: number,
  from: DataView,
  start: number,
  length: number,
): number {
  out.setUint8(at, tagByte);
  return copy(out, varint32(out, at + 1, length), from, start, length);
}

/** Copies bytes by fours, the last four over what is copied already: `set(subarray())` would make an object a call. */
export function copy(out: DataView, at: number, from: DataView, start: number, length: number): number {
  if (length < 4) {
    for (let i = 0; i < length; i++) out.setUint8(at + i, from.getUint8(start + i));
    return at + length;
  }
  const last = length - 4;
  for (let i = 0; i < last; i += 4) out.setInt32(at + i, from.getInt32(start + i, true), true);
  out.setInt32(at + last, from.getInt32(start + last, true), true);
  return at + length;
}

/** Copies a whole array. */
export function copyArray(out: DataView, at: number, from: Uint8Array): number {
  for (let i = 0; i < from.length; i++) out.setUint8(at + i, from[i] as number);
  return at + from.length;
}

/** Bytes to reserve for a length that is at most `bound`. */
export const lengthBytes = (bound: number): number => (bound < 0x80 ? 1 : bound < 0x4000 ? 2 : 3);

/** Fills a reserved length of 1..3 bytes; shorter values are padded, which every decoder accepts. */
export function patchLength(out: DataView, at: number, reserved: number, length: number): void {
  if (reserved === 1) {
    out.setUint8(at, length);
  } else if (reserved === 2) {
    out.setUint16(at, (length & 0x7f) | 0x80 | ((length << 1) & 0x7f00), true);
  } else {
    out.setUint16(at, (length & 0x7f) | 0x8080 | ((length << 1) & 0x7f00), true);
    out.setUint8(at + 2, length >>> 14);
  }
}

/** Bytes of `value` (uint32) as varint. */
export const varint32Length = (value: number): number =>
  value >>> 7 === 0 ? 1 : value >>> 14 === 0 ? 2 : value >>> 21 === 0 ? 3 : value >>> 28 === 0 ? 4 : 5;
