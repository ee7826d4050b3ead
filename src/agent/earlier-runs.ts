/** The books of runs that are over, as far as this run has something to add: what of theirs was lost since. */
import type { Delivery } from '../stream/delivery.ts';
import type { EarlierRuns, RunLoss } from '../telemetry/ledger.ts';
import { LossBook, type LossRecord } from '../telemetry/losses.ts';

export class EarlierRunsBook {
  readonly #client: Pick<Delivery, 'lost' | 'stored' | 'confirmedOfOthers'>;
  readonly #startNs: bigint;
  /** By run id in hex. */
  readonly #books = new Map<string, LossBook>();
  readonly #ended: RunLoss[] = [];

  constructor(client: Pick<Delivery, 'lost' | 'stored' | 'confirmedOfOthers'>, startNs: bigint) {
    this.#client = client;
    this.#startNs = startNs;
  }

  /** Events that went with a run, by kind: told by whoever found them out. */
  noteEnded(run: string, reason: string, missing: ReadonlyMap<string, number>): void {
    for (const [kind, total] of missing)
      this.#ended.push({ run, stage: 'run', reason, kind, total, unaccountable: false });
  }

  /** One record for each loss that grew since the last call. */
  report(nowNs: bigint): LossRecord[] {
    const records: LossRecord[] = [];
    for (const [run, losses] of this.#client.lost.others) {
      const book = this.#book(run);
      for (const { stage, reason, kind, total, unaccountable } of losses.totals()) {
        book.note(stage, reason, kind, total, unaccountable);
      }
      records.push(...book.report(nowNs, losses.takeSpans()).map((record) => ({ ...record, ofRun: run })));
    }
    return records;
  }

  /** Undefined: there is no spool. */
  read(): EarlierRuns | undefined {
    const { stored, confirmedOfOthers } = this.#client;
    if (stored === undefined) return undefined;
    const lost: RunLoss[] = [...this.#ended];
    for (const [run, book] of this.#books) lost.push(...book.totals().map((entry) => ({ run, ...entry })));
    return { spooled: stored.otherRunsEvents, acked: confirmedOfOthers, lost };
  }

  #book(run: string): LossBook {
    let book = this.#books.get(run);
    if (book === undefined) {
      book = new LossBook(this.#startNs);
      this.#books.set(run, book);
    }
    return book;
  }
}
