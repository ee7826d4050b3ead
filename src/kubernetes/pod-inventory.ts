/** The pods of this node, as its sources tell them: all of one source at once, or one by one. */
import { isDeepStrictEqual } from 'node:util';
import type { PodSourceName } from './pod-source.ts';
import type { Pod, PodContainer } from './pods.ts';
import type { WorkloadTable } from './table.ts';
import { Turns } from './turns.ts';

export interface PodChange {
  /** seen: new or changed, the whole record; gone: no longer among the kubelet's pods, the last record. */
  readonly state: 'seen' | 'gone';
  readonly pod: Pod;
  /** Who told it. */
  readonly source: PodSourceName;
}

export interface PodInventoryOptions {
  readonly table: Pick<WorkloadTable, 'applyPods' | 'forgetPod' | 'hasLivingCgroup'>;
  readonly onPod: (change: PodChange) => void;
  /** A pod whose cgroups still live must be missing for as long to be gone: a kubelet that starts lists only some. */
  readonly graceMs: number;
  /** How long pods that are gone are remembered, for records that come late. */
  readonly keepGoneMs: number;
  /** How many of them. */
  readonly maxGone: number;
  /** Monotonic clock, ms. */
  readonly now: () => number;
}

interface Listed {
  pod: Pod;
  source: PodSourceName;
  /** When it was last told, in marks. */
  mark: number;
  /** When a whole list first did not have it any more. */
  missingSince: number | undefined;
}

export class PodInventory {
  readonly #options: PodInventoryOptions;
  readonly #listed = new Map<string, Listed>();
  /** By UID: when it went, oldest first. */
  readonly #gone = new Map<string, { readonly at: number; readonly mark: number }>();
  #mark = 0;

  constructor(options: PodInventoryOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#listed.size;
  }

  get goneSize(): number {
    return this.#gone.size;
  }

  pods(): Pod[] {
    return Array.from(this.#listed.values(), ({ pod }) => pod);
  }

  has(uid: string): boolean {
    return this.#listed.has(uid);
  }

  /** A place in the order of what is told: what comes later is newer than a list that is asked for now. */
  mark(): number {
    return ++this.#mark;
  }

  /** A pod as it is now. */
  upsert(told: Pod, source: PodSourceName): void {
    const known = this.#listed.get(told.uid);
    // The Pods API tells the end of a pod that is finished; lists have it until it is deleted at the API server.
    if (known === undefined && this.#gone.has(told.uid) && isFinished(told)) return;
    const mark = this.mark();
    if (known === undefined) {
      this.#gone.delete(told.uid);
      this.#listed.set(told.uid, { pod: told, source, mark, missingSince: undefined });
      this.#tell('seen', told, source);
      return;
    }
    known.mark = mark;
    known.missingSince = undefined;
    const pod = keepKnown(known.pod, told);
    if (isDeepStrictEqual(known.pod, pod)) return;
    known.pod = pod;
    known.source = source;
    this.#tell('seen', pod, source);
  }

  /** The kubelet has it no more. */
  remove(uid: string, source: PodSourceName): void {
    const known = this.#listed.get(uid);
    if (known === undefined) return;
    this.#listed.delete(uid);
    this.#gone.set(uid, { at: this.#options.now(), mark: this.mark() });
    this.#options.onPod({ state: 'gone', pod: known.pod, source });
  }

  /** A pod that was asked for at `mark`: what was told since then is newer than it. */
  answer(pod: Pod, source: PodSourceName, mark: number): void {
    const since = this.#listed.get(pod.uid)?.mark ?? this.#gone.get(pod.uid)?.mark ?? 0;
    if (since <= mark) this.upsert(pod, source);
  }

  /** A whole list, asked for at `mark`. The pods whose UIDs are `awaited` come first. */
  async list(pods: readonly Pod[], source: PodSourceName, mark: number, awaited?: ReadonlySet<string>): Promise<void> {
    // What is gone is told first: a new pod may have its address.
    this.keep(new Set(pods.map(({ uid }) => uid)), mark);
    // As they are awaited now: between two turns others may come to be.
    const waits = ({ uid }: Pod): number => Number(awaited?.has(uid) ?? false);
    const turns = new Turns();
    for (const pod of pods.toSorted((a, b) => waits(b) - waits(a))) {
      this.answer(pod, source, mark);
      await turns.giveWay();
    }
  }

  /** These were all the pods at `mark`: others, unless they were told since, are missing. */
  keep(uids: ReadonlySet<string>, mark: number): void {
    const now = this.#options.now();
    for (const [uid, known] of this.#listed) if (known.mark <= mark && !uids.has(uid)) known.missingSince ??= now;
    this.sweep();
  }

  /** Now and then: lets go of what is missing for long enough, and forgets what is long gone. */
  sweep(): void {
    const { graceMs, keepGoneMs, maxGone, table } = this.#options;
    const now = this.#options.now();
    for (const [uid, { missingSince, source }] of this.#listed) {
      if (missingSince === undefined) continue;
      if (now - missingSince >= graceMs || !table.hasLivingCgroup(uid)) this.remove(uid, source);
    }
    for (const [uid, { at }] of this.#gone) {
      if (now - at < keepGoneMs && this.#gone.size <= maxGone) break;
      this.#gone.delete(uid);
      table.forgetPod(uid);
    }
  }

  #tell(state: 'seen', pod: Pod, source: PodSourceName): void {
    this.#options.table.applyPods([pod]);
    this.#options.onPod({ state, pod, source });
  }
}

function isFinished({ phase }: Pod): boolean {
  return phase === 'Succeeded' || phase === 'Failed';
}

/**
 * A pod as told now, without what was known and is not told for the moment: HTTPS /pods lags behind the Pods API, and a
 * postStart hook withholds statuses. What is the same stays the same object.
 */
function keepKnown(known: Pod, told: Pod): Pod {
  const containers = told.containers.map((container, i) => {
    // Nearly always they stand where they stood.
    const same = known.containers[i];
    const before = same?.name === container.name ? same : known.containers.find(({ name }) => name === container.name);
    return keepContainer(before, container);
  });
  const ips = told.ips.length === 0 && !isFinished(told) ? known.ips : told.ips;
  return { ...told, ips, startedAt: told.startedAt || known.startedAt, containers };
}

function keepContainer(known: PodContainer | undefined, told: PodContainer): PodContainer {
  if (known === undefined || known.type !== told.type || told.id !== '' || known.id === '') return told;
  // It may be the next instance that is waited for: then its status says so.
  if (told.restartCount > known.restartCount || told.previousIds.includes(known.id)) return told;
  const { id, runtime, imageDigest, restartCount, startedAt, finishedAt, previousIds } = known;
  return { ...told, id, runtime, imageDigest, restartCount, startedAt, finishedAt, previousIds };
}
