import { makeWorkload, type Workload } from './workload.ts';

/** Ids that are kept; the oldest makes room. */
const MAX_UNSEEN = 4096;

/** Workloads of cgroups that were asked for and that no record and no walk told of: one object an id, to key a cache. */
export class UnseenWorkloads {
  readonly #workloads = new Map<bigint, Workload>();

  get size(): number {
    return this.#workloads.size;
  }

  get(idLow: number, idHigh: number): Workload {
    const cgroupId = (BigInt(idHigh >>> 0) << 32n) | BigInt(idLow >>> 0);
    const known = this.#workloads.get(cgroupId);
    if (known !== undefined) return known;
    const reason = cgroupId === 0n ? 'no cgroup id' : 'cgroup was not seen';
    const workload = makeWorkload({ cgroupId, cgroupPath: '', state: 'unknown', reason });
    if (this.#workloads.size >= MAX_UNSEEN) {
      const [oldest] = this.#workloads.keys();
      if (oldest !== undefined) this.#workloads.delete(oldest);
    }
    this.#workloads.set(cgroupId, workload);
    return workload;
  }

  /** The cgroup became known. */
  delete(cgroupId: bigint): boolean {
    return this.#workloads.delete(cgroupId);
  }
}
