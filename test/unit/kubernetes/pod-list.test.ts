import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { root } from '../../../proto/contract.ts';
import { DEFAULT_LABEL_RULES } from '../../../src/kubernetes/pod-labels.ts';
import { type PodList, readPodList } from '../../../src/kubernetes/pod-list.ts';
import { PodListError } from '../../../src/kubernetes/pod-list-splitter.ts';
import { type Pod, podMessage } from '../../../src/kubernetes/pods.ts';
import { Turns } from '../../../src/kubernetes/turns.ts';
import { rawPod, UID_A } from './fake-kubelet.ts';

// As a kubelet 1.36 over containerd 1.6 gave it, managedFields taken out.
const recorded: unknown = JSON.parse(readFileSync(new URL('./kubelet-pods.json', import.meta.url), 'utf8'));

/** A reply as it arrives: in parts of `size` bytes. */
async function* parts(body: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < body.length; at += size) yield body.subarray(at, at + size);
}

function readText(text: string, size = 65_536): Promise<PodList> {
  return readPodList(parts(Buffer.from(text), size), { rules: DEFAULT_LABEL_RULES, turns: new Turns() });
}

function read(list: unknown, size?: number): Promise<PodList> {
  return readText(JSON.stringify(list) ?? '', size);
}

async function one(list: unknown, name: string): Promise<Pod> {
  const pod = (await read(list)).pods.find((each) => each.name === name);
  if (pod === undefined) throw new Error(`no pod ${name}`);
  return pod;
}

describe('readPodList of a recorded reply', () => {
  it('reads every item', async () => {
    const { pods, ...rest } = await read(recorded);
    expect(pods.map(({ name }) => name)).toEqual(['probe', 'static-node-a']);
    expect(rest).toEqual({ skipped: 0, firstProblem: '', bytes: JSON.stringify(recorded).length });
  });

  it('reads the same however it is cut', async () => {
    const whole = (await read(recorded)).pods;
    for (const size of [1, 2, 3, 7, 100, 1000]) expect((await read(recorded, size)).pods).toEqual(whole);
    expect((await readText(JSON.stringify(recorded, null, 2), 5)).pods).toEqual(whole);
  });

  it('is not misled by what stands in strings', async () => {
    const names = ['"items":[', '\\', '\\"', '}]}', '{"items":[{', '\u0022\u005c', ',', 'items'];
    const items = names.map((value, i) => rawPod({ uid: UID_A.slice(0, -1) + i, labels: { value, [value]: 'x' } }));
    const list = { items, kind: 'PodList', metadata: { items: [{ not: 'an item' }], remark: names } };
    for (const size of [1, 2, 5, 1000]) {
      const { pods, skipped } = await read(list, size);
      expect(pods.map(({ labels }) => labels['value'])).toEqual(names);
      expect(skipped).toBe(0);
    }
  });

  it('reads a pod with an init container, a sidecar and a container', async () => {
    const pod = await one(recorded, 'probe');
    expect(pod).toMatchObject({
      uid: 'd9321e08-0be0-434b-9574-46d696b27453',
      namespace: 'kt-probe',
      labels: { app: 'probe' },
      ips: ['10.244.0.3'],
      serviceAccount: 'default',
      ownerKind: '',
      ownerName: '',
      phase: 'Running',
      startedAt: '2026-11-22T07:55:43Z',
      hostNetwork: false,
      hostPid: false,
      hostPaths: [],
    });
    expect(pod.containers.map(({ name, type, runtime }) => [name, type, runtime])).toEqual([
      ['i1', 'init', 'containerd'],
      ['side', 'sidecar', 'containerd'],
      ['main', 'container', 'containerd'],
    ]);
    expect(pod.containers[0]).toMatchObject({
      id: '075d2eae6f5a536ef337e600f812f70167fcc4cb6f6a12aa5adf39a50fc6ab88',
      imageName: 'docker.io/library/kub:1',
      imageDigest: 'sha256:e076d247fc139cf33df49ab40fdb97ea5fc9407ac92365cb3c003e9127408428',
      startedAt: '2026-11-22T07:55:44Z',
      finishedAt: '2026-11-22T07:55:44Z',
    });
  });

  it('reads a static pod under the UID of its cgroup, owned by the node', async () => {
    expect(await one(recorded, 'static-node-a')).toMatchObject({
      uid: 'd1343e897f04e3b4778fa3b3468cf9ff',
      ownerKind: 'Node',
      ownerName: 'node-a',
      ownerDerived: true,
    });
  });
});

describe('readPodList of junk', () => {
  it.each([
    [[], '$'],
    ['x', '$'],
    [{ kind: 'Status' }, '$.kind'],
    [{ kind: 'PodList', items: 'x' }, '$.items'],
  ])('refuses %j at %s', async (value, path) => {
    await expect(read(value)).rejects.toThrow(PodListError);
    await expect(read(value)).rejects.toThrow(path);
  });

  it.each(['', '<html>', '{"kind":"PodList"', '{"kind":"PodList","items":[{]}', '{"items":[{"a":"', ']]]]}}'])(
    'refuses %j',
    async (text) => {
      await expect(readText(text)).rejects.toSatisfy((e) => e instanceof PodListError || e instanceof SyntaxError);
    },
  );

  it('refuses a pod that no API server would take, before it is whole', async () => {
    async function* endless(): AsyncGenerator<Buffer> {
      yield Buffer.from('{"kind":"PodList","items":[{"metadata":{"name":"');
      for (;;) yield Buffer.alloc(65_536, 'x');
    }
    const reading = readPodList(endless(), { rules: DEFAULT_LABEL_RULES, turns: new Turns() });
    await expect(reading).rejects.toThrow('a pod is over 4194304 bytes');
  });

  it('takes a list without items', async () => {
    expect((await read({ kind: 'PodList', items: null })).pods).toEqual([]);
    expect((await read({ kind: 'PodList' })).pods).toEqual([]);
  });

  it.each([
    [null, '$.items: has items that are no objects'],
    [{ metadata: {}, spec: {} }, '$.items[1].metadata.uid:'],
    [{ ...rawPod(), spec: 7 }, '$.items[1].spec:'],
    [{ ...rawPod(), status: [] }, '$.items[1].status:'],
    [rawPod({ uid: '../../etc' }), '$.items[1].metadata.uid:'],
    [rawPod({ name: '' }), '$.items[1].metadata.name:'],
    [rawPod({ labels: 'x' }), '$.items[1].metadata.labels:'],
    [rawPod({ ownerReferences: [1] }), '$.items[1].metadata.ownerReferences[0]:'],
    [{ ...rawPod(), spec: { containers: [null] } }, '$.items[1].spec.containers[0]:'],
    [rawPod({}, { containerStatuses: {} }), '$.items[1].status.containerStatuses:'],
  ])('leaves out and counts an item that is no pod: %j', async (item, problem) => {
    const list = await read({ kind: 'PodList', items: [rawPod(), item, rawPod()] });
    expect(list.pods).toHaveLength(2);
    expect(list.skipped).toBe(1);
    expect(list.firstProblem).toContain(problem);
  });

  it('never throws anything else, whatever a field holds', async () => {
    const junk = [null, 1, 'x', [], {}, [[]], [{}], true];
    let seed = 7;
    const random = (below: number) => {
      seed = (seed * 1103515245 + 12345) & 0x7fffffff;
      return (seed >> 8) % below;
    };
    const spoil = (value: unknown): unknown => {
      if (random(20) === 0) return junk[random(junk.length)];
      if (Array.isArray(value)) return value.map(spoil);
      if (typeof value !== 'object' || value === null) return value;
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, spoil(item)]));
    };
    const items = (recorded as { items: unknown[] }).items;
    let taken = 0;
    let skipped = 0;
    for (let i = 0; i < 2000; i++) {
      const list = await read({ kind: 'PodList', items: items.map(spoil) });
      expect(list.pods.length + list.skipped).toBe(items.length);
      for (const pod of list.pods)
        expect(type.verify(podMessage(pod, 'seen', 'kubelet') as unknown as Record<string, unknown>)).toBeNull();
      taken += list.pods.length;
      skipped += list.skipped;
    }
    expect(Math.min(taken, skipped)).toBeGreaterThan(100);
  });
});

const type = root.lookupType('kerntap.v1.Pod');
