import { X509Certificate } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { ServerCredentials } from '@grpc/grpc-js';
import pino from 'pino';
import { afterAll, afterEach, expect, it } from 'vitest';
import { decodeBatch, encodeBatch } from '../../../proto/contract.ts';
import { type OtlpWay, openOtlp } from '../../../src/agent/otlp.ts';
import { WaysOut } from '../../../src/agent/ways-out.ts';
import { DEFAULT_SETTINGS, withGiven } from '../../../src/config/settings.ts';
import { makeWorkload } from '../../../src/kubernetes/workload.ts';
import { BufferPool } from '../../../src/stream/buffer-pool.ts';
import { BatchEncoder } from '../../../src/stream/encoder.ts';
import { ProcessTable } from '../../../src/stream/processes.ts';
import { OtlpReceiver } from '../../otlp-receiver.ts';
import { drainBuffer, kernelPath, makeFile, makeHead, recordBytes } from '../../records.ts';
import { Authority } from '../kubernetes/certificates.ts';
import { until } from '../stream/collector-double.ts';

const RUN = Buffer.alloc(16, 7);
const { node: NODE } = decodeBatch(encodeBatch({ node: { runId: RUN, nodeName: 'node-1' } }));
const HOST = makeWorkload({ cgroupId: 77n, cgroupPath: '/', state: 'host', reason: '' });

const authority = new Authority();
const stranger = new Authority();
const server = authority.issue('receiver', 'DNS:localhost,IP:127.0.0.1');
const client = authority.issue('agent', 'DNS:agent');
afterAll(() => {
  for (const { dir } of [authority, stranger]) rmSync(dir, { recursive: true, force: true });
});

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function receiverOf(credentials?: ServerCredentials): Promise<OtlpReceiver> {
  const receiver = new OtlpReceiver(undefined, credentials);
  await receiver.start();
  closers.push(() => receiver.stop());
  return receiver;
}

const mutual = (): Promise<OtlpReceiver> =>
  receiverOf(
    ServerCredentials.createSsl(
      readFileSync(authority.caFile),
      [{ cert_chain: Buffer.from(server.cert), private_key: Buffer.from(server.key) }],
      true,
    ),
  );

/** The way out as an agent has it with these settings, OTLP alone, with a batch of one event on it. */
function wayOf(receiver: OtlpReceiver, tls: object): OtlpWay & { readonly out: WaysOut } {
  const given = { stream: { otlp: { endpoint: receiver.address, tls } } };
  const way = openOtlp({
    settings: withGiven(DEFAULT_SETTINGS, given).stream.otlp,
    node: () => {
      if (NODE === null) throw new Error('no node');
      return NODE;
    },
    version: '1',
    log: pino({ level: 'silent' }),
  });
  if (way === undefined) throw new Error('no way out');
  const pool = new BufferPool();
  const out = new WaysOut(undefined, way, pool);
  closers.push(() => out.shutdown(0));
  out.start();
  const encoder = new BatchEncoder({ runId: RUN, processes: new ProcessTable(), pool });
  const { bytes } = drainBuffer([
    recordBytes({ head: makeHead(), body: makeFile('file.open', { path: kernelPath('/x') }) }),
  ]);
  expect(encoder.add(bytes, 0, HOST)).toBe(1);
  const batch = encoder.finish(0n);
  if (batch === undefined) throw new Error('no batch');
  out.send(batch);
  // OTLP has a copy: the encoder may have its buffer again.
  expect(pool.idleBytes).toBeGreaterThan(0);
  return { ...way, out };
}

it('shows its certificate to a receiver that wants one, and gets through', async () => {
  const receiver = await mutual();
  const given = { caFile: authority.caFile, certFile: client.certFile, keyFile: client.keyFile };
  const { sink, out } = wayOf(receiver, given);
  await until(() => sink.state === 'open');
  expect(receiver.records.map(({ eventName }) => eventName)).toEqual(['kerntap.file.open']);
  expect(out.tls.get('collector')).toBeUndefined();
  expect(out.tls.get('otlp')).toMatchObject({ lastSuccessful: true, refused: 0 });
  expect(out.tls.get('otlp')?.ownNotAfterMs).toBe(Date.parse(new X509Certificate(client.cert).validTo));
});

it('does not talk to a receiver whose certificate a stranger signed', async () => {
  const receiver = await mutual();
  const { sink } = wayOf(receiver, { caFile: stranger.caFile, certFile: client.certFile, keyFile: client.keyFile });
  await until(() => sink.state === 'waiting');
  expect(sink.problem).toMatch(/certificate|signed|stream\.otlp\.tls/);
  expect(receiver.calls).toBe(0);
});

it('says what to set where a receiver wants TLS and the settings do not', async () => {
  const receiver = await mutual();
  const { sink, out } = wayOf(receiver, {});
  await until(() => sink.state === 'waiting');
  expect(sink.problem).toContain('set stream.otlp.tls');
  expect(out.tls.size).toBe(0);
});

it('is not there where no receiver is named', () => {
  expect(openOtlp({ settings: DEFAULT_SETTINGS.stream.otlp } as Parameters<typeof openOtlp>[0])).toBeUndefined();
});
