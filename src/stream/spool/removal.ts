// A spool that nobody will need again: what agents left in its folder, and the folder.

import { readdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isCheckpointName } from './checkpoints.ts';
import { LOCK_FILE, SpoolFolder, SpoolInUse, type TryLock } from './folder.ts';
import { parseSegmentName } from './segment.ts';

export interface Removed {
  readonly segments: number;
  /** Of these segments. */
  readonly bytes: number;
}

const RETRY_MS = 250;

/**
 * Deletes segments, checkpoints and the lock, then the folder. Waits up to `waitMs` for an agent that has it. Resolves to
 * undefined where there is no folder. Rejects where an agent has it still, where something else is in it (which stays), or
 * where the disk refuses.
 */
export async function removeSpool(dir: string, tryLock: TryLock, waitMs: number): Promise<Removed | undefined> {
  if ((await contents(dir)) === undefined) return undefined;
  const folder = await lockWithin(dir, tryLock, waitMs);
  try {
    const names = (await contents(dir)) ?? [];
    const segments = await folder.segments();
    for (const name of names) await rm(join(dir, name), { force: true });
    await rm(join(dir, LOCK_FILE), { force: true });
    await rmdir(dir);
    return { segments: segments.length, bytes: segments.reduce((sum, { bytes }) => sum + bytes, 0) };
  } finally {
    await folder.close();
  }
}

/** Names of what agents wrote; undefined: there is no folder. Rejects where there is anything else in it. */
async function contents(dir: string): Promise<string[] | undefined> {
  const all = await readdir(dir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  const names = all?.filter((name) => name !== LOCK_FILE);
  const foreign = names?.find((name) => parseSegmentName(name) === undefined && !isCheckpointName(name));
  if (foreign !== undefined) throw new Error(`in ${dir} is also ${foreign}, which no agent wrote: nothing was removed`);
  return names;
}

async function lockWithin(dir: string, tryLock: TryLock, waitMs: number): Promise<SpoolFolder> {
  const end = performance.now() + waitMs;
  for (;;) {
    try {
      return await SpoolFolder.open(dir, tryLock);
    } catch (error) {
      if (!(error instanceof SpoolInUse) || performance.now() >= end) throw error;
      await delay(RETRY_MS);
    }
  }
}
