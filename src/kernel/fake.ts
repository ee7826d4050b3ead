import { HEAD, KT_KIND_COUNT, KT_REASON_COUNT } from './layout.gen.ts';
import type { EventSource } from './source.ts';

/** Replays recorded drains: whole records, each at a multiple of 8 bytes, as far as they fit into the caller's buffer. */
export class FakeEventSource implements EventSource {
  /** What counters() copies; tests set it. */
  readonly counts = new BigUint64Array(KT_KIND_COUNT * KT_REASON_COUNT);
  /** Records passed over because they are longer than the caller's whole buffer, as the addon does. */
  badRecords = 0;
  readonly #pending: Uint8Array[];
  #offset = 0;
  #closed = false;

  constructor(recordings: readonly Uint8Array[] = []) {
    this.#pending = [...recordings];
  }

  /** Appends the bytes of a drain to what is replayed. */
  push(recording: Uint8Array): void {
    this.#pending.push(recording);
  }

  drain(into: Uint8Array): number {
    this.#check();
    let used = 0;
    for (let recording = this.#pending[0]; recording !== undefined; recording = this.#pending[0]) {
      if (this.#offset >= recording.length) {
        this.#pending.shift();
        this.#offset = 0;
        continue;
      }
      const length = paddedLength(recording, this.#offset);
      if (length > into.length) {
        this.badRecords++;
        this.#offset += length;
        continue;
      }
      if (used + length > into.length) break;
      into.set(recording.subarray(this.#offset, this.#offset + length), used);
      this.#offset += length;
      used += length;
    }
    return used;
  }

  counters(into: BigUint64Array): void {
    this.#check();
    into.set(this.counts);
  }

  close(): void {
    this.#closed = true;
  }

  #check(): void {
    if (this.#closed) throw new Error('closed');
  }
}

/** A recording may be hostile on purpose: what no record can be is replayed as one piece. */
function paddedLength(recording: Uint8Array, offset: number): number {
  const rest = recording.length - offset;
  if (rest < HEAD.SIZE) return rest;
  const length = new DataView(recording.buffer, recording.byteOffset + offset).getUint32(HEAD.len, true);
  if (length < HEAD.SIZE || length > rest) return rest;
  return Math.min((length + 7) & ~7, rest);
}
