/** What a kubelet says over its Pods API, decoded by proto/kubelet/pods.proto. */
import protobuf from 'protobufjs';
import { protoFile } from './proto-file.ts';
import { BigReader } from './wire-reader.ts';

/** Name of the gRPC service: the version of the API stands here and nowhere else. */
export const PODS_SERVICE = 'v1alpha1.Pods';

export const POD_EVENT = { ADDED: 1, MODIFIED: 2, DELETED: 3, INITIAL_SYNC_COMPLETE: 4 } as const;

const root = protobuf.loadSync(protoFile('kubelet/pods.proto'));
root.resolveAll();
const type = (name: string): protobuf.Type => root.lookupType(`kubelet.pods.${name}`);

const WatchPodsEventType = type('WatchPodsEvent');
const ListPodsResponseType = type('ListPodsResponse');
const GetPodRequestType = type('GetPodRequest');
const GetPodResponseType = type('GetPodResponse');
const PodType = type('Pod');

export interface WatchPodsEvent {
  /** One of POD_EVENT, or another of a newer kubelet. */
  readonly type: number;
  /** A v1.Pod; empty where there is none. */
  readonly pod: Uint8Array;
}

function decode<T>(message: protobuf.Type, frame: Uint8Array): T {
  return message.decode(new BigReader(frame)) as unknown as T;
}

const EMPTY = new Uint8Array(0);

/** Throws RangeError or Error on a frame that is not one; so do the others. */
export function decodeWatchPodsEvent(frame: Uint8Array): WatchPodsEvent {
  const { type: kind, pod } = decode<{ type: number; pod: Uint8Array | [] }>(WatchPodsEventType, frame);
  return { type: kind, pod: pod instanceof Uint8Array ? pod : EMPTY };
}

/** The pods of a ListPodsResponse, each to be decoded alone: views into `frame`. */
export function decodeListPodsResponse(frame: Uint8Array): readonly Uint8Array[] {
  return decode<{ pods: readonly Uint8Array[] }>(ListPodsResponseType, frame).pods;
}

export function decodeGetPodResponse(frame: Uint8Array): Uint8Array {
  const { pod } = decode<{ pod: Uint8Array | [] }>(GetPodResponseType, frame);
  return pod instanceof Uint8Array ? pod : EMPTY;
}

export function encodeGetPodRequest(podUID: string): Buffer {
  return GetPodRequestType.encode({ podUID }).finish() as Buffer;
}

interface Time {
  readonly seconds: bigint;
  readonly nanos: number;
}

interface Handler {
  readonly exec: { readonly command: readonly string[] } | null;
}

interface Container {
  readonly startupProbe: { readonly handler: Handler | null } | null;
  readonly livenessProbe: { readonly handler: Handler | null } | null;
  readonly readinessProbe: { readonly handler: Handler | null } | null;
}

interface Terms {
  readonly startedAt: Time | null;
  readonly finishedAt?: Time | null;
  readonly containerID?: string;
}

interface State {
  readonly running: Terms | null;
  readonly terminated: Terms | null;
}

interface Status {
  readonly state: State | null;
  readonly lastState: State | null;
}

interface Pod {
  readonly metadata: { readonly creationTimestamp: Time | null } | null;
  readonly spec: {
    readonly volumes: readonly { readonly volumeSource: object | null }[];
    readonly containers: readonly Container[];
    readonly initContainers: readonly Container[];
    readonly ephemeralContainers: readonly { readonly ephemeralContainerCommon: Container | null }[];
  } | null;
  readonly status: {
    readonly startTime: Time | null;
    readonly containerStatuses: readonly Status[];
    readonly initContainerStatuses: readonly Status[];
    readonly ephemeralContainerStatuses: readonly Status[];
  } | null;
}

/**
 * A marshalled v1.Pod as the object that its JSON would parse to, as far as pods.proto knows it: times as RFC 3339 text,
 * embedded structures in the place of what embeds them. So both APIs are read by the same rules.
 */
export function decodeV1Pod(bytes: Uint8Array): unknown {
  const { metadata, spec, status } = decode<Pod>(PodType, bytes);
  return {
    metadata: metadata && { ...metadata, creationTimestamp: rfc3339(metadata.creationTimestamp) },
    spec: spec && {
      ...spec,
      volumes: spec.volumes.map(({ volumeSource }) => ({ ...volumeSource })),
      containers: spec.containers.map(container),
      initContainers: spec.initContainers.map(container),
      ephemeralContainers: spec.ephemeralContainers.map(
        ({ ephemeralContainerCommon: common }) => common && container(common),
      ),
    },
    status: status && {
      ...status,
      startTime: rfc3339(status.startTime),
      containerStatuses: status.containerStatuses.map(containerStatus),
      initContainerStatuses: status.initContainerStatuses.map(containerStatus),
      ephemeralContainerStatuses: status.ephemeralContainerStatuses.map(containerStatus),
    },
  };
}

function container(spec: Container): object {
  return {
    ...spec,
    startupProbe: spec.startupProbe?.handler,
    livenessProbe: spec.livenessProbe?.handler,
    readinessProbe: spec.readinessProbe?.handler,
  };
}

function containerStatus(status: Status): object {
  return { ...status, state: state(status.state), lastState: state(status.lastState) };
}

function state(told: State | null): object {
  return { running: terms(told?.running), terminated: terms(told?.terminated) };
}

function terms(told: Terms | null | undefined): object | undefined {
  if (told === null || told === undefined) return undefined;
  const { startedAt, finishedAt, containerID } = told;
  return { startedAt: rfc3339(startedAt), finishedAt: rfc3339(finishedAt), containerID };
}

/** As Go writes a metav1.Time: UTC, whole seconds. Undefined: the zero time, which a pod that has none carries. */
function rfc3339(time: Time | null | undefined): string | undefined {
  if (time === null || time === undefined) return undefined;
  const ms = Number(time.seconds) * 1000;
  if (!(ms > 0 && ms < 253_402_300_800_000)) return undefined;
  return new Date(ms).toISOString().replace('.000Z', 'Z');
}
