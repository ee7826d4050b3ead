// Reads through a segment that another run left: what is in it, and what of it is spoilt.

import { type FileHandle, open } from 'node:fs/promises';
import type { FoundSegment } from './folder.ts';
import { decodeSegmentHead, type FrameHead, isTornHead, SEGMENT_HEAD_MAX } from './format.ts';
import { ONE_OF_NO_KIND, type SpoolLoss } from './losses.ts';
import { Segment } from './segment.ts';
import { SegmentWalk } from './segment-walk.ts';

/** One frame that is there: `at` is its place in the segment with this number. */
export interface FoundFrame {
  readonly run: string;
  readonly segment: number;
  readonly at: number;
  readonly firstSeq: number;
  readonly events: number;
  readonly kinds: Uint32Array;
}

export interface RecoveryHooks {
  lost(loss: SpoolLoss): void;
  frame(frame: FoundFrame): void;
}

const HEAD_READ_BYTES = 16 * 1024;

/**
 * `last`: no later segment of its run is there, so that a torn end is where the run ended. Undefined: nothing in it is
 * of use. Rejects where it cannot be read.
 */
export async function recoverSegment(
  found: FoundSegment,
  last: boolean,
  hooks: RecoveryHooks,
): Promise<Segment | undefined> {
  const file = await open(found.path, 'r');
  try {
    const bytes = await readHead(file);
    const head = decodeSegmentHead(bytes);
    if (head === undefined || head.facts.run !== found.run) {
      const { run } = found;
      if (!isTornHead(bytes)) hooks.lost({ run, ...spoilt(0, 0) });
      return undefined;
    }
    const segment = new Segment(found.number, found.path, found.run, head, false);
    segment.fileBytes = found.bytes;
    await walk(file, segment, found.bytes, last, hooks);
    return segment.hasUnread ? segment : undefined;
  } finally {
    await file.close();
  }
}

async function readHead(file: FileHandle): Promise<Buffer> {
  for (let wanted = HEAD_READ_BYTES; ; wanted = SEGMENT_HEAD_MAX) {
    const buffer = Buffer.alloc(wanted);
    const { bytesRead } = await file.read(buffer, 0, wanted, 0);
    const bytes = buffer.subarray(0, bytesRead);
    if (bytesRead < wanted || wanted === SEGMENT_HEAD_MAX || !isTornHead(bytes)) return bytes;
  }
}

async function walk(
  file: FileHandle,
  segment: Segment,
  size: number,
  last: boolean,
  hooks: RecoveryHooks,
): Promise<void> {
  const { run, number } = segment;
  const look = new SegmentWalk(file, segment.head.facts.kinds.length, segment.head.seed);
  /** Where damage began, by the sequence after the last frame before it; undefined: none that is not told yet. */
  let damaged: number | undefined;
  let nextSeq = 0;
  for (let at = segment.head.length; ; ) {
    const finding = await look.look(at, size);
    if (finding.found === 'damage' || (finding.found === 'torn' && !last)) damaged ??= nextSeq;
    if (finding.found === 'frame') {
      const { firstSeq, events } = finding.head;
      if (damaged !== undefined) hooks.lost({ run, ...spoilt(damaged, firstSeq - 1) });
      damaged = undefined;
      nextSeq = firstSeq + events;
      const kinds = segment.kindsOf(finding.head);
      segment.add(finding.head, kinds);
      segment.size = finding.end;
      hooks.frame({ ...frameOf(finding.head), run, segment: number, at: finding.at, kinds });
    }
    if (finding.found === 'end' || finding.found === 'torn') break;
    at = finding.end;
  }
  if (damaged !== undefined) hooks.lost({ run, ...spoilt(damaged, 0) });
}

function frameOf({ firstSeq, events }: FrameHead): { firstSeq: number; events: number } {
  return { firstSeq, events };
}

function spoilt(firstSeq: number, lastSeq: number): Omit<SpoolLoss, 'run'> {
  return { reason: 'corrupt', kinds: ONE_OF_NO_KIND, firstSeq, lastSeq, unaccountable: true };
}
