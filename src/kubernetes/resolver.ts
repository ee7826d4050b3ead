/**
 * Keeps the workload table in step with the kubelet: by the Pods API while it answers, else by HTTPS /pods. A pod that is
 * new and not known is asked for at once, by either.
 */
import { PodInventory, type PodInventoryOptions } from './pod-inventory.ts';
import { PodLookup } from './pod-lookup.ts';
import type { PodSource, PodSourceName, PodSourceStatus } from './pod-source.ts';
import type { Pod } from './pods.ts';
import type { PodsApi, PodsApiState } from './pods-api.ts';
import type { WorkloadTable } from './table.ts';
import type { Workload } from './workload.ts';

export interface PodResolverOptions
  extends Partial<Pick<PodInventoryOptions, 'graceMs' | 'keepGoneMs' | 'maxGone' | 'now'>>,
    Pick<PodInventoryOptions, 'onPod'> {
  /** Undefined: not asked, and then the other one is there. */
  readonly podsApi?: PodsApi | undefined;
  readonly kubelet?: PodSource | undefined;
  readonly table: WorkloadTable;
  /** A read of /pods failed; told once until the next one that succeeds or fails otherwise. */
  readonly onError?: (error: Error) => void;
  /** Another source is in charge; undefined: none answers. */
  readonly onSource?: (source: PodSourceName | undefined) => void;
  /** Between reads of /pods while nothing is pending; default 30,000. */
  readonly slowMs?: number;
  /** Between reads while something is, and between looks at what is; default 1,000. */
  readonly fastMs?: number;
  /** What has been pending for longer is left to the slow reads; default 60,000. */
  readonly hurryMs?: number;
  /** How long the Pods API may be silent before /pods is read; default 1,000. */
  readonly takeoverMs?: number;
}

export interface PodResolverStatus {
  /** Who answers now; undefined: nobody. */
  readonly source: PodSourceName | undefined;
  /** How often that changed. */
  readonly changes: number;
  /** In the kubelet's list. */
  readonly pods: number;
  readonly gone: number;
  /** Pods with a cgroup, or with one until lately, that the kubelet has not named. */
  readonly unknown: number;
  /** Wall clock, ms since 1970, of the last answer or event; undefined: never. */
  readonly lastOkMs: number | undefined;
  /** Why nobody answers; '' where somebody does. */
  readonly problem: string;
  /** Of those that are asked; the Pods API only where a socket was found. */
  readonly sources: readonly PodSourceStatus[];
}

const DEFAULTS = {
  slowMs: 30_000,
  fastMs: 1000,
  hurryMs: 60_000,
  takeoverMs: 1000,
  graceMs: 60_000,
  keepGoneMs: 15 * 60_000,
  maxGone: 1024,
  now: (): number => performance.now(),
};

export class PodResolver {
  readonly #options: PodResolverOptions & Readonly<typeof DEFAULTS>;
  readonly #inventory: PodInventory;
  readonly #lookup: PodLookup | undefined;
  /** UIDs that a cgroup told of and no answer that was asked for after that has come yet. */
  readonly #asked = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  /** The next beat is one for when nothing is pending. */
  #slow = false;
  #takeover: NodeJS.Timeout | undefined;
  #state: 'new' | 'started' | 'stopped' = 'new';
  #source: PodSourceName | undefined;
  #changes = 0;
  /** /pods is read. */
  #readsKubelet = false;
  #reading: Promise<void> | undefined;
  /** Why another read must begin; '' : none must. */
  #wanted = '';
  #lastError = '';
  #sawSocket = false;
  #onFirstAnswer: () => void = () => {};

  constructor(options: PodResolverOptions) {
    this.#options = { ...DEFAULTS, ...options };
    const { table, onPod, graceMs, keepGoneMs, maxGone, now, podsApi } = this.#options;
    this.#inventory = new PodInventory({ table, onPod, graceMs, keepGoneMs, maxGone, now });
    this.#lookup = podsApi && new PodLookup(podsApi, now);
    table.onUnknownPod((podUid) => this.#ask(podUid));
    table.onPending(() => {
      if (this.#slow && this.#reading === undefined) this.#schedule();
    });
  }

  /** Reads once, then keeps in step until stop(). Resolves when a source has answered, or /pods has failed. */
  start(): Promise<void> {
    if (this.#state !== 'new') throw new Error('a resolver starts once');
    this.#state = 'started';
    const first = new Promise<void>((resolve) => {
      this.#onFirstAnswer = resolve;
    });
    for (const podUid of this.#options.table.pendingPodUids()) this.#asked.add(podUid);
    const { podsApi } = this.#options;
    if (podsApi === undefined) this.#useKubelet('start');
    else {
      this.#awaitPodsApi();
      podsApi.start({
        state: (state) => this.#podsApiIs(state),
        mark: () => this.#inventory.mark(),
        pod: (pod) => this.#take(pod),
        gone: (uid) => this.#inventory.remove(uid, 'pods-api'),
        all: (uids, mark) => this.#inventory.keep(uids, mark),
        list: (pods, mark) => this.#inventory.list(pods, 'pods-api', mark, this.#asked),
      });
      if (podsApi.state === 'absent') this.#podsApiIs('absent');
    }
    this.#schedule();
    return first;
  }

  stop(): void {
    this.#state = 'stopped';
    clearTimeout(this.#timer);
    clearTimeout(this.#takeover);
    this.#options.kubelet?.close();
    this.#options.podsApi?.stop();
  }

  /** Whether the name of a pending workload's pod may still come with the next answer: what is worth holding events for. */
  mayNameSoon(workload: Workload): boolean {
    return this.#state !== 'stopped' && workload.state === 'pending' && this.#asked.has(workload.podUid);
  }

  /** Pods in the kubelet's list, as last told. */
  pods(): Pod[] {
    return this.#inventory.pods();
  }

  status(): PodResolverStatus {
    const { podsApi, kubelet, table } = this.#options;
    const api = this.#sawSocket || kubelet === undefined ? podsApi?.status() : undefined;
    const sources = [api, kubelet?.status()].filter((status) => status !== undefined);
    const oks = sources.map(({ lastOkMs }) => lastOkMs ?? 0);
    const lastOkMs = Math.max(0, ...oks);
    return {
      source: this.#source,
      changes: this.#changes,
      pods: this.#inventory.size,
      gone: this.#inventory.goneSize,
      unknown: table.pendingPodUids().length,
      lastOkMs: lastOkMs === 0 ? undefined : lastOkMs,
      problem:
        this.#source === undefined
          ? sources
              .map(({ lastError }) => lastError)
              .filter(Boolean)
              .join('; ')
          : '',
      sources,
    };
  }

  /** A source is there to be asked: without one nothing is expected of it. */
  get expected(): boolean {
    return this.#options.kubelet !== undefined || this.#sawSocket;
  }

  #podsApiIs(state: PodsApiState): void {
    if (this.#state !== 'started') return;
    if (state !== 'absent') this.#sawSocket = true;
    if (state === 'synced') {
      clearTimeout(this.#takeover);
      this.#takeover = undefined;
      this.#readsKubelet = false;
      this.#lookup?.forget();
      for (const uid of this.#asked) void this.#look(uid);
      this.#answeredBy('pods-api');
      this.#schedule();
    } else if (state === 'absent') this.#useKubelet('no socket of the Pods API');
    else this.#awaitPodsApi();
  }

  /** It was there, or may be: for a moment it is waited for. */
  #awaitPodsApi(): void {
    if (this.#readsKubelet || this.#takeover !== undefined) return;
    this.#takeover = setTimeout(() => this.#useKubelet('the Pods API is silent'), this.#options.takeoverMs);
    this.#takeover.unref();
  }

  #useKubelet(reason: string): void {
    clearTimeout(this.#takeover);
    this.#takeover = undefined;
    if (this.#readsKubelet || this.#state !== 'started') return;
    if (this.#options.kubelet === undefined) {
      // Nobody is left to be asked.
      this.#asked.clear();
      this.#answeredBy(undefined);
      return;
    }
    this.#readsKubelet = true;
    if (this.#source === 'pods-api') this.#answeredBy(undefined);
    void this.#read(reason);
  }

  #answeredBy(source: PodSourceName | undefined): void {
    this.#onFirstAnswer();
    if (this.#source === source) return;
    this.#source = source;
    this.#changes++;
    this.#options.onSource?.(source);
  }

  #take(pod: Pod): void {
    this.#inventory.upsert(pod, 'pods-api');
    this.#asked.delete(pod.uid);
  }

  #ask(podUid: string): void {
    if (this.#state === 'stopped' || this.#asked.has(podUid)) return;
    if (this.#state === 'new') {
      this.#asked.add(podUid);
      return;
    }
    if (this.#readsKubelet) {
      this.#asked.add(podUid);
      void this.#read(`pod ${podUid}`);
    } else if (this.#source === 'pods-api' || this.#takeover !== undefined) {
      this.#asked.add(podUid);
      // While it is waited for, what it tells first answers.
      if (this.#options.podsApi?.state === 'synced') void this.#look(podUid);
    }
  }

  async #look(uid: string): Promise<void> {
    const mark = this.#inventory.mark();
    try {
      const found = await this.#lookup?.find(uid);
      if (this.#state !== 'started') return;
      if (found !== undefined) this.#inventory.answer(found, 'pods-api', mark);
      this.#asked.delete(uid);
    } catch {
      // Counted by the source.
      if (this.#state !== 'started') return;
      if (this.#options.kubelet === undefined || !this.#asked.has(uid)) this.#asked.delete(uid);
      else void this.#read(`pod ${uid}`);
    }
  }

  /** Reads /pods until nobody asked since the last read began. */
  #read(reason: string): Promise<void> {
    if (this.#state !== 'started') return Promise.resolve();
    this.#wanted = reason;
    this.#reading ??= this.#readAll();
    return this.#reading;
  }

  async #readAll(): Promise<void> {
    while (this.#wanted !== '' && this.#state === 'started') {
      const reason = this.#wanted;
      let answers: readonly string[] = [];
      let mark = 0;
      // What is asked while it waits for its turn is answered by it, too.
      const begins = (): void => {
        this.#wanted = '';
        answers = [...this.#asked];
        mark = this.#inventory.mark();
      };
      begins();
      try {
        const pods = (await this.#options.kubelet?.refresh(reason, begins)) ?? [];
        if (this.#state !== 'started') return;
        // Events are held for what was asked for.
        await this.#inventory.list(pods, 'kubelet', mark, this.#asked);
        this.#lastError = '';
        if (this.#readsKubelet) this.#answeredBy('kubelet');
      } catch (error) {
        this.#fail(error instanceof Error ? error : new Error(String(error)));
        if (this.#readsKubelet) this.#answeredBy(undefined);
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
    clearTimeout(this.#timer);
    const isPending = table.hasPendingYoungerThan(hurryMs);
    this.#slow = this.#readsKubelet && !isPending;
    this.#timer = setTimeout(() => this.#beat(isPending), this.#slow ? slowMs : fastMs);
    this.#timer.unref();
  }

  #beat(wasPending: boolean): void {
    this.#inventory.sweep();
    if (this.#readsKubelet) {
      // Its end schedules the next beat.
      void this.#read(wasPending ? 'pending' : 'period');
      return;
    }
    if (this.#options.podsApi?.state === 'synced') {
      const { table, hurryMs } = this.#options;
      for (const uid of this.#lookup?.due(table.pendingPods(hurryMs)) ?? []) void this.#look(uid);
    }
    this.#schedule();
  }
}
