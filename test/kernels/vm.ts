import { execFile, spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, posix } from 'node:path';
import { promisify } from 'node:util';
import { type ArchiveEntry, DIRECTORY, PLAIN_FILE, PROGRAM, writeCpio } from './cpio.ts';
import type { DebianKernel } from './debian-kernel.ts';
import { type Machine, NATIVE } from './machine.ts';

const run = promisify(execFile);
const guestSources = join(import.meta.dirname, 'guest');
let installed: Promise<unknown> | undefined;

/** A file of the machine: a host path (a folder is copied whole), or its text. */
export type GuestFile = { readonly host: string } | { readonly text: string };

export interface VmOptions {
  readonly kernel: DebianKernel;
  /** Default: this machine's architecture. */
  readonly machine?: Machine;
  /** Absolute path in the machine -> content. Shared libraries of programs among them come along by themselves. */
  readonly files?: Readonly<Record<string, GuestFile>>;
  /** argv of the one command; `node` and `with-caps` are there. */
  readonly command: readonly string[];
  /** Upper bound from boot to power-off. Default 120 s. */
  readonly deadlineMs?: number;
  readonly memoryMiB?: number;
  /** Added to the kernel's command line. */
  readonly append?: string;
}

export interface VmResult {
  readonly stdout: string;
  /** Kernel log and the command's stderr. */
  readonly console: string;
  /** As a shell says it: 128 + n where signal n ended the command. */
  readonly exitCode: number;
  /** Wall clock from QEMU's start to its end. */
  readonly seconds: number;
}

/**
 * Boots a kernel by QEMU without KVM (2 CPUs, no disk, no network card), runs one command in it as root, and powers off.
 * Throws with the end of console and stdout where the machine does not finish in time or dies before the command ends.
 */
export async function bootVm(options: VmOptions): Promise<VmResult> {
  installed ??= run(join(import.meta.dirname, 'setup.sh'));
  await installed;
  const folder = await mkdtemp(join(tmpdir(), 'kerntap-vm-'));
  try {
    const initrd = join(folder, 'initrd');
    await writeCpio(initrd, await archive(folder, options));
    const seconds = await qemu(folder, initrd, options);
    const [console_, stdout, result] = await Promise.all(
      ['console', 'stdout', 'result'].map((port) => readFile(join(folder, port), 'utf8').catch(() => '')),
    );
    const exitCode = /^\d+$/m.exec(result ?? '')?.[0];
    if (exitCode === undefined) {
      throw new Error(
        `${options.kernel.release}: no exit status after ${seconds.toFixed(1)} s:\n${tail(console_ ?? '')}`,
      );
    }
    return { stdout: stdout ?? '', console: console_ ?? '', exitCode: Number(exitCode), seconds };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const tail = (text: string) => text.slice(-4000);

/** A kernel that stands still for a minute says where each core is, and ends the machine. */
const STANDSTILL = 'softlockup_panic=1 watchdog_thresh=30 sysctl.kernel.softlockup_all_cpu_backtrace=1';

async function qemu(folder: string, initrd: string, options: VmOptions): Promise<number> {
  const { machine: { qemu, serial, ports, append } = NATIVE } = options;
  const [command = '', ...board] = qemu;
  const fixed = `console=${ports[0]} quiet loglevel=4 panic=-1 ${STANDSTILL} rdinit=/init ${append}`;
  const argv = [
    ...board,
    ...['-accel', 'tcg,thread=multi', '-smp', '2', '-m', `${options.memoryMiB ?? 1024}M`],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...serial([join(folder, 'console'), join(folder, 'stdout'), join(folder, 'result')]),
    ...['-kernel', options.kernel.image, '-initrd', initrd, '-append', `${fixed} ${options.append ?? ''}`],
  ];
  const deadlineMs = options.deadlineMs ?? 120_000;
  const start = performance.now();
  const machine = spawn(command, argv, { stdio: ['ignore', 'ignore', 'pipe'] });
  let complaint = '';
  machine.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint = tail(complaint + text);
  });
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    machine.kill('SIGKILL');
  }, deadlineMs);
  const status = await new Promise<number | null>((resolve, reject) => {
    machine.once('error', reject).once('close', resolve);
  }).finally(() => clearTimeout(timer));
  if (late || status !== 0) {
    const read = (port: string) => readFile(join(folder, port), 'utf8').catch(() => '');
    const log = `${tail(await read('console'))}\nstdout:\n${tail(await read('stdout'))}`;
    const what = late ? `not finished within ${deadlineMs / 1000} s` : `qemu ended with status ${status}`;
    throw new Error(`${options.kernel.release}: ${what}\n${complaint}${log}`);
  }
  return (performance.now() - start) / 1000;
}

/** Everything that the machine holds, parents before children. */
async function archive(folder: string, options: VmOptions): Promise<ArchiveEntry[]> {
  const { machine = NATIVE } = options;
  const init = join(folder, 'init');
  const withCaps = join(folder, 'with-caps');
  await Promise.all([compile(machine, 'init.c', init), compile(machine, 'with-caps.c', withCaps)]);
  const files = new Map<string, ArchiveEntry>();
  const add = (path: string, mode: number, content: Exclude<ArchiveEntry['content'], undefined>) =>
    files.set(path, { path: path.slice(1), mode, content });

  add('/init', PROGRAM, { file: init });
  add('/run.argv', PLAIN_FILE, Buffer.from(options.command.map((word) => `${word}\0`).join('')));
  add('/etc/passwd', PLAIN_FILE, Buffer.from('root:x:0:0:root:/tmp:/bin/sh\n'));
  add('/usr/bin/with-caps', PROGRAM, { file: withCaps });
  const programs: string[] = [];
  add('/usr/bin/node', PROGRAM, { file: machine.node });
  for (const [path, file] of Object.entries(options.files ?? {})) {
    if ('text' in file) {
      add(path, PLAIN_FILE, Buffer.from(file.text));
      continue;
    }
    for await (const { relative, host, mode } of walk(file.host)) {
      add(posix.join(path, relative), mode & constants.S_IXUSR ? PROGRAM : PLAIN_FILE, { file: host });
      if (mode & constants.S_IXUSR || host.endsWith('.node')) programs.push(host);
    }
  }
  for (const [path, file] of await machine.libraries(programs)) add(path, PROGRAM, { file });

  const folders = new Set<string>(['/dev', '/proc', '/sys', '/tmp']);
  for (const path of files.keys()) {
    for (let parent = posix.dirname(path); parent !== '/'; parent = posix.dirname(parent)) folders.add(parent);
  }
  return [...[...folders].sort().map((path) => ({ path: path.slice(1), mode: DIRECTORY })), ...files.values()];
}

const compile = ({ cc: [cc = '', ...flags], ports }: Machine, source: string, target: string) => {
  const names = ['CONSOLE', 'STDOUT', 'RESULT'].map((name, i) => `-D${name}="/dev/${ports[i]}"`);
  const warnings = ['-Wall', '-Wextra', '-Werror'];
  return run(cc, [...flags, '-static', '-O2', ...warnings, ...names, '-o', target, join(guestSources, source)]);
};

interface HostFile {
  readonly relative: string;
  readonly host: string;
  readonly mode: number;
}

async function* walk(host: string, relative = ''): AsyncGenerator<HostFile> {
  const { mode } = await stat(host);
  if ((mode & constants.S_IFMT) !== constants.S_IFDIR) {
    yield { relative, host, mode };
    return;
  }
  for (const name of await readdir(host)) yield* walk(join(host, name), posix.join(relative, name));
}
