import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { root } from '../../../proto/contract.ts';
import { decodeV1Pod } from '../../../proto/kubelet-pods.ts';
import { DEFAULT_LABEL_RULES } from '../../../src/kubernetes/pod-labels.ts';
import { parsePod, parsePodUid } from '../../../src/kubernetes/pod-projection.ts';
import { type Pod, podMessage } from '../../../src/kubernetes/pods.ts';
import { encodePod, type V1Pod, v1Pod } from '../../core-v1.ts';
import { rawPod, UID_A } from './fake-kubelet.ts';

// As a kubelet 1.36 over containerd 1.6 gave it, managedFields taken out.
const recorded: { items: V1Pod[] } = JSON.parse(readFileSync(new URL('./kubelet-pods.json', import.meta.url), 'utf8'));

function parse(item: unknown): Pod {
  return parsePod(item, '$');
}

const ID = (digit: string) => digit.repeat(64);

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
      ['a', '\ufffd'],
      ['constructor', 'c'],
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

const type = root.lookupType('kerntap.v1.Pod');

describe('podMessage', () => {
  it('is a kerntap.v1.Pod with every field that was read', () => {
    const message = podMessage(parse(recorded.items[0]), 'gone', 'kubelet') as unknown as Record<string, unknown>;
    const wire = type.toObject(type.decode(type.encode(message).finish()), { defaults: true, arrays: true });
    expect(wire).toEqual(JSON.parse(JSON.stringify(message)));
    expect(Object.keys(message).sort()).toEqual(type.fieldsArray.map(({ name }) => name).sort());
    expect(message).toMatchObject({ state: 2, namespaceName: 'kt-probe', source: 'kubelet' });
  });
});

describe('a pod of the Pods API', () => {
  it('reads as the same pod of /pods', () => {
    for (const pod of recorded.items) expect(parse(decodeV1Pod(encodePod(pod)))).toEqual(parse(pod));
    const everything = v1Pod({
      labels: { 'pod-template-hash': '5d4f8c7b6', app: 'shop' },
      containers: [
        { name: 'first', type: 'init', id: ID('1') },
        { name: 'beside', type: 'init', id: ID('2'), spec: { restartPolicy: 'Always' } },
        {
          name: 'main',
          id: ID('3'),
          spec: {
            livenessProbe: { exec: { command: ['sh', '-c', '', 'x y'] }, periodSeconds: 5 },
            readinessProbe: { httpGet: { port: 80 } },
            startupProbe: { exec: { command: ['/s'] } },
            lifecycle: { postStart: { exec: { command: ['/a'] } }, preStop: { exec: { command: ['/b'] } } },
            securityContext: { privileged: true, capabilities: { add: ['BPF'], drop: ['ALL'] } },
            resources: { limits: { cpu: '1' } },
          },
        },
        { name: 'waiting' },
        { name: 'debug', type: 'ephemeral', id: ID('4'), spec: { targetContainerName: 'main' } },
      ],
      metadata: {
        ownerReferences: [{ kind: 'ReplicaSet', name: 'shop-5d4f8c7b6', uid: 'u-1', controller: true }],
        deletionTimestamp: '2026-11-22T09:00:00Z',
        managedFields: [{ manager: 'kubelet', fieldsV1: { Raw: Buffer.from('{}') } }],
      },
      spec: {
        hostNetwork: true,
        hostPID: true,
        hostIPC: true,
        hostUsers: false,
        runtimeClassName: 'gvisor',
        volumes: [
          { name: 'a', hostPath: { path: '/etc' } },
          { name: 'b', emptyDir: {} },
        ],
        tolerations: [{ operator: 'Exists' }],
      },
      ips: ['10.0.0.1', 'fd00::1'],
    });
    const ended = { exitCode: 1, startedAt: '2026-11-22T07:00:00Z', finishedAt: '2026-11-22T08:00:00Z' };
    const statuses = everything.status['containerStatuses'] as Record<string, unknown>[];
    statuses[0] = {
      ...statuses[0],
      restartCount: 2,
      lastState: { terminated: { ...ended, containerID: `containerd://${ID('9')}` } },
    };
    const done = { ...everything, status: { ...everything.status, phase: 'Failed' } };
    for (const pod of [everything, done]) {
      const read = parse(decodeV1Pod(encodePod(pod)));
      expect(read).toEqual(parse(pod));
      expect(read).toMatchObject({ hostPid: true, userNamespace: true, runtimeClass: 'gvisor', ownerName: 'shop' });
      expect(read.containers.map(({ id }) => id)).toEqual([ID('1'), ID('2'), ID('3'), '', ID('4')]);
    }
  });

  it('is known by its UID where nothing else is said', () => {
    const bare = { metadata: { name: 'x', namespace: 'n', uid: UID_A }, spec: {}, status: {} };
    expect(parsePodUid(decodeV1Pod(encodePod(bare)))).toBe(UID_A);
    expect(() => parsePodUid(decodeV1Pod(new Uint8Array(0)))).toThrow('$.metadata');
  });

  it('has times of the years that RFC 3339 can write, and no others', () => {
    for (const createdAt of ['0001-01-01T00:00:00Z', 'never']) {
      const pod = v1Pod({ metadata: { creationTimestamp: createdAt } });
      expect(parse(decodeV1Pod(encodePod(pod))).createdAt).toBe('');
    }
  });
});

describe('labels and annotations', () => {
  const labels = { app: 'shop', 'example.com/tier': 'front', secret: 's' };
  const annotations = { 'example.com/team': 'blue', note: 'x' };

  it('are told by rule; what is not told is known to policies all the same', () => {
    const rules = {
      label: (name: string) => name !== 'secret',
      annotation: (name: string) => name.startsWith('example.com/'),
      maxBytes: 1000,
    };
    expect(parsePod(rawPod({ labels, annotations }), '$', rules)).toMatchObject({
      labels: { app: 'shop', 'example.com/tier': 'front' },
      untoldLabels: { secret: 's' },
      annotations: { 'example.com/team': 'blue' },
    });
    const byDefault = parsePod(rawPod({ labels, annotations }), '$');
    expect([byDefault.labels, byDefault.untoldLabels, byDefault.annotations]).toEqual([labels, {}, {}]);
  });

  it('have a bound, within which the same ones are told whatever their order', () => {
    const rules = { ...DEFAULT_LABEL_RULES, maxBytes: 'app'.length + 'shop'.length + 'secrets'.length };
    const turned = Object.fromEntries(Object.entries(labels).reverse());
    for (const each of [labels, turned]) {
      const pod = parsePod(rawPod({ labels: each }), '$', rules);
      expect(pod.labels).toEqual({ app: 'shop', secret: 's' });
      expect(pod.untoldLabels).toEqual({ 'example.com/tier': 'front' });
      expect(podMessage(pod, 'seen', 'kubelet').untoldLabels).toBe(1);
    }
    const many = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`label-${i}`, 'x'.repeat(60)]));
    const pod = parsePod(rawPod({ labels: many }), '$');
    expect(JSON.stringify(pod.labels).length).toBeLessThan(6000);
    expect(JSON.stringify(pod.untoldLabels).length).toBeLessThan(100_000);
  });
});
