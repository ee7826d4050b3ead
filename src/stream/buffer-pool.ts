// Buffers for finished batches, in a few sizes. One goes back only when nothing can read it any more.

const SIZES: readonly number[] = [4 * 1024, 16 * 1024, 64 * 1024];

/** The largest buffer that is reused; a larger one is made for its batch alone. */
export const POOLED_BYTES_MAX = 64 * 1024;

export class BufferPool {
  private readonly free: Buffer[][] = SIZES.map(() => []);
  private readonly keepBytes: number;
  private kept = 0;

  /** `keepBytes`: most that is kept for reuse. */
  constructor(keepBytes = 2 << 20) {
    this.keepBytes = keepBytes;
  }

  /** Bytes waiting for reuse. */
  get idleBytes(): number {
    return this.kept;
  }

  /** A buffer of at least `bytes`; its contents are whatever they were. */
  take(bytes: number): Buffer {
    const size = SIZES.findIndex((candidate) => candidate >= bytes);
    if (size < 0) return Buffer.allocUnsafeSlow(bytes);
    const buffer = this.free[size]?.pop();
    if (buffer === undefined) return Buffer.allocUnsafeSlow(SIZES[size] ?? bytes);
    this.kept -= buffer.length;
    return buffer;
  }

  /** Gives one back: no write of it is pending, and nobody will ask for it again. */
  release(buffer: Buffer): void {
    const size = SIZES.indexOf(buffer.length);
    if (size < 0 || this.kept + buffer.length > this.keepBytes) return;
    this.kept += buffer.length;
    this.free[size]?.push(buffer);
  }
}
