/** The ways that batches take out of this agent: the stream to the collector, OTLP, or both side by side. */
import type { EncodedBatch } from '../stream/batch.ts';
import type { BufferPool } from '../stream/buffer-pool.ts';
import type { Delivery } from '../stream/delivery.ts';
import type { OtlpSink } from '../stream/otlp/sink.ts';
import type { TlsReadings } from '../telemetry/readings.ts';
import type { CollectorWay } from './collector-way.ts';
import type { OtlpWay } from './otlp.ts';

export class WaysOut {
  /** Whose confirmations make an event a delivered one: the collector, where there is one. */
  readonly main: Delivery;
  readonly otlp: OtlpSink | undefined;
  readonly #collector: CollectorWay | undefined;
  readonly #otlpChannel: OtlpWay['channel'];
  readonly #pool: BufferPool;
  #stopped = false;

  /** One of the two is there. `pool`: the encoder's. */
  constructor(collector: CollectorWay | undefined, otlp: OtlpWay | undefined, pool: BufferPool) {
    const main = collector?.client ?? otlp?.sink;
    if (main === undefined) throw new TypeError('neither a collector nor an OTLP receiver');
    this.main = main;
    this.otlp = otlp?.sink;
    this.#otlpChannel = otlp?.channel;
    this.#collector = collector;
    this.#pool = pool;
  }

  get tls(): TlsReadings {
    const [collector, otlp] = [this.#collector?.channel.tls, this.#otlpChannel?.tls];
    return new Map([
      ...(collector === undefined ? [] : [['collector', collector] as const]),
      ...(otlp === undefined ? [] : [['otlp', otlp] as const]),
    ]);
  }

  /** Nothing where it was shut down before. */
  start(): void {
    if (this.#stopped) return;
    if (this.#collector !== undefined) {
      const { channel, client } = this.#collector;
      channel.follow(client);
      client.start();
    }
    if (this.otlp === undefined) return;
    this.#otlpChannel?.follow(this.otlp);
    this.otlp.start();
  }

  /** Takes a batch over. */
  send(batch: EncodedBatch): void {
    // OTLP copies; the stream keeps the buffer and gives it back.
    this.otlp?.send(batch);
    if (this.#collector === undefined) this.#pool.release(batch.buffer);
    else this.#collector.client.send(batch);
  }

  async shutdown(timeoutMs: number): Promise<void> {
    this.#stopped = true;
    this.#collector?.channel.stop();
    this.#otlpChannel?.stop();
    await Promise.all([this.#collector?.client.shutdown(timeoutMs), this.otlp?.shutdown(timeoutMs)]);
  }
}
