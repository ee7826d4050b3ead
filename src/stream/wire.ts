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

/** uint32 as varint: 1..5 bytes. */
export function varint32(out: Uint8Array, at: number, value: number): number {
  let next = at;
  let rest = value;
  while ((rest & ~0x7f) !== 0) {
    out[next++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  out[next++] = rest;
  return next;
}

/** uint64 in two 32-bit halves as varint: 1..10 bytes. */
export function varint64(out: Uint8Array, at: number, low: number, high: number): number {
  let next = at;
  let lo = low;
  let hi = high;
  while (hi !== 0) {
    out[next++] = (lo & 0x7f) | 0x80;
    lo = (lo >>> 7) | (hi << 25);
    hi >>>= 7;
  }
  return varint32(out, next, lo);
}

/** A uint32, bool or enum field; 0 is proto3's default and is left out. */
export function fieldU32(out: Uint8Array, at: number, tagByte: number, value: number): number {
  if (value === 0) return at;
  out[at] = tagByte;
  return varint32(out, at + 1, value);
}

/** Likewise with a two-byte tag (field 16 and up). */
export function fieldU32Tag2(out: Uint8Array, at: number, tagBytes: number, value: number): number {
  if (value === 0) return at;
  return presentU32Tag2(out, at, tagBytes, value);
}

/** An `optional` uint32 field that is present, also when 0. */
export function presentU32(out: Uint8Array, at: number, tagByte: number, value: number): number {
  out[at] = tagByte;
  return varint32(out, at + 1, value);
}

/** Likewise with a two-byte tag. */
export function presentU32Tag2(out: Uint8Array, at: number, tagBytes: number, value: number): number {
  out[at] = tagBytes & 0xff;
  out[at + 1] = tagBytes >>> 8;
  return varint32(out, at + 2, value);
}

/** A uint64 field; 0 is left out. */
export function fieldU64(out: Uint8Array, at: number, tagByte: number, low: number, high: number): number {
  if ((low | high) === 0) return at;
  return presentU64(out, at, tagByte, low, high);
}

/** Likewise with a two-byte tag. */
export function fieldU64Tag2(out: Uint8Array, at: number, tagBytes: number, low: number, high: number): number {
  if ((low | high) === 0) return at;
  out[at] = tagBytes & 0xff;
  out[at + 1] = tagBytes >>> 8;
  return varint64(out, at + 2, low, high);
}

/** An `optional` uint64 field that is present, also when 0. */
export function presentU64(out: Uint8Array, at: number, tagByte: number, low: number, high: number): number {
  out[at] = tagByte;
  return varint64(out, at + 1, low, high);
}

/** A sint32 field; 0 is left out. */
export function fieldS32(out: Uint8Array, at: number, tagByte: number, value: number): number {
  if (value === 0) return at;
  out[at] = tagByte;
  return varint32(out, at + 1, (value << 1) ^ (value >> 31));
}

/** An int32 field: negative values are sign-extended to ten bytes; 0 is left out. */
export function fieldI32(out: Uint8Array, at: number, tagByte: number, value: number): number {
  if (value === 0) return at;
  out[at] = tagByte;
  return varint64(out, at + 1, value, value >> 31);
}

/** fixed64 or sfixed64 without its tag. */
export function fixed64(out: Uint8Array, at: number, low: number, high: number): number {
  for (let i = 0; i < 4; i++) {
    out[at + i] = low >>> (i * 8);
    out[at + 4 + i] = high >>> (i * 8);
  }
  return at + 8;
}

/** A bytes field of `length` bytes of `from`; none is left out. */
export function fieldBytes(
  out: Uint8Array,
  at: number,
  tagByte: number,
  from: Uint8Array,
  start: number,
  length: number,
): number {
  if (length === 0) return at;
  out[at] = tagByte;
  return copy(out, varint32(out, at + 1, length), from, start, length);
}

/** Likewise with a two-byte tag. */
export function fieldBytesTag2(
  out: Uint8Array,
  at: number,
  tagBytes: number,
  from: Uint8Array,
  start: number,
  length: number,
): number {
  if (length === 0) return at;
  return elementTag2(out, at, tagBytes, from, start, length);
}

/** An element of a repeated bytes field with a two-byte tag: written also when empty. */
export function elementTag2(
  out: Uint8Array,
  at: number,
  tagBytes: number,
  from: Uint8Array,
  start: number,
  length: number,
): number {
  out[at] = tagBytes & 0xff;
  out[at + 1] = tagBytes >>> 8;
  return copy(out, varint32(out, at + 2, length), from, start, length);
}

/** An element of a repeated bytes field: written also when empty. */
export function element(
  out: Uint8Array,
  at: number,
  tagByte: number,
  from: Uint8Array,
  start: number,
  length: number,
): number {
  out[at] = tagByte;
  return copy(out, varint32(out, at + 1, length), from, start, length);
}

/** Copies bytes in a loop: `set(subarray())` would make an object a call. */
export function copy(out: Uint8Array, at: number, from: Uint8Array, start: number, length: number): number {
  for (let i = 0; i < length; i++) out[at + i] = from[start + i] as number;
  return at + length;
}

/** Bytes to reserve for a length that is at most `bound`. */
export const lengthBytes = (bound: number): number => (bound < 0x80 ? 1 : bound < 0x4000 ? 2 : 3);

/** Fills a reserved length of 1..3 bytes; shorter values are padded, which every decoder accepts. */
export function patchLength(out: Uint8Array, at: number, reserved: number, length: number): void {
  if (reserved === 1) {
    out[at] = length;
  } else if (reserved === 2) {
    out[at] = (length & 0x7f) | 0x80;
    out[at + 1] = length >>> 7;
  } else {
    out[at] = (length & 0x7f) | 0x80;
    out[at + 1] = ((length >>> 7) & 0x7f) | 0x80;
    out[at + 2] = length >>> 14;
  }
}

/** Bytes of `value` (uint32) as varint. */
export const varint32Length = (value: number): number =>
  value >>> 7 === 0 ? 1 : value >>> 14 === 0 ? 2 : value >>> 21 === 0 ? 3 : value >>> 28 === 0 ? 4 : 5;
