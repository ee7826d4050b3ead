import type { AddressInfo } from 'node:net';
import { createServer, type TLSSocket, type Server as TlsServer } from 'node:tls';
import { type Server, ServerCredentials } from '@grpc/grpc-js';

/** PEM that goes together; `ca`: of the clients, undefined: clients need no certificate. */
export interface ServerMaterial {
  readonly cert: Buffer | undefined;
  readonly key: Buffer | undefined;
  readonly ca: Buffer | undefined;
}

/** Where a TLS collector gets its certificates from. */
export interface ServerTls {
  /** Those in force. Throws where there are none. */
  readonly current: ServerMaterial;
  /** Calls back with others; the callback throws where they cannot be used. */
  onChange(take: (material: ServerMaterial) => void): void;
}

export interface Listener {
  /** 0 for a socket of a path. */
  readonly port: number;
  /** Takes no more connections. */
  close(): void;
}

/** For a handshake: who has not spoken by then is no agent. */
const HANDSHAKE_MS = 10_000;

/** Plain connections, as grpc-js takes them. Rejects where the address cannot be had. */
export function listenPlain(server: Server, listen: string): Promise<Listener> {
  return new Promise((resolve, reject) => {
    server.bindAsync(listen, ServerCredentials.createInsecure(), (error, port) => {
      if (error === null) resolve({ port, close: () => {} });
      else reject(new Error(`cannot listen on ${listen}: ${error.message}`));
    });
  });
}

/**
 * TLS by a server of Node's own, which hands whole connections to grpc-js: so certificates are renewed by a public call
 * (grpc-js's way to do so is experimental), and a client that is refused is told of. `refused`: why, and from where.
 */
export function listenTls(
  server: Server,
  listen: string,
  tls: ServerTls,
  refused: (reason: string, peer: string) => void,
): Promise<Listener> {
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const mutual = tls.current.ca !== undefined;
  const acceptor = createServer(
    {
      ...contextOf(tls.current),
      ALPNProtocols: ['h2'],
      requestCert: mutual,
      rejectUnauthorized: mutual,
      handshakeTimeout: HANDSHAKE_MS,
    },
    (socket) => {
      socket.setNoDelay(true);
      injector.injectConnection(socket);
    },
  );
  acceptor.on('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => {
    // Who says nothing and goes asked whether something listens here: a load balancer, mostly.
    const verdict = verdictOf(socket);
    if (error.code === 'ECONNRESET' && socket.bytesRead === 0 && verdict === undefined) return;
    refused(verdict === undefined ? handshakeReason(error) : `client certificate: ${verdict}`, peerOf(socket));
  });
  tls.onChange((material) => {
    if ((material.ca !== undefined) !== mutual) throw new Error('client certificates cannot be turned on or off');
    acceptor.setSecureContext(contextOf(material));
  });
  return bound(acceptor, listen);
}

const contextOf = ({ cert, key, ca }: ServerMaterial) => ({ cert, key, ca, minVersion: 'TLSv1.2' as const });

function bound(acceptor: TlsServer, listen: string): Promise<Listener> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => reject(new Error(`cannot listen on ${listen}: ${error.message}`));
    acceptor.once('error', fail);
    const ready = (): void => {
      acceptor.off('error', fail);
      const address = acceptor.address() as AddressInfo | string;
      resolve({ port: typeof address === 'string' ? 0 : address.port, close: () => acceptor.close() });
    };
    if (listen.startsWith('unix:')) acceptor.listen(listen.slice('unix:'.length), ready);
    else {
      const colon = listen.lastIndexOf(':');
      const host = listen.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
      acceptor.listen({ host, port: Number(listen.slice(colon + 1)) }, ready);
    }
  });
}

function peerOf({ remoteAddress, remotePort }: TLSSocket): string {
  return remoteAddress === undefined ? '' : `${remoteAddress}:${remotePort}`;
}

/** Node's code of what is wrong with the client's certificate; undefined: nothing, or none was looked at. */
function verdictOf(socket: TLSSocket): string | undefined {
  // Typed as an Error; it is the code's text.
  const verdict = socket.authorizationError as unknown;
  return typeof verdict === 'string' && verdict !== '' ? verdict : undefined;
}

/** OpenSSL's reason without its file names. */
function handshakeReason(error: NodeJS.ErrnoException): string {
  return /error:[0-9A-F]+:[^:]*:[^:]*:([^:]+):/.exec(error.message)?.[1] ?? error.code ?? error.message;
}
