// Appends frames to one segment file. After an error nothing more is written to it.

import { type FileHandle, open } from 'node:fs/promises';
import {
  encodeFrameHead,
  encodeSegmentHead,
  type FrameContent,
  type SegmentFacts,
  type SegmentHead,
} from './format.ts';

export class SegmentWriter {
  readonly head: SegmentHead;
  /** Whole frames end here. */
  size: number;
  /** Written, and not yet known to be on the disk. */
  unsynced = true;
  private readonly file: FileHandle;

  private constructor(file: FileHandle, head: SegmentHead) {
    this.file = file;
    this.head = head;
    this.size = head.length;
  }

  /** Makes the file, for its owner alone. */
  static async create(path: string, facts: SegmentFacts): Promise<SegmentWriter> {
    const bytes = encodeSegmentHead(facts);
    const file = await open(path, 'wx', 0o600);
    const writer = new SegmentWriter(file, { facts, length: bytes.length, seed: bytes.readUInt32LE(12) });
    try {
      await writer.write([bytes], 0);
    } catch (error) {
      await file.close().catch(() => {});
      throw error;
    }
    return writer;
  }

  /** All of them or none; the buffers must not change before it resolves. Gives the file's length after each. */
  async append(frames: readonly FrameContent[]): Promise<number[]> {
    const parts: Uint8Array[] = [];
    const ends: number[] = [];
    let end = this.size;
    for (const frame of frames) {
      const head = encodeFrameHead(frame, this.head.facts.kinds.length, this.head.seed);
      parts.push(head, frame.bytes);
      end += head.length + frame.bytes.length;
      ends.push(end);
    }
    try {
      await this.write(parts, this.size);
    } catch (error) {
      // What is left of it would be found torn anyway.
      await this.file.truncate(this.size).catch(() => {});
      throw error;
    }
    this.size = end;
    this.unsynced = true;
    return ends;
  }

  async sync(): Promise<void> {
    if (!this.unsynced) return;
    const { size } = this;
    await this.file.datasync();
    if (size === this.size) this.unsynced = false;
  }

  async close(): Promise<void> {
    await this.file.close();
  }

  private async write(parts: readonly Uint8Array[], from: number): Promise<void> {
    let left = [...parts];
    for (let at = from; left.length > 0; ) {
      const { bytesWritten } = await this.file.writev(left, at);
      at += bytesWritten;
      let skip = bytesWritten;
      while (left.length > 0 && skip >= (left[0] as Uint8Array).length) skip -= (left.shift() as Uint8Array).length;
      if (skip > 0) left = [(left[0] as Uint8Array).subarray(skip), ...left.slice(1)];
    }
  }
}
