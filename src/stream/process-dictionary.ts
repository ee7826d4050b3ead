// Which processes a batch names already: found by comparing bytes 24..127 of a record's head, without an object.

import { HEAD, KT_PROCESS_BLOCK_OFFSET } from '../kernel/layout.gen.ts';
import type { RecordWindow } from './record.ts';
import {
  BYTES,
  fieldArrayTag2,
  fieldBytes,
  fieldU32,
  fieldU32Tag2,
  fieldU64,
  fieldU64Tag2,
  tag,
  tag2,
  VARINT,
} from './wire.ts';

const BLOCK_WORD = KT_PROCESS_BLOCK_OFFSET >>> 2;
const BLOCK_WORDS = (HEAD.SIZE - KT_PROCESS_BLOCK_OFFSET) >>> 2;
/** The block and the workload's index. */
const ENTRY_WORDS = BLOCK_WORDS + 1;
const COMM_BYTES = 16;
const GENERATION_MAX = 0x7fffffff;

/** An open-addressing table over the blocks seen in the open batch; it empties by a new generation. */
export class ProcessDictionary {
  /** Entries of the open batch; the index of the last one. */
  count = 0;
  readonly capacity: number;
  private readonly mask: number;
  private readonly slots: Int32Array;
  private readonly generations: Int32Array;
  private readonly blocks: Int32Array;
  private generation = 1;
  private last = 0;
  private free = 0;

  /** `capacity`: most processes a batch can name; a power of two. */
  constructor(capacity: number) {
    this.capacity = capacity;
    this.mask = capacity * 2 - 1;
    this.slots = new Int32Array(capacity * 2);
    this.generations = new Int32Array(capacity * 2);
    this.blocks = new Int32Array((capacity + 1) * ENTRY_WORDS);
  }

  clear(): void {
    this.count = 0;
    this.last = 0;
    if (this.generation === GENERATION_MAX) {
      this.generations.fill(0);
      this.generation = 0;
    }
    this.generation++;
  }

  /** The 1-based index of the record's process in the open batch, or 0: `add` may follow. */
  find(record: RecordWindow, workload: number): number {
    const { words } = record;
    const word = record.word + BLOCK_WORD;
    if (this.last !== 0 && this.matches(this.last, words, word, workload)) return this.last;
    let slot = hash(words, word) & this.mask;
    while (this.generations[slot] === this.generation) {
      const index = this.slots[slot] as number;
      if (this.matches(index, words, word, workload)) {
        this.last = index;
        return index;
      }
      slot = (slot + 1) & this.mask;
    }
    this.free = slot;
    return 0;
  }

  /** Enters the process that `find` has just missed. The caller keeps count below capacity. */
  add(record: RecordWindow, workload: number): number {
    const index = ++this.count;
    const entry = index * ENTRY_WORDS;
    for (let i = 0; i < BLOCK_WORDS; i++) {
      this.blocks[entry + i] = record.words[record.word + BLOCK_WORD + i] as number;
    }
    this.blocks[entry + BLOCK_WORDS] = workload;
    this.slots[this.free] = index;
    this.generations[this.free] = this.generation;
    this.last = index;
    return index;
  }

  private matches(index: number, words: Int32Array, word: number, workload: number): boolean {
    const { blocks } = this;
    const entry = index * ENTRY_WORDS;
    if (blocks[entry + BLOCK_WORDS] !== workload) return false;
    // Without a branch a word: nearly every comparison is of equal blocks.
    let difference = 0;
    for (let i = 0; i < BLOCK_WORDS; i += 2) {
      difference |= (blocks[entry + i] as number) ^ (words[word + i] as number);
      difference |= (blocks[entry + i + 1] as number) ^ (words[word + i + 1] as number);
    }
    return difference === 0;
  }
}

const at = (offset: number): number => (offset - KT_PROCESS_BLOCK_OFFSET) >>> 2;
const CGROUP = at(HEAD.cgroup_id);
const START = at(HEAD.start_time);
const EXEC = at(HEAD.exec_id);
const TGID = at(HEAD.tgid);
const EUID = at(HEAD.euid);
const MNT_NS = at(HEAD.mnt_ns);
const NET_NS = at(HEAD.net_ns);
const COMM = at(HEAD.comm);

/** Over the words that one process can vary or that tell processes apart. */
function hash(words: Int32Array, word: number): number {
  let a = Math.imul((words[word + START] as number) ^ (words[word + COMM] as number), 0x9e3779b1);
  let b = Math.imul((words[word + TGID] as number) ^ (words[word + COMM + 1] as number), 0x85ebca6b);
  a = Math.imul((a ^ (a >>> 15)) + (words[word + EXEC] as number), 0xc2b2ae35) ^ (words[word + COMM + 2] as number);
  b = Math.imul((b ^ (b >>> 13)) + (words[word + CGROUP] as number), 0x27d4eb2f) ^ (words[word + COMM + 3] as number);
  a = Math.imul(a + (words[word + EUID] as number), 0x165667b1) ^ (words[word + MNT_NS] as number);
  b = Math.imul(b + (words[word + NET_NS] as number), 0x9e3779b1);
  a ^= Math.imul(b ^ (b >>> 16), 0x85ebca6b);
  return a ^ (a >>> 15);
}

const WORKLOAD = tag(1, VARINT);
const TGID_TAG = tag(2, VARINT);
const START_TIME = tag(3, VARINT);
const EXEC_ID = tag(4, VARINT);
const PARENT_TGID = tag(5, VARINT);
const PARENT_START_TIME = tag(6, VARINT);
const PARENT_EXEC_ID = tag(7, VARINT);
const NS_TGID = tag(8, VARINT);
const UID = tag(9, VARINT);
const GID = tag(10, VARINT);
const EUID_TAG = tag(11, VARINT);
const MNT_NS_TAG = tag(12, VARINT);
const NET_NS_TAG = tag(13, VARINT);
const COMM_TAG = tag(14, BYTES);
const ENTRY = tag(15, VARINT);
const EXE = tag2(16, BYTES);
const EXE_UNKNOWN = tag2(17, VARINT);
const IMAGE_TGID = tag2(18, VARINT);
const IMAGE_START_TIME = tag2(19, VARINT);

/** Upper bound of a Process beside its exe. */
export const PROCESS_BOUND = 11 * 6 + 6 * 12 + 24 + 16;

/** Writes a Process's fields from a record's head; `exe` undefined: the image was not seen to start. */
export function writeProcess(
  out: DataView,
  start: number,
  record: RecordWindow,
  workload: number,
  exe: Uint8Array | undefined,
): number {
  const startLow = record.i32(HEAD.start_time);
  const startHigh = record.i32(HEAD.start_time + 4);
  const tgid = record.i32(HEAD.tgid);
  let next = fieldU32(out, start, WORKLOAD, workload);
  next = fieldU32(out, next, TGID_TAG, tgid);
  next = fieldU64(out, next, START_TIME, startLow, startHigh);
  next = fieldU64(out, next, EXEC_ID, record.i32(HEAD.exec_id), record.i32(HEAD.exec_id + 4));
  next = fieldU32(out, next, PARENT_TGID, record.i32(HEAD.parent_tgid));
  const parentLow = record.i32(HEAD.parent_start_time);
  next = fieldU64(out, next, PARENT_START_TIME, parentLow, record.i32(HEAD.parent_start_time + 4));
  next = fieldU64(out, next, PARENT_EXEC_ID, record.i32(HEAD.parent_exec_id), record.i32(HEAD.parent_exec_id + 4));
  next = fieldU32(out, next, NS_TGID, record.i32(HEAD.ns_tgid));
  next = fieldU32(out, next, UID, record.i32(HEAD.uid));
  next = fieldU32(out, next, GID, record.i32(HEAD.gid));
  next = fieldU32(out, next, EUID_TAG, record.i32(HEAD.euid));
  next = fieldU32(out, next, MNT_NS_TAG, record.i32(HEAD.mnt_ns));
  next = fieldU32(out, next, NET_NS_TAG, record.i32(HEAD.net_ns));
  next = fieldBytes(out, next, COMM_TAG, record.view, record.start + HEAD.comm, commLength(record));
  next = fieldU32(out, next, ENTRY, record.u8(HEAD.entry));
  if (exe === undefined) next = fieldU32Tag2(out, next, EXE_UNKNOWN, 1);
  else next = fieldArrayTag2(out, next, EXE, exe);
  const imageTgid = record.i32(HEAD.image_tgid);
  const imageLow = record.i32(HEAD.image_start_time);
  const imageHigh = record.i32(HEAD.image_start_time + 4);
  if (imageTgid === tgid && imageLow === startLow && imageHigh === startHigh) return next;
  next = fieldU32Tag2(out, next, IMAGE_TGID, imageTgid);
  return fieldU64Tag2(out, next, IMAGE_START_TIME, imageLow, imageHigh);
}

function commLength(record: RecordWindow): number {
  let length = 0;
  while (length < COMM_BYTES && record.u8(HEAD.comm + length) !== 0) length++;
  return length;
}
