import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Collector, type CollectorOptions, startCollector } from '../../../src/collector/server.ts';
import { makeWorkload } from '../../../src/kubernetes/workload.ts';
import { ChannelTls } from '../../../src/stream/channel-tls.ts';
import { PublishClient } from '../../../src/stream/client.ts';
import { BatchEncoder } from '../../../src/stream/encoder.ts';
import { Endpoints } from '../../../src/stream/endpoints.ts';
import { ProcessTable } from '../../../src/stream/processes.ts';
import { clientTls } from '../../../src/tls/client-settings.ts';
import { TlsFiles } from '../../../src/tls/files.ts';
import type { TlsPaths } from '../../../src/tls/material.ts';
import { drainBuffer, kernelPath, makeFile, makeHead, recordBytes } from '../../records.ts';
import { Authority, type Certificate } from '../kubernetes/certificates.ts';
import { SecretVolume } from '../tls/secret-volume.ts';
import { until } from './collector-double.ts';

const RUN = Buffer.alloc(16, 7);
const HOST = makeWorkload({ cgroupId: 77n, cgroupPath: '/', state: 'host', reason: '' });

let ours: Authority;
let theirs: Authority;
let server: Certificate;
let client: Certificate;
let strange: Certificate;

beforeAll(() => {
  ours = new Authority();
  theirs = new Authority();
  server = ours.issue('kerntap-collector', 'DNS:localhost,IP:127.0.0.1');
  client = ours.issue('kerntap-agent', 'DNS:kerntap-agent');
  strange = theirs.issue('kerntap-agent', 'DNS:kerntap-agent');
});
afterAll(() => {
  for (const { dir } of [ours, theirs]) rmSync(dir, { recursive: true, force: true });
});

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface Served extends Collector {
  /** Its log. */
  readonly said: string[];
}

const serverPaths = (certificate: Pick<Certificate, 'certFile' | 'keyFile'>, ca?: string): TlsPaths => ({
  cert: { path: certificate.certFile, setting: '--tls-cert' },
  key: { path: certificate.keyFile, setting: '--tls-key' },
  ca: ca === undefined ? undefined : { path: ca, setting: '--tls-client-ca' },
});

function followed(paths: TlsPaths): TlsFiles {
  const files = new TlsFiles({ paths, settleMs: 5 });
  closers.push(() => files.stop());
  return files;
}

/** The collector as it is shipped; `files` undefined: without TLS. */
async function serve(files?: TlsFiles, options: Partial<CollectorOptions> = {}): Promise<Served> {
  const out = mkdtempSync(join(tmpdir(), 'kerntap-tls-'));
  const said: string[] = [];
  const log = pino({ base: null }, { write: (line: string) => said.push(line) });
  const tls = files === undefined ? {} : { tls: files };
  const collector = await startCollector({ listen: '127.0.0.1:0', out, log, ...tls, ...options });
  files?.start();
  closers.push(async () => {
    await collector.close();
    rmSync(out, { recursive: true, force: true });
  });
  return { ...collector, said };
}

interface Agent {
  readonly client: PublishClient;
  /** What it said of streams that did not come about. */
  readonly reasons: string[];
  readonly files: TlsFiles | undefined;
  send(): void;
}

interface Given {
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  readonly serverName?: string;
}

function agent(address: string, given: Given | undefined, nodeName = 'node-1'): Agent {
  const tls =
    given &&
    clientTls(
      { mode: 'on', caFile: undefined, certFile: undefined, keyFile: undefined, serverName: undefined, ...given },
      'collector.tls',
    );
  const files = tls && followed(tls.paths);
  const security = tls && files && new ChannelTls({ files, serverName: tls.serverName, section: tls.section });
  const reasons: string[] = [];
  const publisher = new PublishClient({
    dialer: new Endpoints({ addresses: [address], ...(security && { security }) }),
    hello: { schema: 1, node: { runId: RUN, nodeName }, agentVersion: '0.1.0' },
    log: { info: () => {}, warn: (fields) => reasons.push(String((fields as { reason: string }).reason)) },
    backoffMinMs: 5,
    backoffMaxMs: 40,
  });
  closers.push(() => publisher.shutdown(0));
  publisher.start();
  const encoder = new BatchEncoder({ runId: RUN, processes: new ProcessTable() });
  const send = (): void => {
    const body = makeFile('file.open', { path: kernelPath('/f') });
    encoder.add(drainBuffer([recordBytes({ head: makeHead(), body })]).bytes, 0, HOST);
    const batch = encoder.finish(0n);
    if (batch !== undefined) publisher.send(batch);
  };
  return { client: publisher, reasons, files, send };
}

const byName = (address: string): string => address.replace('127.0.0.1', 'localhost');

async function delivers({ client: publisher, reasons, send }: Agent): Promise<void> {
  send();
  await until(() => publisher.depth.batches === 0 || reasons.length > 0);
  expect(reasons).toEqual([]);
}

/** What the agent says when it cannot connect: it must not connect, and has the words at once. */
async function refusal(made: Agent): Promise<string> {
  made.send();
  await until(() => made.reasons.length > 0);
  expect(made.client.depth.batches).toBe(1);
  return made.reasons[0] ?? '';
}

describe('TLS to the collector', () => {
  it('delivers over mutual TLS, by name and by address', async () => {
    const { address } = await serve(followed(serverPaths(server, ours.caFile)));
    const given = { caFile: ours.caFile, ...client };
    const warnings: string[] = [];
    const warned = (warning: Error): unknown => warnings.push(warning.message);
    process.on('warning', warned);
    closers.push(() => process.off('warning', warned));
    await delivers(agent(byName(address), given));
    await delivers(agent(address, given));
    // RFC 6066 knows no addresses as server names; Node says so on stderr.
    expect(warnings).toEqual([]);
  });

  it('delivers over TLS without a client certificate where none is asked for', async () => {
    const { address } = await serve(followed(serverPaths(server)));
    await delivers(agent(byName(address), { caFile: ours.caFile }));
  });

  it('takes another name of the certificate where that is set', async () => {
    const { address } = await serve(followed(serverPaths(ours.issue('x', 'DNS:collector.example'), ours.caFile)));
    await delivers(agent(address, { caFile: ours.caFile, ...client, serverName: 'collector.example' }));
  });

  it.each<[string, () => Promise<Agent>, RegExp]>([
    [
      'a wrong authority',
      async () =>
        agent(byName((await serve(followed(serverPaths(server, ours.caFile)))).address), {
          ...client,
          caFile: theirs.caFile,
        }),
      /^the certificate of localhost:\d+ is not signed by an authority in \S+ca\.crt \(.*\): name the right one with collector\.tls\.caFile/,
    ],
    [
      'only public authorities',
      async () => agent(byName((await serve(followed(serverPaths(server, ours.caFile)))).address), client),
      /is not signed by an authority that Node knows .*: name the right one with/,
    ],
    [
      'an expired certificate of the collector',
      async () => {
        const old = ours.issue('kerntap-collector', 'DNS:localhost', -1);
        return agent(byName((await serve(followed(serverPaths(old, ours.caFile)))).address), {
          caFile: ours.caFile,
          ...client,
        });
      },
      /^the certificate of localhost:\d+ has expired: renew it there/,
    ],
    [
      "a wrong name in the collector's certificate",
      async () => {
        const other = ours.issue('other', 'DNS:elsewhere,IP:10.1.1.1');
        return agent(byName((await serve(followed(serverPaths(other, ours.caFile)))).address), {
          caFile: ours.caFile,
          ...client,
        });
      },
      /^the server's certificate is for DNS:elsewhere, IP Address:10\.1\.1\.1, not for localhost: set collector\.tls\.serverName/,
    ],
    [
      'no client certificate',
      async () =>
        agent(byName((await serve(followed(serverPaths(server, ours.caFile)))).address), { caFile: ours.caFile }),
      /^localhost:\d+ ended the TLS handshake \(.*\): it wants a client certificate, set collector\.tls\.certFile and \.keyFile/,
    ],
    [
      'a client certificate of another authority',
      async () =>
        agent(byName((await serve(followed(serverPaths(server, ours.caFile)))).address), {
          caFile: ours.caFile,
          ...strange,
        }),
      /it refuses the client certificate \S+ \(CN=kerntap-agent, signed by CN=test-ca\), its authority has to be in the collector's --tls-client-ca/,
    ],
    [
      'an expired client certificate',
      async () => {
        const old = ours.issue('kerntap-agent', 'DNS:kerntap-agent', -1);
        return agent(byName((await serve(followed(serverPaths(server, ours.caFile)))).address), {
          caFile: ours.caFile,
          ...old,
        });
      },
      /it refuses the client certificate .*, it expired on \d{4}-\d\d-\d\dT.*: renew it$/,
    ],
    [
      'no TLS here, and TLS there',
      async () => agent(byName((await serve(followed(serverPaths(server, ours.caFile)))).address), undefined),
      /^localhost:\d+ took the connection and ended it before it spoke HTTP\/2: if it wants TLS, set collector\.tls/,
    ],
    [
      'TLS here, and none there',
      async () => agent(byName((await serve()).address), { caFile: ours.caFile, ...client }),
      /^localhost:\d+ does not speak TLS: give its collector --tls-cert and --tls-key, or turn TLS off here/,
    ],
    [
      'files that are not there',
      async () => agent('localhost:1', { caFile: '/nowhere/ca.crt', ...client }),
      /^collector\.tls\.caFile \/nowhere\/ca\.crt: is not there: mount the Secret/,
    ],
  ])('says of %s what it is and what to do', async (_, make, words) => {
    expect(await refusal(await make())).toMatch(words);
  });

  it('says the same as soon as it is tried again: the reason does not depend on who is faster', async () => {
    const { address } = await serve(followed(serverPaths(server, ours.caFile)));
    const made = agent(byName(address), { caFile: ours.caFile, ...strange });
    made.send();
    await until(() => made.reasons.length >= 20);
    for (const reason of made.reasons)
      expect(reason).toMatch(/refuses the client certificate|wants a client certificate/);
  });

  it('goes on when what was wrong is mended, without a restart', async () => {
    const { address } = await serve(followed(serverPaths(server, ours.caFile)));
    const secret = new SecretVolume(readFileSync(ours.caFile, 'utf8'), strange);
    closers.push(() => secret.remove());
    const made = agent(byName(address), secret);
    made.files?.start();
    await refusal(made);
    secret.swap(readFileSync(ours.caFile, 'utf8'), client);
    await until(() => made.client.depth.batches === 0);
  });
});

describe('the TLS of a collector', () => {
  it('tells whom it refused and why, a few times, and counts all of them', async () => {
    const collector = await serve(followed(serverPaths(server, ours.caFile)));
    const made = agent(byName(collector.address), { caFile: ours.caFile, ...strange });
    made.send();
    await until(() => (collector.stats().refusedBy['tls'] ?? 0) >= 15);
    const lines = collector.said.filter((line) => line.includes('a TLS handshake failed'));
    expect(lines).toHaveLength(10);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      reason: expect.stringMatching(/^client certificate: [A-Z_]+$/),
    });
    expect(collector.stats()).toMatchObject({ streamsOpened: 0, events: {} });
  });

  it('tells a client without TLS, and one without a certificate, from one of another authority', async () => {
    const reason = async (given: Given | undefined) => {
      const collector = await serve(followed(serverPaths(server, ours.caFile)));
      await refusal(agent(byName(collector.address), given));
      await until(() => collector.said.some((text) => text.includes('a TLS handshake failed')));
      const line = collector.said.find((text) => text.includes('a TLS handshake failed'));
      return (JSON.parse(line ?? '{}') as { reason?: string }).reason;
    };
    expect(await reason(undefined)).toMatch(/http request|wrong version number/);
    expect(await reason({ caFile: ours.caFile })).toMatch(/not return a certificate/);
    expect(await reason({ caFile: ours.caFile, ...strange })).toMatch(/^client certificate: [A-Z_]+$/);
  });

  it('takes who connects and says nothing for a health check, not for a client that is refused', async () => {
    const collector = await serve(followed(serverPaths(server, ours.caFile)));
    const port = Number(collector.address.split(':')[1]);
    for (let i = 0; i < 5; i++) {
      await new Promise<void>((resolve) => {
        const socket = connect(port, '127.0.0.1', () => socket.end());
        socket.on('close', () => resolve());
        socket.resume();
      });
    }
    await delivers(agent(byName(collector.address), { caFile: ours.caFile, ...client }));
    expect(collector.stats().refusedBy).toEqual({});
  });

  it('takes renewed certificates for new connections; streams that are open go on', async () => {
    const secret = new SecretVolume(readFileSync(ours.caFile, 'utf8'), server);
    closers.push(() => secret.remove());
    const files = followed(serverPaths(secret, secret.caFile));
    const collector = await serve(files);
    const before = agent(byName(collector.address), { caFile: ours.caFile, ...client });
    await delivers(before);
    // Another authority altogether, for both ends: nothing of the old would pass.
    secret.swap(readFileSync(theirs.caFile, 'utf8'), theirs.issue('c', 'DNS:localhost'));
    await until(() => files.status.applied === 1);
    await delivers(before);
    await delivers(agent(byName(collector.address), { caFile: theirs.caFile, ...strange }));
    const old = await refusal(agent(byName(collector.address), { caFile: ours.caFile, ...client }));
    expect(old).toMatch(/is not signed by an authority/);
    const known = await refusal(agent(byName(collector.address), { caFile: theirs.caFile, ...client }));
    expect(known).toMatch(/refuses the client certificate/);
    expect(collector.stats().streamsOpened).toBe(2);
  });

  it('stays as it was when a renewal turns out to be half of one', async () => {
    const secret = new SecretVolume(readFileSync(ours.caFile, 'utf8'), server);
    closers.push(() => secret.remove());
    const files = followed(serverPaths(secret, secret.caFile));
    const collector = await serve(files);
    secret.swap(readFileSync(theirs.caFile, 'utf8'), { cert: strange.cert, key: server.key });
    await until(() => files.status.refused === 1);
    await delivers(agent(byName(collector.address), { caFile: ours.caFile, ...client }));
  });

  it('also on a socket of a path', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'kerntap-tls-'));
    closers.push(() => rmSync(dir, { recursive: true, force: true }));
    const { address } = await serve(followed(serverPaths(server, ours.caFile)), { listen: `unix:${dir}/c.sock` });
    await delivers(agent(address, { caFile: ours.caFile, ...client, serverName: 'localhost' }));
  });

  it('stops in order while streams are open', async () => {
    const collector = await serve(followed(serverPaths(server, ours.caFile)));
    const made = agent(byName(collector.address), { caFile: ours.caFile, ...client });
    await delivers(made);
    const started = performance.now();
    await collector.close();
    expect(performance.now() - started).toBeLessThan(4_000);
    await until(() => made.reasons.length > 0);
    expect(made.reasons[0]).toMatch(/the collector is shutting down|ECONNREFUSED|Connection dropped/);
  });
});

describe('who may publish', () => {
  const rules = (allowClients: string[], more: Partial<CollectorOptions> = {}) =>
    serve(followed(serverPaths(server, ours.caFile)), { allowClients, ...more });

  it('is who has a name that is allowed', async () => {
    const { address } = await rules(['kerntap-*']);
    await delivers(agent(byName(address), { caFile: ours.caFile, ...client }));
    const other = ours.issue('someone', 'DNS:someone,URI:spiffe://cluster/ns/shop/sa/web');
    expect(await refusal(agent(byName(address), { caFile: ours.caFile, ...other }))).toBe(
      'the client certificate (someone, spiffe://cluster/ns/shop/sa/web) may not publish for node node-1: it fits no --allow-client of the collector',
    );
  });

  it('speaks for its own node only, where the certificate names it', async () => {
    const collector = await rules(['{node}.agents.kerntap']);
    const one = ours.issue('x', 'DNS:node-1.agents.kerntap');
    await delivers(agent(byName(collector.address), { caFile: ours.caFile, ...one }, 'node-1'));
    expect(await refusal(agent(byName(collector.address), { caFile: ours.caFile, ...one }, 'node-2'))).toMatch(
      /^the client certificate \(x, node-1\.agents\.kerntap\) may not publish for node node-2/,
    );
    expect(collector.stats().refusedBy).toEqual({ client_name: expect.any(Number) });
  });
});
