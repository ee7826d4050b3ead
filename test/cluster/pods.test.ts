import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PODS_API_DIR, PODS_API_SOCKET } from '../../src/kubernetes/pods-api.ts';
import { wholeRow, withoutNulls } from '../rows.ts';
import { Cluster, type ClusterNode, type KubeObject, TEST_IMAGE, testContainer, testPod } from './cluster.ts';
import { deployByHand } from './manifest.ts';
import { collected, logged, type Product, podsOf, type Row } from './product.ts';

const CLUSTER_NAME = 'cluster-of-the-test';
const SLOW_MS = 180_000;

let cluster: Cluster;
let node: ClusterNode;
let product: Product;
let namespace: string;

beforeAll(async () => {
  cluster = await Cluster.open();
  [node] = (await cluster.nodes()) as [ClusterNode];
  cluster.loadTestImage();
  namespace = await cluster.namespace('kerntap-workloads');
  // The node may be busy with other things: they must not use up what these pods' events need.
  product = await deployByHand(cluster, {
    clusterName: CLUSTER_NAME,
    tail: { namespaces: [namespace], sensitiveFilesOnly: false, eventsPerSecond: 0, bytesPerSecond: 0 },
    budgets: { containerEventsPerSecond: 0, nodeEventsPerSecond: 0, cpuCores: 0 },
  });
  await cluster.waitFor(
    'the last probe at the collector',
    async () => (await collected(product, ['kerntap.probe'], '"probe_kind":"socket.close"', '"probe_state":"on"'))[0],
    SLOW_MS,
  );
});

afterAll(async () => {
  await cluster?.close();
});

const bareId = (containerId: string) => containerId.replace(/^.*:\/\//, '');
/** What a container does that is looked for: an exec, a file made, a connection. */
const acts = (mark: string) =>
  `echo x >/${mark}; nc -w 3 "$KUBERNETES_SERVICE_HOST" "$KUBERNETES_SERVICE_PORT" </dev/null; true ${mark}`;
const KINDS = ['process.exec', 'file.open', 'socket.connect'] as const;

/** The rows of one container; the runtime's own rows name its id in their arguments. */
async function rowsOf(containerId: string): Promise<Row[]> {
  const rows = await collected(product, KINDS, containerId);
  return rows.filter((row) => row['container_id'] === containerId);
}

/** The same, once there is one of each kind of act with this mark. */
function rowsOfActs(mark: string, containerId: string): Promise<Row[]> {
  return cluster.waitFor(
    `the acts of ${mark}`,
    async () => {
      const rows = await rowsOf(containerId);
      const found = KINDS.every((kind) => rows.some((row) => row['kind'] === kind && isAct(row, mark)));
      return found ? rows : undefined;
    },
    SLOW_MS,
  );
}

function isAct(row: Row, mark: string): boolean {
  if (row['kind'] === 'process.exec') return JSON.stringify(row['process_command_args']).includes(mark);
  if (row['kind'] === 'file.open') return row['file_path'] === `/${mark}` && row['file_created'] === true;
  return row['network_peer_port'] === 443;
}

/** What each row of a container has to say, by the API server. */
function truthOf(pod: KubeObject, container: string): Row {
  const status = pod.status.containerStatuses.find(({ name }: KubeObject) => name === container);
  return {
    k8s_cluster_name: CLUSTER_NAME,
    k8s_node_name: pod.spec.nodeName,
    k8s_namespace_name: pod.metadata.namespace,
    k8s_pod_name: pod.metadata.name,
    k8s_pod_uid: pod.metadata.uid,
    k8s_pod_labels: pod.metadata.labels,
    k8s_service_account_name: pod.spec.serviceAccountName,
    k8s_container_name: container,
    container_id: bareId(status.containerID),
    container_runtime_name: status.containerID.split(':')[0],
    container_image_name: TEST_IMAGE,
    container_image_digest: status.imageID.replace(/^.*@/, ''),
  };
}

/** A row, and where it left before the pod was known, completed by the pod's own row: the join that a reader makes. */
async function completed(row: Row): Promise<Row> {
  if (row['metadata_state'] === 'complete') return row;
  expect(row).toMatchObject({ metadata_state: 'pending', k8s_pod_uid: expect.any(String) });
  const id = String(row['container_id']);
  const known = completions.get(id) ?? (await completion(String(row['k8s_pod_uid']), id));
  completions.set(id, known);
  return wholeRow({ ...row, ...known });
}

const completions = new Map<string, Row>();

function completion(podUid: string, containerId: string): Promise<Row> {
  return cluster.waitFor(`the row of pod ${podUid}`, async () => {
    for (const pod of (await collected(product, ['kerntap.pod'], podUid, containerId)).reverse()) {
      const containers = pod['k8s_pod_containers'] as Row[];
      const container = containers.find((each) => each['container_id'] === containerId);
      if (container !== undefined) return { ...pod, ...container };
    }
    return undefined;
  });
}

describe('events of pods, by an agent in a pod', () => {
  it('carry cluster, node, namespace, pod, labels, container and image, from its first act on', async () => {
    const labels = { app: 'shop', 'example.com/tier': 'front' };
    const command = ['sh', '-c', `${acts('first-act')}; exec sleep 100000`];
    await cluster.apply(
      testPod(namespace, 'shop', {
        labels,
        containers: [testContainer('main', command), testContainer('beside')],
      }),
    );
    const pod = await cluster.runningPod(namespace, 'shop');
    const truth = truthOf(pod, 'main');
    const rows = await rowsOfActs('first-act', String(truth['container_id']));
    for (const row of rows) expect(await completed(row)).toMatchObject(truth);
  });

  it('tell what is injected by kubectl exec from what the container itself does', async () => {
    const pod = await cluster.get('pod', 'shop', namespace);
    const truth = truthOf(pod, 'main');
    await cluster.kubectl('exec', '-n', namespace, 'shop', '-c', 'main', '--', 'sh', '-c', acts('injected-act'));
    const rows = await rowsOfActs('injected-act', String(truth['container_id']));
    // The connections of both look alike: told apart by the process that made the file.
    const made = (mark: string) => rows.find((row) => row['kind'] === 'file.open' && isAct(row, mark));
    for (const [mark, entry] of [
      ['first-act', 'init'],
      ['injected-act', 'exec'],
    ] as const) {
      const files = rows.filter((row) => row['kind'] !== 'socket.connect' && isAct(row, mark));
      expect([mark, files.length > 1, new Set(files.map((row) => row['entry']))]).toEqual([
        mark,
        true,
        new Set([entry]),
      ]);
      const pid = made(mark)?.['process_pid'];
      const connect = rows.filter((row) => row['kind'] === 'socket.connect' && row['process_parent_pid'] === pid);
      expect([mark, connect.map((row) => row['entry'])]).toEqual([mark, [entry]]);
    }
    for (const row of rows) expect(await completed(row)).toMatchObject(truth);
  });

  it('belong to their pod even if its container lives for an instant', async () => {
    await cluster.apply(
      testPod(namespace, 'instant', {
        labels: { app: 'instant' },
        restartPolicy: 'Never',
        containers: [testContainer('main', ['true', 'instant-act'])],
      }),
    );
    const pod = await cluster.waitFor('its end', async () => {
      const now = await cluster.get('pod', 'instant', namespace);
      return now.status.phase === 'Succeeded' ? now : undefined;
    });
    const row = await cluster.waitFor(
      'its exec',
      async () => (await collected(product, ['process.exec'], '"instant-act"'))[0],
      SLOW_MS,
    );
    expect(await completed(row)).toMatchObject({ ...truthOf(pod, 'main'), entry: 'init' });
  });

  it('stand in kubectl logs too, as the same events', async () => {
    const pod = await cluster.get('pod', 'shop', namespace);
    const rows = await rowsOf(String(truthOf(pod, 'main')['container_id']));
    const acts = rows.filter((row) => isAct(row, 'injected-act') && row['entry'] === 'exec');
    expect(acts.length).toBeGreaterThan(0);
    const { events } = await logged(product);
    for (const act of acts) {
      // What the collector adds.
      const stored = withoutNulls({ ...act, ingest_time: null, community_id: null });
      expect(withoutNulls(events.find((row) => row['event_id'] === act['event_id']))).toEqual(stored);
    }
  });
});

describe('the agent in its pod', () => {
  it('runs on one right: to get nodes/pods', async () => {
    const as = `--as=system:serviceaccount:${product.namespace}:${product.account}`;
    const can = (ask: string) =>
      cluster.kubectl('auth', 'can-i', ...ask.split(' '), as).then(
        (out) => out.trim(),
        (error) => error.stdout.trim(),
      );
    expect(await can('get nodes --subresource=pods')).toBe('yes');
    const denied = ['list pods -A', 'get nodes', 'get nodes --subresource=proxy', 'get secrets -A', 'create pods -A'];
    for (const ask of denied) expect([ask, await can(ask)]).toEqual([ask, 'no']);
  });

  it('reports who enters its own pod, and nothing of its own files and connections', async () => {
    const [agent] = await podsOf(product, product.agent);
    await cluster.kubectl('exec', '-n', product.namespace, product.agent, '-c', 'agent', '--', 'kerntap', '--version');
    const row = await cluster.waitFor(
      'the exec into it',
      async () => (await collected(product, ['process.exec'], agent.metadata.uid, '"--version"'))[0],
    );
    expect(await completed(row)).toMatchObject({
      k8s_pod_name: agent.metadata.name,
      k8s_namespace_name: product.namespace,
      k8s_container_name: 'agent',
      entry: 'exec',
    });
    const own = await collected(product, ['file.open', 'socket.connect'], agent.metadata.uid);
    expect(own.filter((each) => each['entry'] === 'init')).toEqual([]);
  });

  it('has the names of pods from the Pods API where the kubelet has it, and else from /pods', async (context) => {
    if (!node.isThisMachine) context.skip('the node is another machine');
    const expected = existsSync(join(PODS_API_DIR, PODS_API_SOCKET)) ? 'pods-api' : 'kubelet';
    const { metadata } = await cluster.get('pod', 'shop', namespace);
    const rows = await collected(product, ['kerntap.pod'], metadata.uid);
    expect(rows.length).toBeGreaterThan(0);
    expect(new Set(rows.map((row) => row['metadata_source']))).toEqual(new Set([expected]));
    const ask = async (...command: string[]): Promise<KubeObject> =>
      JSON.parse(
        await cluster.kubectl('exec', '-n', product.namespace, product.agent, '-c', 'agent', '--', ...command),
      );
    const readyz = `fetch('http://127.0.0.1:9464/readyz').then((reply) => reply.text()).then(console.log)`;
    expect((await ask('node', '-e', readyz)).pods).toMatchObject({ source: expected });
    const report = await ask('kerntap', 'doctor', '--json', '--kubelet', node.kubeletUrl);
    const check = (id: string) => report.checks.find((each: KubeObject) => each.id === id);
    expect(check('pods_api').verdict).toBe(expected === 'pods-api' ? 'ok' : 'unknown');
  });

  it('finds there by kerntap doctor all that it needs', async () => {
    const { namespace: home, agent } = product;
    const ask = ['kerntap', 'doctor', '--json', '--kubelet', node.kubeletUrl, '--collector', 'collector:4750'];
    const report: KubeObject = JSON.parse(
      await cluster.kubectl('exec', '-n', home, agent, '-c', 'agent', '--', ...ask),
    );
    const verdict = (id: string) => report.checks.find((check: KubeObject) => check.id === id)?.verdict;
    expect(['capabilities', 'kubelet', 'collector', 'process_view'].map(verdict)).toEqual(['ok', 'ok', 'ok', 'ok']);
    expect(report.probes.filter(({ state }: KubeObject) => state !== 'on')).toEqual([]);
  });
});
