// Distinct byte strings, each kept once and counted: most processes of a node run few programs.

const NONE = -1;

export class PathPool {
  /** Bytes of the strings held. */
  bytes = 0;
  private readonly buckets: Int32Array;
  private readonly chain: Int32Array;
  private readonly hashes: Int32Array;
  private readonly references: Int32Array;
  private readonly strings: Uint8Array[] = [];
  private free = NONE;

  constructor(capacity: number) {
    this.buckets = new Int32Array(2 ** Math.ceil(Math.log2(Math.max(2, capacity / 4)))).fill(NONE);
    this.chain = new Int32Array(capacity);
    this.hashes = new Int32Array(capacity);
    this.references = new Int32Array(capacity);
  }

  get(id: number): Uint8Array {
    return this.strings[id] as Uint8Array;
  }

  /** The id of from[start..start+length], with one reference more. The caller keeps ids below capacity. */
  intern(from: Uint8Array, start: number, length: number): number {
    let hash = 0x811c9dc5;
    for (let i = 0; i < length; i++) hash = Math.imul(hash ^ (from[start + i] as number), 0x01000193);
    const bucket = (hash ^ (hash >>> 15)) & (this.buckets.length - 1);
    for (let id = this.buckets[bucket] as number; id !== NONE; id = this.chain[id] as number) {
      if (this.hashes[id] === hash && this.equals(id, from, start, length)) {
        this.references[id] = (this.references[id] as number) + 1;
        return id;
      }
    }
    let id = this.free;
    if (id === NONE) id = this.strings.length;
    else this.free = this.chain[id] as number;
    this.strings[id] = from.slice(start, start + length);
    this.hashes[id] = hash;
    this.references[id] = 1;
    this.chain[id] = this.buckets[bucket] as number;
    this.buckets[bucket] = id;
    this.bytes += length;
    return id;
  }

  /** Takes one reference off; the last one frees the string. */
  release(id: number): void {
    const references = (this.references[id] as number) - 1;
    this.references[id] = references;
    if (references > 0) return;
    const hash = this.hashes[id] as number;
    const bucket = (hash ^ (hash >>> 15)) & (this.buckets.length - 1);
    let at = this.buckets[bucket] as number;
    if (at === id) {
      this.buckets[bucket] = this.chain[id] as number;
    } else {
      while (this.chain[at] !== id) at = this.chain[at] as number;
      this.chain[at] = this.chain[id] as number;
    }
    this.bytes -= this.get(id).length;
    this.strings[id] = EMPTY;
    this.chain[id] = this.free;
    this.free = id;
  }

  private equals(id: number, from: Uint8Array, start: number, length: number): boolean {
    const string = this.get(id);
    if (string.length !== length) return false;
    for (let i = 0; i < length; i++) {
      if (string[i] !== from[start + i]) return false;
    }
    return true;
  }
}

const EMPTY = new Uint8Array(0);
