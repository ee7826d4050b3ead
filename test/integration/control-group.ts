import { randomBytes, randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

function findMount(): string {
  const line = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .find((mount) => mount.split(' ')[2] === 'cgroup2');
  const dir = line?.split(' ')[1];
  if (dir === undefined) throw new Error('no cgroup v2 hierarchy is mounted');
  return dir;
}

/** Where the v2 hierarchy is mounted. */
export const CGROUP_ROOT = findMount();

/** Below a place of our own, as in a node that is itself in a container: a kubelet clears the pods it does not know. */
export const PODS = '/kerntap-test/kubepods/burstable';

/** A cgroup of the v2 hierarchy, made for a test. */
export class ControlGroup {
  /** From the hierarchy's root, with a leading '/'. */
  readonly path: string;
  readonly dir: string;
  /** The kernel's id: the directory's inode number. */
  readonly id: number;
  readonly podUid: string | null;
  readonly containerId: string | null;

  private constructor(path: string, podUid: string | null, containerId: string | null) {
    this.path = path;
    this.dir = join(CGROUP_ROOT, path);
    mkdirSync(this.dir, { recursive: true });
    this.id = statSync(this.dir).ino;
    this.podUid = podUid;
    this.containerId = containerId;
  }

  /** One that belongs to no container. */
  static host(name: string): ControlGroup {
    return new ControlGroup(`/kerntap-test/${name}-${randomBytes(4).toString('hex')}`, null, null);
  }

  /** One as the kubelet's cgroupfs driver makes it for a container. */
  static container(podUid: string = randomUUID()): ControlGroup {
    const containerId = randomBytes(32).toString('hex');
    return new ControlGroup(`${PODS}/pod${podUid}/${containerId}`, podUid, containerId);
  }

  /** One at a path of the caller's making below the tests' own; what it is said to belong to is the caller's, too. */
  static at(path: string, podUid: string | null = null, containerId: string | null = null): ControlGroup {
    return new ControlGroup(`/kerntap-test${path}`, podUid, containerId);
  }

  get procs(): number[] {
    return readFileSync(join(this.dir, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number);
  }

  add(pid: number): void {
    writeFileSync(join(this.dir, 'cgroup.procs'), String(pid));
  }

  /** Removes it, and its pod's where that is empty. Processes in it keep it: that is the caller's error, and thrown. */
  remove(): void {
    rmdirSync(this.dir);
    if (this.podUid === null) return;
    try {
      rmdirSync(dirname(this.dir));
    } catch {
      // Another container of the pod is there.
    }
  }
}
