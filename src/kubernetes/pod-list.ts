import type { LabelRules } from './pod-labels.ts';
import { PodListError, PodListSplitter } from './pod-list-splitter.ts';
import { PodShapeError, parsePod } from './pod-projection.ts';
import type { Pod } from './pods.ts';
import type { Turns } from './turns.ts';

export interface PodList {
  readonly pods: readonly Pod[];
  /** Items left out because they do not read as a pod. */
  readonly skipped: number;
  /** Of the first of them: path and problem; '' where none was left out. */
  readonly firstProblem: string;
  readonly bytes: number;
}

export interface PodListOptions {
  readonly rules: LabelRules;
  /** Gives way to others between two pods. */
  readonly turns: Turns;
}

const MAX_POD_BYTES = 4 << 20;

/**
 * Reads a v1.PodList as the kubelet's /pods gives it, while it arrives, keeping only what is needed. Throws PodListError
 * or SyntaxError where the whole is no such list; single items that are no pods are left out and counted.
 */
export async function readPodList(body: AsyncIterable<Buffer>, { rules, turns }: PodListOptions): Promise<PodList> {
  const splitter = new PodListSplitter(MAX_POD_BYTES);
  const pods: Pod[] = [];
  let skipped = 0;
  let firstProblem = '';
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    for (const item of splitter.push(chunk)) {
      try {
        pods.push(parsePod(JSON.parse(item.toString('utf8')), `$.items[${splitter.items - 1}]`, rules));
      } catch (error) {
        if (!(error instanceof PodShapeError)) throw error;
        skipped++;
        firstProblem ||= error.message;
      }
      await turns.giveWay();
    }
    await turns.giveWay();
  }
  const junk = itemsOf(splitter.end()) - splitter.items;
  if (junk > 0) firstProblem ||= '$.items: has items that are no objects';
  return { pods, skipped: skipped + junk, firstProblem, bytes };
}

/** How many items the list has. */
function itemsOf(frame: unknown): number {
  const list = typeof frame === 'object' && frame !== null ? (frame as Readonly<Record<string, unknown>>) : {};
  const kind: unknown = list['kind'];
  if (kind !== 'PodList') throw new PodListError(`$.kind: is ${JSON.stringify(kind) ?? 'missing'}, not PodList`);
  // Go writes an empty slice as null.
  const items: unknown = list['items'] ?? [];
  if (!Array.isArray(items)) throw new PodListError('$.items: is not a list');
  return items.length;
}
