import { afterAll, beforeAll, expect, test } from 'vitest';
import { BROKEN_CONFIGS } from '../broken-configs.ts';
import { until } from './condition.ts';
import { ConfigVolume } from './config-volume.ts';
import { ControlGroup } from './control-group.ts';
import type { Row } from './event-files.ts';
import { RunningAgent } from './running-agent.ts';
import { programPath, startTruth } from './truth-program.ts';
import { makeWorkDir, removeWorkDir } from './work-dir.ts';

const TOGGLES = 10;
const OPENS_PER_SECOND = 1000;
const EXECS_PER_SECOND = 500;
/** So much of these rates has to be reached over the whole run: the rest is left to what else the machine does. */
const RATE_FLOOR = 0.9;
/** Opens that are done under each setting. */
const OPENS_EACH = 1000;

// Reads are left out: this test's own, of the collector's files, would be most of the load.
const config = (open: 'writes' | 'off', more = '') =>
  `probes: {file.open: ${open}, file.close: off, file.rename: off, file.unlink: off, file.chmod: off}\n${more}`;

let volume: ConfigVolume;
let agent: RunningAgent;
let dir: string;

beforeAll(async () => {
  volume = new ConfigVolume(config('writes'));
  agent = await RunningAgent.start({ flags: ['--config', volume.file] });
  dir = makeWorkDir();
});

afterAll(async () => {
  await agent?.stop();
  agent?.clean();
  volume?.remove();
  if (dir !== undefined) removeWorkDir(dir);
});

interface Open {
  readonly number: number;
  readonly t0: bigint;
  readonly t1: bigint;
}

/** test/truth/pace in the background: what it did so far. */
function pace(group: ControlGroup) {
  const opens: Open[] = [];
  let execs: { readonly count: number; readonly perSecond: number } | undefined;
  const args = ['acts', dir, String(OPENS_PER_SECOND), String(EXECS_PER_SECOND), programPath('nop')];
  const child = startTruth(group, 'pace', { args }, (line) => {
    const [what, number, t0, t1] = line.split(' ');
    if (what === 'o') opens.push({ number: Number(number), t0: BigInt(t0 ?? 0), t1: BigInt(t1 ?? 0) });
    if (what === 'e') execs = { count: Number(number), perSecond: (Number(number) * 1e9) / Number(t0) };
  });
  return {
    opens,
    more: async (count: number) => {
      const goal = opens.length + count;
      await until(`${goal} opens`, () => opens.length >= goal, 30_000);
    },
    stop: async () => {
      child.stdin?.end();
      return await until('the end of pace', () => execs);
    },
  };
}

function perSecond(opens: readonly Open[]): number {
  const [first, last] = [opens[0], opens.at(-1)];
  return (opens.length * 1e9) / Number((last?.t1 ?? 0n) - (first?.t0 ?? 0n));
}

const timeOf = (row: Row | undefined) => BigInt(String(row?.['time_ns'] ?? -1));
const probeEvents = () =>
  agent.rows().filter((row) => row['kind'] === 'kerntap.probe' && row['probe_kind'] === 'file.open');

/** Difference of wall and boot clock, by the agent's own mark: both tests and events are on this machine. */
function bootNow(): bigint {
  return BigInt(Date.now()) * 1_000_000n - wallOffset;
}
let wallOffset = 0n;

test('ten toggles of file.open under 1,000 opens and 500 execs a second: no exec is missed, opens are there exactly while it is on', async () => {
  const group = ControlGroup.host('reload');
  const load = pace(group);
  await load.more(OPENS_EACH);
  const sample = await until('an open', () =>
    agent.rows().find((row) => row['kind'] === 'file.open' && row['file_path'] === `${dir}/0`),
  );
  const first = load.opens[0];
  // The event's wall time lies within the act's boot times.
  wallOffset = timeOf(sample) - ((first?.t0 ?? 0n) + (first?.t1 ?? 0n)) / 2n;

  /** Boot times between which the state is certain: from the word of it to the next swap. */
  const certain: { on: boolean; from: bigint; to: bigint }[] = [{ on: true, from: first?.t0 ?? 0n, to: 0n }];
  for (let i = 0; i < TOGGLES; i++) {
    const on = i % 2 === 1;
    const last = certain.at(-1);
    if (last !== undefined) last.to = bootNow() - 2_000_000n;
    const told = probeEvents().length;
    volume.swap(config(on ? 'writes' : 'off', `clusterName: ""\n# ${i}\n`));
    const row = await until(
      () => `the word of toggle ${i}; log: ${agent.log.slice(-5).join('\n')}`,
      () => probeEvents()[told],
    );
    expect(row['probe_state']).toBe(on ? 'on' : 'off');
    certain.push({ on, from: timeOf(row) - wallOffset, to: 0n });
    await load.more(OPENS_EACH);
  }
  const end = certain.at(-1);
  if (end !== undefined) end.to = bootNow() - 2_000_000n;
  const execs = await load.stop();
  await agent.settle();
  expect(execs.perSecond).toBeGreaterThan(EXECS_PER_SECOND * RATE_FLOOR);
  expect(perSecond(load.opens)).toBeGreaterThan(OPENS_PER_SECOND * RATE_FLOOR);

  const rows = agent.of(group);
  const executed = rows
    .filter((row) => row['kind'] === 'process.exec' && row['process_executable_path'] === programPath('nop'))
    .map((row) => Number((row['process_command_args'] as string[])[1]));
  expect(execs.count).toBeGreaterThan((TOGGLES * OPENS_EACH * RATE_FLOOR * EXECS_PER_SECOND) / OPENS_PER_SECOND);
  expect(executed).toEqual(Array.from({ length: execs.count }, (_, i) => i));

  const seen = rows.filter((row) => row['kind'] === 'file.open' && String(row['file_path']).startsWith(`${dir}/`));
  const numbers = seen.map((row) => Number(String(row['file_path']).slice(dir.length + 1)));
  expect(new Set(numbers).size).toBe(numbers.length);
  const present = new Set(numbers);
  const wrong: string[] = [];
  let judged = 0;
  for (const { number, t0, t1 } of load.opens) {
    const span = certain.find(({ from, to }) => t0 >= from && t1 <= to);
    if (span === undefined) continue;
    judged++;
    if (present.has(number) !== span.on) wrong.push(`${number} while ${span.on ? 'on' : 'off'}`);
  }
  expect(wrong).toEqual([]);
  // All but what fell between a swap and the word of it.
  expect(judged).toBeGreaterThan(TOGGLES * OPENS_EACH * 0.9);
  const losses = agent.rows().filter((row) => row['kind'] === 'kerntap.loss' && row['loss_kind'] === 'process.exec');
  expect(losses).toEqual([]);
  expect(probeEvents()).toHaveLength(TOGGLES + 1);
  group.remove();
});

const logged = (text: RegExp) => agent.log.filter((line) => text.test(line));

test('a broken file changes nothing and is told once, by key, line and remedy', async () => {
  const told = probeEvents().length;
  volume.swap(`probes:\n  file.open: off\n  file.opn: off\n`);
  await until('the refusal', () => logged(/refused/).length > 0);
  expect(logged(/refused/)).toEqual([
    expect.stringMatching(/kerntap\.yaml:4:3: probes\.file\.opn: unknown key 'file\.opn'; did you mean file\.open\?/),
  ]);
  // Its file.open: off was not taken: the sentinel's open arrives.
  await agent.settle();
  expect(probeEvents()).toHaveLength(told);
});

test('no broken file whatsoever changes anything: each is refused with its key and line', async () => {
  const told = probeEvents().length;
  for (const [what, content, key, line] of BROKEN_CONFIGS) {
    const before = logged(/refused/).length;
    volume.replace(content);
    await until(what, () => logged(/refused/).length > before);
    const said: { config: string } = JSON.parse(logged(/refused/).at(-1) ?? '');
    expect(said.config, what).toContain(`kerntap.yaml:${line}:`);
    expect(said.config, what).toContain(`: ${key}: `);
  }
  await agent.settle();
  expect(probeEvents()).toHaveLength(told);
  expect(logged(/the configuration is in force/).length).toBe(TOGGLES);
});

test('a file that vanished is not all off, and the next one is taken', async () => {
  const told = probeEvents().length;
  volume.empty();
  await until('the refusal', () => logged(/is not there/).length > 0);
  await agent.settle();
  expect(probeEvents()).toHaveLength(told);
  volume.swap(config('off'));
  await until('file.open off', () => probeEvents().at(-1)?.['probe_state'] === 'off');
  volume.swap(config('writes'));
  await until('file.open on', () => probeEvents().at(-1)?.['probe_state'] === 'on');
  await agent.settle();
});
