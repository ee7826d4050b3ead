import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from './condition.ts';
import { ControlGroup } from './control-group.ts';
import { OwnCollector, SpoolingAgent } from './delivery-processes.ts';
import type { Row } from './event-files.ts';
import { type Open, PacedOpens } from './paced-opens.ts';
import { buildTruth } from './truth-program.ts';
import { makeWorkDir, removeWorkDir } from './work-dir.ts';

const KILLS = 50;
/** Rounds in which there is no collector. */
const AWAY: readonly [number, number] = [15, 30];
const OPENS_PER_SECOND = 500;
const CONFIG = `apiVersion: kerntap.dev/v1alpha1
probes: {process.exec: off, process.exit: off, process.io_uring: off, file.open: writes, file.close: off,
  file.rename: off, file.unlink: off, file.chmod: off, socket.connect: off, socket.accept: off, socket.listen: off,
  socket.close: off}
budgets: {containerEventsPerSecond: 0, nodeEventsPerSecond: 0, cpuCores: 0}
`;
/** Most live so long at most, ms, after all probes are on; the others are killed while they start. */
const LIFE_MS = 2000;
const KILLED_EARLY = 0.15;
/** One batch (1 s), the time until memory goes to the disk without a collector (2 s), and what acknowledgements take. */
const IN_MEMORY_S = 5;
/** Row times are the agent's measure of the wall clock. */
const CLOCKS_NS = 5_000_000n;

const dir = makeWorkDir();
const lives: number[] = [];
let group: ControlGroup;
let opens: readonly Open[];
/** Opens by number, as they arrived: how often, and when they say that they were. */
const arrived = new Map<number, bigint[]>();
/** Wall clock - boot clock. */
let offset: bigint;
let losses: readonly Row[];

const sorted = <Item>(items: readonly Item[], by: (item: Item) => bigint): Item[] =>
  [...items].sort((a, b) => (by(a) < by(b) ? -1 : 1));

beforeAll(async () => {
  buildTruth();
  group = ControlGroup.host('killed');
  // No budgets: what is missing is missing because somebody was killed.
  const config = join(dir, 'kerntap.yaml');
  writeFileSync(config, CONFIG);
  const collector = new OwnCollector(dir);
  await collector.start();
  const agent = () => new SpoolingAgent(dir, collector.address, ['--config', config]);
  // The first of them is on before anything is done: from then on someone has to tell.
  const first = await agent().watching();
  const pace = new PacedOpens(group, join(dir, 'opens'), OPENS_PER_SECOND);
  await pace.more(OPENS_PER_SECOND);
  await first.kill('SIGKILL');
  for (let round = 1; round < KILLS; round++) {
    if (round === AWAY[0]) await collector.stop('SIGKILL');
    if (round === AWAY[1]) await collector.start();
    const life = Math.random() * LIFE_MS;
    const victim = agent();
    const early = Math.random() < KILLED_EARLY;
    if (!early) await victim.watching();
    lives.push(early ? -Math.round(life) : Math.round(life));
    await new Promise((resolve) => setTimeout(resolve, life));
    await victim.kill('SIGKILL');
  }
  const last = await agent().watching();
  await pace.more(OPENS_PER_SECOND);
  opens = await pace.end();
  await until(
    () => `the end of the backlog:\n${last.log.slice(-10).join('\n')}`,
    () => last.log.length > 0 && collector.files.poll().some((row) => pace.numberOf(row) === opens.at(-1)?.number),
    30_000,
  );
  let spooled = -1;
  for (let tries = 0; tries < 100 && spooled !== 0; tries++) {
    const { ledger } = await last.books();
    spooled = ledger.earlierRuns?.spooled ?? 0;
  }
  expect(spooled).toBe(0);
  await last.stop();
  await collector.stop();
  const rows = collector.files.poll();
  losses = rows.filter((row) => row['kind'] === 'kerntap.loss');
  const offsets: bigint[] = [];
  for (const row of rows) {
    const number = pace.numberOf(row);
    const open = number === undefined ? undefined : opens[number];
    if (number === undefined || open === undefined) continue;
    const time = BigInt(String(row['time_ns']));
    arrived.set(number, [...(arrived.get(number) ?? []), time]);
    offsets.push(time - open.t0);
  }
  offset = sorted(offsets, (value) => value)[Math.floor(offsets.length / 2)] ?? 0n;
}, 400_000);

afterAll(() => {
  group?.remove();
  removeWorkDir(dir);
});

interface Told {
  readonly run: string;
  readonly from: bigint;
  readonly to: bigint;
  /** Opens that went with it, and those that it or its successor counted as lost otherwise. */
  readonly killed: number;
  readonly counted: number;
}

function nsOf(time: unknown): bigint {
  const text = String(time);
  return BigInt(Date.parse(`${text.slice(0, 19)}Z`)) * 1_000_000n + BigInt(text.slice(20, 29));
}

/** What is told of each run that was killed; twice, where the one who told it was killed before it was known to be safe. */
function toldRuns(): Told[] {
  const runs = new Map<string, Told>();
  for (const row of losses) {
    if (row['loss_reason'] !== 'blind') continue;
    const run = String(row['loss_run_id']);
    const counts = losses.filter((loss) => loss['loss_run_id'] === run && loss['loss_reason'] === 'killed');
    const of = counts.filter((loss) => loss['loss_kind'] === 'file.open').map((loss) => Number(loss['loss_count']));
    const totals = new Map<string, number>();
    for (const loss of losses) {
      if ((loss['loss_run_id'] ?? loss['agent_run_id']) !== run || loss['loss_stage'] === 'run') continue;
      if (loss['loss_kind'] !== 'file.open') continue;
      const why = `${loss['loss_stage']} ${loss['loss_reason']}`;
      totals.set(why, Math.max(totals.get(why) ?? 0, Number(loss['loss_total'])));
    }
    const before = runs.get(run);
    const to = nsOf(row['loss_last_time']);
    runs.set(run, {
      run,
      from: nsOf(row['loss_first_time']),
      to: before !== undefined && before.to > to ? before.to : to,
      killed: Math.max(0, ...of),
      counted: [...totals.values()].reduce((sum, total) => sum + total, 0),
    });
  }
  return sorted([...runs.values()], ({ from }) => from);
}

describe(`an agent that is killed ${KILLS} times`, () => {
  test('never tells what was not done', () => {
    for (const [number, times] of arrived) {
      const open = opens[number];
      for (const time of times) {
        expect(time - offset, `open ${number}`).toBeGreaterThan((open?.t0 ?? 0n) - CLOCKS_NS);
        expect(time - offset, `open ${number}`).toBeLessThan((open?.t1 ?? 0n) + CLOCKS_NS);
      }
    }
    expect(arrived.size).toBeGreaterThan(opens.length / 10);
  });

  test('and every open that is missing is within a time that is told as blind, or among those told as gone with a run', () => {
    const runs = toldRuns();
    expect(runs.length, `lives ${lives}`).toBeGreaterThan(KILLS / 4);
    const missing = opens.filter(({ number }) => !arrived.has(number));
    expect(missing.length).toBeGreaterThan(0);
    const blind = (t: bigint): boolean => runs.some(({ from, to }) => t > from - CLOCKS_NS && t < to + CLOCKS_NS);
    const told = missing.filter(({ t0 }) => !blind(t0 + offset));
    let gone = 0;
    for (const [i, { run, from, killed, counted }] of runs.entries()) {
      const since = runs[i - 1]?.to ?? 0n;
      const of = told.filter(({ t0 }) => t0 + offset <= from && t0 + offset >= since - CLOCKS_NS);
      gone += of.length;
      expect(of.length, `of run ${run}, lives ${lives}`).toBeLessThanOrEqual(killed + counted);
      // Rings, hold, and batches that nobody had: no more. (What is told counts the rest of the machine, too.)
      expect(of.length, `of run ${run}`).toBeLessThanOrEqual(IN_MEMORY_S * OPENS_PER_SECOND);
    }
    expect(told.length - gone, `lives ${lives}`).toBe(0);
    const claimed = runs.reduce((sum, { killed }) => sum + killed, 0);
    console.log(
      `${opens.length} opens, ${arrived.size} arrived, ${missing.length} missing: ${missing.length - told.length} while ` +
        `blind, ${gone} gone with ${runs.length} runs, which are told to have lost at most ${claimed}`,
    );
  });
});
