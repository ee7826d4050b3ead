/**
 * The one owner of standard output: a byte-bounded queue with one write in flight. Whoever offers a line never waits;
 * what does not fit is refused, and the caller counts it.
 */

/** Where the bytes go. `done` is called once per write, with the number of bytes taken (0 with an error). */
export interface Sink {
  write(chunk: Uint8Array, done: (error: NodeJS.ErrnoException | null, written: number) => void): void;
  close(): void;
}

export interface WriterOptions {
  /** Bytes that may wait, those in flight included. */
  readonly capacityBytes?: number;
  /** Pause before a write that met EAGAIN is tried again. */
  readonly retryMs?: number;
  /** Called once when the reader is gone (EPIPE) or the sink fails for good: every later offer is refused. */
  readonly onClosed?: (error: NodeJS.ErrnoException) => void;
}

/** The most that one write hands over: a pipe's default size. */
const WRITE_BYTES = 65536;

export class BoundedWriter {
  readonly #sink: Sink;
  readonly #ring: Buffer;
  readonly #retryMs: number;
  readonly #onClosed: (error: NodeJS.ErrnoException) => void;
  #head = 0;
  #used = 0;
  #inFlight = false;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;
  #drained: (() => void)[] = [];

  constructor(sink: Sink, options: WriterOptions = {}) {
    this.#sink = sink;
    this.#ring = Buffer.allocUnsafeSlow(options.capacityBytes ?? 1 << 20);
    this.#retryMs = options.retryMs ?? 10;
    this.#onClosed = options.onClosed ?? (() => {});
  }

  get queuedBytes(): number {
    return this.#used;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Bytes that an offer may have now. */
  get room(): number {
    return this.#closed ? 0 : this.#ring.length - this.#used;
  }

  /** Queues the whole text (UTF-8) or nothing; false: refused. */
  offer(text: string): boolean {
    const bytes = Buffer.byteLength(text);
    if (bytes > this.room) return false;
    const tail = (this.#head + this.#used) % this.#ring.length;
    const contiguous = this.#ring.length - tail;
    if (bytes <= contiguous) {
      this.#ring.write(text, tail, bytes, 'utf8');
    } else {
      const whole = Buffer.from(text, 'utf8');
      whole.copy(this.#ring, tail, 0, contiguous);
      whole.copy(this.#ring, 0, contiguous);
    }
    this.#used += bytes;
    this.#pump();
    return true;
  }

  /** Resolves true when everything queued has left, false at the deadline or when the sink is closed. */
  async flush(timeoutMs: number): Promise<boolean> {
    if (this.#used === 0 || this.#closed) return this.#used === 0;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#drained.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
    return this.#used === 0;
  }

  /** Refuses every later offer and lets the sink go. What still waits is dropped. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#wake();
    this.#sink.close();
  }

  #pump(): void {
    if (this.#inFlight || this.#closed || this.#used === 0 || this.#retry !== undefined) return;
    const end = Math.min(this.#head + Math.min(this.#used, WRITE_BYTES), this.#ring.length);
    this.#inFlight = true;
    this.#sink.write(this.#ring.subarray(this.#head, end), this.#written);
  }

  readonly #written = (error: NodeJS.ErrnoException | null, written: number): void => {
    this.#inFlight = false;
    if (this.#closed) return;
    this.#head = (this.#head + written) % this.#ring.length;
    this.#used -= written;
    if (this.#used === 0) this.#wake();
    if (error === null || error.code === 'EINTR') {
      this.#pump();
    } else if (error.code === 'EAGAIN') {
      this.#retry = setTimeout(() => {
        this.#retry = undefined;
        this.#pump();
      }, this.#retryMs);
    } else {
      this.close();
      this.#onClosed(error);
    }
  };

  #wake(): void {
    const waiters = this.#drained;
    this.#drained = [];
    for (const waiter of waiters) waiter();
  }
}
