import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KubeletSource } from '../../../src/kubernetes/kubelet.ts';
import type { PodSourceName } from '../../../src/kubernetes/pod-source.ts';
import { PodsApi } from '../../../src/kubernetes/pods-api.ts';
import { PodResolver, type PodResolverOptions } from '../../../src/kubernetes/resolver.ts';
import { WorkloadTable } from '../../../src/kubernetes/table.ts';
import { type PodPlan, type PodsServer, startPodsServer, type V1Pod, v1Pod } from '../../pods-server.ts';

/** Both sources at once, against a server that speaks both. */
let server: PodsServer;
const resolvers: PodResolver[] = [];

beforeEach(async () => {
  server = await startPodsServer();
});

afterEach(async () => {
  for (const resolver of resolvers.splice(0)) resolver.stop();
  await server.close();
});

interface SetUp {
  readonly table: WorkloadTable;
  readonly resolver: PodResolver;
  /** `SOURCE STATE NAME` of each pod that was told. */
  readonly told: string[];
  readonly sources: (PodSourceName | undefined)[];
  /** A container of a pod is made. */
  run(pod: V1Pod): bigint;
  nameOf(cgroup: bigint): string;
}

let nextCgroup = 100n;

function setUp(options: Partial<PodResolverOptions> & { podsApi?: PodsApi | undefined } = {}): SetUp {
  const table = new WorkloadTable();
  table.mkdir(1n, 0n, '/', false);
  const told: string[] = [];
  const sources: (PodSourceName | undefined)[] = [];
  const resolver = new PodResolver({
    podsApi: new PodsApi({
      dir: server.podsApiDir,
      retry: { next: () => 20, reset: () => {} },
      absentMs: 20,
      timeoutMs: 3000,
    }),
    kubelet: new KubeletSource({
      url: server.url,
      tokenFile: server.tokenFile,
      caFile: server.caFile,
      minIntervalMs: 20,
    }),
    table,
    onPod: ({ state, pod, source }) => told.push(`${source} ${state} ${pod.name}`),
    onSource: (source) => sources.push(source),
    takeoverMs: 100,
    fastMs: 50,
    slowMs: 100,
    ...options,
  });
  resolvers.push(resolver);
  const run = (pod: V1Pod): bigint => {
    nextCgroup++;
    table.mkdir(nextCgroup, 1n, `/pod${pod.metadata.uid}`, false);
    return nextCgroup;
  };
  return { table, resolver, told, sources, run, nameOf: (id) => table.find(id).podName };
}

const until = (condition: () => boolean) => expect.poll(condition, { timeout: 10_000, interval: 5 }).toBe(true);
const isNamed = ({ nameOf }: SetUp, cgroup: bigint) => until(() => nameOf(cgroup) !== '');
const add = (name: string, plan: PodPlan = {}) => server.addPod(v1Pod({ name, ...plan }));

/** The machine may be busy: /pods is not to be read for that. */
const PATIENT = { takeoverMs: 10_000 };

describe('the Pods API first', () => {
  it('names pods alone while it answers: /pods is never read', async () => {
    const old = add('old');
    const kit = setUp(PATIENT);
    const cgroup = kit.run(old);
    await kit.resolver.start();
    await isNamed(kit, cgroup);
    const fresh = add('fresh');
    await until(() => kit.told.includes('pods-api seen fresh'));
    expect(kit.nameOf(kit.run(fresh))).toBe('fresh');
    expect(kit.sources).toEqual(['pods-api']);
    expect(server.asked).toMatchObject({ https: 0, lists: 0, gets: [] });
    expect(kit.resolver.status()).toMatchObject({ source: 'pods-api', pods: 2, problem: '', unknown: 0 });
  });

  it('asks for the one pod that the watch did not tell of', async () => {
    const kit = setUp(PATIENT);
    await kit.resolver.start();
    await until(() => kit.sources.length > 0);
    const cgroup = kit.run(server.addPod(v1Pod({ name: 'dropped' }), { silent: true }));
    expect(kit.resolver.mayNameSoon(kit.table.find(cgroup))).toBe(true);
    await isNamed(kit, cgroup);
    expect(server.asked).toMatchObject({ https: 0, lists: 0, gets: [expect.any(String)] });
  });

  it('says that no name will come where the kubelet has no such pod', async () => {
    const kit = setUp(PATIENT);
    await kit.resolver.start();
    await until(() => kit.sources.length > 0);
    const cgroup = kit.run(v1Pod({ name: 'stranger' }));
    await until(() => !kit.resolver.mayNameSoon(kit.table.find(cgroup)));
    expect(kit.table.find(cgroup)).toMatchObject({ state: 'pending', podName: '' });
    expect(server.asked.https).toBe(0);
    expect(kit.resolver.status().unknown).toBe(1);
  });

  it('asks again for a container that stays out of its status', async () => {
    server.faults.withholdStatuses = true;
    const id = 'a'.repeat(64);
    const pod = add('hooked', { containers: [{ name: 'main', id }] });
    const kit = setUp({ ...PATIENT, fastMs: 20 });
    await kit.resolver.start();
    kit.run(pod);
    nextCgroup++;
    kit.table.mkdir(nextCgroup, nextCgroup - 1n, `/pod${pod.metadata.uid}/${id}`, false);
    const container = nextCgroup;
    expect(kit.table.find(container)).toMatchObject({ state: 'pending', podName: 'hooked', containerName: '' });
    server.faults.withholdStatuses = false;
    await until(() => kit.table.find(container).containerName === 'main');
    expect(server.asked.gets.length).toBeGreaterThan(0);
  });
});

describe('change-over', () => {
  it('goes to /pods and back while pods run, and no pod is told to be gone', async () => {
    const web = add('web', { containers: [{ name: 'main', id: 'a'.repeat(64) }] });
    const kit = setUp();
    await kit.resolver.start();
    await until(() => kit.told.length === 1);
    await server.stopPodsApi();
    await until(() => kit.resolver.status().source === 'kubelet');
    add('fresh');
    await until(() => kit.told.includes('kubelet seen fresh'));
    await server.startPodsApi();
    await until(() => kit.resolver.status().source === 'pods-api');
    server.removePod(web.metadata.uid);
    await until(() => kit.told.includes('pods-api gone web'));
    expect(kit.told).toEqual(['pods-api seen web', 'kubelet seen fresh', 'pods-api gone web']);
    expect(kit.sources.filter((source) => source !== undefined)).toEqual(['pods-api', 'kubelet', 'pods-api']);
    const reads = server.asked.https;
    const cgroup = kit.run(add('later'));
    await isNamed(kit, cgroup);
    // One may have been under way.
    expect(server.asked.https).toBeLessThanOrEqual(reads + 1);
  });

  it('does not happen for a watch that only begins anew', async () => {
    const kit = setUp(PATIENT);
    await kit.resolver.start();
    await until(() => server.watchers === 1);
    for (let i = 1; i <= 3; i++) {
      server.dropWatchers();
      await until(() => server.asked.watches === i + 1 && server.watchers === 1);
    }
    await server.replaceSocket();
    await until(() => server.watchers === 1);
    expect(kit.sources).toEqual(['pods-api']);
    expect(server.asked.https).toBe(0);
  });

  it('notices what changed meanwhile', async () => {
    const web = add('web');
    const kit = setUp();
    await kit.resolver.start();
    await until(() => kit.told.length === 1);
    await server.stopPodsApi();
    await server.stopHttps();
    server.removePod(web.metadata.uid);
    add('db');
    await server.replaceSocket();
    await until(() => kit.told.length === 3);
    expect(kit.told).toEqual(['pods-api seen web', 'pods-api seen db', 'pods-api gone web']);
  });

  it('uses /pods from the start where there is no socket', async () => {
    await server.stopPodsApi();
    const kit = setUp();
    const cgroup = kit.run(add('web'));
    await kit.resolver.start();
    await isNamed(kit, cgroup);
    expect(kit.resolver.status()).toMatchObject({ source: 'kubelet', sources: [{ source: 'kubelet' }] });
  });

  it('uses /pods where the Pods API fails for one pod only', async () => {
    const kit = setUp();
    await kit.resolver.start();
    await until(() => kit.sources.length > 0);
    server.faults.podsApi = 'internal';
    const cgroup = kit.run(server.addPod(v1Pod({ name: 'dropped' }), { silent: true }));
    await isNamed(kit, cgroup);
    expect(server.asked.https).toBeGreaterThan(0);
    expect(kit.resolver.status().source).toBe('pods-api');
  });
});

describe('a kubelet that fails', () => {
  it.each([
    ['not-ready', 'none'],
    ['garbage', 'none'],
    ['hang', 'none'],
    ['internal', 'unauthorized-once'],
  ] as const)('by the Pods API (%s): /pods names pods', async (podsApi, https) => {
    server.faults.podsApi = podsApi;
    server.faults.https = https;
    const kit = setUp();
    const cgroup = kit.run(add('web'));
    void kit.resolver.start();
    await isNamed(kit, cgroup);
    expect(kit.resolver.status()).toMatchObject({ source: 'kubelet' });
  });

  it.each(['garbage', 'error-500', 'unauthorized', 'forbidden', 'cut'] as const)(
    'by both ways (%s): says so, and names pods as soon as either answers',
    async (https) => {
      server.faults.podsApi = 'not-ready';
      server.faults.https = https;
      const kit = setUp();
      const cgroup = kit.run(add('web'));
      await kit.resolver.start();
      await until(() => kit.resolver.status().problem !== '');
      expect(kit.resolver.status()).toMatchObject({ source: undefined, unknown: 1 });
      await until(() => !kit.resolver.mayNameSoon(kit.table.find(cgroup)));
      if (https === 'cut') server.faults.https = 'none';
      else server.faults.podsApi = 'none';
      await isNamed(kit, cgroup);
      await until(() => kit.resolver.status().problem === '');
    },
  );

  it('in all that it does: waits, and recovers by itself', async () => {
    const web = add('web');
    const kit = setUp();
    await kit.resolver.start();
    await until(() => kit.told.length === 1);
    await server.stopPodsApi();
    await server.stopHttps();
    await until(() => kit.resolver.status().source === undefined);
    // Known pods stay known.
    expect(kit.nameOf(kit.run(web))).toBe('web');
    const cgroup = kit.run(add('db'));
    await server.startPodsApi();
    await isNamed(kit, cgroup);
    expect(kit.told).toEqual(['pods-api seen web', 'pods-api seen db']);
  });

  it('by being slow: the name comes all the same', async () => {
    const kit = setUp();
    await kit.resolver.start();
    await until(() => kit.sources.length > 0);
    server.faults.delayMs = 500;
    const cgroup = kit.run(server.addPod(v1Pod({ name: 'dropped' }), { silent: true }));
    expect(kit.resolver.mayNameSoon(kit.table.find(cgroup))).toBe(true);
    await isNamed(kit, cgroup);
  });
});

describe('where nobody is to be asked', () => {
  it('nothing is waited for: no socket, no URL', async () => {
    await server.stopPodsApi();
    const kit = setUp({ kubelet: undefined });
    await kit.resolver.start();
    const cgroup = kit.run(v1Pod());
    expect(kit.resolver.mayNameSoon(kit.table.find(cgroup))).toBe(false);
    expect(kit.resolver.expected).toBe(false);
    await server.startPodsApi();
    await until(() => kit.resolver.status().source === 'pods-api');
    expect(kit.resolver.expected).toBe(true);
  });
});
