import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FRAME_HEADROOM } from '../../../../src/stream/batch.ts';
import { BufferPool } from '../../../../src/stream/buffer-pool.ts';
import { frameHeadBytes } from '../../../../src/stream/spool/format.ts';
import type { SpoolLoss } from '../../../../src/stream/spool/losses.ts';
import { recoverSegment } from '../../../../src/stream/spool/recovery.ts';
import { KINDS_WRITTEN } from '../../../../src/stream/spool/segment.ts';
import { SpoolReader } from '../../../../src/stream/spool/spool-reader.ts';
import { framesOf, RUN_A, SpoolRig } from './stored.ts';

const FRAMES = 5;
const EVENTS = 3;
const BATCH_BYTES = 60;
const FRAME_BYTES = frameHeadBytes(KINDS_WRITTEN.length) + BATCH_BYTES;

let rig: SpoolRig;
let path: string;
let whole: Buffer;
/** Where the first frame begins. */
let start: number;

beforeAll(async () => {
  rig = new SpoolRig();
  const spool = rig.open(RUN_A);
  expect(await spool.append(framesOf(FRAMES, EVENTS, BATCH_BYTES))).toBe(true);
  await spool.close(2000);
  path = join(rig.dir, 'spool', rig.segments()[0] ?? '');
  whole = readFileSync(path);
  start = whole.length - FRAMES * FRAME_BYTES;
});
afterAll(() => rig.close());

/** Sequences of the batches that are read from these bytes, and what is told as lost. Every batch is what was written. */
async function readBack(bytes: Buffer, last = true): Promise<{ read: number[]; lost: SpoolLoss[] }> {
  writeFileSync(path, bytes);
  const lost: SpoolLoss[] = [];
  const tell = (loss: SpoolLoss): void => void lost.push(loss);
  const found = { number: 1, run: RUN_A, path, bytes: bytes.length };
  const segment = await recoverSegment(found, last, { lost: tell, frame: () => {} });
  const read: number[] = [];
  if (segment === undefined) return { read, lost };
  const reader = new SpoolReader(tell);
  const pool = new BufferPool();
  for (let batch = await reader.next(segment, pool); batch !== undefined; batch = await reader.next(segment, pool)) {
    const { firstSeq, events, buffer, length, kinds } = batch;
    const written = framesOf(FRAMES, EVENTS, BATCH_BYTES).find((frame) => frame.firstSeq === firstSeq);
    expect(written).toMatchObject({ events });
    expect(Array.from(kinds)).toEqual(Array.from(written?.kinds ?? []));
    const node = length - BATCH_BYTES;
    expect(buffer.subarray(FRAME_HEADROOM, FRAME_HEADROOM + BATCH_BYTES).equals(written?.bytes ?? Buffer.of())).toBe(
      true,
    );
    expect(buffer.subarray(FRAME_HEADROOM + BATCH_BYTES, FRAME_HEADROOM + length).toString()).toBe(`node of ${RUN_A}`);
    expect(node).toBeGreaterThan(0);
    read.push(firstSeq);
  }
  await reader.leave();
  return { read, lost };
}

const firsts = (from: number, to: number): number[] =>
  Array.from({ length: Math.max(0, to - from) }, (_, i) => 1 + (from + i) * EVENTS);

describe('a segment that was cut', () => {
  it('gives every frame that is whole and no other, wherever it ends', async () => {
    for (let end = 0; end < whole.length; end++) {
      const { read, lost } = await readBack(whole.subarray(0, end));
      expect(read, `cut at ${end}`).toEqual(firsts(0, Math.max(0, Math.floor((end - start) / FRAME_BYTES))));
      // The run ended there: what it had not written was never here.
      expect(lost, `cut at ${end}`).toEqual([]);
    }
  }, 60_000);

  it('is a loss where its run went on after it', async () => {
    const { read, lost } = await readBack(whole.subarray(0, whole.length - 1), false);
    expect(read).toEqual(firsts(0, FRAMES - 1));
    expect(lost).toMatchObject([{ reason: 'corrupt', unaccountable: true, firstSeq: 13, lastSeq: 0 }]);
  });
});

describe('a segment with a flipped byte', () => {
  it.each([0xff, 0x01, 0x80])(
    'loses the frame that it is in, told, and no other (^ %i)',
    async (mask) => {
      for (let at = 0; at < whole.length; at++) {
        const bytes = Buffer.from(whole);
        bytes[at] = (bytes[at] ?? 0) ^ mask;
        const { read, lost } = await readBack(bytes);
        const hit = Math.floor((at - start) / FRAME_BYTES);
        const all = firsts(0, FRAMES);
        // A head that is spoilt takes the whole segment, or it is taken for the beginning of one.
        if (at < start) expect(read, `flip at ${at}`).toEqual([]);
        else expect(read, `flip at ${at}`).toEqual(all.filter((_, frame) => frame !== hit));
        if (at < start) continue;
        // The last frame's length, spoilt, cannot be told from a frame whose end is missing: its head's checksum can.
        const inHead = (at - start) % FRAME_BYTES < FRAME_BYTES - BATCH_BYTES;
        expect(lost, `flip at ${at}`).toHaveLength(1);
        const [loss] = lost;
        expect(loss?.reason).toBe('corrupt');
        const events = Array.from(loss?.kinds ?? []).reduce((sum, count) => sum + count, 0);
        // Where the head stands, the frame's events are known to the last; else at least one, and among which sequences.
        expect(events, `flip at ${at}`).toBe(inHead ? 1 : EVENTS);
        expect(loss?.unaccountable).toBe(inHead);
        if (hit > 0) expect(loss?.firstSeq).toBe(1 + hit * EVENTS);
        if (hit < FRAMES - 1) expect(loss?.lastSeq).toBe((hit + 1) * EVENTS);
      }
    },
    60_000,
  );
});

describe('bytes that are no segment', () => {
  it('give nothing: noise, zeros, another file’s frames', async () => {
    expect((await readBack(Buffer.alloc(5000))).read).toEqual([]);
    expect((await readBack(Buffer.from(whole.map((byte, i) => byte ^ (i * 7 + 3))))).read).toEqual([]);
    // Frames of another segment on a reused block: their checksums begin with that segment's.
    const other = new SpoolRig();
    const spool = other.open(RUN_A);
    await spool.append(framesOf(FRAMES, EVENTS, BATCH_BYTES));
    await spool.close(2000);
    const foreign = readFileSync(join(other.dir, 'spool', other.segments()[0] ?? ''));
    const mixed = Buffer.concat([whole.subarray(0, start + FRAME_BYTES), foreign.subarray(start)]);
    const { read, lost } = await readBack(mixed);
    expect(read).toEqual([1]);
    expect(lost).toMatchObject([{ reason: 'corrupt', unaccountable: true }]);
    await other.close();
  });
});
