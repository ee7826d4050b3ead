// Goes through a segment's frames, past what is damaged. Every byte that was flipped, and every cut, ends in one of the
// findings below; none in a frame that was not written so.

import type { FileHandle } from 'node:fs/promises';
import { decodeFrameHead, FRAME_MAGIC, type FrameHead, frameHeadBytes } from './format.ts';

/** `at`: where the frame begins; `end`: where the next does. */
export type Finding =
  | { readonly found: 'frame'; readonly at: number; readonly end: number; readonly head: FrameHead }
  /** Bytes that are no frame; the next one begins at `end`, or none follows. */
  | { readonly found: 'damage'; readonly at: number; readonly end: number }
  /** The beginning of a frame, and then the file's end: its writer was ended there. */
  | { readonly found: 'torn'; readonly at: number; readonly end: number }
  | { readonly found: 'end'; readonly at: number; readonly end: number };

const WINDOW_BYTES = 64 * 1024;

export class SegmentWalk {
  private readonly file: FileHandle;
  private readonly kinds: number;
  private readonly seed: number;
  private window = Buffer.allocUnsafeSlow(WINDOW_BYTES);
  private windowAt = 0;
  private windowEnd = 0;

  /** `kinds`: how many a frame counts; `seed`: of the segment's head. */
  constructor(file: FileHandle, kinds: number, seed: number) {
    this.file = file;
    this.kinds = kinds;
    this.seed = seed;
  }

  /** What is at `at` of a file that is `size` bytes long. The batch itself is not looked at. */
  async look(at: number, size: number): Promise<Finding> {
    if (at >= size) return { found: 'end', at, end: size };
    const headBytes = frameHeadBytes(this.kinds);
    const bytes = await this.bytes(at, Math.min(headBytes, size - at), size);
    const head = decodeFrameHead(bytes, 0, this.kinds, this.seed);
    const end = at + headBytes + (head?.length ?? 0);
    if (head !== undefined && end <= size) return { found: 'frame', at, end, head };
    if (head !== undefined) return { found: 'torn', at, end: size };
    const begun = bytes.subarray(0, FRAME_MAGIC.length);
    if (bytes.length < headBytes && FRAME_MAGIC.subarray(0, begun.length).equals(begun)) {
      return { found: 'torn', at, end: size };
    }
    return { found: 'damage', at, end: await this.nextFrame(at + 1, size) };
  }

  /** Where the next frame with an intact head begins, or the file's end. */
  private async nextFrame(from: number, size: number): Promise<number> {
    const headBytes = frameHeadBytes(this.kinds);
    for (let at = from; at + headBytes <= size; ) {
      const bytes = await this.bytes(at, Math.min(WINDOW_BYTES, size - at), size);
      // The file is shorter than it was.
      if (bytes.length < headBytes) return size;
      for (let hit = bytes.indexOf(FRAME_MAGIC); hit >= 0; hit = bytes.indexOf(FRAME_MAGIC, hit + 1)) {
        if (hit + headBytes > bytes.length) break;
        if (decodeFrameHead(bytes, hit, this.kinds, this.seed) !== undefined) return at + hit;
      }
      at += bytes.length - headBytes + 1;
    }
    return size;
  }

  /** A view of at most a window; valid until the next call. Shorter than asked for only where the file is. */
  private async bytes(at: number, length: number, size: number): Promise<Buffer> {
    if (at < this.windowAt || at + length > this.windowEnd) {
      this.windowAt = at;
      this.windowEnd = at;
      const wanted = Math.min(WINDOW_BYTES, size - at);
      while (this.windowEnd - at < wanted) {
        const filled = this.windowEnd - at;
        const { bytesRead } = await this.file.read(this.window, filled, wanted - filled, this.windowEnd);
        if (bytesRead === 0) break;
        this.windowEnd += bytesRead;
      }
    }
    const start = at - this.windowAt;
    return this.window.subarray(start, Math.min(start + length, this.windowEnd - this.windowAt));
  }
}
