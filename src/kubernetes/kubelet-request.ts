import type { IncomingMessage } from 'node:http';
import { type RequestOptions, request } from 'node:https';
import { isIP } from 'node:net';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import { PodSourceError } from './pod-source.ts';

export interface KubeletRequest {
  readonly url: URL;
  /** The certificate may be for this name instead of the URL's host; '' : only for the latter. */
  readonly nodeName: string;
  readonly token: string;
  /** PEM; '' with `insecure`. */
  readonly ca: string;
  readonly caFile: string;
  /** The peer is not verified: whoever answers there gets the token. */
  readonly insecure: boolean;
  readonly timeoutMs: number;
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

/** What reads the body of a 200 while it arrives. */
export type BodyReader<T> = (body: AsyncIterable<Buffer>) => Promise<T>;

export type KubeletReply<T> =
  | { readonly status: 200; readonly value: T }
  /** `said`: the first KiB of the body. */
  | { readonly status: number; readonly said: string };

const MAX_SAID_BYTES = 1024;

/**
 * One GET, over a connection of its own (a token or CA that changed is then never mixed with an old connection).
 * Rejects with PodSourceError, or with what `read` throws.
 */
export function getFromKubelet<T>(ask: KubeletRequest, read: BodyReader<T>): Promise<KubeletReply<T>> {
  return new Promise((resolve, reject) => {
    const fail = (error: unknown) => reject(asSourceError(error, ask));
    const req = request(ask.url, optionsOf(ask), (res) => {
      const status = res.statusCode ?? 0;
      const done: Promise<KubeletReply<T>> =
        status === 200
          ? read(bounded(res, ask.maxBytes)).then((value) => ({ status: 200, value }))
          : beginning(res).then((said) => ({ status, said }));
      // What ends the request has rejected before, by its own error.
      done.then(resolve, (error: unknown) => {
        reject(error);
        req.destroy();
      });
    });
    const deadline = setTimeout(
      () => req.destroy(new PodSourceError('timeout', `no whole reply from ${ask.url.href} in ${ask.timeoutMs} ms`)),
      ask.timeoutMs,
    );
    req.on('error', fail);
    req.on('close', () => clearTimeout(deadline));
    req.end();
  });
}

async function* bounded(res: IncomingMessage, maxBytes: number): AsyncGenerator<Buffer> {
  let bytes = 0;
  const cut = () => new PodSourceError('reply', `the kubelet's reply was cut after ${bytes} bytes`);
  const chunks = res[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await chunks.next().catch(() => {
        throw cut();
      });
      if (next.done) return;
      const chunk: Buffer = next.value;
      bytes += chunk.length;
      if (bytes > maxBytes) {
        throw new PodSourceError('too-large', `the kubelet's reply is over ${maxBytes} bytes: it was not read further`);
      }
      yield chunk;
    }
  } finally {
    res.destroy();
  }
}

async function beginning(res: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of bounded(res, Number.POSITIVE_INFINITY)) {
    if (bytes < MAX_SAID_BYTES) chunks.push(chunk.subarray(0, MAX_SAID_BYTES - bytes));
    bytes += chunk.length;
  }
  return Buffer.concat(chunks).toString('utf8');
}

function optionsOf(ask: KubeletRequest): RequestOptions {
  const host = ask.url.hostname.replace(/^\[|\]$/g, '');
  const names = [...new Set([host, ask.nodeName])].filter((name) => name !== '');
  // SNI takes no addresses; a kubelet has one certificate, so the name only helps what stands in between.
  const servername = names.find((name) => isIP(name) === 0) ?? '';
  return {
    method: 'GET',
    headers: { authorization: `Bearer ${ask.token}`, accept: 'application/json', 'user-agent': 'kerntap' },
    agent: false,
    signal: ask.signal,
    servername,
    rejectUnauthorized: !ask.insecure,
    ...(ask.insecure ? {} : { ca: ask.ca }),
    checkServerIdentity: (_name, certificate) => checkNames(names, certificate),
  };
}

// A self-signed kubelet certificate names only the node, one from a CSR also its addresses (kubernetes
// cmd/kubelet/app/server.go, pkg/kubelet/certificate/kubelet.go): either of them will do.
function checkNames(names: readonly string[], certificate: PeerCertificate): Error | undefined {
  for (const name of names) if (checkServerIdentity(name, certificate) === undefined) return undefined;
  const offered = certificate.subjectaltname ?? `CN=${String(certificate.subject?.CN ?? '')}`;
  return new PodSourceError(
    'tls',
    `the kubelet's certificate is for ${offered}, not for ${names.join(' or ')}: set --node-name to the node's name`,
  );
}

const CERTIFICATE_ERRORS = new Set([
  'CERT_NOT_YET_VALID',
  'CERT_SIGNATURE_FAILURE',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'INVALID_CA',
  'INVALID_PURPOSE',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

function asSourceError(error: unknown, ask: KubeletRequest): PodSourceError {
  if (error instanceof PodSourceError) return error;
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const message = error instanceof Error ? error.message : String(error);
  const at = ask.url.host;
  if (code === 'ABORT_ERR') return new PodSourceError('closed', 'closed');
  if (CERTIFICATE_ERRORS.has(code)) {
    return new PodSourceError(
      'tls',
      `the kubelet's certificate at ${at} is not signed by ${ask.caFile} (${code}): ` +
        "name the right CA with --kubelet-ca-file (a self-signed kubelet's is its own kubelet.crt), " +
        'or trust whoever answers there with --kubelet-insecure',
    );
  }
  if (code === 'CERT_HAS_EXPIRED') return new PodSourceError('tls', `the kubelet's certificate at ${at} has expired`);
  if (code.startsWith('ERR_SSL') || code.startsWith('ERR_TLS') || code === 'EPROTO') {
    return new PodSourceError('tls', `no TLS with ${at}: ${message}`);
  }
  if (code === 'ECONNREFUSED') {
    return new PodSourceError('unreachable', `connection refused at ${at}: is the kubelet running, is this its port?`);
  }
  return new PodSourceError('unreachable', `cannot reach the kubelet at ${at}: ${message}`);
}
