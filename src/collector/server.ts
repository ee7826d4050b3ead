import { Server, ServerCredentials, status } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { EVENT_COLLECTOR } from '../../proto/contract.ts';
import { type CollectorStats, Counters } from './counters.ts';
import { Retention, type RetentionOptions } from './retention.ts';
import { type PublishCall, Session } from './session.ts';
import { EventStore, type StoreOptions } from './store.ts';

export type { CollectorStats } from './counters.ts';

/** `out` is made if missing; what is left out has the defaults below. */
export interface CollectorOptions extends Partial<StoreOptions>, Partial<RetentionOptions> {
  /** HOST:PORT (port 0: any free one) or unix:PATH. */
  readonly listen: string;
  readonly out: string;
  readonly log: Logger;
  /** Streams at a time; further ones are told RESOURCE_EXHAUSTED. */
  readonly maxStreams?: number;
  /** Seed of the Community IDs of connections, 0..65535. */
  readonly communityIdSeed?: number;
  /** How long close() may take to write and acknowledge what was received. */
  readonly closeMs?: number;
}

export interface Collector {
  /** Where it listens: what an agent connects to. */
  readonly address: string;
  stats(): CollectorStats;
  /** Takes no more, writes and acknowledges what it has, finishes its files. Never throws; may be called twice. */
  close(): Promise<void>;
}

export const DEFAULTS: Omit<StoreOptions, 'out'> &
  Pick<RetentionOptions, 'retainBytes' | 'retainMs'> & {
    readonly maxStreams: number;
    readonly communityIdSeed: number;
    readonly closeMs: number;
  } = {
  rotateBytes: 128 << 20,
  rotateMs: 600_000,
  idleMs: 60_000,
  commitMs: 25,
  maxFiles: 1024,
  maxBuffered: 64 << 20,
  retryMs: 250,
  retainBytes: 0,
  retainMs: 0,
  maxStreams: 10_000,
  communityIdSeed: 0,
  closeMs: 8_000,
};

const CHANNEL = {
  // Agents flush at 64 KiB; one event is at most some 100 KiB.
  'grpc.max_receive_message_length': 4 << 20,
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.enable_channelz': 0,
};

function bind(server: Server, listen: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(listen, ServerCredentials.createInsecure(), (error, port) => {
      if (error === null) resolve(port);
      else reject(new Error(`cannot listen on ${listen}: ${error.message}`));
    });
  });
}

/**
 * Starts a collector: a gRPC server whose acks mean durable, and partitioned NDJSON files under `out`.
 * Throws where the folder cannot be used, another collector has it, or the address cannot be bound.
 */
export async function startCollector(options: CollectorOptions): Promise<Collector> {
  const { listen, log, ...rest } = options;
  const settings = { ...DEFAULTS, ...rest };
  const counters = new Counters();
  const store = await EventStore.open(settings, counters, log);
  const retention = new Retention(store.out, settings, counters, log);
  const sessions = new Set<Session>();
  const server = new Server(CHANNEL);
  server.addService(EVENT_COLLECTOR, {
    Publish: (call: PublishCall) => {
      if (sessions.size >= settings.maxStreams) {
        counters.streamsRefused += 1;
        call.emit('error', {
          code: status.RESOURCE_EXHAUSTED,
          details: `this collector has its ${settings.maxStreams} streams`,
        });
        return;
      }
      const session = new Session(call, store, counters, settings.communityIdSeed, log);
      sessions.add(session);
      void session.ended.then(() => sessions.delete(session));
    },
  });
  let port: number;
  try {
    port = await bind(server, listen);
  } catch (error) {
    await store.close(0);
    throw error;
  }

  retention.start();

  async function stop(): Promise<void> {
    const drained = new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
    const forced = setTimeout(() => server.forceShutdown(), settings.closeMs);
    const stopped = Promise.all([...sessions].map((session) => session.stop()));
    await Promise.race([
      Promise.all([stopped, drained]),
      new Promise((resolve) => setTimeout(resolve, settings.closeMs).unref()),
    ]);
    clearTimeout(forced);
    server.forceShutdown();
    await retention.stop();
    await store.close(1_000);
  }

  let closing: Promise<void> | null = null;
  return {
    address: listen.startsWith('unix:') ? listen : listen.replace(/:\d+$/, `:${port}`),
    stats: () => counters.snapshot(),
    close: () => {
      closing ??= stop().catch((error: unknown) => log.error({ err: error }, 'the collector did not close in order'));
      return closing;
    },
  };
}
