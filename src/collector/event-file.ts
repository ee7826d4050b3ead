import { access, constants, type FileHandle, open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { FILE_MODE, makeFolder, syncFolder } from './durable-folder.ts';

/** A line in pieces: text, or what it shares with others as UTF-8. */
export type Line = readonly (string | { readonly length: number; readonly bytes: Buffer })[];

/** Files that are still written end in this. */
export const UNFINISHED = '.tmp';

const SUFFIX = '.ndjson';
const NEWLINE = 0x0a;
const NO_BYTES = Buffer.alloc(0);
// A file that gets little must not hold much; one that gets much should not be cut small.
const CHUNK_MIN = 16 << 10;
const CHUNK_MAX = 1 << 20;
/** Of one writev(2) (limits.h). */
const IOV_MAX = 1024;

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false;
    throw error;
  }
}

/** `base`.ndjson, or the first free of `base`-2.ndjson, ...: an existing file is never written over. */
export async function freePath(base: string, ignoreUnfinished: boolean): Promise<string> {
  for (let n = 1; ; n++) {
    const path = `${base}${n === 1 ? '' : `-${n}`}${SUFFIX}`;
    if (!(await exists(path)) && (ignoreUnfinished || !(await exists(path + UNFINISHED)))) return path;
  }
}

/** In as few calls as the kernel takes: each is a turn of a loop that has other work. */
async function writeWhole(handle: FileHandle, chunks: readonly Buffer[], position: number): Promise<void> {
  let left = [...chunks];
  for (let at = position; left.length > 0; ) {
    const { bytesWritten } = await handle.writev(left.slice(0, IOV_MAX), at);
    at += bytesWritten;
    left = after(left, bytesWritten);
  }
}

/** What is left of chunks of which so many bytes are written. */
function after(chunks: readonly Buffer[], bytes: number): Buffer[] {
  let skip = bytes;
  for (const [index, chunk] of chunks.entries()) {
    if (skip < chunk.length) return [chunk.subarray(skip), ...chunks.slice(index + 1)];
    skip -= chunk.length;
  }
  return [];
}

/**
 * One file of rows while it grows. Rows gather in memory until `commit`, which alone touches the disk; a commit that
 * failed is repeated whole, at the same place, because after a failed fsync the kernel may have dropped what was
 * written.
 */
export class EventFile {
  /** Where it belongs: rows of one kind, hour, and of one node and run or of many, share a key. */
  readonly key: string;
  /** Path without .ndjson. */
  readonly base: string;
  readonly createdMs: number;
  touchedMs: number;
  /** No more rows come: to be finished once it is durable. */
  retired = false;
  #path = '';
  #handle: FileHandle | null = null;
  #durableBytes = 0;
  #writing: Buffer[] = [];
  #writingBytes = 0;
  #full: Buffer[] = [];
  #fullBytes = 0;
  #chunk: Buffer = NO_BYTES;
  #used = 0;

  constructor(key: string, base: string, nowMs: number) {
    this.key = key;
    this.base = base;
    this.createdMs = nowMs;
    this.touchedMs = nowMs;
  }

  /** Bytes, durable and waiting. */
  get size(): number {
    return this.#durableBytes + this.#writingBytes + this.#fullBytes + this.#used;
  }

  get clean(): boolean {
    return this.#writingBytes === 0 && this.#fullBytes === 0 && this.#used === 0;
  }

  /** Takes a line without its newline, in pieces; returns its bytes. Copied at once: text is a rope that would burden the heap. */
  append(line: Line): number {
    let most = 1;
    for (const piece of line) most += piece.length * 3;
    if (this.#chunk.length - this.#used < most) {
      this.#seal();
      this.#chunk = Buffer.allocUnsafeSlow(Math.max(most, Math.min(Math.max(this.#fullBytes, CHUNK_MIN), CHUNK_MAX)));
    }
    const start = this.#used;
    for (const piece of line) {
      if (typeof piece === 'string') this.#used += this.#chunk.write(piece, this.#used);
      else this.#used += piece.bytes.copy(this.#chunk, this.#used);
    }
    this.#chunk[this.#used++] = NEWLINE;
    return this.#used - start;
  }

  #seal(): void {
    if (this.#used > 0) this.#full.push(this.#chunk.subarray(0, this.#used));
    this.#fullBytes += this.#used;
    this.#chunk = NO_BYTES;
    this.#used = 0;
  }

  get durableBytes(): number {
    return this.#durableBytes;
  }

  /** Makes every line durable that was appended before the call. Throws errors of the disk. */
  async commit(): Promise<void> {
    // What a failed commit left comes first; then what was appended since.
    await this.#write();
    this.#seal();
    this.#writing = this.#full;
    this.#writingBytes = this.#fullBytes;
    this.#full = [];
    this.#fullBytes = 0;
    await this.#write();
  }

  async #write(): Promise<void> {
    if (this.#writingBytes === 0) return;
    const handle = await this.#open();
    await writeWhole(handle, this.#writing, this.#durableBytes);
    await handle.datasync();
    this.#durableBytes += this.#writingBytes;
    this.#writing = [];
    this.#writingBytes = 0;
  }

  async #open(): Promise<FileHandle> {
    if (this.#handle !== null) return this.#handle;
    const folder = dirname(this.base);
    await makeFolder(folder);
    let handle: FileHandle;
    if (this.#path === '') {
      const path = await freePath(this.base, false);
      handle = await open(path + UNFINISHED, 'wx', FILE_MODE);
      this.#path = path;
    } else handle = await open(this.#path + UNFINISHED, constants.O_RDWR | constants.O_CREAT, FILE_MODE);
    try {
      await syncFolder(folder);
    } catch (error) {
      // Descriptors may have run out: one that waits must not hold any.
      await handle.close();
      throw error;
    }
    this.#handle = handle;
    return handle;
  }

  /** Gives the file its name. It must be clean. Throws errors of the disk; may then be called again. */
  async finish(): Promise<void> {
    if (this.#handle !== null) {
      const handle = this.#handle;
      this.#handle = null;
      await handle.close();
    }
    if (this.#path === '') return;
    await rename(this.#path + UNFINISHED, this.#path);
    await syncFolder(dirname(this.#path));
  }

  /** Leaves it unfinished, for the next start to recover. */
  async abandon(): Promise<void> {
    const handle = this.#handle;
    this.#handle = null;
    await handle?.close();
  }
}
