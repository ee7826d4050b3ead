import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttp, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { apiServerUrl, askApiServer } from '../../../src/kubernetes/facts-api.ts';
import { askMetadata } from '../../../src/kubernetes/facts-cloud.ts';
import { NodeFactsKeeper, type NodeFactsOptions } from '../../../src/kubernetes/node-facts.ts';
import { Authority } from './certificates.ts';

const dir = mkdtempSync(join(tmpdir(), 'kerntap-node-facts-'));
const authority = new Authority();
const tokenFile = join(dir, 'token');
const servers: Server[] = [];
const keepers: NodeFactsKeeper[] = [];

beforeAll(() => writeFileSync(tokenFile, 'the-token\n'));
afterEach(() => {
  for (const keeper of keepers.splice(0)) keeper.stop();
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});
afterAll(() => {
  rmSync(dir, { recursive: true });
  rmSync(authority.dir, { recursive: true });
});

type Answer = (req: IncomingMessage, res: ServerResponse) => void;

async function listen(server: Server, answer: Answer): Promise<number> {
  servers.push(server);
  server.on('request', answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

const { cert, key } = authority.issue('apiserver', 'IP:127.0.0.1');

async function apiServer(answer: Answer) {
  const port = await listen(createHttps({ cert, key }), answer);
  return { url: `https://127.0.0.1:${port}`, tokenFile, caFile: authority.caFile };
}

async function metadataServer(answer: Answer): Promise<string> {
  return `http://127.0.0.1:${await listen(createHttp(), answer)}`;
}

const NODE = {
  metadata: {
    name: 'node-a',
    uid: 'uid-of-the-node',
    labels: { pool: 'gpu', 'topology.kubernetes.io/region': 'eu-west-1', 'topology.kubernetes.io/zone': 'eu-west-1b' },
    annotations: {},
  },
  spec: { providerID: 'aws:///eu-west-1b/i-0123456789abcdef0' },
  status: {
    addresses: [
      { type: 'InternalIP', address: '10.0.0.1' },
      { type: 'InternalIP', address: 'fd00::1' },
      { type: 'Hostname', address: 'ip-10-0-0-1.ec2.internal' },
    ],
    nodeInfo: { machineID: 'of-the-machine', osImage: 'Bottlerocket OS 1.30', kernelVersion: '6.1' },
  },
};
const KUBE_SYSTEM = { metadata: { name: 'kube-system', uid: 'uid-of-the-cluster' } };

/** As an API server answers whoever has both rights. */
const bothObjects: Answer = ({ url }, res) => {
  if (url?.startsWith('/api/v1/nodes/node-a?')) res.end(JSON.stringify(NODE));
  else if (url?.startsWith('/api/v1/namespaces/kube-system?')) res.end(JSON.stringify(KUBE_SYSTEM));
  else res.writeHead(404).end();
};

describe('the API server', () => {
  it('tells of the node and of the cluster, from its cache, by two GETs with the own token', async () => {
    const asked: string[] = [];
    const options = await apiServer((req, res) => {
      asked.push(`${req.method} ${req.url} ${req.headers.authorization}`);
      bothObjects(req, res);
    });
    const found = await askApiServer({ ...options, nodeName: 'node-a' });
    expect(found.problems).toEqual([]);
    expect(found.labels).toEqual(NODE.metadata.labels);
    expect(Object.assign({}, ...found.tellings.map(({ facts }) => facts))).toEqual({
      nodeUid: 'uid-of-the-node',
      nodeIps: ['10.0.0.1', 'fd00::1'],
      hostName: 'ip-10-0-0-1.ec2.internal',
      osDescription: 'Bottlerocket OS 1.30',
      cloudProvider: 'aws',
      hostId: 'i-0123456789abcdef0',
      cloudRegion: 'eu-west-1',
      cloudAvailabilityZone: 'eu-west-1b',
      clusterUid: 'uid-of-the-cluster',
    });
    expect(asked.sort()).toEqual([
      'GET /api/v1/namespaces/kube-system?resourceVersion=0 Bearer the-token',
      'GET /api/v1/nodes/node-a?resourceVersion=0 Bearer the-token',
    ]);
  });

  it.each([
    ['gce://shop-prod/europe-west1-b/gke-1', { cloudProvider: 'gcp', cloudAccountId: 'shop-prod', hostId: '6317' }],
    [
      'azure:///subscriptions/0b1f/resourceGroups/rg/providers/Microsoft.Compute/virtualMachineScaleSets/s/virtualMachines/0',
      { cloudProvider: 'azure', cloudAccountId: '0b1f' },
    ],
    ['kind://docker/kind/kind-control-plane', {}],
    ['', {}],
  ])('names the cloud by the provider id %s', async (providerID, expected) => {
    const annotations = { 'container.googleapis.com/instance_id': '6317' };
    const options = await apiServer((_req, res) =>
      res.end(JSON.stringify({ metadata: { annotations }, spec: { providerID } })),
    );
    const { tellings } = await askApiServer({ ...options, nodeName: 'n' });
    const { cloudProvider, cloudAccountId, hostId } = tellings[0]?.facts ?? {};
    expect(JSON.parse(JSON.stringify({ cloudProvider, cloudAccountId, hostId }))).toEqual(expected);
  });

  it('may refuse one of the two: the right that is missing is named, the other is told', async () => {
    const options = await apiServer((req, res) => {
      if (req.url?.includes('/nodes/')) res.writeHead(403).end('{}');
      else bothObjects(req, res);
    });
    const found = await askApiServer({ ...options, nodeName: 'node-a' });
    expect(found.problems).toEqual([
      'the API server refuses /api/v1/nodes/node-a (403): the service account needs nodes: get',
    ]);
    expect(found.labels).toBeUndefined();
    expect(found.tellings[1]?.facts).toEqual({ clusterUid: 'uid-of-the-cluster' });
  });

  it.each<[string, Answer, RegExp]>([
    ['answers with garbage', (_req, res) => res.end('{"meta'), /JSON/],
    ['answers without end', (_req, res) => res.write(Buffer.alloc(5 << 20)), /over 4194304 bytes/],
    ['never answers', () => {}, /no whole reply in 200 ms/],
    ['breaks off', (_req, res) => res.write('{', () => res.destroy()), /aborted|hang up|ECONNRESET/],
    ['answers with other types', (_req, res) => res.end('{"metadata":[7],"status":{"addresses":{}},"spec":3}'), /^$/],
  ])('costs nothing but its facts where it %s', async (_what, answer, problem) => {
    const options = await apiServer(answer);
    // Short only where it is waited for.
    const timeoutMs = problem.source.includes('200 ms') ? 200 : 10_000;
    const found = await askApiServer({ ...options, nodeName: 'n', timeoutMs });
    expect(found.problems.join()).toMatch(problem);
    expect(
      Object.values(Object.assign({}, ...found.tellings.map(({ facts }) => facts)))
        .flat()
        .join(''),
    ).toBe('');
  });

  it('gets the token only where its certificate is of the cluster', async () => {
    const other = new Authority();
    let asked = 0;
    const options = await apiServer((_req, res) => {
      asked++;
      res.end('{}');
    });
    const found = await askApiServer({ ...options, caFile: other.caFile, nodeName: 'n' });
    rmSync(other.dir, { recursive: true });
    expect(found.problems).toHaveLength(2);
    expect(asked).toBe(0);
  });

  it('is where the environment of a pod says', () => {
    expect(apiServerUrl({})).toBeUndefined();
    expect(apiServerUrl({ KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '443' })).toBe(
      'https://10.96.0.1:443',
    );
    expect(apiServerUrl({ KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT_HTTPS: '6443' })).toBe(
      'https://[fd00::1]:6443',
    );
  });
});

/** EC2's service with version 1 switched off. */
const ec2: Answer = (req, res) => {
  const token = 'AQAEA-token==';
  if (req.method === 'PUT' && req.url === '/latest/api/token' && req.headers['x-aws-ec2-metadata-token-ttl-seconds']) {
    res.end(token);
  } else if (req.headers['x-aws-ec2-metadata-token'] !== token) {
    res.writeHead(401).end();
  } else if (req.url === '/latest/dynamic/instance-identity/document') {
    const document = { accountId: '123456789012', region: 'eu-west-1', availabilityZone: 'eu-west-1b' };
    res.end(JSON.stringify({ ...document, instanceId: 'i-0123456789abcdef0', kernelId: null }));
  } else {
    res.writeHead(404).end();
  }
};

const azure: Answer = (req, res) => {
  const url = new URL(req.url ?? '', 'http://x');
  if (
    req.headers['metadata'] !== 'true' ||
    url.pathname !== '/metadata/instance/compute' ||
    !url.searchParams.has('api-version')
  )
    return void res.writeHead(400).end();
  res.end(JSON.stringify({ vmId: '02aab8a4', subscriptionId: '8d10da13', location: 'westeurope', zone: '2' }));
};

const GCE: Readonly<Record<string, string>> = {
  '/computeMetadata/v1/instance/id': '6317',
  '/computeMetadata/v1/instance/zone': 'projects/42/zones/europe-west1-b',
  '/computeMetadata/v1/project/project-id': 'shop-prod',
};
const gcp: Answer = (req, res) => {
  const value = req.headers['metadata-flavor'] === 'Google' ? GCE[req.url ?? ''] : undefined;
  res.writeHead(value === undefined ? 403 : 200, { 'metadata-flavor': 'Google' }).end(value ?? '');
};

describe("a cloud's metadata service", () => {
  it.each([
    ['aws', ec2, ['i-0123456789abcdef0', '123456789012', 'eu-west-1', 'eu-west-1b']],
    ['azure', azure, ['02aab8a4', '8d10da13', 'westeurope', 'westeurope-2']],
    ['gcp', gcp, ['6317', 'shop-prod', 'europe-west1', 'europe-west1-b']],
  ] as const)('of %s tells instance, account, region and zone', async (provider, answer, expected) => {
    const { source, facts } = await askMetadata({ provider, url: await metadataServer(answer) });
    const { cloudProvider, hostId, cloudAccountId, cloudRegion, cloudAvailabilityZone } = facts;
    expect(source).toBe('metadata_service');
    expect(cloudProvider).toBe(provider);
    expect([hostId, cloudAccountId, cloudRegion, cloudAvailabilityZone]).toEqual(expected);
  });

  it.each<['aws' | 'azure' | 'gcp', string, Answer, RegExp]>([
    ['aws', 'refuses a token', (_req, res) => res.writeHead(403).end(), /answered 403 for \/latest\/api\/token/],
    ['aws', 'gives no token', (_req, res) => res.end('two words\n'), /no token/],
    ['azure', 'answers with a list', (_req, res) => res.end('null'), /object/],
    ['gcp', 'is another server', (_req, res) => res.end('6317'), /not of a Google/],
    ['aws', 'never answers (a hop limit of 1)', () => {}, /no whole reply in 200 ms/],
  ])('of %s that %s is an error', async (provider, _what, answer, message) => {
    const url = await metadataServer(answer);
    await expect(askMetadata({ provider, url, timeoutMs: 200 })).rejects.toThrow(message);
  });

  it('fills nothing in but words', async () => {
    const url = await metadataServer((_req, res) =>
      res.end('{"vmId":7,"location":"a b","zone":"2","subscriptionId":"x\\u001b["}'),
    );
    const { facts } = await askMetadata({ provider: 'azure', url });
    expect(facts).toEqual({
      cloudProvider: 'azure',
      hostId: '',
      cloudAccountId: '',
      cloudRegion: '',
      cloudAvailabilityZone: '',
    });
  });
});

const IN_POD = { KUBERNETES_SERVICE_HOST: '10.96.0.1', NODE_NAME: 'node-a' };

function keep(options: NodeFactsOptions): NodeFactsKeeper {
  const keeper = new NodeFactsKeeper({ env: IN_POD, sys: '/nonexistent', ...options });
  keepers.push(keeper);
  return keeper;
}

function sysTree(fields: Readonly<Record<string, string>>): string {
  const sys = mkdtempSync(join(dir, 'sys-'));
  mkdirSync(join(sys, 'class/dmi/id'), { recursive: true });
  for (const [name, content] of Object.entries(fields)) writeFileSync(join(sys, 'class/dmi/id', name), `${content}\n`);
  return sys;
}

describe('the keeper of the facts', () => {
  it('asks nobody unless it is told to', async () => {
    const keeper = keep({});
    await keeper.start();
    expect(keeper.facts).toMatchObject({
      nodeName: 'node-a',
      cloudProvider: '',
      clusterUid: '',
      sources: { node_name: 'environment' },
    });
  });

  it('lays values over the node object, that over the metadata service, that over the firmware', async () => {
    const keeper = keep({
      values: { cloudAccountId: 'by-value' },
      sys: sysTree({ sys_vendor: 'Amazon EC2', board_asset_tag: 'i-0ffffffffffffffff' }),
      apiServer: await apiServer(bothObjects),
      metadata: { provider: 'auto', url: await metadataServer(ec2) },
    });
    await keeper.start();
    expect(keeper.problems).toEqual([]);
    expect(keeper.facts).toMatchObject({
      cloudAccountId: 'by-value',
      hostId: 'i-0123456789abcdef0',
      machineId: 'of-the-machine',
      clusterUid: 'uid-of-the-cluster',
      hostName: 'ip-10-0-0-1.ec2.internal',
      cloudProvider: 'aws',
    });
    expect(keeper.facts.sources).toMatchObject({
      cloud_account_id: 'value',
      host_id: 'node_object',
      machine_id: 'node_object',
      cluster_uid: 'namespace_object',
      cloud_region: 'node_object',
    });
    expect(keeper.labels).toMatchObject({ pool: 'gpu' });
  });

  it("asks the metadata service of the firmware's cloud, once, and says where the firmware names none", async () => {
    let asked = 0;
    const url = await metadataServer((req, res) => {
      asked++;
      ec2(req, res);
    });
    const sys = sysTree({ sys_vendor: 'Amazon EC2' });
    let refreshes = 0;
    const api = await apiServer((_req, res) => {
      refreshes++;
      res.end('{}');
    });
    const keeper = keep({ sys, metadata: { provider: 'auto', url }, apiServer: api, refreshMs: 1 });
    await keeper.start();
    const sources = { host_id: 'metadata_service', cloud_provider: 'metadata_service' };
    expect(keeper.facts).toMatchObject({ hostId: 'i-0123456789abcdef0', sources });
    await vi.waitFor(() => expect(refreshes).toBeGreaterThan(6));
    expect(asked).toBe(2);
    const none = keep({ metadata: { provider: 'auto', url } });
    await none.start();
    expect(none.problems).toEqual([expect.stringMatching(/firmware names none/)]);
    expect(asked).toBe(2);
  });

  it('asks again until it is answered, tells of each problem once, and of what came', async () => {
    let up = false;
    const options = await apiServer((req, res) => {
      if (up) bothObjects(req, res);
      else res.writeHead(503).end();
    });
    const problems: string[] = [];
    let changes = 0;
    const keeper = keep({
      apiServer: options,
      retryMs: 1,
      onProblem: (problem) => problems.push(problem),
      onChange: () => changes++,
    });
    await keeper.start();
    expect(keeper.facts.clusterUid).toBe('');
    await vi.waitFor(() => expect(keeper.problems).toHaveLength(2));
    up = true;
    await vi.waitFor(() => expect(keeper.facts.clusterUid).toBe('uid-of-the-cluster'));
    expect(problems).toHaveLength(2);
    expect(changes).toBe(1);
    expect(keeper.problems).toEqual([]);
  });

  it('keeps what was known while the API server is away, and follows the labels of the node', async () => {
    let state: 'first' | 'away' | 'relabelled' = 'first';
    const options = await apiServer((req, res) => {
      if (state === 'away') res.writeHead(500).end();
      else if (state === 'relabelled' && req.url?.includes('/nodes/'))
        res.end(JSON.stringify({ ...NODE, metadata: { ...NODE.metadata, labels: { pool: 'cpu' } } }));
      else bothObjects(req, res);
    });
    const keeper = keep({ apiServer: options, retryMs: 1, refreshMs: 1 });
    await keeper.start();
    state = 'away';
    await vi.waitFor(() => expect(keeper.problems).toHaveLength(2));
    expect(keeper.facts).toMatchObject({ nodeUid: 'uid-of-the-node', clusterUid: 'uid-of-the-cluster' });
    expect(keeper.labels).toMatchObject({ pool: 'gpu' });
    state = 'relabelled';
    await vi.waitFor(() => expect(keeper.labels).toEqual({ pool: 'cpu' }));
  });

  it('lets the first stream wait two seconds, no longer, for an answer that does not come', async () => {
    const keeper = keep({ apiServer: await apiServer(() => {}) });
    const before = performance.now();
    await keeper.start();
    expect(performance.now() - before).toBeGreaterThan(1900);
    expect(performance.now() - before).toBeLessThan(3500);
  });
});
