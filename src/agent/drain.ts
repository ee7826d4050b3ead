/**
 * The heartbeat: drains the kernel's rings on a fixed timer into one buffer and walks the records in it.
 * Nothing sleeps on the rings, so that the observed processes pay no wake-ups; nothing is allocated per record.
 */
import { HEAD, KT_RECORD_MAX, KT_RECORD_VERSION } from '../kernel/layout.gen.ts';
import type { EventSource } from '../kernel/source.ts';

/** One record in the drain buffer: valid until the call returns. */
export type RecordHandler = (buf: Uint8Array, view: DataView, offset: number, length: number, kind: number) => void;

export interface DrainOptions {
  readonly source: EventSource;
  readonly onRecord: RecordHandler;
  /** After every drain, also an empty one: for work that has to keep time. */
  readonly onTick?: (nowMs: number) => void;
  readonly intervalMs?: number;
  readonly bufferBytes?: number;
  readonly now?: () => number;
}

export const DRAIN_INTERVAL_MS = 15;
export const DRAIN_BUFFER_BYTES = 256 * 1024;

export class DrainLoop {
  /** Records handed on, control records included. */
  records = 0;
  /** Records that the walk refused: lengths that cannot be, or a version that is not known. */
  undecodable = 0;
  /** Bytes skipped because a broken length hid where the next record starts: what they held is not known. */
  unwalkableBytes = 0;
  /** When the last drain ended: a watchdog sees by it that the loop is alive. */
  lastDrainMs = 0;

  readonly #source: EventSource;
  readonly #onRecord: RecordHandler;
  readonly #onTick: (nowMs: number) => void;
  readonly #intervalMs: number;
  readonly #buf: Uint8Array;
  readonly #view: DataView;
  readonly #now: () => number;
  #timer: NodeJS.Timeout | undefined;
  #again: NodeJS.Immediate | undefined;

  constructor(options: DrainOptions) {
    this.#source = options.source;
    this.#onRecord = options.onRecord;
    this.#onTick = options.onTick ?? (() => {});
    this.#intervalMs = options.intervalMs ?? DRAIN_INTERVAL_MS;
    this.#buf = new Uint8Array(options.bufferBytes ?? DRAIN_BUFFER_BYTES);
    this.#view = new DataView(this.#buf.buffer);
    this.#now = options.now ?? performance.now.bind(performance);
  }

  start(): void {
    this.#timer ??= setInterval(this.#tick, this.#intervalMs);
  }

  /** Stops the timer. What is in the rings stays there: see drainAll. */
  stop(): void {
    clearInterval(this.#timer);
    clearImmediate(this.#again);
    this.#timer = undefined;
    this.#again = undefined;
  }

  /** Drains until the rings are empty or `deadlineMs` (on the loop's clock) has come; true: they are empty. */
  drainAll(deadlineMs: number): boolean {
    for (;;) {
      if (this.drainOnce() === 0) return true;
      if (this.#now() >= deadlineMs) return false;
    }
  }

  /** One bounded drain and the walk over it; returns the bytes drained. */
  drainOnce(): number {
    const used = this.#source.drain(this.#buf);
    if (used > 0) this.#walk(used);
    this.lastDrainMs = this.#now();
    this.#onTick(this.lastDrainMs);
    return used;
  }

  readonly #tick = (): void => {
    const used = this.drainOnce();
    // More than the timer empties is waiting: go on as soon as other work had its turn.
    if (used * 2 > this.#buf.length && this.#again === undefined && this.#timer !== undefined) {
      this.#again = setImmediate(this.#more);
    }
  };

  readonly #more = (): void => {
    this.#again = undefined;
    this.#tick();
  };

  #walk(used: number): void {
    const view = this.#view;
    let offset = 0;
    while (offset < used) {
      const left = used - offset;
      const length = left >= HEAD.SIZE ? view.getUint32(offset + HEAD.len, true) : 0;
      if (length < HEAD.SIZE || length > KT_RECORD_MAX || length > left) {
        this.undecodable++;
        this.unwalkableBytes += left;
        return;
      }
      if (view.getUint8(offset + HEAD.version) === KT_RECORD_VERSION) {
        this.records++;
        this.#onRecord(this.#buf, view, offset, length, view.getUint8(offset + HEAD.kind));
      } else {
        this.undecodable++;
      }
      offset += (length + 7) & ~7;
    }
  }
}
