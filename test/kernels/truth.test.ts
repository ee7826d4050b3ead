import { constants } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseRow, type Row } from '../integration/event-files.ts';
import { bodyOf, isMatcher, matcher } from '../integration/expectation.ts';
import { type Act, buildTruth, parseAct } from '../integration/truth-program.ts';
import { unseenActs } from '../integration/unseen.ts';
import { debianKernel, type Suite } from './debian-kernel.ts';
import { guestScript, productFiles, productFolder } from './product.ts';
import { bootVm } from './vm.ts';

interface Probe {
  readonly kind: string;
  readonly tier: string;
  readonly state: string;
  readonly reason: string;
}

interface Run {
  readonly doctor: { readonly code: number; readonly can_run: boolean; readonly probes: readonly Probe[] };
  readonly ledger: { readonly lost: readonly unknown[] };
  /** Acts by program, in the order in which they were done. */
  readonly acts: ReadonlyMap<string, readonly Act[]>;
  /** Rows of these programs' processes, in the order of the kernel's clock. */
  readonly rows: readonly Row[];
}

const O_CLOEXEC = 0o2000000;
const O_LARGEFILE = 0o100000;

/** What fails before the kernel looks for the file: do_filp_open is not called. Everything else the trampoline sees. */
const unseenByTrampoline = new Set(['efault', 'asked-4096', 'asked-4097', 'asked-8000']);

/** The agent with these capabilities only, where perf events are closed to it, and programs of test/truth. */
async function runTruth(suite: Suite, caps: string, programs: readonly string[]): Promise<Run> {
  const script = guestScript('truth.mjs');
  const truth = { host: join(import.meta.dirname, '..', 'truth', 'build') };
  const vm = await bootVm({
    kernel: await debianKernel(suite),
    files: { ...(await productFiles()), ...script.files, [`${productFolder}/truth`]: truth },
    command: ['node', script.path, JSON.stringify({ paranoid: 3, caps }), ...programs],
    deadlineMs: 300_000,
  });
  expect(vm.exitCode, vm.console.slice(-8000)).toBe(0);
  const acts = new Map<string, Act[]>(programs.map((program) => [program, []]));
  const rows: Row[] = [];
  let ledger: Run['ledger'] = { lost: [{}] };
  let doctor: Run['doctor'] = { code: -1, can_run: false, probes: [] };
  for (const line of vm.stdout.trimEnd().split('\n')) {
    if (line.startsWith('{"row":')) {
      rows.push(parseRow(line.slice('{"row":'.length, -1)));
      continue;
    }
    const thing = JSON.parse(line);
    if (thing.doctor) doctor = thing.doctor;
    else if (thing.ledger) ledger = thing.ledger;
    else acts.get(thing.program)?.push(parseAct(JSON.stringify(thing.act)));
  }
  const time = (row: Row) => BigInt(String(row['time_ns']));
  rows.sort((a, b) => (time(a) < time(b) ? -1 : 1));
  return { doctor, ledger, acts, rows };
}

/** The kernel's own flags and name: O_CLOEXEC is gone from them, io_uring's first try adds O_NONBLOCK. */
function asTrampolineTells(act: Act): Row {
  const changed = constants.O_NONBLOCK | O_CLOEXEC | O_LARGEFILE;
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
function faults(run: Run, program: string, kind: string, unseen: ReadonlySet<string>, more: Row): string[] {
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
    if (more['tier'] === 'trampoline') Object.assign(expected, asTrampolineTells(act));
    for (const [column, value] of Object.entries(expected)) {
      const got = row[column] ?? null;
      if (isMatcher(value) ? value.matches(got, row) : got === (value ?? null)) continue;
      const says = isMatcher(value) ? value.says : JSON.stringify(value);
      found.push(`${act.act}: ${column} is ${JSON.stringify(got)}, not ${says}`);
    }
  }
  return found;
}

const nothing: ReadonlySet<string> = new Set();
const changes = ['file.rename', 'file.unlink', 'file.chmod'];

describe('on 6.12, with BPF and PERFMON only and kernel.perf_event_paranoid 3', () => {
  const programs = ['open', 'failing', 'uring', 'close', 'change', 'tcp'];
  let run: Run;

  beforeAll(async () => {
    buildTruth();
    run = await runTruth('trixie', 'BPF,PERFMON', programs);
  });

  it('the doctor finds every probe on, by a trampoline, a tracker or raw system calls', () => {
    expect(run.doctor).toMatchObject({ code: 0, can_run: true });
    const tiers = Object.fromEntries(run.doctor.probes.map(({ kind, tier, state }) => [kind, `${state} ${tier}`]));
    expect(tiers).toEqual({
      'process.exec': 'on tracker',
      'process.exit': 'on tracker',
      'process.io_uring': 'on raw_syscall',
      'file.open': 'on trampoline',
      'file.close': 'on raw_syscall',
      'file.rename': 'on raw_syscall',
      'file.unlink': 'on raw_syscall',
      'file.chmod': 'on raw_syscall',
      'socket.connect': 'on raw_syscall',
      'socket.accept': 'on raw_syscall',
      'socket.listen': 'on raw_syscall',
      'socket.close': 'on tracker',
    });
  });

  it('was refused perf events: what is on is on without them', () => {
    const close = run.doctor.probes.find(({ kind }) => kind === 'file.close');
    expect(close?.reason).toMatch(/^syscall: EACCES/);
  });

  it.each(['open', 'uring'])(
    'file.open by trampoline tells all of %s, also what no system call tier sees',
    (program) => {
      const tier = 'trampoline';
      expect(faults(run, program, 'file.open', nothing, { tier })).toEqual([]);
    },
  );

  it('file.open by trampoline tells opens that fail, but for those that fail before the file is looked for', () => {
    const done = new Set(run.acts.get('failing')?.map(({ act }) => act));
    expect([...unseenByTrampoline].filter((act) => !done.has(act))).toEqual([]);
    expect(faults(run, 'failing', 'file.open', unseenByTrampoline, { tier: 'trampoline' })).toEqual([]);
  });

  it.each(changes)('raw system calls tell %s, done and failed', (kind) => {
    for (const program of ['change', 'failing']) {
      expect(faults(run, program, kind, nothing, { tier: 'raw_syscall' })).toEqual([]);
    }
  });

  it('raw system calls tell the close of files that were written', () => {
    const unseen = unseenActs('close');
    expect(faults(run, 'close', 'file.close', unseen, { tier: 'raw_syscall' })).toEqual([]);
  });

  it('loses nothing', () => {
    expect(run.ledger.lost).toEqual([]);
  });

  it('raw system calls tell listen and accept', () => {
    for (const kind of ['socket.listen', 'socket.accept']) {
      expect(faults(run, 'tcp', kind, nothing, { tier: 'raw_syscall' })).toEqual([]);
    }
  });
});

describe('on 5.10, the oldest kernel', () => {
  const programs = ['open', 'failing', 'change'];
  let run: Run;

  beforeAll(async () => {
    buildTruth();
    // maps count against RLIMIT_MEMLOCK there
    run = await runTruth('bullseye', 'BPF,PERFMON,SYS_RESOURCE', programs);
  });

  it('every probe is on', () => {
    expect(run.doctor).toMatchObject({ code: 0, can_run: true });
    expect(run.doctor.probes.filter(({ state }) => state !== 'on')).toEqual([]);
  });

  it('file.open tells all opens, done and failed', () => {
    const tier = run.doctor.probes.find(({ kind }) => kind === 'file.open')?.tier;
    expect(tier).toBe('trampoline');
    expect(faults(run, 'open', 'file.open', nothing, { tier })).toEqual([]);
    expect(faults(run, 'failing', 'file.open', unseenByTrampoline, { tier })).toEqual([]);
  });

  it.each(changes)('raw system calls tell %s, done and failed', (kind) => {
    for (const program of ['change', 'failing']) {
      expect(faults(run, program, kind, nothing, { tier: 'raw_syscall' })).toEqual([]);
    }
  });

  it('loses nothing', () => {
    expect(run.ledger.lost).toEqual([]);
  });
});
