/** An agent that is started again on a node where containers run: it knows them before they act. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { BriefContainer } from './brief-container.ts';
import { until } from './condition.ts';
import { KubeletNode } from './kubelet-node.ts';
import { PodObject } from './pod-objects.ts';
import { RunningAgent } from './running-agent.ts';

/** What a kubelet runs at most by default. */
const CONTAINERS = 110;
const AT_ONCE = 10;
/** To read the control groups and their processes, on a machine that does other things as well. */
const PRIME_MS = 1500;

let node: KubeletNode;
const containers: BriefContainer[] = [];

async function startOne(): Promise<void> {
  const container = node.start(node.admit(new PodObject()), { part: 'wait' });
  containers.push(container);
  await container.ready;
}

beforeAll(async () => {
  node = await KubeletNode.open();
  for (let started = 0; started < CONTAINERS; started += AT_ONCE) {
    await Promise.all(Array.from({ length: AT_ONCE }, startOne));
  }
  node.relist();
});

afterAll(async () => {
  for (const container of containers) container.go();
  await Promise.allSettled(containers.map(({ ended }) => ended));
  await node?.close();
});

function logged(agent: RunningAgent, message: string): Record<string, unknown> {
  const line = agent.log.find((text) => text.includes(`"msg":"${message}`));
  if (line === undefined) throw new Error(`the agent did not say: ${message}`);
  return JSON.parse(line) as Record<string, unknown>;
}

it(`${CONTAINERS} containers that run already act the moment the agent is there again`, async () => {
  const before = await RunningAgent.start({ flags: node.flags });
  await before.stop();
  before.clean();
  const agent = await RunningAgent.start({ flags: node.flags });
  try {
    for (const container of containers) container.go();
    const truths = await Promise.all(containers.map(({ ended }) => ended));
    await agent.settle();
    const read = () => node.figures(agent.rows(), truths);
    const { problems, ...figures } = await until('every event', () => read().problems.length === 0 && read()).catch(
      read,
    );
    const { prime_ms, containers: found, cgroups } = logged(agent, 'what runs already is known');
    const { uptime_ms } = logged(agent, 'watching this host');
    console.info(`restart: ${JSON.stringify({ cgroups, found, prime_ms, uptime_ms, ...figures })}`);

    expect(problems).toEqual([]);
    const { events } = figures;
    expect(events).toBeGreaterThanOrEqual(CONTAINERS * 5);
    expect(figures).toMatchObject({ placed: events, named: events, completed: events, containerNamed: events });
    // Not completed later: each row was whole when it left.
    const ids = new Set(containers.map(({ id }) => id));
    const rows = agent.rows().filter((row) => ids.has(String(row['container_id'])));
    expect(rows.length).toBeGreaterThanOrEqual(events);
    expect(rows.filter((row) => row['metadata_state'] !== 'complete' || row['k8s_container_name'] !== 'main')).toEqual(
      [],
    );
    // Their first process was found: what it starts is the container's own.
    const acts = rows.filter((row) => row['existing'] !== true);
    expect(new Set(acts.map((row) => row['entry']))).toEqual(new Set(['init']));
    expect(found).toBeGreaterThanOrEqual(CONTAINERS);
    expect(prime_ms).toBeLessThan(PRIME_MS);
  } finally {
    await agent.stop();
    agent.clean();
  }
});
