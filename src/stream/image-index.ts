// Image key (five 32-bit words) -> entry number, in typed arrays: no object per question or entry.

export const NO_ENTRY = -1;

const KEY_WORDS = 5;
/** The two lists' ends stand behind the entries in the link arrays. */
const LIVE = 0;
const EXITED = 1;

/** A chained hash table whose entries stand in one of two lists by age: live images, and those whose process exited. */
export class ImageIndex {
  size = 0;
  readonly capacity: number;
  private readonly keys: Int32Array;
  private readonly buckets: Int32Array;
  /** Next entry in the same bucket, or in the free list. */
  private readonly chain: Int32Array;
  private readonly before: Int32Array;
  private readonly after: Int32Array;
  private readonly list: Uint8Array;
  private free = NO_ENTRY;
  private fresh = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.keys = new Int32Array(capacity * KEY_WORDS);
    this.buckets = new Int32Array(2 ** Math.ceil(Math.log2(Math.max(2, capacity)))).fill(NO_ENTRY);
    this.chain = new Int32Array(capacity);
    this.before = new Int32Array(capacity + 2);
    this.after = new Int32Array(capacity + 2);
    this.list = new Uint8Array(capacity);
    for (const end of [capacity + LIVE, capacity + EXITED]) {
      this.before[end] = end;
      this.after[end] = end;
    }
  }

  find(tgid: number, startLow: number, startHigh: number, execLow: number, execHigh: number): number {
    let entry = this.buckets[this.bucket(tgid, startLow, execLow)] as number;
    while (entry !== NO_ENTRY) {
      const key = entry * KEY_WORDS;
      if (
        this.keys[key] === tgid &&
        this.keys[key + 1] === startLow &&
        this.keys[key + 2] === startHigh &&
        this.keys[key + 3] === execLow &&
        this.keys[key + 4] === execHigh
      ) {
        break;
      }
      entry = this.chain[entry] as number;
    }
    return entry;
  }

  /** Enters a key that `find` missed, as the youngest live image; the caller has kept size below capacity. */
  insert(tgid: number, startLow: number, startHigh: number, execLow: number, execHigh: number): number {
    let entry = this.free;
    if (entry === NO_ENTRY) entry = this.fresh++;
    else this.free = this.chain[entry] as number;
    const key = entry * KEY_WORDS;
    this.keys[key] = tgid;
    this.keys[key + 1] = startLow;
    this.keys[key + 2] = startHigh;
    this.keys[key + 3] = execLow;
    this.keys[key + 4] = execHigh;
    const bucket = this.bucket(tgid, startLow, execLow);
    this.chain[entry] = this.buckets[bucket] as number;
    this.buckets[bucket] = entry;
    this.append(entry, LIVE);
    this.size++;
    return entry;
  }

  /** Makes an entry the youngest of its list. */
  touch(entry: number): void {
    this.unlink(entry);
    this.append(entry, this.list[entry] as number);
  }

  /** Its process executed it (again): it lives. */
  revive(entry: number): void {
    this.unlink(entry);
    this.append(entry, LIVE);
  }

  /** Its process is gone: it goes before any live one. */
  retire(entry: number): void {
    this.unlink(entry);
    this.append(entry, EXITED);
  }

  /** The entry to forget first: the oldest exited, else the oldest live, else NO_ENTRY. */
  victim(): number {
    for (const list of [EXITED, LIVE]) {
      const oldest = this.after[this.capacity + list] as number;
      if (oldest < this.capacity) return oldest;
    }
    return NO_ENTRY;
  }

  remove(entry: number): void {
    this.unlink(entry);
    const key = entry * KEY_WORDS;
    const bucket = this.bucket(this.keys[key] as number, this.keys[key + 1] as number, this.keys[key + 3] as number);
    let at = this.buckets[bucket] as number;
    if (at === entry) {
      this.buckets[bucket] = this.chain[entry] as number;
    } else {
      while (this.chain[at] !== entry) at = this.chain[at] as number;
      this.chain[at] = this.chain[entry] as number;
    }
    this.chain[entry] = this.free;
    this.free = entry;
    this.size--;
  }

  private append(entry: number, list: number): void {
    const end = this.capacity + list;
    const youngest = this.before[end] as number;
    this.list[entry] = list;
    this.before[entry] = youngest;
    this.after[entry] = end;
    this.after[youngest] = entry;
    this.before[end] = entry;
  }

  private unlink(entry: number): void {
    const before = this.before[entry] as number;
    const after = this.after[entry] as number;
    this.after[before] = after;
    this.before[after] = before;
  }

  private bucket(tgid: number, startLow: number, execLow: number): number {
    let hash = Math.imul(tgid, 0x9e3779b1) ^ Math.imul(startLow, 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 15), 0xc2b2ae35) + Math.imul(execLow, 0x27d4eb2f);
    return (hash ^ (hash >>> 13)) & (this.buckets.length - 1);
  }
}
