/** How the agent reaches its collector: endpoints in order, certificates that are followed while it runs. */
import type { Logger } from 'pino';
import { ChannelTls } from '../stream/channel-tls.ts';
import type { PublishClient } from '../stream/client.ts';
import { Endpoints } from '../stream/endpoints.ts';
import type { ClientTls } from '../tls/client-settings.ts';
import { TlsFiles, type TlsStatus } from '../tls/files.ts';

/** A Secret is renewed on every node within a minute or so: the streams are not to be opened anew all at once. */
const REOPEN_WITHIN_MS = 10_000;

export class CollectorChannel {
  readonly dialer: Endpoints;
  readonly #files: TlsFiles | undefined;
  #reopen: NodeJS.Timeout | undefined;
  #client: Pick<PublishClient, 'reopen'> | undefined;

  constructor(addresses: readonly string[], tls: ClientTls | undefined, log: Logger) {
    if (tls === undefined) {
      this.dialer = new Endpoints({ addresses });
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
        }, Math.random() * REOPEN_WITHIN_MS);
      },
      onRefused: ({ message }) => log.error({ tls: message }, 'the certificates were refused; the last good ones stay'),
    });
    this.#files = files;
    this.dialer = new Endpoints({ addresses, security: new ChannelTls({ files, serverName, section }) });
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
