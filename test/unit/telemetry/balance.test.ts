import { describe, expect, it } from 'vitest';
import { type BalanceInput, balanceOf } from '../../../src/telemetry/balance.ts';

const KINDS = ['process.exec', 'file.open'];

/** 100 opens: 30 filtered, 5 lost in the kernel; of 65 in the ring 1 was refused, 2 are held, 60 sent, 50 confirmed. */
const BOOKS: BalanceInput = {
  eventKinds: KINDS,
  ledger: {
    kinds: {
      'process.exec': { seen: 10, emitted: 10, suppressed: {}, lost: {}, notes: {} },
      'file.open': { seen: 100, emitted: 65, suppressed: { filtered: 30 }, lost: { ring_full: 5 }, notes: {} },
      cgroup: { seen: 4, emitted: 3, suppressed: {}, lost: {}, notes: {} },
    },
    lost: [],
  },
  ringBytes: 0,
  drained: 75,
  skipped: 0,
  held: 2,
  encoded: 72,
  refused: new Map([['file.open', 1]]),
  // One of the agent's own among them.
  sequences: 73,
  openBatch: 3,
  accepted: new Map([
    ['process.exec', 9],
    ['file.open', 60],
    ['kerntap.probe', 1],
  ]),
  confirmed: new Map([
    ['process.exec', 9],
    ['file.open', 50],
    ['kerntap.probe', 1],
  ]),
  undelivered: new Map([['file.open', 4]]),
  queued: 6,
};

describe('the balance', () => {
  it('accounts for every event, kind by kind', () => {
    const { kinds, gaps, balances } = balanceOf(BOOKS);
    expect(gaps).toEqual([]);
    expect(balances).toBe(true);
    expect(kinds).toEqual([
      { kind: 'process.exec', seen: 10, suppressed: 0, lost: 0, delivered: 9, inFlight: 1 },
      { kind: 'file.open', seen: 100, suppressed: 30, lost: 10, delivered: 50, inFlight: 10 },
    ]);
    for (const { seen, suppressed, lost, delivered, inFlight } of kinds) {
      expect(suppressed + lost + delivered + inFlight).toBe(seen);
    }
    // In flight is what is held, in the open batch (but for the agent's own) and on the stream.
    expect(kinds.reduce((sum, { inFlight }) => sum + inFlight, 0)).toBe(2 + 3 + 6);
  });

  it.each<[string, Partial<BalanceInput>, number]>([
    ['ring', { drained: 74, encoded: 71 }, 1],
    ['encoder', { held: 1 }, 1],
    ['batch', { openBatch: 2 }, 1],
    ['stream', { queued: 9 }, -3],
  ])('finds what is missing at the %s', (at, change, events) => {
    const { gaps, balances } = balanceOf({ ...BOOKS, ...change });
    expect(balances).toBe(false);
    expect(gaps).toContainEqual({ at, events });
  });

  it('has every event that was handed to one way handed to the other, and each way explain its own', () => {
    const given = [...BOOKS.accepted.values()].reduce((sum, count) => sum + count, 0);
    const otlp = {
      accepted: given,
      confirmed: given - 7,
      inFlight: 4,
      lost: [
        { reason: 'rejected', kind: '', total: 2 },
        { reason: 'overflow', kind: 'file.open', total: 1 },
      ],
    };
    expect(balanceOf({ ...BOOKS, otlp }).gaps).toEqual([]);
    expect(balanceOf({ ...BOOKS, otlp: { ...otlp, inFlight: 3 } }).gaps).toEqual([{ at: 'otlp', events: 1 }]);
    const behind = { ...otlp, accepted: given - 5, confirmed: given - 12 };
    expect(balanceOf({ ...BOOKS, otlp: behind }).gaps).toEqual([{ at: 'batch', events: 5 }]);
  });

  it('takes back what the collector refused of batches of several kinds', () => {
    const confirmed = new Map([...BOOKS.confirmed, ['', -3]] as const);
    const undelivered = new Map([...BOOKS.undelivered, ['', 3]] as const);
    const { kinds, balances } = balanceOf({ ...BOOKS, confirmed, undelivered });
    expect(balances).toBe(true);
    expect(kinds.at(-1)).toEqual({ kind: '', seen: 0, suppressed: 0, lost: 3, delivered: -3, inFlight: 0 });
  });

  it('finds an act that no counter of the kernel explains', () => {
    const line = { seen: 12, emitted: 10, suppressed: {}, lost: {}, notes: {} };
    const ledger = { ...BOOKS.ledger, kinds: { ...BOOKS.ledger.kinds, 'process.exec': line } };
    expect(balanceOf({ ...BOOKS, ledger }).gaps).toEqual([{ at: 'hook', events: 2 }]);
  });

  it('lets events be in a ring while one has bytes, and only then', () => {
    const waiting = { ...BOOKS, drained: 70, encoded: 67, sequences: 68, openBatch: -2 };
    expect(balanceOf({ ...waiting, ringBytes: 640 }).gaps).toEqual([]);
    expect(balanceOf({ ...waiting, ringBytes: 0 }).gaps).toEqual([{ at: 'ring', events: 5 }]);
  });

  it('knows that what a policy suppressed was taken from a ring first', () => {
    const line = { seen: 100, emitted: 60, suppressed: { filtered: 30, policy: 5 }, lost: { ring_full: 5 }, notes: {} };
    const ledger = { ...BOOKS.ledger, kinds: { ...BOOKS.ledger.kinds, 'file.open': line } };
    expect(balanceOf({ ...BOOKS, ledger, encoded: 67 }).gaps).toEqual([]);
  });
});
