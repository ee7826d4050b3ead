import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Certificate } from './certificates.ts';

export type Answer = (req: IncomingMessage, res: ServerResponse) => void;

/** An HTTPS server in the kubelet's place; says what was asked of it. */
export class FakeKubelet {
  /** Authorization headers, in order. */
  readonly tokens: string[] = [];
  readonly paths: string[] = [];
  /** The most requests that were under way at once. */
  mostAtOnce = 0;
  answer: Answer = (_req, res) => res.end(podList([]));
  readonly url: string;
  readonly #server: Server;
  #now = 0;

  private constructor(server: Server) {
    this.#server = server;
    this.url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on('request', (req: IncomingMessage, res: ServerResponse) => {
      this.tokens.push(req.headers.authorization ?? '');
      this.paths.push(req.url ?? '');
      this.mostAtOnce = Math.max(this.mostAtOnce, ++this.#now);
      res.on('close', () => this.#now--);
      this.answer(req, res);
    });
    server.on('tlsClientError', () => {});
  }

  static async listen(certificate: Certificate): Promise<FakeKubelet> {
    const server = createServer({ cert: certificate.cert, key: certificate.key });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new FakeKubelet(server);
  }

  close(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}

export const UID_A = '11111111-2222-3333-4444-555555555555';

export function rawPod(
  change: Record<string, unknown> = {},
  status: Record<string, unknown> = {},
): Record<string, unknown> {
  return {
    metadata: { name: 'web', namespace: 'shop', uid: UID_A, labels: { app: 'web' }, ...change },
    spec: { containers: [{ name: 'main', image: 'docker.io/library/web:1' }], serviceAccountName: 'default' },
    status: { phase: 'Running', ...status },
  };
}

export function podList(items: readonly unknown[]): string {
  return JSON.stringify({ kind: 'PodList', apiVersion: 'v1', metadata: {}, items });
}
