import { KnownPod } from './known-pod.ts';
import { childPath, type Placement, placeCgroup } from './placement.ts';
import type { Pod } from './pods.ts';
import { Slot, SlotIndex } from './slots.ts';
import { UnseenWorkloads } from './unseen.ts';
import { MAX_CGROUPS } from './walk.ts';
import { makeWorkload, type Workload } from './workload.ts';

export interface WorkloadTableOptions {
  /** Cgroups kept at most; default 65,536. */
  readonly maxCgroups?: number;
  /** Of one pod, or of one container without a pod: a workload that makes cgroups itself displaces only its own. */
  readonly maxCgroupsPerPod?: number;
  /** How long a removed cgroup is still known, for records that come late; default 30,000. */
  readonly keepRemovedMs?: number;
  /** The reason of workloads whose pod is not known; default 'pod not known yet'. */
  readonly unknownPodReason?: string;
  /** Monotonic clock, ms. */
  readonly now?: () => number;
}

export interface WorkloadCounts {
  /** In the table, removed ones that are still kept included. */
  readonly cgroups: number;
  readonly pods: number;
  /** Cgroups whose pod, or whose container in it, is not named yet; removed ones as long as they are kept. */
  readonly pending: number;
  /** Ids that were asked for and never seen; at most 4,096 are kept. */
  readonly unseen: number;
  /** Cgroups that found the table full of living ones, since the start: they stay unseen. */
  readonly refused: number;
  /** Living cgroups that made room for newer ones of the same pod, since the start. */
  readonly displaced: number;
}

export type WorkloadListener = (cgroupId: bigint, workload: Workload) => void;

/**
 * Cgroup id -> who runs there. Filled by the walk at start, by the cgroup tracker's records and by the pods of the
 * kubelet; asked once a record.
 */
export class WorkloadTable {
  readonly #options: Required<WorkloadTableOptions>;
  readonly #slots = new SlotIndex();
  readonly #unseen = new UnseenWorkloads();
  readonly #removed: { slot: Slot; at: number }[] = [];
  readonly #pods = new Map<string, KnownPod>();
  /** By pod UID, or by container id where there is no pod; oldest first. The host's cgroups are in no group. */
  readonly #groups = new Map<string, Set<Slot>>();
  readonly #pending = new Set<Slot>();
  readonly #changeListeners: WorkloadListener[] = [];
  readonly #unknownPodListeners: ((podUid: string) => void)[] = [];
  readonly #pendingListeners: (() => void)[] = [];
  #refused = 0;
  #displaced = 0;

  constructor(options: WorkloadTableOptions = {}) {
    this.#options = {
      maxCgroups: MAX_CGROUPS,
      maxCgroupsPerPod: 4096,
      keepRemovedMs: 30_000,
      unknownPodReason: 'pod not known yet',
      now: () => performance.now(),
      ...options,
    };
  }

  /**
   * The workload of a cgroup, by the two halves of its id as they stand in a record. Allocates nothing for a cgroup
   * that is known; an id never seen gets a workload of state `unknown`, the same one each time.
   */
  get(idLow: number, idHigh: number): Workload {
    return this.#slots.get(idLow, idHigh)?.workload ?? this.#unseen.get(idLow, idHigh);
  }

  /** The same by the whole id. */
  find(id: bigint): Workload {
    return this.get(Number(BigInt.asIntN(32, id)), Number(BigInt.asIntN(32, id >> 32n)));
  }

  /** Where a cgroup stands; undefined where it is not known. */
  placement(id: bigint): Placement | undefined {
    return this.#slots.find(id)?.placement;
  }

  /** Ids of the cgroups that were not removed. */
  living(): bigint[] {
    return Array.from(this.#slots)
      .filter((slot) => !slot.removed)
      .map((slot) => slot.placement.id);
  }

  /** Takes what the walk found, parents first. What records told before stays. */
  addFound(cgroups: Iterable<Placement>): void {
    for (const cgroup of cgroups) if (this.#slots.find(cgroup.id) === undefined) this.#add(cgroup, false);
  }

  /** The same for a whole walk that was made again because records were lost: what it did not find was removed. */
  takeWalk(cgroups: readonly Placement[]): void {
    const found = new Set(cgroups.map(({ id }) => id));
    for (const id of this.living()) if (!found.has(id)) this.rmdir(id);
    this.addFound(cgroups);
  }

  /**
   * A cgroup was made. Idempotent: the walk may have found it before its record is read.
   *
   * @param path as the kernel gives it, from the root of the hierarchy
   * @param truncated the kernel cut the path: the cgroup is placed by its parent alone
   * @returns its place, for map kt_cgroups
   */
  mkdir(id: bigint, parentId: bigint, path: string, truncated: boolean): Placement {
    this.sweep();
    const parent = this.#slots.find(parentId)?.placement;
    const seen = parent === undefined || truncated ? path : childPath(parent, path);
    const placement = placeCgroup(id, seen, parent, truncated);
    const known = this.#slots.find(id);
    if (known !== undefined) {
      if (!known.removed && (truncated || known.placement.path === placement.path)) return known.placement;
      this.#drop(known);
    }
    this.#add(placement, truncated && parent === undefined);
    return placement;
  }

  /** A cgroup was removed. It stays known for a while, and its id may come again. */
  rmdir(id: bigint): void {
    this.sweep();
    const slot = this.#slots.find(id);
    if (slot === undefined || slot.removed) return;
    // Still pending: a container may end before its status names it, and its events are completed by that.
    slot.removed = true;
    this.#removed.push({ slot, at: this.#options.now() });
  }

  /** Upserts pods; workloads that this changes are replaced and told to the listeners. */
  applyPods(pods: Iterable<Pod>): void {
    for (const pod of pods) {
      const known = this.#pods.get(pod.uid) ?? new KnownPod();
      this.#pods.set(pod.uid, known);
      if (known.update(pod)) this.#renewAll(pod.uid, known);
    }
  }

  /** Drops a pod that is long gone. Workloads that it named stay as they are. */
  forgetPod(uid: string): void {
    this.#pods.delete(uid);
  }

  /** Drops what was removed longer ago than it is kept. */
  sweep(): void {
    const before = this.#options.now() - this.#options.keepRemovedMs;
    let count = 0;
    while (count < this.#removed.length && (this.#removed[count]?.at ?? 0) <= before) count++;
    if (count > 0) for (const { slot } of this.#removed.splice(0, count)) this.#drop(slot);
  }

  /** Calls `listener` whenever a cgroup for which get() gave something before gets another workload. */
  onChange(listener: WorkloadListener): void {
    this.#changeListeners.push(listener);
  }

  /** Calls `listener` when a cgroup appears whose pod is not known: before the pod's first process runs. */
  onUnknownPod(listener: (podUid: string) => void): void {
    this.#unknownPodListeners.push(listener);
  }

  /** Calls `listener` when a cgroup appears that is pending although its pod is known: a container not in its status yet. */
  onPending(listener: () => void): void {
    this.#pendingListeners.push(listener);
  }

  /** UIDs of pods that have a cgroup here, or had one until lately, and are not known. */
  pendingPodUids(): string[] {
    this.sweep();
    const uids = new Set<string>();
    for (const { placement } of this.#pending) if (!this.#pods.has(placement.podUid)) uids.add(placement.podUid);
    return [...uids];
  }

  /** UIDs of pods with a cgroup younger than `ms` that is pending: the pod, or the container in it, is not named. */
  pendingPods(ms: number): Set<string> {
    const after = this.#options.now() - ms;
    const uids = new Set<string>();
    for (const { since, placement } of this.#pending) if (since > after) uids.add(placement.podUid);
    return uids;
  }

  /** Whether a cgroup younger than `ms` is pending: asking again soon may complete it, or what it has sent. */
  hasPendingYoungerThan(ms: number): boolean {
    const after = this.#options.now() - ms;
    for (const slot of this.#pending) if (slot.since > after) return true;
    return false;
  }

  /** Whether a pod has a cgroup that was not removed. */
  hasLivingCgroup(podUid: string): boolean {
    for (const slot of this.#groups.get(podUid) ?? []) if (!slot.removed) return true;
    return false;
  }

  counts(): WorkloadCounts {
    this.sweep();
    return {
      cgroups: this.#slots.size,
      pods: this.#pods.size,
      pending: this.#pending.size,
      unseen: this.#unseen.size,
      refused: this.#refused,
      displaced: this.#displaced,
    };
  }

  #add(placement: Placement, pathLost: boolean): void {
    if (!this.#makeRoom(placement)) {
      this.#refused++;
      return;
    }
    const { id, podUid } = placement;
    const slot = new Slot(placement, this.#blank(placement, pathLost), this.#options.now());
    this.#slots.insert(slot);
    const group = groupOf(placement);
    if (group !== '') {
      const siblings = this.#groups.get(group);
      if (siblings === undefined) this.#groups.set(group, new Set([slot]));
      else siblings.add(slot);
    }
    if (podUid !== '') {
      const pod = this.#pods.get(podUid);
      const settles = pod?.noteRoot(placement);
      if (pod !== undefined) slot.workload = pod.workload(placement, slot.workload);
      // A container that is named at once may tell what its elder siblings are.
      if (pod !== undefined && settles) this.#renewAll(podUid, pod);
      if (slot.workload.state === 'pending') this.#pending.add(slot);
      if (pod === undefined) for (const listener of this.#unknownPodListeners) listener(podUid);
      else if (slot.workload.state === 'pending') for (const listener of this.#pendingListeners) listener();
    }
    if (this.#unseen.delete(id)) this.#tell(slot);
  }

  #makeRoom(placement: Placement): boolean {
    const siblings = this.#groups.get(groupOf(placement));
    if (siblings !== undefined && siblings.size >= this.#options.maxCgroupsPerPod) {
      for (const slot of siblings) {
        const { id, rootId } = slot.placement;
        if (rootId === 0n || rootId === id) continue;
        if (!slot.removed) this.#displaced++;
        this.#drop(slot);
        break;
      }
    }
    while (this.#slots.size >= this.#options.maxCgroups) {
      const oldest = this.#removed.shift();
      if (oldest === undefined) return false;
      this.#drop(oldest.slot);
    }
    return true;
  }

  #drop(slot: Slot): void {
    if (!this.#slots.delete(slot)) return;
    this.#pending.delete(slot);
    const group = groupOf(slot.placement);
    const siblings = this.#groups.get(group);
    siblings?.delete(slot);
    if (siblings?.size === 0) this.#groups.delete(group);
  }

  #renewAll(podUid: string, pod: KnownPod): void {
    const slots = this.#groups.get(podUid) ?? [];
    for (const slot of slots) pod.noteRoot(slot.placement);
    for (const slot of slots) {
      const workload = pod.workload(slot.placement, slot.workload);
      if (workload === slot.workload) continue;
      slot.workload = workload;
      if (workload.state === 'pending') this.#pending.add(slot);
      else this.#pending.delete(slot);
      this.#tell(slot);
    }
  }

  #tell(slot: Slot): void {
    for (const listener of this.#changeListeners) listener(slot.placement.id, slot.workload);
  }

  #blank({ id: cgroupId, path: cgroupPath, podUid, containerId }: Placement, pathLost: boolean): Workload {
    const place = { cgroupId, cgroupPath, podUid, containerId };
    if (podUid !== '') return makeWorkload({ ...place, state: 'pending', reason: this.#options.unknownPodReason });
    if (containerId !== '') return makeWorkload({ ...place, state: 'unknown', reason: 'no pod in cgroup path' });
    if (pathLost) return makeWorkload({ ...place, state: 'unknown', reason: 'cgroup path cut by the kernel' });
    return makeWorkload({ ...place, state: 'host', reason: '' });
  }
}

function groupOf(placement: Placement): string {
  return placement.podUid === '' ? placement.containerId : placement.podUid;
}
