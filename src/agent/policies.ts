/**
 * Which workload's events are wanted. Rules become policies of the kernel side, by cgroup, as soon as it is known who
 * runs there; what the kernel let through before that (the first events of a container are held until its labels are
 * known) is judged here by the same rules. Both are counted as suppressed.
 */
import { matchesGlob } from '../config/glob.ts';
import type { Action, PolicyRule } from '../config/schema.ts';
import { FAMILIES } from '../config/schema.ts';
import type { CgroupPolicy } from '../kernel/entries.ts';
import { HEAD, KT_KIND_COUNT } from '../kernel/layout.gen.ts';
import type { Workload } from '../kubernetes/workload.ts';
import { KERNEL_KINDS } from './kinds.ts';

type Family = (typeof FAMILIES)[number];

/** The kernel side of policies. */
export interface PolicySink {
  /** Undefined removes it. Throws where the kernel's table is full. */
  setPolicy(cgroupId: bigint, policy: CgroupPolicy | undefined): void;
}

export interface PoliciesOptions {
  readonly sink: PolicySink;
  /** The newest workload of a cgroup. */
  readonly lookup: (cgroupId: bigint) => Workload;
  /** Living cgroups. */
  readonly cgroups: () => Iterable<bigint>;
}

/** Bits by kind. */
interface Verdict {
  readonly off: number;
  readonly sample: number;
  readonly n: number;
}

const TRACE: Verdict = { off: 0, sample: 0, n: 1 };

const KINDS_BY_FAMILY: ReadonlyMap<Family, readonly number[]> = new Map(
  FAMILIES.map((family) => [
    family,
    [...KERNEL_KINDS].filter(([name]) => name.startsWith(`${family}.`)).map(([, kind]) => kind),
  ]),
);

export class Policies {
  /** Events suppressed here, by kind. */
  readonly suppressed: number[] = new Array<number>(KT_KIND_COUNT).fill(0);
  /** Policies that the kernel's table had no room for: their events are suppressed here alone. */
  refused = 0;
  readonly #options: PoliciesOptions;
  #rules: readonly PolicyRule[] = [];
  #verdicts = new WeakMap<Workload, Verdict>();
  /** What the kernel side was told, as text. */
  readonly #told = new Map<bigint, string>();

  constructor(options: PoliciesOptions) {
    this.#options = options;
  }

  /** Whether any rule is there: else nothing needs to be asked. */
  get active(): boolean {
    return this.#rules.length > 0;
  }

  /** Cgroups with a policy in the kernel. */
  get inKernel(): number {
    return this.#told.size;
  }

  /** Other rules, for everything that runs. */
  configure(rules: readonly PolicyRule[]): void {
    this.#rules = rules;
    this.#verdicts = new WeakMap();
    for (const id of this.#options.cgroups()) this.consider(id);
    for (const id of [...this.#told.keys()]) this.consider(id);
  }

  /** A cgroup that is new, or whose workload is another now. */
  consider(cgroupId: bigint): void {
    if (!this.active && this.#told.size === 0) return;
    const verdict = this.active ? this.#verdict(this.#options.lookup(cgroupId)) : TRACE;
    const policy = policyOf(verdict);
    const text = policy === undefined ? '' : JSON.stringify(policy);
    if ((this.#told.get(cgroupId) ?? '') === text) return;
    try {
      this.#options.sink.setPolicy(cgroupId, policy);
    } catch {
      this.refused++;
      return;
    }
    if (policy === undefined) this.#told.delete(cgroupId);
    else this.#told.set(cgroupId, text);
  }

  /** A cgroup that was removed. */
  forget(cgroupId: bigint): void {
    if (!this.#told.delete(cgroupId)) return;
    try {
      this.#options.sink.setPolicy(cgroupId, undefined);
    } catch {
      // It is gone from the table already.
    }
  }

  /**
   * Whether an event is wanted; one that is not is counted. A sampled one that the kernel side did not sample itself is
   * decided here as the kernel would, and gets its weight.
   */
  admits(buf: Uint8Array, offset: number, workload: Workload): boolean {
    const verdict = this.#verdict(workload);
    if (verdict === TRACE) return true;
    const kind = buf[offset + HEAD.kind] ?? 0;
    const bit = 1 << (kind & 31);
    if ((verdict.off & bit) === 0) {
      if ((verdict.sample & bit) === 0) return true;
      const view = new DataView(buf.buffer, buf.byteOffset + offset, HEAD.SIZE);
      // 0: it was there before the agent; more than 1: sampled already.
      if (view.getUint32(HEAD.weight, true) !== 1) return true;
      if (isKept(view.getBigUint64(HEAD.start_time, true), verdict.n)) {
        view.setUint32(HEAD.weight, verdict.n, true);
        return true;
      }
    }
    this.suppressed[kind] = (this.suppressed[kind] ?? 0) + 1;
    return false;
  }

  #verdict(workload: Workload): Verdict {
    let verdict = this.#verdicts.get(workload);
    if (verdict === undefined) {
      verdict = judge(this.#rules, workload);
      this.#verdicts.set(workload, verdict);
    }
    return verdict;
  }
}

/** As bpf/tap.h samples: one of n processes, by start time. */
export function isKept(startTime: bigint, n: number): boolean {
  return (BigInt.asUintN(64, startTime * 0x9e3779b97f4a7c15n) >> 32n) % BigInt(n) === 0n;
}

/**
 * For each family the first rule that matches and names it. A rule of which is not known yet whether it matches ends
 * the search with `trace`: no event is left out before it is known whose it is. Where families ask for different
 * samples the smallest N holds for all, so that a process that is kept is kept whole.
 */
function judge(rules: readonly PolicyRule[], workload: Workload): Verdict {
  let off = 0;
  let sample = 0;
  let n = Number.POSITIVE_INFINITY;
  for (const family of FAMILIES) {
    const action = actionFor(rules, family, workload);
    if (action === 'trace') continue;
    let bits = 0;
    for (const kind of KINDS_BY_FAMILY.get(family) ?? []) bits |= 1 << kind;
    if (action === 'off') {
      off |= bits;
    } else {
      sample |= bits;
      n = Math.min(n, action.sample);
    }
  }
  if (off === 0 && sample === 0) return TRACE;
  return { off: off >>> 0, sample: sample >>> 0, n: Number.isFinite(n) ? n : 1 };
}

function actionFor(rules: readonly PolicyRule[], family: Family, workload: Workload): Action {
  for (const rule of rules) {
    const action = rule[family] ?? rule.all;
    if (action === undefined) continue;
    const matched = matches(rule, workload);
    if (matched === 'unknown') return 'trace';
    if (matched) return action;
  }
  return 'trace';
}

function matches({ match }: PolicyRule, workload: Workload): boolean | 'unknown' {
  const { namespace, podLabels, container, image, host } = match;
  if (host) return workload.state === 'host';
  const asksForPod = [namespace, podLabels, container, image].some((part) => part !== undefined);
  if (!asksForPod) return true;
  if (workload.state === 'pending') return 'unknown';
  if (workload.state !== 'complete') return false;
  if (namespace !== undefined && !any(namespace, workload.namespace)) return false;
  if (container !== undefined && !any(container, workload.containerName)) return false;
  if (image !== undefined && !any(image, workload.imageName)) return false;
  return Object.entries(podLabels ?? {}).every(([name, pattern]) => {
    const labels = Object.hasOwn(workload.labels, name) ? workload.labels : workload.untoldLabels;
    const value = Object.hasOwn(labels, name) ? labels[name] : undefined;
    return value !== undefined && matchesGlob(value, pattern);
  });
}

function any(patterns: readonly string[], text: string): boolean {
  return patterns.some((pattern) => matchesGlob(text, pattern));
}

function policyOf({ off, sample, n }: Verdict): CgroupPolicy | undefined {
  if (off === 0 && sample === 0) return undefined;
  const kinds = (bits: number) => [...KERNEL_KINDS.values()].filter((kind) => ((bits >>> kind) & 1) === 1);
  return { off: kinds(off), sample: kinds(sample), n };
}
