import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Lake } from '../hunts.ts';
import { Cluster, type KubeObject, testContainer, testPod } from './cluster.ts';
import { deployByHand } from './manifest.ts';
import { collected, EVENTS_DIR, type Product, type Row } from './product.ts';

/** The API server's audit log: audit.k8s.io/v1 as lines of JSON, with pods/exec at least at level Metadata. */
const AUDIT_LOG = process.env['CLUSTER_AUDIT_LOG'];

const CLUSTER_NAME = 'cluster-of-the-test';
const SLOW_MS = 180_000;
const PORT = 8080;
const PROBE = ['true', 'by-the-probe'];
/** With a slash: what it calls `true` the shell does itself. */
const COMMAND = ['sh', '-c', '/bin/true by-kubectl & /bin/true "ü + 100%=x"; wait'];

let cluster: Cluster;
let product: Product;
let namespace: string;
let dir: string;
let lake: Lake;
let service: KubeObject;

/** The files of these kinds, as they are: what is still written up to its last whole line. */
const COPIER = `
const { readdirSync, readFileSync } = require('node:fs');
const [dir, kinds] = process.argv.slice(1);
for (const { name, parentPath } of readdirSync(dir, { recursive: true, withFileTypes: true }).filter((e) => e.isFile())) {
  const path = (parentPath + '/' + name).slice(dir.length + 1);
  if (!kinds.split(',').includes(/kind=([^/]+)/.exec(path)[1])) continue;
  const text = readFileSync(dir + '/' + path, 'utf8');
  console.log(JSON.stringify({ path: path.replace(/\\.tmp$/, ''), text: text.slice(0, text.lastIndexOf('\\n') + 1) }));
}`;

async function copyEvents(): Promise<void> {
  const kinds = 'process.exec,process.exit,socket.connect,socket.accept,socket.close,kerntap.pod,kerntap.loss';
  const command = ['node', '-e', COPIER, EVENTS_DIR, kinds];
  const { namespace: home, collector } = product;
  const out = await cluster.kubectl('exec', '-n', home, collector, '-c', 'collector', '--', ...command);
  for (const line of out.split('\n').filter(Boolean)) {
    const { path, text } = JSON.parse(line) as { path: string; text: string };
    const file = join(dir, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
}

function found(what: string, kind: string, ...needles: string[]): Promise<Row> {
  return cluster.waitFor(what, async () => (await collected(product, [kind], ...needles))[0], SLOW_MS);
}

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'kt-cluster-lake-'));
  cluster = await Cluster.open();
  cluster.loadTestImage();
  namespace = await cluster.namespace('kerntap-hunts');
  product = await deployByHand(cluster, {
    clusterName: CLUSTER_NAME,
    tail: { enabled: false },
    budgets: { containerEventsPerSecond: 0, nodeEventsPerSecond: 0, cpuCores: 0 },
  });
  await found('the last probe at the collector', 'kerntap.probe', '"probe_kind":"socket.close"', '"probe_state":"on"');
  const probed = {
    ...testContainer('main'),
    readinessProbe: { exec: { command: PROBE }, periodSeconds: 1 },
  };
  await cluster.apply(
    testPod(namespace, 'shell', { containers: [probed] }),
    testPod(namespace, 'server', {
      labels: { app: 'server' },
      containers: [testContainer('main', ['nc', '-ll', '-p', String(PORT), '-e', 'cat'])],
    }),
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'server', namespace },
      spec: { selector: { app: 'server' }, ports: [{ port: 80, targetPort: PORT }] },
    },
  );
  await cluster.runningPod(namespace, 'shell');
  await cluster.runningPod(namespace, 'server');
  service = await cluster.waitFor('the service', async () => {
    const ends = await cluster.get('endpoints', 'server', namespace);
    return ends.subsets?.[0]?.addresses?.length > 0 ? cluster.get('service', 'server', namespace) : undefined;
  });
  const ask = `until echo hello | nc -w 3 ${service.spec.clusterIP} 80; do sleep 1; done`;
  const client = testContainer('main', ['sh', '-c', ask]);
  await cluster.apply(testPod(namespace, 'client', { restartPolicy: 'Never', containers: [client] }));
  await cluster.kubectl('exec', '-n', namespace, 'shell', '-c', 'main', '--', ...COMMAND);

  await found('the exec', 'process.exec', '"by-kubectl"');
  await found('the probe', 'process.exec', '"by-the-probe"');
  await found('the accept', 'socket.accept', `"network_local_port":${PORT}`);
  await found("the server's end of it", 'socket.close', `"network_local_port":${PORT}`);
  for (const pod of ['shell', 'server', 'client']) {
    await found(`the record of ${pod}`, 'kerntap.pod', `"k8s_pod_name":"${pod}"`, namespace, '"container_id"');
  }
  await copyEvents();
  lake = await Lake.open(dir, AUDIT_LOG ? { audit: AUDIT_LOG, auditCluster: CLUSTER_NAME } : {});
});

afterAll(async () => {
  lake?.close();
  await cluster?.close();
  rmSync(dir, { recursive: true, force: true });
});

describe('the views over what the cluster did', () => {
  it('name both pods of a connection through a ClusterIP', async () => {
    const address = async (pod: string) => (await cluster.get('pod', pod, namespace)).status.podIP;
    const rows = await lake.query(
      `SELECT * FROM connections WHERE orig_namespace = '${namespace}' AND orig_pod = 'client' AND result = 0`,
    );
    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatchObject({
      orig_namespace: namespace,
      orig_address: await address('client'),
      resp_address: service.spec.clusterIP,
      resp_port: 80n,
      reached_address: await address('server'),
      reached_port: BigInt(PORT),
      resp_namespace: namespace,
      resp_pod: 'server',
      resp_by: 'event',
      resp_node: rows[0]?.['orig_node'],
    });
  });

  it.skipIf(!AUDIT_LOG)(
    'find the process of a kubectl exec, and tell the exec probes beside it apart (CLUSTER_AUDIT_LOG)',
    async () => {
      const me = JSON.parse(await cluster.kubectl('auth', 'whoami', '-o', 'json')).status.userInfo.username;
      const rows = await lake.query(
        `SELECT cause, username, command, k8s_container_name AS container, process_executable_path AS exe FROM exec_audit
       WHERE k8s_namespace_name = '${namespace}' AND k8s_pod_name = 'shell' ORDER BY time`,
      );
      const by = (cause: string) => rows.filter((row) => row['cause'] === cause);
      expect(by('kubectl')).toEqual([
        { cause: 'kubectl', username: me, command: COMMAND, container: 'main', exe: expect.stringContaining('/bin/') },
      ]);
      expect(by('probe').length).toBeGreaterThan(0);
      for (const probe of by('probe')) expect(probe).toMatchObject({ command: PROBE, username: null });
      expect(rows.filter(({ cause }) => cause !== 'kubectl' && cause !== 'probe')).toEqual([]);
    },
  );

  it.skipIf(!AUDIT_LOG)('lead from the exec to what it ran, by the hunt (CLUSTER_AUDIT_LOG)', async () => {
    const visit = (await lake.hunt('kubectl-exec')).filter((row) => row['k8s_namespace_name'] === namespace);
    expect(visit.map((row) => row['process_command_args'])).toEqual(
      expect.arrayContaining([COMMAND, ['/bin/true', 'by-kubectl'], ['/bin/true', 'ü + 100%=x']]),
    );
  });
});
