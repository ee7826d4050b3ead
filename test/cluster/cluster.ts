import { execFile, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { busyboxEntries, type Image, writeImage } from './image.ts';

const run = promisify(execFile);

/** What kubectl's JSON is read as: the tests' truth, apart from the code under test. */
// biome-ignore lint/suspicious/noExplicitAny: foreign JSON, read by tests only
export type KubeObject = any;

export interface ClusterNode {
  readonly name: string;
  readonly address: string;
  /** https://ADDRESS:10250 */
  readonly kubeletUrl: string;
  /** Its processes and cgroups are this machine's. */
  readonly isThisMachine: boolean;
}

export interface Account {
  readonly namespace: string;
  readonly name: string;
  readonly tokenFile: string;
}

/** The image of the tests' pods: a static busybox. */
export const TEST_IMAGE = 'docker.io/library/kerntap-test:1';

/**
 * A Kubernetes that is there already, from the environment:
 * - KUBECONFIG: an administrator's;
 * - CLUSTER_IMAGE_LOAD: a command that brings an image archive to the nodes, the file's name appended
 *   (`kind load image-archive`);
 * - CLUSTER_IMAGE: name of the product's image, which the nodes have already;
 * - CLUSTER_AUDIT_LOG: file or pattern of the API server's audit log, where it can be read here (hunts.test.ts);
 * - CLUSTER_KUBELET_CA: file with the CA of the kubelets' certificates, where it is not the cluster's own.
 *
 * Everything it makes is in namespaces of its own, gone after close().
 */
export class Cluster {
  /** A temporary folder for the test's files. */
  readonly dir = mkdtempSync(join(tmpdir(), 'kerntap-cluster-'));
  readonly kubeletCaFile: string;
  readonly #cleanUp: string[][] = [];

  private constructor(kubeletCaFile: string | undefined) {
    this.kubeletCaFile = kubeletCaFile ?? join(this.dir, 'ca.crt');
  }

  /** Throws with what is missing. */
  static async open(): Promise<Cluster> {
    if (!process.env['KUBECONFIG']) {
      throw new Error(
        'these tests need a Kubernetes: set KUBECONFIG (and CLUSTER_IMAGE_LOAD, see test/cluster/cluster.ts)',
      );
    }
    const given = process.env['CLUSTER_KUBELET_CA'];
    const cluster = new Cluster(given);
    const root = await cluster.get('configmap', 'kube-root-ca.crt', 'kube-system');
    if (given === undefined) writeFileSync(cluster.kubeletCaFile, root.data['ca.crt']);
    return cluster;
  }

  /** Output of kubectl. Rejects with its error text. */
  async kubectl(...args: string[]): Promise<string> {
    return (await run('kubectl', args, { encoding: 'utf8', timeout: 120_000, maxBuffer: 64 << 20 })).stdout;
  }

  async get(kind: string, name: string, namespace: string): Promise<KubeObject> {
    return JSON.parse(await this.kubectl('get', kind, name, '-n', namespace, '-o', 'json'));
  }

  async apply(...objects: KubeObject[]): Promise<void> {
    const file = join(this.dir, `apply-${randomBytes(4).toString('hex')}.json`);
    writeFileSync(file, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }));
    await this.kubectl('apply', '-f', file);
  }

  /** Makes a namespace of its own and returns its name once pods can be made in it. */
  async namespace(prefix: string): Promise<string> {
    const name = `${prefix}-${randomBytes(3).toString('hex')}`;
    await this.kubectl('create', 'namespace', name);
    this.#cleanUp.push(['delete', 'namespace', name, '--wait=false', '--ignore-not-found']);
    await this.waitFor(`service account of ${name}`, () => this.get('serviceaccount', 'default', name));
    return name;
  }

  /** Makes kinds known by their CustomResourceDefinitions, until close(). Resolves when objects of them can be made. */
  async define(definitions: readonly KubeObject[]): Promise<void> {
    const names = definitions.map(({ metadata }) => `customresourcedefinition/${metadata.name}`);
    const known = await this.kubectl('get', 'customresourcedefinitions', '-o', 'name');
    for (const name of names) {
      if (known.includes(`/${name.slice(name.indexOf('/') + 1)}`)) throw new Error(`this cluster has ${name} already`);
    }
    // Other tests are not to meet them: the chart makes more where they are known.
    this.#cleanUp.push(['delete', '--wait', '--ignore-not-found', ...names]);
    await this.apply(...definitions);
    await this.kubectl('wait', '--for=condition=Established', '--timeout=60s', ...names);
  }

  /** A service account with these cluster-wide rules (none: no rights), and its token in a file. */
  async account(namespace: string, name: string, rules: readonly KubeObject[]): Promise<Account> {
    const role = `${namespace}-${name}`;
    await this.kubectl('create', 'serviceaccount', name, '-n', namespace);
    this.#cleanUp.push(['delete', 'clusterrole,clusterrolebinding', role, '--ignore-not-found']);
    const api = { apiVersion: 'rbac.authorization.k8s.io/v1', metadata: { name: role } };
    await this.apply(
      { ...api, kind: 'ClusterRole', rules },
      {
        ...api,
        kind: 'ClusterRoleBinding',
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
        subjects: [{ kind: 'ServiceAccount', name, namespace }],
      },
    );
    const tokenFile = join(this.dir, `${role}.token`);
    writeFileSync(tokenFile, (await this.kubectl('create', 'token', name, '-n', namespace)).trim(), { mode: 0o600 });
    return { namespace, name, tokenFile };
  }

  async nodes(): Promise<ClusterNode[]> {
    const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const list: KubeObject = JSON.parse(await this.kubectl('get', 'nodes', '-o', 'json'));
    return list.items.map(({ metadata, status }: KubeObject) => {
      const address = status.addresses.find(({ type }: KubeObject) => type === 'InternalIP').address;
      const host = address.includes(':') ? `[${address}]` : address;
      const port = status.daemonEndpoints.kubeletEndpoint.Port;
      const isThisMachine = status.nodeInfo.bootID === bootId;
      return { name: metadata.name, address, kubeletUrl: `https://${host}:${port}`, isThisMachine };
    });
  }

  /** Builds the tests' image and brings it to the nodes. */
  loadTestImage(): Image {
    const file = join(this.dir, 'image.tar');
    const image = writeImage(file, { name: TEST_IMAGE, entries: busyboxEntries(), command: ['/bin/sleep', '100000'] });
    this.loadImage(file);
    return image;
  }

  /** Brings an image archive to the nodes. */
  loadImage(file: string): void {
    const command = process.env['CLUSTER_IMAGE_LOAD'];
    if (!command)
      throw new Error('set CLUSTER_IMAGE_LOAD to a command that loads an image archive (kind load image-archive)');
    execFileSync('sh', ['-c', `${command} "$1"`, 'sh', file], {
      stdio: ['ignore', 'ignore', 'pipe'],
      timeout: 120_000,
    });
  }

  /** Polls until `probe` gives something, and returns that. Rejects after the deadline, with its last error. */
  async waitFor<T>(what: string, probe: () => Promise<T | undefined>, deadlineMs = 90_000): Promise<T> {
    const end = Date.now() + deadlineMs;
    let last: unknown;
    while (Date.now() < end) {
      try {
        const found = await probe();
        if (found !== undefined) return found;
        last = undefined;
      } catch (error) {
        last = error;
      }
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    throw new Error(`${what} did not come in ${deadlineMs} ms`, { cause: last });
  }

  /** The pod, once all its containers run. */
  runningPod(namespace: string, name: string): Promise<KubeObject> {
    return this.waitFor(`pod ${namespace}/${name}`, async () => {
      const pod = await this.get('pod', name, namespace);
      const ready = pod.status.conditions?.some(
        ({ type, status }: KubeObject) => type === 'Ready' && status === 'True',
      );
      return ready ? pod : undefined;
    });
  }

  /** Removes what it made; failures are left to the cluster's owner. */
  async close(): Promise<void> {
    for (const args of this.#cleanUp.reverse()) await this.kubectl(...args).catch(() => {});
    rmSync(this.dir, { recursive: true });
  }
}

/** A pod of the test image, as an object for apply(). */
export function testPod(namespace: string, name: string, more: KubeObject = {}): KubeObject {
  const { labels = {}, ...spec } = more;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels },
    spec: { terminationGracePeriodSeconds: 0, containers: [testContainer('main')], ...spec },
  };
}

export function testContainer(name: string, command: readonly string[] = ['sleep', '100000']): KubeObject {
  return { name, image: TEST_IMAGE, imagePullPolicy: 'Never', command };
}
