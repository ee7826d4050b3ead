import { constants } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { parseRow, type Row } from '../integration/event-files.ts';
import { bodyOf, isMatcher, matcher } from '../integration/expectation.ts';
import { type Act, parseAct } from '../integration/truth-program.ts';
import type { DebianKernel } from './debian-kernel.ts';
import { type Machine, NATIVE } from './machine.ts';
import { guestScript, productFiles, productFolder } from './product.ts';
import { bootVm, type GuestFile } from './vm.ts';

export interface Probe {
  readonly kind: string;
  readonly tier: string;
  readonly state: string;
  readonly reason: string;
}

export interface Run {
  readonly doctor: { readonly code: number; readonly can_run: boolean; readonly probes: readonly Probe[] };
  readonly ledger: { readonly lost: readonly unknown[] };
  /** Acts by program, in the order in which they were done. */
  readonly acts: ReadonlyMap<string, readonly Act[]>;
  /** Rows of these programs' processes, in the order of the kernel's clock. */
  readonly rows: readonly Row[];
  /** Of the other commands. */
  readonly ran: readonly { readonly code: number; readonly stdout: string }[];
  readonly machine: Machine;
}

const O_CLOEXEC = 0o2000000;

/** What fails before the kernel looks for the file: do_filp_open is not called. Everything else the trampoline sees. */
export const unseenByTrampoline = new Set(['efault', 'asked-4096', 'asked-4097', 'asked-8000']);

export interface TruthOptions {
  readonly kernel: DebianKernel;
  /** What the agent may do: it has these alone. */
  readonly caps: string;
  /** Of test/truth, done in this order. */
  readonly programs: readonly string[];
  /** kernel.perf_event_paranoid; 3, the default, closes perf events to the agent. */
  readonly paranoid?: number;
  /** Another machine, and the folders of what was built for it. */
  readonly machine?: Machine;
  /** Other commands of kerntap, tried first: their arguments. */
  readonly commands?: readonly (readonly string[])[];
  /** Further files of the machine. */
  readonly files?: Readonly<Record<string, GuestFile>>;
  readonly built?: { readonly native: string; readonly truth: string };
}

/** Runs the agent and programs of test/truth in a machine. */
export async function runTruth(options: TruthOptions): Promise<Run> {
  const { caps, programs, paranoid = 3, built, commands = [], files = {}, ...vm } = options;
  const script = guestScript('truth.mjs');
  const truth = { host: built?.truth ?? join(import.meta.dirname, '..', 'truth', 'build') };
  const {
    exitCode,
    console: log,
    stdout,
  } = await bootVm({
    ...vm,
    files: { ...(await productFiles(built?.native)), ...script.files, [`${productFolder}/truth`]: truth, ...files },
    command: ['node', script.path, JSON.stringify({ paranoid, caps, commands }), ...programs],
    deadlineMs: 300_000,
  });
  expect(exitCode, log.slice(-8000)).toBe(0);
  const acts = new Map<string, Act[]>(programs.map((program) => [program, []]));
  const rows: Row[] = [];
  const ran: Run['ran'][number][] = [];
  let ledger: Run['ledger'] = { lost: [{}] };
  let doctor: Run['doctor'] = { code: -1, can_run: false, probes: [] };
  for (const line of stdout.trimEnd().split('\n')) {
    if (line.startsWith('{"row":')) {
      rows.push(parseRow(line.slice('{"row":'.length, -1)));
      continue;
    }
    const thing = JSON.parse(line);
    if (thing.doctor) doctor = thing.doctor;
    else if (thing.ledger) ledger = thing.ledger;
    else if (thing.ran) ran.push(thing.ran);
    else acts.get(thing.program)?.push(parseAct(JSON.stringify(thing.act)));
  }
  const time = (row: Row) => BigInt(String(row['time_ns']));
  rows.sort((a, b) => (time(a) < time(b) ? -1 : 1));
  return { doctor, ledger, acts, rows, ran, machine: vm.machine ?? NATIVE };
}

/** The kernel's own flags and name: O_CLOEXEC is gone from them, io_uring's first try adds O_NONBLOCK. */
function asTrampolineTells(act: Act, { largeFile }: Machine): Row {
  const changed = constants.O_NONBLOCK | O_CLOEXEC | largeFile;
  const flags = Number(act['flags']);
  return {
    file_open_flags: matcher(
      `${flags}, but for what the kernel changes`,
      (v) => ((Number(v) ^ flags) & ~changed) === 0,
    ),
    ...(act['path_source'] === 'user' ? { file_path_source: 'kernel_name' } : {}),
  };
}

/** Lays a program's acts of a kind beside the rows of that kind, in order; one line a fault. */
export function faults(run: Run, program: string, kind: string, unseen: ReadonlySet<string>, more: Row): string[] {
  const acts = (run.acts.get(program) ?? []).filter((act) => act.kind === kind && !unseen.has(act.act));
  const exe = `${productFolder}/truth/${program}`;
  const rows = run.rows.filter((row) => row['kind'] === kind && row['process_executable_path'] === exe);
  const found: string[] = [];
  for (let i = 0; i < Math.max(acts.length, rows.length); i++) {
    const [act, row] = [acts[i], rows[i]];
    if (act === undefined || row === undefined) {
      found.push(act ? `missing: ${act.act}` : `extra: ${JSON.stringify(row)}`);
      continue;
    }
    const expected: Record<string, unknown> = { process_pid: act.pid, actor: 'current', ...bodyOf(act), ...more };
    if (more['tier'] === 'trampoline') Object.assign(expected, asTrampolineTells(act, run.machine));
    for (const [column, value] of Object.entries(expected)) {
      const got = row[column] ?? null;
      if (isMatcher(value) ? value.matches(got, row) : got === (value ?? null)) continue;
      const says = isMatcher(value) ? value.says : JSON.stringify(value);
      found.push(`${act.act}: ${column} is ${JSON.stringify(got)}, not ${says}`);
    }
  }
  return found;
}
