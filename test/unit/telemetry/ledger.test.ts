import { describe, expect, it } from 'vitest';
import { COUNTER_NAMES } from '../../../src/agent/kinds.ts';
import * as layout from '../../../src/kernel/layout.gen.ts';
import { ledgerSnapshot, noteKernelLosses } from '../../../src/telemetry/ledger.ts';
import { LossBook } from '../../../src/telemetry/losses.ts';

const ENTRIES = layout.KT_KIND_COUNT * layout.KT_REASON_COUNT;

/** Every reason of record.h but the notes, as the layout names it. */
const REASONS = Object.entries(layout).filter(([name]) => /^KT_(EMITTED|FILTERED|SAMPLED|SELF|LOST_\w+)$/.test(name));

describe('the loss book', () => {
  it('tells growth once, with totals and the span in which it was noticed', () => {
    const book = new LossBook(100n);
    book.note('kernel', 'ring_full', 'file.open', 5);
    const [first] = book.report(200n);
    expect(first).toEqual({
      stage: 'kernel',
      reason: 'ring_full',
      kind: 'file.open',
      count: 5,
      total: 5,
      firstTimeNs: 100n,
      lastTimeNs: 200n,
      unaccountable: false,
      firstSeq: 0,
      lastSeq: 0,
    });
    book.note('kernel', 'ring_full', 'file.open', 5);
    expect(book.report(300n)).toEqual([]);
    book.note('kernel', 'ring_full', 'file.open', 12);
    expect(book.report(400n)).toMatchObject([{ count: 7, total: 12, firstTimeNs: 300n, lastTimeNs: 400n }]);
  });

  it('says among which sequences the loss lies, where that is known', () => {
    const book = new LossBook(0n);
    book.note('queue', 'overflow', 'file.open', 3);
    book.note('kernel', 'ring_full', 'file.open', 3);
    const spans = new Map([['queue overflow', { firstSeq: 7, lastSeq: 12 }]]);
    expect(book.report(1n, spans)).toMatchObject([
      { stage: 'queue', firstSeq: 7, lastSeq: 12 },
      { stage: 'kernel', firstSeq: 0, lastSeq: 0 },
    ]);
  });

  it('keeps stages, reasons and kinds apart, and never goes back', () => {
    const book = new LossBook(0n);
    book.note('kernel', 'ring_full', 'file.open', 1);
    book.note('kernel', 'ring_full', 'file.close', 2);
    book.note('queue', 'ring_full', 'file.open', 3);
    expect(book.report(1n).map((record) => record.count)).toEqual([1, 2, 3]);
    book.note('kernel', 'ring_full', 'file.close', 1);
    expect(book.report(2n)).toEqual([]);
    expect(book.totals().reduce((sum, entry) => sum + entry.total, 0)).toBe(6);
  });
});

describe('the ledger', () => {
  it('balances: seen is the sum of all that can become of an event, and it forgets no reason of record.h', () => {
    const counters = new BigUint64Array(ENTRIES);
    let seen = 0;
    for (const [index, [, reason]] of REASONS.entries()) {
      counters[layout.KT_FILE_OPEN * layout.KT_REASON_COUNT + Number(reason)] = BigInt(10 ** index);
      seen += 10 ** index;
    }
    counters[layout.KT_FILE_OPEN * layout.KT_REASON_COUNT + layout.KT_SEEN] = BigInt(seen);
    const book = new LossBook(0n);
    noteKernelLosses(book, counters, COUNTER_NAMES);
    const user = { drained: 0, control: 0, encoded: 0, acked: 0, inFlight: 0, spooled: 0 };
    const line = ledgerSnapshot(counters, COUNTER_NAMES, user, book).kinds['file.open'];
    if (line === undefined) throw new Error('no line for file.open');
    const sum = (of: Readonly<Record<string, number>>) => Object.values(of).reduce((a, b) => a + b, 0);
    expect(line.emitted + sum(line.suppressed) + sum(line.lost)).toBe(line.seen);
    const told = book.report(1n);
    expect(told.reduce((total, record) => total + record.count, 0)).toBe(sum(line.lost));
    expect(new Set(told.map((record) => record.kind))).toEqual(new Set(['file.open']));
  });

  it('takes what a policy suppressed after the rings from the emitted', () => {
    const counters = new BigUint64Array(ENTRIES);
    const base = layout.KT_FILE_OPEN * layout.KT_REASON_COUNT;
    counters[base + layout.KT_SEEN] = 10n;
    counters[base + layout.KT_EMITTED] = 7n;
    counters[base + layout.KT_FILTERED] = 3n;
    const byPolicy = new Array<number>(layout.KT_KIND_COUNT).fill(0);
    byPolicy[layout.KT_FILE_OPEN] = 2;
    const user = { drained: 0, control: 0, encoded: 0, acked: 0, inFlight: 0, spooled: 0 };
    const { kinds } = ledgerSnapshot(counters, COUNTER_NAMES, user, new LossBook(0n), byPolicy);
    expect(kinds['file.open']).toMatchObject({ seen: 10, emitted: 5, suppressed: { filtered: 3, policy: 2 } });
  });
});
