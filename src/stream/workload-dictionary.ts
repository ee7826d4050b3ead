// Workloads of a batch: each is encoded once for as long as its object lives, and copied as bytes from then on.

import { encodeBatch, type Sparse, type Workload as WireWorkload } from '../../proto/contract.ts';
import type { MetadataState, Workload } from '../kubernetes/workload.ts';

/** Labels are a pod author's to choose; beyond this a workload is sent without them and says so. */
export const WORKLOAD_BYTES_MAX = 16 * 1024;

const STATES: Readonly<Record<MetadataState, number>> = { complete: 1, pending: 2, unknown: 3, host: 4 };

/** A workload's bytes and its place in the batch that is being filled. */
export interface WorkloadEntry {
  /** Field `workloads` of a Batch: tag, length, message. */
  readonly field: Uint8Array;
  /** Batch that `index` belongs to. */
  generation: number;
  index: number;
}

function wireWorkload(workload: Workload): Sparse<WireWorkload> {
  return {
    cgroupId: workload.cgroupId,
    cgroupPath: workload.cgroupPath === '' ? undefined : Buffer.from(workload.cgroupPath),
    state: STATES[workload.state],
    metadataReason: workload.reason,
    containerId: workload.containerId,
    containerName: workload.containerName,
    containerRuntime: workload.containerRuntime,
    imageName: workload.imageName,
    imageDigest: workload.imageDigest,
    podUid: workload.podUid,
    podName: workload.podName,
    namespaceName: workload.namespace,
    podLabels: workload.labels,
    serviceAccount: workload.serviceAccount,
    ownerKind: workload.ownerKind,
    ownerName: workload.ownerName,
    ownerDerived: workload.ownerDerived,
  };
}

/** protobufjs writes what is set, also proto3's defaults: those are taken out. */
function withoutDefaults(message: Sparse<WireWorkload>): Sparse<WireWorkload> {
  return Object.fromEntries(
    Object.entries(message).filter(([, value]) => value !== '' && value !== false && value !== 0n),
  );
}

function encodeField(workload: Workload): Uint8Array {
  const message = withoutDefaults(wireWorkload(workload));
  const field = encodeBatch({ workloads: [message] });
  if (field.length <= WORKLOAD_BYTES_MAX) return field;
  const reason = 'labels left out: too large';
  const slim = encodeBatch({ workloads: [{ ...message, podLabels: {}, metadataReason: reason }] });
  if (slim.length <= WORKLOAD_BYTES_MAX) return slim;
  // Nothing that a cluster accepts gets here: Kubernetes bounds each of the other strings.
  const { cgroupId, state, containerId, podUid } = message;
  const bare = { cgroupId, state, containerId, podUid, metadataReason: 'metadata left out: too large' };
  return encodeBatch({ workloads: [bare] });
}

export class WorkloadDictionary {
  /** Entries of the open batch; the index of the last one. */
  count = 0;
  private readonly entries = new WeakMap<Workload, WorkloadEntry>();
  private generation = 1;
  private last: Workload | undefined;
  private lastEntry: WorkloadEntry | undefined;

  clear(): void {
    this.count = 0;
    this.generation++;
  }

  entry(workload: Workload): WorkloadEntry {
    if (workload === this.last && this.lastEntry !== undefined) return this.lastEntry;
    let entry = this.entries.get(workload);
    if (entry === undefined) {
      entry = { field: encodeField(workload), generation: 0, index: 0 };
      this.entries.set(workload, entry);
    }
    this.last = workload;
    this.lastEntry = entry;
    return entry;
  }

  /** Is the entry in the open batch already? */
  has(entry: WorkloadEntry): boolean {
    return entry.generation === this.generation;
  }

  /** Gives the entry its index in the open batch; the caller writes its field. */
  add(entry: WorkloadEntry): number {
    entry.generation = this.generation;
    entry.index = ++this.count;
    return entry.index;
  }
}
