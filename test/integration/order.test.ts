import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CGROUP_ROOT, ControlGroup, PODS } from './control-group.ts';
import { RunningAgent } from './running-agent.ts';
import { runTruth } from './truth-program.ts';
import { makeWorkDir, removeWorkDir } from './work-dir.ts';

const CONTAINERS = 200;

let agent: RunningAgent;

beforeAll(async () => {
  agent = await RunningAgent.start();
});

afterAll(async () => {
  await agent?.stop();
  agent?.clean();
});

test('an open right after its cgroup was made, in one that is gone a moment later, carries its container', async () => {
  const group = ControlGroup.host('order');
  const holder = ControlGroup.container(); // makes the folder of pods
  const dir = makeWorkDir();
  const file = join(dir, 'file');
  writeFileSync(file, '');
  try {
    const { acts } = await runTruth(group, 'cgroups', {
      args: [join(CGROUP_ROOT, PODS), file, String(CONTAINERS)],
    });
    const opens = acts.filter((act) => act.act === 'open');
    expect(opens).toHaveLength(CONTAINERS);
    const children = new Set(opens.map((act) => act['child']));
    const rows = (await agent.settle()).filter(
      (row) => row['kind'] === 'file.open' && row['file_path'] === file && children.has(row['process_pid']),
    );
    const told = rows.map((row) => [row['process_pid'], row['k8s_pod_uid'], row['container_id'], row['cgroup_id']]);
    const done = opens.map((act) => [act['child'], act['pod_uid'], act['container_id'], Number(act['cgroup_id'])]);
    const losses = agent.rows().filter((row) => row['kind'] === 'kerntap.loss');
    expect(
      told,
      `losses: ${JSON.stringify(losses.map((row) => [row['loss_reason'], row['loss_kind'], row['loss_total']]))}`,
    ).toEqual(done);
    expect(new Set(rows.map((row) => row['entry']))).toEqual(new Set(['init']));
    expect(rows.filter((row) => row['process_linux_cgroup'] === null)).toEqual([]);
  } finally {
    removeWorkDir(dir);
    holder.remove();
    group.remove();
  }
});
