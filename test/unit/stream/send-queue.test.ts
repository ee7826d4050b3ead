import { describe, expect, it } from 'vitest';
import type { EncodedBatch } from '../../../src/stream/batch.ts';
import { BufferPool } from '../../../src/stream/buffer-pool.ts';
import { type Pending, SendQueue } from '../../../src/stream/send-queue.ts';

const SIZE = 4096;
const batchOf = (pool: BufferPool, firstSeq: number): EncodedBatch => {
  const buffer = pool.take(SIZE).fill(firstSeq);
  return { buffer, length: 100, firstSeq, events: 2, kinds: new Uint32Array(4) };
};
const queueOf = (batches: number): { queue: SendQueue; pool: BufferPool } => {
  const pool = new BufferPool();
  const queue = new SendQueue(pool);
  for (let i = 0; i < batches; i++) queue.push(batchOf(pool, i * 2 + 1));
  return { queue, pool };
};
const sent = (queue: SendQueue, streamSeq: number): Pending => {
  const pending = queue.send(streamSeq);
  if (pending === undefined) throw new Error('nothing to send');
  return pending;
};
const firsts = (pending: Pending[]): number[] => pending.map(({ batch }) => batch.firstSeq);

describe('SendQueue', () => {
  it('gives a buffer back only after its write and its confirmation, in either order', () => {
    const { queue, pool } = queueOf(2);
    const [first, second] = [sent(queue, 1), sent(queue, 2)];
    expect(firsts(queue.confirm(1))).toEqual([1]);
    expect(pool.idleBytes).toBe(0);
    queue.written(first);
    expect(pool.idleBytes).toBe(SIZE);
    queue.written(second);
    expect(pool.idleBytes).toBe(SIZE);
    queue.confirm(2);
    expect(pool.idleBytes).toBe(2 * SIZE);
    expect(queue.depth).toEqual({ batches: 0, events: 0, bytes: 0 });
  });

  it('sends from a copy what a dead stream may still be writing', () => {
    const { queue, pool } = queueOf(1);
    const old = sent(queue, 1);
    queue.rewind();
    const again = sent(queue, 1);
    expect(again.batch.buffer).not.toBe(old.batch.buffer);
    expect(again.batch.buffer.equals(old.batch.buffer)).toBe(true);
    queue.written(old);
    queue.confirm(1);
    expect(pool.idleBytes).toBe(0);
    queue.written(again);
    expect(pool.idleBytes).toBe(SIZE);
    expect(pool.take(SIZE)).toBe(again.batch.buffer);
  });

  it('sends from the same buffer what was written', () => {
    const { queue } = queueOf(1);
    const old = sent(queue, 1);
    queue.written(old);
    queue.rewind();
    expect(sent(queue, 5).batch.buffer).toBe(old.batch.buffer);
  });

  it('keeps the order through confirmations, refusals, drops and new streams', () => {
    const { queue } = queueOf(6);
    for (const streamSeq of [1, 2, 3, 4]) sent(queue, streamSeq);
    expect(queue.inFlightBytes).toBe(4 * SIZE);
    expect(firsts(queue.confirm(1))).toEqual([1]);
    expect(queue.take(3)?.batch.firstSeq).toBe(5);
    expect(queue.take(3)).toBeUndefined();
    expect(queue.dropOldestUnsent()?.batch.firstSeq).toBe(9);
    expect(queue.confirm(0)).toEqual([]);
    queue.rewind();
    expect(queue.inFlightBytes).toBe(0);
    expect(firsts([sent(queue, 1), sent(queue, 2), sent(queue, 3)])).toEqual([3, 7, 11]);
    expect(queue.send(4)).toBeUndefined();
    expect(firsts(queue.confirm(2 ** 40))).toEqual([3, 7, 11]);
    expect(queue.dropOldestUnsent()).toBeUndefined();
    expect(queue.depth).toEqual({ batches: 0, events: 0, bytes: 0 });
    expect(queue.inFlightBytes).toBe(0);
  });
});
