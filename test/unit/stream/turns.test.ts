import { describe, expect, it } from 'vitest';
import { type Lane, Turns } from '../../../src/stream/turns.ts';

/** Bytes that each lane sends of so many turns, with messages of these lengths. */
function sendAll(turns: Turns, count: number, live: number, backlog: number): Record<Lane, number> {
  const sent = { live: 0, backlog: 0 };
  for (let i = 0; i < count; i++) {
    const lane = turns.next(live, backlog);
    if (lane === undefined) throw new Error('nobody has a turn');
    sent[lane] += lane === 'live' ? live : backlog;
  }
  return sent;
}

describe('turns', () => {
  it.each([
    [0.5, 1000, 1000],
    [0.5, 64_000, 900],
    [0.2, 1000, 5000],
    [0.9, 700, 700],
  ])('give the backlog its share of the bytes (%d), whatever the lengths', (share, live, backlog) => {
    const sent = sendAll(new Turns(share), 20_000, live, backlog);
    expect(sent.backlog / (sent.live + sent.backlog)).toBeCloseTo(share, 2);
  });

  it('give everything to the lane that alone has something', () => {
    const turns = new Turns(0.5);
    for (let i = 0; i < 10; i++) expect(turns.next(undefined, 10)).toBe('backlog');
    for (let i = 0; i < 10; i++) expect(turns.next(10, undefined)).toBe('live');
    expect(turns.next(undefined, undefined)).toBeUndefined();
    // And it owes nothing for that.
    const sent = sendAll(turns, 1000, 10, 10);
    expect(Math.abs(sent.live - sent.backlog)).toBeLessThanOrEqual(20);
  });

  it('know the ends: never, and always first', () => {
    expect(sendAll(new Turns(0), 100, 10, 10)).toEqual({ live: 1000, backlog: 0 });
    expect(sendAll(new Turns(1), 100, 10, 10)).toEqual({ live: 0, backlog: 1000 });
  });
});
