import { rmSync } from 'node:fs';
import { createServer, type Server as TcpServer } from 'node:net';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { checkCollector, checkKubelet } from '../../../src/cli/doctor-peers.ts';
import { listenTls } from '../../../src/collector/listener.ts';
import type { ClientTls } from '../../../src/tls/client-settings.ts';
import { TlsFiles } from '../../../src/tls/files.ts';
import { Authority } from '../kubernetes/certificates.ts';

async function listen(server: TcpServer): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe('the collector', () => {
  it.each(['127.0.0.1', '[::1]'])('is reached where a gRPC server listens: %s', async (host) => {
    const server = new Server();
    onTestFinished(() => server.forceShutdown());
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(`${host}:0`, ServerCredentials.createInsecure(), (error, bound) => {
        if (error) reject(error);
        else resolve(bound);
      });
    });
    expect(await checkCollector({ address: `${host}:${port}` })).toMatchObject({ verdict: 'ok', remedy: '' });
  });

  it('is not reached where nothing listens', async () => {
    const check = await checkCollector({ address: `127.0.0.1:${await freePort()}` });
    expect(check).toMatchObject({
      id: 'collector',
      verdict: 'warning',
      value: expect.stringContaining('ECONNREFUSED'),
    });
    expect(check.remedy).not.toBe('');
  });

  it.each<[string, (peer: import('node:net').Socket) => void]>([
    ['says nothing', () => {}],
    ['speaks HTTP/1.1', (peer) => peer.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n')],
    ['hangs up', (peer) => peer.destroy()],
  ])('is told from a server that %s', async (_, answer) => {
    const peers = new Set<import('node:net').Socket>();
    const server = createServer((peer) => {
      peers.add(peer);
      peer.on('error', () => {});
      answer(peer);
    });
    const port = await listen(server);
    onTestFinished(() => {
      for (const peer of peers) peer.destroy();
    });
    const check = await checkCollector({ address: `127.0.0.1:${port}`, timeoutMs: 700 });
    expect(check).toMatchObject({ verdict: 'warning', value: expect.stringContaining('speaks no gRPC') });
  });

  it('is not reached by a name that does not exist', async () => {
    expect(await checkCollector({ address: 'no-such-host.invalid:4750', timeoutMs: 2000 })).toMatchObject({
      verdict: 'warning',
    });
  });
});

describe('a collector with TLS', () => {
  const authority = new Authority();
  const server = authority.issue('collector', 'DNS:localhost');
  const agent = authority.issue('kerntap-agent', 'DNS:kerntap-agent');
  const named = (path: string, setting: string) => ({ path, setting });
  const tls = (more: Partial<ClientTls['paths']> = {}): ClientTls => ({
    paths: { ca: named(authority.caFile, 'collector.tls.caFile'), ...more },
    serverName: undefined,
    section: 'collector.tls',
  });
  const own = {
    cert: named(agent.certFile, 'collector.tls.certFile'),
    key: named(agent.keyFile, 'collector.tls.keyFile'),
  };
  afterAll(() => rmSync(authority.dir, { recursive: true, force: true }));

  async function collector(): Promise<string> {
    const grpc = new Server();
    const paths = {
      cert: named(server.certFile, '--tls-cert'),
      key: named(server.keyFile, '--tls-key'),
      ca: named(authority.caFile, '--tls-client-ca'),
    };
    const listener = await listenTls(grpc, '127.0.0.1:0', new TlsFiles({ paths }), () => {});
    onTestFinished(() => {
      listener.close();
      grpc.forceShutdown();
    });
    return `localhost:${listener.port}`;
  }

  it('is reached with the certificates that it wants', async () => {
    const address = await collector();
    const check = await checkCollector({ address, tls: tls(own) });
    expect(check).toMatchObject({ verdict: 'ok', value: `${address} speaks gRPC over TLS` });
  });

  it('is told from one that speaks no gRPC, where no TLS is set here', async () => {
    const check = await checkCollector({ address: await collector(), timeoutMs: 700 });
    expect(check).toMatchObject({ verdict: 'warning', value: expect.stringContaining('speaks TLS') });
    expect(check.remedy).toContain('--collector-ca-file');
  });

  it('says what is wrong with certificates, and what to do', async () => {
    const address = await collector();
    const remedy = async (given: ClientTls) => (await checkCollector({ address, tls: given })).remedy;
    expect(await remedy(tls())).toMatch(/wants a client certificate, set collector\.tls\.certFile/);
    expect(await remedy({ ...tls(own), serverName: 'elsewhere' })).toMatch(/is for DNS:localhost, not for elsewhere/);
    expect(await remedy(tls({ ca: named('/nowhere', 'collector.tls.caFile') }))).toMatch(/\/nowhere: is not there/);
  });
});

describe('the kubelet', () => {
  it('is a warning with the cause where it cannot be asked', async () => {
    const options = { url: 'https://127.0.0.1:1', tokenFile: '/no/such/token', caFile: '/no/such/ca' };
    const check = await checkKubelet(options);
    expect(check).toMatchObject({
      id: 'kubelet',
      verdict: 'warning',
      remedy: expect.stringContaining('/no/such/token'),
    });
  });
});
