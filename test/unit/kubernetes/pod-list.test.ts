import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { root } from '../../../proto/contract.ts';
import { PodListError, parsePod, parsePodList } from '../../../src/kubernetes/pod-list.ts';
import { type Pod, podMessage } from '../../../src/kubernetes/pods.ts';
import { rawPod, UID_A } from './fake-kubelet.ts';

// As a kubelet 1.36 over containerd 1.6 gave it, managedFields taken out.
const recorded: unknown = JSON.parse(readFileSync(new URL('./kubelet-pods.json', import.meta.url), 'utf8'));

function parse(item: unknown): Pod {
  return parsePod(item, '$');
}

function one(list: unknown, name: string): Pod {
  const pod = parsePodList(list).pods.find((each) => each.name === name);
  if (pod === undefined) throw new Error(`no pod ${name}`);
  return pod;
}

const ID = (digit: string) => digit.repeat(64);

describe('parsePodList on a recorded reply', () => {
  it('reads every item', () => {
    expect(parsePodList(recorded)).toMatchObject({ skipped: 0, firstProblem: '' });
    expect(parsePodList(recorded).pods.map(({ name }) => name)).toEqual(['probe', 'static-node-a']);
  });

  it('reads a pod with an init container, a sidecar and a container', () => {
    const pod = one(recorded, 'probe');
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

  it('reads a static pod under the UID of its cgroup, owned by the node', () => {
    expect(one(recorded, 'static-node-a')).toMatchObject({
      uid: 'd1343e897f04e3b4778fa3b3468cf9ff',
      ownerKind: 'Node',
      ownerName: 'node-a',
      ownerDerived: true,
    });
  });
});

describe('parsePod', () => {
  it('keeps what is dangerous about a pod', () => {
    const pod = parse({
      metadata: { name: 'x', namespace: 'n', uid: UID_A },
      spec: {
        hostNetwork: true,
        hostPID: true,
        volumes: [
          { name: 'a', hostPath: { path: '/etc' } },
          { name: 'b', emptyDir: {} },
          { name: 'c', hostPath: { path: '/' } },
        ],
        containers: [
          {
            name: 'c',
            image: 'i',
            securityContext: { privileged: true, capabilities: { add: ['SYS_ADMIN', 'BPF'], drop: ['ALL'] } },
            livenessProbe: { exec: { command: ['sh', '-c', '', 'x y'] } },
            readinessProbe: { httpGet: { port: 80 } },
            lifecycle: { postStart: { exec: { command: ['/a'] } }, preStop: { exec: { command: ['/b'] } } },
          },
        ],
        ephemeralContainers: [{ name: 'debug', image: 'i2' }],
      },
      status: { podIP: '10.0.0.1', podIPs: [{ ip: '10.0.0.1' }, { ip: 'fd00::1' }] },
    });
    expect(pod).toMatchObject({
      hostNetwork: true,
      hostPid: true,
      hostPaths: ['/etc', '/'],
      ips: ['10.0.0.1', 'fd00::1'],
    });
    expect(pod.containers).toMatchObject([
      { privileged: true, addedCapabilities: ['SYS_ADMIN', 'BPF'], probeCommands: ['sh\0-c\0\0x y', '/a', '/b'] },
      { name: 'debug', type: 'ephemeral', id: '', privileged: false },
    ]);
  });

  it.each([
    ['docker.io/library/web@sha256:', 'sha256:'],
    ['docker-pullable://web@sha256:', 'sha256:'],
    ['sha256:', 'sha256:'],
    ['web:1', ''],
    ['', ''],
  ])('takes the digest of imageID %s', (prefix, expected) => {
    const imageID = prefix.endsWith('sha256:') ? prefix + ID('a') : prefix;
    const statuses = [{ name: 'main', imageID, containerID: `cri-o://${ID('1')}`, image: 'other-tag:2' }];
    const [container] = parse(rawPod({}, { containerStatuses: statuses })).containers;
    expect(container?.imageDigest).toBe(expected === '' ? '' : expected + ID('a'));
    expect(container).toMatchObject({ runtime: 'cri-o', id: ID('1'), imageName: 'docker.io/library/web:1' });
  });

  it('keeps the instance before a restart', () => {
    const lastState = { terminated: { containerID: `containerd://${ID('1')}` } };
    const running = { name: 'main', restartCount: 3, containerID: `containerd://${ID('2')}`, lastState };
    expect(parse(rawPod({}, { containerStatuses: [running] })).containers[0]).toMatchObject({
      id: ID('2'),
      previousIds: [ID('1')],
      restartCount: 3,
    });
    const waiting = { name: 'main', state: { waiting: { reason: 'CrashLoopBackOff' } }, lastState };
    expect(parse(rawPod({}, { containerStatuses: [waiting] })).containers[0]).toMatchObject({
      id: '',
      previousIds: [ID('1')],
    });
  });

  it('believes config.hash only of a static pod: anyone may write the annotation', () => {
    const annotations = { 'kubernetes.io/config.hash': 'f'.repeat(32) };
    expect(parse(rawPod({ annotations })).uid).toBe(UID_A);
    const api = { ...annotations, 'kubernetes.io/config.source': 'api' };
    expect(parse(rawPod({ annotations: api })).uid).toBe(UID_A);
    const file = { ...annotations, 'kubernetes.io/config.source': 'file' };
    expect(parse(rawPod({ annotations: file })).uid).toBe('f'.repeat(32));
  });

  it('keeps hostile labels as data', () => {
    const labels = JSON.parse('{"__proto__":"p","constructor":"c","a":"\\ud800","n":7}');
    const pod = parse(rawPod({ labels }));
    expect(Object.entries(pod.labels)).toEqual([
      ['__proto__', 'p'],
      ['constructor', 'c'],
      ['a', '\ufffd'],
      ['n', ''],
    ]);
    expect(Object.getPrototypeOf(pod.labels)).toBe(Object.prototype);
  });

  const at = '2026-11-22T08:00:30Z';
  const minute = Date.parse('2026-11-22T08:00:00Z') / 60_000;
  it.each([
    ['ReplicaSet', 'web-5d4f8c7b6', '5d4f8c7b6', 'Deployment', 'web', true],
    ['ReplicaSet', 'web-5d4f8c7b6', 'other', 'ReplicaSet', 'web-5d4f8c7b6', false],
    ['ReplicaSet', 'web-5d4f8c7b6', '', 'ReplicaSet', 'web-5d4f8c7b6', false],
    ['ReplicaSet', '-h', 'h', 'ReplicaSet', '-h', false],
    ['Job', `backup-${minute}`, '', 'CronJob', 'backup', true],
    ['Job', `backup-${minute - 30}`, '', 'CronJob', 'backup', true],
    ['Job', `backup-${minute + 1}`, '', 'Job', `backup-${minute + 1}`, false],
    ['Job', `backup-${minute - 61}`, '', 'Job', `backup-${minute - 61}`, false],
    ['Job', 'backup-20261122', '', 'Job', 'backup-20261122', false],
    ['Job', 'backup', '', 'Job', 'backup', false],
    ['StatefulSet', 'db', '', 'StatefulSet', 'db', false],
    ['DaemonSet', 'agent', '', 'DaemonSet', 'agent', false],
    ['Node', 'node-a', '', 'Node', 'node-a', false],
  ])('controller %s %s, hash "%s" -> %s %s', (kind, name, hash, ownerKind, ownerName, ownerDerived) => {
    const ownerReferences = [
      { kind: 'Other', name: 'o' },
      { kind, name, controller: true },
    ];
    const labels = hash === '' ? {} : { 'pod-template-hash': hash };
    const pod = parse(rawPod({ ownerReferences, labels, creationTimestamp: at }));
    expect([pod.ownerKind, pod.ownerName, pod.ownerDerived]).toEqual([ownerKind, ownerName, ownerDerived]);
  });

  it('does not derive a CronJob without a creation time', () => {
    const ownerReferences = [{ kind: 'Job', name: `backup-${minute}`, controller: true }];
    expect(parse(rawPod({ ownerReferences })).ownerKind).toBe('Job');
    expect(parse(rawPod({ ownerReferences, creationTimestamp: 'soon' })).ownerKind).toBe('Job');
  });
});

describe('parsePodList on junk', () => {
  it.each([
    [undefined, '$'],
    [[], '$'],
    ['x', '$'],
    [{ kind: 'Status' }, '$.kind'],
    [{ kind: 'PodList', items: 'x' }, '$.items'],
  ])('refuses %j at %s', (value, path) => {
    expect(() => parsePodList(value)).toThrow(PodListError);
    expect(() => parsePodList(value)).toThrow(path);
  });

  it('takes a list without items', () => {
    expect(parsePodList({ kind: 'PodList', items: null }).pods).toEqual([]);
  });

  it.each([
    [null, '$.items[1]:'],
    [{ metadata: {}, spec: {} }, '$.items[1].metadata.uid:'],
    [{ ...rawPod(), spec: 7 }, '$.items[1].spec:'],
    [{ ...rawPod(), status: [] }, '$.items[1].status:'],
    [rawPod({ uid: '../../etc' }), '$.items[1].metadata.uid:'],
    [rawPod({ name: '' }), '$.items[1].metadata.name:'],
    [rawPod({ labels: 'x' }), '$.items[1].metadata.labels:'],
    [rawPod({ ownerReferences: [1] }), '$.items[1].metadata.ownerReferences[0]:'],
    [{ ...rawPod(), spec: { containers: [null] } }, '$.items[1].spec.containers[0]:'],
    [rawPod({}, { containerStatuses: {} }), '$.items[1].status.containerStatuses:'],
  ])('leaves out and counts an item that is no pod: %j', (item, problem) => {
    const list = parsePodList({ kind: 'PodList', items: [rawPod(), item, rawPod()] });
    expect(list.pods).toHaveLength(2);
    expect(list.skipped).toBe(1);
    expect(list.firstProblem).toContain(problem);
  });

  it('never throws anything else, whatever a field holds', () => {
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
    let read = 0;
    let skipped = 0;
    for (let i = 0; i < 2000; i++) {
      const list = parsePodList({ kind: 'PodList', items: items.map(spoil) });
      expect(list.pods.length + list.skipped).toBe(items.length);
      for (const pod of list.pods)
        expect(type.verify(podMessage(pod, 'seen', 'kubelet') as unknown as Record<string, unknown>)).toBeNull();
      read += list.pods.length;
      skipped += list.skipped;
    }
    expect(Math.min(read, skipped)).toBeGreaterThan(100);
  });
});

const type = root.lookupType('kerntap.v1.Pod');

describe('podMessage', () => {
  it('is a kerntap.v1.Pod with every field that was read', () => {
    const message = podMessage(one(recorded, 'probe'), 'gone', 'kubelet') as unknown as Record<string, unknown>;
    const wire = type.toObject(type.decode(type.encode(message).finish()), { defaults: true, arrays: true });
    expect(wire).toEqual(JSON.parse(JSON.stringify(message)));
    expect(Object.keys(message).sort()).toEqual(type.fieldsArray.map(({ name }) => name).sort());
    expect(message).toMatchObject({ state: 2, namespaceName: 'kt-probe', source: 'kubelet' });
  });
});
