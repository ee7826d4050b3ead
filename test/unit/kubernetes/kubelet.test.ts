import { rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type KubeletOptions, KubeletSource } from '../../../src/kubernetes/kubelet.ts';
import { PodSourceError, type PodSourceErrorKind } from '../../../src/kubernetes/pod-source.ts';
import { Authority, type Certificate } from './certificates.ts';
import { FakeKubelet, podList, rawPod, UID_A } from './fake-kubelet.ts';

let authority: Authority;
let other: Authority;
let byName: Certificate;
let byAddress: Certificate;
let tokenFile: string;
const open: { close(): unknown }[] = [];

beforeAll(() => {
  authority = new Authority();
  other = new Authority();
  byName = authority.issue('system:node:node-a', 'DNS:node-a');
  byAddress = authority.issue('system:node:node-a', 'IP:127.0.0.1');
  tokenFile = join(authority.dir, 'token');
});

afterEach(async () => {
  for (const thing of open.splice(0)) await thing.close();
});

afterAll(() => {
  for (const { dir } of [authority, other]) rmSync(dir, { recursive: true });
});

async function kubelet(certificate = byName): Promise<FakeKubelet> {
  writeFileSync(tokenFile, 'token-1\n');
  const server = await FakeKubelet.listen(certificate);
  open.push(server);
  return server;
}

function source(url: string, options: Partial<KubeletOptions> = {}): KubeletSource {
  const made = new KubeletSource({
    url,
    tokenFile,
    caFile: authority.caFile,
    nodeName: 'node-a',
    minIntervalMs: 0,
    timeoutMs: 5000,
    ...options,
  });
  open.push(made);
  return made;
}

async function refusal(from: KubeletSource): Promise<{ kind: PodSourceErrorKind; message: string }> {
  const error: unknown = await from.refresh('test').catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(PodSourceError);
  const { kind, message } = error as PodSourceError;
  expect(from.status()).toMatchObject({ reachable: false, lastError: message, lastErrorKind: kind });
  expect(from.status().failures[kind]).toBe(1);
  return { kind, message };
}

describe('KubeletSource reads /pods', () => {
  it('with the bearer token of the file, and says so', async () => {
    const server = await kubelet();
    server.answer = (_req, res) => res.end(podList([rawPod(), { junk: true }]));
    const from = source(server.url);
    expect(from.status()).toMatchObject({ reachable: undefined, lastOkMs: undefined, requests: 0 });
    const pods = await from.refresh('start');
    expect(pods.map(({ uid, name }) => [uid, name])).toEqual([[UID_A, 'web']]);
    expect(server.tokens).toEqual(['Bearer token-1']);
    expect(server.paths).toEqual(['/pods']);
    expect(from.status()).toMatchObject({
      reachable: true,
      requests: 1,
      lastPods: 1,
      skippedPods: 1,
      lastReason: 'start',
    });
    expect(from.status().firstSkipped).toContain('$.items[1].metadata');
    expect(Math.abs(Date.now() - (from.status().lastOkMs ?? 0))).toBeLessThan(5000);
  });

  it('takes a rotated token for the next request', async () => {
    const server = await kubelet();
    const from = source(server.url);
    await from.refresh('1');
    writeFileSync(tokenFile, 'token-2');
    await from.refresh('2');
    expect(server.tokens).toEqual(['Bearer token-1', 'Bearer token-2']);
  });

  it('asks again once with the new token when the old one is refused', async () => {
    const server = await kubelet();
    server.answer = (req, res) => {
      writeFileSync(tokenFile, 'token-2');
      res.statusCode = req.headers.authorization === 'Bearer token-2' ? 200 : 401;
      res.end(res.statusCode === 200 ? podList([rawPod()]) : 'Unauthorized');
    };
    expect(await source(server.url).refresh('test')).toHaveLength(1);
    expect(server.tokens).toEqual(['Bearer token-1', 'Bearer token-2']);
  });

  it('reads a list of 20 MB', async () => {
    const server = await kubelet();
    const labels = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`label-${i}`, 'x'.repeat(60)]));
    const items = Array.from({ length: 5200 }, (_, i) =>
      rawPod({ labels, uid: UID_A.slice(0, -4) + (i + 1000), name: `p${i}` }),
    );
    const body = podList(items);
    expect(body.length).toBeGreaterThan(20_000_000);
    server.answer = (_req, res) => res.end(body);
    const from = source(server.url, { timeoutMs: 25_000 });
    expect(await from.refresh('test')).toHaveLength(5200);
    expect(from.status().lastBytes).toBe(body.length);
  });
});

describe('KubeletSource verifies who answers', () => {
  it('accepts a certificate for the node name at an address', async () => {
    expect(await source((await kubelet(byName)).url).refresh('test')).toEqual([]);
  });

  it('accepts a certificate for the address, whatever the node name', async () => {
    expect(await source((await kubelet(byAddress)).url, { nodeName: 'elsewhere' }).refresh('test')).toEqual([]);
  });

  it('accepts a self-signed certificate that is its own CA file', async () => {
    const certificate = authority.selfSigned('node-a@1700000000', 'DNS:node-a');
    const server = await kubelet(certificate);
    expect(await source(server.url, { caFile: certificate.certFile }).refresh('test')).toEqual([]);
  });

  it('refuses another CA, and never sends it the token', async () => {
    const server = await kubelet();
    const { kind, message } = await refusal(source(server.url, { caFile: other.caFile }));
    expect(kind).toBe('tls');
    expect(message).toContain(other.caFile);
    expect(message).toContain('--kubelet-ca-file');
    expect(server.tokens).toEqual([]);
  });

  it('refuses a self-signed certificate', async () => {
    const server = await kubelet(authority.selfSigned('node-a', 'DNS:node-a'));
    const { kind, message } = await refusal(source(server.url));
    expect([kind, message]).toEqual(['tls', expect.stringContaining('DEPTH_ZERO_SELF_SIGNED_CERT')]);
    expect(server.tokens).toEqual([]);
  });

  it('refuses another name, naming those that the certificate offers', async () => {
    const server = await kubelet(authority.issue('x', 'DNS:node-b,DNS:node-b.example,IP:10.1.2.3'));
    const { kind, message } = await refusal(source(server.url));
    expect(kind).toBe('tls');
    for (const name of ['node-b.example', '10.1.2.3', '127.0.0.1', 'node-a', '--node-name'])
      expect(message).toContain(name);
    expect(server.tokens).toEqual([]);
  });

  it('refuses an expired certificate', async () => {
    const server = await kubelet(authority.issue('node-a', 'DNS:node-a', -1));
    const { kind, message } = await refusal(source(server.url));
    expect([kind, message]).toEqual(['tls', expect.stringContaining('expired')]);
    expect(server.tokens).toEqual([]);
  });

  it('verifies nothing only where it is told so', async () => {
    const server = await kubelet(other.selfSigned('x', 'DNS:node-b'));
    const from = source(server.url, { insecure: true, caFile: '/nonexistent' });
    expect(await from.refresh('test')).toEqual([]);
    expect(from.status().insecure).toBe(true);
  });

  it('does not speak plain http', () => {
    expect(() => source('http://127.0.0.1:10255')).toThrow(/must be https/);
    expect(() => source('not a url')).toThrow(TypeError);
  });
});

describe('KubeletSource says what is wrong', () => {
  it('401: names the token file', async () => {
    const server = await kubelet();
    server.answer = (_req, res) => res.writeHead(401).end('Unauthorized');
    const { kind, message } = await refusal(source(server.url));
    expect([kind, message]).toEqual(['unauthorized', expect.stringContaining(tokenFile)]);
    expect(server.tokens).toHaveLength(1);
  });

  it('403: names the permission', async () => {
    const server = await kubelet();
    server.answer = (_req, res) =>
      res.writeHead(403).end('Forbidden (user=x, verb=get, resource=nodes, subresource=pods)');
    const { kind, message } = await refusal(source(server.url));
    expect(kind).toBe('forbidden');
    expect(message).toContain('nodes/pods: get');
    expect(message).toContain('user=x');
  });

  it('500 and redirects', async () => {
    const server = await kubelet();
    server.answer = (_req, res) => res.writeHead(500).end(`no\n${'x'.repeat(100_000)}`);
    const { kind, message } = await refusal(source(server.url));
    expect([kind, message]).toEqual(['status', expect.stringContaining('500')]);
    expect(message.length).toBeLessThan(400);
    server.answer = (_req, res) => res.writeHead(302, { location: server.url }).end();
    expect((await refusal(source(server.url))).message).toContain('302');
    expect(server.paths).toHaveLength(2);
  });

  it.each([
    ['not JSON', '<html>'],
    ['nothing', ''],
    ['JSON of another kind', '{"kind":"Status","items":[]}'],
    ['no object', 'null'],
    ['items that are no list', '{"kind":"PodList","items":{}}'],
  ])('a reply that is %s', async (_name, body) => {
    const server = await kubelet();
    server.answer = (_req, res) => res.end(body);
    const { kind, message } = await refusal(source(server.url));
    expect([kind, message]).toEqual(['reply', expect.stringContaining('not a list of pods')]);
  });

  it('a reply that breaks off', async () => {
    const server = await kubelet();
    server.answer = (_req, res) => {
      res.writeHead(200, { 'content-length': '1000' });
      res.write('{"kind":"PodList",', () => res.destroy());
    };
    const { kind, message } = await refusal(source(server.url));
    expect([kind, message]).toEqual(['reply', expect.stringContaining('cut after 18 bytes')]);
  });

  it('a reply over the limit, and reads no further', async () => {
    const server = await kubelet();
    let written = 0;
    server.answer = (_req, res) => {
      const more = () => {
        while (!res.destroyed && written < 50_000_000 && res.write('x'.repeat(10_000))) written += 10_000;
      };
      res.on('drain', more);
      more();
    };
    const { kind, message } = await refusal(source(server.url, { maxBytes: 100_000 }));
    expect([kind, message]).toEqual(['too-large', expect.stringContaining('over 100000 bytes')]);
    expect(written).toBeLessThan(20_000_000);
  });

  it('a reply that never comes, and one that drips', async () => {
    const server = await kubelet();
    server.answer = () => {};
    expect((await refusal(source(server.url, { timeoutMs: 100 }))).kind).toBe('timeout');
    server.answer = (_req, res) => {
      const drip = setInterval(() => res.write(' '), 20);
      res.on('close', () => clearInterval(drip));
    };
    const { kind, message } = await refusal(source(server.url, { timeoutMs: 200 }));
    expect([kind, message]).toEqual(['timeout', expect.stringContaining('200 ms')]);
  });

  it('nobody listens', async () => {
    const server = await kubelet();
    await server.close();
    const { kind, message } = await refusal(source(server.url));
    expect([kind, message]).toEqual(['unreachable', expect.stringContaining('connection refused')]);
  });

  it('no TLS at the other end', async () => {
    await kubelet();
    const plain = createServer((socket) => socket.on('error', () => {}).end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));
    open.push(plain);
    const { kind, message } = await refusal(source(`https://127.0.0.1:${(plain.address() as AddressInfo).port}`));
    expect([kind, message]).toEqual(['tls', expect.stringContaining('no TLS')]);
  });

  it('credentials that cannot be read', async () => {
    const server = await kubelet();
    expect((await refusal(source(server.url, { tokenFile: '/nonexistent/token' }))).message).toContain(
      '/nonexistent/token',
    );
    expect((await refusal(source(server.url, { caFile: '/nonexistent/ca' }))).message).toContain('/nonexistent/ca');
    writeFileSync(tokenFile, 'two\nlines');
    const { kind, message } = await refusal(source(server.url));
    expect(kind).toBe('credentials');
    expect(message).not.toContain('lines');
    expect(server.paths).toEqual([]);
  });
});

describe('KubeletSource keeps its manners', () => {
  it('has one request under way and one waiting, however many call', async () => {
    const server = await kubelet();
    const held: (() => void)[] = [];
    server.answer = (_req, res) => void held.push(() => res.end(podList([rawPod({ name: `answer-${held.length}` })])));
    const from = source(server.url);
    const early = Array.from({ length: 50 }, () => from.refresh('early'));
    await expect.poll(() => held.length).toBe(1);
    // These come while the first is under way: its answer may be older than what they want to know.
    const late = Array.from({ length: 50 }, () => from.refresh('late'));
    held[0]?.();
    await expect.poll(() => held.length).toBe(2);
    held[1]?.();
    const names = async (calls: Promise<readonly { name: string }[]>[]) =>
      new Set((await Promise.all(calls)).map((pods) => pods[0]?.name));
    expect(await names(early)).toEqual(new Set(['answer-1']));
    expect(await names(late)).toEqual(new Set(['answer-2']));
    expect(server.paths).toHaveLength(2);
    expect(server.mostAtOnce).toBe(1);
  });

  it('tells when a read begins: not while it waits', async () => {
    const server = await kubelet();
    const from = source(server.url, { minIntervalMs: 50 });
    const begun: string[] = [];
    await from.refresh('first', () => begun.push('first'));
    const calls = ['second', 'third'].map((reason) => from.refresh(reason, () => begun.push(reason)));
    expect(begun).toEqual(['first']);
    await Promise.all(calls);
    expect(begun).toEqual(['first', 'second', 'third']);
    expect(server.paths).toHaveLength(2);
  });

  it('leaves the interval between two starts', async () => {
    const server = await kubelet();
    const from = source(server.url, { minIntervalMs: 150 });
    const started = performance.now();
    for (let i = 0; i < 3; i++) await from.refresh('test');
    expect(performance.now() - started).toBeGreaterThan(2 * 150 - 5);
  });

  it('waits longer after each failure, and recovers', async () => {
    const server = await kubelet();
    server.answer = (_req, res) => res.writeHead(500).end();
    const from = source(server.url, { minIntervalMs: 30 });
    const started = performance.now();
    for (let i = 0; i < 4; i++) await from.refresh('test').catch(() => {});
    // Without growth it would be 90.
    expect(performance.now() - started).toBeGreaterThan(60 + 120 + 240 - 5);
    expect(from.status()).toMatchObject({ consecutiveFailures: 4, reachable: false });
    server.answer = (_req, res) => res.end(podList([rawPod()]));
    await from.refresh('test');
    expect(from.status()).toMatchObject({ consecutiveFailures: 0, reachable: true, lastError: '', requests: 5 });
    expect(from.status().failures.status).toBe(4);
  });

  it('ends what is under way when closed', async () => {
    const server = await kubelet();
    server.answer = () => {};
    const from = source(server.url);
    const call = from.refresh('test');
    await expect.poll(() => server.paths.length).toBe(1);
    const waiting = from.refresh('test');
    from.close();
    for (const each of [call, waiting, from.refresh('later')])
      await expect(each).rejects.toMatchObject({ kind: 'closed' });
    expect(server.paths).toHaveLength(1);
  });
});
