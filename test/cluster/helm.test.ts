import { existsSync, readdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster, type ClusterNode, type KubeObject, testContainer, testPod } from './cluster.ts';
import { CHART, editConfig, hasten, heldByContainer, helm, imageValues, inKernel, install, RELEASE } from './helm.ts';
import { collected, logged, type Product, podsOf, type Row, tailed } from './product.ts';

const SLOW_MS = 180_000;
const SECRET = '/var/run/secrets/kubernetes.io/serviceaccount';

/** On the node; an agent that was started by hand has them too. */
const FOLDERS = ['/run/kerntap', '/var/lib/kerntap'];
const entriesOf = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder) : []);
const foldersBefore = FOLDERS.map(entriesOf);

let cluster: Cluster;
let node: ClusterNode;
let namespace: string;
let product: Product;
let workload: KubeObject;
let agent: KubeObject;

beforeAll(async () => {
  cluster = await Cluster.open();
  [node] = (await cluster.nodes()) as [ClusterNode];
  cluster.loadTestImage();
  namespace = await cluster.namespace('kerntap-chart');
  // Again and again, each time with the next number: a file made, a secret read, an exec, a connection.
  const acts = `i=0; while :; do i=$((i+1)); echo $i >/act-$i; read -r token <${SECRET}/token; /bin/true act-$i
    nc -w 1 "$KUBERNETES_SERVICE_HOST" "$KUBERNETES_SERVICE_PORT" </dev/null; sleep 0.5; done`;
  await cluster.apply(
    testPod(namespace, 'busy', { labels: { app: 'busy' }, containers: [testContainer('main', ['sh', '-c', acts])] }),
  );
});

afterAll(async () => {
  await helm('uninstall', RELEASE, '-n', namespace, '--ignore-not-found').catch(() => {});
  await cluster?.close();
});

const ofWorkload = (row: Row) => row['k8s_pod_uid'] === workload.metadata.uid;
// Its sandbox has a container too, of no name.
const isComplete = (kind: string, row: Row) =>
  row['kind'] === kind &&
  workload.status.containerStatuses[0].containerID.endsWith(row['container_id']) &&
  row['metadata_state'] === 'complete';

async function agentPod(): Promise<KubeObject> {
  const pods = await podsOf(product, product.agent);
  return pods.find(({ spec }) => spec.nodeName === workload.spec.nodeName);
}

describe('helm install with the defaults', () => {
  it('becomes ready', async () => {
    product = await install(cluster, namespace);
    workload = await cluster.runningPod(namespace, 'busy');
    agent = await agentPod();
    expect(agent.status.containerStatuses).toMatchObject([{ name: 'agent', ready: true, restartCount: 0 }]);
    const daemonSet = await cluster.get('daemonset', RELEASE, namespace);
    expect(daemonSet.status.numberReady).toBe(daemonSet.status.desiredNumberScheduled);
  });

  it('passes helm test', async () => {
    expect(await helm('test', RELEASE, '-n', namespace, '--timeout', '3m')).toMatch(/Phase:\s+Succeeded/);
  });

  it.each(['process.exec', 'file.open', 'socket.connect'])(
    "shows a workload's %s in kubectl logs and in the collector's files, with its pod",
    async (kind) => {
      // What the tail shows of a busy node is a choice: one row of many is enough.
      const shown = await cluster.waitFor(
        'a line of it',
        async () => (await logged(product)).events.find((row) => isComplete(kind, row)),
        SLOW_MS,
      );
      const stored = await cluster.waitFor(
        'the same at the collector',
        async () => (await collected(product, [kind], String(shown['event_id'])))[0],
      );
      for (const row of [shown, stored]) {
        expect(row).toMatchObject({
          event_id: shown['event_id'],
          k8s_node_name: workload.spec.nodeName,
          k8s_namespace_name: namespace,
          k8s_pod_name: 'busy',
          k8s_pod_labels: { app: 'busy' },
          k8s_container_name: 'main',
          metadata_state: 'complete',
        });
      }
      if (kind === 'file.open') expect(String(shown['file_path'])).toContain(SECRET);
    },
    SLOW_MS + 60_000,
  );

  it('is read without a shell: live by kerntap tail, stored by kerntap collector cat, its books by kerntap ledger', async () => {
    const rows = await tailed(product, 3, '--pod', 'busy', '--kinds', 'process.exec');
    for (const row of rows) expect(row).toMatchObject({ kind: 'process.exec', k8s_pod_name: 'busy' });
    const cat = ['kerntap', 'collector', 'cat', '--pod', 'busy', '--kind', 'socket', '--limit', '3'];
    const lines = await cluster.kubectl('exec', '-n', namespace, product.collector, '-c', 'collector', '--', ...cat);
    const stored: Row[] = lines
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(stored.map((row) => [row['k8s_pod_name'], /^socket\./.test(String(row['kind']))])).toEqual(
      Array(3).fill(['busy', true]),
    );
    const ask = ['exec', '-n', namespace, product.agent, '-c', 'agent', '--', 'kerntap', 'ledger', '--json'];
    const { balance } = await cluster.waitFor('books that balance', async () =>
      JSON.parse(await cluster.kubectl(...ask)),
    );
    expect(balance.kinds.find(({ kind }: KubeObject) => kind === 'process.exec').delivered).toBeGreaterThan(0);
  });

  it('has no shell, no npm and no compiler in its image, and a bill of materials that names every package in it', async () => {
    const told = ['exec', '-n', namespace, product.collector, '-c', 'collector', '--', 'node', '-e', IMAGE_CONTENT];
    const { uid, programs, bill, packages } = JSON.parse(await cluster.kubectl(...told));
    expect(uid).toBe(65532);
    expect(programs).toEqual(['/usr/local/bin/kerntap', '/usr/local/bin/node']);
    expect(bill).toMatchObject({ bomFormat: 'CycloneDX', metadata: { component: { name: 'kerntap' } } });
    const named = bill.components.map((each: KubeObject) => [each.group, each.name].filter(Boolean).join('/'));
    expect([...new Set(named)].sort()).toEqual(packages);
    expect(packages).toContain('@grpc/grpc-js');
  });

  it('runs with no more rights than it says', () => {
    const { hostPID, hostNetwork, hostIPC, containers, initContainers, volumes } = agent.spec;
    expect([hostPID, hostNetwork, hostIPC, initContainers]).toEqual([true, undefined, undefined, undefined]);
    expect(containers.map(({ securityContext }: KubeObject) => securityContext)).toEqual([
      {
        runAsUser: 0,
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        seccompProfile: { type: 'RuntimeDefault' },
        capabilities: { drop: ['ALL'], add: ['BPF', 'PERFMON'] },
      },
    ]);
    const host = volumes.filter((volume: KubeObject) => volume.hostPath);
    expect(host.map((volume: KubeObject) => volume.hostPath.path)).toEqual([
      '/sys/kernel/tracing',
      '/sys/fs/cgroup',
      '/var/lib/kerntap',
      '/var/lib/kubelet/pods-api',
    ]);
    for (const { name } of host) {
      const mount = containers[0].volumeMounts.find((each: KubeObject) => each.name === name);
      expect([name, mount.readOnly]).toEqual([name, name === 'spool' ? undefined : true]);
    }
  });
});

/** What may be executed in the image, its bill of materials, and the packages that are there. */
const IMAGE_CONTENT = `
const { existsSync, readdirSync, readFileSync, statSync } = require('node:fs');
const inFolder = (dir) => (existsSync(dir) ? readdirSync(dir).map((name) => dir + '/' + name) : []);
const programs = ['/bin', '/sbin', '/usr/bin', '/usr/sbin', '/usr/local/bin', '/usr/local/sbin'].flatMap(inFolder).sort();
const packagesOf = (modules) =>
  inFolder(modules).flatMap((dir) => {
    const name = dir.slice(modules.length + 1);
    if (name.startsWith('.')) return [];
    if (name.startsWith('@')) return readdirSync(dir).map((each) => name + '/' + each);
    return [name];
  });
const nested = (modules) => packagesOf(modules).flatMap((name) => [name, ...nested(modules + '/' + name + '/node_modules')]);
const packages = [...new Set(nested('/app/node_modules'))].sort();
const bill = JSON.parse(readFileSync('/app/sbom.cdx.json', 'utf8'));
console.log(JSON.stringify({ uid: process.getuid(), programs, bill, packages }));`;

/** The numbers of the workload's acts that the collector has, in order, without repetition. */
async function actsStored(kind: 'process.exec' | 'file.open'): Promise<number[]> {
  const rows = (await collected(product, [kind], String(workload.metadata.uid), 'act-')).filter(ofWorkload);
  const numbers = rows.flatMap((row) => {
    const text = kind === 'file.open' ? row['file_path'] : (row['process_command_args'] as string[])[1];
    return /act-(\d+)$/.exec(String(text))?.[1] ?? [];
  });
  return [...new Set(numbers.map(Number))].sort((a, b) => a - b);
}

const newest = async (kind: 'process.exec' | 'file.open') => (await actsStored(kind)).at(-1) ?? 0;

/** Waits until the workload has done some more acts, and these are at the collector. Returns the number of the last. */
async function moreActs(count = 5): Promise<number> {
  const start = await newest('process.exec');
  return cluster.waitFor(
    `${count} more acts`,
    async () => {
      const now = await newest('process.exec');
      return now >= start + count ? now : undefined;
    },
    SLOW_MS,
  );
}

const config = (open: string) => `apiVersion: kerntap.dev/v1alpha1
collector: {endpoint: "${RELEASE}-collector:4750"}
budgets: {containerEventsPerSecond: 0, nodeEventsPerSecond: 0, cpuCores: 0}
# Whatever else a machine does that is also a node is not to be this test's load.
policies: [{match: {host: true}, all: off}]
probes: {file.open: ${open}}
`;

/** Edits the ConfigMap and waits until the agent tells of the change, which is a line of its log. */
async function change(text: string, told: (line: Row) => boolean): Promise<Row> {
  const count = async () => (await logged(product)).log.filter(told);
  const before = (await count()).length;
  await editConfig(product, text);
  await hasten(product, [agent]);
  return cluster.waitFor('a word of the change', async () => (await count())[before], SLOW_MS);
}

const inForce = ({ msg }: Row) => msg === 'the configuration is in force';

describe('kubectl edit configmap', () => {
  it('turns file.open off and on, without a restart and without a gap in exec', async () => {
    await change(config('sensitive'), inForce);
    const start = await moreActs();
    await change(config('off'), inForce);
    const off = await moreActs();
    const until = await moreActs();
    await change(config('sensitive'), inForce);
    await moreActs();
    const end = await moreActs();

    const opens = await actsStored('file.open');
    expect(opens).toContain(start);
    expect(opens.filter((act) => act > off && act <= until)).toEqual([]);
    expect(opens).toContain(end);
    const execs = new Set(await actsStored('process.exec'));
    const missed = Array.from({ length: end - start + 1 }, (_, i) => start + i).filter((act) => !execs.has(act));
    expect(missed).toEqual([]);
    const toggles = await collected(product, ['kerntap.probe'], '"probe_kind":"file.open"');
    const states = toggles.sort((a, b) => Number(a['seq']) - Number(b['seq'])).map((row) => row['probe_state']);
    expect(states.slice(-3)).toEqual(['on', 'off', 'on']);
    expect(await agentPod()).toMatchObject({
      metadata: { uid: agent.metadata.uid },
      status: { containerStatuses: [{ restartCount: 0, ready: true }] },
    });
  });

  it('changes nothing where it breaks the file, and says so with key and remedy', async () => {
    const broken = config('sensitive').replace('file.open', 'file.opne');
    const line = await change(broken, ({ config: text }) => String(text).includes('file.opne'));
    expect(line).toMatchObject({ level: 50, config: expect.stringMatching(/file\.opne.*file\.open/s) });
    await moreActs();
    const end = await moreActs();
    expect(await actsStored('file.open')).toContain(end);
    expect(await agentPod()).toMatchObject({
      metadata: { uid: agent.metadata.uid },
      status: { containerStatuses: [{ restartCount: 0, ready: true }] },
    });
  });
});

type Held = ReturnType<typeof heldByContainer>;

/** Undefined where the node is another machine. */
function heldByAgent(): Held | undefined {
  const id = agent.status.containerStatuses[0].containerID.replace(/^.*:\/\//, '');
  return node.isThisMachine ? heldByContainer(id) : undefined;
}

/** Waits until the kernel has none of them: it frees what was attached a moment after the process is gone. */
async function freed(held: Held | undefined): Promise<void> {
  if (held === undefined) return;
  await cluster.waitFor('an empty kernel', async () => {
    const left = [...(await inKernel('prog', held.programs)), ...(await inKernel('map', held.maps))];
    return left.length === 0 ? true : undefined;
  });
}

describe('helm upgrade', () => {
  it('after an edit says who else changed the ConfigMap; with --force-conflicts the chart has its way, without a restart', async () => {
    const upgrade = ['upgrade', RELEASE, CHART, '-n', namespace, '--wait', '--timeout', '5m', ...imageValues()];
    const failure = await helm(...upgrade).then(
      () => 'went through',
      (error: KubeObject) => String(error.stderr),
    );
    expect(failure).toMatch(/conflict.*kubectl-edit/s);
    await helm(...upgrade, '--force-conflicts', '--set', 'config.probes.file\\.open=writes');
    const { data } = await cluster.get('configmap', RELEASE, namespace);
    expect(data['kerntap.yaml']).toMatch(/file\.open: writes/);
    expect((await agentPod()).metadata.uid).toBe(agent.metadata.uid);
  });

  it('restarts the agents for what they read at their start only; the old one leaves no program or map', async () => {
    const held = heldByAgent();
    const name = ['--reset-then-reuse-values', '--set', 'clusterName=north'];
    await helm('upgrade', RELEASE, CHART, '-n', namespace, '--wait', '--timeout', '5m', ...name);
    const now = await agentPod();
    expect(now.metadata.uid).not.toBe(agent.metadata.uid);
    await freed(held);
    agent = now;
    await cluster.waitFor(
      'an event with the name',
      async () => (await collected(product, ['process.exec'], '"k8s_cluster_name":"north"', workload.metadata.uid))[0],
      SLOW_MS,
    );
  });
});

describe('helm uninstall', () => {
  it('leaves nothing: no object, no program or map in the kernel, no file on the host; the events stay until asked', async () => {
    const held = heldByAgent();
    if (held !== undefined) {
      expect(Math.min(held.programs.length, held.maps.length)).toBeGreaterThan(5);
      expect(await inKernel('prog', held.programs)).toEqual(held.programs);
    }
    if (node.isThisMachine) expect(entriesOf('/var/lib/kerntap')).toEqual(['spool']);
    await helm('uninstall', RELEASE, '-n', namespace, '--wait', '--timeout', '5m');
    const kinds =
      'daemonset,statefulset,job,service,configmap,secret,serviceaccount,networkpolicy,role,rolebinding,clusterrole,clusterrolebinding';
    const ours = ['-l', `app.kubernetes.io/instance=${RELEASE}`, '-o', 'name'];
    expect(await cluster.kubectl('get', kinds, '-n', namespace, ...ours)).toBe('');
    await cluster.waitFor('its last pod to go', async () =>
      (await cluster.kubectl('get', 'pods', '-n', namespace, ...ours)) === '' ? true : undefined,
    );
    await freed(held);
    if (node.isThisMachine) expect(FOLDERS.map(entriesOf)).toEqual(foldersBefore);
    expect((await cluster.kubectl('get', 'pvc', '-n', namespace, ...ours)).trim()).toMatch(
      /events-kerntap-collector-0$/,
    );
    await cluster.kubectl('delete', 'pvc', '-n', namespace, '-l', `app.kubernetes.io/instance=${RELEASE}`);
  });
});
