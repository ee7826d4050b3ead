import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ControlGroup } from './control-group.ts';

const TRUTH_DIR = fileURLToPath(new URL('../truth', import.meta.url));

/** What a program of test/truth says it did: see truth.h. Strings hold bytes, one a character (latin-1). */
export interface Act {
  readonly act: string;
  readonly kind: string;
  readonly pid: number;
  readonly tid: number;
  readonly ppid: number;
  readonly uid: number;
  readonly gid: number;
  readonly euid: number;
  readonly comm: string;
  readonly mnt_ns: number;
  readonly net_ns: number;
  /** Boot clock, ns. */
  readonly t0: bigint;
  readonly t1: bigint;
  /** Wall clock - boot clock, ns. */
  readonly wall_offset: bigint;
  readonly [field: string]: unknown;
}

export interface RunOptions {
  readonly args?: readonly string[];
  readonly cpu?: number;
  /** Network namespace, by its file. */
  readonly netns?: string;
  readonly cwd?: string;
  readonly deadlineMs?: number;
  /** Give stderr to the caller; else it is the test's own. */
  readonly pipeStderr?: boolean;
}

export interface TruthRun {
  readonly acts: readonly Act[];
  readonly code: number;
}

/** Builds the programs. */
export function buildTruth(): void {
  execFileSync('make', ['-s', '-C', TRUTH_DIR], { stdio: ['ignore', 'ignore', 'inherit'] });
}

export function programPath(name: string): string {
  return join(TRUTH_DIR, 'build', name);
}

function bigint(value: unknown): bigint {
  if (typeof value !== 'string' || !/^\d+$/.test(value)) throw new Error(`not a time: ${String(value)}`);
  return BigInt(value);
}

export function parseAct(line: string): Act {
  const value: unknown = JSON.parse(line);
  if (typeof value !== 'object' || value === null) throw new Error(`not an act: ${line}`);
  const fields = value as Record<string, unknown>;
  return {
    ...fields,
    t0: bigint(fields['t0']),
    t1: bigint(fields['t1']),
    wall_offset: bigint(fields['wall_offset']),
  } as Act;
}

function withinArguments(group: ControlGroup, name: string, options: RunOptions): string[] {
  return [
    group.dir,
    ...(options.netns === undefined ? [] : ['-n', options.netns]),
    ...(options.cpu === undefined ? [] : ['-c', String(options.cpu)]),
    '--',
    name.startsWith('/') ? name : programPath(name),
    ...(options.args ?? []),
  ];
}

/** A program that runs until it is told to stop: `child` is its parent `within`; its lines come to `onLine`. */
export function startTruth(
  group: ControlGroup,
  name: string,
  options: RunOptions = {},
  onLine: (line: string) => void = () => {},
): ChildProcess {
  const child = spawn(programPath('within'), withinArguments(group, name, options), {
    cwd: options.cwd ?? '/',
    stdio: ['pipe', 'pipe', options.pipeStderr ? 'pipe' : 'inherit'],
  });
  let rest = '';
  child.stdout?.setEncoding('utf8');
  child.stdout?.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  });
  return child;
}

/** Runs a program born in the cgroup and gives its acts; its own exec and exit are the first and the last. */
export async function runTruth(group: ControlGroup, name: string, options: RunOptions = {}): Promise<TruthRun> {
  const acts: Act[] = [];
  const child = startTruth(group, name, options, (line) => acts.push(parseAct(line)));
  const timer = setTimeout(() => child.kill('SIGKILL'), options.deadlineMs ?? 30_000);
  const code = await new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status, signal) =>
      status === null ? reject(new Error(`${name}: ended by ${signal}`)) : resolve(status),
    );
  });
  clearTimeout(timer);
  if (code === 99) throw new Error(`${name} could not do an act (see stderr)`);
  return { acts, code };
}
