import { execFile } from 'node:child_process';
import { realpath } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** What a machine of one architecture is made of. */
export interface Machine {
  /** QEMU and its board. */
  readonly qemu: readonly string[];
  /** QEMU's flags for three serial ports that are written to these files. */
  readonly serial: (files: readonly [console: string, stdout: string, result: string]) => string[];
  /** Their names in the machine. */
  readonly ports: readonly [console: string, stdout: string, result: string];
  /** Added to the kernel's command line. */
  readonly append: string;
  /** C compiler for it, with its flags. */
  readonly cc: readonly string[];
  /** O_LARGEFILE, which is not the same everywhere. */
  readonly largeFile: number;
  /** Its Node. */
  readonly node: string;
  /** What the dynamic loader needs for these programs: path in the machine -> file of the host. */
  readonly libraries: (programs: readonly string[]) => Promise<ReadonlyMap<string, string>>;
}

/** As this machine is. */
export const NATIVE: Machine = {
  qemu: ['qemu-system-x86_64', '-cpu', 'max'],
  serial: (files) => files.flatMap((file) => ['-serial', `file:${file}`]),
  ports: ['ttyS0', 'ttyS1', 'ttyS2'],
  append: 'tsc=unstable',
  cc: ['gcc'],
  largeFile: 0o100000,
  node: process.execPath,
  libraries: async (programs) => {
    const libraries = new Map<string, string>();
    for (const program of [...programs, await realpath(process.execPath)]) {
      // ldd fails for static programs and scripts: nothing to bring
      const { stdout } = await run('ldd', [program]).catch(() => ({ stdout: '' }));
      for (const line of stdout.split('\n')) {
        const path = /(?:=> |^\s+)(\/\S+) \(0x/.exec(line)?.[1];
        if (path === undefined) continue;
        const real = join(await realpath(dirname(path)).then(() => dirname(path)), posix.basename(path));
        libraries.set(real, real);
      }
    }
    return libraries;
  },
};
