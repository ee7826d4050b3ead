import { toUSVString } from 'node:util';
import { type Owner, ownerOf } from './pod-owner.ts';
import type { ContainerType, Pod, PodContainer } from './pods.ts';

/** The reply is not a PodList; `path` is where it stops being one. */
export class PodListError extends Error {
  override readonly name = 'PodListError';
  readonly path: string;

  constructor(path: string, problem: string) {
    super(`${path}: ${problem}`);
    this.path = path;
  }
}

export interface PodList {
  readonly pods: readonly Pod[];
  /** Items left out because they do not read as a pod. */
  readonly skipped: number;
  /** Of the first of them: path and problem; '' where none was left out. */
  readonly firstProblem: string;
}

type Json = Readonly<Record<string, unknown>>;

const UID = /^(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32})$/;
const CONTAINER_ID = /^([a-z0-9.-]+):\/\/([0-9a-f]{64})$/;
const DIGEST = /(?:^|@)((?:sha256|sha512):[0-9a-f]{64,128})$/;

/**
 * Reads a v1.PodList as the kubelet's /pods gives it, keeping only what is needed. Throws PodListError where the whole
 * is no such list; single items that are no pods are left out and counted.
 */
export function parsePodList(value: unknown): PodList {
  const list = object(value, '$');
  if (list['kind'] !== 'PodList') throw new PodListError('$.kind', `is ${show(list['kind'])}, not PodList`);
  // Go writes an empty slice as null.
  const items = list['items'] ?? [];
  if (!Array.isArray(items)) throw new PodListError('$.items', 'is not a list');
  const pods: Pod[] = [];
  let skipped = 0;
  let firstProblem = '';
  items.forEach((item: unknown, index) => {
    try {
      pods.push(parsePod(item, `$.items[${index}]`));
    } catch (error) {
      if (!(error instanceof PodListError)) throw error;
      skipped++;
      firstProblem ||= error.message;
    }
  });
  return { pods, skipped, firstProblem };
}

/** Reads one v1.Pod. Throws PodListError with the path of what does not fit. */
export function parsePod(value: unknown, path: string): Pod {
  const pod = object(value, path);
  const metadata = object(pod['metadata'], `${path}.metadata`);
  const spec = object(pod['spec'], `${path}.spec`);
  const status = optionalObject(pod['status'], `${path}.status`);
  const labels = stringMap(metadata['labels'], `${path}.metadata.labels`);
  const annotations = stringMap(metadata['annotations'], `${path}.metadata.annotations`);
  // The kubelet writes config.source itself, so unlike other annotations it cannot be forged here. Only a static pod's
  // cgroup is named by its config.hash.
  const source = annotations['kubernetes.io/config.source'] ?? 'api';
  const isStatic = source === 'file' || source === 'http';
  const uid = (isStatic ? annotations['kubernetes.io/config.hash'] : undefined) ?? text(metadata['uid']);
  if (!UID.test(uid)) throw new PodListError(`${path}.metadata.uid`, `is ${show(metadata['uid'])}, not a pod UID`);
  const name = text(metadata['name']);
  if (name === '') throw new PodListError(`${path}.metadata.name`, 'is missing');
  const owner: Owner = isStatic
    ? { kind: 'Node', name: text(spec['nodeName']), derived: true }
    : ownerOf(
        list(metadata['ownerReferences'], `${path}.metadata.ownerReferences`),
        labels,
        metadata['creationTimestamp'],
      );
  return {
    uid,
    name,
    namespace: text(metadata['namespace']),
    labels: Object.freeze(labels),
    ips: addresses(status, path),
    hostNetwork: spec['hostNetwork'] === true,
    hostPid: spec['hostPID'] === true,
    serviceAccount: text(spec['serviceAccountName']),
    ownerKind: owner.kind,
    ownerName: owner.name,
    ownerDerived: owner.derived,
    containers: containersOf(spec, status, path),
    phase: text(status['phase']),
    startedAt: text(status['startTime']),
    hostPaths: hostPathsOf(spec, path),
  };
}

const LISTS = [
  ['initContainers', 'initContainerStatuses', 'init'],
  ['containers', 'containerStatuses', 'container'],
  ['ephemeralContainers', 'ephemeralContainerStatuses', 'ephemeral'],
] as const;

function containersOf(spec: Json, status: Json, path: string): PodContainer[] {
  const containers: PodContainer[] = [];
  for (const [specList, statusList, type] of LISTS) {
    const statuses = new Map<string, Json>();
    for (const item of list(status[statusList], `${path}.status.${statusList}`)) statuses.set(text(item['name']), item);
    for (const item of list(spec[specList], `${path}.spec.${specList}`)) {
      containers.push(parseContainer(item, statuses.get(text(item['name'])) ?? {}, type));
    }
  }
  return containers;
}

function parseContainer(spec: Json, status: Json, listed: ContainerType): PodContainer {
  const security = json(spec['securityContext']);
  const state = json(status['state']);
  const instance = json(state['running'] ?? state['terminated']);
  const [, runtime = '', id = ''] = CONTAINER_ID.exec(text(status['containerID'])) ?? [];
  const [, , previousId = ''] =
    CONTAINER_ID.exec(text(json(json(status['lastState'])['terminated'])['containerID'])) ?? [];
  return {
    id,
    name: text(spec['name']),
    type: listed === 'init' && spec['restartPolicy'] === 'Always' ? 'sidecar' : listed,
    imageName: text(spec['image']),
    imageDigest: DIGEST.exec(text(status['imageID']))?.[1] ?? '',
    runtime,
    restartCount: count(status['restartCount']),
    privileged: security['privileged'] === true,
    addedCapabilities: strings(json(security['capabilities'])['add']),
    startedAt: text(instance['startedAt']),
    finishedAt: text(instance['finishedAt']),
    probeCommands: commandsOf(spec),
    previousIds: previousId !== '' && previousId !== id ? [previousId] : [],
  };
}

function commandsOf(spec: Json): string[] {
  const lifecycle = json(spec['lifecycle']);
  const actions = [
    spec['startupProbe'],
    spec['livenessProbe'],
    spec['readinessProbe'],
    lifecycle['postStart'],
    lifecycle['preStop'],
  ];
  return actions
    .map((action) => strings(json(json(action)['exec'])['command']).join('\0'))
    .filter((argv) => argv !== '');
}

function addresses(status: Json, path: string): string[] {
  const ips = list(status['podIPs'], `${path}.status.podIPs`).map((item) => text(item['ip']));
  return [...new Set([text(status['podIP']), ...ips])].filter((ip) => ip !== '');
}

function hostPathsOf(spec: Json, path: string): string[] {
  const volumes = list(spec['volumes'], `${path}.spec.volumes`);
  return volumes.map((volume) => text(json(volume['hostPath'])['path'])).filter((hostPath) => hostPath !== '');
}

function object(value: unknown, path: string): Json {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json;
  throw new PodListError(path, `is ${show(value)}, not an object`);
}

function optionalObject(value: unknown, path: string): Json {
  return value === undefined || value === null ? {} : object(value, path);
}

/** An object, or an empty one in the place of anything else: for parts whose absence costs one field. */
function json(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {};
}

function list(value: unknown, path: string): Json[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new PodListError(path, `is ${show(value)}, not a list`);
  return value.map((item: unknown, index) => object(item, `${path}[${index}]`));
}

function stringMap(value: unknown, path: string): Record<string, string> {
  const entries = Object.entries(optionalObject(value, path)).map(([key, item]): [string, string] => [key, text(item)]);
  // fromEntries defines own properties: a label may be called __proto__.
  return Object.fromEntries(entries);
}

/** A string that can be written as UTF-8; '' in the place of anything else. */
function text(value: unknown): string {
  return typeof value === 'string' ? toUSVString(value) : '';
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string').map(text) : [];
}

function count(value: unknown): number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 0xffffffff ? value : 0;
}

function show(value: unknown): string {
  return value === undefined ? 'missing' : JSON.stringify(value).slice(0, 80);
}
