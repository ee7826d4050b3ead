import { readdirSync, readFileSync, statSync } from 'node:fs';
import { childPath, type Placement, placeCgroup } from './placement.ts';

/** A cgroup as found by the walk at start; its id is the inode number of its directory. */
export interface FoundCgroup extends Placement {
  /** 0n: the root of the walk. */
  readonly parentId: bigint;
}

export interface CgroupWalk {
  readonly cgroups: readonly FoundCgroup[];
  /** Directories left out: over the limit, or not readable. Cgroups that vanished meanwhile are no loss. */
  readonly skipped: number;
}

/** As many as the workload table holds. */
export const MAX_CGROUPS = 65_536;

/**
 * Walks the cgroup v2 hierarchy that is mounted at `dir`, parents before children. Synchronous: about 20 us a cgroup,
 * once. To miss none, attach the cgroup tracepoints first. The inode number equals the kernel's cgroup id where inode
 * numbers have 64 bits: x86-64 and arm64.
 */
export function walkCgroups(dir: string, maxCgroups = MAX_CGROUPS): CgroupWalk {
  const top = Buffer.from(dir);
  const cgroups: FoundCgroup[] = [
    { ...placeCgroup(statSync(dir, { bigint: true }).ino, '/', undefined), parentId: 0n },
  ];
  // Names are bytes and need not be UTF-8: directories are opened by these, the text in a placement is for people.
  const directories: Buffer[] = [top];
  let skipped = 0;
  for (let i = 0; i < cgroups.length; i++) {
    const parent = cgroups[i];
    const directory = directories[i];
    if (parent === undefined || directory === undefined) break;
    try {
      for (const name of subdirectories(directory)) {
        if (cgroups.length >= maxCgroups) {
          skipped++;
          continue;
        }
        const child = Buffer.concat([directory, SLASH, name]);
        const id = inodeOf(child);
        if (id === undefined) continue;
        cgroups.push({ ...placeCgroup(id, childPath(parent, name.toString()), parent), parentId: parent.id });
        directories.push(child);
      }
    } catch {
      skipped++;
    }
  }
  return { cgroups, skipped };
}

const SLASH = Buffer.from('/');
const PROCS = Buffer.from('/cgroup.procs');

/**
 * Thread group ids of all processes in a container's cgroup and its sub-groups, in the reader's pid namespace. Empty
 * where the list would not be whole: a process that this namespace does not show (cgroup.procs says 0), a sub-group
 * that is not readable, too many of them.
 */
export function containerTgids(dir: string, containerPath: string, maxCgroups = 256): number[] {
  const tgids: number[] = [];
  const directories = [Buffer.from(dir + containerPath)];
  try {
    for (const directory of directories) {
      tgids.push(...processesIn(directory));
      for (const name of subdirectories(directory)) directories.push(Buffer.concat([directory, SLASH, name]));
      if (directories.length > maxCgroups) return [];
    }
  } catch {
    return [];
  }
  return tgids.includes(0) ? [] : tgids;
}

function processesIn(directory: Buffer): number[] {
  try {
    const lines = readFileSync(Buffer.concat([directory, PROCS]), 'latin1').split('\n');
    return lines.filter((line) => line !== '').map(Number);
  } catch (error) {
    // A threaded cgroup: its processes are listed above it.
    if (isGone(error) || (error as NodeJS.ErrnoException).code === 'EOPNOTSUPP') return [];
    throw error;
  }
}

/** Throws where it is not readable; a directory that vanished has none. */
function subdirectories(directory: Buffer): Buffer[] {
  try {
    const entries = readdirSync(directory, { withFileTypes: true, encoding: 'buffer' });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

function inodeOf(path: Buffer): bigint | undefined {
  try {
    return statSync(path, { bigint: true }).ino;
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

function isGone(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOENT' || code === 'ENODEV';
}
