import { access, type FileHandle, open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { FILE_MODE, makeFolder, syncFolder } from './durable-folder.ts';

/** Files that are still written end in this. */
export const UNFINISHED = '.tmp';

const SUFFIX = '.ndjson';

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

/**
 * One file of rows while it grows. Rows gather in memory until `commit`, which alone touches the disk; a commit that
 * failed is repeated whole, at the same place, because after a failed fsync the kernel may have dropped what was
 * written.
 */
export class EventFile {
  /** Where it belongs: rows of one kind, hour, node and run share a key. */
  readonly key: string;
  /** Path without .ndjson. */
  readonly base: string;
  readonly createdMs: number;
  touchedMs: number;
  /** No more rows come: to be finished once it is durable. */
  retired = false;
  #path = '';
  #named = false;
  #handle: FileHandle | null = null;
  #durableBytes = 0;
  #writing: Buffer | null = null;
  #lines: string[] = [];
  #lineChars = 0;

  constructor(key: string, base: string, nowMs: number) {
    this.key = key;
    this.base = base;
    this.createdMs = nowMs;
    this.touchedMs = nowMs;
  }

  /** Bytes durable and waiting (of the latter, as many as characters). */
  get size(): number {
    return this.#durableBytes + (this.#writing?.length ?? 0) + this.#lineChars;
  }

  get clean(): boolean {
    return this.#writing === null && this.#lines.length === 0;
  }

  /** Takes a line without its newline. */
  append(line: string): void {
    this.#lines.push(line, '\n');
    this.#lineChars += line.length + 1;
  }

  /** Makes every line durable that was appended before the call. Returns the bytes written. Throws errors of the disk. */
  async commit(): Promise<number> {
    let written = 0;
    // A failed commit's bytes come first; then what was appended since.
    while (!this.clean) {
      const again = this.#writing !== null;
      if (this.#writing === null) {
        this.#writing = Buffer.from(this.#lines.join(''));
        this.#lines = [];
        this.#lineChars = 0;
      }
      const handle = await this.#open();
      for (let at = 0; at < this.#writing.length; ) {
        const { bytesWritten } = await handle.write(this.#writing, at, undefined, this.#durableBytes + at);
        at += bytesWritten;
      }
      await handle.datasync();
      this.#durableBytes += this.#writing.length;
      written += this.#writing.length;
      this.#writing = null;
      if (!again) break;
    }
    return written;
  }

  async #open(): Promise<FileHandle> {
    const folder = dirname(this.base);
    if (this.#handle === null) {
      await makeFolder(folder);
      this.#path = await freePath(this.base, false);
      this.#handle = await open(this.#path + UNFINISHED, 'wx', FILE_MODE);
    }
    if (!this.#named) {
      await syncFolder(folder);
      this.#named = true;
    }
    return this.#handle;
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
