import { mkdir, open, rmdir } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Events are confidential: the group may read them. */
export const FOLDER_MODE = 0o750;
export const FILE_MODE = 0o640;

/** Makes the names in a folder durable. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes one folder; true where it was not there. */
async function makeOne(folder: string): Promise<boolean> {
  try {
    await mkdir(folder, FOLDER_MODE);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

/**
 * Makes a folder and its missing parents, durably. Throws errors of the disk. (mkdir's own `recursive` never returns
 * where the kernel refuses a name with ENOENT, as /proc does: seen with Node 20.20.)
 */
export async function makeFolder(folder: string): Promise<void> {
  let made: boolean;
  try {
    made = await makeOne(folder);
  } catch (error) {
    const parent = dirname(folder);
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT') || parent === folder) throw error;
    await makeFolder(parent);
    made = await makeOne(folder);
  }
  if (!made) return;
  try {
    await syncFolder(dirname(folder));
  } catch (error) {
    // So that the next attempt makes and syncs it again.
    await rmdir(folder).catch(() => {});
    throw error;
  }
}
