import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { LakeRow } from '../../hunts.ts';
import { SimulatedLake } from './simulated-lake.ts';
import { type SimulatedNode, type SimulatedPod, START_NS, simulatedPod } from './simulated-node.ts';

let lake: SimulatedLake;
let node: SimulatedNode;

beforeEach(async () => {
  lake = await SimulatedLake.start();
  node = lake.node('node-a');
});
afterEach(() => lake.remove());

const shop = simulatedPod({ name: 'shop', probeCommands: ['cat\0/tmp/healthy', 'sh\0-c\0test -e $(DIR)/50%_up'] });

/** Rows of the API server's audit log for one exec, as it writes them: the URL by Go's url.Values. */
function asked(
  ms: number,
  command: readonly string[],
  more: { user?: string; pod?: string; verb?: string; code?: number } = {},
) {
  const { user = 'alice', pod = 'shop', verb = 'get', code = 101 } = more;
  const words = command.map((word) => `command=${encodeURIComponent(word).replaceAll('%20', '+')}`).join('&');
  const at = (later: number) => new Date(Number(START_NS / 1_000_000n) + ms + later).toISOString().replace('Z', '000Z');
  const row = {
    kind: 'Event',
    apiVersion: 'audit.k8s.io/v1',
    level: 'Metadata',
    auditID: `audit-${ms}-${user}`,
    requestURI: `/api/v1/namespaces/shop/pods/${pod}/exec?${words}&container=main&stderr=true&stdout=true`,
    verb,
    user: {
      username: user,
      groups: ['dev'],
      extra: { 'authentication.kubernetes.io/credential-id': ['X509SHA256=1'] },
    },
    sourceIPs: ['192.0.2.9'],
    userAgent: 'kubectl/v1.36.0',
    objectRef: { resource: 'pods', namespace: 'shop', name: pod, apiVersion: 'v1', subresource: 'exec' },
    requestReceivedTimestamp: at(0),
  };
  return [
    { ...row, stage: 'ResponseStarted', responseStatus: { metadata: {}, code }, stageTimestamp: at(20) },
    { ...row, stage: 'ResponseComplete', responseStatus: { metadata: {}, code }, stageTimestamp: at(900) },
  ];
}

const CAUSES = `SELECT cause, username, array_to_string(command, ' ') AS command, process_pid AS pid FROM exec_audit
  ORDER BY time, pid NULLS FIRST`;

async function causes(...audit: (readonly object[])[]): Promise<LakeRow[]> {
  await node.send();
  const opened = await lake.open({ audit: lake.write('audit.ndjson', audit.flat()), auditCluster: 'prod' });
  return opened.query(CAUSES);
}

/** A process that comes from outside, as by kubectl exec. */
function injected(ms: number, pid: number, argv: readonly string[], pod: SimulatedPod = shop): void {
  node.exec(ms, pod, argv, { pid, entry: 2, parentPid: 9, execId: 3 });
}

describe('a process that came into a container from outside', () => {
  test.each(['get', 'create'])('is that of the kubectl exec in the audit log (verb %s)', async (verb) => {
    node.pod(-1000, shop);
    injected(150, 50, ['sh', '-c', 'cat /etc/passwd & id; echo "ü=%41+b"']);
    expect(await causes(asked(100, ['sh', '-c', 'cat /etc/passwd & id; echo "ü=%41+b"'], { verb }))).toEqual([
      { cause: 'kubectl', username: 'alice', command: 'sh -c cat /etc/passwd & id; echo "ü=%41+b"', pid: 50n },
    ]);
  });

  test('is told with who asked, from where, and the audit row to look up', async () => {
    node.pod(-1000, shop);
    injected(150, 50, ['id']);
    await node.send();
    const opened = await lake.open({ audit: lake.write('audit.ndjson', asked(100, ['id'])), auditCluster: 'prod' });
    expect(
      await opened.query(
        'SELECT audit_id, groups, source_ips, user_agent, k8s_node_name AS node, k8s_container_name AS c FROM exec_audit',
      ),
    ).toEqual([
      {
        audit_id: 'audit-100-alice',
        groups: ['dev'],
        source_ips: ['192.0.2.9'],
        user_agent: 'kubectl/v1.36.0',
        node: 'node-a',
        c: 'main',
      },
    ]);
  });

  test('is found although the agent replaced a secret in it, or cut it', async () => {
    node.pod(-1000, shop);
    injected(100, 50, ['login', '--password', '<redacted:0123456789abcdef>', '100%']);
    const long = 'x'.repeat(100);
    node.exec(5_000, shop, ['sh', '-c', long.slice(0, 40)], { pid: 51, entry: 2, parentPid: 9, truncated: true });
    injected(9_000, 52, ['sh', '-c', long.slice(0, 40)]);
    const rows = await causes(asked(50, ['login', '--password', 'hunter2', '100%']), asked(4_950, ['sh', '-c', long]));
    expect(rows).toMatchObject([
      { cause: 'kubectl', username: 'alice', pid: 50n },
      { cause: 'kubectl', username: 'alice', pid: 51n },
      { cause: 'unexplained', pid: 52n },
    ]);
  });

  test("is a probe's where the pod has one with this command, also with what the kubelet puts in", async () => {
    node.pod(-1000, shop);
    injected(0, 50, ['cat', '/tmp/healthy']);
    injected(10, 51, ['sh', '-c', 'test -e /var/run/50%_up']);
    injected(20, 52, ['sh', '-c', 'test -e /var/run/50 /etc/shadow up']);
    expect(await causes()).toMatchObject([{ cause: 'probe' }, { cause: 'probe' }, { cause: 'unexplained' }]);
  });

  test("is unexplained where neither says so: nodes/proxy, crictl, nsenter; also by another pod's probe", async () => {
    const other = simulatedPod({ name: 'other' });
    node.pod(-1000, shop).pod(-1000, other);
    injected(0, 50, ['sh']);
    injected(10, 51, ['cat', '/tmp/healthy'], other);
    expect(await causes(asked(20_000, ['sh']), asked(0, ['sh'], { pod: 'other' }))).toMatchObject([
      { cause: 'kubectl', pid: null },
      { cause: 'unexplained', pid: 50n },
      { cause: 'unexplained', pid: 51n },
      { cause: 'kubectl', pid: null },
    ]);
  });

  test('is ambiguous where somebody runs what a probe runs at the same moment', async () => {
    node.pod(-1000, shop);
    injected(100, 50, ['cat', '/tmp/healthy']);
    injected(300, 51, ['cat', '/tmp/healthy']);
    injected(5_300, 52, ['cat', '/tmp/healthy']);
    const rows = await causes(asked(50, ['cat', '/tmp/healthy']));
    expect(rows.filter((row) => row['pid'] !== null)).toMatchObject([
      { cause: 'ambiguous', username: null },
      { cause: 'ambiguous', username: null },
      { cause: 'ambiguous', username: null },
    ]);
    expect(rows.filter((row) => row['pid'] === null)).toMatchObject([{ cause: 'kubectl', username: 'alice' }]);
  });

  test('of two people with the same command: apart in time each has their own, at once nobody', async () => {
    node.pod(-1000, shop);
    injected(100, 50, ['sh']);
    injected(4_100, 51, ['sh']);
    injected(60_100, 52, ['sh']);
    injected(60_200, 53, ['sh']);
    const bob = { user: 'bob' };
    const rows = await causes(
      asked(0, ['sh']),
      asked(4_000, ['sh'], bob),
      asked(60_000, ['sh']),
      asked(60_050, ['sh'], bob),
    );
    expect(rows.filter((row) => row['pid'] !== null)).toMatchObject([
      { cause: 'kubectl', username: 'alice', pid: 50n },
      { cause: 'kubectl', username: 'bob', pid: 51n },
      { cause: 'ambiguous', username: null, pid: 52n },
      { cause: 'ambiguous', username: null, pid: 53n },
    ]);
  });

  test('starts its own without being asked for again: children, also of a fork that only forked, and its next image', async () => {
    node.pod(-1000, shop);
    injected(100, 50, ['sh', '-c', 'x']);
    const inside = { entry: 2 };
    node.exec(110, shop, ['ls'], { ...inside, pid: 51, parentPid: 50, parentStartMs: 100 });
    node.exec(120, shop, ['grep'], { ...inside, pid: 53, parentPid: 52, parentStartMs: 115 });
    const exit = { processExit: { durationNs: 5n, code: 0 } };
    node.event(130, shop, exit, { ...inside, pid: 52, startMs: 115, parentPid: 50, parentStartMs: 100 });
    node.exec(140, shop, ['top'], { ...inside, pid: 50, startMs: 100, execId: 4, parentPid: 9 });
    expect(await causes(asked(50, ['sh', '-c', 'x']))).toEqual([
      { cause: 'kubectl', username: 'alice', command: 'sh -c x', pid: 50n },
    ]);
  });

  test('is nothing of what the container itself does', async () => {
    node.pod(-1000, shop).exec(0, shop, ['sh', '-c', 'x'], { pid: 50, entry: 1 });
    expect(await causes(asked(0, ['sh', '-c', 'x'], { code: 403 }))).toEqual([]);
  });

  test('is no error where the audit log is empty, or has what is not UTF-8', async () => {
    node.pod(-1000, shop);
    injected(0, 50, ['id']);
    const [row] = asked(0, ['x']);
    const broken = { ...row, requestURI: row?.requestURI.replace('command=x', 'command=%ff%fe') };
    expect(await causes([broken])).toMatchObject([
      { cause: 'kubectl', pid: null },
      { cause: 'unexplained', pid: 50n },
    ]);
    await lake.remove();
    lake = await SimulatedLake.start();
    node = lake.node('node-a');
    injected(0, 50, ['id']);
    expect(await causes([])).toMatchObject([{ cause: 'unexplained' }]);
  });
});
