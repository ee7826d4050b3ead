/**
 * The kubelet fails in each way it can while containers come and go. What happens has its place all the same, is held no
 * longer than it may be, and has its name as soon as anybody can tell it.
 *
 * KERNTAP_OUTAGE_S is how long the kubelet is away (default 5, far beyond the hold): `npm run test:outage` makes it 60.
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Faults } from '../pods-server.ts';
import type { BriefTruth } from './brief-container.ts';
import { until } from './condition.ts';
import { KubeletNode } from './kubelet-node.ts';
import { PodObject } from './pod-objects.ts';
import { RunningAgent } from './running-agent.ts';

const OUTAGE_MS = Number(process.env['KERNTAP_OUTAGE_S'] ?? 5) * 1000;
const AT_ONCE = 5;
/** So long the fault lasts beyond the hold's second, where it does not say otherwise. */
const FAULT_MS = 2500;
/** A pause grows to 30 s with failures, and what was missed then is read once more. */
const RECOVERY_MS = 90_000;
/** What the agent may have at most, whatever the kubelet says: rings, and a list of 20 MB in each form it passes. */
const RSS_MB = 360;

let node: KubeletNode;
let agent: RunningAgent;
let metrics = '';
const all: BriefTruth[] = [];

beforeAll(async () => {
  node = await KubeletNode.open();
  agent = await RunningAgent.start({ flags: ['--metrics', '127.0.0.1:0', ...node.flags] });
  const line = agent.log.find((text) => text.includes('"msg":"metrics and health"'));
  metrics = (JSON.parse(line ?? '{}') as { address: string }).address;
});

afterAll(async () => {
  await agent?.stop();
  agent?.clean();
  await node?.close();
});

interface Ready {
  readonly status: 'ok' | 'degraded' | 'failed';
  readonly degraded: readonly { readonly part: string; readonly reason: string }[];
}

async function ready(): Promise<Ready> {
  return (await (await fetch(`http://${metrics}/readyz`)).json()) as Ready;
}

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`http://${metrics}/metrics`)).text();
  const line = text.split('\n').find((each) => each.startsWith(`${name} `));
  if (line === undefined) throw new Error(`no metric ${name}`);
  return Number(line.slice(name.length + 1));
}

function rssMb(field: 'VmRSS' | 'VmHWM'): number {
  const [, kb] = new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${agent.pid}/status`, 'utf8')) ?? [];
  return Math.round(Number(kb) / 1024);
}

/** Containers that come and go, a few at once, from now until `done` says so; gives what they said. */
async function load(done: () => boolean): Promise<BriefTruth[]> {
  const truths: BriefTruth[] = [];
  const lane = async () => {
    do truths.push(await node.run(new PodObject()));
    while (!done());
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  all.push(...truths);
  return truths;
}

/** Until everything that these containers did has its place and its names. */
async function expectWhole(what: string, truths: readonly BriefTruth[]): Promise<void> {
  await agent.settle();
  const read = () => node.figures(agent.rows(), truths);
  const whole = () => {
    const figures = read();
    return figures.problems.length === 0 && figures.containerNamed === figures.events && figures;
  };
  const { problems, ...counts } = await until('every event', whole, RECOVERY_MS).catch(read);
  console.info(`${what}: ${JSON.stringify({ containers: truths.length, ...counts, rssMb: rssMb('VmRSS') })}`);
  const { events, placed, completed, containerNamed } = counts;
  expect(problems).toEqual([]);
  expect(events).toBeGreaterThanOrEqual(truths.length * 5);
  expect({ placed, completed, containerNamed }).toEqual({ placed: events, completed: events, containerNamed: events });
}

/** Healthy once more. */
async function recovered(): Promise<void> {
  await expect.poll(async () => (await ready()).degraded, { timeout: RECOVERY_MS }).toEqual([]);
}

/** While the fault lasts the agent goes on, says what is wrong, and is ready: a NotReady node would help nobody. */
async function told(reason: RegExp): Promise<void> {
  const finding = async () => (await ready()).degraded.find(({ part }) => part === 'kubelet')?.reason ?? '';
  await expect.poll(finding, { timeout: 20_000 }).toMatch(reason);
  expect(await ready()).toMatchObject({ status: 'degraded' });
  expect((await fetch(`http://${metrics}/readyz`)).status).toBe(200);
  expect(await metric('kerntap_kubelet_up')).toBe(0);
}

function after(ms: number): () => boolean {
  const end = performance.now() + ms;
  return () => performance.now() > end;
}

it(`the kubelet is away for ${OUTAGE_MS / 1000} s`, { timeout: OUTAGE_MS + 2 * RECOVERY_MS }, async () => {
  await node.kubelet.stopHttps();
  const [truths] = await Promise.all([load(after(OUTAGE_MS)), told(/ECONNREFUSED|cannot reach|unreachable|connect/i)]);
  const heldNow = await metric('kerntap_hold_bytes');
  expect(heldNow).toBeLessThanOrEqual(16 << 20);
  // Held for its second, and then on its way.
  await agent.settle();
  await until('what was held', () => node.figures(agent.rows(), truths).placed >= truths.length * 5);
  expect(node.figures(agent.rows(), truths).reasons).toEqual({ 'pod not known yet': expect.any(Number) });
  await node.kubelet.startHttps();
  await recovered();
  await expectWhole('away', truths);
});

const REFUSALS: readonly (readonly [string, Faults['https'], RegExp])[] = [
  ['garbage', 'garbage', /not a list of pods|JSON/i],
  ['replies that break off', 'cut', /./],
  ['errors of its own', 'error-500', /500/],
  ['403 before its cache knows the role', 'forbidden', /403/],
];

it.each(REFUSALS)('the kubelet gives %s', { timeout: 2 * RECOVERY_MS }, async (what, fault, reason) => {
  node.kubelet.faults.https = fault;
  const [truths] = await Promise.all([load(after(FAULT_MS)), told(reason)]);
  node.kubelet.faults.https = 'none';
  await recovered();
  await expectWhole(what, truths);
});

it('the kubelet refuses the token once, and takes it then', { timeout: 2 * RECOVERY_MS }, async () => {
  const truths: BriefTruth[] = [];
  for (let i = 0; i < 3; i++) {
    node.kubelet.faults.https = 'unauthorized-once';
    truths.push(...(await load(() => true)));
    await until('the refusal', () => node.kubelet.faults.https === 'none');
  }
  await recovered();
  await expectWhole('401, then 200', truths);
});

it('the kubelet takes 2 s for every reply', { timeout: 2 * RECOVERY_MS }, async () => {
  node.kubelet.faults.delayMs = 2000;
  const expired = await metric('kerntap_hold_released_total{outcome="expired"}');
  const truths = await load(after(2 * FAULT_MS));
  await expect.poll(() => metric('kerntap_hold_released_total{outcome="expired"}')).toBeGreaterThan(expired);
  node.kubelet.faults.delayMs = 0;
  await recovered();
  await expectWhole('slow', truths);
});

it('the kubelet has 500 pods and a list of 20 MB', { timeout: 2 * RECOVERY_MS }, async () => {
  const others = Array.from({ length: 500 }, () => node.admit(new PodObject({ namespace: 'crowd' })));
  node.kubelet.faults.padBytes = Math.ceil(20e6 / node.kubelet.pods().length);
  const truths = await load(after(FAULT_MS));
  await expectWhole('20 MB', truths);
  node.kubelet.faults.padBytes = 0;
  for (const pod of others) node.forget(pod);
});

it('postStart hooks withhold the status of every container for 10 s', { timeout: 2 * RECOVERY_MS }, async () => {
  node.kubelet.faults.withholdStatuses = true;
  const truths = await load(after(10_000));
  await agent.settle();
  await until('every event', () => node.figures(agent.rows(), truths).named >= truths.length * 5);
  // The pod is known, and named, from the start: only which of its containers it is has to wait.
  expect(node.figures(agent.rows(), truths)).toMatchObject({ containerNamed: 0, reasons: {} });
  node.kubelet.faults.withholdStatuses = false;
  await expectWhole('withheld statuses', truths);
});

it('nothing was lost, and memory stayed bounded', async () => {
  await agent.settle();
  const figures = node.figures(agent.rows(), all);
  expect(figures.problems).toEqual([]);
  const peak = rssMb('VmHWM');
  console.info(`all faults: ${all.length} containers, ${figures.events} events, peak RSS ${peak} MB`);
  expect(peak).toBeLessThan(RSS_MB);
  await agent.stop();
  // What a neighbour on this machine does beyond its budget is no container's of this test.
  const lost = Object.entries(agent.ledger()).flatMap(([kind, book]) => {
    return Object.entries(book.lost).filter(([reason, count]) => reason !== 'budget' && count > 0 && kind);
  });
  expect(lost).toEqual([]);
});
