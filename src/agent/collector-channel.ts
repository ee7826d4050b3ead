/** How the agent reaches its collector: endpoints in order, certificates that are followed while it runs. */
import { compressionAlgorithms } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import type { Settings } from '../config/schema.ts';
import { ChannelTls } from '../stream/channel-tls.ts';
import type { PublishClient } from '../stream/client.ts';
import { Endpoints } from '../stream/endpoints.ts';
import type { ClientTls } from '../tls/client-settings.ts';
import { TlsFiles, type TlsStatus } from '../tls/files.ts';

/** A Secret is renewed on every node within a minute or so: the streams are not to be opened anew all at once. */
const REOPEN_WITHIN_MS = 10_000;

const GZIP = { 'grpc.default_compression_algorithm': compressionAlgorithms.gzip };

export interface CollectorChannelOptions {
  /** HOST:PORT of the collector's replicas. */
  readonly addresses: readonly string[];
  /** Undefined: no TLS. */
  readonly tls: ClientTls | undefined;
  /** Of a stream; default none. */
  readonly compression?: Settings['collector']['compression'];
  readonly log: Logger;
  /** New certificates: the stream is opened anew after so long at most; default 10,000. */
  readonly reopenWithinMs?: number;
}

export class CollectorChannel {
  readonly dialer: Endpoints;
  readonly #files: TlsFiles | undefined;
  #reopen: NodeJS.Timeout | undefined;
  #client: Pick<PublishClient, 'reopen'> | undefined;

  constructor({ addresses, tls, compression, log, reopenWithinMs = REOPEN_WITHIN_MS }: CollectorChannelOptions) {
    const channelOptions = compression === 'gzip' ? GZIP : {};
    if (tls === undefined) {
      this.dialer = new Endpoints({ addresses, channelOptions });
      return;
    }
    const { paths, serverName, section } = tls;
    const files = new TlsFiles({
      paths,
      onApplied: ({ own, authority }) => {
        log.info({ certificate: own, authority }, 'new certificates are in force');
        this.#reopen ??= setTimeout(() => {
          this.#reopen = undefined;
          this.#client?.reopen();
        }, Math.random() * reopenWithinMs);
      },
      onRefused: ({ message }) => log.error({ tls: message }, 'the certificates were refused; the last good ones stay'),
    });
    this.#files = files;
    const security = new ChannelTls({ files, serverName, section });
    this.dialer = new Endpoints({ addresses, security, channelOptions });
  }

  /** Undefined: no TLS. */
  get tls(): TlsStatus | undefined {
    return this.#files?.status;
  }

  /** Follows the files, and has the client open its stream anew when they change. */
  follow(client: Pick<PublishClient, 'reopen'>): void {
    this.#client = client;
    this.#files?.start();
  }

  stop(): void {
    clearTimeout(this.#reopen);
    this.#files?.stop();
  }
}
