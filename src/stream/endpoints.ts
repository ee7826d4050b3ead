// Where the next stream goes. Several endpoints are replicas of one collector: the first is meant, the others stand in.

import { type ChannelCredentials, type ChannelOptions, credentials } from '@grpc/grpc-js';

/** What one stream is opened with: as it is now, for a channel of its own. */
export interface Target {
  /** HOST:PORT, or any target of grpc-js. */
  readonly address: string;
  readonly credentials: ChannelCredentials;
  readonly channelOptions: ChannelOptions;
  /** Undefined: as the client has it. */
  readonly connectTimeoutMs?: number;
}

/** Chooses for the client what to open, and is told how that went. */
export interface Dialer {
  /** For the next stream. Throws where its credentials cannot be had: it is asked again later. */
  target(): Target;
  /** The stream is of use: its collector confirmed something, or it held for long. */
  worked(): void;
  /** The stream is over: in order, or since something failed. */
  over(failed: boolean): void;
  /** What such a failure means for this target, and what to do about it. */
  explain(target: Target, message: string): string;
}

/** Credentials of one endpoint, read anew for each stream. */
export interface ChannelSecurity {
  /** Throws where the files are not to be used. */
  credentialsFor(address: string): Pick<Target, 'credentials' | 'channelOptions'>;
  explain(address: string, message: string): string;
}

export interface EndpointsOptions {
  /** At least one, each HOST:PORT. */
  readonly addresses: readonly string[];
  readonly security?: ChannelSecurity;
  readonly channelOptions?: ChannelOptions;
}

/** One that does not answer must not keep the agent from the next. */
const NEXT_AFTER_MS = 5_000;

/** grpc-js adds these two around the reason of a connection that failed. */
const DRESSING = /^No connection established\. Last error: (.*?)\s*(?:\(\d{4}-[^)]*Z\))?\. Resolution note: .*$/s;

/** No encryption. `settings`: where it is asked for, for people. */
export function plaintext(settings: string): ChannelSecurity {
  return {
    credentialsFor: () => ({ credentials: credentials.createInsecure(), channelOptions: {} }),
    explain: (address, message) =>
      /^(?:Failed to connect|.*ECONNRESET)/.test(message)
        ? `${address} took the connection and ended it before it spoke HTTP/2: if it wants TLS, set ${settings}`
        : message,
  };
}

const PLAINTEXT = plaintext('collector.tls (--collector-tls)');

/**
 * Ordered failover: after a stream that failed before it was of use comes the next endpoint, after one that was of use,
 * or that was re-opened in order, the first again.
 */
export class Endpoints implements Dialer {
  readonly #addresses: readonly string[];
  readonly #security: ChannelSecurity;
  readonly #channelOptions: ChannelOptions;
  #next = 0;
  #worked = false;

  constructor({ addresses, security = PLAINTEXT, channelOptions = {} }: EndpointsOptions) {
    if (addresses.length === 0) throw new TypeError('no endpoint');
    this.#addresses = addresses;
    this.#security = security;
    this.#channelOptions = channelOptions;
  }

  target(): Target {
    this.#worked = false;
    const address = this.#addresses[this.#next] ?? '';
    const { credentials, channelOptions } = this.#security.credentialsFor(address);
    return {
      address,
      credentials,
      channelOptions: { ...channelOptions, ...this.#channelOptions },
      ...(this.#addresses.length > 1 ? { connectTimeoutMs: NEXT_AFTER_MS } : {}),
    };
  }

  worked(): void {
    this.#worked = true;
  }

  over(failed: boolean): void {
    this.#next = failed && !this.#worked ? (this.#next + 1) % this.#addresses.length : 0;
  }

  explain({ address }: Target, message: string): string {
    const reason = DRESSING.exec(message)?.[1] ?? message;
    // What ends a stream that was of use has nothing to do with how it is secured: a collector that was killed, mostly.
    return this.#worked ? reason : this.#security.explain(address, reason);
  }
}
