import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, describe, expect, it } from 'vitest';
import { CollectorChannel } from '../../../src/agent/collector-channel.ts';
import { startCollector } from '../../../src/collector/server.ts';
import { PublishClient } from '../../../src/stream/client.ts';
import { clientTls } from '../../../src/tls/client-settings.ts';
import { TlsFiles } from '../../../src/tls/files.ts';
import { Authority } from '../kubernetes/certificates.ts';
import { until } from '../stream/collector-double.ts';
import { SecretVolume } from '../tls/secret-volume.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function logTo(lines: Record<string, unknown>[]) {
  return pino({ base: null }, { write: (line: string) => lines.push(JSON.parse(line)) });
}

describe("the agent's way to its collector", () => {
  it('opens the stream anew, with the new certificate, soon after the mounted Secret has changed', async () => {
    const authority = new Authority();
    const out = mkdtempSync(join(tmpdir(), 'kerntap-channel-'));
    closers.push(() => {
      for (const dir of [authority.dir, out]) rmSync(dir, { recursive: true, force: true });
    });
    const server = authority.issue('collector', 'DNS:localhost');
    const ca = readFileSync(authority.caFile, 'utf8');
    const paths = {
      cert: { path: server.certFile, setting: '--tls-cert' },
      key: { path: server.keyFile, setting: '--tls-key' },
      ca: { path: authority.caFile, setting: '--tls-client-ca' },
    };
    const heard: Record<string, unknown>[] = [];
    const tls = new TlsFiles({ paths });
    const collector = await startCollector({ listen: '127.0.0.1:0', out, log: logTo(heard), tls });
    closers.push(() => collector.close());

    const secret = new SecretVolume(ca, authority.issue('agent-of-before', 'DNS:a'));
    closers.push(() => secret.remove());
    const { caFile, certFile, keyFile } = secret;
    const said: Record<string, unknown>[] = [];
    const channel = new CollectorChannel({
      addresses: [collector.address.replace('127.0.0.1', 'localhost')],
      tls: clientTls({ mode: 'auto', caFile, certFile, keyFile, serverName: undefined }, 'collector.tls'),
      log: logTo(said),
      reopenWithinMs: 20,
    });
    const client = new PublishClient({
      dialer: channel.dialer,
      hello: { schema: 1, node: { runId: Buffer.alloc(16, 7), nodeName: 'node-1' }, agentVersion: '0.1.0' },
      log: { info: () => {}, warn: () => {} },
    });
    closers.push(() => channel.stop());
    channel.follow(client);
    client.start();
    closers.push(() => client.shutdown(0));
    const clients = () => heard.filter(({ msg }) => msg === 'an agent publishes').map((line) => line['client']);
    await until(() => clients().length === 1);
    secret.swap(ca, authority.issue('agent-of-now', 'DNS:a'));
    await until(() => clients().length === 2);
    expect(clients()).toEqual(['agent-of-before', 'agent-of-now']);
    expect(channel.tls).toMatchObject({ applied: 1, refused: 0, lastSuccessful: true });
    expect(said.map(({ msg }) => msg)).toEqual(['new certificates are in force']);

    // One that is no pair changes nothing, and says so.
    secret.swap(ca, { cert: server.cert, key: 'no key' });
    await until(() => channel.tls?.lastSuccessful === false);
    expect(said.at(-1)).toMatchObject({ level: 50, tls: expect.stringMatching(/^collector\.tls\.keyFile /) });
    expect(client.state).toBe('open');
    expect(clients()).toHaveLength(2);
  });
});
