/** The gRPC calls of the kubelet's Pods API over its unix socket. Answers stay bytes: their pods are decoded one by one. */
import { Client, type ClientOptions, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import {
  decodeGetPodResponse,
  decodeListPodsResponse,
  encodeGetPodRequest,
  PODS_SERVICE,
} from '../../proto/kubelet-pods.ts';
import { PodSourceError, type PodSourceErrorKind } from './pod-source.ts';

export interface PodsApiClientOptions {
  readonly socketPath: string;
  /** Of one message: a list holds all pods. */
  readonly maxBytes: number;
  /** For the whole of a reply to `get` and `list`. */
  readonly timeoutMs: number;
}

export interface WatchEvents {
  /** Bytes of a WatchPodsEvent. */
  event(frame: Buffer): void;
  /** Once, the last; not after the watch was cancelled. */
  end(error: PodSourceError): void;
}

const EMPTY = Buffer.alloc(0);
const bytes = (frame: Buffer): Buffer => frame;
const path = (name: string): string => `/${PODS_SERVICE}/${name}`;

/** One channel. It is thrown away with the watch on it: the next one finds a socket that was replaced. */
export class PodsApiClient {
  readonly #client: Client;
  readonly #timeoutMs: number;
  readonly #socketPath: string;

  constructor({ socketPath, maxBytes, timeoutMs }: PodsApiClientOptions) {
    this.#socketPath = socketPath;
    this.#timeoutMs = timeoutMs;
    const options: ClientOptions = {
      // grpc-js takes 4 MB by default: a node's list is larger.
      'grpc.max_receive_message_length': maxBytes,
      'grpc.enable_http_proxy': 0,
      'grpc.enable_channelz': 0,
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_retries': 0,
      // Not the path of the socket, which Go's server would refuse as a host name.
      'grpc.default_authority': 'localhost',
    };
    this.#client = new Client(`unix:${socketPath}`, credentials.createInsecure(), options);
  }

  /** Watches until `end` is told or the returned function is called. */
  watch(events: WatchEvents): () => void {
    const call = this.#client.makeServerStreamRequest(path('WatchPods'), bytes, bytes, EMPTY);
    let over = false;
    const end = (error: PodSourceError): void => {
      if (over) return;
      over = true;
      call.cancel();
      events.end(error);
    };
    call.on('data', (frame: Buffer) => {
      if (!over) events.event(frame);
    });
    call.on('error', (error: ServiceError) => end(this.#failure(error)));
    call.on('end', () => end(new PodSourceError('unreachable', `the kubelet ended the watch at ${this.#socketPath}`)));
    return () => {
      over = true;
      call.cancel();
    };
  }

  /** The marshalled pods of this node. Rejects with PodSourceError. */
  async list(): Promise<readonly Uint8Array[]> {
    const frame = await this.#call('ListPods', EMPTY);
    return this.#decoded(() => decodeListPodsResponse(frame));
  }

  /** A marshalled pod; undefined: the kubelet has none with this UID. Rejects with PodSourceError. */
  async get(uid: string): Promise<Uint8Array | undefined> {
    try {
      const frame = await this.#call('GetPod', encodeGetPodRequest(uid));
      return this.#decoded(() => decodeGetPodResponse(frame));
    } catch (error) {
      if (error instanceof PodSourceError && error.kind === 'not-found') return undefined;
      throw error;
    }
  }

  close(): void {
    this.#client.close();
  }

  #call(name: string, request: Buffer): Promise<Buffer> {
    const deadline = Date.now() + this.#timeoutMs;
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(path(name), bytes, bytes, request, new Metadata(), { deadline }, (error, reply) => {
        if (error !== null) reject(this.#failure(error));
        else resolve(reply ?? EMPTY);
      });
    });
  }

  #decoded<T>(decode: () => T): T {
    try {
      return decode();
    } catch (error) {
      throw new PodSourceError('reply', `the kubelet's reply is no message of ${PODS_SERVICE}: ${String(error)}`);
    }
  }

  #failure({ code, details }: ServiceError): PodSourceError {
    const at = this.#socketPath;
    const isTooLarge = code === status.RESOURCE_EXHAUSTED && details.includes('larger than max');
    const kind: PodSourceErrorKind = isTooLarge ? 'too-large' : (KINDS[code] ?? 'status');
    return new PodSourceError(
      kind,
      `${MEANINGS[kind] ?? `the kubelet answered ${status[code] ?? code}`} (${at}): ${details}`,
    );
  }
}

const KINDS: { readonly [code: number]: PodSourceErrorKind } = {
  [status.CANCELLED]: 'closed',
  [status.DEADLINE_EXCEEDED]: 'timeout',
  [status.FAILED_PRECONDITION]: 'not-ready',
  [status.NOT_FOUND]: 'not-found',
  [status.PERMISSION_DENIED]: 'forbidden',
  [status.RESOURCE_EXHAUSTED]: 'exhausted',
  [status.UNAVAILABLE]: 'unreachable',
  [status.UNIMPLEMENTED]: 'unsupported',
};

const MEANINGS: { readonly [kind in PodSourceErrorKind]?: string } = {
  unreachable: 'cannot reach the Pods API',
  timeout: 'no whole reply from the Pods API in time',
  'not-ready': 'the kubelet has not all its pods yet',
  exhausted: 'the kubelet asks for fewer calls, or found this watch too slow',
  unsupported: `the kubelet speaks no ${PODS_SERVICE}`,
  'too-large': 'a reply of the Pods API is over the limit: it was not read',
};
