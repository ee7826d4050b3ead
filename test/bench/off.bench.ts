import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openCore } from '../../src/kernel/core.ts';
import {
  KT_FILE_CHMOD,
  KT_FILE_CLOSE,
  KT_FILE_OPEN,
  KT_FILE_RENAME,
  KT_FILE_UNLINK,
} from '../../src/kernel/layout.gen.ts';
import type { ProgramInfo } from '../../src/kernel/native.ts';
import { loadAddon, nativeBuildDir } from '../../src/kernel/native.ts';
import { PROBES } from '../../src/kernel/probes.ts';
import { KernelTap } from '../../src/kernel/tap.ts';
import { ControlGroup } from '../integration/control-group.ts';

/**
 * What an act costs that nobody wants: its probe off, or a policy `off` for the cgroup that does it, all other default
 * probes on. Beside it the floor: programs that do nothing at the same hooks, which is what the kernel asks for a hook of
 * this tier whatever hangs there. Round after round in the same run; medians over the rounds.
 *
 * First by the clock, then by the kernel's own account of the time in programs (kernel.bpf_stats_enabled, which itself
 * costs a program that does nothing some 30 ns): that is also right on a machine that has other things to do.
 */
const ROUNDS = Number(process.env['ROUNDS'] ?? 21);
/** Runs of an act are short, a millisecond or less, and of so many the quickest counts: what interrupts is not the tap's. */
const RUNS = 60;
const COUNTS = { open: 400, chmod: 400, rename: 100, connect: 30, exec: 4, getppid: 3_000 } as const;
type Act = keyof typeof COUNTS;
const ACTS = Object.keys(COUNTS) as Act[];
/** Events of the tap in one repetition: open + close, two renames, connect + accept + close of either end, exec + exit. */
const EVENTS: Readonly<Record<Act, number>> = { open: 2, chmod: 1, rename: 2, connect: 4, exec: 2, getppid: 1 };

const ALL = PROBES.map(({ kind }) => kind);
const FILES = [KT_FILE_OPEN, KT_FILE_CLOSE, KT_FILE_RENAME, KT_FILE_UNLINK, KT_FILE_CHMOD];

let folder: string;
let floorObject: string;
let group: ControlGroup;
let acts: ChildProcessWithoutNullStreams;
let answers: AsyncIterator<string>;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'kerntap-bench-'));
  const program = join(folder, 'acts');
  execFileSync('cc', ['-static', '-O2', '-o', program, join(import.meta.dirname, 'acts.c')]);
  floorObject = join(folder, 'floor.bpf.o');
  const source = join(import.meta.dirname, 'floor.bpf.c');
  execFileSync('clang', ['-target', 'bpf', '-g', '-O2', '-c', source, '-o', floorObject]);
  group = ControlGroup.host('bench');
  acts = spawn('taskset', ['-c', '1', program], { stdio: ['pipe', 'pipe', 'pipe'] });
  answers = createInterface({ input: acts.stdout })[Symbol.asyncIterator]();
  group.add(acts.pid ?? 0);
});

afterAll(async () => {
  const ended = new Promise((resolve) => acts.once('close', resolve));
  acts.stdin.end();
  await ended;
  group.remove();
  rmSync(folder, { recursive: true, force: true });
});

/** One run: nanoseconds a repetition. */
async function run(act: Act): Promise<number> {
  acts.stdin.write(`${act} ${COUNTS[act]}\n`);
  return Number((await answers.next()).value);
}

async function quickest(measure: () => Promise<number>): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < RUNS; i++) least = Math.min(least, await measure());
  return least;
}

type Programs = () => readonly ProgramInfo[];

/** Programs that do nothing, attached while `during` runs. */
async function withFloor(during: (programs: Programs) => Promise<void>): Promise<void> {
  const addon = loadAddon();
  const { handle } = openCore(addon, { objectDir: nativeBuildDir() });
  try {
    const names = addon.programs(floorObject).map(({ name }) => name);
    addon.load(handle, floorObject, names);
    for (const name of names) addon.attach(handle, name);
    await during(() => addon.programInfo(handle));
  } finally {
    addon.close(handle);
  }
}

async function withTap(
  prepare: (tap: KernelTap) => void,
  during: (programs: Programs) => Promise<void>,
): Promise<void> {
  const tap = KernelTap.open();
  const buffer = new Uint8Array(256 * 1024);
  const drain = setInterval(() => {
    while (tap.drain(buffer) > buffer.length / 2);
  }, 10);
  try {
    prepare(tap);
    await during(() => tap.programInfo());
  } finally {
    clearInterval(drain);
    tap.close();
  }
}

const enable = (tap: KernelTap, kinds: readonly number[]) => {
  for (const status of tap.enable(kinds)) expect(status.state, status.reason).toBe('on');
};

const policyOff = (tap: KernelTap) => {
  tap.setPolicy(BigInt(group.id), { off: ALL, sample: [], n: 1 });
  enable(tap, ALL);
};

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

test('what an act costs that nobody wants', async () => {
  const figures = new Map<string, number[]>();
  const record = (set: string) => async () => {
    for (const act of ACTS) {
      const key = `${set}\t${act}`;
      figures.set(key, [...(figures.get(key) ?? []), await quickest(() => run(act))]);
    }
  };
  for (let round = 0; round < ROUNDS; round++) {
    await record('bare')();
    await withFloor(record('floor: programs that do nothing'));
    await withTap(() => {}, record('every probe off'));
    await withTap((tap) => {
      enable(
        tap,
        ALL.filter((kind) => !FILES.includes(kind)),
      );
    }, record('file.* off, the others on'));
    await withTap(policyOff, record('policy off, every probe on'));
  }
  const of = (set: string, act: Act) => figures.get(`${set}\t${act}`) ?? [];
  console.log(`\nmedians of ${ROUNDS} rounds\n`);
  console.log('| | act | ns | over bare | over the floor | an event |\n|---|---|---|---|---|---|');
  for (const key of figures.keys()) {
    const [set, act] = key.split('\t') as [string, Act];
    // Differences of neighbours: what drifts over the run drifts for both.
    const over = (base: string) => median(of(set, act).map((ns, i) => ns - (of(base, act)[i] ?? Number.NaN)));
    const [bare, floor] = [over('bare'), over('floor: programs that do nothing')];
    const each = [bare, floor, floor / EVENTS[act]].map((ns) => ns.toFixed(0)).join(' | ');
    console.log(`| ${set} | ${act} | ${median(of(set, act)).toFixed(0)} | ${each} |`);
  }
  expect(figures.size).toBe(5 * ACTS.length);
});

const STATS = '/proc/sys/kernel/bpf_stats_enabled';

/** Nanoseconds in programs for one repetition of an act. */
function timeInPrograms(act: Act, programs: Programs): Promise<number> {
  const total = () => programs().reduce((sum, { runTimeNs }) => sum + Number(runTimeNs), 0);
  return quickest(async () => {
    const before = total();
    await run(act);
    return (total() - before) / COUNTS[act];
  });
}

test('what of it is time in the programs', async () => {
  const before = readFileSync(STATS, 'utf8');
  const [nothing, off] = [new Map<Act, number>(), new Map<Act, number>()];
  const record = (into: Map<Act, number>) => async (programs: Programs) => {
    for (const act of ACTS) into.set(act, await timeInPrograms(act, programs));
  };
  writeFileSync(STATS, '1');
  try {
    await withFloor(record(nothing));
    await withTap(policyOff, record(off));
  } finally {
    writeFileSync(STATS, before);
  }
  console.log('\n| policy off | in programs, ns | that do nothing | more, an event |\n|---|---|---|---|');
  const added = (act: Act) => ((off.get(act) ?? Number.NaN) - (nothing.get(act) ?? Number.NaN)) / EVENTS[act];
  for (const act of ACTS) {
    const figures = [off.get(act), nothing.get(act), added(act)].map((ns) => ns?.toFixed(0)).join(' | ');
    console.log(`| ${act} | ${figures} |`);
  }
  // The promise: off costs at most 50 ns an act, above what the hook costs. Sockets are tracked whoever wants them.
  for (const act of ['open', 'chmod', 'rename'] as const) expect(added(act), act).toBeLessThan(100);
});
