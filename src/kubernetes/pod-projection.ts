import { toUSVString } from 'node:util';
import { DEFAULT_LABEL_RULES, type LabelRules, sortLabels } from './pod-labels.ts';
import { type Controller, type Owner, ownerOf } from './pod-owner.ts';
import type { ContainerType, Pod, PodContainer } from './pods.ts';
import { flat, shared, sharedList } from './strings.ts';

/** A value is no v1.Pod; `path` is where it stops being one. */
export class PodShapeError extends Error {
  override readonly name = 'PodShapeError';
  readonly path: string;

  constructor(path: string, problem: string) {
    super(`${path}: ${problem}`);
    this.path = path;
  }
}

const NOTHING: readonly string[] = Object.freeze([]);

type Json = Readonly<Record<string, unknown>>;

const UID = /^(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32})$/;
const CONTAINER_ID = /^([a-z0-9.-]+):\/\/([0-9a-f]{64})$/;
const DIGEST = /(?:^|@)((?:sha256|sha512):[0-9a-f]{64,128})$/;

/**
 * Reads one v1.Pod as either of the kubelet's APIs gives it, keeping only what is needed. Throws PodShapeError with the
 * path of what does not fit.
 */
export function parsePod(value: unknown, path: string, rules: LabelRules = DEFAULT_LABEL_RULES): Pod {
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
  if (!UID.test(uid)) throw new PodShapeError(`${path}.metadata.uid`, `is ${show(metadata['uid'])}, not a pod UID`);
  const name = text(metadata['name']);
  if (name === '') throw new PodShapeError(`${path}.metadata.name`, 'is missing');
  const references = list(metadata['ownerReferences'], `${path}.metadata.ownerReferences`);
  const node = { kind: 'Node', name: text(spec['nodeName']) };
  const controller: Controller = isStatic ? { ...node, uid: '' } : controllerOf(references);
  const owner: Owner = isStatic
    ? { ...node, derived: true }
    : ownerOf(controller, labels, metadata['creationTimestamp']);
  const { told, untold } = sortLabels(labels, rules.label, rules.maxBytes);
  const containers = containersOf(spec, status, path);
  const phase = shared(text(status['phase']));
  return {
    uid,
    name,
    namespace: shared(text(metadata['namespace'])),
    labels: told,
    untoldLabels: untold,
    annotations: sortLabels(annotations, rules.annotation, rules.maxBytes).told,
    ips: some(addresses(status, path)),
    hostNetwork: spec['hostNetwork'] === true,
    hostPid: spec['hostPID'] === true,
    hostIpc: spec['hostIPC'] === true,
    userNamespace: spec['hostUsers'] === false,
    runtimeClass: shared(text(spec['runtimeClassName'])),
    serviceAccount: shared(text(spec['serviceAccountName'])),
    ownerKind: shared(owner.kind),
    ownerName: shared(owner.name),
    ownerDerived: owner.derived,
    controllerKind: shared(controller.kind),
    controllerName: shared(controller.name),
    controllerUid: shared(controller.uid),
    containers,
    phase,
    createdAt: shared(text(metadata['creationTimestamp'])),
    startedAt: shared(text(status['startTime'])),
    finishedAt: phase === 'Succeeded' || phase === 'Failed' ? latest(containers) : '',
    hostPaths: sharedList(hostPathsOf(spec, path)),
  };
}

/** UID of a pod of which nothing else need be there: what a DELETED says. Throws PodShapeError. */
export function parsePodUid(value: unknown): string {
  const metadata = object(object(value, '$')['metadata'], '$.metadata');
  const uid = text(metadata['uid']);
  if (!UID.test(uid)) throw new PodShapeError('$.metadata.uid', `is ${show(metadata['uid'])}, not a pod UID`);
  return uid;
}

function controllerOf(references: readonly Json[]): Controller {
  const controller = references.find((reference) => reference['controller'] === true) ?? {};
  return { kind: text(controller['kind']), name: text(controller['name']), uid: text(controller['uid']) };
}

/** RFC 3339 in UTC with whole seconds, as the kubelet writes it, sorts as text. */
function latest(containers: readonly PodContainer[]): string {
  return (
    containers
      .map(({ finishedAt }) => finishedAt)
      .sort()
      .at(-1) ?? ''
  );
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
    id: flat(id),
    name: shared(text(spec['name'])),
    type: listed === 'init' && spec['restartPolicy'] === 'Always' ? 'sidecar' : listed,
    imageName: shared(text(spec['image'])),
    imageDigest: shared(DIGEST.exec(text(status['imageID']))?.[1] ?? ''),
    runtime: shared(runtime),
    restartCount: count(status['restartCount']),
    privileged: security['privileged'] === true,
    addedCapabilities: sharedList(strings(json(security['capabilities'])['add'])),
    startedAt: shared(text(instance['startedAt'])),
    finishedAt: shared(text(instance['finishedAt'])),
    probeCommands: sharedList(commandsOf(spec)),
    previousIds: previousId !== '' && previousId !== id ? [flat(previousId)] : NOTHING,
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

/** Empty lists are one object: a pod has several. */
function some(values: readonly string[]): readonly string[] {
  return values.length === 0 ? NOTHING : values;
}

function object(value: unknown, path: string): Json {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json;
  throw new PodShapeError(path, `is ${show(value)}, not an object`);
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
  if (!Array.isArray(value)) throw new PodShapeError(path, `is ${show(value)}, not a list`);
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
