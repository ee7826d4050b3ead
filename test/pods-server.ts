/**
 * A kubelet's two ways of telling its pods, from one set of pods: HTTPS /pods, and the gRPC service v1alpha1.Pods over a
 * unix socket. It can be made to fail in each way that a kubelet fails, while it runs.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server as HttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type StatusObject,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import { encodePod, messageType, type V1Pod } from './core-v1.ts';
import { Authority, type Certificate } from './unit/kubernetes/certificates.ts';

export { type ContainerPlan, type PodPlan, type V1Pod, v1Pod } from './core-v1.ts';

export interface PodsServerOptions {
  /** Default true. */
  readonly podsApi?: boolean;
  /** Default true. */
  readonly https?: boolean;
  /** What the certificate is for. */
  readonly nodeName?: string;
}

/** Change them at any time; they hold for what is asked from then on. */
export interface Faults {
  /** Of both, before every reply (and before a watch's first event). */
  delayMs: number;
  /** unauthorized-once: 401, then as if nothing had been. cut: the connection ends within the reply. */
  https: 'none' | 'garbage' | 'error-500' | 'unauthorized-once' | 'unauthorized' | 'forbidden' | 'cut' | 'hang';
  /** not-ready: FAILED_PRECONDITION, as until a kubelet has its pods. no-sync: the list is never declared complete. */
  podsApi: 'none' | 'garbage' | 'garbled-pods' | 'not-ready' | 'internal' | 'no-sync' | 'hang';
  /** Every pod is padded by so many bytes. */
  padBytes: number;
  /** containerStatuses are left out, as while a postStart hook runs: of these pods, or of all. */
  withholdStatuses: boolean | ReadonlySet<string>;
  /** A DELETED says the whole pod, not only its name, namespace and UID. */
  wholeDeletes: boolean;
}

/** How a change is told to those who watch. */
export interface Telling {
  /** The event is dropped: only a list shows the change. */
  readonly silent?: boolean;
}

type Watcher = ServerWritableStream<unknown, Uint8Array>;

export const SOCKET_NAME = 'pods-api.sock';
/** As the kubelet limits GetPod and ListPods. */
const CALLS_PER_SECOND = 100;
const CALL_BURST = 10;

const EVENT = { ADDED: 1, MODIFIED: 2, DELETED: 3, INITIAL_SYNC_COMPLETE: 4 } as const;

let authority: Authority | undefined;
const certificates = new Map<string, Certificate>();

/** One authority for all servers of a test file: making keys takes a while. */
function certificateFor(nodeName: string): { readonly caFile: string; readonly certificate: Certificate } {
  if (authority === undefined) {
    authority = new Authority();
    const { dir } = authority;
    process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
  }
  const certificate =
    certificates.get(nodeName) ?? authority.issue(`system:node:${nodeName}`, `DNS:${nodeName},IP:127.0.0.1`);
  certificates.set(nodeName, certificate);
  return { caFile: authority.caFile, certificate };
}

export async function startPodsServer(options: PodsServerOptions = {}): Promise<PodsServer> {
  const server = new PodsServer(options);
  if (options.podsApi !== false) await server.startPodsApi();
  if (options.https !== false) await server.startHttps();
  return server;
}

export class PodsServer {
  readonly nodeName: string;
  /** Holds pods-api.sock: what the kubelet has as /var/lib/kubelet/pods-api. */
  readonly podsApiDir: string;
  readonly tokenFile: string;
  readonly caFile: string;
  readonly faults: Faults = {
    delayMs: 0,
    https: 'none',
    podsApi: 'none',
    padBytes: 0,
    withholdStatuses: false,
    wholeDeletes: false,
  };
  /** What was asked so far. */
  readonly asked = { https: 0, lists: 0, gets: [] as string[], watches: 0, refused: 0 };
  readonly #certificate: Certificate;
  readonly #dir: string;
  readonly #pods = new Map<string, V1Pod>();
  readonly #watchers = new Set<Watcher>();
  #grpc: Server | undefined;
  #https: HttpsServer | undefined;
  #port = 0;
  #tokens = CALL_BURST;
  #tokensAt = performance.now();

  constructor({ nodeName = 'node-a' }: PodsServerOptions) {
    const { caFile, certificate } = certificateFor(nodeName);
    this.nodeName = nodeName;
    this.#certificate = certificate;
    this.#dir = mkdtempSync(join(tmpdir(), 'kt-pods-'));
    this.podsApiDir = mkdtempSync(join(this.#dir, 'api-'));
    this.tokenFile = join(this.#dir, 'token');
    this.caFile = caFile;
    writeFileSync(this.tokenFile, 'token-1');
  }

  /** Of the HTTPS side; the same after a restart. */
  get url(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  get watchers(): number {
    return this.#watchers.size;
  }

  /** The pods as they are now. */
  pods(): V1Pod[] {
    return [...this.#pods.values()];
  }

  addPod(pod: V1Pod, telling: Telling = {}): V1Pod {
    this.#pods.set(pod.metadata.uid, pod);
    if (!telling.silent) this.#tell('ADDED', pod);
    return pod;
  }

  /** Lays parts over a pod. A change of labels or annotations alone is not told, as by a kubelet. */
  updatePod(uid: string, change: Partial<V1Pod>, telling: Telling = {}): V1Pod {
    const before = this.#of(uid);
    const pod: V1Pod = {
      metadata: { ...before.metadata, ...change.metadata },
      spec: { ...before.spec, ...change.spec },
      status: { ...before.status, ...change.status },
    };
    this.#pods.set(uid, pod);
    const toldOfIt = change.spec !== undefined || change.status !== undefined;
    if (toldOfIt && !telling.silent) this.#tell('MODIFIED', pod);
    return pod;
  }

  removePod(uid: string, telling: Telling = {}): void {
    const pod = this.#of(uid);
    this.#pods.delete(uid);
    if (!telling.silent) this.#tell('DELETED', pod);
  }

  /** Ends every watch, by default as the kubelet ends that of a client too slow for its 100 events of buffer. */
  dropWatchers(code: status = status.RESOURCE_EXHAUSTED, details = 'client is too slow'): void {
    for (const watcher of this.#watchers) watcher.emit('error', { code, details });
    this.#watchers.clear();
  }

  /** Whoever watches is sent these bytes in the place of a pod. */
  sendBytes(bytes: Uint8Array, type: keyof typeof EVENT = 'MODIFIED'): void {
    for (const watcher of this.#watchers) watcher.write(event(type, bytes));
  }

  async startPodsApi(): Promise<void> {
    if (this.#grpc !== undefined) return;
    const server = new Server({ 'grpc.max_send_message_length': -1 });
    server.addService(SERVICE, {
      ListPods: (_call: ServerUnaryCall<unknown, Uint8Array>, reply: sendUnaryData<Uint8Array>) => this.#list(reply),
      GetPod: (call: ServerUnaryCall<{ podUID: string }, Uint8Array>, reply: sendUnaryData<Uint8Array>) =>
        this.#get(call.request.podUID, reply),
      WatchPods: (call: Watcher) => this.#watch(call),
    });
    const path = join(this.podsApiDir, SOCKET_NAME);
    rmSync(path, { force: true });
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      );
    });
    this.#grpc = server;
  }

  /** As a kubelet that ends: connections break, and the socket stays, with nobody behind it (`unlink`: it goes too). */
  async stopPodsApi({ unlink = true } = {}): Promise<void> {
    const server = this.#grpc;
    if (server === undefined) return;
    this.#grpc = undefined;
    this.#watchers.clear();
    server.forceShutdown();
    const path = join(this.podsApiDir, SOCKET_NAME);
    rmSync(path, { force: true });
    if (!unlink) writeFileSync(path, '');
  }

  /** As a kubelet's restart: another socket in the same folder. */
  async replaceSocket(): Promise<void> {
    await this.stopPodsApi();
    await this.startPodsApi();
  }

  async startHttps(): Promise<void> {
    if (this.#https !== undefined) return;
    const server = createServer({ cert: this.#certificate.cert, key: this.#certificate.key });
    server.on('request', (req: IncomingMessage, res: ServerResponse) => this.#answer(req, res));
    server.on('tlsClientError', () => {});
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#port, '127.0.0.1', resolve);
    });
    this.#port = (server.address() as AddressInfo).port;
    this.#https = server;
  }

  async stopHttps(): Promise<void> {
    const server = this.#https;
    this.#https = undefined;
    if (server === undefined) return;
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  async close(): Promise<void> {
    await this.stopPodsApi();
    await this.stopHttps();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  #of(uid: string): V1Pod {
    const pod = this.#pods.get(uid);
    if (pod === undefined) throw new Error(`no pod ${uid}`);
    return pod;
  }

  /** A pod as it is told: padded, with or without its statuses. */
  #told(pod: V1Pod): V1Pod {
    const { padBytes, withholdStatuses } = this.faults;
    const withheld = typeof withholdStatuses === 'boolean' ? withholdStatuses : withholdStatuses.has(pod.metadata.uid);
    const annotations = {
      ...(pod.metadata['annotations'] as object),
      ...(padBytes > 0 && { pad: 'x'.repeat(padBytes) }),
    };
    const { containerStatuses, ...rest } = pod.status;
    return {
      metadata: { ...pod.metadata, annotations },
      spec: pod.spec,
      status: withheld ? rest : pod.status,
    };
  }

  #encoded(pod: V1Pod): Uint8Array {
    return this.faults.podsApi === 'garbled-pods'
      ? Buffer.from('\x0a\xff\xff\xff\x0fno pod', 'latin1')
      : encodePod(this.#told(pod));
  }

  #tell(type: 'ADDED' | 'MODIFIED' | 'DELETED', pod: V1Pod): void {
    const { name, namespace, uid } = pod.metadata;
    const bare = type === 'DELETED' && !this.faults.wholeDeletes;
    const bytes = bare ? encodePod({ metadata: { name, namespace, uid }, spec: {}, status: {} }) : this.#encoded(pod);
    for (const watcher of this.#watchers) watcher.write(event(type, bytes));
  }

  async #list(reply: sendUnaryData<Uint8Array>): Promise<void> {
    this.asked.lists++;
    if (!(await this.#fit(reply))) return;
    reply(null, message('ListPodsResponse', { pods: this.pods().map((pod) => this.#encoded(pod)) }));
  }

  async #get(uid: string, reply: sendUnaryData<Uint8Array>): Promise<void> {
    this.asked.gets.push(uid);
    if (!(await this.#fit(reply))) return;
    const pod = this.#pods.get(uid);
    if (pod === undefined) reply({ code: status.NOT_FOUND, details: `pod with UID ${uid} not found` });
    else reply(null, message('GetPodResponse', { pod: this.#encoded(pod) }));
  }

  /** False: it was refused, or never answered. */
  async #fit(reply: sendUnaryData<Uint8Array>): Promise<boolean> {
    const now = performance.now();
    this.#tokens = Math.min(CALL_BURST, this.#tokens + ((now - this.#tokensAt) / 1000) * CALLS_PER_SECOND);
    this.#tokensAt = now;
    if (this.#tokens < 1) {
      this.asked.refused++;
      reply({ code: status.RESOURCE_EXHAUSTED, details: 'rejected by rate limit' });
      return false;
    }
    this.#tokens--;
    await this.#pause();
    if (this.faults.podsApi === 'hang') return false;
    const refusal = this.#refusal();
    if (refusal !== undefined) {
      reply(refusal);
      return false;
    }
    if (this.faults.podsApi === 'garbage') {
      reply(null, Buffer.from('\xff\xff no message', 'latin1'));
      return false;
    }
    return true;
  }

  #refusal(): Pick<StatusObject, 'code' | 'details'> | undefined {
    const { podsApi } = this.faults;
    if (podsApi === 'not-ready') return { code: status.FAILED_PRECONDITION, details: 'pod sources are not ready' };
    if (podsApi === 'internal') return { code: status.INTERNAL, details: 'failed to marshal pod' };
    return undefined;
  }

  async #watch(call: Watcher): Promise<void> {
    this.asked.watches++;
    call.on('cancelled', () => this.#watchers.delete(call));
    call.on('error', () => this.#watchers.delete(call));
    await this.#pause();
    if (this.faults.podsApi === 'hang' || call.cancelled) return;
    const refusal = this.#refusal();
    if (refusal !== undefined) {
      call.emit('error', refusal);
      return;
    }
    if (this.faults.podsApi === 'garbage') {
      call.write(Buffer.from('\xff\xff no message', 'latin1'));
      return;
    }
    this.#watchers.add(call);
    for (const pod of this.#pods.values()) call.write(event('ADDED', this.#encoded(pod)));
    if (this.faults.podsApi !== 'no-sync') call.write(event('INITIAL_SYNC_COMPLETE'));
  }

  async #answer(_req: IncomingMessage, res: ServerResponse): Promise<void> {
    this.asked.https++;
    await this.#pause();
    const fault = this.faults.https;
    if (fault === 'unauthorized-once') this.faults.https = 'none';
    if (fault === 'hang' || res.destroyed) return;
    if (fault === 'garbage') res.end('{"kind":"PodList","items":[{"metadata":{"na\u0000\u0001');
    else if (fault === 'error-500') res.writeHead(500).end('internal error');
    else if (fault === 'unauthorized' || fault === 'unauthorized-once') res.writeHead(401).end('Unauthorized');
    else if (fault === 'forbidden') res.writeHead(403).end('Forbidden');
    else {
      const items = this.pods().map((pod) => this.#told(pod));
      const body = JSON.stringify({ kind: 'PodList', apiVersion: 'v1', metadata: {}, items });
      if (fault === 'cut') {
        res.writeHead(200, { 'content-length': body.length });
        res.write(body.slice(0, body.length / 2), () => res.destroy());
      } else res.end(body);
    }
  }

  async #pause(): Promise<void> {
    const { delayMs } = this.faults;
    if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
  }
}

function message(type: string, value: object): Uint8Array {
  return messageType(type).encode(value).finish();
}

function event(type: keyof typeof EVENT, pod?: Uint8Array): Uint8Array {
  return message('WatchPodsEvent', { type: EVENT[type], ...(pod && { pod }) });
}

const bytesOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const method = (name: string, responseStream: boolean) => ({
  path: `/v1alpha1.Pods/${name}`,
  requestStream: false,
  responseStream,
  requestSerialize: bytesOf,
  requestDeserialize: (bytes: Buffer): object => messageType(`${name}Request`).decode(bytes),
  responseSerialize: bytesOf,
  responseDeserialize: (bytes: Buffer): Uint8Array => bytes,
});

const SERVICE = {
  ListPods: method('ListPods', false),
  GetPod: method('GetPod', false),
  WatchPods: method('WatchPods', true),
};
