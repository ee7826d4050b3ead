import protobuf from 'protobufjs';

const scratch = new Uint32Array(2);
const unsigned = new BigUint64Array(scratch.buffer);
const signed = new BigInt64Array(scratch.buffer);

/**
 * Reads 64-bit fields as bigint instead of protobufjs's Long: nanoseconds since 1970 do not fit a JS number, and a
 * Long prints and compares only by method calls. Little-endian hosts only (x86-64, arm64).
 * Throws RangeError where the frame ends early, as its base class does.
 */
export class BigReader extends protobuf.BufferReader {
  constructor(frame: Uint8Array) {
    super(Buffer.isBuffer(frame) ? frame : Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength));
  }

  #varint(): void {
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.pos >= this.len) throw new RangeError(`index out of range: ${this.pos} + 1 > ${this.len}`);
      const byte = this.buf[this.pos++] ?? 0;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else if (shift < 63) high |= bits << (shift - 32);
      else high |= (bits & 1) << 31;
      if (byte < 0x80) {
        scratch[0] = low;
        scratch[1] = high;
        return;
      }
    }
    throw new RangeError('invalid varint encoding');
  }

  #fixed(): void {
    if (this.pos + 8 > this.len) throw new RangeError(`index out of range: ${this.pos} + 8 > ${this.len}`);
    const buf = this.buf as Buffer;
    scratch[0] = buf.readUInt32LE(this.pos);
    scratch[1] = buf.readUInt32LE(this.pos + 4);
    this.pos += 8;
  }

  // The base class declares number | Long; contract.ts's interfaces are what callers see.
  #as(value: bigint): never {
    return value as never;
  }

  override uint64(): never {
    this.#varint();
    return this.#as(unsigned[0] ?? 0n);
  }

  override int64(): never {
    this.#varint();
    return this.#as(signed[0] ?? 0n);
  }

  override sint64(): never {
    this.#varint();
    const low = scratch[0] ?? 0;
    const high = scratch[1] ?? 0;
    const mask = -(low & 1);
    scratch[0] = ((low >>> 1) | (high << 31)) ^ mask;
    scratch[1] = (high >>> 1) ^ mask;
    return this.#as(signed[0] ?? 0n);
  }

  override fixed64(): never {
    this.#fixed();
    return this.#as(unsigned[0] ?? 0n);
  }

  override sfixed64(): never {
    this.#fixed();
    return this.#as(signed[0] ?? 0n);
  }
}
