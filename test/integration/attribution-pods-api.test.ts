/**
 * The kubelet has both of its APIs, and the first fails in each way it can while containers come and go: the other takes
 * over and gives way again, and every event keeps its place and gets its name.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { BriefTruth } from './brief-container.ts';
import { until } from './condition.ts';
import { KubeletNode } from './kubelet-node.ts';
import { PodObject } from './pod-objects.ts';
import { RunningAgent } from './running-agent.ts';

const AT_ONCE = 5;
/** So long a fault lasts: beyond the second for which the Pods API is waited for. */
const FAULT_MS = 2500;
const WHOLE_MS = 60_000;

let node: KubeletNode;
let agent: RunningAgent;
let metrics = '';

beforeAll(async () => {
  node = await KubeletNode.open({ podsApi: true });
  agent = await RunningAgent.start({ flags: ['--metrics', '127.0.0.1:0', ...node.flags] });
  const line = agent.log.find((text) => text.includes('"msg":"metrics and health"'));
  metrics = (JSON.parse(line ?? '{}') as { address: string }).address;
});

afterAll(async () => {
  await agent?.stop();
  agent?.clean();
  await node?.close();
});

async function source(): Promise<string> {
  const { pods } = (await (await fetch(`http://${metrics}/readyz`)).json()) as { pods?: { source: string } };
  return pods?.source ?? '';
}

const isFrom = (name: string) => expect.poll(source, { timeout: WHOLE_MS }).toBe(name);

/** Containers that come and go, a few at once, from now until `done` says so; gives what they said. */
async function load(done: () => boolean): Promise<BriefTruth[]> {
  const truths: BriefTruth[] = [];
  const lane = async () => {
    do truths.push(await node.run(new PodObject()));
    while (!done());
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  return truths;
}

async function expectWhole(what: string, truths: readonly BriefTruth[]): Promise<void> {
  await agent.settle();
  const read = () => node.figures(agent.rows(), truths);
  const whole = () => {
    const figures = read();
    return figures.problems.length === 0 && figures.containerNamed === figures.events && figures;
  };
  const { problems, ...counts } = await until('every event', whole, WHOLE_MS).catch(read);
  console.info(`${what}: ${JSON.stringify({ containers: truths.length, ...counts })}`);
  const { events, placed, completed, containerNamed } = counts;
  expect(problems).toEqual([]);
  expect(events).toBeGreaterThanOrEqual(truths.length * 5);
  expect({ placed, completed, containerNamed }).toEqual({ placed: events, completed: events, containerNamed: events });
}

function after(ms: number): () => boolean {
  const end = performance.now() + ms;
  return () => performance.now() > end;
}

it('names pods by the Pods API alone while it answers', async () => {
  await isFrom('pods-api');
  const reads = node.kubelet.asked.https;
  await expectWhole('in order', await load(after(FAULT_MS)));
  expect(node.kubelet.asked.https).toBe(reads);
});

it('watches again when the kubelet found it too slow, and when a restart replaced the socket', async () => {
  const loading = load(after(FAULT_MS));
  for (let i = 0; i < 3; i++) {
    const { watches } = node.kubelet.asked;
    if (i < 2) node.kubelet.dropWatchers();
    else await node.kubelet.replaceSocket();
    await until('another watch', () => node.kubelet.asked.watches > watches && node.kubelet.watchers > 0, WHOLE_MS);
  }
  await expectWhole('watched again', await loading);
  await isFrom('pods-api');
});

it('reads /pods while the socket is gone, and watches again when it is back', async () => {
  await node.kubelet.stopPodsApi();
  const [truths] = await Promise.all([load(after(FAULT_MS)), isFrom('kubelet')]);
  await expectWhole('socket gone', truths);
  await node.kubelet.startPodsApi();
  await isFrom('pods-api');
  await expectWhole('socket back', await load(() => true));
});

it.each(['not-ready', 'garbage', 'hang', 'internal'] as const)(
  'reads /pods from a kubelet whose Pods API is %s after a restart',
  { timeout: 3 * WHOLE_MS },
  async (fault) => {
    node.kubelet.faults.podsApi = fault;
    await node.kubelet.replaceSocket();
    const [truths] = await Promise.all([load(after(FAULT_MS)), isFrom('kubelet')]);
    await expectWhole(fault, truths);
    node.kubelet.faults.podsApi = 'none';
    await isFrom('pods-api');
  },
);

it('is there when neither answers, and names what happened then by the first that does', async () => {
  await node.kubelet.stopPodsApi();
  await node.kubelet.stopHttps();
  const [truths] = await Promise.all([load(after(FAULT_MS)), isFrom('none')]);
  expect((await fetch(`http://${metrics}/readyz`)).status).toBe(200);
  await node.kubelet.startPodsApi();
  await isFrom('pods-api');
  await expectWhole('neither', truths);
  await node.kubelet.startHttps();
});

it('told of no pod that it is gone: all of them were there throughout', () => {
  const told = agent.rows().filter((row) => row['kind'] === 'kerntap.pod');
  expect(told.length).toBeGreaterThan(20);
  expect(told.filter((row) => row['pod_state'] === 'gone')).toEqual([]);
  expect(new Set(told.map((row) => row['metadata_source']))).toEqual(new Set(['pods-api', 'kubelet']));
});
