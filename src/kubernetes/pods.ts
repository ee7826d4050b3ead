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
  /** Those that are told. */
  readonly labels: Readonly<Record<string, string>>;
  /** Those that are not told, by the settings or for their length: policies match them all the same. */
  readonly untoldLabels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly ips: readonly string[];
  readonly hostNetwork: boolean;
  readonly hostPid: boolean;
  readonly hostIpc: boolean;
  /** In a user namespace of its own (hostUsers: false): its root is not the node's. */
  readonly userNamespace: boolean;
  /** A runtime other than the node's usual one: where it brings its own kernel, what runs in it is not seen. */
  readonly runtimeClass: string;
  readonly serviceAccount: string;
  /** At the end of the chain: Deployment, CronJob, ... */
  readonly ownerKind: string;
  readonly ownerName: string;
  readonly ownerDerived: boolean;
  /** The first of the chain, as read: ReplicaSet, Job, ... */
  readonly controllerKind: string;
  readonly controllerName: string;
  readonly controllerUid: string;
  readonly containers: readonly PodContainer[];
  readonly phase: string;
  /** RFC 3339: when the API server made it, when the kubelet first saw it, when its last container ended. */
  readonly createdAt: string;
  readonly startedAt: string;
  readonly finishedAt: string;
  readonly hostPaths: readonly string[];
}

/** A kerntap.v1.Pod as plain object, in protobufjs's names. */
export interface PodMessage extends Omit<Pod, 'namespace' | 'untoldLabels'> {
  readonly state: 1 | 2;
  readonly namespaceName: string;
  readonly untoldLabels: number;
  readonly source: string;
}

const POD_STATE = { seen: 1, gone: 2 } as const;

/** The message of a `kerntap.pod` event; `source` says where the pod was read (pods-api, kubelet). */
export function podMessage(pod: Pod, state: keyof typeof POD_STATE, source: string): PodMessage {
  const { namespace, untoldLabels, ...rest } = pod;
  return {
    ...rest,
    namespaceName: namespace,
    untoldLabels: Object.keys(untoldLabels).length,
    state: POD_STATE[state],
    source,
  };
}
