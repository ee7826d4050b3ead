import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { until } from './condition.ts';
import type { Row } from './event-files.ts';
import { OciContainer } from './oci-container.ts';
import { RunningAgent } from './running-agent.ts';

let agent: RunningAgent;

beforeAll(async () => {
  agent = await RunningAgent.start();
});

afterAll(async () => {
  await agent?.stop();
  agent?.clean();
});

/** Reads commands from a fifo for ever: a write to it from outside makes the container's own child. */
const INIT = ['/bin/sh', '-c', 'while :; do read -r mark < /todo && /bin/busybox echo "$mark"; done'];

function fifos(rootfs: string): void {
  execFileSync('mkfifo', [join(rootfs, 'todo'), join(rootfs, 'go')]);
}

function execOf(rows: readonly Row[], mark: string): Row | undefined {
  return rows.find((row) => {
    const args = row['process_command_args'];
    return row['kind'] === 'process.exec' && Array.isArray(args) && args[0] === '/bin/busybox' && args[2] === mark;
  });
}

async function exec(mark: string): Promise<Row> {
  return await until(`the exec with ${mark}`, () => execOf(agent.rows(), mark));
}

test('entry tells what belongs to a container from what was put into it', async () => {
  const first = OciContainer.start({ args: INIT }, fifos);
  let second: OciContainer | undefined;
  try {
    const cgroup = first.cgroupId;
    // The container's own child.
    writeFileSync(join(first.rootfs, 'todo'), 'own-child\n');
    // kubectl exec.
    first.exec('/bin/busybox', 'echo', 'injected');
    // An orphan of one that was put in: waits until its parent is dead, then executes.
    first.exec(
      '/bin/sh',
      '-c',
      '(read -r x < /go; exec /bin/busybox echo orphan) </dev/null >/dev/null 2>&1 & exec /bin/busybox echo parent',
    );
    const parent = await exec('parent');
    await until('the end of the parent', () =>
      agent.rows().find((row) => row['kind'] === 'process.exit' && row['process_pid'] === parent['process_pid']),
    );
    writeFileSync(join(first.rootfs, 'go'), 'go\n');
    // A container that shares the first one's pid namespace: its first process is not pid 1 there.
    second = OciContainer.start({ args: INIT, pidNamespaceOf: first.pid, podUid: first.podUid }, fifos);
    writeFileSync(join(second.rootfs, 'todo'), 'shared-own-child\n');
    second.exec('/bin/busybox', 'echo', 'shared-injected');

    const entries: Record<string, unknown> = {};
    for (const mark of ['injected', 'orphan', 'own-child', 'shared-own-child', 'shared-injected']) {
      const row = await exec(mark);
      entries[mark] = row['entry'];
      const container = mark.startsWith('shared') ? second : first;
      expect(row).toMatchObject({
        container_id: container.id,
        k8s_pod_uid: container.podUid,
        process_linux_cgroup: container.cgroupPath,
      });
    }
    expect(entries).toEqual({
      injected: 'exec',
      orphan: 'exec',
      'own-child': 'init',
      'shared-own-child': 'init',
      'shared-injected': 'exec',
    });
    const orphan = await exec('orphan');
    expect(orphan['process_parent_pid'], 'reparented').toBe(first.pid);

    // The first processes themselves, in each container: in neither is it pid 1's doing.
    for (const container of [first, second]) {
      const init = agent
        .rows()
        .find(
          (row) => row['kind'] === 'process.exec' && row['process_pid'] === container.pid && row['entry'] === 'init',
        );
      expect(init?.['container_id']).toBe(container.id);
      expect(init?.['process_command_args']).toEqual(INIT);
    }
    expect((await exec('shared-own-child'))['process_vpid']).not.toBe(1);
    expect(agent.rows().some((row) => row['cgroup_id'] === cgroup && row['entry'] === 'unknown')).toBe(false);
  } finally {
    second?.remove();
    first.remove();
  }
});
