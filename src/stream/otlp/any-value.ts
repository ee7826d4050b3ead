// Protobuf of opentelemetry.proto.common.v1 (AnyValue, KeyValue), written forwards: sizes first, then bytes. By hand
// because it is done for every attribute of every event: protobufjs's writer makes an object for each field.

import type { Cell } from '../../../proto/ndjson.ts';

/** What an attribute can hold; null is an AnyValue without a value, and as an attribute it is left out. */
export type Value = Cell | Uint8Array | readonly Value[];

const SAFE = Number.MAX_SAFE_INTEGER;
const bits = new BigUint64Array(1);
const halves = new Uint32Array(bits.buffer);

/** Bytes of a varint of 0 to 2^53. */
export function varintLength(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x200000) return 3;
  let length = 4;
  for (let rest = Math.floor(value / 0x10000000); rest > 0; rest = Math.floor(rest / 0x80)) length++;
  return length;
}

/** A buffer that grows, and is used again. */
export class ByteWriter {
  length = 0;
  private buffer: Buffer;

  constructor(bytes = 4096) {
    this.buffer = Buffer.allocUnsafeSlow(bytes);
  }

  get capacity(): number {
    return this.buffer.length;
  }

  /** A copy of what was written. */
  copy(): Buffer {
    return Buffer.from(this.view());
  }

  /** What was written, until the next write. */
  view(): Buffer {
    return this.buffer.subarray(0, this.length);
  }

  /** Room for so many more bytes; the writes below do not look. */
  reserve(bytes: number): void {
    const needed = this.length + bytes;
    if (needed <= this.buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.buffer.length * 2));
    larger.set(this.view());
    this.buffer = larger;
  }

  byte(value: number): void {
    this.buffer[this.length++] = value;
  }

  /** 0 to 2^53. */
  varint(value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      this.buffer[this.length++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.buffer[this.length++] = rest;
  }

  /** As protobuf's int64: the two's complement. */
  bigVarint(value: bigint): void {
    bits[0] = BigInt.asUintN(64, value);
    let [low, high] = halves as unknown as [number, number];
    while (high > 0 || low >= 0x80) {
      this.buffer[this.length++] = (low & 0x7f) | 0x80;
      low = ((low >>> 7) | (high << 25)) >>> 0;
      high >>>= 7;
    }
    this.buffer[this.length++] = low;
  }

  fixed64(value: bigint): void {
    bits[0] = BigInt.asUintN(64, value);
    this.buffer.writeUInt32LE(halves[0] ?? 0, this.length);
    this.buffer.writeUInt32LE(halves[1] ?? 0, this.length + 4);
    this.length += 8;
  }

  double(value: number): void {
    this.buffer.writeDoubleLE(value, this.length);
    this.length += 8;
  }

  /** `bytes`: its length in UTF-8. */
  text(value: string, bytes: number): void {
    if (bytes === value.length && bytes < 24) {
      for (let i = 0; i < bytes; i++) this.buffer[this.length + i] = value.charCodeAt(i);
    } else {
      this.buffer.write(value, this.length, bytes);
    }
    this.length += bytes;
  }

  bytes(value: Uint8Array): void {
    this.buffer.set(value, this.length);
    this.length += value.length;
  }
}

function bigLength(value: bigint): number {
  if (value < 0n) return 10;
  if (value <= SAFE) return varintLength(Number(value));
  return value < 1n << 56n ? 8 : value < 1n << 63n ? 9 : 10;
}

/** Lengths in UTF-8 of short plain text are those of the string. */
const textLength = (value: string): number => Buffer.byteLength(value);

const isInteger = (value: number): boolean => Number.isSafeInteger(value);

/** Bytes of an AnyValue's content. */
export function valueSize(value: Value): number {
  switch (typeof value) {
    case 'string': {
      const bytes = textLength(value);
      return 1 + varintLength(bytes) + bytes;
    }
    case 'number':
      return isInteger(value) ? 1 + (value < 0 ? 10 : varintLength(value)) : 9;
    case 'bigint':
      return 1 + bigLength(value);
    case 'boolean':
      return 2;
    default: {
      if (value === null) return 0;
      if (value instanceof Uint8Array) return 1 + varintLength(value.length) + value.length;
      const inner = Array.isArray(value) ? arraySize(value) : mapSize(value as { readonly [key: string]: Value });
      return 1 + varintLength(inner) + inner;
    }
  }
}

function arraySize(values: readonly Value[]): number {
  let size = 0;
  for (const value of values) {
    const inner = valueSize(value);
    size += 1 + varintLength(inner) + inner;
  }
  return size;
}

function mapSize(map: { readonly [key: string]: Value }): number {
  let size = 0;
  for (const key of Object.keys(map)) {
    const inner = pairSize(textLength(key), valueSize(map[key] ?? null));
    size += 1 + varintLength(inner) + inner;
  }
  return size;
}

function pairSize(keyBytes: number, inner: number): number {
  return 1 + varintLength(keyBytes) + keyBytes + 1 + varintLength(inner) + inner;
}

// Field numbers of AnyValue with their wire types.
const STRING = 0x0a;
const BOOL = 0x10;
const INT = 0x18;
const DOUBLE = 0x21;
const ARRAY = 0x2a;
const KVLIST = 0x32;
const BYTES = 0x3a;
/** First field of ArrayValue, KeyValueList and KeyValue. */
const FIRST = 0x0a;
const KEY_VALUE_VALUE = 0x12;

/** An AnyValue's content; the room is reserved. */
export function writeValue(out: ByteWriter, value: Value): void {
  switch (typeof value) {
    case 'string': {
      const bytes = textLength(value);
      out.byte(STRING);
      out.varint(bytes);
      out.text(value, bytes);
      return;
    }
    case 'number':
      if (!isInteger(value)) {
        out.byte(DOUBLE);
        out.double(value);
      } else {
        out.byte(INT);
        if (value < 0) out.bigVarint(BigInt(value));
        else out.varint(value);
      }
      return;
    case 'bigint':
      out.byte(INT);
      out.bigVarint(value);
      return;
    case 'boolean':
      out.byte(BOOL);
      out.byte(value ? 1 : 0);
      return;
    default:
      if (value === null) return;
      if (value instanceof Uint8Array) {
        out.byte(BYTES);
        out.varint(value.length);
        out.bytes(value);
      } else if (Array.isArray(value)) {
        out.byte(ARRAY);
        out.varint(arraySize(value));
        for (const item of value) {
          out.byte(FIRST);
          out.varint(valueSize(item));
          writeValue(out, item);
        }
      } else {
        const map = value as { readonly [key: string]: Value };
        out.byte(KVLIST);
        out.varint(mapSize(map));
        for (const key of Object.keys(map)) {
          const keyBytes = textLength(key);
          const item = map[key] ?? null;
          out.byte(FIRST);
          out.varint(pairSize(keyBytes, valueSize(item)));
          writePair(out, key, keyBytes, item);
        }
      }
  }
}

function writePair(out: ByteWriter, key: string, keyBytes: number, value: Value): void {
  out.byte(FIRST);
  out.varint(keyBytes);
  out.text(key, keyBytes);
  out.byte(KEY_VALUE_VALUE);
  out.varint(valueSize(value));
  writeValue(out, value);
}

/** The key of an attribute with what stands before its value: `KeyValue.key` and the tag of `KeyValue.value`. */
export function keyBytes(name: string): Buffer {
  const text = Buffer.from(name);
  const out = new ByteWriter(text.length + 8);
  out.byte(FIRST);
  out.varint(text.length);
  out.bytes(text);
  out.byte(KEY_VALUE_VALUE);
  return out.copy();
}

/** One attribute under the field `tag`, of a key from `keyBytes`; null is left out. */
export function writeAttribute(out: ByteWriter, tag: number, key: Uint8Array, value: Value): void {
  if (value === null) return;
  const inner = valueSize(value);
  const size = key.length + varintLength(inner) + inner;
  out.reserve(size + 8);
  out.byte(tag);
  out.varint(size);
  out.bytes(key);
  out.varint(inner);
  writeValue(out, value);
}
