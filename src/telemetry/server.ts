/** /metrics, /healthz and /readyz over HTTP, for Prometheus and the kubelet. Nothing else is served. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { EXPOSITION_TYPE } from './exposition.ts';
import type { HealthAnswer } from './health.ts';

export interface TelemetrySource {
  readonly metrics: () => string;
  readonly healthz: () => HealthAnswer;
  readonly readyz: () => HealthAnswer;
}

export interface TelemetryServer {
  /** Where it listens, HOST:PORT. */
  readonly address: string;
  close(): Promise<void>;
}

const CONNECTIONS_MAX = 32;
const HEADER_BYTES_MAX = 8192;
const REQUEST_MS = 5000;
/** Whoever asks more often gets the same text: the readings cost system calls. */
const METRICS_MS = 100;

/** HOST:PORT, [HOST]:PORT, or :PORT for every address, taken apart. Throws RangeError. */
export function parseListen(listen: string): { readonly host: string | undefined; readonly port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:/[\]]*)):(\d{1,5})$/.exec(listen);
  const port = Number(match?.[3] ?? Number.NaN);
  if (!(port <= 65535)) throw new RangeError(`'${listen}' is not HOST:PORT or :PORT`);
  return { host: match?.[1] ?? (match?.[2] || undefined), port };
}

/** Listens. Rejects where the address cannot be bound, or is none. Does not keep the process alive. */
export async function serveTelemetry(listen: string, source: TelemetrySource): Promise<TelemetryServer> {
  const { host, port } = parseListen(listen);
  let text = '';
  let readAtMs = Number.NEGATIVE_INFINITY;
  const metrics = (): string => {
    const now = performance.now();
    if (now - readAtMs >= METRICS_MS) {
      text = source.metrics();
      readAtMs = now;
    }
    return text;
  };
  const server = createServer({ maxHeaderSize: HEADER_BYTES_MAX }, (request, response) => {
    try {
      route(request, response, source, metrics);
    } catch (error) {
      reply(response, 500, 'text/plain', `${error instanceof Error ? error.message : 'failed'}\n`);
    }
  });
  server.maxConnections = CONNECTIONS_MAX;
  server.headersTimeout = REQUEST_MS;
  server.requestTimeout = REQUEST_MS;
  server.keepAliveTimeout = REQUEST_MS;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, ...(host === undefined ? {} : { host }) }, resolve);
  });
  server.unref();
  const bound = server.address() as AddressInfo;
  return {
    address: `${bound.family === 'IPv6' ? `[${bound.address}]` : bound.address}:${bound.port}`,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function route(
  request: IncomingMessage,
  response: ServerResponse,
  source: TelemetrySource,
  metrics: () => string,
): void {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    reply(response, 405, 'text/plain', 'only GET and HEAD\n');
    return;
  }
  const url = request.url ?? '';
  const query = url.indexOf('?');
  switch (query < 0 ? url : url.slice(0, query)) {
    case '/metrics':
      reply(response, 200, EXPOSITION_TYPE, metrics());
      break;
    case '/healthz':
      health(response, source.healthz());
      break;
    case '/readyz':
      health(response, source.readyz());
      break;
    default:
      reply(response, 404, 'text/plain', '/metrics, /healthz, /readyz\n');
  }
}

function health(response: ServerResponse, { ok, ...body }: HealthAnswer): void {
  reply(response, ok ? 200 : 503, 'application/json', `${JSON.stringify(body)}\n`);
}

function reply(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) });
  response.end(body);
}
