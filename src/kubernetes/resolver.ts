import { isDeepStrictEqual } from 'node:util';
import type { PodSource } from './pod-source.ts';
import type { Pod } from './pods.ts';
import type { WorkloadTable } from './table.ts';
import type { Workload } from './workload.ts';

export interface PodChange {
  /** seen: new or changed, the whole record; gone: no longer in the kubelet's list, the last record. */
  readonly state: 'seen' | 'gone';
  readonly pod: Pod;
}

export interface PodResolverOptions {
  readonly source: PodSource;
  readonly table: WorkloadTable;
  readonly onPod: (change: PodChange) => void;
  /** A read failed; told once until the next one that succeeds or fails otherwise. */
  readonly onError?: (error: Error) => void;
  /** Between reads while nothing is pending; default 30,000. */
  readonly slowMs?: number;
  /** Between reads while something is; default 1,000. */
  readonly fastMs?: number;
  /** What has been pending for longer is left to the slow reads; default 60,000. */
  readonly hurryMs?: number;
  /** A pod whose cgroups still live must be missing for as long to be gone: a kubelet that starts lists only some. */
  readonly graceMs?: number;
  /** How long pods that are gone are remembered, for records that come late; default 15 min. */
  readonly keepGoneMs?: number;
  /** How many of them; default 1,024. */
  readonly maxGone?: number;
  /** Monotonic clock, ms. */
  readonly now?: () => number;
}

export interface PodResolverCounts {
  /** In the kubelet's list. */
  readonly pods: number;
  readonly gone: number;
  /** Pods with a cgroup, or with one until lately, that the kubelet has not listed. */
  readonly unknown: number;
  /** Age of what is known, ms; undefined: nothing was read yet. */
  readonly ageMs: number | undefined;
}

interface Listed {
  pod: Pod;
  /** The last read that had it. */
  round: number;
  /** When a read first did not have it any more. */
  missingSince: number | undefined;
}

/** Keeps the workload table in step with a pod source: at once for a pod that is new, else now and then. */
export class PodResolver {
  readonly #options: Required<Omit<PodResolverOptions, 'onError'>> & Pick<PodResolverOptions, 'onError'>;
  readonly #listed = new Map<string, Listed>();
  /** By UID: when it went, oldest first. */
  readonly #gone = new Map<string, number>();
  /** UIDs that a cgroup told of and no read that began after that has answered yet. */
  readonly #asked = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #state: 'new' | 'started' | 'stopped' = 'new';
  #reading: Promise<void> | undefined;
  /** Why another read must begin; '' : none must. */
  #wanted = '';
  #round = 0;
  #lastOk: number | undefined;
  #lastError = '';

  constructor(options: PodResolverOptions) {
    this.#options = {
      slowMs: 30_000,
      fastMs: 1000,
      hurryMs: 60_000,
      graceMs: 60_000,
      keepGoneMs: 15 * 60_000,
      maxGone: 1024,
      now: () => performance.now(),
      ...options,
    };
    options.table.onUnknownPod((podUid) => this.#ask(podUid));
  }

  /** Reads once, then keeps reading until stop(). Resolves after the first read, whether it succeeded or not. */
  start(): Promise<void> {
    if (this.#state !== 'new') throw new Error('a resolver starts once');
    this.#state = 'started';
    for (const podUid of this.#options.table.pendingPodUids()) this.#asked.add(podUid);
    return this.#read('start');
  }

  stop(): void {
    this.#state = 'stopped';
    clearTimeout(this.#timer);
    this.#options.source.close();
  }

  /** Whether the name of a pending workload's pod may still come with the next read: what is worth holding events for. */
  mayNameSoon(workload: Workload): boolean {
    return this.#state !== 'stopped' && workload.state === 'pending' && this.#asked.has(workload.podUid);
  }

  /** Pods in the kubelet's list, as last read. */
  pods(): Pod[] {
    return Array.from(this.#listed.values(), ({ pod }) => pod);
  }

  counts(): PodResolverCounts {
    return {
      pods: this.#listed.size,
      gone: this.#gone.size,
      unknown: this.#options.table.pendingPodUids().length,
      ageMs: this.#lastOk === undefined ? undefined : this.#options.now() - this.#lastOk,
    };
  }

  #ask(podUid: string): void {
    if (this.#state === 'stopped' || this.#asked.has(podUid)) return;
    this.#asked.add(podUid);
    if (this.#state === 'started') void this.#read(`pod ${podUid}`);
  }

  /** Reads until nobody asked since the last read began. */
  #read(reason: string): Promise<void> {
    if (this.#state !== 'started') return Promise.resolve();
    this.#wanted = reason;
    this.#reading ??= this.#readAll();
    return this.#reading;
  }

  async #readAll(): Promise<void> {
    while (this.#wanted !== '' && this.#state === 'started') {
      const reason = this.#wanted;
      this.#wanted = '';
      const answers = [...this.#asked];
      try {
        const pods = await this.#options.source.refresh(reason);
        if (this.#state === 'started') this.#apply(pods);
        this.#lastError = '';
      } catch (error) {
        this.#fail(error instanceof Error ? error : new Error(String(error)));
      }
      for (const podUid of answers) this.#asked.delete(podUid);
    }
    this.#reading = undefined;
    this.#schedule();
  }

  #fail(error: Error): void {
    if (this.#state === 'started' && error.message !== this.#lastError) this.#options.onError?.(error);
    this.#lastError = error.message;
  }

  #schedule(): void {
    if (this.#state !== 'started') return;
    const { table, fastMs, slowMs, hurryMs } = this.#options;
    const pending = table.hasPendingYoungerThan(hurryMs);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#read(pending ? 'pending' : 'period'), pending ? fastMs : slowMs);
    this.#timer.unref();
  }

  #apply(pods: readonly Pod[]): void {
    const now = this.#options.now();
    const round = ++this.#round;
    this.#lastOk = now;
    const changed: Pod[] = [];
    for (const pod of pods) {
      const known = this.#listed.get(pod.uid);
      this.#gone.delete(pod.uid);
      if (known !== undefined && isDeepStrictEqual(known.pod, pod)) {
        known.round = round;
        known.missingSince = undefined;
        continue;
      }
      this.#listed.set(pod.uid, { pod, round, missingSince: undefined });
      changed.push(pod);
    }
    this.#options.table.applyPods(changed);
    // What is gone is told first: a new pod may have its address.
    this.#letGo(now, round);
    for (const pod of changed) this.#options.onPod({ state: 'seen', pod });
    this.#forget(now);
  }

  #letGo(now: number, round: number): void {
    for (const [uid, listed] of this.#listed) {
      if (listed.round === round) continue;
      listed.missingSince ??= now;
      const early = now - listed.missingSince < this.#options.graceMs;
      if (early && this.#options.table.hasLivingCgroup(uid)) continue;
      this.#listed.delete(uid);
      this.#gone.set(uid, now);
      this.#options.onPod({ state: 'gone', pod: listed.pod });
    }
  }

  #forget(now: number): void {
    for (const [uid, at] of this.#gone) {
      if (now - at < this.#options.keepGoneMs && this.#gone.size <= this.#options.maxGone) break;
      this.#gone.delete(uid);
      this.#options.table.forgetPod(uid);
    }
  }
}
