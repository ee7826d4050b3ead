import { Server, status } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { EVENT_COLLECTOR } from '../../proto/contract.ts';
import { Admission, type AdmissionOptions } from './admission.ts';
import { Complaints } from './complaints.ts';
import { type CollectorStats, Counters } from './counters.ts';
import { type Listener, listenPlain, listenTls, type ServerTls } from './listener.ts';
import { Retention, type RetentionOptions } from './retention.ts';
import { type PublishCall, Session } from './session.ts';
import { EventStore, type StoreOptions } from './store.ts';
import { Turns } from './turns.ts';

export type { CollectorStats } from './counters.ts';

/** `out` is made if missing; what is left out has the defaults below. */
export interface CollectorOptions extends Partial<StoreOptions>, Partial<RetentionOptions>, Partial<AdmissionOptions> {
  /** HOST:PORT (port 0: any free one) or unix:PATH. */
  readonly listen: string;
  readonly out: string;
  readonly log: Logger;
  /** Undefined: plain connections. */
  readonly tls?: ServerTls;
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
  Pick<RetentionOptions, 'retainBytes' | 'retainMs'> &
  AdmissionOptions & {
    readonly maxStreams: number;
    readonly communityIdSeed: number;
    readonly closeMs: number;
  } = {
  rotateBytes: 128 << 20,
  rotateMs: 600_000,
  idleMs: 60_000,
  commitMs: 25,
  maxFiles: 1024,
  shareAbove: 16,
  maxBuffered: 64 << 20,
  retryMs: 250,
  retainBytes: 0,
  retainMs: 0,
  maxStreams: 10_000,
  allowClients: [],
  clientStreams: 8,
  clientBytes: 0,
  clientEvents: 0,
  communityIdSeed: 0,
  closeMs: 8_000,
};

const CHANNEL = {
  // Agents flush at 64 KiB; one event is at most some 100 KiB.
  'grpc.max_receive_message_length': 4 << 20,
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.enable_channelz': 0,
  // Of one connection; an agent has one.
  'grpc.max_concurrent_streams': 16,
};

/** An agent opens its stream anew after twelve minutes at most; whoever does not has to show a certificate again. */
const CERTIFIED_CHANNEL = { 'grpc.max_connection_age_ms': 1_800_000, 'grpc.max_connection_age_grace_ms': 60_000 };

/**
 * Starts a collector: a gRPC server whose acks mean durable, and partitioned NDJSON files under `out`.
 * Throws where the folder cannot be used, another collector has it, or the address cannot be bound.
 */
export async function startCollector(options: CollectorOptions): Promise<Collector> {
  const { listen, log, tls, ...rest } = options;
  const settings = { ...DEFAULTS, ...rest };
  const counters = new Counters();
  const admission = new Admission(settings);
  const store = await EventStore.open(settings, counters, log);
  const retention = new Retention(store.out, settings, counters, log);
  const sessions = new Set<Session>();
  const complaints = new Complaints(log);
  const { communityIdSeed } = settings;
  const parts = { store, counters, admission, complaints, turns: new Turns(), communityIdSeed, log };
  const server = new Server(tls === undefined ? CHANNEL : { ...CHANNEL, ...CERTIFIED_CHANNEL });
  server.addService(EVENT_COLLECTOR, {
    Publish: (call: PublishCall) => {
      if (sessions.size >= settings.maxStreams) {
        counters.refusedPeer('streams');
        call.emit('error', {
          code: status.RESOURCE_EXHAUSTED,
          details: `this collector has its ${settings.maxStreams} streams`,
        });
        return;
      }
      const session = new Session(call, parts);
      sessions.add(session);
      void session.ended.then(() => sessions.delete(session));
    },
  });
  const refused = (reason: string, peer: string): void => {
    counters.refusedPeer('tls');
    complaints.warn('tls', { peer, reason }, 'a TLS handshake failed');
  };
  let listener: Listener;
  try {
    listener = await (tls === undefined ? listenPlain(server, listen) : listenTls(server, listen, tls, refused));
  } catch (error) {
    await store.close(0);
    throw error;
  }

  retention.start();

  async function stop(): Promise<void> {
    listener.close();
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
    address: listen.startsWith('unix:') ? listen : listen.replace(/:\d+$/, `:${listener.port}`),
    stats: () => counters.snapshot(),
    close: () => {
      closing ??= stop().catch((error: unknown) => log.error({ err: error }, 'the collector did not close in order'));
      return closing;
    },
  };
}
