// TLS of a channel to a collector (or to any other gRPC server): credentials read anew for each stream, and what it means
// when they do not do.

import { isIP } from 'node:net';
import { checkServerIdentity, createSecureContext, type PeerCertificate } from 'node:tls';
import { credentials } from '@grpc/grpc-js';
import type { TlsFiles } from '../tls/files.ts';
import type { ChannelSecurity, Target } from './endpoints.ts';

export interface ChannelTlsOptions {
  readonly files: TlsFiles;
  /** Name that the server's certificate has to have; undefined: the host of the endpoint. */
  readonly serverName: string | undefined;
  /** Section of the settings, for those who have to mend them: collector.tls. */
  readonly section: string;
}

/** TLS carries no address as the name that is asked for (RFC 6066, 3): it then has this one, which nobody checks. */
const NAME_FOR_ADDRESSES = 'kerntap-collector';

const UNTRUSTED =
  /self[- ]signed certificate|unable to (?:get|verify)|signature failure|invalid CA|issuer certificate/i;
const NOT_TLS = /wrong version number|packet length too long|unexpected message|http request/i;
const NO_CERTIFICATE = /alert certificate required|alert handshake failure/i;
const REFUSED_CERTIFICATE =
  /alert (?:unknown ca|bad certificate|certificate (?:expired|revoked|unknown)|access denied)/i;
const CUT_OFF = /^(?:Error: )?(?:Failed to connect|Socket closed|Connection closed|.*ECONNRESET|.*before secure TLS)/i;

export class ChannelTls implements ChannelSecurity {
  readonly #options: ChannelTlsOptions;

  constructor(options: ChannelTlsOptions) {
    this.#options = options;
  }

  /** Throws TlsFileError where there are no good files yet. */
  credentialsFor(address: string): Pick<Target, 'credentials' | 'channelOptions'> {
    const { files, serverName } = this.#options;
    const { ca, cert, key } = files.current;
    const name = serverName ?? hostOf(address);
    const context = createSecureContext({ ca, cert, key, minVersion: 'TLSv1.2' });
    return {
      credentials: credentials.createFromSecureContext(context, {
        checkServerIdentity: (_asked: string, certificate: PeerCertificate) => this.#checkName(name, certificate),
      }),
      channelOptions: { 'grpc.ssl_target_name_override': isIP(name) === 0 ? name : NAME_FOR_ADDRESSES },
    };
  }

  /** A reason of grpc-js or OpenSSL in the operator's words; others as they are. */
  explain(address: string, message: string): string {
    const { files, section } = this.#options;
    const { ca } = files.paths;
    if (UNTRUSTED.test(message)) {
      const by = ca === undefined ? 'an authority that Node knows' : `an authority in ${ca.path}`;
      return `the certificate of ${address} is not signed by ${by} (${plain(message)}): name the right one with ${ca?.setting ?? 'a CA file'}, or renew the collector's certificate`;
    }
    if (/certificate has expired/i.test(message)) {
      return `the certificate of ${address} has expired: renew it there; a collector takes the new one without a restart`;
    }
    if (/certificate is not yet valid/i.test(message)) {
      return `the certificate of ${address} is not valid yet: one of the two clocks is wrong`;
    }
    if (NOT_TLS.test(message)) {
      return `${address} does not speak TLS: give its collector --tls-cert and --tls-key, or turn TLS off here`;
    }
    if (REFUSED_CERTIFICATE.test(message)) return this.#refused(address, plain(message));
    if (NO_CERTIFICATE.test(message) || CUT_OFF.test(message)) {
      if (files.paths.cert !== undefined) return this.#refused(address, plain(message));
      return `${address} ended the TLS handshake (${plain(message)}): it wants a client certificate, set ${section}.certFile and .keyFile`;
    }
    return plain(message);
  }

  #refused(address: string, message: string): string {
    const { cert } = this.#options.files.paths;
    const own = ownFacts(this.#options.files);
    const expired = own !== undefined && own.notAfterMs < Date.now();
    const which = own === undefined ? '' : ` (${own.subject}, signed by ${own.issuer})`;
    const why = expired
      ? `it expired on ${new Date(own.notAfterMs).toISOString()}: renew it`
      : "its authority has to be in the collector's --tls-client-ca";
    return `${address} ended the TLS handshake (${message}): it refuses the client certificate ${cert?.path}${which}, ${why}`;
  }

  #checkName(name: string, certificate: PeerCertificate): Error | undefined {
    if (checkServerIdentity(name, certificate) === undefined) return undefined;
    const names = certificate.subjectaltname ?? `CN=${String(certificate.subject?.CN ?? '')}`;
    return new Error(
      `the server's certificate is for ${names}, not for ${name}: set ${this.#options.section}.serverName to one of its names, or issue one for ${name}`,
    );
  }
}

function ownFacts(files: TlsFiles) {
  try {
    return files.current.own;
  } catch {
    return undefined;
  }
}

function hostOf(address: string): string {
  return address.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
}

/** OpenSSL's own words alone: `…:error:0A00010B:SSL routines:ssl3_get_record:wrong version number:../deps/…`. */
function plain(message: string): string {
  return (/error:[0-9A-F]+:[^:]*:[^:]*:([^:]+):/.exec(message)?.[1] ?? message).replace(/^Error: /, '').trim();
}
