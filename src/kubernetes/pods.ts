export type ContainerType = 'container' | 'init' | 'sidecar' | 'ephemeral';

/** What is kept of one container of a pod. '' and []: not known, or none. */
export interface PodContainer {
  /** 64 hex digits; '' until the kubelet reports one. */
  readonly id: string;
  readonly name: string;
  readonly type: ContainerType;
  /** As the spec names it: the status may name another tag of the same digest. */
  readonly imageName: string;
  /** `sha256:...` of the status's imageID: of the manifest, or (image loaded without a registry) of its configuration. */
  readonly imageDigest: string;
  /** Scheme of the status's containerID: containerd, cri-o, docker. */
  readonly runtime: string;
  readonly restartCount: number;
  readonly privileged: boolean;
  readonly addedCapabilities: readonly string[];
  /** RFC 3339, of the instance that `id` names. */
  readonly startedAt: string;
  readonly finishedAt: string;
  /** Exec probes and lifecycle hooks: argv joined by NUL. */
  readonly probeCommands: readonly string[];
  /** The instance before this one. */
  readonly previousIds: readonly string[];
}

/** What is kept of a pod: the fields of kerntap.v1.Pod. */
export interface Pod {
  /** As in the cgroup's path. */
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ips: readonly string[];
  readonly hostNetwork: boolean;
  readonly hostPid: boolean;
  readonly serviceAccount: string;
  readonly ownerKind: string;
  readonly ownerName: string;
  readonly ownerDerived: boolean;
  readonly containers: readonly PodContainer[];
  readonly phase: string;
  /** RFC 3339: when the kubelet first saw the pod. */
  readonly startedAt: string;
  readonly hostPaths: readonly string[];
}

/** A kerntap.v1.Pod as plain object, in protobufjs's names. */
export interface PodMessage {
  readonly state: 1 | 2;
  readonly uid: string;
  readonly name: string;
  readonly namespaceName: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ips: readonly string[];
  readonly hostNetwork: boolean;
  readonly hostPid: boolean;
  readonly serviceAccount: string;
  readonly ownerKind: string;
  readonly ownerName: string;
  readonly ownerDerived: boolean;
  readonly containers: readonly PodContainer[];
  readonly phase: string;
  readonly startedAt: string;
  readonly source: string;
  readonly hostPaths: readonly string[];
}

const POD_STATE = { seen: 1, gone: 2 } as const;

/** The message of a `kerntap.pod` event; `source` says where the pod was read (kubelet). */
export function podMessage(pod: Pod, state: keyof typeof POD_STATE, source: string): PodMessage {
  const { namespace, ...rest } = pod;
  return { ...rest, namespaceName: namespace, state: POD_STATE[state], source };
}
