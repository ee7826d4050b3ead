import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster, type KubeObject, testContainer, testPod } from './cluster.ts';
import { helm, install, RELEASE } from './helm.ts';
import { collected, type Product, podsOf } from './product.ts';

const REGION = 'topology.kubernetes.io/region';
const ZONE = 'topology.kubernetes.io/zone';
/** What the node is labelled with for the test, and taken back. */
const LABELS = { [REGION]: 'test-region-1', [ZONE]: 'test-region-1a', 'kerntap.dev/pool': 'facts' };

let cluster: Cluster;
let namespace: string;
let product: Product;
let node: KubeObject;

beforeAll(async () => {
  cluster = await Cluster.open();
  cluster.loadTestImage();
  namespace = await cluster.namespace('kerntap-facts');
  const nodes = JSON.parse(await cluster.kubectl('get', 'nodes', '-o', 'json'));
  const { name } = nodes.items[0].metadata;
  const pairs = Object.entries(LABELS).map(([label, value]) => `${label}=${value}`);
  await cluster.kubectl('label', 'node', name, '--overwrite', ...pairs);
  node = await cluster.get('node', name, namespace);
  product = await install(cluster, namespace, {
    node: { apiServer: true, cloudAccountId: 'account-7' },
    config: {
      overrides: [{ match: { nodeLabels: { 'kerntap.dev/pool': 'facts' } }, set: { probes: { 'file.chmod': 'off' } } }],
    },
  });
});

afterAll(async () => {
  await helm('uninstall', RELEASE, '-n', namespace, '--ignore-not-found').catch(() => {});
  const removed = Object.keys(LABELS).map((label) => `${label}-`);
  if (node !== undefined) await cluster.kubectl('label', 'node', node.metadata.name, ...removed).catch(() => {});
  await cluster?.close();
});

async function doctor(): Promise<KubeObject> {
  const pods = await podsOf(product, product.agent);
  const { name } = pods.find(({ spec }) => spec.nodeName === node.metadata.name).metadata;
  return JSON.parse(
    await cluster.kubectl('exec', '-n', namespace, name, '-c', 'agent', '--', 'kerntap', 'doctor', '--json'),
  );
}

describe('the facts of a node', () => {
  it('are on its events, as the API server and the values have them', async () => {
    await cluster.apply(testPod(namespace, 'act', { containers: [testContainer('main', ['/bin/true', 'facts-act'])] }));
    const row = await cluster.waitFor(
      'an exec at the collector',
      async () => (await collected(product, ['process.exec'], 'facts-act', node.metadata.name))[0],
    );
    const kubeSystem = await cluster.get('namespace', 'kube-system', namespace);
    const hostname = node.status.addresses.find(({ type }: KubeObject) => type === 'Hostname').address;
    expect(row).toMatchObject({
      k8s_cluster_uid: kubeSystem.metadata.uid,
      k8s_node_name: node.metadata.name,
      host_name: hostname,
      cloud_account_id: 'account-7',
      cloud_region: LABELS[REGION],
      cloud_availability_zone: LABELS[ZONE],
    });
    expect(row['host_id']).toBeTruthy();
  });

  it('are told by kerntap doctor, each with its source', async () => {
    const { facts, checks } = await doctor();
    const sourceOf = (name: string) => facts.find((fact: KubeObject) => fact.name === name)?.source;
    expect(facts).toContainEqual({
      name: 'node_uid',
      value: node.metadata.uid,
      source: expect.stringMatching(/token|node_object/),
    });
    expect(sourceOf('cluster_uid')).toBe('namespace_object');
    expect(sourceOf('cloud_account_id')).toBe('value');
    expect(sourceOf('os_description')).toBe('node_object');
    expect(checks.filter(({ id }: KubeObject) => id === 'node_facts')).toEqual([]);
    // Kubernetes 1.35 and newer copies the topology labels to the pod: no right is needed for them.
    const [pod] = await podsOf(product, product.agent);
    expect(sourceOf('cloud_region')).toBe(pod?.metadata.labels[REGION] === undefined ? 'node_object' : 'environment');
  });

  it("decide which of the file's overrides hold: those for the node's labels", async () => {
    const chmod = await cluster.waitFor('the override', async () => {
      const { probes } = await doctor();
      const found = probes.find(({ kind }: KubeObject) => kind === 'file.chmod');
      return found.state === 'off' ? found : undefined;
    });
    expect(chmod).toMatchObject({ state: 'off' });
  });

  it('cost two rights: no list, no watch, no other namespace', async () => {
    const account = `system:serviceaccount:${namespace}:${RELEASE}`;
    const can = (verb: string, what: string) =>
      cluster.kubectl('auth', 'can-i', verb, what, '--as', account).then(
        (words) => words.trim(),
        // "no" is a failure to kubectl.
        (error: KubeObject) => String(error.stdout).trim(),
      );
    expect(await can('get', `nodes/${node.metadata.name}`)).toBe('yes');
    expect(await can('get', 'namespaces/kube-system')).toBe('yes');
    for (const [verb, what] of [
      ['list', 'nodes'],
      ['watch', 'nodes'],
      ['get', 'namespaces/default'],
      ['list', 'namespaces'],
      ['get', 'pods'],
    ] as const)
      expect(await can(verb, what), `${verb} ${what}`).toBe('no');
  });
});
