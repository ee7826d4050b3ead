/**
 * The kubelet's Pods API (KEP-4188) as a source: watches, asks for single pods and, now and then, for all of them. The
 * socket may come late, be replaced by a kubelet's restart, or never be there: it is tried for ever.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { decodeV1Pod, decodeWatchPodsEvent, POD_EVENT } from '../../proto/kubelet-pods.ts';
import { MAX_REPLY_BYTES } from './kubelet.ts';
import { DEFAULT_LABEL_RULES, type LabelRules } from './pod-labels.ts';
import { PodShapeError, parsePod, parsePodUid } from './pod-projection.ts';
import { blankStatus, PodSourceError, type PodSourceStatus } from './pod-source.ts';
import type { Pod } from './pods.ts';
import { PodsApiClient } from './pods-api-client.ts';
import { Turns } from './turns.ts';

export const PODS_API_DIR = '/var/lib/kubelet/pods-api';
export const PODS_API_SOCKET = 'pods-api.sock';

/**
 * absent: there is no socket; connecting, syncing: not all pods are known yet; synced: all are, and changes are told;
 * failed: it is tried again after a pause.
 */
export type PodsApiState = 'absent' | 'connecting' | 'syncing' | 'synced' | 'failed';

/** Pauses between attempts. */
export interface Retry {
  next(): number;
  reset(): void;
}

export interface PodsApiOptions {
  /** Folder of the socket; a kubelet that starts replaces the socket in it. */
  readonly dir?: string;
  readonly retry: Retry;
  readonly rules?: LabelRules;
  /** Of a reply; default 32 MiB. */
  readonly maxBytes?: number;
  /** For a whole reply; default 5,000. */
  readonly timeoutMs?: number;
  /** For all pods to be told after a watch began; default 10,000. */
  readonly syncMs?: number;
  /** Between looks whether a socket is there; default 2,000. */
  readonly absentMs?: number;
  /** Between lists: not every change of labels is pushed, and an event may be dropped. Default 5 min, less or more a fifth. */
  readonly reconcileMs?: number;
}

export interface PodsApiListener {
  state(state: PodsApiState): void;
  /** Whatever is told from now on is newer than a list that is asked for now. */
  mark(): number;
  pod(pod: Pod): void;
  gone(uid: string): void;
  /** All pods there are, as of `mark`: what is not among them is gone. */
  all(uids: ReadonlySet<string>, mark: number): void;
  /** A whole list as of `mark`. */
  list(pods: readonly Pod[], mark: number): Promise<void>;
}

export class PodsApi {
  readonly #options: Required<PodsApiOptions>;
  readonly #socketPath: string;
  #listener: PodsApiListener | undefined;
  #client: PodsApiClient | undefined;
  #cancelWatch: () => void = () => {};
  #state: PodsApiState = 'absent';
  #status: PodSourceStatus;
  #attemptTimer: NodeJS.Timeout | undefined;
  #syncTimer: NodeJS.Timeout | undefined;
  #reconcileTimer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: PodsApiOptions) {
    this.#options = {
      dir: PODS_API_DIR,
      rules: DEFAULT_LABEL_RULES,
      maxBytes: MAX_REPLY_BYTES,
      timeoutMs: 5000,
      syncMs: 10_000,
      absentMs: 2000,
      reconcileMs: 5 * 60_000,
      ...options,
    };
    this.#socketPath = join(this.#options.dir, PODS_API_SOCKET);
    this.#status = blankStatus('pods-api', `unix:${this.#socketPath}`);
  }

  get state(): PodsApiState {
    return this.#state;
  }

  status(): PodSourceStatus {
    return this.#status;
  }

  start(listener: PodsApiListener): void {
    this.#listener = listener;
    this.#attempt();
  }

  stop(): void {
    this.#stopped = true;
    this.#disconnect();
    clearTimeout(this.#attemptTimer);
  }

  /** A pod by its UID; undefined: the kubelet has none. Rejects with PodSourceError. */
  async get(uid: string): Promise<Pod | undefined> {
    return this.#call(`pod ${uid}`, async (client) => {
      const bytes = await client.get(uid);
      return bytes === undefined ? undefined : this.#pod(bytes);
    });
  }

  /** All pods. Rejects with PodSourceError. */
  async list(reason: string): Promise<readonly Pod[]> {
    const started = performance.now();
    const { pods, bytes } = await this.#call(reason, async (client) => {
      const turns = new Turns();
      const all: Pod[] = [];
      let size = 0;
      for (const each of await client.list()) {
        size += each.length;
        const pod = this.#pod(each);
        if (pod !== undefined) all.push(pod);
        await turns.giveWay();
      }
      return { pods: all, bytes: size };
    });
    this.#note({ lastPods: pods.length, lastBytes: bytes, lastDurationMs: performance.now() - started });
    return pods;
  }

  async #call<T>(reason: string, call: (client: PodsApiClient) => Promise<T>): Promise<T> {
    const client = this.#client;
    if (client === undefined) throw new PodSourceError('unreachable', `no connection to ${this.#socketPath}`);
    this.#note({ requests: this.#status.requests + 1, lastReason: reason });
    try {
      const answer = await call(client);
      this.#note({ lastOkMs: Date.now(), lastError: '', lastErrorKind: undefined, consecutiveFailures: 0 });
      return answer;
    } catch (error) {
      throw this.#failed(error);
    }
  }

  #attempt(): void {
    if (this.#stopped) return;
    if (!isSocket(this.#socketPath)) {
      this.#become('absent');
      this.#attemptIn(this.#options.absentMs);
      return;
    }
    const { maxBytes, timeoutMs, syncMs } = this.#options;
    const client = new PodsApiClient({ socketPath: this.#socketPath, maxBytes, timeoutMs });
    this.#client = client;
    if (this.#state !== 'failed') this.#become('connecting');
    const mark = this.#listener?.mark() ?? 0;
    const seen = new Set<string>();
    this.#note({ requests: this.#status.requests + 1, lastReason: 'watch' });
    this.#cancelWatch = client.watch({
      event: (frame) => this.#event(frame, seen, mark),
      end: (error) => this.#lost(error),
    });
    this.#syncTimer = setTimeout(() => void this.#syncByList(mark), syncMs);
    this.#syncTimer.unref();
  }

  #event(frame: Buffer, seen: Set<string>, mark: number): void {
    let event: ReturnType<typeof decodeWatchPodsEvent>;
    try {
      event = decodeWatchPodsEvent(frame);
    } catch (error) {
      this.#lost(new PodSourceError('reply', `what ${this.#socketPath} tells is no event of pods: ${String(error)}`));
      return;
    }
    if (this.#state !== 'synced') this.#become('syncing');
    switch (event.type) {
      case POD_EVENT.ADDED:
      case POD_EVENT.MODIFIED: {
        const pod = this.#pod(event.pod);
        if (pod === undefined) return;
        if (this.#state !== 'synced') seen.add(pod.uid);
        this.#note({ lastOkMs: Date.now() });
        this.#listener?.pod(pod);
        break;
      }
      case POD_EVENT.DELETED: {
        const uid = this.#uid(event.pod);
        if (uid !== undefined) this.#listener?.gone(uid);
        break;
      }
      case POD_EVENT.INITIAL_SYNC_COMPLETE:
        this.#note({ lastPods: seen.size });
        this.#listener?.all(seen, mark);
        this.#synced();
        break;
    }
  }

  /** An early kubelet never says that it told all: a list does. */
  async #syncByList(mark: number): Promise<void> {
    const client = this.#client;
    try {
      const pods = await this.list('sync');
      if (client !== this.#client || this.#stopped) return;
      await this.#listener?.list(pods, mark);
      this.#synced();
    } catch (error) {
      if (client === this.#client && !this.#stopped) this.#lost(asFailure(error), true);
    }
  }

  #synced(): void {
    clearTimeout(this.#syncTimer);
    this.#options.retry.reset();
    this.#note({
      reachable: true,
      lastOkMs: Date.now(),
      lastError: '',
      lastErrorKind: undefined,
      consecutiveFailures: 0,
    });
    this.#become('synced');
    this.#reconcileLater();
  }

  #reconcileLater(): void {
    clearTimeout(this.#reconcileTimer);
    const ms = this.#options.reconcileMs * (0.8 + Math.random() * 0.4);
    this.#reconcileTimer = setTimeout(() => void this.#reconcile(), ms);
    this.#reconcileTimer.unref();
  }

  async #reconcile(): Promise<void> {
    const client = this.#client;
    const mark = this.#listener?.mark() ?? 0;
    try {
      const pods = await this.list('reconcile');
      if (client !== this.#client || this.#stopped) return;
      await this.#listener?.list(pods, mark);
    } catch (error) {
      // A kubelet that hangs leaves the watch open: only a call that is not answered shows it.
      if (client === this.#client && !this.#stopped && error instanceof PodSourceError && error.kind === 'timeout') {
        this.#lost(error, true);
        return;
      }
    }
    if (client === this.#client && !this.#stopped) this.#reconcileLater();
  }

  /** `counted`: the failure is noted already. */
  #lost(error: PodSourceError, counted = false): void {
    if (this.#stopped) return;
    this.#disconnect();
    if (!counted) this.#failed(error);
    this.#note({ reachable: false });
    this.#become('failed');
    this.#attemptIn(this.#options.retry.next());
  }

  #disconnect(): void {
    clearTimeout(this.#syncTimer);
    clearTimeout(this.#reconcileTimer);
    this.#cancelWatch();
    this.#cancelWatch = () => {};
    this.#client?.close();
    this.#client = undefined;
  }

  #attemptIn(ms: number): void {
    this.#attemptTimer = setTimeout(() => this.#attempt(), ms);
    this.#attemptTimer.unref();
  }

  #become(state: PodsApiState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#listener?.state(state);
  }

  /** Undefined, and counted: these bytes are no pod. */
  #pod(bytes: Uint8Array): Pod | undefined {
    try {
      return parsePod(decodeV1Pod(bytes), '$', this.#options.rules);
    } catch (error) {
      return this.#skip(error);
    }
  }

  #uid(bytes: Uint8Array): string | undefined {
    try {
      return parsePodUid(decodeV1Pod(bytes));
    } catch (error) {
      return this.#skip(error);
    }
  }

  #skip(error: unknown): undefined {
    const problem = error instanceof PodShapeError ? error.message : `not a v1.Pod: ${String(error)}`;
    this.#note({ skippedPods: this.#status.skippedPods + 1, firstSkipped: this.#status.firstSkipped || problem });
    return undefined;
  }

  #failed(error: unknown): PodSourceError {
    const failure = asFailure(error);
    const { failures, consecutiveFailures } = this.#status;
    this.#note({
      lastError: failure.message,
      lastErrorKind: failure.kind,
      failures: { ...failures, [failure.kind]: failures[failure.kind] + 1 },
      consecutiveFailures: consecutiveFailures + 1,
    });
    return failure;
  }

  #note(change: Partial<PodSourceStatus>): void {
    this.#status = { ...this.#status, ...change };
  }
}

export function isSocket(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isSocket() === true;
}

function asFailure(error: unknown): PodSourceError {
  return error instanceof PodSourceError ? error : new PodSourceError('reply', String(error));
}
