/** The ways that batches take out of this agent: the stream to the collector, OTLP, or both side by side. */
import type { EncodedBatch } from '../stream/batch.ts';
import type { BufferPool } from '../stream/buffer-pool.ts';
import type { Delivery } from '../stream/delivery.ts';
import type { OtlpSink } from '../stream/otlp/sink.ts';
import type { OtlpWay } from './otlp.ts';

export class WaysOut {
  /** Whose confirmations make an event a delivered one: the collector, where there is one. */
  readonly main: Delivery;
  readonly otlp: OtlpSink | undefined;
  readonly #collector: Delivery | undefined;
  readonly #otlpChannel: OtlpWay['channel'];
  readonly #pool: BufferPool;

  /** One of the two is there. `pool`: the encoder's. */
  constructor(collector: Delivery | undefined, otlp: OtlpWay | undefined, pool: BufferPool) {
    const main = collector ?? otlp?.sink;
    if (main === undefined) throw new TypeError('neither a collector nor an OTLP receiver');
    this.main = main;
    this.otlp = otlp?.sink;
    this.#otlpChannel = otlp?.channel;
    this.#collector = collector;
    this.#pool = pool;
  }

  start(): void {
    this.#collector?.start();
    if (this.otlp === undefined) return;
    this.#otlpChannel?.follow(this.otlp);
    this.otlp.start();
  }

  /** Takes a batch over. */
  send(batch: EncodedBatch): void {
    // OTLP copies; the stream keeps the buffer and gives it back.
    this.otlp?.send(batch);
    if (this.#collector === undefined) this.#pool.release(batch.buffer);
    else this.#collector.send(batch);
  }

  async shutdown(timeoutMs: number): Promise<void> {
    this.#otlpChannel?.stop();
    await Promise.all([this.#collector?.shutdown(timeoutMs), this.otlp?.shutdown(timeoutMs)]);
  }
}
