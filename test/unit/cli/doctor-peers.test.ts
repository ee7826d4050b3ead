import { createServer, type Server as TcpServer } from 'node:net';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { describe, expect, it, onTestFinished } from 'vitest';
import { checkCollector, checkKubelet } from '../../../src/cli/doctor-peers.ts';

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
    expect(await checkCollector(`${host}:${port}`)).toMatchObject({ verdict: 'ok', remedy: '' });
  });

  it('is not reached where nothing listens', async () => {
    const check = await checkCollector(`127.0.0.1:${await freePort()}`);
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
    const check = await checkCollector(`127.0.0.1:${port}`, 700);
    expect(check).toMatchObject({ verdict: 'warning', value: expect.stringContaining('speaks no gRPC') });
  });

  it('is not reached by a name that does not exist', async () => {
    expect(await checkCollector('no-such-host.invalid:4750', 2000)).toMatchObject({ verdict: 'warning' });
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
