import { afterAll, beforeAll, expect, test } from 'vitest';
import { compare, faults } from './comparison.ts';
import { ControlGroup } from './control-group.ts';
import { RunningAgent } from './running-agent.ts';
import { programPath, runTruth } from './truth-program.ts';
import { unseenActs } from './unseen.ts';
import { makeWorkDir, removeWorkDir } from './work-dir.ts';

let agent: RunningAgent;
let group: ControlGroup;

beforeAll(async () => {
  // As in its pod: a container's cgroup of its own.
  group = ControlGroup.container();
  agent = await RunningAgent.start({ group });
});

afterAll(async () => {
  await agent?.stop();
  agent?.clean();
  group?.remove();
});

test('what the agent itself does never appears; whoever else enters its container does, as injected', async () => {
  const dir = makeWorkDir();
  try {
    const { acts } = await runTruth(group, 'open', { args: [dir] });
    await runTruth(group, 'tcp');
    // Several batches written and sent meanwhile: each is file and socket activity of the agent.
    for (let round = 0; round < 3; round++) await agent.settle();

    const own = agent.rows().filter((row) => row['process_pid'] === agent.pid);
    expect(own.filter((row) => /^(file|socket)\./.test(String(row['kind'])) && row['existing'] !== true)).toEqual([]);
    // Its threads are not processes: nothing of its cgroup stands under another pid either.
    const pids = new Set(acts.map((act) => act.pid));
    const opens = agent.of(group).filter((row) => row['kind'] === 'file.open');
    expect(opens.filter((row) => !pids.has(Number(row['process_pid'])))).toEqual([]);

    const run = acts[0]?.pid;
    const rows = agent.of(group).filter((row) => row['process_pid'] === run);
    const context = { group, exe: programPath('open'), entry: 'exec', unseen: unseenActs('open') };
    expect(faults(compare(acts, rows, context))).toEqual([]);
  } finally {
    removeWorkDir(dir);
  }
});

test('an idle agent does not see its own output: its events do not beget events', async () => {
  const before = (await agent.settle()).length;
  const after = await agent.settle();
  // Only this test reads the agent's folder.
  const touching = after
    .slice(before)
    .filter((row) => /^file\./.test(String(row['kind'])) && String(row['file_path']).startsWith(agent.dir))
    .filter((row) => !String(row['file_path']).startsWith(`${agent.dir}/mark-`));
  expect(new Set(touching.map((row) => row['process_pid']))).toEqual(new Set([process.pid]));
});
