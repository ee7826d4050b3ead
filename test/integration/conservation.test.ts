import type { ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from './condition.ts';
import { ControlGroup } from './control-group.ts';
import type { Row } from './event-files.ts';
import { NetworkNamespace } from './network-namespace.ts';
import { type KindBook, RunningAgent } from './running-agent.ts';
import { type Act, parseAct, programPath, runTruth, startTruth } from './truth-program.ts';
import { makeWorkDir, removeWorkDir } from './work-dir.ts';

const CPU = 0;
const OTHER_CPU = 1;
const RING = '65536';
const OPENS = 50_000;
const EXECS = 1_500;
const CONNECTS = 5_000;

interface Helper {
  readonly child: ChildProcess;
  readonly acts: Act[];
}

const groups: ControlGroup[] = [];
let network: NetworkNamespace;
let rows: readonly Row[];
let ledger: Record<string, KindBook>;
/** Acts of this test, by kind, as those who did them counted them. */
const done = new Map<string, number>();

function add(kind: string, acts: number): void {
  done.set(kind, (done.get(kind) ?? 0) + acts);
}

/** Counts what a program said it did, and its own exec and exit. */
function addRun(acts: readonly Act[]): void {
  const said = acts.find((act) => act.act === 'done');
  if (said === undefined) throw new Error('a program did not come to its end');
  const count = Number(said['done']) + Number(said['failed']);
  add(said.kind, count);
  if (said.kind === 'file.open') add('file.close', count);
  if (said.kind === 'process.exec') add('process.exit', count);
  add('process.exec', 1);
  add('process.exit', 1);
}

function group(name: string): ControlGroup {
  const made = ControlGroup.host(name);
  groups.push(made);
  return made;
}

/** Runs until its stdin ends. */
function start(name: string, args: readonly string[], cpu: number): Helper {
  const acts: Act[] = [];
  const child = startTruth(group(name), 'storm', { args, cpu, netns: network.file }, (line) =>
    acts.push(parseAct(line)),
  );
  return { child, acts };
}

async function end({ child, acts }: Helper): Promise<void> {
  child.stdin?.end();
  await until('the end of a helper', () => child.exitCode !== null && acts.some((act) => act.act === 'end'));
  addRun(acts);
}

/** Acts at full speed on one core with a small ring; beside them, on that core, map updates and inbound connections. */
async function storm(...args: string[]): Promise<void> {
  const server = start('serve', ['serve'], OTHER_CPU);
  const port = String(await until('the port', () => server.acts.find((act) => act.act === 'listen')?.['local_port']));
  const helpers = [start('map', ['map'], CPU), start('knock', ['knock', port], CPU)];
  const { acts } = await runTruth(group('storm'), 'storm', {
    args: args.map((arg) => (arg === 'PORT' ? port : arg)),
    cpu: CPU,
    netns: network.file,
    deadlineMs: 100_000,
  });
  addRun(acts);
  for (const helper of [...helpers, server]) await end(helper);
}

function sum(record: Readonly<Record<string, number>>): number {
  return Object.values(record).reduce((total, value) => total + value, 0);
}

/** What loss records say of a kind, by stage and reason. */
function lossesOf(kind: string | null): Record<string, number> {
  const totals: Record<string, number> = {};
  for (const row of rows) {
    if (row['kind'] !== 'kerntap.loss' || row['loss_kind'] !== kind) continue;
    const key = `${String(row['loss_stage'])}.${String(row['loss_reason'])}`;
    totals[key] = (totals[key] ?? 0) + Number(row['loss_count']);
  }
  return totals;
}

beforeAll(async () => {
  network = new NetworkNamespace();
  const agent = await RunningAgent.start({
    // Only writes: this test's own reading is not among them.
    flags: ['--open-mode', 'writes', '--ring-bytes', RING, '--process-ring-bytes', RING],
  });
  const dir = makeWorkDir();
  try {
    const file = join(dir, 'file');
    writeFileSync(file, '');
    await storm('open', file, String(OPENS));
    await storm('exec', programPath('nop'), '6000', String(EXECS));
    await storm('connect', 'PORT', String(CONNECTS));
    await agent.stop();
    rows = agent.rows();
    ledger = agent.ledger();
  } finally {
    removeWorkDir(dir);
    agent.clean();
  }
}, 300_000);

afterAll(() => {
  for (const made of groups) made.remove();
  network?.remove();
});

const KINDS = [
  ['file.open', OPENS],
  ['file.close', OPENS],
  ['process.exec', EXECS],
  ['process.exit', EXECS],
  ['socket.connect', CONNECTS],
  ['socket.accept', CONNECTS],
] as const;

describe.each(KINDS)('%s', (kind, least) => {
  test('delivered and counted losses are all of them, exactly', () => {
    const book = ledger[kind];
    const acts = done.get(kind) ?? 0;
    if (book === undefined) throw new Error(`the ledger has no ${kind}`);
    expect(acts).toBeGreaterThanOrEqual(least);
    const told = rows.filter((row) => row['kind'] === kind);
    const ids = new Set(groups.map((made) => made.id));
    const delivered = told.filter((row) => ids.has(Number(row['cgroup_id']))).length;
    const others = told.filter((row) => row['existing'] === false).length - delivered;
    // A program that serves several kinds cannot say which one it missed.
    const missed =
      (lossesOf(kind)['kernel.kernel_missed'] ?? 0) +
      (kind.startsWith('socket.') ? (lossesOf(null)['kernel.kernel_missed'] ?? 0) : 0);

    // The books: what the kernel saw is delivered, suppressed or lost.
    expect(book.seen).toBe(book.emitted + sum(book.suppressed) + sum(book.lost));
    expect(told.length).toBe(book.emitted);
    const kernelLosses = Object.entries(lossesOf(kind)).filter(([key]) => key !== 'kernel.kernel_missed');
    expect(Object.fromEntries(kernelLosses)).toEqual(
      Object.fromEntries(Object.entries(book.lost).map(([reason, count]) => [`kernel.${reason}`, count])),
    );

    // The truth: of the acts that were done none vanished. Acts of the rest of the machine may be among the losses.
    const counted = delivered + sum(book.lost);
    expect(counted + missed).toBeGreaterThanOrEqual(acts);
    expect(counted).toBeLessThanOrEqual(acts + 10 * others);
    if (missed === 0 && others === 0) expect(counted).toBe(acts);
  });
});

test('the small ring did overflow: the sums above are not of nothing', () => {
  for (const kind of ['file.open', 'process.exec', 'socket.connect']) {
    expect(sum(ledger[kind]?.lost ?? {}), kind).toBeGreaterThan(0);
  }
});
