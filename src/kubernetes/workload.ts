export type MetadataState = 'complete' | 'pending' | 'unknown' | 'host';

/**
 * Who runs in a cgroup. Immutable: a change makes a new object, so that identity can key a cache of encoded bytes.
 * Strings are '' where they are not known or do not apply; nothing is guessed.
 */
export interface Workload {
  /** cgroup v2 id. */
  readonly cgroupId: bigint;
  /** From the root of the v2 hierarchy, with a leading '/'; '' where the cgroup was never seen. */
  readonly cgroupPath: string;
  readonly state: MetadataState;
  /** Why it is pending or unknown, or why a complete one names no container. */
  readonly reason: string;
  /** 64 hex digits, from the cgroup path. */
  readonly containerId: string;
  readonly containerName: string;
  /** The scheme of the kubelet's containerID: containerd, cri-o, docker. */
  readonly containerRuntime: string;
  /** As the pod's spec names it. */
  readonly imageName: string;
  /** sha256:..., from the kubelet's imageID. */
  readonly imageDigest: string;
  /** From the cgroup path; a static pod's is 32 hex digits without dashes. */
  readonly podUid: string;
  readonly podName: string;
  readonly namespace: string;
  /** Those that are told. */
  readonly labels: Readonly<Record<string, string>>;
  /** Those that are known to policies alone. */
  readonly untoldLabels: Readonly<Record<string, string>>;
  readonly serviceAccount: string;
  readonly ownerKind: string;
  readonly ownerName: string;
  /** The owner was computed from names, not read. */
  readonly ownerDerived: boolean;
}

const NO_LABELS: Readonly<Record<string, string>> = Object.freeze({});

const BLANK: Omit<Workload, 'cgroupId' | 'cgroupPath' | 'state' | 'reason'> = {
  containerId: '',
  containerName: '',
  containerRuntime: '',
  imageName: '',
  imageDigest: '',
  podUid: '',
  podName: '',
  namespace: '',
  labels: NO_LABELS,
  untoldLabels: NO_LABELS,
  serviceAccount: '',
  ownerKind: '',
  ownerName: '',
  ownerDerived: false,
};

/** A workload of which only what is given is known. */
export function makeWorkload(
  known: Partial<Workload> & Pick<Workload, 'cgroupId' | 'cgroupPath' | 'state' | 'reason'>,
): Workload {
  return Object.freeze({ ...BLANK, ...known });
}
