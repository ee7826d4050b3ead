import { describe, expect, it } from 'vitest';
import { placeCgroup } from '../../../src/kubernetes/placement.ts';
import { parsePod } from '../../../src/kubernetes/pod-projection.ts';
import type { Pod } from '../../../src/kubernetes/pods.ts';
import { WorkloadTable, type WorkloadTableOptions } from '../../../src/kubernetes/table.ts';
import type { Workload } from '../../../src/kubernetes/workload.ts';
import { rawPod, UID_A } from './fake-kubelet.ts';

const UID_B = 'bbbbbbbb-2222-3333-4444-555555555555';
const hex = (digit: string) => digit.repeat(64);
const SANDBOX = hex('5');
const MAIN = hex('a');
const DIGEST = `sha256:${hex('d')}`;
const POD_PATH = `/kubepods/besteffort/pod${UID_A}`;

function statusOf(containerId: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  return { name: 'main', containerID: `containerd://${containerId}`, imageID: DIGEST, ...more };
}

function pod(containerId = '', change: Record<string, unknown> = {}, more: Record<string, unknown> = {}): Pod {
  const status = containerId === '' ? {} : { containerStatuses: [statusOf(containerId, more)] };
  return parsePod(rawPod(change, status), '$');
}

/** A table with a clock of its own, and /kubepods/besteffort (ids 2, 3) below the root (1). */
function setUp(options: WorkloadTableOptions = {}) {
  const clock = { now: 1000 };
  const table = new WorkloadTable({ now: () => clock.now, ...options });
  table.mkdir(1n, 0n, '/', false);
  table.mkdir(2n, 1n, '/kubepods', false);
  table.mkdir(3n, 2n, '/kubepods/besteffort', false);
  return { table, clock };
}

/** Pod A's own cgroup (10), its sandbox (11) and its container (12), as the kubelet makes them. */
function runPod(table: WorkloadTable): void {
  table.mkdir(10n, 3n, POD_PATH, false);
  table.mkdir(11n, 10n, `${POD_PATH}/${SANDBOX}`, false);
  table.mkdir(12n, 10n, `${POD_PATH}/${MAIN}`, false);
}

function at(table: WorkloadTable, id: bigint): Workload {
  return table.get(Number(id & 0xffffffffn), Number(id >> 32n));
}

describe('WorkloadTable.get', () => {
  it('knows a container from its path alone, at once', () => {
    const { table } = setUp();
    runPod(table);
    expect(at(table, 12n)).toMatchObject({
      cgroupId: 12n,
      cgroupPath: `${POD_PATH}/${MAIN}`,
      state: 'pending',
      reason: 'pod not known yet',
      podUid: UID_A,
      containerId: MAIN,
      podName: '',
    });
    expect(at(table, 3n)).toMatchObject({ state: 'host', reason: '', podUid: '', cgroupPath: '/kubepods/besteffort' });
  });

  it('says unknown for an id never seen, with one object an id', () => {
    const { table } = setUp();
    const unseen = at(table, 999n);
    expect(unseen).toMatchObject({ cgroupId: 999n, cgroupPath: '', state: 'unknown', reason: 'cgroup was not seen' });
    expect(at(table, 999n)).toBe(unseen);
    expect(at(table, 998n)).not.toBe(unseen);
    expect(at(table, 0n).reason).toBe('no cgroup id');
    for (let id = 10_000n; id < 20_000n; id++) at(table, id);
    expect(table.counts().unseen).toBeLessThanOrEqual(4096);
  });

  it('tells ids apart by all 64 bits, signed or unsigned halves', () => {
    const { table } = setUp();
    const ids = [0xffffffffn, 0x1ffffffffn, 0xffffffffffffffffn, 0x80000000n, 0x8000000000000000n, 0x100000002n];
    ids.forEach((id, i) => void table.mkdir(id, 1n, `/c${i}`, false));
    ids.forEach((id, i) => {
      expect(at(table, id)).toMatchObject({ cgroupId: id, cgroupPath: `/c${i}` });
      expect(table.get(Number(BigInt.asIntN(32, id)), Number(BigInt.asIntN(32, id >> 32n))).cgroupId).toBe(id);
    });
    expect(at(table, 2n).cgroupPath).toBe('/kubepods');
    for (const id of ids) table.rmdir(id);
    expect(at(table, 2n).cgroupPath).toBe('/kubepods');
  });

  it('allocates nothing for a known cgroup', () => {
    const { table } = setUp();
    const ids = Uint32Array.from({ length: 64 }, (_, i) => 0xf0000000 + i);
    for (const id of ids) table.mkdir(BigInt(id), 1n, `/high${id}`, false);
    let sum = 0;
    const run = (times: number) => {
      for (let i = 0; i < times; i++) sum += table.get(ids[i & 63] ?? 0, 0).cgroupPath.length;
    };
    run(1_000_000);
    // A boxed number would be 16 bytes a look-up: the heap would grow by megabytes between two collections.
    let lowest = Number.POSITIVE_INFINITY;
    let highest = 0;
    for (let i = 0; i < 30; i++) {
      run(100_000);
      const { heapUsed } = process.memoryUsage();
      lowest = Math.min(lowest, heapUsed);
      highest = Math.max(highest, heapUsed);
    }
    expect(sum).toBe(4_000_000 * '/high4026531840'.length);
    expect(highest - lowest).toBeLessThan(1_000_000);
  });
});

describe('WorkloadTable joins pods', () => {
  it('by UID, then by container id', () => {
    const { table } = setUp();
    runPod(table);
    table.applyPods([pod(MAIN)]);
    expect(at(table, 12n)).toEqual({
      cgroupId: 12n,
      cgroupPath: `${POD_PATH}/${MAIN}`,
      state: 'complete',
      reason: '',
      containerId: MAIN,
      containerName: 'main',
      containerRuntime: 'containerd',
      imageName: 'docker.io/library/web:1',
      imageDigest: DIGEST,
      podUid: UID_A,
      podName: 'web',
      namespace: 'shop',
      untoldLabels: {},
      labels: { app: 'web' },
      serviceAccount: 'default',
      ownerKind: '',
      ownerName: '',
      ownerDerived: false,
    });
  });

  it('names the pod before its status names the container, and does not guess the container', () => {
    const { table } = setUp();
    runPod(table);
    table.applyPods([pod()]);
    const expected = { state: 'pending', reason: 'container not in status yet', podName: 'web', containerName: '' };
    expect(at(table, 12n)).toMatchObject({ ...expected, imageName: '', imageDigest: '' });
    expect(table.pendingPodUids()).toEqual([]);
    table.applyPods([pod(MAIN)]);
    expect(at(table, 12n)).toMatchObject({ state: 'complete', containerName: 'main' });
  });

  it('whichever comes first', () => {
    const { table } = setUp();
    table.applyPods([pod(MAIN)]);
    runPod(table);
    expect(at(table, 12n)).toMatchObject({ state: 'complete', containerName: 'main', podName: 'web' });
  });

  it('names the pod of a process directly in the pod cgroup', () => {
    const { table } = setUp();
    runPod(table);
    table.applyPods([pod(MAIN)]);
    expect(at(table, 10n)).toMatchObject({ state: 'complete', reason: 'no container in cgroup path', podName: 'web' });
  });

  it('leaves the sandbox unnamed, and no longer pending once a younger container is named', () => {
    const { table } = setUp();
    runPod(table);
    table.applyPods([pod()]);
    expect(at(table, 11n).state).toBe('pending');
    table.applyPods([pod(MAIN)]);
    expect(at(table, 11n)).toMatchObject({ state: 'complete', containerName: '', imageName: '', podName: 'web' });
    expect(at(table, 11n).reason).toContain('sandbox');
    expect(table.counts().pending).toBe(0);
  });

  it('does not take a container that follows a named one for the sandbox', () => {
    const { table } = setUp();
    runPod(table);
    table.applyPods([pod(MAIN)]);
    table.mkdir(13n, 10n, `${POD_PATH}/${hex('b')}`, false);
    expect(at(table, 13n)).toMatchObject({ state: 'pending', reason: 'container not in status yet' });
  });

  it('settles the sandbox when the named container is seen after the status', () => {
    const { table } = setUp();
    table.applyPods([pod(MAIN)]);
    table.mkdir(10n, 3n, POD_PATH, false);
    table.mkdir(11n, 10n, `${POD_PATH}/${SANDBOX}`, false);
    expect(at(table, 11n).state).toBe('pending');
    const changed: bigint[] = [];
    table.onChange((id) => changed.push(id));
    table.mkdir(12n, 10n, `${POD_PATH}/${MAIN}`, false);
    expect(at(table, 11n).state).toBe('complete');
    expect(changed).toEqual([11n]);
  });

  it('keeps the name of an instance when the status speaks of its successor', () => {
    const { table } = setUp();
    runPod(table);
    table.applyPods([pod(MAIN)]);
    const next = hex('b');
    table.mkdir(13n, 10n, `${POD_PATH}/${next}`, false);
    const lastState = { terminated: { containerID: `containerd://${hex('7')}` } };
    const updated = rawPod({}, { containerStatuses: [statusOf(next, { imageID: `sha256:${hex('e')}`, lastState })] });
    table.applyPods([parsePod(updated, '$')]);
    expect(at(table, 12n)).toMatchObject({ state: 'complete', containerName: 'main', imageDigest: DIGEST });
    expect(at(table, 13n)).toMatchObject({
      state: 'complete',
      containerName: 'main',
      imageDigest: `sha256:${hex('e')}`,
    });
    // The one between was never seen in a status of its own: its name is known, its image is not.
    table.mkdir(14n, 10n, `${POD_PATH}/${hex('7')}`, false);
    expect(at(table, 14n)).toMatchObject({ state: 'complete', containerName: 'main', imageName: '', imageDigest: '' });
    expect(at(table, 14n).reason).toContain('past instance');
  });

  it('takes a digest that comes after the id', () => {
    const { table } = setUp();
    runPod(table);
    table.applyPods([pod(MAIN, {}, { imageID: '' })]);
    expect(at(table, 12n)).toMatchObject({ state: 'complete', imageDigest: '' });
    table.applyPods([pod(MAIN)]);
    expect(at(table, 12n).imageDigest).toBe(DIGEST);
  });

  it('replaces the object when something changed, tells the listeners, and else keeps it', () => {
    const { table } = setUp();
    runPod(table);
    const told: [bigint, Workload][] = [];
    table.onChange((...args) => told.push(args));
    table.applyPods([pod(MAIN)]);
    expect(told.map(([id]) => id).sort()).toEqual([10n, 11n, 12n]);
    const first = at(table, 12n);
    expect(told.at(-1)?.[1]).toBe(first);
    expect(Object.isFrozen(first)).toBe(true);
    table.applyPods([pod(MAIN)]);
    // What does not show in a workload does not make a new one.
    table.applyPods([pod(MAIN, {}, { restartCount: 1 })]);
    expect(at(table, 12n)).toBe(first);
    expect(told).toHaveLength(3);
    table.applyPods([pod(MAIN, { labels: { app: 'web', tier: 'front' } })]);
    expect(at(table, 12n)).not.toBe(first);
    expect(at(table, 12n).labels).toEqual({ app: 'web', tier: 'front' });
    expect(first.labels).toEqual({ app: 'web' });
    expect(told).toHaveLength(6);
  });

  it('keeps what a forgotten pod named', () => {
    const { table } = setUp();
    runPod(table);
    table.applyPods([pod(MAIN)]);
    table.forgetPod(UID_A);
    expect(at(table, 12n)).toMatchObject({ state: 'complete', podName: 'web' });
    expect(table.counts().pods).toBe(0);
  });
});

describe('WorkloadTable follows the cgroup tree', () => {
  it('gives a container its sub-groups', () => {
    const { table } = setUp();
    runPod(table);
    table.applyPods([pod(MAIN)]);
    const placed = table.mkdir(20n, 12n, `${POD_PATH}/${MAIN}/init.scope`, false);
    expect(placed).toMatchObject({ rootId: 12n, containerId: MAIN, podUid: UID_A });
    expect(at(table, 20n)).toMatchObject({ state: 'complete', containerName: 'main', cgroupId: 20n });
    expect(at(table, 20n).cgroupPath).toBe(`${POD_PATH}/${MAIN}/init.scope`);
  });

  it('returns the place for the kernel side', () => {
    const { table } = setUp();
    expect(table.mkdir(10n, 3n, POD_PATH, false)).toMatchObject({ rootId: 0n, podUid: UID_A, containerId: '' });
    expect(table.mkdir(12n, 10n, `${POD_PATH}/${MAIN}`, false)).toMatchObject({ rootId: 12n, containerId: MAIN });
    expect(table.mkdir(30n, 1n, '/system.slice', false)).toMatchObject({ rootId: 0n, podUid: '', containerId: '' });
    expect(table.placement(12n)?.rootId).toBe(12n);
    expect(table.placement(77n)).toBeUndefined();
  });

  it('places by the parent where the kernel cut the path', () => {
    const { table } = setUp();
    runPod(table);
    const cut = `${POD_PATH}/${MAIN}/${'x'.repeat(1023 - POD_PATH.length - MAIN.length - 2)}`;
    expect(table.mkdir(20n, 12n, cut, true)).toMatchObject({ rootId: 12n, containerId: MAIN });
    expect(table.mkdir(21n, 20n, cut, true)).toMatchObject({ rootId: 12n, containerId: MAIN });
    expect(at(table, 21n).cgroupPath).toHaveLength(1023);
  });

  it('uses the whole part of a cut path where the parent is not known', () => {
    const { table } = setUp();
    table.mkdir(20n, 555n, `${POD_PATH}/${MAIN}/${'x'.repeat(800)}`, true);
    expect(at(table, 20n)).toMatchObject({ state: 'pending', containerId: MAIN, podUid: UID_A });
    table.mkdir(21n, 556n, `/${'x'.repeat(1022)}`, true);
    expect(at(table, 21n)).toMatchObject({ state: 'unknown', reason: 'cgroup path cut by the kernel' });
  });

  it('does not believe names that a workload makes below its own cgroup', () => {
    const { table } = setUp();
    runPod(table);
    const forged = `${POD_PATH}/${MAIN}/kubepods/pod${UID_B}/${hex('c')}`;
    table.mkdir(20n, 12n, `${POD_PATH}/${MAIN}/kubepods`, false);
    table.mkdir(21n, 20n, `${POD_PATH}/${MAIN}/kubepods/pod${UID_B}`, false);
    table.mkdir(22n, 21n, forged, false);
    for (const id of [20n, 21n, 22n]) expect(at(table, id)).toMatchObject({ podUid: UID_A, containerId: MAIN });
    // Nor where its parents' records were lost.
    table.mkdir(23n, 9999n, forged, false);
    expect(at(table, 23n)).toMatchObject({ podUid: UID_A, containerId: MAIN });
  });

  it('finds pods below a node that is a container', () => {
    const { table } = setUp();
    table.mkdir(40n, 1n, `/docker`, false);
    table.mkdir(41n, 40n, `/docker/${hex('9')}`, false);
    table.mkdir(42n, 41n, `/docker/${hex('9')}/pod${UID_A}`, false);
    table.mkdir(43n, 42n, `/docker/${hex('9')}/pod${UID_A}/${MAIN}`, false);
    expect(at(table, 41n)).toMatchObject({ state: 'unknown', reason: 'no pod in cgroup path', containerId: hex('9') });
    expect(at(table, 43n)).toMatchObject({ podUid: UID_A, containerId: MAIN });
    expect(table.placement(43n)?.rootId).toBe(43n);
  });

  it('keeps to the paths of its walk where the kernel sees more (a node in a container)', () => {
    const table = new WorkloadTable();
    table.addFound([{ id: 100n, path: '/', podUid: '', containerId: '', rootId: 0n }]);
    table.mkdir(101n, 100n, `/docker/${hex('9')}/system.slice`, false);
    expect(at(table, 101n)).toMatchObject({ state: 'host', cgroupPath: '/system.slice' });
    table.mkdir(102n, 100n, `/docker/${hex('9')}/pod${UID_A}`, false);
    expect(at(table, 102n)).toMatchObject({ podUid: UID_A, cgroupPath: `/pod${UID_A}` });
  });
});

describe('WorkloadTable over time', () => {
  it('keeps a removed cgroup for late records, then drops it', () => {
    const { table, clock } = setUp();
    runPod(table);
    table.rmdir(12n);
    clock.now += 29_999;
    table.sweep();
    expect(at(table, 12n).containerId).toBe(MAIN);
    table.applyPods([pod(MAIN)]);
    expect(at(table, 12n)).toMatchObject({ state: 'complete', containerName: 'main' });
    clock.now += 1;
    table.sweep();
    expect(at(table, 12n)).toMatchObject({ state: 'unknown', containerId: '' });
  });

  it('gives an id that comes again to its new owner, and does not drop that later', () => {
    const { table, clock } = setUp();
    runPod(table);
    table.rmdir(12n);
    clock.now += 10_000;
    table.mkdir(12n, 1n, '/system.slice', false);
    expect(at(table, 12n)).toMatchObject({ state: 'host', cgroupPath: '/system.slice' });
    clock.now += 60_000;
    table.sweep();
    expect(at(table, 12n)).toMatchObject({ state: 'host', cgroupPath: '/system.slice' });
    // A removal whose record was lost.
    table.mkdir(12n, 1n, '/other', false);
    expect(at(table, 12n).cgroupPath).toBe('/other');
    expect(table.counts().cgroups).toBe(6);
  });

  it('takes walk and record of the same cgroup for one', () => {
    const { table } = setUp();
    runPod(table);
    table.applyPods([pod(MAIN)]);
    const before = at(table, 12n);
    runPod(table);
    table.addFound([{ id: 12n, path: `${POD_PATH}/${MAIN}`, podUid: UID_A, containerId: MAIN, rootId: 12n }]);
    expect(at(table, 12n)).toBe(before);
    expect(table.counts().cgroups).toBe(6);
  });

  it('takes what a later walk did not find for removed: its record was lost', () => {
    const { table, clock } = setUp();
    runPod(table);
    const left = table
      .living()
      .filter((id) => id !== 12n)
      .map((id) => table.placement(id));
    table.takeWalk([...left.filter((placement) => placement !== undefined), placeCgroup(30n, '/late', undefined)]);
    expect(table.living().sort()).toEqual([1n, 2n, 3n, 10n, 11n, 30n].sort());
    expect(at(table, 12n)).toMatchObject({ podUid: UID_A, containerId: MAIN });
    clock.now += 30_000;
    table.sweep();
    expect(at(table, 12n).state).toBe('unknown');
  });

  it('tells of a cgroup that was asked for before it was seen', () => {
    const { table } = setUp();
    expect(at(table, 12n).state).toBe('unknown');
    const told: bigint[] = [];
    table.onChange((id) => told.push(id));
    runPod(table);
    expect(told).toEqual([12n]);
    expect(table.counts().unseen).toBe(0);
  });

  it('names pods to ask for, as soon as the pod cgroup is made', () => {
    const { table, clock } = setUp();
    const asked: string[] = [];
    table.onUnknownPod((uid) => asked.push(uid));
    table.mkdir(10n, 3n, POD_PATH, false);
    expect(asked).toEqual([UID_A]);
    expect(table.pendingPodUids()).toEqual([UID_A]);
    expect(table.hasPendingYoungerThan(1000)).toBe(true);
    clock.now += 1000;
    expect(table.hasPendingYoungerThan(1000)).toBe(false);
    expect(table.hasLivingCgroup(UID_A)).toBe(true);
    table.rmdir(10n);
    expect(table.hasLivingCgroup(UID_A)).toBe(false);
    table.rmdir(10n);
    table.rmdir(424242n);
  });

  it('asks for a pod until its cgroups are forgotten: what has ended before it was known is completed, too', () => {
    const { table, clock } = setUp();
    runPod(table);
    for (const id of [12n, 11n, 10n]) table.rmdir(id);
    expect(table.pendingPodUids()).toEqual([UID_A]);
    expect(table.hasPendingYoungerThan(1000)).toBe(true);
    table.applyPods([pod()]);
    expect(table.pendingPodUids()).toEqual([]);
    // The pod is known; its container and its sandbox are in a status only after their end.
    expect(table.counts().pending).toBe(2);
    table.applyPods([pod(MAIN)]);
    expect(at(table, 12n)).toMatchObject({ state: 'complete', containerName: 'main' });
    expect(table.counts().pending).toBe(0);
    table.mkdir(50n, 3n, `/kubepods/besteffort/pod${UID_B}`, false);
    table.rmdir(50n);
    expect(table.pendingPodUids()).toEqual([UID_B]);
    clock.now += 30_000;
    expect(table.pendingPodUids()).toEqual([]);
  });

  it('is bounded: removed cgroups make room, living ones do not', () => {
    const { table } = setUp({ maxCgroups: 5 });
    table.mkdir(20n, 1n, '/a', false);
    table.mkdir(21n, 1n, '/b', false);
    table.mkdir(22n, 1n, '/c', false);
    expect(table.counts()).toMatchObject({ cgroups: 5, refused: 1 });
    expect(at(table, 22n).state).toBe('unknown');
    table.rmdir(20n);
    table.mkdir(22n, 1n, '/c', false);
    expect(at(table, 22n).state).toBe('host');
    expect(at(table, 20n).state).toBe('unknown');
    expect(table.counts()).toMatchObject({ cgroups: 5, refused: 1 });
  });

  it('lets a workload that makes cgroups displace only its own', () => {
    const { table } = setUp({ maxCgroupsPerPod: 10 });
    runPod(table);
    table.mkdir(50n, 3n, `/kubepods/besteffort/pod${UID_B}`, false);
    for (let i = 0n; i < 100n; i++) table.mkdir(1000n + i, 12n, `${POD_PATH}/${MAIN}/g${i}`, false);
    expect(table.counts()).toMatchObject({ cgroups: 3 + 10 + 1, displaced: 93 });
    for (const id of [10n, 11n, 12n, 1099n]) expect(at(table, id).podUid).toBe(UID_A);
    expect(at(table, 50n).podUid).toBe(UID_B);
    expect(at(table, 1000n).state).toBe('unknown');
  });

  it('does not grow over a long life', () => {
    const { table, clock } = setUp();
    for (let i = 0n; i < 20_000n; i++) {
      const uid = `${(0x10000000 + Number(i)).toString(16)}-2222-3333-4444-555555555555`;
      table.mkdir(100n + 2n * i, 3n, `/kubepods/besteffort/pod${uid}`, false);
      table.mkdir(101n + 2n * i, 100n + 2n * i, `/kubepods/besteffort/pod${uid}/${MAIN}`, false);
      table.rmdir(101n + 2n * i);
      table.rmdir(100n + 2n * i);
      clock.now += 100;
    }
    expect(table.counts().cgroups).toBeLessThan(3 + 2 * 302);
    clock.now += 30_000;
    expect(table.counts()).toMatchObject({ cgroups: 3, pending: 0 });
  });
});
