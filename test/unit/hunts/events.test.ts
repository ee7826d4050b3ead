import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SimulatedLake } from './simulated-lake.ts';
import { simulatedPod } from './simulated-node.ts';

let lake: SimulatedLake;

beforeEach(async () => {
  lake = await SimulatedLake.start();
});
afterEach(() => lake.remove());

const NAMES = `k8s_namespace_name AS ns, k8s_pod_name AS pod, k8s_container_name AS container, container_image_name AS image,
  k8s_pod_labels['app'] AS app, metadata_state AS state, completed`;

describe('events', () => {
  test('that left before their pod was known are completed by its record, whenever that came', async () => {
    const late = simulatedPod({ name: 'late', owner: 'web' });
    const node = lake.node('node-a');
    node.exec(0, late, ['/bin/early'], { pending: true });
    await node.send();
    node.pod(5_000, late).exec(6_000, late, ['/bin/after']);
    await node.send();
    const { query } = await open();
    const named = {
      ns: 'shop',
      pod: 'late',
      container: 'main',
      image: 'image-of-late',
      app: 'late',
      state: 'complete',
    };
    expect(
      await query(`SELECT ${NAMES}, k8s_owner_name AS owner FROM events WHERE kind = 'process.exec' ORDER BY seq`),
    ).toEqual([
      { ...named, completed: true, owner: 'web' },
      { ...named, completed: false, owner: 'web' },
    ]);
  });

  test('of a pod that no record names stay as they are', async () => {
    const node = lake.node('node-a');
    node.exec(0, simulatedPod({ name: 'never' }), ['/bin/early'], { pending: true });
    await node.send();
    const { query } = await open();
    expect(await query(`SELECT ${NAMES} FROM events`)).toEqual([
      { ns: null, pod: null, container: null, image: null, app: null, state: 'pending', completed: false },
    ]);
  });

  test('of a container that is in no status (a sandbox) get the names of their pod, and stay pending', async () => {
    const shop = simulatedPod({ name: 'shop' });
    const node = lake.node('node-a');
    node.pod(0, shop).exec(10, { ...shop, containerId: 'f'.repeat(64) }, ['/pause'], { pending: true });
    await node.send();
    const { query } = await open();
    expect(await query(`SELECT ${NAMES} FROM events WHERE kind = 'process.exec'`)).toEqual([
      { ns: 'shop', pod: 'shop', container: null, image: null, app: 'shop', state: 'pending', completed: true },
    ]);
  });

  test('of a past container are named by the record that still knows it', async () => {
    const shop = simulatedPod({ name: 'shop' });
    const node = lake.node('node-a');
    const container = { id: 'e'.repeat(64), name: 'main', runtime: 'containerd', previousIds: [shop.containerId] };
    node.exec(0, shop, ['/bin/crashed'], { pending: true }).pod(9_000, shop, { containers: [container] });
    await node.send();
    const { query } = await open();
    expect(await query(`SELECT ${NAMES} FROM events WHERE kind = 'process.exec'`)).toEqual([
      { ns: 'shop', pod: 'shop', container: 'main', image: null, app: 'shop', state: 'complete', completed: true },
    ]);
  });

  test("are completed by records of their own cluster and node only: another's could say anything", async () => {
    const uid = 'ca11ab1e-0000-4000-8000-000000000001';
    const mine = simulatedPod({ name: 'mine', uid });
    for (const [name, cluster] of [
      ['node-a', 'other'],
      ['node-b', 'prod'],
    ] as const) {
      const node = lake.node(name, { cluster });
      node.pod(0, { ...mine, name: 'forged' });
      await node.send();
    }
    const node = lake.node('node-a');
    node.exec(0, mine, ['/bin/early'], { pending: true });
    await node.send();
    const { query } = await open();
    expect(await query(`SELECT ${NAMES} FROM events WHERE kind = 'process.exec'`)).toMatchObject([{ pod: null }]);
  });

  test('that were sent again, to this collector or another, are there once', async () => {
    await lake.remove();
    lake = await SimulatedLake.start(2);
    const shop = simulatedPod({ name: 'shop' });
    const node = lake.node('node-a');
    node.exec(0, shop, ['/bin/a']).exec(1, shop, ['/bin/b']);
    await node.send({ twice: true });
    const again = lake.node('node-a', { replica: 1 });
    again.exec(0, shop, ['/bin/a']).exec(1, shop, ['/bin/b']);
    await again.send();
    const { query } = await open();
    expect(await query('SELECT count(*) AS n FROM lake')).toEqual([{ n: 6n }]);
    expect(await query('SELECT process_command_args AS argv FROM events ORDER BY seq')).toEqual([
      { argv: ['/bin/a'] },
      { argv: ['/bin/b'] },
    ]);
  });
});

describe('pods', () => {
  test('are there once, as last seen, with when they came and went', async () => {
    const shop = simulatedPod({ name: 'shop', ip: '10.1.0.5' });
    const node = lake.node('node-a');
    node
      .pod(0, shop, { labels: { v: '1' } })
      .pod(10_000, shop, { labels: { v: '2' } })
      .podGone(20_000, shop);
    const back = simulatedPod({ name: 'other' });
    node.pod(30_000, back).podGone(31_000, back).pod(32_000, back);
    await node.send();
    const { query } = await open();
    const columns = `k8s_pod_name AS pod, k8s_pod_labels['v'] AS v, pod_state AS state, CAST(time AS VARCHAR) AS time,
      CAST(make_timestamp(first_time_ns // 1000) AS VARCHAR) AS came,
      CAST(make_timestamp(gone_time_ns // 1000) AS VARCHAR) AS went`;
    expect(await query(`SELECT ${columns} FROM pods ORDER BY first_time_ns`)).toEqual([
      {
        pod: 'shop',
        v: '2',
        state: 'seen',
        time: '2026-11-22 07:30:10',
        came: '2026-11-22 07:30:00',
        went: '2026-11-22 07:30:20',
      },
      {
        pod: 'other',
        v: null,
        state: 'seen',
        time: '2026-11-22 07:30:32',
        came: '2026-11-22 07:30:30',
        went: null,
      },
    ]);
  });
});

async function open() {
  const opened = await lake.open();
  return { query: opened.query.bind(opened) };
}
