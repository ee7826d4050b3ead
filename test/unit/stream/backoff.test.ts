import { describe, expect, it } from 'vitest';
import { Backoff } from '../../../src/stream/backoff.ts';

describe('Backoff', () => {
  it('doubles from min to max, spread over the upper half, and begins anew after a reset', () => {
    const low = new Backoff(500, 30_000, () => 0);
    const high = new Backoff(500, 30_000, () => 0.999_999);
    const delays = (backoff: Backoff): number[] => Array.from({ length: 8 }, () => backoff.next());
    expect(delays(low)).toEqual([500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000]);
    expect(delays(high)).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    for (let i = 0; i < 5000; i++) low.next();
    expect(low.next()).toBe(15_000);
    low.reset();
    expect(low.next()).toBe(500);
  });

  it('does not bring many back at once', () => {
    const first = new Set(Array.from({ length: 100 }, () => new Backoff(500, 30_000).next()));
    expect(first.size).toBeGreaterThan(50);
  });
});
