import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Authority } from '../unit/kubernetes/certificates.ts';
import { FakeKubelet, podList } from '../unit/kubernetes/fake-kubelet.ts';
import { until } from './condition.ts';
import { ConfigVolume } from './config-volume.ts';
import { ControlGroup } from './control-group.ts';
import type { Row } from './event-files.ts';
import { RunningAgent } from './running-agent.ts';
import { startTruth } from './truth-program.ts';
import { makeWorkDir, removeWorkDir } from './work-dir.ts';

/** How long the kubelet takes to answer: a container's first events are long over then. */
const KUBELET_MS = 400;
const SAMPLE = 10;

const PROBES = 'probes: {file.open: writes, file.close: off, file.rename: off, file.unlink: off, file.chmod: off}\n';
const POLICIES = `policies:
  - {match: {namespace: "ci-*", podLabels: {app: build}}, file: off}
  - {match: {namespace: load}, all: {sample: ${SAMPLE}}}
`;

let kubelet: FakeKubelet;
let volume: ConfigVolume;
let agent: RunningAgent;
let dir: string;
const pods: unknown[] = [];
const groups: ControlGroup[] = [];

/** A pod of one container: its control group, and what the kubelet says of it. */
function newPod(namespace: string, labels: Record<string, string>): ControlGroup {
  const podUid = randomUUID();
  const group = ControlGroup.container(podUid);
  groups.push(group);
  pods.push({
    metadata: { name: `pod-${pods.length}`, namespace, uid: podUid, labels },
    spec: { containers: [{ name: 'main', image: 'test:1' }] },
    status: {
      phase: 'Running',
      containerStatuses: [{ name: 'main', containerID: `containerd://${group.containerId}`, state: { running: {} } }],
    },
  });
  return group;
}

/** test/truth/pace: so many processes that open so many files each; gives their pids. */
async function herd(group: ControlGroup, processes: number, opens: number): Promise<number[]> {
  const pids: number[] = [];
  const child = startTruth(group, 'pace', { args: ['herd', dir, String(processes), String(opens)] }, (line) => {
    if (line.startsWith('p ')) pids.push(Number(line.slice(2)));
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  expect(code).toBe(0);
  expect(pids).toHaveLength(processes);
  return pids;
}

const opensOf = (rows: readonly Row[]) =>
  rows.filter((row) => row['kind'] === 'file.open' && String(row['file_path']).startsWith(`${dir}/`));
const kinds = (rows: readonly Row[], kind: string) => rows.filter((row) => row['kind'] === kind);

beforeAll(async () => {
  const authority = new Authority();
  kubelet = await FakeKubelet.listen(authority.issue('kubelet', 'IP:127.0.0.1'));
  kubelet.answer = (_request, response) => {
    const answer = podList(pods);
    setTimeout(() => response.end(answer), KUBELET_MS);
  };
  dir = makeWorkDir();
  const token = join(dir, 'token');
  writeFileSync(token, 'secret');
  volume = new ConfigVolume(PROBES + POLICIES);
  const flags = ['--kubelet', kubelet.url, '--kubelet-ca-file', authority.caFile, '--kubelet-token-file', token];
  agent = await RunningAgent.start({ flags: ['--config', volume.file, ...flags] });
});

afterAll(async () => {
  await agent?.stop();
  agent?.clean();
  await kubelet?.close();
  volume?.remove();
  for (const group of groups) group.remove();
  if (dir !== undefined) removeWorkDir(dir);
});

test('a container whose policy is off sends no such event, not even its first ones; others send all', async () => {
  const build = newPod('ci-7', { app: 'build' });
  const shop = newPod('shop', { app: 'build' });
  const other = newPod('ci-7', { app: 'docs' });
  await Promise.all([herd(build, 20, 10), herd(shop, 20, 10), herd(other, 20, 10)]);
  // Known by now: this one is left out in the kernel.
  await until('the pods', () => agent.of(build).some((row) => row['k8s_namespace_name'] === 'ci-7'));
  await herd(build, 20, 10);
  await agent.settle();

  const left = agent.of(build);
  expect(opensOf(left)).toEqual([]);
  expect(kinds(left, 'process.exec').length).toBeGreaterThanOrEqual(42);
  expect(new Set(left.map((row) => row['k8s_namespace_name']))).toEqual(new Set(['ci-7']));
  // Their executable is known although execs alone would not say what opened what.
  expect(opensOf(agent.of(shop))).toHaveLength(200);
  expect(opensOf(agent.of(other))).toHaveLength(200);
});

test('one of ten processes is kept, whole, and the weights add up to what was done', async () => {
  const group = newPod('load', {});
  const processes = 2000;
  const opens = 3;
  const first = await herd(group, processes / 2, opens);
  // The others are judged in the kernel, before any work.
  await until('the pod', () => agent.of(group).some((row) => row['k8s_namespace_name'] === 'load'));
  const pids = new Set([...first, ...(await herd(group, processes / 2, opens))]);
  await agent.settle(60_000);

  const rows = agent.of(group).filter((row) => pids.has(Number(row['process_pid'])));
  const byPid = new Map<number, Row[]>();
  for (const row of rows) {
    const pid = Number(row['process_pid']);
    byPid.set(pid, [...(byPid.get(pid) ?? []), row]);
  }
  for (const [pid, own] of byPid) {
    const told = [opensOf(own).length, kinds(own, 'process.exec').length, kinds(own, 'process.exit').length];
    expect([pid, ...told]).toEqual([pid, opens, 1, 1]);
  }
  expect(new Set(rows.map((row) => row['sample_weight']))).toEqual(new Set([SAMPLE]));
  // 5 standard deviations of a binomial count.
  const bound = 5 * Math.sqrt(processes * (1 / SAMPLE) * (1 - 1 / SAMPLE));
  expect(Math.abs(byPid.size - processes / SAMPLE)).toBeLessThan(bound);
  const weighed = opensOf(rows).reduce((sum, row) => sum + Number(row['sample_weight']), 0);
  expect(Math.abs(weighed - processes * opens)).toBeLessThan(bound * SAMPLE * opens);
});

test('a policy that is taken away or added holds for what runs already', async () => {
  const build = groups[0] as ControlGroup;
  volume.swap(`clusterName: ""\n${PROBES}`);
  await until('the change', () => agent.log.filter((line) => line.includes('is in force')).length === 1);
  await herd(build, 10, 10);
  await agent.settle();
  expect(opensOf(agent.of(build))).toHaveLength(100);

  const execs = kinds(agent.of(build), 'process.exec').length;
  volume.swap(`${PROBES}policies:\n  - {match: {container: main}, process: off}\n`);
  await until('the change', () => agent.log.filter((line) => line.includes('is in force')).length === 2);
  await herd(build, 10, 10);
  await agent.settle();
  expect(kinds(agent.of(build), 'process.exec')).toHaveLength(execs);
  const later = opensOf(agent.of(build)).slice(100);
  expect(later).toHaveLength(100);
  // Their executable is known although its exec was no event.
  for (const row of later) expect(row['process_executable_path']).toMatch(/\/pace$/);
});

test('everything left out is counted', async () => {
  await agent.stop();
  const sum = (counts: Readonly<Record<string, number>>) => Object.values(counts).reduce((a, b) => a + b, 0);
  const ledger = agent.ledger();
  for (const [kind, { seen, emitted, suppressed, lost }] of Object.entries(ledger)) {
    expect(emitted + sum(suppressed) + sum(lost), kind).toBe(seen);
    if (kind !== 'process.fork' && kind !== 'cgroup') expect(kinds(agent.rows(), kind), kind).toHaveLength(emitted);
  }
  // Those of the first container's first processes, which were over before it was known.
  expect(ledger['file.open']?.suppressed['policy']).toBeGreaterThanOrEqual(200);
  expect(ledger['file.open']?.suppressed['filtered']).toBeGreaterThanOrEqual(200);
  expect(ledger['process.exec']?.suppressed['sampled']).toBeGreaterThan(500);
});
