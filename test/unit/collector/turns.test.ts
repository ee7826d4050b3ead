import { describe, expect, test } from 'vitest';
import { Turns } from '../../../src/collector/turns.ts';

/** Occupies the thread. */
function work(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

describe('turns', () => {
  test('are taken one after another, in the order in which they were asked for', async () => {
    const turns = new Turns();
    const done: number[] = [];
    let now = 0;
    const take = (n: number) =>
      turns.take(async () => {
        expect(++now).toBe(1);
        await Promise.resolve();
        now--;
        done.push(n);
        return n;
      });
    expect(await Promise.all([take(1), take(2), take(3)])).toEqual([1, 2, 3]);
    expect(await take(4)).toBe(4);
    expect(done).toEqual([1, 2, 3, 4]);
  });

  test('let timers and the disk in between, however many wait', async () => {
    const turns = new Turns();
    let taken = 0;
    let seenAt: number | undefined;
    const all = Array.from({ length: 100 }, () =>
      turns.take(async () => {
        work(2);
        taken++;
      }),
    );
    setTimeout(() => {
      seenAt = taken;
    }, 1);
    await Promise.all(all);
    expect(seenAt).toBeLessThan(20);
  });

  test('that fail cost only the one whose they were', async () => {
    const turns = new Turns();
    const failed = turns.take(() => Promise.reject(new Error('mine')));
    const fine = turns.take(async () => 'done');
    await expect(failed).rejects.toThrow('mine');
    expect(await fine).toBe('done');
    expect(turns.waiting).toBe(0);
  });
});
