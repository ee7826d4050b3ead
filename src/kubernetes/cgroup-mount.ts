import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** There is no usable cgroup v2 hierarchy; the message says what to do. */
export class CgroupError extends Error {
  override readonly name = 'CgroupError';
}

export interface CgroupMount {
  /** Directory at which the v2 hierarchy is mounted, without a trailing '/'. */
  readonly dir: string;
  /** v1 hierarchies are mounted beside it: containers are seen where the runtime joins the v2 tree (runc >= 1.1). */
  readonly hybrid: boolean;
}

export interface CgroupMountOptions {
  /** A directory inside a cgroup v2 mount; skips the search. */
  readonly dir?: string | undefined;
  /** Default /proc. */
  readonly proc?: string | undefined;
}

/**
 * Finds the cgroup v2 hierarchy by /proc/self/mountinfo (proc(5)); of several mounts the one that shows the most, at
 * the shortest path. Throws CgroupError where there is none: pure cgroup v1, or not mounted here.
 */
export function findCgroupMount(options: CgroupMountOptions = {}): CgroupMount {
  const file = join(options.proc ?? '/proc', 'self/mountinfo');
  let mountinfo = '';
  try {
    mountinfo = readFileSync(file, 'utf8');
  } catch (error) {
    if (options.dir === undefined) throw new CgroupError(`cannot read ${file}: ${reason(error)}`);
  }
  const mounts = parseCgroupMounts(mountinfo);
  const dir = options.dir === undefined ? mounts.v2[0] : options.dir.replace(/(?<=.)\/+$/, '');
  if (dir === undefined) {
    throw new CgroupError(
      mounts.v1 > 0
        ? 'this host mounts cgroup v1 only: containers cannot be told apart by cgroup id. ' +
            'Boot with systemd.unified_cgroup_hierarchy=1, or mount cgroup2 and name it with --cgroup'
        : 'no cgroup v2 file system is mounted here: mount it (in a pod: hostPath /sys/fs/cgroup, read-only), ' +
            'or name it with --cgroup',
    );
  }
  checkIsV2(dir);
  return { dir, hybrid: mounts.v1 > 0 };
}

// Every cgroup of a v2 hierarchy has cgroup.controllers, the root included; no v1 cgroup has it (cgroup-v2.rst).
function checkIsV2(dir: string): void {
  try {
    if (statSync(join(dir, 'cgroup.controllers')).isFile()) return;
  } catch (error) {
    throw new CgroupError(`${dir} is not a cgroup v2 directory: cgroup.controllers: ${reason(error)}`);
  }
  throw new CgroupError(`${dir} is not a cgroup v2 directory: cgroup.controllers is not a file`);
}

/** Mount points of cgroup2, best first, and the number of v1 mounts. Lines that do not parse are passed over. */
export function parseCgroupMounts(mountinfo: string): { v2: string[]; v1: number } {
  const v2: { root: string; dir: string }[] = [];
  let v1 = 0;
  for (const line of mountinfo.split('\n')) {
    const [before, after] = line.split(' - ');
    const type = after?.split(' ')[0];
    const fields = before?.split(' ') ?? [];
    const root = fields[3];
    const dir = fields[4];
    if (root === undefined || dir === undefined) continue;
    if (type === 'cgroup') v1++;
    if (type === 'cgroup2') v2.push({ root: unescapeOctal(root), dir: unescapeOctal(dir) });
  }
  v2.sort((a, b) => a.root.length - b.root.length || a.dir.length - b.dir.length);
  return { v2: v2.map((mount) => mount.dir), v1 };
}

// mountinfo writes space, tab, newline and backslash as \ooo.
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_all, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
