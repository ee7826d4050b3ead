// Takes batches out of segments, oldest first, each checked before it is used.

import { type FileHandle, open } from 'node:fs/promises';
import { type EncodedBatch, FRAME_HEADROOM } from '../batch.ts';
import type { BufferPool } from '../buffer-pool.ts';
import { type FrameHead, frameHeadBytes, isIntact } from './format.ts';
import type { SpoolLoss } from './losses.ts';
import type { Segment } from './segment.ts';
import { SegmentWalk } from './segment-walk.ts';

/** A batch from the disk; `segment` has to be told when it is settled. */
export interface StoredBatch extends EncodedBatch {
  readonly segment: Segment;
}

/** Reads of one segment that fail in a row, before its rest is given up. */
const TRIES = 3;

export class SpoolReader {
  private readonly lost: (loss: SpoolLoss) => void;
  private reading: { readonly segment: Segment; readonly file: FileHandle; readonly walk: SegmentWalk } | undefined;
  private failures = 0;

  constructor(lost: (loss: SpoolLoss) => void) {
    this.lost = lost;
  }

  /**
   * The next batch of a segment, in a buffer of the pool; undefined: it has no more. Rejects where the disk refuses;
   * after several times the rest of the segment is lost, as told. One call at a time.
   */
  async next(segment: Segment, pool: BufferPool): Promise<StoredBatch | undefined> {
    try {
      while (segment.hasUnread) {
        const found = await this.step(segment, pool);
        this.failures = 0;
        if (found !== undefined) return found;
      }
    } catch (error) {
      // Evicted meanwhile: told there.
      if (segment.gone) return undefined;
      await this.leave();
      if (++this.failures < TRIES) throw error;
      this.failures = 0;
      segment.readAt = segment.size;
    }
    if (!segment.gone) this.tellUnfound(segment);
    return undefined;
  }

  /** Closes the file of a segment, where it is open. */
  async leave(segment?: Segment): Promise<void> {
    const { reading } = this;
    if (reading === undefined || (segment !== undefined && reading.segment !== segment)) return;
    this.reading = undefined;
    await reading.file.close().catch(() => {});
  }

  private async step(segment: Segment, pool: BufferPool): Promise<StoredBatch | undefined> {
    const { file, walk } = await this.enter(segment);
    const finding = await walk.look(segment.readAt, segment.size);
    if (segment.gone) return undefined;
    if (finding.found !== 'frame') {
      segment.readAt = finding.end;
      return undefined;
    }
    const { head, at, end } = finding;
    const buffer = pool.take(FRAME_HEADROOM + head.length + segment.nodeField.length);
    const bytes = buffer.subarray(FRAME_HEADROOM, FRAME_HEADROOM + head.length);
    const from = at + frameHeadBytes(segment.head.facts.kinds.length);
    for (let read = 0; read < bytes.length; ) {
      const { bytesRead } = await file.read(bytes, read, bytes.length - read, from + read);
      if (bytesRead === 0) break;
      read += bytesRead;
    }
    if (segment.gone) {
      pool.release(buffer);
      return undefined;
    }
    const kinds = segment.kindsOf(head);
    segment.readAt = end;
    segment.take(head, kinds);
    // The last of them: what the account has beyond it was not met.
    if (!segment.hasUnread) this.tellUnfound(segment);
    if (!isIntact(bytes, head, segment.head.seed)) {
      pool.release(buffer);
      this.lost({ run: segment.run, reason: 'corrupt', kinds, ...range(head), unaccountable: false });
      return undefined;
    }
    buffer.set(segment.nodeField, FRAME_HEADROOM + head.length);
    segment.outstanding++;
    const { firstSeq, events } = head;
    const length = head.length + segment.nodeField.length;
    return { buffer, length, firstSeq, events, kinds, otherRun: segment.own ? undefined : segment.run, segment };
  }

  private async enter(segment: Segment): Promise<{ file: FileHandle; walk: SegmentWalk }> {
    if (this.reading?.segment === segment) return this.reading;
    await this.leave();
    const file = await open(segment.path, 'r');
    const walk = new SegmentWalk(file, segment.head.facts.kinds.length, segment.head.seed);
    this.reading = { segment, file, walk };
    return this.reading;
  }

  /** Frames that were there once, by the segment's account, and were not met. */
  private tellUnfound(segment: Segment): void {
    for (const kinds of [segment.unread, segment.unreadSent]) {
      if (kinds.every((count) => count === 0)) continue;
      const { run, firstSeq, lastSeq } = segment;
      this.lost({ run, reason: 'corrupt', kinds: kinds.slice(), firstSeq, lastSeq, unaccountable: false });
      kinds.fill(0);
    }
  }
}

function range({ firstSeq, events }: FrameHead): { firstSeq: number; lastSeq: number } {
  return { firstSeq, lastSeq: firstSeq + events - 1 };
}
