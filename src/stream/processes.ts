// Image key -> executable: which program a process runs, learned from process.exec records.

import {
  EXEC,
  HEAD,
  KT_PATH_NONE,
  KT_PROCESS_EXEC,
  KT_PROCESS_EXIT,
  KT_PROCESS_IMAGE,
  PATH,
} from '../kernel/layout.gen.ts';
import { ImageIndex, NO_ENTRY } from './image-index.ts';
import { pathTextLength, writePathText } from './path.ts';
import { PathPool } from './path-pool.ts';
import { RecordWindow } from './record.ts';

/** Images known at once. */
export const IMAGES_MAX = 65_536;
/** Bytes of distinct executable paths. */
export const IMAGE_PATH_BYTES_MAX = 8 << 20;

const EXE = HEAD.SIZE + EXEC.exe;
const EXE_BYTES = HEAD.SIZE + EXEC.SIZE;
/** A path's two lengths are 16 bits each; one byte for a slash between, one before the text. */
const TEXT_MAX = 2 * 0xffff + 2;

/**
 * Bounded, and asked without an object. An image outlives the exit of the process that executed it, as its forked
 * children may run it on: exit only makes it the first to go when room is needed.
 */
export class ProcessTable {
  /** Images forgotten to make room: their later events say exe_unknown. */
  evicted = 0;
  private readonly images: ImageIndex;
  private readonly pool: PathPool;
  private readonly paths: Int32Array;
  private readonly pathBytesMax: number;
  private readonly record = new RecordWindow();
  private readonly text = new Uint8Array(TEXT_MAX);
  private readonly textView = new DataView(this.text.buffer);

  constructor(capacity = IMAGES_MAX, pathBytesMax = IMAGE_PATH_BYTES_MAX) {
    this.images = new ImageIndex(capacity);
    this.pool = new PathPool(capacity);
    this.paths = new Int32Array(capacity);
    this.pathBytesMax = pathBytesMax;
  }

  /** Images known. */
  get size(): number {
    return this.images.size;
  }

  /** Bytes of the distinct paths held. */
  get pathBytes(): number {
    return this.pool.bytes;
  }

  /**
   * Learns from the record at buf[offset..]: an exec (a snapshot's, too) tells an image, an exit that its image may go.
   * Others and undecodable ones are ignored here: the encoder counts them.
   */
  observe(buf: Uint8Array, offset: number): void {
    const { record } = this;
    if (record.open(buf, offset) !== 0) return;
    if (record.kind === KT_PROCESS_EXIT) {
      const execLow = record.i32(HEAD.exec_id);
      this.retire(record, execLow, record.i32(HEAD.exec_id + 4));
    } else if (record.kind === KT_PROCESS_EXEC || record.kind === KT_PROCESS_IMAGE) {
      // What this process had executed before is run by nobody now but by children that it forked.
      const execLow = record.i32(HEAD.exec_id);
      const execHigh = record.i32(HEAD.exec_id + 4);
      this.retire(record, (execLow - 1) | 0, execLow === 0 ? (execHigh - 1) | 0 : execHigh);
      this.learn(record);
    }
  }

  /**
   * The path of the executable by image key: the record's image_tgid, and image_start_time and exec_id in halves.
   * Empty: it has none (a kernel thread). undefined: not seen to start.
   */
  get(tgid: number, startLow: number, startHigh: number, execLow: number, execHigh: number): Uint8Array | undefined {
    const entry = this.images.find(tgid, startLow, startHigh, execLow, execHigh);
    if (entry === NO_ENTRY) return undefined;
    this.images.touch(entry);
    return this.pool.get(this.paths[entry] as number);
  }

  private learn(record: RecordWindow): void {
    const tgid = record.i32(HEAD.tgid);
    const startLow = record.i32(HEAD.start_time);
    const startHigh = record.i32(HEAD.start_time + 4);
    const execLow = record.i32(HEAD.exec_id);
    const execHigh = record.i32(HEAD.exec_id + 4);
    let entry = this.images.find(tgid, startLow, startHigh, execLow, execHigh);
    if (entry === NO_ENTRY) {
      if (this.images.size === this.images.capacity) this.evict();
      entry = this.images.insert(tgid, startLow, startHigh, execLow, execHigh);
    } else {
      this.images.revive(entry);
      this.pool.release(this.paths[entry] as number);
    }
    let length = 0;
    if (record.u8(EXE + PATH.source) !== KT_PATH_NONE) {
      length = pathTextLength(record, EXE, EXE_BYTES);
      // From position 1: a truncated path's text borrows the byte before it.
      writePathText(this.textView, 1, record, EXE, EXE_BYTES, length);
    }
    this.paths[entry] = this.pool.intern(this.text, 1, length);
    while (this.pool.bytes > this.pathBytesMax && this.images.size > 1) this.evict();
  }

  private retire(record: RecordWindow, execLow: number, execHigh: number): void {
    const startLow = record.i32(HEAD.start_time);
    const startHigh = record.i32(HEAD.start_time + 4);
    const entry = this.images.find(record.i32(HEAD.tgid), startLow, startHigh, execLow, execHigh);
    if (entry !== NO_ENTRY) this.images.retire(entry);
  }

  private evict(): void {
    const entry = this.images.victim();
    if (entry === NO_ENTRY) return;
    this.images.remove(entry);
    this.pool.release(this.paths[entry] as number);
    this.evicted++;
  }
}
