/** Who lost it: where in the path from the hook to the collector's disk. */
export type LossStage = 'kernel' | 'decode' | 'hold' | 'queue' | 'spool' | 'collector' | 'otlp' | 'run';

/** One kerntap.loss record: the shape of kerntap.v1.Loss. Counts are events; times ns of the boot clock. */
export interface LossRecord {
  readonly stage: LossStage;
  readonly reason: string;
  /** Kind of the lost events; empty: mixed or not known. */
  readonly kind: string;
  /** Since the last record of the same stage, reason and kind. */
  readonly count: number;
  /** In this run. */
  readonly total: number;
  readonly firstTimeNs: bigint;
  readonly lastTimeNs: bigint;
  /** The count is a lower bound. */
  readonly unaccountable: boolean;
  /** They are among these sequences; 0: not known, or they had none. */
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** In hex: the run whose loss it is, where it is over. */
  readonly ofRun?: string;
}

/** Sequences among which what is told now lies, by `stage reason`. */
export type LossSpans = ReadonlyMap<string, { readonly firstSeq: number; readonly lastSeq: number }>;

interface Entry {
  readonly stage: LossStage;
  readonly reason: string;
  readonly kind: string;
  unaccountable: boolean;
  total: number;
  reported: number;
}

/**
 * Every cumulative loss of a run, and which part of it was told already. Sources keep plain counters that only grow;
 * the book turns growth into records. Totals are in every record, so that a lost record loses nothing.
 */
export class LossBook {
  readonly #entries = new Map<string, Entry>();
  #lastReportNs: bigint;

  /** `startNs`: boot clock at which counting began. */
  constructor(startNs: bigint) {
    this.#lastReportNs = startNs;
  }

  /** Tells the present total of one counter. Going backwards is ignored: totals are monotonic by contract. */
  note(stage: LossStage, reason: string, kind: string, total: number, unaccountable = false): void {
    if (total === 0) return;
    const key = `${stage}\n${reason}\n${kind}`;
    const entry = this.#entries.get(key);
    if (entry === undefined) {
      this.#entries.set(key, { stage, reason, kind, unaccountable, total, reported: 0 });
    } else {
      entry.total = Math.max(entry.total, total);
      entry.unaccountable ||= unaccountable;
    }
  }

  /** One record for each counter that grew since the last call; `nowNs`: boot clock. */
  report(nowNs: bigint, spans: LossSpans = new Map()): LossRecord[] {
    const records: LossRecord[] = [];
    for (const entry of this.#entries.values()) {
      if (entry.total === entry.reported) continue;
      records.push({
        stage: entry.stage,
        reason: entry.reason,
        kind: entry.kind,
        count: entry.total - entry.reported,
        total: entry.total,
        firstTimeNs: this.#lastReportNs,
        lastTimeNs: nowNs,
        unaccountable: entry.unaccountable,
        ...(spans.get(`${entry.stage} ${entry.reason}`) ?? { firstSeq: 0, lastSeq: 0 }),
      });
      entry.reported = entry.total;
    }
    this.#lastReportNs = nowNs;
    return records;
  }

  /** Totals of this run; told or not. */
  totals(): { stage: LossStage; reason: string; kind: string; total: number; unaccountable: boolean }[] {
    return [...this.#entries.values()].map(({ stage, reason, kind, total, unaccountable }) => ({
      stage,
      reason,
      kind,
      total,
      unaccountable,
    }));
  }
}
