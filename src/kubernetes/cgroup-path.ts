/**
 * What a cgroup's path says by itself, whatever the kubelet knows. The forms are those of the kubelet's cgroupfs and
 * systemd drivers (kubernetes pkg/kubelet/cm/pod_container_manager_linux.go), containerd
 * (internal/cri/server/podsandbox/helpers_linux.go), CRI-O (internal/config/cgmgr) and runc (docs/systemd.md).
 */
export interface CgroupPath {
  /** As in the path, with dashes where the systemd driver wrote underscores; a static pod's has none. '' : no pod. */
  readonly podUid: string;
  /** 64 hex digits; '' : no container. */
  readonly containerId: string;
  /** How many leading segments make up the container's own cgroup (what follows are its sub-groups); 0: no container. */
  readonly containerRootDepth: number;
}

const UID = '[0-9a-f]{8}[-_]?[0-9a-f]{4}[-_]?[0-9a-f]{4}[-_]?[0-9a-f]{4}[-_]?[0-9a-f]{12}';
const POD = new RegExp(`(?:^|[-_])pod(${UID})(?:\\.slice)?$`);
const CONTAINER = /^(?:(?:cri-containerd|crio|docker|nerdctl|libpod)-)?([0-9a-f]{64})(?:\.scope)?$/;
// kubelet with the systemd driver over a runtime with cgroupfs: "slice:prefix:id" is taken as one directory name.
const MISMATCH = /^([^:]*):(?:cri-containerd|crio):([0-9a-f]{64})$/;
// The container monitor of CRI-O and podman bears the container's id in its own cgroup's name, but is no part of it.
const MONITOR = /^(?:crio|libpod)-conmon-/;

const HOST: CgroupPath = Object.freeze({ podUid: '', containerId: '', containerRootDepth: 0 });

/** The non-empty segments of a cgroup path. */
export function cgroupSegments(path: string): string[] {
  return path.split('/').filter((segment) => segment !== '');
}

/**
 * Pod and container of a cgroup path: the outermost pod, and below it the outermost container (what a workload makes
 * inside its own cgroup, a nested runtime or names that pose as another pod, belongs to it). A container above the pod
 * is a Kubernetes node in a container (kind) and gives way. Never throws: what it does not recognise is the host's.
 */
export function parseCgroupPath(path: string): CgroupPath {
  let podUid = '';
  let node: CgroupPath = HOST;
  for (const [index, segment] of cgroupSegments(path).entries()) {
    const [, slice = segment, mergedId] = MISMATCH.exec(segment) ?? [];
    if (podUid === '') podUid = POD.exec(slice)?.[1]?.replaceAll('_', '-') ?? '';
    const containerId = mergedId ?? CONTAINER.exec(segment)?.[1] ?? '';
    const found = { podUid, containerId, containerRootDepth: index + 1 };
    if (podUid !== '' && containerId !== '') return found;
    if (podUid !== '' && MONITOR.test(segment)) return HOST;
    if (containerId !== '' && node === HOST) node = found;
  }
  return podUid === '' ? node : { podUid, containerId: '', containerRootDepth: 0 };
}
