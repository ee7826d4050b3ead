import { connect } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { Client, Metadata } from '@grpc/grpc-js';
import { PUBLISH_PATH } from '../../proto/contract.ts';
import type { Check } from '../kernel/requirements.ts';
import { type KubeletOptions, KubeletSource, MAX_REPLY_BYTES } from '../kubernetes/kubelet.ts';
import { isSocket, PODS_API_SOCKET } from '../kubernetes/pods-api.ts';
import { PodsApiClient } from '../kubernetes/pods-api-client.ts';
import { ChannelTls } from '../stream/channel-tls.ts';
import { Endpoints } from '../stream/endpoints.ts';
import type { ClientTls } from '../tls/client-settings.ts';
import { TlsFiles } from '../tls/files.ts';

export interface CollectorQuestion {
  /** HOST:PORT, an IPv6 address in brackets. */
  readonly address: string;
  /** Undefined: without TLS. */
  readonly tls?: ClientTls | undefined;
  readonly timeoutMs?: number;
}

/** Does a gRPC server listen there that takes this agent? Never fatal: the agent waits for it. */
export async function checkCollector({ address, tls, timeoutMs = 3000 }: CollectorQuestion): Promise<Check> {
  const check: Check = {
    id: 'collector',
    title: 'Collector',
    verdict: 'ok',
    value: `${address} speaks gRPC${tls === undefined ? '' : ' over TLS'}`,
    remedy: '',
  };
  const bad = (value: string, remedy: string): Check => ({ ...check, verdict: 'warning', value, remedy });
  try {
    await reachTcp(address, timeoutMs);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return bad(
      `${address}: ${why}`,
      'start kerntap collector --listen there, or correct --collector; events wait till then',
    );
  }
  const problem = await reachGrpc(address, tls, timeoutMs);
  if (problem === undefined) return check;
  if (tls !== undefined) return bad(`no TLS stream to ${address}`, problem);
  if (await speaksTls(address, timeoutMs)) {
    return bad(
      `${address} speaks TLS`,
      'name who signed its certificate with --collector-ca-file, and yours with --collector-cert-file and ' +
        '--collector-key-file (or the file of --config)',
    );
  }
  return bad(`${address} accepts connections but speaks no gRPC`, 'something else listens there: correct --collector');
}

/** Undefined where a stream could be opened; else what went wrong, with its remedy where that is known. */
async function reachGrpc(address: string, tls: ClientTls | undefined, timeoutMs: number): Promise<string | undefined> {
  const security =
    tls &&
    new ChannelTls({ files: new TlsFiles({ paths: tls.paths }), serverName: tls.serverName, section: tls.section });
  const endpoints = new Endpoints({ addresses: [address], ...(security === undefined ? {} : { security }) });
  let client: Client | undefined;
  try {
    const target = endpoints.target();
    client = new Client(target.address, target.credentials, target.channelOptions);
    const raw = (bytes: Buffer): Buffer => bytes;
    const call = client.makeBidiStreamRequest(PUBLISH_PATH, raw, raw, new Metadata());
    const failed = new Promise<string>((resolve) => {
      call.on('error', () => {});
      call.on('status', ({ details }) => resolve(endpoints.explain(target, details)));
    });
    const ready = new Promise<undefined>((resolve) => {
      client?.waitForReady(Date.now() + timeoutMs, (error) => error === undefined && resolve(undefined));
    });
    const late = new Promise<string>((resolve) => {
      setTimeout(resolve, timeoutMs, `no answer within ${timeoutMs} ms`).unref();
    });
    return await Promise.race([ready, failed, late]);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    client?.close();
  }
}

function speaksTls(address: string, timeoutMs: number): Promise<boolean> {
  const { host, port } = hostAndPort(address);
  return new Promise((resolve) => {
    // Nothing is said to it: only whether it answers in TLS counts.
    const socket = connectTls({ host, port, rejectUnauthorized: false, ALPNProtocols: ['h2'] });
    const timer = setTimeout(() => socket.destroy(), timeoutMs);
    socket.once('secureConnect', () => {
      resolve(true);
      socket.destroy();
    });
    socket.on('error', () => {});
    socket.once('close', () => {
      clearTimeout(timer);
      resolve(false);
    });
  });
}

function hostAndPort(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon).replace(/^\[(.*)\]$/, '$1'), port: Number(address.slice(colon + 1)) };
}

function reachTcp(address: string, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(hostAndPort(address));
    const timer = setTimeout(() => socket.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    socket.once('connect', () => {
      socket.end();
      resolve();
    });
    socket.once('error', reject);
    socket.once('close', () => clearTimeout(timer));
  });
}

/** Does the kubelet answer over the socket in this folder? Never fatal: HTTPS /pods is asked where it does not. */
export async function checkPodsApi(dir: string, timeoutMs = 5000): Promise<Check> {
  const check: Check = { id: 'pods_api', title: 'Pods API', verdict: 'ok', value: '', remedy: '' };
  const socketPath = join(dir, PODS_API_SOCKET);
  if (!isSocket(socketPath)) {
    const value = `no socket ${socketPath}: kubelets from 1.37 on have one (1.36 with the feature gate PodsAPI)`;
    return { ...check, verdict: 'unknown', value };
  }
  const client = new PodsApiClient({ socketPath, maxBytes: MAX_REPLY_BYTES, timeoutMs });
  try {
    return { ...check, value: `${socketPath}: ${(await client.list()).length} pods` };
  } catch (error) {
    const remedy = error instanceof Error ? error.message : String(error);
    return { ...check, verdict: 'warning', value: `no pods from ${socketPath}`, remedy };
  } finally {
    client.close();
  }
}

/** Does the kubelet answer with its pods? Never fatal: events are sent as pending till then. */
export async function checkKubelet(options: KubeletOptions): Promise<Check> {
  const check: Check = { id: 'kubelet', title: 'Kubelet', verdict: 'ok', value: '', remedy: '' };
  let source: KubeletSource | undefined;
  try {
    source = new KubeletSource({ timeoutMs: 5000, ...options });
    const pods = await source.refresh('doctor');
    return { ...check, value: `${options.url}: ${pods.length} pods` };
  } catch (error) {
    // its messages name the remedy
    const remedy = error instanceof Error ? error.message : String(error);
    return { ...check, verdict: 'warning', value: `no pods from ${options.url}`, remedy };
  } finally {
    source?.close();
  }
}
