import { CGROUP_INFO, KT_CGROUP_CONTAINER, KT_ENTRY_INIT, POLICY, PROC } from './layout.gen.ts';

/** What happens to a cgroup's events, by kind; kinds in neither list are traced. */
export interface CgroupPolicy {
  readonly off: readonly number[];
  /** One of `n` processes is traced whole; its events weigh `n`. */
  readonly sample: readonly number[];
  readonly n: number;
}

/** Key of maps kt_policies and kt_cgroups. */
export function encodeCgroupId(id: bigint): Uint8Array {
  const key = new Uint8Array(8);
  new DataView(key.buffer).setBigUint64(0, id, true);
  return key;
}

/** Bits by kind, as kt_config and kt_policy hold them. */
export function kindBits(kinds: Iterable<number>): number {
  let bits = 0;
  for (const kind of kinds) bits |= 1 << kind;
  return bits >>> 0;
}

/** Value of map kt_policies. Throws RangeError for an `n` that is not a sampling rate. */
export function encodePolicy(policy: CgroupPolicy): Uint8Array {
  if (!Number.isInteger(policy.n) || policy.n < 1 || policy.n > 0xffffffff) {
    throw new RangeError(`sample: ${policy.n} is not a whole number from 1 to 2^32 - 1`);
  }
  const value = new Uint8Array(POLICY.SIZE);
  const view = new DataView(value.buffer);
  view.setUint32(POLICY.off, kindBits(policy.off), true);
  view.setUint32(POLICY.sample, kindBits(policy.sample), true);
  view.setUint32(POLICY.sample_n, policy.n, true);
  return value;
}

/** Value of map kt_cgroups for a cgroup that was there before the agent. `rootId` 0n: not in a container. */
export function encodeCgroupInfo(rootId: bigint): Uint8Array {
  const value = new Uint8Array(CGROUP_INFO.SIZE);
  const view = new DataView(value.buffer);
  view.setBigUint64(CGROUP_INFO.root_id, rootId, true);
  view.setUint32(CGROUP_INFO.flags, rootId === 0n ? 0 : KT_CGROUP_CONTAINER, true);
  return value;
}

/** Key of maps kt_procs (a tgid) and kt_ports (a port). */
export function encodeNumber(number: number): Uint8Array {
  const key = new Uint8Array(4);
  new DataView(key.buffer).setUint32(0, number, true);
  return key;
}

const NS_PER_TICK = 10_000_000n;

/**
 * A struct kt_proc with entry `init`, or undefined where `value` is of another process: one that started in another
 * clock tick, stands in another container, or has not executed an image of its own yet (that may change any moment,
 * and the kernel's word on it must not be overwritten).
 *
 * @param startTicks field 22 of /proc/PID/stat
 */
export function withEntryInit(
  value: Uint8Array,
  process: { readonly tgid: number; readonly startTicks: number; readonly rootId: bigint },
): Uint8Array | undefined {
  const copy = value.slice();
  const view = new DataView(copy.buffer);
  const same =
    view.getBigUint64(PROC.start_time, true) / NS_PER_TICK === BigInt(process.startTicks) &&
    view.getBigUint64(PROC.root_id, true) === process.rootId &&
    view.getUint32(PROC.image_tgid, true) === process.tgid;
  if (!same) return undefined;
  view.setUint32(PROC.entry, KT_ENTRY_INIT, true);
  return copy;
}
