// A finished batch as it waits, travels and is confirmed.

import { BYTES, tag, VARINT, varint32, varint32Length, varint64 } from './wire.ts';

/** Bytes kept free before the batch for PublishRequest's tag and length and for stream_seq. */
export const FRAME_HEADROOM = 24;

const REQUEST_BATCH = tag(2, BYTES);
const STREAM_SEQ = tag(1, VARINT);
const TWO_32 = 2 ** 32;

export interface EncodedBatch {
  /** FRAME_HEADROOM bytes, then `length` bytes of a kerntap.v1.Batch without stream_seq; may be longer. */
  readonly buffer: Buffer;
  readonly length: number;
  /** Sequence of the first event; the others follow without a gap. */
  readonly firstSeq: number;
  readonly events: number;
  /** Events by kind: see event-kinds.ts. */
  readonly kinds: Uint32Array;
  /** In hex: an earlier run's, from its spool; the batch names its node. */
  readonly otherRun?: string | undefined;
}

/** The Batch's own bytes. */
export function batchBytes(batch: EncodedBatch): Buffer {
  return batch.buffer.subarray(FRAME_HEADROOM, FRAME_HEADROOM + batch.length);
}

/**
 * The bytes of PublishRequest { batch } with this stream_seq, in place: the headroom is written over, so no earlier
 * frame of the same batch may still be on its way.
 */
export function frame(batch: EncodedBatch, streamSeq: number): Buffer {
  const { buffer, length } = batch;
  const low = streamSeq | 0;
  const high = Math.floor(streamSeq / TWO_32);
  const seqLength = 1 + (high === 0 ? varint32Length(low) : varint64(scratch, 0, low, high));
  const inner = seqLength + length;
  const start = FRAME_HEADROOM - seqLength - varint32Length(inner) - 1;
  const view = new DataView(buffer.buffer, buffer.byteOffset, FRAME_HEADROOM);
  view.setUint8(start, REQUEST_BATCH);
  const at = varint32(view, start + 1, inner);
  view.setUint8(at, STREAM_SEQ);
  varint64(view, at + 1, low, high);
  return buffer.subarray(start, FRAME_HEADROOM + length);
}

const scratch = new DataView(new ArrayBuffer(10));
