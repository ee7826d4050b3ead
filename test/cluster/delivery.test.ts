/**
 * Delivery under load on a real cluster: a pod opens numbered files at a pace while the collector's pod is deleted, both
 * are upgraded, and the spool's disk is full or does not answer. What is on the collector's volume is held against what
 * the pod did and what the agent says that it lost.
 *
 * Needs a node that is this machine: the disk is made, and the volume read, from here.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Disk } from '../integration/disks.ts';
import { EventFiles, type Row } from '../integration/event-files.ts';
import { buildTruth, programPath } from '../integration/truth-program.ts';
import { Cluster, type KubeObject, testContainer, testPod } from './cluster.ts';
import { helm, install, RELEASE, upgrade } from './helm.ts';
import { busyboxEntries, writeImage } from './image.ts';
import { logged, type Product } from './product.ts';

const IMAGE = 'docker.io/library/kerntap-pace:1';
const OPENS_PER_SECOND = 1000;
/** Events of over 1 KB: a small disk is full within seconds. */
const LONG_NAME = ['/work', ...Array.from({ length: 5 }, () => 'd'.repeat(200))].join('/');
const DISK_MIB = 128;
/** What somebody else's files leave of it when it is to be full. */
const LEFT_MIB = 8;
const SLOW_MS = 180_000;
/** Between two opens, with what a busy machine adds. */
const PACE_NS = 200_000_000n;

let cluster: Cluster;
let namespace: string;
let product: Product;
let disk: Disk | undefined;
let isHere = false;
let lake: EventFiles;
/** By number of the open: when it was, and the event that tells of it. */
const opens = new Map<number, { readonly at: bigint; readonly id: unknown }>();
/** Opens that two different events tell of. */
const twice = new Set<number>();
let last = 0;

function take(row: Row): boolean {
  const path = String(row['file_path']);
  if (row['kind'] !== 'file.open' || !path.startsWith(LONG_NAME)) return row['kind'] === 'kerntap.loss';
  const number = Number(path.slice(LONG_NAME.length + 1));
  const known = opens.get(number);
  if (known !== undefined && known.id !== row['event_id']) twice.add(number);
  opens.set(number, { at: BigInt(String(row['time_ns'])), id: row['event_id'] });
  last = Math.max(last, number);
  return false;
}

beforeAll(async () => {
  buildTruth();
  cluster = await Cluster.open();
  isHere = (await cluster.nodes()).every((node) => node.isThisMachine);
  if (!isHere) return;
  const file = join(cluster.dir, 'pace.tar');
  const pace = { path: 'bin/pace', content: readFileSync(programPath('pace')), mode: 0o755 };
  writeImage(file, { name: IMAGE, entries: [...busyboxEntries(), pace], command: ['/bin/pace'] });
  cluster.loadImage(file);
  namespace = await cluster.namespace('kerntap-delivery');
  disk = Disk.loop(join(cluster.dir, 'disk'), DISK_MIB);
  const off = ['process.exec', 'process.exit', 'process.io_uring', 'file.close', 'file.rename', 'file.unlink'];
  const socket = ['file.chmod', 'socket.connect', 'socket.accept', 'socket.listen', 'socket.close'];
  product = await install(cluster, namespace, {
    spool: { enabled: true, hostPath: disk.dir },
    config: {
      probes: { ...Object.fromEntries([...off, ...socket].map((kind) => [kind, 'off'])), 'file.open': 'writes' },
      tail: { kinds: ['kerntap'] },
      budgets: { containerEventsPerSecond: 0, nodeEventsPerSecond: 0, cpuCores: 0 },
      spool: { maxBytes: '1Gi', minFreePercent: 0 },
    },
  });
  const claim = (
    await cluster.kubectl('get', 'pvc', '-n', namespace, '-o', 'jsonpath={.items[0].spec.volumeName}')
  ).trim();
  const volume = JSON.parse(await cluster.kubectl('get', 'pv', claim, '-o', 'json'));
  lake = new EventFiles(volume.spec.hostPath.path, take);
  const command = ['sh', '-c', `mkdir -p ${LONG_NAME} && exec pace stream ${LONG_NAME} ${OPENS_PER_SECOND} 100000`];
  await cluster.apply(
    testPod(namespace, 'busy', { containers: [{ ...testContainer('main', command), image: IMAGE }] }),
  );
  await moreOpens();
});

beforeEach((context) => {
  if (!isHere) context.skip('the nodes are not this machine: their disks and volumes are out of reach');
});

afterAll(async () => {
  // A frozen disk would hold the uninstall.
  disk?.thaw();
  if (isHere) await helm('uninstall', RELEASE, '-n', namespace, '--ignore-not-found', '--wait').catch(() => {});
  if (isHere) await cluster.kubectl('delete', 'pod', 'busy', '-n', namespace, '--ignore-not-found').catch(() => {});
  disk?.unmount();
  await cluster?.close();
});

/** Waits until opens from now on have arrived; returns the number of the last of them. */
async function moreOpens(): Promise<number> {
  lake.poll();
  const goal = last + OPENS_PER_SECOND;
  return cluster.waitFor(`open ${goal}`, async () => lake.poll() && (last > goal ? last : undefined), SLOW_MS);
}

const inAgent = (...command: string[]) =>
  cluster.kubectl('exec', '-n', namespace, product.agent, '-c', 'agent', '--', ...command);

/** What the agent answers at its port for metrics and health. */
const asked = (path: string) =>
  inAgent(
    'node',
    '-e',
    `fetch('http://127.0.0.1:9464${path}').then(async (answer) => console.log(await answer.text()))`,
  );

async function metric(name: string): Promise<number> {
  const line = (await asked('/metrics')).split('\n').find((text) => text.startsWith(`${name} `));
  return Number(line?.split(' ')[1] ?? Number.NaN);
}

/** The books of the running agent, once all that it has is on its way; `kerntap ledger` fails where they do not balance. */
function settled(): Promise<KubeObject> {
  return cluster.waitFor(
    'books that balance, and nothing in the spool',
    async () => {
      const { ledger } = JSON.parse(await inAgent('kerntap', 'ledger', '--json'));
      return ledger.user.spooled === 0 ? ledger : undefined;
    },
    SLOW_MS,
  );
}

/** By stage and reason, of opens: what the agent says is lost. */
const lostOf = ({ lost }: KubeObject): Record<string, number> =>
  Object.fromEntries(
    lost
      .filter(({ kind }: KubeObject) => kind === 'file.open')
      .map(({ stage, reason, total }: KubeObject) => [`${stage} ${reason}`, total]),
  );

const sum = (counts: Readonly<Record<string, number>>) =>
  Object.values(counts).reduce((total, count) => total + count, 0);

/** Opens since `from` that no event tells of, once everything before now has arrived. */
async function missing(
  from: number,
): Promise<{ readonly holes: number[]; readonly to: number; readonly lost: Record<string, number> }> {
  await moreOpens();
  const lost = lostOf(await settled());
  lake.poll();
  const to = last;
  await moreOpens();
  const holes = Array.from({ length: to - from + 1 }, (_, i) => from + i).filter((number) => !opens.has(number));
  expect([...twice]).toEqual([]);
  return { holes, to, lost };
}

const scale = (replicas: number) =>
  cluster.kubectl('scale', product.collector, `--replicas=${replicas}`, '-n', namespace);

/** No collector from now on. */
async function withoutCollector(): Promise<void> {
  await scale(0);
  await cluster.waitFor('the end of the collector', async () => {
    const pods = JSON.parse(await cluster.kubectl('get', 'pods', '-n', namespace, '-o', 'json')).items;
    return pods.some(({ metadata }: KubeObject) => metadata.name.includes('collector')) ? undefined : true;
  });
}

const withCollector = async () => {
  await scale(1);
  await cluster.kubectl('rollout', 'status', product.collector, '-n', namespace, '--timeout=120s');
};

describe('under load', () => {
  it.each([
    ['deleted', []],
    ['killed and deleted', ['--grace-period=0', '--force']],
  ])('a collector whose pod is %s costs nothing: its volume has every open once', async (_, how) => {
    const from = await moreOpens();
    await cluster.kubectl('delete', 'pod', `${RELEASE}-collector-0`, '-n', namespace, ...how);
    await cluster.kubectl('rollout', 'status', product.collector, '-n', namespace, '--timeout=120s');
    const { holes, to, lost } = await missing(from);
    console.info(`collector ${_}: ${to - from + 1} opens, ${holes.length} missing`);
    expect(lost).toEqual({});
    expect(holes).toEqual([]);
  });

  it('a collector that is upgraded costs nothing', async () => {
    const from = await moreOpens();
    await upgrade(namespace, '--set', 'collector.podAnnotations.round=second');
    const { holes, to, lost } = await missing(from);
    console.info(`collector upgraded: ${to - from + 1} opens, ${holes.length} missing`);
    expect(lost).toEqual({});
    expect(holes).toEqual([]);
  });

  it('an agent that is upgraded costs the time in which nobody watched, and says how long that was', async () => {
    const from = await moreOpens();
    await upgrade(namespace, '--set', 'agent.podAnnotations.round=second');
    await cluster.kubectl('rollout', 'status', product.agent, '-n', namespace, '--timeout=120s');
    const { holes, lost } = await missing(from);
    const [first = 0, end = 0] = [holes[0], holes.at(-1)];
    const blind = lake.rows
      .filter((row) => row['loss_reason'] === 'blind')
      .map((row) => BigInt(String(row['loss_blind_ns'])));
    const hole = (opens.get(end + 1)?.at ?? 0n) - (opens.get(first - 1)?.at ?? 0n);
    console.info(`agent upgraded: blind for ${blind} ns by its word, ${hole} ns by ${holes.length} missing opens`);
    expect(blind).toHaveLength(1);
    // One hole, and no longer than what is told.
    expect(holes).toHaveLength(end - first + 1);
    expect(hole).toBeLessThan((blind[0] ?? 0n) + PACE_NS);
    expect(lost).toEqual({});
    expect(lake.rows.filter((row) => row['loss_reason'] === 'stopped')).toEqual([]);
    const { log } = await logged(product);
    expect(log.find(({ msg }) => String(msg).startsWith('nobody watched this node since'))).toMatchObject({
      blind_ms: Number((blind[0] ?? 0n) / 1_000_000n),
    });
  });

  it('a full spool disk costs what is counted, and is used again', async () => {
    const lostBefore = sum(lostOf(await settled()));
    const from = await moreOpens();
    disk?.fill(LEFT_MIB);
    await withoutCollector();
    await cluster.waitFor(
      'a full disk',
      async () => ((await metric('kerntap_spool_up')) === 0 ? true : undefined),
      SLOW_MS,
    );
    expect(await asked('/readyz')).toMatch(/"part":"spool","reason":"ENOSPC/);
    // Until memory is full, too.
    await cluster.waitFor(
      'a loss',
      async () => {
        const { ledger } = JSON.parse(await inAgent('kerntap', 'ledger', '--json'));
        return sum(lostOf(ledger)) > OPENS_PER_SECOND ? true : undefined;
      },
      SLOW_MS,
    );
    await withCollector();
    await cluster.waitFor(
      'the spool',
      async () => ((await metric('kerntap_spool_up')) === 1 ? true : undefined),
      SLOW_MS,
    );
    const { holes, to, lost } = await missing(from);
    console.info(`full disk: ${to - from + 1} opens, ${holes.length} missing, lost ${JSON.stringify(lost)}`);
    expect(holes.length).toBeGreaterThan(0);
    // Others of the machine open files, too.
    expect(holes.length).toBeLessThanOrEqual(sum(lost) - lostBefore);
    disk?.relieve();
  });

  it('a spool disk that does not answer stalls nobody', async () => {
    const before = sum(lostOf(await settled()));
    const from = await moreOpens();
    await withoutCollector();
    await cluster.waitFor('events on disk', async () =>
      (await metric('kerntap_spool_bytes')) > 1 << 20 ? true : undefined,
    );
    disk?.freeze();
    try {
      await cluster.waitFor('the stall to be told', async () =>
        (await metric('kerntap_spool_up')) === 0 ? true : undefined,
      );
      expect(await asked('/readyz')).toMatch(/the disk has not answered for \d+ s/);
      expect(await metric('kerntap_drain_lag_seconds')).toBeLessThan(2);
      await withCollector();
      // What happens now arrives, though what is on the disk cannot be read.
      await moreOpens();
    } finally {
      disk?.thaw();
    }
    const { holes, to, lost } = await missing(from);
    console.info(`frozen disk: ${to - from + 1} opens, ${holes.length} missing, lost ${sum(lost) - before}`);
    expect(holes.length).toBeLessThanOrEqual(sum(lost) - before);
  });
});
