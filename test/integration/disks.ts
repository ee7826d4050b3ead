import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';

const run = (command: string, ...args: string[]): void => {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'] });
};

/** A file system of its own, of a few MiB, that can be filled, broken and frozen. */
export class Disk {
  readonly dir: string;
  #frozen = false;

  private constructor(dir: string) {
    this.dir = dir;
  }

  /** In memory: takes no more than `megabytes`. */
  static tmpfs(dir: string, megabytes: number): Disk {
    mkdirSync(dir);
    run('mount', '-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', dir);
    return new Disk(dir);
  }

  /** ext4 in a file. */
  static loop(dir: string, megabytes: number): Disk {
    const image = join(`${dir}.img`);
    run('truncate', '-s', `${megabytes}M`, image);
    run('mkfs.ext4', '-q', '-m', '0', image);
    mkdirSync(dir);
    run('mount', '-o', 'loop', image, dir);
    return new Disk(dir);
  }

  /** Somebody else's file takes all but so much of it. */
  fill(leftMegabytes: number): void {
    const { bavail, bsize } = statfsSync(this.dir);
    run('fallocate', '--length', String(bavail * bsize - leftMegabytes * (1 << 20)), join(this.dir, 'ballast'));
  }

  /** That file is gone. */
  relieve(): void {
    rmSync(join(this.dir, 'ballast'), { force: true });
  }

  /** ext4: read-only from now on, as after an error of the disk. */
  abort(): void {
    run('mount', '-o', 'remount,abort', this.dir);
  }

  freeze(): void {
    run('fsfreeze', '--freeze', this.dir);
    this.#frozen = true;
  }

  /** Nothing where it is not frozen. */
  thaw(): void {
    if (!this.#frozen) return;
    this.#frozen = false;
    run('fsfreeze', '--unfreeze', this.dir);
  }

  unmount(): void {
    run('umount', '--lazy', this.dir);
  }
}
