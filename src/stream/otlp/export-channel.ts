// One channel of grpc-js to an OTLP receiver, for calls of LogsService.Export.

import { type ChannelOptions, Client, compressionAlgorithms, Metadata, status } from '@grpc/grpc-js';
import type { Target } from '../endpoints.ts';
import { type Accepted, type CallFailure, decodeResponse } from './response.ts';

const EXPORT_PATH = '/opentelemetry.proto.collector.logs.v1.LogsService/Export';

const CHANNEL_OPTIONS: ChannelOptions = {
  'grpc.enable_http_proxy': 0,
  'grpc.enable_channelz': 0,
  'grpc.use_local_subchannel_pool': 1,
  // When to try again is the sink's to say.
  'grpc.enable_retries': 0,
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
  // A receiver says little; what it says is not to fill memory.
  'grpc.max_receive_message_length': 256 * 1024,
};

export interface ExportChannelOptions {
  readonly headers: Readonly<Record<string, string>>;
  readonly compression: 'gzip' | 'none';
  readonly timeoutMs: number;
  /** After this it is stale. */
  readonly lifeMs: number;
}

const identity = (bytes: Buffer): Buffer => bytes;

export class ExportChannel {
  readonly target: Target;
  private readonly client: Client;
  private readonly metadata = new Metadata();
  private readonly timeoutMs: number;
  private readonly endsAtMs: number;
  private readonly calls = new Set<{ cancel(): void }>();
  private marked = false;
  private retired = false;

  constructor(target: Target, { headers, compression, timeoutMs, lifeMs }: ExportChannelOptions) {
    this.target = target;
    this.timeoutMs = timeoutMs;
    this.endsAtMs = performance.now() + lifeMs;
    for (const [name, value] of Object.entries(headers)) this.metadata.set(name, value);
    const algorithm = compression === 'gzip' ? compressionAlgorithms.gzip : compressionAlgorithms.identity;
    this.client = new Client(target.address, target.credentials, {
      ...CHANNEL_OPTIONS,
      'grpc.default_compression_algorithm': algorithm,
      ...target.channelOptions,
    });
  }

  /** Another one is to take its place. */
  get stale(): boolean {
    return this.marked || performance.now() >= this.endsAtMs;
  }

  set stale(value: boolean) {
    this.marked = value;
  }

  /** One call; `done` is called once, and later. */
  export(request: Buffer, done: (failure: CallFailure | null, accepted: Accepted) => void): void {
    const deadline = Date.now() + this.timeoutMs;
    const nothing: Accepted = { rejected: 0, message: '' };
    const call = this.client.makeUnaryRequest(
      EXPORT_PATH,
      identity,
      identity,
      request,
      this.metadata,
      { deadline },
      (error, response) => {
        this.calls.delete(call);
        this.closeIdle();
        if (error !== null) {
          done(error, nothing);
          return;
        }
        let accepted: Accepted;
        try {
          accepted = decodeResponse(response ?? Buffer.alloc(0));
        } catch {
          // It said OK and then something else: what it took is not known, and event ids make a repeat harmless.
          const details = 'the answer is no ExportLogsServiceResponse';
          done({ code: status.DATA_LOSS, details, metadata: new Metadata() }, nothing);
          return;
        }
        done(null, accepted);
      },
    );
    this.calls.add(call);
  }

  /** No further calls; those under way end as they do. */
  retire(): void {
    this.retired = true;
    this.closeIdle();
  }

  /** Ends what is under way, and the channel. */
  cancel(): void {
    for (const call of this.calls) call.cancel();
    this.client.close();
  }

  private closeIdle(): void {
    if (this.retired && this.calls.size === 0) this.client.close();
  }
}
