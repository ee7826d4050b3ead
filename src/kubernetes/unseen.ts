import { makeWorkload, type Workload } from './workload.ts';

/** Ids that are kept, in two halves: when the newer is full, the older is dropped whole. */
const MAX_HALF = 2048;

/** Workloads of cgroups that were asked for and that no record and no walk told of: one object an id, to key a cache. */
export class UnseenWorkloads {
  #newer = new Map<bigint, Workload>();
  #older = new Map<bigint, Workload>();

  get size(): number {
    return this.#newer.size + this.#older.size;
  }

  get(idLow: number, idHigh: number): Workload {
    const cgroupId = (BigInt(idHigh >>> 0) << 32n) | BigInt(idLow >>> 0);
    const known = this.#newer.get(cgroupId) ?? this.#older.get(cgroupId);
    if (known !== undefined) return known;
    const reason = cgroupId === 0n ? 'no cgroup id' : 'cgroup was not seen';
    const workload = makeWorkload({ cgroupId, cgroupPath: '', state: 'unknown', reason });
    if (this.#newer.size >= MAX_HALF) {
      this.#older = this.#newer;
      this.#newer = new Map();
    }
    this.#newer.set(cgroupId, workload);
    return workload;
  }

  /** The cgroup became known. False: it was not asked for. */
  delete(cgroupId: bigint): boolean {
    return this.#newer.delete(cgroupId) || this.#older.delete(cgroupId);
  }
}
