/**
 * Whose event is it, on a real cluster: what pods say they did (test/truth/brief.c) beside what the collector has, and
 * who they are by the API server.
 *
 * More of it runs with CLUSTER_STOP_KUBELET and CLUSTER_START_KUBELET, commands that end and begin the node's kubelet,
 * and CLUSTER_MANIFESTS, its folder of static pods.
 */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { attribution, type Figures, lifetimes } from '../integration/attribution.ts';
import type { BriefTruth } from '../integration/brief-container.ts';
import { type Act, buildTruth, parseAct, programPath } from '../integration/truth-program.ts';
import { wholeRow } from '../rows.ts';
import { Cluster, type ClusterNode, type KubeObject, testContainer, testPod } from './cluster.ts';
import { busyboxEntries, writeImage } from './image.ts';
import { deployByHand } from './manifest.ts';
import { collected, type Product, type Row } from './product.ts';

const IMAGE = 'docker.io/library/kerntap-brief:1';
const JOB_PODS = 100;
const AT_ONCE = 20;
/** Batches, the kubelet's reports and a slow machine. */
const WHOLE_MS = 60_000;
const SLOW_MS = 240_000;

let cluster: Cluster;
let node: ClusterNode;
let product: Product;
let namespace: string;

beforeAll(async () => {
  buildTruth();
  cluster = await Cluster.open();
  [node] = (await cluster.nodes()) as [ClusterNode];
  const file = join(cluster.dir, 'brief.tar');
  const brief = { path: 'bin/brief', content: readFileSync(programPath('brief')), mode: 0o755 };
  writeImage(file, { name: IMAGE, entries: [...busyboxEntries(), brief], command: ['/bin/brief'] });
  cluster.loadImage(file);
  cluster.loadTestImage();
  namespace = await cluster.namespace('kerntap-attribution');
  product = await deployByHand(cluster, {
    clusterName: 'cluster-of-the-test',
    probes: { 'file.open': 'writes', 'file.close': 'off' },
    tail: { enabled: false },
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

const bareId = (containerId: string | undefined) => containerId?.replace(/^.*:\/\//, '') ?? '';
const field = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } });

/** A container that runs brief with its pod's UID for a mark. */
function briefContainer(args: readonly string[], name = 'main'): KubeObject {
  return {
    ...testContainer(name, ['/bin/brief', ...args]),
    image: IMAGE,
    workingDir: '/work',
    env: [field('POD_UID', 'metadata.uid')],
  };
}

const MARK = 'brief-$(POD_UID)';
/** The API server's Service: there in every cluster. */
const API = ['$(KUBERNETES_SERVICE_HOST)', '$(KUBERNETES_SERVICE_PORT)'];

function job(name: string, pods: number, parallel: number): KubeObject {
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name, namespace },
    spec: {
      completions: pods,
      parallelism: parallel,
      backoffLimit: 0,
      template: {
        metadata: { labels: { job: name } },
        spec: {
          ...testPod(namespace, name).spec,
          restartPolicy: 'Never',
          containers: [briefContainer([MARK, ...API])],
        },
      },
    },
  };
}

async function podsOfJob(name: string): Promise<KubeObject[]> {
  return JSON.parse(await cluster.kubectl('get', 'pods', '-n', namespace, '-l', `job=${name}`, '-o', 'json')).items;
}

function jobEnded(name: string, pods: number): Promise<KubeObject[]> {
  return cluster.waitFor(
    `job ${name}`,
    async () => {
      const all = await podsOfJob(name);
      return all.filter((pod) => pod.status.phase === 'Succeeded').length === pods ? all : undefined;
    },
    SLOW_MS,
  );
}

/** What the pods' containers said, by their logs. */
async function said(selector: string, container = 'main'): Promise<Map<string, Act[]>> {
  const args = ['logs', '-n', namespace, '-l', selector, '-c', container, '--prefix', '--tail=-1'];
  const lines = (await cluster.kubectl(...args, '--max-log-requests=200')).split('\n');
  const acts = new Map<string, Act[]>();
  for (const line of lines) {
    const [, pod, json] = /^\[pod\/([^/]+)\/[^\]]+\] (\{.*\})$/.exec(line) ?? [];
    if (pod === undefined || json === undefined) continue;
    acts.set(pod, [...(acts.get(pod) ?? []), parseAct(json)]);
  }
  return acts;
}

/** A truth from the API server's word for a pod and the container's own. */
function truthOf(pod: KubeObject, acts: readonly Act[], container = 'main', uid = pod.metadata.uid): BriefTruth {
  const lists = ['containerStatuses', 'ephemeralContainerStatuses', 'initContainerStatuses'];
  const statuses = lists.flatMap((list) => pod.status[list] ?? []);
  const status = statuses.find(({ name }: KubeObject) => name === container);
  return { podUid: uid, containerId: bareId(status?.containerID), mark: `brief-${pod.metadata.uid}`, acts };
}

/** All that brief's processes can have led to, found by their marks, program and ports alone. */
async function rowsOfBriefs(): Promise<Row[]> {
  const parts = await Promise.all([
    collected(product, ['process.exec', 'file.open'], 'brief-'),
    collected(product, ['process.exit'], '"process_command":"exe"'),
    collected(product, ['socket.connect', 'socket.accept', 'socket.listen', 'socket.close'], '/brief"'),
    collected(product, ['socket.connect', 'socket.close'], '"process_command":"exe"'),
    collected(product, ['kerntap.pod'], namespace),
  ]);
  const byId = new Map(parts.flat().map((row) => [row['event_id'], row]));
  return [...byId.values()].map((row) => wholeRow({ ...row, time_ns: timeNs(row) }));
}

/** time_ns is beyond a double's 53 bits: taken from the text of the time. */
function timeNs({ time }: Row): string {
  const text = String(time);
  return `${BigInt(Date.parse(`${text.slice(0, 19)}Z`)) * 1_000_000n + BigInt(text.slice(20, 29))}`;
}

/** Until everything that these pods did is there, has its place, and reads with its names. */
async function judged(what: string, truths: ReadonlyMap<BriefTruth, { pod: KubeObject; container: string }>) {
  const read = async (): Promise<Figures> =>
    attribution(await rowsOfBriefs(), [...truths.keys()], (truth) => {
      const { pod, container } = truths.get(truth) ?? { pod: { metadata: {} }, container: '' };
      return { podName: pod.metadata.name, namespace: pod.metadata.namespace, containerName: container };
    });
  const whole = async () => {
    const figures = await read();
    return figures.problems.length === 0 && figures.containerNamed === figures.events ? figures : undefined;
  };
  const { problems, ...figures } = await cluster.waitFor(what, whole, WHOLE_MS).catch(read);
  const lifetimeMs = lifetimes([...truths.keys()]);
  console.info(`${what}: ${JSON.stringify({ pods: truths.size, lifetimeMs, ...figures })}`);
  const { events, placed, completed, containerNamed } = figures;
  expect(problems).toEqual([]);
  expect({ placed, completed, containerNamed }).toEqual({ placed: events, completed: events, containerNamed: events });
  return figures;
}

async function judgedJob(name: string, pods: readonly KubeObject[]) {
  const acts = await said(`job=${name}`);
  const truths = pods.map(
    (pod) => [truthOf(pod, acts.get(pod.metadata.name) ?? []), { pod, container: 'main' }] as const,
  );
  for (const [truth] of truths) expect([truth.podUid, truth.acts.length]).toEqual([truth.podUid, 4]);
  const figures = await judged(name, new Map(truths));
  expect(figures.events).toBeGreaterThanOrEqual(pods.length * 5);
  return figures;
}

describe('containers that live for an instant', () => {
  it(`of ${JOB_PODS} Job pods, ${AT_ONCE} at a time`, async () => {
    await cluster.apply(job('hundred', JOB_PODS, AT_ONCE));
    const { events, named } = await judgedJob('hundred', await jobEnded('hundred', JOB_PODS));
    expect(named / events).toBeGreaterThanOrEqual(0.99);
    await cluster.kubectl('delete', 'job', 'hundred', '-n', namespace, '--wait=false');
  });

  it('while the kubelet is stopped and started', async (context) => {
    const { CLUSTER_STOP_KUBELET: stop, CLUSTER_START_KUBELET: start } = process.env;
    if (!stop || !start) context.skip('no CLUSTER_STOP_KUBELET and CLUSTER_START_KUBELET: the kubelet cannot be ended');
    const pods = 40;
    // One that acts all the time, also while there is no kubelet.
    const loop = 'i=0; while true; do i=$((i+1)); brief "brief-steady-$i" 127.0.0.1 9 >/dev/null; usleep 20000; done';
    const steady = { ...briefContainer([]), command: ['sh', '-c', loop] };
    await cluster.apply(testPod(namespace, 'steady', { containers: [steady] }));
    const pod = await cluster.runningPod(namespace, 'steady');
    await cluster.apply(job('interrupted', pods, 10));
    await cluster.waitFor('some of them', async () => {
      return (await podsOfJob('interrupted')).some((each) => each.status.phase === 'Succeeded') ? true : undefined;
    });
    const stoppedAt = new Date().toISOString();
    execFileSync('sh', ['-c', stop as string], { stdio: 'inherit' });
    // Longer than anything is held.
    await new Promise((resolve) => setTimeout(resolve, 10_000));
    const startedAt = new Date().toISOString();
    execFileSync('sh', ['-c', start as string], { stdio: 'inherit' });
    await judgedJob('interrupted', await jobEnded('interrupted', pods));

    const meanwhile = (await collected(product, ['process.exec'], 'brief-steady-')).filter((row) => {
      return String(row['time']) > stoppedAt && String(row['time']) < startedAt;
    });
    expect(meanwhile.length).toBeGreaterThan(100);
    for (const row of meanwhile) {
      expect(row).toMatchObject({
        k8s_pod_uid: pod.metadata.uid,
        k8s_pod_name: 'steady',
        k8s_container_name: 'main',
        container_id: bareId(pod.status.containerStatuses[0].containerID),
      });
    }
    await cluster.kubectl('delete', 'pod', 'steady', '-n', namespace, '--wait=false');
  });
});

describe('pods of every make', () => {
  it('an ephemeral container that kubectl debug puts into a running pod', async () => {
    await cluster.apply(testPod(namespace, 'debugged', { labels: { app: 'debugged' } }));
    const { metadata } = await cluster.runningPod(namespace, 'debugged');
    // The mark as a whole is not to stand in kubectl's own arguments: its exec is seen as well.
    const args = [MARK, '127.0.0.1', '9'];
    const env = `--env=POD_UID=${metadata.uid}`;
    const debug = ['--image', IMAGE, '--image-pull-policy=Never', '--container=debugger', '--profile=general', env];
    await cluster.kubectl('debug', '-n', namespace, 'debugged', ...debug, '--', '/bin/brief', ...args);
    const ended = await cluster.waitFor('its end', async () => {
      const pod = await cluster.get('pod', 'debugged', namespace);
      return pod.status.ephemeralContainerStatuses?.[0]?.state.terminated ? pod : undefined;
    });
    const acts = (await said('app=debugged', 'debugger')).get('debugged') ?? [];
    const truth = truthOf(ended, acts, 'debugger');
    // It runs in /, not in /work.
    const found = acts.filter(({ kind }) => kind !== 'file.open');
    expect(found).toHaveLength(3);
    await judged(
      'kubectl debug',
      new Map([
        [
          { ...truth, acts: found },
          { pod: ended, container: 'debugger' },
        ],
      ]),
    );
  });

  it('a static pod, which has another UID at the API server', async (context) => {
    const folder = process.env['CLUSTER_MANIFESTS'];
    if (!folder) context.skip('no CLUSTER_MANIFESTS: no folder of static pods');
    const name = `static-${randomBytes(3).toString('hex')}`;
    const file = join(folder as string, `${name}.json`);
    const spec = { containers: [briefContainer([MARK, '127.0.0.1', '9'])], restartPolicy: 'Never' };
    writeFileSync(file, JSON.stringify(testPod(namespace, name, { ...spec, labels: { app: name } })));
    try {
      const mirror = await cluster.waitFor('its mirror', async () => {
        const pod = await cluster.get('pod', `${name}-${node.name}`, namespace);
        return pod.status.phase === 'Succeeded' ? pod : undefined;
      });
      const hash = mirror.metadata.annotations['kubernetes.io/config.mirror'];
      expect(hash).toMatch(/^[0-9a-f]{32}$/);
      const acts = (await said(`app=${name}`)).get(mirror.metadata.name) ?? [];
      expect(acts).toHaveLength(4);
      // The kubelet gives its own UID to the container: the hash.
      const truth = { ...truthOf(mirror, acts, 'main', hash), mark: String(acts[0]?.['mark']) };
      await judged('static pod', new Map([[truth, { pod: mirror, container: 'main' }]]));
    } finally {
      rmSync(file);
    }
  });

  it('two on the network of their node: one address, and each its own', async () => {
    const onNode = { hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet', restartPolicy: 'Never' };
    const serve = briefContainer(['serve', MARK, node.address]);
    await cluster.apply(testPod(namespace, 'serving', { ...onNode, containers: [serve], labels: { app: 'serving' } }));
    const listen = await cluster.waitFor('its port', async () => (await said('app=serving')).get('serving')?.[0]);
    const client = briefContainer([MARK, node.address, String(listen['local_port'])]);
    await cluster.apply(testPod(namespace, 'asking', { ...onNode, containers: [client], labels: { app: 'asking' } }));
    await bothJudged('hostNetwork', 'serving', 'asking');
    const rows = await rowsOfBriefs();
    const of = (kind: string, pod: string) => rows.find((row) => row['kind'] === kind && row['k8s_pod_name'] === pod);
    expect(of('socket.connect', 'asking')).toMatchObject({
      network_local_address: node.address,
      network_peer_address: node.address,
    });
    expect(of('socket.accept', 'serving')).toMatchObject({
      network_local_address: node.address,
      network_peer_address: node.address,
    });
  });

  it('two that meet through a ClusterIP: each end records what its socket shows', async () => {
    const once = { restartPolicy: 'Never' };
    const serve = { ...briefContainer(['serve', MARK, '0.0.0.0', '8080']), ports: [{ containerPort: 8080 }] };
    await cluster.apply(testPod(namespace, 'behind', { ...once, containers: [serve], labels: { app: 'behind' } }), {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'front', namespace },
      spec: { selector: { app: 'behind' }, ports: [{ port: 80, targetPort: 8080 }] },
    });
    const server = await cluster.runningPod(namespace, 'behind');
    const { spec } = await cluster.get('service', 'front', namespace);
    await cluster.waitFor('the Service to lead there', async () => {
      const slices = ['get', 'endpointslices', '-n', namespace, '-l', 'kubernetes.io/service-name=front', '-o', 'json'];
      const list = JSON.parse(await cluster.kubectl(...slices));
      return list.items[0]?.endpoints?.[0]?.conditions.ready ? true : undefined;
    });
    const client = briefContainer([MARK, spec.clusterIP, '80']);
    await cluster.apply(testPod(namespace, 'before', { ...once, containers: [client], labels: { app: 'before' } }));
    const asking = await bothJudged('ClusterIP', 'behind', 'before');
    const rows = await rowsOfBriefs();
    const of = (kind: string, pod: string) => rows.find((row) => row['kind'] === kind && row['k8s_pod_name'] === pod);
    const connect = of('socket.connect', 'before');
    // kube-proxy rewrites the packets, not the socket: the client's shows the Service, asked for and reached.
    expect(connect).toMatchObject({
      network_asked_address: spec.clusterIP,
      network_asked_port: 80,
      network_peer_address: spec.clusterIP,
      network_peer_port: 80,
      network_local_address: asking.status.podIP,
      result: 0,
    });
    // The server's shows both pods. What pairs the two is the client's address and port.
    expect(of('socket.accept', 'behind')).toMatchObject({
      network_local_address: server.status.podIP,
      network_local_port: 8080,
      network_peer_address: asking.status.podIP,
      network_peer_port: connect?.['network_local_port'],
    });
  });

  /** A server's and its client's events; gives the client's pod. */
  async function bothJudged(what: string, serving: string, asking: string): Promise<KubeObject> {
    const [server, client] = await Promise.all(
      [serving, asking].map((name) =>
        cluster.waitFor(`the end of ${name}`, async () => {
          const pod = await cluster.get('pod', name, namespace);
          return pod.status.phase === 'Succeeded' ? pod : undefined;
        }),
      ),
    );
    const truths = await Promise.all(
      [server, client].map(async (pod) => {
        const acts = (await said(`app=${pod.metadata.name}`)).get(pod.metadata.name) ?? [];
        return [truthOf(pod, acts), { pod, container: 'main' }] as const;
      }),
    );
    expect(truths.map(([truth]) => truth.acts.length)).toEqual([2, 4]);
    await judged(what, new Map(truths));
    return client;
  }
});
