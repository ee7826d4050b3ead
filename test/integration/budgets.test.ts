import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { until } from './condition.ts';
import { ConfigVolume } from './config-volume.ts';
import { ControlGroup } from './control-group.ts';
import { RunningAgent } from './running-agent.ts';
import { runTruth, startTruth } from './truth-program.ts';
import { makeWorkDir, removeWorkDir } from './work-dir.ts';

const CEILING = 0.2;
const STORM = 100_000;
/** The agent's use is judged over so long. */
const JUDGED_MS = 6000;
/** No step of the limit for so long: it fits. */
const SETTLED_MS = 4000;

const PROBES = 'probes: {file.open: writes, file.close: off, file.rename: off, file.unlink: off, file.chmod: off}\n';

let volume: ConfigVolume;
let agent: RunningAgent;
let dir: string;
/** The container that opens as fast as it can; its opens, over a million, are only counted. */
let loud: ControlGroup | undefined;
const groups: ControlGroup[] = [];

beforeAll(async () => {
  dir = makeWorkDir();
  volume = new ConfigVolume(`${PROBES}budgets: {cpuCores: ${CEILING}}\n`);
  agent = await RunningAgent.start({
    flags: ['--config', volume.file],
    keep: (row) => row['kind'] !== 'file.open' || loud === undefined || row['cgroup_id'] !== loud.id,
  });
});

afterAll(async () => {
  await agent?.stop();
  agent?.clean();
  volume?.remove();
  for (const group of groups) group.remove();
  if (dir !== undefined) removeWorkDir(dir);
});

/** CPU that a process has used, ms: proc(5), stat fields 14 and 15 in ticks of 10 ms. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

function container(): ControlGroup {
  const group = ControlGroup.container();
  groups.push(group);
  return group;
}

/** A container that opens a file as fast as it can until it is stopped; gives how often it did. */
function noisy(group: ControlGroup) {
  let stopped = false;
  const done = (async () => {
    let opens = 0;
    while (!stopped) {
      const { acts } = await runTruth(group, 'storm', { args: ['open', join(dir, 'token'), String(STORM)] });
      opens += Number(acts.find((act) => act.act === 'done')?.['done'] ?? 0);
    }
    return opens;
  })();
  return async (): Promise<number> => {
    stopped = true;
    return await done;
  };
}

const logged = (text: string) => agent.log.filter((line) => line.includes(text));

test('a container that opens as fast as it can costs no other an exec; the agent stays under its ceiling', async () => {
  loud = container();
  const quiet = container();
  await runTruth(loud, 'sentinel', { args: [join(dir, 'token')] });
  const stop = noisy(loud);
  await until('the ceiling', () => logged('is above its CPU ceiling').length > 0, 60_000);
  // What came before that has to be through: the embedded collector's work counts as the agent's.
  await runTruth(quiet, 'nop');
  const arrived = () => agent.of(quiet).some((row) => row['kind'] === 'process.exec');
  await until('what waited', arrived, 60_000);
  // The limit is lowered step by step, each step told.
  const steps = { told: 0, since: performance.now() };
  const settled = () => {
    const told = logged('CPU ceiling').length;
    if (told !== steps.told) Object.assign(steps, { told, since: performance.now() });
    return performance.now() - steps.since > SETTLED_MS;
  };
  await until('the last step', settled, 60_000);

  const before = { cpu: cpuMs(agent.pid), at: performance.now() };
  const pids: number[] = [];
  const child = startTruth(quiet, 'pace', { args: ['herd', dir, '300', '1'] }, (line) => {
    if (line.startsWith('p ')) pids.push(Number(line.slice(2)));
  });
  await until('the herd', () => child.exitCode !== null && performance.now() - before.at > JUDGED_MS, 60_000);
  const cores = (cpuMs(agent.pid) - before.cpu) / (performance.now() - before.at);
  const opens = await stop();
  await agent.settle(60_000);

  const executed = agent.of(quiet).filter((row) => row['kind'] === 'process.exec');
  const seen = new Set(executed.map((row) => row['process_pid']));
  const lostExecs = agent.rows().filter((row) => row['kind'] === 'kerntap.loss' && row['loss_kind'] === 'process.exec');
  expect(
    pids.filter((pid) => !seen.has(pid)),
    JSON.stringify(lostExecs),
  ).toEqual([]);
  expect(pids).toHaveLength(300);
  // A second of the machine is not a second of the agent's alone: half as much again is the edge.
  expect(cores).toBeLessThan(CEILING * 1.5);

  await agent.stop();
  const book = agent.ledger()['file.open'];
  const told = agent.files.passed;
  expect(book?.lost['budget']).toBeGreaterThan(0);
  // Totals of each stage and reason, as the last loss record of each says: also what a slow disk cost.
  const losses = new Map<string, number>();
  for (const row of agent.rows()) {
    if (row['kind'] !== 'kerntap.loss' || row['loss_kind'] !== 'file.open') continue;
    losses.set(`${row['loss_stage']} ${row['loss_reason']}`, Number(row['loss_total']));
  }
  expect(losses.get('kernel budget')).toBe(book?.lost['budget']);
  // Of the storm nothing vanished; others' opens may be among what was shed.
  const lost = [...losses.values()].reduce((a, b) => a + b, 0);
  expect(told + lost).toBeGreaterThanOrEqual(opens);
  const sum = (counts: Readonly<Record<string, number>> = {}) => Object.values(counts).reduce((a, b) => a + b, 0);
  expect((book?.emitted ?? 0) + sum(book?.suppressed) + sum(book?.lost)).toBe(book?.seen);
  expect(agent.ledger()['process.exec']?.lost).toEqual({});
});
