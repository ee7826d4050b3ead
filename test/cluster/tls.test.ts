import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster, type KubeObject, testContainer, testPod } from './cluster.ts';
import { hasten, helm, install, RELEASE, upgrade } from './helm.ts';
import { collected, logged, type Product, podsOf, type Row } from './product.ts';

const SLOW_MS = 180_000;
const SECRETS = [`${RELEASE}-ca`, `${RELEASE}-collector-tls`, `${RELEASE}-agent-tls`];

let cluster: Cluster;
let namespace: string;
let product: Product;
let workload: KubeObject;

beforeAll(async () => {
  cluster = await Cluster.open();
  cluster.loadTestImage();
  namespace = await cluster.namespace('kerntap-tls');
  // Thirty execs a second, numbered.
  const acts = 'i=0; while :; do i=$((i+1)); /bin/true act-$i; sleep 0.03; done';
  await cluster.apply(testPod(namespace, 'busy', { containers: [testContainer('main', ['sh', '-c', acts])] }));
  product = await install(cluster, namespace, {
    config: {
      tail: { kinds: ['kerntap'] },
      budgets: { containerEventsPerSecond: 0, nodeEventsPerSecond: 0, cpuCores: 0 },
    },
  });
  workload = await cluster.runningPod(namespace, 'busy');
});

afterAll(async () => {
  await helm('uninstall', RELEASE, '-n', namespace, '--ignore-not-found').catch(() => {});
  await cluster?.close();
});

async function pods(): Promise<{ agent: KubeObject; collector: KubeObject }> {
  const [agent] = await podsOf(product, product.agent);
  const [collector] = await podsOf(product, product.collector);
  return { agent, collector };
}

// Asked within its pod by Node's own client: pods need not be reachable from here.
const SHOWN = `
const socket = require('node:tls').connect({ port: 4750, rejectUnauthorized: false, ALPNProtocols: ['h2'] });
socket.on('error', () => {});
socket.once('secureConnect', () => {
  console.log(socket.getPeerCertificate().raw.toString('base64'));
  socket.destroy();
});`;

/** The certificate that the collector shows to a new connection. */
async function shown(): Promise<X509Certificate> {
  const raw = await cluster.kubectl(
    'exec',
    '-n',
    namespace,
    product.collector,
    '-c',
    'collector',
    '--',
    'node',
    '-e',
    SHOWN,
  );
  return new X509Certificate(Buffer.from(raw, 'base64'));
}

const secretData = async (name: string) =>
  (await cluster.get('secret', name, namespace)).data as Record<string, string>;
const stored = async (name: string) =>
  new X509Certificate(Buffer.from((await secretData(name))['tls.crt'] ?? '', 'base64'));

/** Numbers of the workload's execs that the collector has, in order, each once. */
async function acts(): Promise<number[]> {
  const rows = await collected(product, ['process.exec'], String(workload.metadata.uid), 'act-');
  const numbers = rows.map((row) =>
    Number(/^act-(\d+)$/.exec((row['process_command_args'] as string[])[1] ?? '')?.[1]),
  );
  return [...new Set(numbers.filter((number) => number > 0))].sort((a, b) => a - b);
}

/** Waits until acts from now on have arrived; returns the number of one of them. */
async function moreActs(): Promise<number> {
  const before = (await acts()).at(-1) ?? 0;
  return cluster.waitFor(
    'more acts',
    async () => {
      const now = (await acts()).at(-1) ?? 0;
      return now > before + 30 ? now : undefined;
    },
    SLOW_MS,
  );
}

async function missing(from: number, to: number): Promise<number[]> {
  const there = new Set(await acts());
  return Array.from({ length: to - from + 1 }, (_, i) => from + i).filter((act) => !there.has(act));
}

/** Lines of the collector's log. */
async function collectorLog(): Promise<Row[]> {
  const text = await cluster.kubectl('logs', '-n', namespace, product.collector, '-c', 'collector');
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}

describe('an install with the defaults', () => {
  it('has agents and collector show certificates to each other', async () => {
    await moreActs();
    const lines = await collectorLog();
    expect(lines.find(({ msg }) => msg === 'an agent publishes')).toMatchObject({ client: `${RELEASE}-agent` });
    expect((await shown()).checkHost(`${RELEASE}-collector.${namespace}.svc`)).toBeDefined();
    expect((await shown()).raw).toEqual((await stored(`${RELEASE}-collector-tls`)).raw);
  });

  it.each<[string, string[], RegExp, RegExp]>([
    ['without TLS', [], /speaks TLS/, /--collector-ca-file/],
    [
      'without a certificate',
      ['--collector-ca-file=/etc/kerntap-tls/ca.crt'],
      /no TLS stream/,
      /wants a client certificate/,
    ],
  ])('refuses an agent %s, which the doctor in its pod explains', async (_, flags, value, remedy) => {
    const ask = ['kerntap', 'doctor', '--json', `--collector=${RELEASE}-collector:4750`, ...flags];
    const answer = await cluster.kubectl('exec', '-n', namespace, product.agent, '-c', 'agent', '--', ...ask);
    const check = JSON.parse(answer).checks.find(({ id }: KubeObject) => id === 'collector');
    expect(check).toMatchObject({ verdict: 'warning', value: expect.stringMatching(value) });
    expect(check.remedy).toMatch(remedy);
  });

  it('says nothing of its keys', async () => {
    const texts = [
      await cluster.kubectl('logs', '-n', namespace, product.agent, '-c', 'agent'),
      await cluster.kubectl('logs', '-n', namespace, product.collector, '-c', 'collector'),
      await helm('get', 'notes', RELEASE, '-n', namespace),
    ];
    for (const name of SECRETS) {
      const key = Buffer.from((await secretData(name))['tls.key'] ?? '', 'base64').toString();
      const body = key.split('\n').filter((line) => line !== '' && !line.startsWith('-'));
      expect(body.length).toBeGreaterThan(1);
      for (const text of texts) for (const line of body) expect(text).not.toContain(line);
    }
  });
});

describe('an upgrade', () => {
  it('keeps the certificates', async () => {
    const before = await Promise.all(SECRETS.map(secretData));
    await upgrade(namespace);
    expect(await Promise.all(SECRETS.map(secretData))).toEqual(before);
  });

  it.each<[string, () => Promise<unknown>]>([
    ['renewed by the same authority', () => upgrade(namespace, '--set', 'collector.tls.renewal=1')],
    [
      'made anew with another authority',
      async () => {
        await cluster.kubectl('delete', 'secret', `${RELEASE}-ca`, '-n', namespace);
        await upgrade(namespace);
      },
    ],
  ])(
    'that has them %s restarts nothing under load, and loses nothing',
    async (_, renew) => {
      const start = await moreActs();
      const before = await pods();
      const leaf = await shown();
      const taken = async () =>
        (await logged(product)).log.filter(({ msg }) => msg === 'new certificates are in force').length;
      const published = async () => (await collectorLog()).filter(({ msg }) => msg === 'an agent publishes').length;
      const [takenBefore, publishedBefore] = [await taken(), await published()];
      await renew();
      await hasten(product, [before.agent, before.collector]);
      const renewed = await stored(`${RELEASE}-collector-tls`);
      expect(renewed.raw).not.toEqual(leaf.raw);
      expect(renewed.verify((await stored(`${RELEASE}-ca`)).publicKey)).toBe(true);
      await cluster.waitFor(
        'both to take them',
        async () => ((await shown()).raw.equals(renewed.raw) && (await taken()) > takenBefore ? true : undefined),
        SLOW_MS,
      );
      await cluster.waitFor('a new stream', async () => ((await published()) > publishedBefore ? true : undefined));
      const end = await moreActs();
      expect(end - start).toBeGreaterThan(60);
      expect(await missing(start, end)).toEqual([]);
      const after = await pods();
      for (const part of ['agent', 'collector'] as const) {
        expect(after[part]).toMatchObject({
          metadata: { uid: before[part].metadata.uid },
          status: { containerStatuses: [{ restartCount: 0, ready: true }] },
        });
      }
      const ask = ['exec', '-n', namespace, product.agent, '-c', 'agent', '--', 'kerntap', 'ledger', '--json'];
      const { ledger } = JSON.parse(await cluster.kubectl(...ask));
      expect(ledger.lost.filter(({ stage }: KubeObject) => stage !== 'kernel')).toEqual([]);
    },
    SLOW_MS * 3,
  );
});
