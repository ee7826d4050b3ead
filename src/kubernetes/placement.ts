import { cgroupSegments, parseCgroupPath } from './cgroup-path.ts';

/** Where a cgroup stands: what its path says, and what it inherits from the cgroup above it. */
export interface Placement {
  /** cgroup v2 id. */
  readonly id: bigint;
  /** From the root of the hierarchy, with a leading '/'. */
  readonly path: string;
  /** '' : not in a pod. */
  readonly podUid: string;
  /** '' : not in a container. */
  readonly containerId: string;
  /**
   * Id of the container's own cgroup, which is this one or an ancestor. 0n: not in a container, or (with a containerId)
   * in one whose own cgroup was never seen. Goes into map kt_cgroups.
   */
  readonly rootId: bigint;
}

/** Bytes of a path that are kept: the kernel's own limit for the paths of its cgroup tracepoints. */
export const MAX_CGROUP_PATH = 1024;

/**
 * Places a cgroup below its parent. Below a pod's container nothing is read from names any more: a workload with a
 * writable cgroup could otherwise make directories that pose as another pod. Below a container that is not a pod's, a
 * pod may follow (a Kubernetes node that is itself a container).
 *
 * @param path whole, or cut by the kernel (`cut`): then its last segment is not used
 */
export function placeCgroup(id: bigint, path: string, parent: Placement | undefined, cut = false): Placement {
  const stored = path.length > MAX_CGROUP_PATH ? path.slice(0, MAX_CGROUP_PATH) : path;
  if (parent !== undefined && (cut || (parent.podUid !== '' && parent.containerId !== ''))) {
    return { ...parent, id, path: stored };
  }
  const whole = cut ? path.slice(0, Math.max(path.lastIndexOf('/'), 0)) : path;
  const { podUid, containerId, containerRootDepth } = parseCgroupPath(whole);
  const isRoot = !cut && containerRootDepth > 0 && containerRootDepth === cgroupSegments(whole).length;
  const inherited = parent !== undefined && parent.containerId === containerId ? parent.rootId : 0n;
  return { id, path: stored, podUid, containerId, rootId: isRoot ? id : inherited };
}

/**
 * The path of a child as seen from where its parent's path starts: the kernel's tracepoints always start at the host's
 * root, a walk inside a cgroup namespace (kind) does not.
 */
export function childPath(parent: Placement, kernelPath: string): string {
  const leaf = kernelPath.slice(kernelPath.lastIndexOf('/') + 1);
  return parent.path.endsWith('/') ? parent.path + leaf : `${parent.path}/${leaf}`;
}
