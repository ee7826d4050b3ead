import type { PeerCertificate } from 'node:tls';
import { status } from '@grpc/grpc-js';
import { ClientPattern, namesOf } from './client-names.ts';
import { ProtocolError } from './peer.ts';
import { Quota } from './quota.ts';

export interface AdmissionOptions {
  /** Names of client certificates (ClientPattern); none: every client that TLS let in, or all where there is no TLS. */
  readonly allowClients: readonly string[];
  /** Streams of one client at a time: a lost one counts until keep-alive finds out. */
  readonly clientStreams: number;
  /** What one client may send a second, on all its streams; 0: no limit. */
  readonly clientBytes: number;
  readonly clientEvents: number;
}

/** A client whose stream was let in. */
export interface Guest {
  /** For the log. */
  readonly name: string;
  /** The node that its certificate names: it speaks for no other. */
  readonly node: string | undefined;
  /** It sent this much; returns for how long nothing more may be read from it, ms. */
  spend(bytes: number, events: number): number;
  /** Its stream is over. */
  leave(): void;
}

interface Account {
  streams: number;
  readonly bytes: Quota;
  readonly events: Quota;
}

/** Accounts without a stream that are remembered, so that a new stream is no new quota. */
const IDLE_ACCOUNTS_MAX = 20_000;
/** Of a certificate's names, in a message. */
const NAMES_SHOWN = 5;

/**
 * Who may publish, for which node, and how much. A client is a certificate that names its node, else a certificate's name
 * and the node it says it is: where agents share a certificate, one that was taken over can claim to be another node.
 */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #patterns: readonly ClientPattern[];
  readonly #now: () => number;
  readonly #accounts = new Map<string, Account>();

  /** Throws TypeError for a pattern that is none. */
  constructor(options: AdmissionOptions, now: () => number = () => performance.now()) {
    this.#options = options;
    this.#patterns = options.allowClients.map((text) => new ClientPattern(text));
    this.#now = now;
  }

  /** Throws ProtocolError: PERMISSION_DENIED or RESOURCE_EXHAUSTED. */
  admit(certificate: PeerCertificate | undefined, nodeName: string): Guest {
    const { name, bound } = this.#identify(certificate, nodeName);
    const key = bound ? name : `${name} ${nodeName}`;
    const account = this.#accountOf(key);
    const { clientStreams } = this.#options;
    if (account.streams >= clientStreams) {
      throw new ProtocolError(
        status.RESOURCE_EXHAUSTED,
        `the client ${name || nodeName} has its ${clientStreams} streams: end one, or raise --client-streams of the collector`,
        'client_streams',
      );
    }
    account.streams += 1;
    let here = true;
    return {
      name,
      node: bound ? nodeName : undefined,
      spend: (bytes, events) => {
        const now = this.#now();
        return Math.max(account.bytes.spend(bytes, now), account.events.spend(events, now));
      },
      leave: () => {
        if (!here) return;
        here = false;
        account.streams -= 1;
        if (account.streams === 0) this.#forget();
      },
    };
  }

  #identify(certificate: PeerCertificate | undefined, nodeName: string): { name: string; bound: boolean } {
    const names = certificate === undefined ? [] : namesOf(certificate);
    if (this.#patterns.length === 0) return { name: names[0] ?? '', bound: false };
    for (const pattern of this.#patterns) {
      const name = names.find((each) => pattern.fits(each, nodeName));
      if (name !== undefined) return { name, bound: pattern.namesNode };
    }
    const shown = names.slice(0, NAMES_SHOWN).map((name) => name.slice(0, 253));
    throw new ProtocolError(
      status.PERMISSION_DENIED,
      `the client certificate (${shown.join(', ') || 'without a name'}) may not publish for node ${nodeName.slice(0, 253)}: ` +
        'it fits no --allow-client of the collector',
      'client_name',
    );
  }

  #accountOf(key: string): Account {
    const known = this.#accounts.get(key);
    if (known !== undefined) return known;
    const { clientBytes, clientEvents } = this.#options;
    const now = this.#now();
    const account = { streams: 0, bytes: new Quota(clientBytes, now), events: new Quota(clientEvents, now) };
    this.#accounts.set(key, account);
    return account;
  }

  /** Lets go of those that owe nothing; of others, too, where there are too many. */
  #forget(): void {
    if (this.#accounts.size <= IDLE_ACCOUNTS_MAX) return;
    const now = this.#now();
    for (const [key, { streams, bytes, events }] of this.#accounts) {
      if (streams === 0 && bytes.full(now) && events.full(now)) this.#accounts.delete(key);
    }
    for (const [key, { streams }] of this.#accounts) {
      if (this.#accounts.size <= IDLE_ACCOUNTS_MAX) break;
      if (streams === 0) this.#accounts.delete(key);
    }
  }
}
