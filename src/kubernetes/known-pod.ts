import { isDeepStrictEqual } from 'node:util';
import type { Placement } from './placement.ts';
import type { Pod } from './pods.ts';
import { makeWorkload, type Workload } from './workload.ts';

/** What does not change in the life of a container. */
interface ContainerIdentity {
  readonly name: string;
  readonly runtime: string;
  readonly imageName: string;
  readonly imageDigest: string;
}

/** Restarts of one pod that are remembered. */
const MAX_IDENTITIES = 256;

const SANDBOX = 'in no status though later containers are: the pod sandbox, or a past instance';
const PAST = 'image of a past instance is not in status';

/**
 * A pod, and every container of it that the kubelet has named. A container keeps what it was first named with: the
 * next status may already speak of its successor.
 */
export class KnownPod {
  /** Of containers that the pod, as last told, does not name, or names otherwise; most pods have none. */
  #past: Map<string, ContainerIdentity> | undefined;
  #pod: Pod | undefined;
  /** The same object while they are the same: they key caches. */
  #labels: Pod['labels'] = {};
  #untoldLabels: Pod['untoldLabels'] = {};
  #youngestNamed = 0n;

  /** The pod as last read. */
  get pod(): Pod | undefined {
    return this.#pod;
  }

  /** Takes the pod as read now. False: nothing changed. */
  update(pod: Pod): boolean {
    const before = this.#pod;
    if (before !== undefined && isDeepStrictEqual(before, pod)) return false;
    this.#pod = pod;
    if (!isDeepStrictEqual(this.#labels, pod.labels)) this.#labels = pod.labels;
    if (!isDeepStrictEqual(this.#untoldLabels, pod.untoldLabels)) this.#untoldLabels = pod.untoldLabels;
    for (const named of before?.containers ?? []) {
      if (named.id === '') continue;
      const now = pod.containers.find(({ id }) => id === named.id);
      // The digest may come after the id.
      if (now === undefined || (now.imageName !== named.imageName && named.imageDigest !== ''))
        this.#keep(named.id, named);
    }
    for (const { name, runtime, previousIds } of pod.containers) {
      for (const id of previousIds) this.#keep(id, { name, runtime, imageName: '', imageDigest: '' });
    }
    return true;
  }

  /**
   * Tells of a cgroup of the pod, to recognise the sandbox: it is in no status, and is made before every container. A
   * pod's status names all containers that ran when it was made, and cgroup ids grow with time: an unnamed container
   * that is older than a named one stays unnamed. True: others may be settled by it.
   */
  noteRoot(placement: Placement): boolean {
    if (placement.rootId <= this.#youngestNamed || this.#identity(placement.containerId) === undefined) return false;
    this.#youngestNamed = placement.rootId;
    return true;
  }

  /** The workload of one of the pod's cgroups; `before` itself where nothing changed. */
  workload(placement: Placement, before: Workload): Workload {
    const pod = this.#pod;
    if (pod === undefined) return before;
    const identity = this.#identity(placement.containerId);
    const { state, reason } = this.#stateOf(placement, identity);
    const same =
      before.state === state &&
      before.reason === reason &&
      before.containerName === (identity?.name ?? '') &&
      before.imageDigest === (identity?.imageDigest ?? '') &&
      before.imageName === (identity?.imageName ?? '') &&
      before.labels === this.#labels &&
      before.untoldLabels === this.#untoldLabels &&
      before.podName === pod.name &&
      before.namespace === pod.namespace &&
      before.serviceAccount === pod.serviceAccount &&
      before.ownerName === pod.ownerName &&
      before.ownerKind === pod.ownerKind;
    if (same) return before;
    return makeWorkload({
      cgroupId: placement.id,
      cgroupPath: placement.path,
      podUid: placement.podUid,
      containerId: placement.containerId,
      state,
      reason,
      containerName: identity?.name ?? '',
      containerRuntime: identity?.runtime ?? '',
      imageName: identity?.imageName ?? '',
      imageDigest: identity?.imageDigest ?? '',
      podName: pod.name,
      namespace: pod.namespace,
      labels: this.#labels,
      untoldLabels: this.#untoldLabels,
      serviceAccount: pod.serviceAccount,
      ownerKind: pod.ownerKind,
      ownerName: pod.ownerName,
      ownerDerived: pod.ownerDerived,
    });
  }

  #stateOf(placement: Placement, identity: ContainerIdentity | undefined): Pick<Workload, 'state' | 'reason'> {
    if (placement.containerId === '') return { state: 'complete', reason: 'no container in cgroup path' };
    if (identity !== undefined) return { state: 'complete', reason: identity.imageName === '' ? PAST : '' };
    if (placement.rootId !== 0n && placement.rootId < this.#youngestNamed)
      return { state: 'complete', reason: SANDBOX };
    return { state: 'pending', reason: 'container not in status yet' };
  }

  #identity(id: string): ContainerIdentity | undefined {
    return id === '' ? undefined : (this.#past?.get(id) ?? this.#pod?.containers.find((each) => each.id === id));
  }

  #keep(id: string, { name, runtime, imageName, imageDigest }: ContainerIdentity): void {
    this.#past ??= new Map();
    if (this.#past.has(id)) return;
    if (this.#past.size >= MAX_IDENTITIES) {
      for (const oldest of this.#past.keys()) {
        this.#past.delete(oldest);
        break;
      }
    }
    this.#past.set(id, { name, runtime, imageName, imageDigest });
  }
}
