import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findCgroupMount } from '../../src/kubernetes/cgroup-mount.ts';
import { firstProcess } from '../../src/kubernetes/first-process.ts';
import { KubeletSource } from '../../src/kubernetes/kubelet.ts';
import { getFromKubelet } from '../../src/kubernetes/kubelet-request.ts';
import type { Pod } from '../../src/kubernetes/pods.ts';
import { PODS_API_DIR, PODS_API_SOCKET, PodsApi } from '../../src/kubernetes/pods-api.ts';
import { PodResolver } from '../../src/kubernetes/resolver.ts';
import { WorkloadTable } from '../../src/kubernetes/table.ts';
import { containerTgids, walkCgroups } from '../../src/kubernetes/walk.ts';
import {
  type Account,
  Cluster,
  type ClusterNode,
  type KubeObject,
  TEST_IMAGE,
  testContainer,
  testPod,
} from './cluster.ts';
import type { Image } from './image.ts';

const NODES_PODS = [{ apiGroups: [''], resources: ['nodes/pods'], verbs: ['get'] }];

let cluster: Cluster;
let node: ClusterNode;
let namespace: string;
let image: Image;
let reader: Account;
let nobody: Account;
const sources: KubeletSource[] = [];

beforeAll(async () => {
  cluster = await Cluster.open();
  [node] = (await cluster.nodes()) as [ClusterNode];
  image = cluster.loadTestImage();
  namespace = await cluster.namespace('kerntap-kubelet');
  reader = await cluster.account(namespace, 'reader', NODES_PODS);
  nobody = await cluster.account(namespace, 'nobody', []);
});

afterAll(async () => {
  for (const source of sources) source.close();
  await cluster?.close();
});

function kubelet(account: Account, url = node.kubeletUrl, nodeName = node.name): KubeletSource {
  const source = new KubeletSource({ url, nodeName, tokenFile: account.tokenFile, caFile: cluster.kubeletCaFile });
  sources.push(source);
  return source;
}

async function podOf(source: KubeletSource, uid: string, when: (pod: Pod) => boolean = () => true): Promise<Pod> {
  return cluster.waitFor(`pod ${uid} in /pods`, async () =>
    (await source.refresh('test')).find((pod) => pod.uid === uid && when(pod)),
  );
}

const bareId = (containerId: string) => containerId.replace(/^.*:\/\//, '');

describe('a service account that may only get nodes/pods', () => {
  it('reads a pod as the API server knows it', async () => {
    await cluster.apply(
      testPod(namespace, 'workload', {
        labels: { app: 'shop', 'example.com/tier': 'front' },
        nodeName: node.name,
        initContainers: [testContainer('first', ['true']), { ...testContainer('beside'), restartPolicy: 'Always' }],
        containers: [
          { ...testContainer('main'), livenessProbe: { exec: { command: ['true', 'x y'] } } },
          testContainer('second'),
        ],
      }),
    );
    const truth: KubeObject = await cluster.runningPod(namespace, 'workload');
    const source = kubelet(reader);
    const pod = await podOf(source, truth.metadata.uid, ({ containers }) => containers.every(({ id }) => id !== ''));
    const idOf = (list: string, name: string) =>
      bareId(truth.status[list].find((status: KubeObject) => status.name === name).containerID);
    expect(pod).toMatchObject({
      name: 'workload',
      namespace,
      labels: truth.metadata.labels,
      ips: truth.status.podIPs.map(({ ip }: KubeObject) => ip),
      serviceAccount: 'default',
      ownerKind: '',
      phase: 'Running',
      startedAt: truth.status.startTime,
    });
    expect(pod.containers).toMatchObject([
      { name: 'first', type: 'init', id: idOf('initContainerStatuses', 'first') },
      { name: 'beside', type: 'sidecar', id: idOf('initContainerStatuses', 'beside') },
      { name: 'main', type: 'container', id: idOf('containerStatuses', 'main'), probeCommands: ['true\0x y'] },
      { name: 'second', type: 'container', id: idOf('containerStatuses', 'second') },
    ]);
    for (const { imageName, imageDigest, runtime } of pod.containers) {
      expect(imageName).toBe(TEST_IMAGE);
      expect(imageDigest).toMatch(/^sha256:[0-9a-f]{64}$/);
      expect(truth.status.containerStatuses[0].containerID).toContain(`${runtime}://`);
    }
    // A runtime without a registry's manifest reports the id of the image that was loaded.
    if (!truth.status.containerStatuses[0].imageID.includes('@')) expect(pod.containers[0]?.imageDigest).toBe(image.id);
    expect(source.status()).toMatchObject({ reachable: true, skippedPods: 0, insecure: false, lastError: '' });
  });

  it('reads the controllers: Deployment, DaemonSet, CronJob', async () => {
    const template = (app: string, more: KubeObject = {}) => ({
      metadata: { labels: { app } },
      spec: { ...testPod(namespace, app).spec, ...more },
    });
    const meta = (name: string) => ({ name, namespace });
    const selector = (app: string) => ({ matchLabels: { app } });
    await cluster.apply(
      {
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: meta('web'),
        spec: { selector: selector('web'), template: template('web') },
      },
      {
        apiVersion: 'apps/v1',
        kind: 'DaemonSet',
        metadata: meta('each'),
        spec: { selector: selector('each'), template: template('each') },
      },
      {
        apiVersion: 'batch/v1',
        kind: 'CronJob',
        metadata: meta('nightly'),
        spec: {
          schedule: '* * * * *',
          jobTemplate: { spec: { template: template('nightly', { restartPolicy: 'Never' }) } },
        },
      },
    );
    const source = kubelet(reader);
    const expected = [
      ['web', 'Deployment', 'web', true],
      ['each', 'DaemonSet', 'each', false],
      ['nightly', 'CronJob', 'nightly', true],
    ] as const;
    for (const [app, kind, name, derived] of expected) {
      const pod = await cluster.waitFor(`pod of ${name}`, async () => {
        const pods = await source.refresh('test');
        return pods.find((each) => each.namespace === namespace && each.labels['app'] === app);
      });
      expect([pod.ownerKind, pod.ownerName, pod.ownerDerived]).toEqual([kind, name, derived]);
    }
  });

  it('gets 403 for everything else', async () => {
    const token = readFileSync(reader.tokenFile, 'utf8');
    const ca = readFileSync(cluster.kubeletCaFile, 'utf8');
    for (const path of ['/metrics', '/configz', '/stats/summary', '/logs/', `/run/${namespace}/workload/main?cmd=id`]) {
      const { status } = await getFromKubelet(
        {
          url: new URL(path, node.kubeletUrl),
          nodeName: node.name,
          token,
          ca,
          caFile: cluster.kubeletCaFile,
          insecure: false,
          timeoutMs: 10_000,
          maxBytes: 1 << 20,
          signal: new AbortController().signal,
        },
        async () => undefined,
      );
      expect([path, status]).toEqual([path, 403]);
    }
    const as = `--as=system:serviceaccount:${namespace}:${reader.name}`;
    for (const ask of [
      ['list', 'pods'],
      ['get', 'nodes'],
      ['get', 'nodes', '--subresource=proxy'],
      ['get', 'secrets'],
    ]) {
      const answer = await cluster.kubectl('auth', 'can-i', ...ask, '-A', as).catch((error) => error.stdout);
      expect([ask, answer.trim()]).toEqual([ask, 'no']);
    }
  });
});

describe('the real kubelet refuses', () => {
  it('an account without the permission, and the error names it', async () => {
    const source = kubelet(nobody);
    await expect(source.refresh('test')).rejects.toMatchObject({ kind: 'forbidden' });
    expect(source.status().lastError).toContain('nodes/pods: get');
  });

  it('a token that is none', async () => {
    const { tokenFile, ...account } = nobody;
    const spoiled = `${tokenFile}.spoiled`;
    writeFileSync(spoiled, 'not-a-token');
    await expect(kubelet({ ...account, tokenFile: spoiled }).refresh('test')).rejects.toMatchObject({
      kind: 'unauthorized',
    });
  });
});

describe('on the node itself', () => {
  it('joins the cgroups of a running pod with the kubelet, from its birth to its end', async (context) => {
    if (!node.isThisMachine) context.skip('the node is another machine');
    const mount = findCgroupMount();
    const told: string[] = [];
    const table = new WorkloadTable();
    const source = kubelet(reader);
    const resolver = new PodResolver({
      kubelet: source,
      table,
      slowMs: 500,
      fastMs: 500,
      onPod: ({ state, pod }) => pod.namespace === namespace && pod.name === 'short' && told.push(state),
    });
    await cluster.apply(testPod(namespace, 'short', { nodeName: node.name, labels: { app: 'short' } }));
    const truth: KubeObject = await cluster.runningPod(namespace, 'short');
    const containerId = bareId(truth.status.containerStatuses[0].containerID);
    const { cgroups } = walkCgroups(mount.dir);
    const main = cgroups.find((each) => each.containerId === containerId && each.rootId === each.id);
    if (main === undefined) throw new Error(`no cgroup of container ${containerId} below ${mount.dir}`);
    table.addFound(cgroups);
    const get = () => table.get(Number(main.id & 0xffffffffn), Number(main.id >> 32n));
    expect(get()).toMatchObject({ state: 'pending', podUid: truth.metadata.uid, containerId, podName: '' });

    await resolver.start();
    await cluster.waitFor('the name', async () => (get().state === 'complete' ? true : undefined));
    expect(get()).toMatchObject({
      podName: 'short',
      namespace,
      containerName: 'main',
      labels: { app: 'short' },
      imageName: TEST_IMAGE,
      cgroupPath: main.path,
    });
    const sandbox = cgroups.find(
      ({ podUid, containerId: id }) => podUid === truth.metadata.uid && id !== '' && id !== containerId,
    );
    if (sandbox !== undefined) {
      const workload = table.get(Number(sandbox.id & 0xffffffffn), Number(sandbox.id >> 32n));
      expect(workload).toMatchObject({ state: 'complete', podName: 'short', containerName: '' });
    }
    const first = firstProcess(containerTgids(mount.dir, main.path));
    expect(readFileSync(`/proc/${first?.tgid}/cmdline`, 'utf8').split('\0')).toEqual(['sleep', '100000', '']);

    await cluster.kubectl('delete', 'pod', 'short', '-n', namespace);
    for (const { id, podUid } of cgroups) if (podUid === truth.metadata.uid) table.rmdir(id);
    await cluster.waitFor('the end', async () => (told.at(-1) === 'gone' ? true : undefined));
    expect(get()).toMatchObject({ state: 'complete', podName: 'short' });
    resolver.stop();
  });
});

describe('the Pods API of the node itself', () => {
  /** Undefined: this kubelet has none, or is on another machine. */
  const socket = () => {
    const path = join(PODS_API_DIR, PODS_API_SOCKET);
    return node.isThisMachine && statSync(path, { throwIfNoEntry: false })?.isSocket() ? path : undefined;
  };
  const open = () => new PodsApi({ retry: { next: () => 500, reset: () => {} } });

  it('says the same pods as /pods', async (context) => {
    if (socket() === undefined) context.skip('this kubelet has no Pods API');
    const source = kubelet(reader);
    const table = new WorkloadTable();
    const api = open();
    const resolver = new PodResolver({ podsApi: api, table, onPod: () => {} });
    await resolver.start();
    // What the API server has of a pod follows what the kubelet has.
    await cluster.waitFor('the same pods', async () => {
      const [mine, theirs] = [await api.list('test'), await source.refresh('test')];
      const byUid = (pods: readonly Pod[]) => [...pods].sort((a, b) => (a.uid < b.uid ? -1 : 1));
      return isDeepStrictEqual(byUid(mine), byUid(theirs)) ? true : undefined;
    });
    expect(api.status()).toMatchObject({ skippedPods: 0, reachable: true });
    resolver.stop();
  });

  it('tells a pod from its birth to its end, so that /pods is not read', async (context) => {
    if (socket() === undefined) context.skip('this kubelet has no Pods API');
    const told: string[] = [];
    const source = kubelet(reader);
    const resolver = new PodResolver({
      podsApi: open(),
      kubelet: source,
      table: new WorkloadTable(),
      takeoverMs: 60_000,
      onPod: ({ state, pod, source: by }) => pod.name.startsWith('brief') && told.push(`${by} ${state} ${pod.phase}`),
    });
    await resolver.start();
    const spec = { restartPolicy: 'Never', containers: [testContainer('main', ['true'])] };
    await cluster.apply(testPod(namespace, 'brief', { ...spec, nodeName: node.name }));
    const end = await cluster.waitFor('its end', async () =>
      told.at(-1)?.startsWith('pods-api gone') ? told : undefined,
    );
    expect(end[0]).toBe('pods-api seen Pending');
    expect(end).toContain('pods-api seen Succeeded');
    expect(end.filter((each) => each.includes('gone'))).toEqual(['pods-api gone Succeeded']);
    expect(source.status().requests).toBe(0);
    expect(resolver.status()).toMatchObject({ source: 'pods-api', problem: '' });
    resolver.stop();
  });
});
