/** The views of the lake over what two real agents' collectors wrote, beside what the programs said that they did. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Lake, type LakeRow } from '../hunts.ts';
import { filesUnder } from '../unit/collector/event-files.ts';
import type { BriefTruth } from './brief-container.ts';
import { until } from './condition.ts';
import { KubeletNode } from './kubelet-node.ts';
import { NetworkNamespace } from './network-namespace.ts';
import { OciContainer } from './oci-container.ts';
import { PodObject } from './pod-objects.ts';
import { RunningAgent } from './running-agent.ts';
import { buildTruth } from './truth-program.ts';

const CLUSTER = 'cluster-of-the-test';
const WEB_IP = '10.98.5.1';
const DB_IP = '10.98.5.2';
const OTHER_BOOT = '00000000-0000-4000-8000-00000000000b';

const web = new PodObject({ name: 'web', namespace: 'shop', ip: WEB_IP });
const db = new PodObject({ name: 'db', namespace: 'data', ip: DB_IP });
const shell = new PodObject({ name: 'shell', namespace: 'shop' });

let dir: string;
let lake: Lake;
let client: BriefTruth;
let server: BriefTruth;
/** Wall clock in ms around a call of runc. */
let askedAt: number;
const closers: (() => unknown)[] = [];

/**
 * A collector's files as they are where the agent has a machine of its own: without the containers of the other node,
 * which the kernel that both share showed it too, and (of the second) under another boot id.
 */
async function keep(node: string, agent: RunningAgent, pods: readonly PodObject[], bootId?: string): Promise<void> {
  expect(await agent.stop()).toBe(0);
  const own = new Set<unknown>(pods.map(({ uid }) => uid));
  const events = join(agent.dir, 'events');
  for (const path of filesUnder(events)) {
    const lines = readFileSync(join(events, path), 'utf8')
      .split('\n')
      .filter((line) => line !== '' && isOwn(JSON.parse(line), own));
    if (lines.length === 0) continue;
    const file = join(dir, node, path);
    mkdirSync(dirname(file), { recursive: true });
    const kept =
      bootId === undefined ? lines : lines.map((line) => line.replace(/("host_boot_id":)"[^"]*"/, `$1"${bootId}"`));
    writeFileSync(file, `${kept.join('\n')}\n`);
  }
}

const isOwn = (row: Record<string, unknown>, pods: ReadonlySet<unknown>): boolean =>
  row['k8s_pod_uid'] === undefined || pods.has(row['k8s_pod_uid']);

beforeAll(async () => {
  buildTruth();
  dir = mkdtempSync(join(tmpdir(), 'kt-lake-'));
  closers.push(() => rmSync(dir, { recursive: true, force: true }));
  const nets = [new NetworkNamespace(), new NetworkNamespace()] as const;
  for (const net of nets) closers.push(() => net.remove());
  nets[0].connect(nets[1], 'veth', `${WEB_IP}/24`, 'veth', `${DB_IP}/24`);
  const nodes: KubeletNode[] = [];
  const agents: RunningAgent[] = [];
  for (const nodeName of ['node-a', 'node-b']) {
    const node = await KubeletNode.open({ nodeName });
    closers.push(() => node.close());
    const agent = await RunningAgent.start({ flags: ['--socket', 'off', ...node.flags] });
    closers.push(async () => {
      await agent.stop();
      agent.clean();
    });
    nodes.push(node);
    agents.push(agent);
  }
  const [a, b] = nodes as [KubeletNode, KubeletNode];
  const [agentA, agentB] = agents as [RunningAgent, RunningAgent];
  a.admit(web);
  b.admit(db);
  const serving = b.start(db, { netns: nets[1].file, ip: DB_IP, part: 'serve' });
  client = await a.start(web, { netns: nets[0].file, ip: DB_IP, port: await serving.ready }).ended;
  server = await serving.ended;

  a.admit(shell);
  const container = OciContainer.start({ args: ['/bin/sh', '-c', 'busybox sleep 1000'], podUid: shell.uid });
  closers.push(() => container.remove());
  shell.report('main', container.id);
  a.kubelet.updatePod(shell.uid, shell.object());
  askedAt = Date.now();
  container.exec('/bin/sh', '-c', 'busybox true one; (busybox true two); busybox true three');
  container.exec('/bin/sh', '-c', 'busybox true unasked');

  const has = (agent: RunningAgent, kind: string, ...texts: string[]) =>
    agent.rows().some((row) => row['kind'] === kind && texts.every((text) => JSON.stringify(row).includes(text)));
  await until(
    'the acts, and the kubelets on the pods',
    () =>
      has(agentA, 'socket.connect', client.containerId) &&
      has(agentA, 'socket.close', client.containerId) &&
      has(agentB, 'socket.accept', server.containerId) &&
      has(agentB, 'socket.close', server.containerId) &&
      has(agentA, 'process.exec', 'true","unasked') &&
      has(agentA, 'kerntap.pod', web.uid, client.containerId) &&
      has(agentB, 'kerntap.pod', db.uid, server.containerId) &&
      has(agentA, 'kerntap.pod', shell.uid, container.id),
    60_000,
  );
  await keep('node-a', agentA, [web, shell]);
  await keep('node-b', agentB, [db], OTHER_BOOT);
  const audit = join(dir, 'audit.ndjson');
  writeFileSync(
    audit,
    `${JSON.stringify(auditRow('alice', ['/bin/sh', '-c', 'busybox true one; (busybox true two); busybox true three']))}\n`,
  );
  lake = await Lake.open(join(dir, 'node-*'), { audit, auditCluster: CLUSTER });
}, 120_000);

afterAll(async () => {
  lake?.close();
  for (const close of closers.reverse()) await close();
});

function auditRow(username: string, command: readonly string[]): object {
  const words = command.map((word) => `command=${encodeURIComponent(word)}`).join('&');
  return {
    auditID: 'audit-1',
    stage: 'ResponseStarted',
    verb: 'get',
    requestURI: `/api/v1/namespaces/shop/pods/shell/exec?${words}&container=main&stdout=true`,
    user: { username },
    sourceIPs: ['192.0.2.9'],
    objectRef: { resource: 'pods', subresource: 'exec', namespace: 'shop', name: 'shell' },
    responseStatus: { code: 101 },
    requestReceivedTimestamp: new Date(askedAt).toISOString(),
  };
}

function actOf(truth: BriefTruth, kind: string) {
  const act = truth.acts.find((each) => each.kind === kind);
  if (act === undefined) throw new Error(`no ${kind} was said`);
  return act;
}

describe('a connection between two pods of two nodes', () => {
  let rows: LakeRow[];

  beforeAll(async () => {
    rows = await lake.query(`SELECT * FROM connections WHERE resp_address = '${DB_IP}'`);
  });

  it('is one row that names both, as both programs say', () => {
    const connect = actOf(client, 'socket.connect');
    const accept = actOf(server, 'socket.accept');
    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatchObject({
      cluster: CLUSTER,
      orig_node: 'node-a',
      orig_namespace: 'shop',
      orig_pod: 'web',
      orig_container: 'main',
      orig_by: 'event',
      resp_node: 'node-b',
      resp_namespace: 'data',
      resp_pod: 'db',
      resp_container: 'main',
      resp_by: 'event',
      orig_address: connect['local_ip'],
      orig_port: BigInt(Number(connect['local_port'])),
      resp_address: accept['local_ip'],
      resp_port: BigInt(Number(accept['local_port'])),
      orig_executable: '/brief',
      resp_executable: '/brief',
      result: 0n,
    });
    expect(accept['remote_port']).toBe(connect['local_port']);
    expect(rows[0]?.['community_id']).toMatch(/^1:[A-Za-z0-9+/]{27}=$/);
    expect(rows[0]?.['community_id']).toBe(rows[0]?.['reached_community_id']);
  });

  it("names the far pod by its address too, where one side's events are missing", async () => {
    const half = await Lake.open(join(dir, 'node-a'));
    const [row] = await half.query(`SELECT * FROM connections WHERE resp_address = '${DB_IP}'`);
    half.close();
    expect(row).toMatchObject({ orig_pod: 'web', resp_pod: null, resp_by: null });
    const ips = await lake.query('SELECT ip, k8s_node_name AS node, k8s_pod_name AS pod FROM pod_ips ORDER BY ip');
    expect(ips).toEqual([
      { ip: WEB_IP, node: 'node-a', pod: 'web' },
      { ip: DB_IP, node: 'node-b', pod: 'db' },
    ]);
  });
});

describe('processes that runc brings into a container', () => {
  it('are one row each, with who asked for it where the audit log says; what they start is not another', async () => {
    const rows = await lake.query('SELECT cause, username, command, k8s_pod_name AS pod FROM exec_audit ORDER BY time');
    expect(rows).toEqual([
      {
        cause: 'kubectl',
        username: 'alice',
        command: ['/bin/sh', '-c', 'busybox true one; (busybox true two); busybox true three'],
        pod: 'shell',
      },
      { cause: 'unexplained', username: null, command: ['/bin/sh', '-c', 'busybox true unasked'], pod: 'shell' },
    ]);
  });

  it('lead by the hunt to every command of the visit', async () => {
    const rows = await lake.hunt('kubectl-exec');
    expect(rows.map((row) => (row['process_command_args'] as string[]).slice(-2).join(' '))).toEqual([
      '-c busybox true one; (busybox true two); busybox true three',
      'true one',
      'true two',
      'true three',
    ]);
  });
});

it('no event of either run is missing, and every event of a pod has its name', async () => {
  // The other node's containers were taken out, and with them their numbers: only what is left is judged.
  expect(await lake.query("SELECT * FROM losses WHERE loss_stage IN ('queue', 'spool', 'collector')")).toEqual([]);
  expect(await lake.query('SELECT kind FROM events WHERE k8s_pod_uid IS NOT NULL AND k8s_pod_name IS NULL')).toEqual(
    [],
  );
});
