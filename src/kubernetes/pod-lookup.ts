/**
 * Single pods asked of the Pods API, with the manners that the kubelet asks for: one call for each pod however many want
 * it, few at once, one list in the place of many calls, and a "no" remembered for a while.
 */
import type { Pod } from './pods.ts';
import type { PodsApi } from './pods-api.ts';

/** Calls under way. */
const MAX_AT_ONCE = 4;
/** More pods than this that wait: all are read by one list. */
const MAX_WAITING = 8;
/** Between two lists. */
const LIST_MS = 500;
/** A pod that the kubelet does not have is not asked for again within this. */
const ABSENT_MS = 500;
/** Between two looks at a pod that stays pending: the first, and the longest. */
const FIRST_PAUSE_MS = 1000;
const LAST_PAUSE_MS = 16_000;
const MAX_REMEMBERED = 4096;

interface Waiting {
  readonly uid: string;
  readonly resolve: (pod: Pod | undefined) => void;
  readonly reject: (error: unknown) => void;
}

export class PodLookup {
  readonly #api: Pick<PodsApi, 'get' | 'list'>;
  readonly #now: () => number;
  readonly #running = new Map<string, Promise<Pod | undefined>>();
  readonly #waiting: Waiting[] = [];
  /** Until when a pod is not asked for again. */
  readonly #absent = new Map<string, number>();
  /** Of pods that stay pending: when to look again, and the pause after that. */
  readonly #looks = new Map<string, { at: number; pauseMs: number }>();
  #atOnce = 0;
  #lastList = Number.NEGATIVE_INFINITY;

  constructor(api: Pick<PodsApi, 'get' | 'list'>, now: () => number) {
    this.#api = api;
    this.#now = now;
  }

  /** Undefined: the kubelet has no such pod. Rejects with PodSourceError. */
  find(uid: string): Promise<Pod | undefined> {
    if ((this.#absent.get(uid) ?? 0) > this.#now()) return Promise.resolve(undefined);
    const running = this.#running.get(uid);
    if (running !== undefined) return running;
    const answer = new Promise<Pod | undefined>((resolve, reject) => {
      this.#waiting.push({ uid, resolve, reject });
    }).finally(() => this.#running.delete(uid));
    // Whoever asked sees the failure; nobody may have.
    answer.catch(() => {});
    this.#running.set(uid, answer);
    this.#pump();
    return answer;
  }

  /** Which of the pods that are pending are to be looked at now: each less and less often. */
  due(pending: Iterable<string>): string[] {
    const now = this.#now();
    const due: string[] = [];
    const still = new Set(pending);
    for (const uid of this.#looks.keys()) if (!still.has(uid)) this.#looks.delete(uid);
    for (const uid of still) {
      const look = this.#looks.get(uid) ?? { at: now + FIRST_PAUSE_MS, pauseMs: FIRST_PAUSE_MS };
      if (look.at <= now) {
        due.push(uid);
        look.pauseMs = Math.min(look.pauseMs * 2, LAST_PAUSE_MS);
        look.at = now + look.pauseMs;
      }
      if (this.#looks.size < MAX_REMEMBERED) this.#looks.set(uid, look);
    }
    return due;
  }

  /** The kubelet may be another by now. */
  forget(): void {
    this.#absent.clear();
  }

  #pump(): void {
    if (this.#waiting.length > MAX_WAITING && this.#now() - this.#lastList >= LIST_MS) void this.#listAll();
    while (this.#atOnce < MAX_AT_ONCE) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      void this.#get(next);
    }
  }

  async #get({ uid, resolve, reject }: Waiting): Promise<void> {
    this.#atOnce++;
    try {
      const pod = await this.#api.get(uid);
      if (pod === undefined) this.#noteAbsent(uid);
      resolve(pod);
    } catch (error) {
      reject(error);
    }
    this.#atOnce--;
    this.#pump();
  }

  async #listAll(): Promise<void> {
    this.#lastList = this.#now();
    const all = this.#waiting.splice(0);
    try {
      const pods = new Map((await this.#api.list('lookup')).map((pod) => [pod.uid, pod]));
      for (const { uid, resolve } of all) {
        if (!pods.has(uid)) this.#noteAbsent(uid);
        resolve(pods.get(uid));
      }
    } catch (error) {
      for (const { reject } of all) reject(error);
    }
  }

  #noteAbsent(uid: string): void {
    if (this.#absent.size >= MAX_REMEMBERED) this.#absent.clear();
    this.#absent.set(uid, this.#now() + ABSENT_MS);
  }
}
