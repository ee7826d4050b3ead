// One Publish stream on one channel of grpc-js. It carries bytes and says what happened; the client decides.

import { type ChannelCredentials, type ChannelOptions, Client, type ClientDuplexStream, Metadata } from '@grpc/grpc-js';
import { EVENT_COLLECTOR, type PublishResponse } from '../../proto/contract.ts';
import { pickAny } from './pick-any.ts';

export interface ConnectionOptions {
  /** HOST:PORT, or any target of grpc-js. */
  readonly address: string;
  readonly credentials: ChannelCredentials;
  readonly channelOptions: ChannelOptions;
  readonly connectTimeoutMs: number;
}

/** How a stream ended: code 0 is an orderly end by the collector. */
export interface Ended {
  readonly code: number;
  readonly message: string;
}

export interface ConnectionEvents {
  /** The channel is up; the Hello is on its way. */
  ready(): void;
  response(response: PublishResponse): void;
  /** After a write returned false. */
  writable(): void;
  /** Once, the last event; not after `close`. */
  ended(ended: Ended): void;
}

/** Code of a connection that took too long, and of a call that did. */
export const DEADLINE_EXCEEDED = 4;

/**
 * Each stream has a channel of its own: a new one resolves the name again, uses renewed certificates, and leaves the
 * pace of reconnecting to the client.
 */
const CHANNEL_OPTIONS: ChannelOptions = {
  'grpc.enable_http_proxy': 0,
  'grpc.enable_channelz': 0,
  'grpc.service_config': pickAny(),
  // A name server is not asked for such a configuration: 5,000 agents would ask at every open.
  'grpc.service_config_disable_resolution': 1,
  'grpc.use_local_subchannel_pool': 1,
  // With retries, grpc-js keeps 1 MiB of frames and then stops for good; the resend is the client's.
  'grpc.enable_retries': 0,
  'grpc.per_rpc_retry_buffer_size': 0,
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
};

export class Connection {
  private readonly client: Client;
  private readonly call: ClientDuplexStream<Uint8Array, PublishResponse>;
  private readonly events: ConnectionEvents;
  private over = false;

  /** Opens at once; `hello`: bytes of PublishRequest { hello }. */
  constructor(options: ConnectionOptions, hello: Uint8Array, events: ConnectionEvents) {
    const { path, requestSerialize, responseDeserialize } = EVENT_COLLECTOR.Publish;
    this.events = events;
    this.client = new Client(options.address, options.credentials, { ...CHANNEL_OPTIONS, ...options.channelOptions });
    this.call = this.client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, new Metadata());
    this.call.on('data', (response: PublishResponse) => {
      if (!this.over) events.response(response);
    });
    this.call.on('drain', () => {
      if (!this.over) events.writable();
    });
    // `status` follows, with the same code.
    this.call.on('error', () => {});
    this.call.on('status', ({ code, details }) => {
      // After an orderly end the last responses may still be in the readable buffer.
      if (code === 0 && !this.call.readableEnded) this.call.once('end', () => this.finish({ code, message: details }));
      else this.finish({ code, message: details });
    });
    this.call.write(hello);
    this.client.waitForReady(Date.now() + options.connectTimeoutMs, (error) => {
      if (this.over) return;
      if (error === undefined) events.ready();
      else this.finish({ code: DEADLINE_EXCEEDED, message: `no connection within ${options.connectTimeoutMs} ms` });
    });
  }

  /** False: wait for `writable`. `done`: the frame is copied. */
  write(frame: Uint8Array, done: () => void): boolean {
    return this.call.write(frame, done);
  }

  /** No more writes: the collector answers what it has and ends the stream. */
  halfClose(): void {
    this.call.end();
  }

  /** Drops the stream without another event. */
  close(): void {
    this.over = true;
    this.call.cancel();
    this.client.close();
  }

  private finish(ended: Ended): void {
    if (this.over) return;
    this.close();
    this.events.ended(ended);
  }
}
