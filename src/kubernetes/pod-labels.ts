/** Which labels and annotations of a pod leave the node. */

import { shared } from './strings.ts';

export interface LabelRules {
  /** Whether a label is told. */
  readonly label: (name: string) => boolean;
  readonly annotation: (name: string) => boolean;
  /** Names and values of one pod's labels together, and of its annotations; what is over it is not told. */
  readonly maxBytes: number;
}

export const MAX_LABEL_BYTES = 4096;

/** All labels and no annotation, within 4 KiB. */
export const DEFAULT_LABEL_RULES: LabelRules = {
  label: () => true,
  annotation: () => false,
  maxBytes: MAX_LABEL_BYTES,
};

/** Kept for policies beyond what is told: a pod may have any number of labels. */
const MAX_UNTOLD_BYTES = 65_536;

type Labels = Readonly<Record<string, string>>;

export interface SortedLabels {
  readonly told: Labels;
  readonly untold: Labels;
}

const NONE: Labels = Object.freeze({});

/** Parts what is told from what is only known, in the order of names: so that the same ones are told each time. */
export function sortLabels(labels: Labels, isTold: (name: string) => boolean, maxBytes: number): SortedLabels {
  const told: [string, string][] = [];
  const untold: [string, string][] = [];
  let toldBytes = 0;
  let untoldBytes = 0;
  for (const entry of Object.entries(labels).sort(byName)) {
    const bytes = Buffer.byteLength(entry[0]) + Buffer.byteLength(entry[1]);
    if (toldBytes + bytes <= maxBytes && isTold(entry[0])) {
      toldBytes += bytes;
      told.push(entry);
    } else if (untoldBytes + bytes <= MAX_UNTOLD_BYTES) {
      untoldBytes += bytes;
      untold.push(entry);
    }
  }
  return { told: frozen(told), untold: frozen(untold) };
}

function byName([a]: [string, string], [b]: [string, string]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

// fromEntries defines own properties: a label may be called __proto__.
function frozen(entries: readonly [string, string][]): Labels {
  if (entries.length === 0) return NONE;
  return Object.freeze(Object.fromEntries(entries.map(([name, value]) => [name, shared(value)])));
}
