import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { LakeOptions, LakeRow } from '../../hunts.ts';
import { SimulatedLake } from './simulated-lake.ts';
import { START_NS, simulatedPod } from './simulated-node.ts';

let lake: SimulatedLake;

beforeEach(async () => {
  lake = await SimulatedLake.start();
});
afterEach(() => lake.remove());

const CLIENT = '10.1.0.5:40000';
const SERVER = '10.1.1.6:8080';
const SERVICE = '10.96.0.10:80';
const web = simulatedPod({ name: 'web', ip: '10.1.0.5' });
const db = simulatedPod({ name: 'db', ip: '10.1.1.6', namespace: 'data' });

async function query(sql: string, options: LakeOptions = {}): Promise<LakeRow[]> {
  return (await lake.open(options)).query(sql);
}

const ENDS = `SELECT orig_node, orig_namespace, orig_pod, resp_node, resp_namespace, resp_pod, orig_by, resp_by
  FROM connections ORDER BY time_ns, resp_address`;
const WEB = { orig_node: 'node-a', orig_namespace: 'shop', orig_pod: 'web', orig_by: 'event' };
const DB = { resp_node: 'node-b', resp_namespace: 'data', resp_pod: 'db', resp_by: 'event' };
const NOBODY = { resp_node: null, resp_namespace: null, resp_pod: null, resp_by: null };

describe('connections between two nodes', () => {
  test('name both pods, with what flowed and who ended it', async () => {
    const a = lake.node('node-a');
    const b = lake.node('node-b');
    a.connect(0, web, CLIENT, SERVER).end(500, web, CLIENT, SERVER, {
      startMs: 0,
      sent: 10n,
      received: 20n,
      endedBy: 1,
    });
    b.accept(3, db, SERVER, CLIENT);
    await a.send();
    await b.send();
    const opened = await lake.open();
    expect(await opened.query(ENDS)).toEqual([{ ...WEB, ...DB }]);
    const more = `SELECT orig_address || ':' || orig_port AS orig, resp_address || ':' || resp_port AS resp, orig_bytes,
      resp_bytes, ended_by, duration_ns, community_id = reached_community_id AS one_id FROM connections`;
    expect(await opened.query(more)).toEqual([
      {
        orig: CLIENT,
        resp: SERVER,
        orig_bytes: 10n,
        resp_bytes: 20n,
        ended_by: 'orig',
        duration_ns: 500_000_000n,
        one_id: true,
      },
    ]);
  });

  test('are told by the server alone where the client is outside, and by the client alone where the server is', async () => {
    const a = lake.node('node-a');
    const b = lake.node('node-b');
    a.connect(0, web, CLIENT, '192.0.2.1:443');
    b.accept(3, db, SERVER, '192.0.2.7:51000');
    await a.send();
    await b.send();
    expect(await query(ENDS)).toEqual([
      { ...WEB, ...NOBODY },
      { orig_node: null, orig_namespace: null, orig_pod: null, orig_by: null, ...DB },
    ]);
  });

  test('name the far end by its address at the time, where its own event is missing', async () => {
    const a = lake.node('node-a');
    const b = lake.node('node-b');
    b.pod(-60_000, db);
    a.pod(-60_000, web).connect(0, web, CLIENT, SERVER).connect(1, web, CLIENT, '10.1.1.6:53', { protocol: 17 });
    b.accept(5_000, db, '10.1.1.6:9', '10.1.0.5:41000');
    await a.send();
    await b.send();
    expect(await query(ENDS)).toEqual([
      { ...WEB, ...DB, resp_by: 'pod_ip' },
      { ...WEB, ...DB, resp_by: 'pod_ip' },
      { ...WEB, ...DB, orig_by: 'pod_ip' },
    ]);
  });

  test('pair although the clocks differ by a second, and a port that is used again pairs with its own', async () => {
    const a = lake.node('node-a');
    const b = lake.node('node-b', { skewMs: -1_000 });
    a.connect(0, web, CLIENT, SERVER, { pid: 1 }).connect(70_000, web, CLIENT, SERVER, { pid: 2 });
    b.accept(3, db, SERVER, CLIENT, { pid: 11 }).accept(70_003, db, SERVER, CLIENT, { pid: 12 });
    await a.send();
    await b.send();
    expect(await query('SELECT orig_pid, resp_pid FROM connections ORDER BY orig_pid')).toEqual([
      { orig_pid: 1n, resp_pid: 11n },
      { orig_pid: 2n, resp_pid: 12n },
    ]);
  });

  test('that two of could be stay open: one client, two servers with its four numbers at once', async () => {
    const a = lake.node('node-a');
    a.connect(0, web, CLIENT, SERVER);
    await a.send();
    for (const name of ['node-b', 'node-c']) {
      const node = lake.node(name);
      node.accept(3, db, SERVER, CLIENT);
      await node.send();
    }
    expect((await query(ENDS)).filter((row) => row['orig_by'] === 'event')).toEqual([{ ...WEB, ...NOBODY }]);
  });

  test('do not pair across clusters', async () => {
    const a = lake.node('node-a');
    const b = lake.node('node-b', { cluster: 'other' });
    a.connect(0, web, CLIENT, SERVER);
    b.pod(-60_000, db).accept(3, db, SERVER, CLIENT);
    await a.send();
    await b.send();
    expect(await query(ENDS)).toEqual([
      { ...WEB, ...NOBODY },
      { orig_node: null, orig_namespace: null, orig_pod: null, orig_by: null, ...DB },
    ]);
  });
});

describe('connections through a ClusterIP', () => {
  test('name the pod that accepted, and keep the address that was asked for', async () => {
    const a = lake.node('node-a');
    const b = lake.node('node-b');
    a.pod(-60_000, web).connect(0, web, CLIENT, SERVICE);
    b.pod(-60_000, db).accept(3, db, SERVER, CLIENT);
    await a.send();
    await b.send();
    const opened = await lake.open();
    expect(await opened.query(ENDS)).toEqual([{ ...WEB, ...DB }]);
    expect(
      await opened.query(
        "SELECT resp_address || ':' || resp_port AS resp, reached_address || ':' || reached_port AS reached FROM connections",
      ),
    ).toEqual([{ resp: SERVICE, reached: SERVER }]);
  });

  test('keep apart what one client port does at once: the one that matches in full does not count as rewritten', async () => {
    const a = lake.node('node-a');
    const b = lake.node('node-b');
    const cache = simulatedPod({ name: 'cache', ip: '10.1.1.7' });
    a.connect(0, web, CLIENT, SERVICE).connect(1, web, CLIENT, '10.1.1.7:6379');
    b.accept(3, db, SERVER, CLIENT).accept(4, cache, '10.1.1.7:6379', CLIENT);
    await a.send();
    await b.send();
    expect((await query(ENDS)).map((row) => row['resp_pod'])).toEqual(['db', 'cache']);
  });

  test('stay open where one client port asks two services at once', async () => {
    const a = lake.node('node-a');
    const b = lake.node('node-b');
    a.connect(0, web, CLIENT, SERVICE).connect(1, web, CLIENT, '10.96.0.11:80');
    b.accept(3, db, SERVER, CLIENT).accept(4, db, '10.1.1.6:9090', CLIENT);
    await a.send();
    await b.send();
    expect((await query(ENDS)).filter((row) => row['orig_by'] === 'event')).toEqual([
      { ...WEB, ...NOBODY },
      { ...WEB, ...NOBODY },
    ]);
  });

  test('are not seen where the client talked to a pod itself: that accept is of something else', async () => {
    const a = lake.node('node-a');
    const b = lake.node('node-b');
    const cache = simulatedPod({ name: 'cache', ip: '10.1.1.7' });
    b.pod(-60_000, cache).pod(-60_000, db);
    a.connect(0, web, CLIENT, '10.1.1.7:6379'); // its accept is lost
    b.accept(3, db, SERVER, CLIENT);
    await a.send();
    await b.send();
    expect((await query(ENDS))[0]).toMatchObject({ resp_pod: 'cache', resp_by: 'pod_ip' });
  });
});

describe('addresses that mean something in one place only', () => {
  test('127/8 pairs within a network namespace', async () => {
    const a = lake.node('node-a');
    const [one, two] = ['127.0.0.1:40000', '127.0.0.1:80'];
    const side = simulatedPod({ name: 'side', netNs: 1 });
    const same = { ...simulatedPod({ name: 'web' }), netNs: 1 };
    const other = { ...simulatedPod({ name: 'other' }), netNs: 2 };
    a.connect(0, same, one, two).accept(1, other, two, one).accept(2, side, two, one);
    await a.send();
    const rows = await query(ENDS);
    expect(rows.filter((row) => row['orig_by'] === 'event')).toMatchObject([{ orig_pod: 'web', resp_pod: 'side' }]);
    expect(rows).toHaveLength(2);
  });

  test("the node's own address names whoever spoke there by its cgroup, and nobody by the address", async () => {
    const a = lake.node('node-a');
    const b = lake.node('node-b');
    const proxy = simulatedPod({ name: 'proxy', ip: '10.0.0.1', hostNetwork: true });
    const agent = simulatedPod({ name: 'agent', ip: '10.0.0.1', hostNetwork: true });
    a.pod(-60_000, proxy).pod(-60_000, agent);
    a.connect(0, proxy, '10.0.0.1:40000', SERVER).connect(1, null, '10.0.0.1:40001', SERVER);
    b.accept(2, db, SERVER, '10.0.0.1:40000').accept(3, db, SERVER, '10.0.0.1:40001');
    b.connect(4, db, '10.1.1.6:5000', '10.0.0.1:10250');
    await a.send();
    await b.send();
    const opened = await lake.open();
    expect(await opened.query('SELECT * FROM pod_ips')).toEqual([]);
    expect(
      await opened.query('SELECT orig_node, orig_pod, resp_node, resp_pod, resp_by FROM connections ORDER BY time_ns'),
    ).toEqual([
      { orig_node: 'node-a', orig_pod: 'proxy', resp_node: 'node-b', resp_pod: 'db', resp_by: 'event' },
      { orig_node: 'node-a', orig_pod: null, resp_node: 'node-b', resp_pod: 'db', resp_by: 'event' },
      { orig_node: 'node-b', orig_pod: 'db', resp_node: null, resp_pod: null, resp_by: null },
    ]);
  });
});

describe('an address that another pod has later', () => {
  const old = simulatedPod({ name: 'old', ip: '10.1.1.6' });
  const next = simulatedPod({ name: 'next', ip: '10.1.1.6' });
  const AT = 'SELECT CAST(time AS VARCHAR) AS time, resp_pod FROM connections ORDER BY time_ns';

  test("is each pod's in its time, a second apart", async () => {
    const a = lake.node('node-a');
    const b = lake.node('node-b');
    b.pod(0, old, { startedMs: 0 }).pod(11_000, old, { startedMs: 0, finishedMs: 10_900 });
    b.pod(12_000, next, { startedMs: 11_900 }).podGone(25_000, old).podGone(40_000, next);
    for (const at of [5_000, 10_500, 11_950, 30_000, 50_000]) a.connect(at, web, CLIENT, SERVER);
    await a.send();
    await b.send();
    expect((await query(AT)).map((row) => row['resp_pod'])).toEqual(['old', 'old', 'next', 'next', null]);
  });

  test("is nobody's for certain in the second in which it changes hands unseen", async () => {
    const a = lake.node('node-a');
    const b = lake.node('node-b');
    // Of the old one no end is told; it is missed long after.
    b.pod(0, old, { startedMs: 0 }).pod(12_000, next, { startedMs: 11_900 }).podGone(25_000, old);
    for (const at of [10_999, 11_500, 12_500]) a.connect(at, web, CLIENT, SERVER);
    await a.send();
    await b.send();
    expect((await query(AT)).map((row) => row['resp_pod'])).toEqual(['old', null, 'next']);
  });

  test('is told by another node, which got it after the first node ended without a word', async () => {
    const a = lake.node('node-a');
    const b = lake.node('node-b');
    const c = lake.node('node-c');
    b.pod(0, old, { startedMs: 0 });
    c.pod(60_000, next, { startedMs: 60_000 });
    for (const at of [59_000, 62_000]) a.connect(at, web, CLIENT, SERVER);
    for (const node of [a, b, c]) await node.send();
    expect(await query('SELECT resp_node, resp_pod FROM connections ORDER BY time_ns')).toEqual([
      { resp_node: 'node-b', resp_pod: 'old' },
      { resp_node: 'node-c', resp_pod: 'next' },
    ]);
  });

  test('is known from before the agent saw the pod, by when the kubelet says it began', async () => {
    const a = lake.node('node-a');
    const b = lake.node('node-b');
    b.pod(60_000, old, { startedMs: 10_000 });
    b.pod(
      60_000,
      { ...next, ip: '10.1.1.9' },
      { startedMs: 50_000, startedAt: '2026-11-22T07:30:20Z', restartCount: 3 },
    );
    a.connect(9_000, web, CLIENT, SERVER).connect(11_000, web, CLIENT, SERVER);
    a.connect(19_000, web, CLIENT, '10.1.1.9:1').connect(21_000, web, CLIENT, '10.1.1.9:1');
    await a.send();
    await b.send();
    expect((await query(AT)).map((row) => row['resp_pod'])).toEqual([null, 'old', null, 'next']);
  });
});

describe("Zeek's conn.log", () => {
  const at = (ms: number) => Number(START_NS) / 1e9 + ms / 1000;
  const conn = (uid: string, ms: number, id: unknown, more: object = {}) => ({
    ts: at(ms),
    uid,
    'id.orig_h': '10.1.0.5',
    'id.orig_p': 40000,
    'id.resp_h': '10.1.1.6',
    'id.resp_p': 8080,
    proto: 'tcp',
    service: 'http',
    duration: 1.5,
    orig_bytes: 10,
    resp_bytes: 20,
    conn_state: 'SF',
    history: 'ShADadFf',
    community_id: id,
    ...more,
  });

  test('gets both pods by Community ID and time, whichever side of a ClusterIP the sensor sees', async () => {
    const a = lake.node('node-a');
    const b = lake.node('node-b');
    a.connect(0, web, CLIENT, SERVICE).connect(600_000, web, CLIENT, SERVER);
    b.accept(3, db, SERVER, CLIENT);
    await a.send();
    await b.send();
    const ids = await (await lake.open()).query(
      'SELECT community_id, reached_community_id FROM connections ORDER BY time_ns',
    );
    const zeek = lake.write('conn.log', [
      conn('Cfront', 200, ids[0]?.['community_id'], { 'id.resp_h': '10.96.0.10', 'id.resp_p': 80 }),
      conn('Cback', 200, ids[0]?.['reached_community_id']),
      conn('Clate', 300_000, ids[0]?.['reached_community_id']),
      conn('Cback2', 600_100, ids[1]?.['community_id']),
      conn('Cother', 0, '1:AAAAAAAAAAAAAAAAAAAAAAAAAAA='),
    ]);
    expect(
      await query(
        'SELECT uid, service, orig_pod, orig_namespace, resp_pod, resp_namespace FROM zeek_connections ORDER BY uid',
        { zeek },
      ),
    ).toEqual([
      {
        uid: 'Cback',
        service: 'http',
        orig_pod: 'web',
        orig_namespace: 'shop',
        resp_pod: 'db',
        resp_namespace: 'data',
      },
      { uid: 'Cback2', service: 'http', orig_pod: 'web', orig_namespace: 'shop', resp_pod: null, resp_namespace: null },
      {
        uid: 'Cfront',
        service: 'http',
        orig_pod: 'web',
        orig_namespace: 'shop',
        resp_pod: 'db',
        resp_namespace: 'data',
      },
      { uid: 'Clate', service: 'http', orig_pod: null, orig_namespace: null, resp_pod: null, resp_namespace: null },
      { uid: 'Cother', service: 'http', orig_pod: null, orig_namespace: null, resp_pod: null, resp_namespace: null },
    ]);
  });

  test('names nobody where two connections of two clusters fit alike', async () => {
    for (const cluster of ['prod', 'other']) {
      const node = lake.node('node-a', { cluster });
      node.connect(0, web, CLIENT, SERVER);
      await node.send();
    }
    const [row] = await (await lake.open()).query('SELECT community_id FROM connections');
    const zeek = lake.write('conn.log', [conn('Ctwice', 0, row?.['community_id'])]);
    expect(await query('SELECT orig_pod FROM zeek_connections', { zeek })).toEqual([{ orig_pod: null }]);
  });
});
