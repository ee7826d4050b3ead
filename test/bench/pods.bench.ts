import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type PodsServer, startPodsServer, type V1Pod, v1Pod } from '../pods-server.ts';

/**
 * What the names of pods cost: parsing and table work of 110 pods of a usual size while they change, what a pod takes of
 * the heap, and how long a list of 20 MB keeps the drain waiting. The kubelet's side is another process.
 */
const PODS = 110;
const SECONDS = Number(process.env['SECONDS'] ?? 20);
const BIG_BYTES = 20e6;
const BIG_PODS = 500;

interface Figures {
  readonly ms: number;
  readonly cpuMs: number;
  readonly gapMs: number;
  readonly told: number;
  readonly maxRss: number;
  readonly bytes: number;
  readonly heap: number;
  readonly pods: number;
}

let server: PodsServer;
let readers: Reader[] = [];

class Reader {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #answers: AsyncIterator<string>;

  constructor(options: { podsApi?: boolean; https?: boolean; pollMs?: number }) {
    const { podsApi = false, https = false, pollMs = 3_600_000 } = options;
    const config = {
      ...(podsApi && { dir: server.podsApiDir }),
      ...(https && { url: server.url, tokenFile: server.tokenFile, caFile: server.caFile }),
      pollMs,
    };
    const script = join(import.meta.dirname, 'pods-reader.mjs');
    const args = ['--expose-gc', '--max-semi-space-size=4', script, JSON.stringify(config)];
    this.#child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.stderr.pipe(process.stderr);
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    readers.push(this);
  }

  async answer(): Promise<Figures> {
    const { value } = await this.#answers.next();
    return JSON.parse(value);
  }

  ask(command: string): Promise<Figures> {
    this.#child.stdin.write(`${command}\n`);
    return this.answer();
  }

  close(): void {
    this.#child.kill();
  }
}

beforeEach(async () => {
  server = await startPodsServer();
});

afterEach(async () => {
  for (const reader of readers) reader.close();
  readers = [];
  await server.close();
});

/** As a Deployment's pod is on a real node: some 9 KB of JSON. */
function usualPod(i: number): V1Pod {
  const env = Array.from({ length: 20 }, (_, n) => ({ name: `SETTING_${n}`, value: `value-of-setting-${n}` }));
  const container = (name: string) => ({
    name,
    id: `${i}`.padStart(8, '0').repeat(8),
    image: `registry.example.com/team-${i % 7}/${name}:1.${i % 5}.0`,
    spec: {
      env,
      resources: { limits: { cpu: '500m', memory: '256Mi' }, requests: { cpu: '50m', memory: '128Mi' } },
      livenessProbe: { exec: { command: ['/bin/health', '--port', '8080'] }, periodSeconds: 10 },
      volumeMounts: [{ name: 'token', readOnly: true, mountPath: '/var/run/secrets/kubernetes.io/serviceaccount' }],
    },
  });
  const app = `service-${i % 40}`;
  return v1Pod({
    name: `${app}-7d4b9c6f5d-x${i}`,
    namespace: `team-${i % 7}`,
    labels: {
      app,
      'app.kubernetes.io/name': app,
      'app.kubernetes.io/instance': `${app}-prod`,
      'app.kubernetes.io/managed-by': 'Helm',
      'pod-template-hash': '7d4b9c6f5d',
      'example.com/team': `team-${i % 7}`,
    },
    annotations: { 'example.com/checksum': 'c'.repeat(64), 'example.com/last-applied': 'x'.repeat(2000) },
    ips: [`10.244.${i >> 8}.${i & 255}`],
    containers: [container('main'), container('proxy')],
    metadata: {
      ownerReferences: [{ kind: 'ReplicaSet', name: `${app}-7d4b9c6f5d`, uid: `uid-${i % 40}`, controller: true }],
      managedFields: Array.from({ length: 2 }, (_, n) => ({
        manager: `manager-${n}`,
        fieldsV1: { Raw: Buffer.alloc(700, 'f') },
      })),
    },
  });
}

/** Every pod once in `everyMs`: its status changes, and nothing that is told. */
function churn(pods: readonly V1Pod[], everyMs: number, change: (i: number) => object): () => void {
  let at = 0;
  const timer = setInterval(() => {
    const i = at++;
    const pod = pods[i % pods.length];
    if (pod !== undefined) server.updatePod(pod.metadata.uid, { status: change(i) as V1Pod['status'] });
  }, everyMs / pods.length);
  return () => clearInterval(timer);
}

const share = ({ cpuMs, ms }: Figures) => (100 * cpuMs) / ms;

test(`${PODS} pods that change`, async () => {
  const pods = Array.from({ length: PODS }, (_, i) => server.addPod(usualPod(i)));
  const reader = new Reader({ podsApi: true });
  expect((await reader.answer()).pods).toBe(PODS);
  await reader.ask('measure 3000');
  const rows: object[] = [];
  const measure = async (what: string, from: Reader) => {
    const figures = await from.ask(`measure ${SECONDS * 1000}`);
    const row = {
      what,
      'share of a core %': share(figures).toFixed(2),
      told: figures.told,
      'gap ms': figures.gapMs.toFixed(0),
    };
    rows.push(row);
    return figures;
  };
  const idle = await measure('Pods API, nothing changes', reader);
  let stop = churn(pods, PODS * 1000, (i) => ({ phase: i % 2 === 0 ? 'Pending' : 'Running' }));
  const one = await measure('Pods API, 1 pod changes each second', reader);
  stop();
  stop = churn(pods, 1000, (i) => ({ phase: Math.floor(i / PODS) % 2 === 0 ? 'Pending' : 'Running' }));
  const all = await measure(`Pods API, each of ${PODS} pods changes each second`, reader);
  stop();
  const byHttps = new Reader({ https: true, pollMs: 1000 });
  await byHttps.answer();
  await byHttps.ask('measure 3000');
  stop = churn(pods, 1000, (i) => ({ phase: Math.floor(i / PODS) % 2 === 0 ? 'Pending' : 'Running' }));
  const polled = await measure(`/pods each second, each of ${PODS} pods changes each second`, byHttps);
  stop();
  console.table(rows);
  const ofJson = JSON.stringify(pods[0]).length;
  console.log(
    `a pod is ${ofJson} bytes of JSON; beside the idle process: ${(share(one) - share(idle)).toFixed(2)} % for 1 change/s, ` +
      `${(share(all) - share(idle)).toFixed(2)} % for ${PODS}/s (${((1000 * (all.cpuMs - idle.cpuMs)) / Math.max(all.told, 1)).toFixed(0)} us a change)`,
  );
  expect(one.told).toBeGreaterThan(0);
  expect(polled.told).toBeGreaterThan(PODS);
  // The budget, with room for a machine that does other things.
  expect(share(one) - share(idle)).toBeLessThan(1);
});

test('the heap of a pod', async () => {
  const reader = new Reader({ podsApi: true });
  await reader.answer();
  const empty = await reader.ask('gc');
  const pods = Array.from({ length: 10 * PODS }, (_, i) => usualPod(i));
  for (const pod of pods.slice(0, PODS)) server.addPod(pod);
  await reader.ask('measure 2000');
  const some = await reader.ask('gc');
  for (const pod of pods.slice(PODS)) server.addPod(pod);
  await reader.ask('measure 5000');
  const many = await reader.ask('gc');
  const perPod = (a: Figures, b: Figures) => (b.heap - a.heap) / (b.pods - a.pods);
  console.log(
    `${perPod(empty, some).toFixed(0)} bytes a pod for the first ${some.pods} (with what is made once), ` +
      `${perPod(some, many).toFixed(0)} for the next ${many.pods - some.pods}`,
  );
  expect([some.pods, many.pods]).toEqual([PODS, 10 * PODS]);
  expect(perPod(some, many)).toBeLessThan(2048);
});

test('a list of 20 MB', async () => {
  for (let i = 0; i < BIG_PODS; i++) server.addPod(usualPod(i));
  const whole = () => JSON.stringify({ kind: 'PodList', items: server.pods() }).length;
  server.faults.padBytes = Math.ceil((BIG_BYTES - whole()) / BIG_PODS);
  const body = JSON.stringify({
    kind: 'PodList',
    items: server.pods().map((pod) => ({ ...pod, pad: 'x'.repeat(server.faults.padBytes) })),
  });
  const started = performance.now();
  JSON.parse(body);
  const naive = performance.now() - started;
  const rows: object[] = [];
  for (const [what, options, command] of [
    ['HTTPS /pods', { https: true }, 'read'],
    ['Pods API, ListPods', { podsApi: true }, 'list'],
  ] as const) {
    const reader = new Reader(options);
    await reader.answer();
    for (let round = 0; round < 3; round++) {
      const figures = await reader.ask(command);
      rows.push({
        what,
        MB: (figures.bytes / 1e6).toFixed(1),
        'took ms': figures.ms.toFixed(0),
        'CPU ms': figures.cpuMs.toFixed(0),
        'longest gap of the 15 ms timer, ms': figures.gapMs.toFixed(0),
        'highest RSS, MB': (figures.maxRss / 1e6).toFixed(0),
      });
      // The same pods are shorter in protobuf.
      expect(figures.bytes).toBeGreaterThan(BIG_BYTES * 0.8);
    }
    reader.close();
  }
  console.table(rows);
  console.log(`JSON.parse of ${(body.length / 1e6).toFixed(1)} MB at one go: ${naive.toFixed(0)} ms`);
});
