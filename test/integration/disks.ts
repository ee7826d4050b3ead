import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

const run = (command: string, ...args: string[]): void => {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'] });
};

/** A file system of its own, of a few MiB, that can be filled, broken and frozen. */
export class Disk {
  readonly dir: string;

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

  /** ext4: read-only from now on, as after an error of the disk. */
  abort(): void {
    run('mount', '-o', 'remount,abort', this.dir);
  }

  freeze(): void {
    run('fsfreeze', '--freeze', this.dir);
  }

  thaw(): void {
    run('fsfreeze', '--unfreeze', this.dir);
  }

  unmount(): void {
    run('umount', '--lazy', this.dir);
  }
}
