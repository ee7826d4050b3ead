/** What a run writes down about itself for the one after it. */

/** Counts of events by name of kind. */
export type KindCounts = Readonly<Record<string, number>>;

export interface Checkpoint {
  readonly run: string;
  readonly bootId: string;
  /** Boot clock, ns, when every probe was on; 0n: not yet. */
  readonly startNs: bigint;
  /** Boot clock and wall clock (ms since 1970) of this writing; of a run that was stopped: when it ceased to watch. */
  readonly timeNs: bigint;
  readonly wallMs: number;
  /** It was stopped in order, and this is its end. */
  readonly closed: boolean;
  /** Sequence of the next event, and of the oldest one that was in memory alone (the same: there was none). */
  readonly nextSeq: number;
  readonly oldestUnsafe: number;
  /** Seen by the kernel side and neither confirmed, lost, suppressed nor on disk: in rings, held, in memory. */
  readonly inMemory: KindCounts;
  /** What it had counted as lost, told or not. */
  readonly lost: readonly LossTotal[];
  /** What is stored behind this place was stored later. */
  readonly storedTo: { readonly segment: number; readonly at: number };
  /** Segments up to this one were read for a stream. */
  readonly readTo: number;
}

/** One line of its losses: the total so far. */
export interface LossTotal {
  readonly stage: string;
  readonly reason: string;
  readonly kind: string;
  readonly total: number;
  readonly unaccountable: boolean;
}

/** As plain JSON. */
export function checkpointValue({ startNs, timeNs, ...rest }: Checkpoint): object {
  return { version: 1, startNs: String(startNs), timeNs: String(timeNs), ...rest };
}

/** Undefined: not one, or of a version that this program does not know. */
export function parseCheckpoint(value: unknown): Checkpoint | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const read = value as Record<string, unknown>;
  const lost = lossesOf(read['lost']);
  const { run, bootId, wallMs, closed, nextSeq, oldestUnsafe, readTo } = read;
  const startNs = bigintOf(read['startNs']);
  const timeNs = bigintOf(read['timeNs']);
  const inMemory = countsOf(read['inMemory']);
  const { segment, at } = (countsOf(read['storedTo']) ?? {}) as Record<string, number | undefined>;
  if (read['version'] !== 1 || typeof run !== 'string' || typeof bootId !== 'string' || typeof closed !== 'boolean')
    return undefined;
  if (startNs === undefined || timeNs === undefined || inMemory === undefined || lost === undefined) return undefined;
  if (!isCount(wallMs) || !isCount(nextSeq) || !isCount(oldestUnsafe) || !isCount(readTo)) return undefined;
  if (segment === undefined || at === undefined) return undefined;
  const storedTo = { segment, at };
  return { run, bootId, startNs, timeNs, wallMs, closed, nextSeq, oldestUnsafe, inMemory, lost, storedTo, readTo };
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

function bigintOf(value: unknown): bigint | undefined {
  return typeof value === 'string' && /^\d{1,19}$/.test(value) ? BigInt(value) : undefined;
}

function countsOf(value: unknown): KindCounts | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const entries = Object.entries(value);
  return entries.every(([, count]) => isCount(count)) ? (value as KindCounts) : undefined;
}

function lossesOf(value: unknown): LossTotal[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const lost: LossTotal[] = [];
  for (const one of value as Record<string, unknown>[]) {
    const { stage, reason, kind, total, unaccountable } = one ?? {};
    if (typeof stage !== 'string' || typeof reason !== 'string' || typeof kind !== 'string') return undefined;
    if (!isCount(total) || typeof unaccountable !== 'boolean') return undefined;
    lost.push({ stage, reason, kind, total, unaccountable });
  }
  return lost;
}
