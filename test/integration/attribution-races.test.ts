/**
 * Containers that live as short as they can, while the kubelet speaks late of them as it does: the pod is known before
 * its first container, the container's id only after the next look at the runtime.
 */
import { setPriority } from 'node:os';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Figures, lifetimes } from './attribution.ts';
import { type BriefTruth, randomId, systemdPath } from './brief-container.ts';
import { until } from './condition.ts';
import { KubeletNode } from './kubelet-node.ts';
import { PodObject } from './pod-objects.ts';
import { RunningAgent } from './running-agent.ts';

const CONTAINERS = 200;
const AT_ONCE = 20;
/** For the hold to end and the kubelet's next look to be read. */
const WHOLE_MS = 30_000;

let node: KubeletNode;
let agent: RunningAgent;

function run(number: number): Promise<BriefTruth> {
  const pod = new PodObject();
  // Every fifth as the kubelet's systemd driver places it.
  if (number % 5 !== 0) return node.run(pod);
  const id = randomId();
  return node.run(pod, { id, cgroupPath: systemdPath(pod.uid, id) });
}

/** The figures once everything has come: what the hold keeps leaves behind its time, and pods are told when they change. */
async function judged(what: string, truths: readonly BriefTruth[]): Promise<Figures> {
  await agent.settle();
  const read = () => node.figures(agent.rows(), truths);
  const isWhole = ({ problems, events, containerNamed }: Figures) => problems.length === 0 && containerNamed === events;
  const { problems, ...counts } = await until('every event', () => isWhole(read()) && read(), WHOLE_MS).catch(read);
  console.info(`${what}: ${JSON.stringify({ containers: truths.length, lifetimeMs: lifetimes(truths), ...counts })}`);
  expect(problems).toEqual([]);
  return { problems, ...counts };
}

/**
 * What stands in the kubelet's place is in this process, and twenty containers at once want all cores. On a node kubelet
 * and agent have their share of them by their control groups, however many processes others have; here by priority.
 */
function comeFirst(): void {
  try {
    for (const pid of [process.pid, agent.pid]) setPriority(pid, -10);
  } catch {
    // Not permitted: on a machine with cores to spare it answers in time all the same.
  }
}

function expectAttributed({ events, placed, named, completed, containerNamed }: Figures): void {
  // Two execs, an open, a connect and the exit of each.
  expect(events).toBeGreaterThanOrEqual(CONTAINERS * 5);
  expect({ placed, completed, containerNamed }).toEqual({ placed: events, completed: events, containerNamed: events });
  expect(named / events).toBeGreaterThanOrEqual(0.99);
}

describe.each([
  ['HTTPS /pods', false],
  ['the Pods API', true],
])('by %s', (_source, podsApi) => {
  beforeAll(async () => {
    node = await KubeletNode.open({ podsApi });
    agent = await RunningAgent.start({ flags: node.flags });
    comeFirst();
  });

  afterAll(async () => {
    setPriority(0);
    await agent?.stop();
    agent?.clean();
    await node?.close();
  });

  test(`${CONTAINERS} containers one after another, each as short as it can be`, async () => {
    const truths: BriefTruth[] = [];
    for (let i = 0; i < CONTAINERS; i++) truths.push(await run(i));
    expectAttributed(await judged('one after another', truths));
  });

  test(`${CONTAINERS} containers, ${AT_ONCE} at a time`, async () => {
    const truths: BriefTruth[] = [];
    let next = 0;
    const lane = async () => {
      while (next < CONTAINERS) truths.push(await run(next++));
    };
    await Promise.all(Array.from({ length: AT_ONCE }, lane));
    expectAttributed(await judged(`${AT_ONCE} at a time`, truths));
  });
});
