/** Pods as a kubelet has them, for tests: built as v1.Pod JSON, and encoded in protobuf by a proto of the tests' own. */
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';

export interface V1Pod {
  metadata: { name: string; namespace: string; uid: string; [key: string]: unknown };
  spec: Record<string, unknown>;
  status: Record<string, unknown>;
}

export interface PodPlan {
  readonly name?: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ips?: readonly string[];
  readonly phase?: string;
  /** Without an id a container is not in the status yet. */
  readonly containers?: readonly ContainerPlan[];
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly status?: Readonly<Record<string, unknown>>;
}

export interface ContainerPlan {
  readonly name: string;
  /** 64 hex digits. */
  readonly id?: string;
  readonly image?: string;
  readonly type?: 'container' | 'init' | 'ephemeral';
  readonly startedAt?: string;
  readonly spec?: Readonly<Record<string, unknown>>;
}

const DIGEST = `sha256:${'d1'.repeat(32)}`;
const CREATED = '2026-11-22T07:55:43Z';
const LISTS = {
  container: ['containers', 'containerStatuses'],
  init: ['initContainers', 'initContainerStatuses'],
  ephemeral: ['ephemeralContainers', 'ephemeralContainerStatuses'],
} as const;

/** A running pod of one container, or as planned. */
export function v1Pod(plan: PodPlan = {}): V1Pod {
  const { name = 'web', namespace = 'shop', uid = randomUUID(), labels = { app: name }, ips = ['10.244.0.9'] } = plan;
  const spec: Record<string, unknown> = {};
  const status: Record<string, unknown> = {};
  for (const container of plan.containers ?? [{ name: 'main' }]) {
    const [specs, statuses] = LISTS[container.type ?? 'container'];
    const image = container.image ?? 'docker.io/library/web:1';
    spec[specs] = [...((spec[specs] as unknown[]) ?? []), { name: container.name, image, ...container.spec }];
    const running = { startedAt: container.startedAt ?? CREATED };
    const state = container.id === undefined ? { waiting: { reason: 'ContainerCreating' } } : { running };
    const id = container.id === undefined ? {} : { containerID: `containerd://${container.id}` };
    const imageID = container.id === undefined ? '' : `docker.io/library/web@${DIGEST}`;
    const one = { name: container.name, state, lastState: {}, restartCount: 0, image, imageID, ...id };
    status[statuses] = [...((status[statuses] as unknown[]) ?? []), one];
  }
  return {
    metadata: {
      name,
      namespace,
      uid,
      creationTimestamp: CREATED,
      labels,
      annotations: { 'kubernetes.io/config.source': 'api', ...plan.annotations },
      ...plan.metadata,
    },
    spec: { serviceAccountName: 'default', nodeName: 'node-a', restartPolicy: 'Always', ...spec, ...plan.spec },
    status: {
      phase: plan.phase ?? 'Running',
      podIP: ips[0] ?? '',
      podIPs: ips.map((ip) => ({ ip })),
      startTime: CREATED,
      qosClass: 'BestEffort',
      ...status,
      ...plan.status,
    },
  };
}

const root = protobuf.loadSync(fileURLToPath(new URL('./core-v1.proto', import.meta.url)));
root.resolveAll();

/** A message of core-v1.proto: its encoder. */
export function messageType(name: string): protobuf.Type {
  return root.lookupType(`test.core.v1.${name}`);
}

/** v1.Pod JSON as the kubelet marshals it. */
export function encodePod(pod: V1Pod): Uint8Array {
  return encode(messageType('Pod'), pod);
}

function encode(type: protobuf.Type, value: unknown): Uint8Array {
  return type.encode(type.fromObject(asMessage(type, value) as Record<string, unknown>)).finish();
}

// JSON writes times as text, and some nested messages inline.
const INLINED: Readonly<Record<string, string>> = {
  Probe: 'handler',
  Volume: 'volumeSource',
  EphemeralContainer: 'ephemeralContainerCommon',
};

function asMessage(type: protobuf.Type, value: unknown): unknown {
  if (type.name === 'Time') return timeOf(String(value));
  if (type.name === 'Quantity') return { string: String(value) };
  const made: Record<string, unknown> = {};
  const inlined = INLINED[type.name];
  if (inlined !== undefined) made[inlined] = asMessage(typeOf(type.fields[inlined]), value);
  for (const [name, item] of Object.entries(value as object)) {
    const field = Object.hasOwn(type.fields, name) ? type.fields[name] : undefined;
    if (field === undefined || item === undefined || item === null) continue;
    const each = (one: unknown) => (field.resolvedType === null ? one : asMessage(typeOf(field), one));
    if (field.map) {
      made[name] = Object.fromEntries(Object.entries(item as object).map(([key, one]) => [key, each(one)]));
    } else if (field.repeated) made[name] = (item as unknown[]).map(each);
    else made[name] = each(item);
  }
  return made;
}

function typeOf(field: protobuf.Field | undefined): protobuf.Type {
  if (field?.resolvedType instanceof protobuf.Type) return field.resolvedType;
  throw new Error(`${field?.name} is not a message`);
}

function timeOf(text: string): { seconds: number; nanos: number } {
  const seconds = Math.floor(Date.parse(text) / 1000);
  const [, fraction = ''] = /\.(\d{1,9})/.exec(text) ?? [];
  return { seconds, nanos: Number(fraction.padEnd(9, '0')) };
}
