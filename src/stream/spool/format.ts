// Bytes of a spool segment: a header that says whose events follow, then frames, each a batch under its checksums.
//
//   segment   "KTSPOOL1", u32 length and u32 CRC of the facts, the facts as JSON (SegmentFacts)
//   frame     u32 "KTF1", u32 CRC of the rest of this head, u32 length and u32 CRC of the batch, u64 first sequence,
//             u32 events, u32 flags, u32 events of each kind that the facts name; then the batch (kerntap.v1.Batch
//             without stream_seq)
//
// All little endian. The checksum is CRC-32 (zlib's; CRC-32C finds no more errors in frames of this size, and zlib has
// none). Those of a frame begin with the segment's own, so that no frame of another file, left over on a reused disk
// block, is taken for one of this. The head has a checksum of its own: a batch that is spoilt is still counted by kind.

import { crc32 } from 'node:zlib';

/** Whose events a segment holds, and how its frames count them. */
export interface SegmentFacts {
  /** Run id in hex. */
  readonly run: string;
  /** The run's facts as the field `node` of a kerntap.v1.Batch, base64. */
  readonly node: string;
  readonly agentVersion: string;
  /** Name of each kind in the order of a frame's counts; '' : of none. */
  readonly kinds: readonly string[];
  /** Makes the segment's checksum its own. */
  readonly salt: string;
}

export interface FrameHead {
  readonly length: number;
  readonly batchCrc: number;
  readonly firstSeq: number;
  readonly events: number;
  /** Was on a stream before it came here: a collector may have it. */
  readonly sent: boolean;
  readonly kinds: Uint32Array;
}

/** What is to be stored of a batch. */
export interface FrameContent {
  readonly bytes: Uint8Array;
  readonly firstSeq: number;
  readonly events: number;
  readonly sent: boolean;
  readonly kinds: Uint32Array;
}

const SEGMENT_MAGIC = Buffer.from('KTSPOOL1');
export const FRAME_MAGIC = Buffer.from('KTF1');
const FACTS_AT = 16;
/** Facts of a node are far smaller; more is not read. */
const FACTS_BYTES_MAX = 256 * 1024;
const KINDS_AT = 32;
const SENT = 1;
/** A batch is at most some 600 KiB (encoder.ts). */
export const FRAME_BYTES_MAX = 4 << 20;
const TWO_32 = 2 ** 32;

/** Bytes of a segment before its first frame, at most. */
export const SEGMENT_HEAD_MAX = FACTS_AT + FACTS_BYTES_MAX;

export interface SegmentHead {
  readonly facts: SegmentFacts;
  /** Bytes before the first frame. */
  readonly length: number;
  /** What the frames' checksums begin with. */
  readonly seed: number;
}

export function encodeSegmentHead(facts: SegmentFacts): Buffer {
  const json = Buffer.from(JSON.stringify(facts));
  if (json.length > FACTS_BYTES_MAX) throw new RangeError(`facts of ${json.length} bytes`);
  const head = Buffer.alloc(FACTS_AT + json.length);
  head.set(SEGMENT_MAGIC);
  head.writeUInt32LE(json.length, 8);
  head.writeUInt32LE(crc32(json), 12);
  head.set(json, FACTS_AT);
  return head;
}

/** From the beginning of a file; undefined where that is no whole, intact head. */
export function decodeSegmentHead(bytes: Buffer): SegmentHead | undefined {
  if (bytes.length < FACTS_AT || !bytes.subarray(0, 8).equals(SEGMENT_MAGIC)) return undefined;
  const length = FACTS_AT + bytes.readUInt32LE(8);
  const seed = bytes.readUInt32LE(12);
  if (length > SEGMENT_HEAD_MAX || length > bytes.length) return undefined;
  const json = bytes.subarray(FACTS_AT, length);
  if (crc32(json) !== seed) return undefined;
  const facts = factsOf(json);
  return facts && { facts, length, seed };
}

/** Whether a file is shorter than the head it begins with: its writer was ended at the start. */
export function isTornHead(bytes: Buffer): boolean {
  if (bytes.length < FACTS_AT) return SEGMENT_MAGIC.subarray(0, bytes.length).equals(bytes.subarray(0, 8));
  return bytes.subarray(0, 8).equals(SEGMENT_MAGIC) && FACTS_AT + bytes.readUInt32LE(8) > bytes.length;
}

// Checksums say that it was written so; a later version may have written something else.
function factsOf(json: Buffer): SegmentFacts | undefined {
  let value: unknown;
  try {
    value = JSON.parse(json.toString());
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { run, node, agentVersion, kinds, salt } = value as Record<string, unknown>;
  if (typeof run !== 'string' || !/^[0-9a-f]{32}$/.test(run)) return undefined;
  if (typeof node !== 'string' || typeof agentVersion !== 'string' || typeof salt !== 'string') return undefined;
  if (!Array.isArray(kinds) || kinds.length > 1024 || !kinds.every((kind) => typeof kind === 'string'))
    return undefined;
  return { run, node, agentVersion, kinds, salt };
}

/** Length of a frame's head where frames count so many kinds. */
export function frameHeadBytes(kinds: number): number {
  return KINDS_AT + 4 * kinds;
}

export function encodeFrameHead(content: FrameContent, kinds: number, seed: number): Buffer {
  const { bytes, firstSeq, events, sent } = content;
  const head = Buffer.alloc(frameHeadBytes(kinds));
  head.set(FRAME_MAGIC);
  head.writeUInt32LE(bytes.length, 8);
  head.writeUInt32LE(crc32(bytes, seed), 12);
  head.writeUInt32LE(firstSeq % TWO_32, 16);
  head.writeUInt32LE(Math.floor(firstSeq / TWO_32), 20);
  head.writeUInt32LE(events, 24);
  head.writeUInt32LE(sent ? SENT : 0, 28);
  for (let i = 0; i < kinds; i++) head.writeUInt32LE(content.kinds[i] ?? 0, KINDS_AT + 4 * i);
  head.writeUInt32LE(crc32(head.subarray(8), seed), 4);
  return head;
}

/** The head at bytes[at..]; undefined where it is not one, or not whole. */
export function decodeFrameHead(bytes: Buffer, at: number, kinds: number, seed: number): FrameHead | undefined {
  const end = at + frameHeadBytes(kinds);
  if (end > bytes.length || bytes.compare(FRAME_MAGIC, 0, 4, at, at + 4) !== 0) return undefined;
  if (crc32(bytes.subarray(at + 8, end), seed) !== bytes.readUInt32LE(at + 4)) return undefined;
  const length = bytes.readUInt32LE(at + 8);
  if (length > FRAME_BYTES_MAX) return undefined;
  const counts = new Uint32Array(kinds);
  for (let i = 0; i < kinds; i++) counts[i] = bytes.readUInt32LE(at + KINDS_AT + 4 * i);
  return {
    length,
    batchCrc: bytes.readUInt32LE(at + 12),
    firstSeq: bytes.readUInt32LE(at + 16) + bytes.readUInt32LE(at + 20) * TWO_32,
    events: bytes.readUInt32LE(at + 24),
    sent: (bytes.readUInt32LE(at + 28) & SENT) !== 0,
    kinds: counts,
  };
}

export function isIntact(batch: Uint8Array, head: FrameHead, seed: number): boolean {
  return batch.length === head.length && crc32(batch, seed) === head.batchCrc;
}
