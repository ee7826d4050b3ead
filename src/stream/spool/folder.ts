// The spool's folder: its owner's alone, one living agent at a time.

import { type FileHandle, mkdir, open, readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { parseSegmentName } from './segment.ts';

/** flock(2), exclusive and without waiting; false: another process has it. Dropped by the kernel with the process. */
export type TryLock = (fd: number) => boolean;

export const LOCK_FILE = 'lock';

/** Another process has the folder. */
export class SpoolInUse extends Error {
  override name = 'SpoolInUse';
}

export interface FoundSegment {
  readonly number: number;
  readonly run: string;
  readonly path: string;
  readonly bytes: number;
}

export class SpoolFolder {
  readonly dir: string;
  private readonly lock: FileHandle;

  private constructor(dir: string, lock: FileHandle) {
    this.dir = dir;
    this.lock = lock;
  }

  /** Makes the folder where it is missing, and locks it. Rejects where that cannot be, also where another has it. */
  static async open(dir: string, tryLock: TryLock): Promise<SpoolFolder> {
    await makeFolder(dir);
    const lock = await open(join(dir, LOCK_FILE), 'w', 0o600);
    let locked = false;
    try {
      locked = tryLock(lock.fd);
    } finally {
      if (!locked) await lock.close();
    }
    if (!locked) throw new SpoolInUse(`another agent uses ${dir}`);
    return new SpoolFolder(dir, lock);
  }

  /** Segments that are there, oldest first. */
  async segments(): Promise<FoundSegment[]> {
    const found: FoundSegment[] = [];
    for (const name of await readdir(this.dir)) {
      const parsed = parseSegmentName(name);
      if (parsed === undefined) continue;
      const path = join(this.dir, name);
      found.push({ ...parsed, path, bytes: (await stat(path)).size });
    }
    return found.sort((a, b) => a.number - b.number);
  }

  async close(): Promise<void> {
    await this.lock.close();
  }
}

// Node's own recursive mkdir does not end where a folder that is there takes no new one (/proc).
async function makeFolder(dir: string): Promise<void> {
  try {
    await mkdir(dir, { mode: 0o700 });
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : '';
    if (code === 'EEXIST') return;
    if (code !== 'ENOENT' || (await exists(dirname(dir)))) throw error;
    await makeFolder(dirname(dir));
    await mkdir(dir, { mode: 0o700 });
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
