import type { Pod } from './pods.ts';

/** pods-api: the gRPC service over the kubelet's unix socket; kubelet: its HTTPS /pods. */
export type PodSourceName = 'pods-api' | 'kubelet';

/** Where this node's pods are read from, all at once. */
export interface PodSource {
  /**
   * All pods of this node, read after the call was made. Calls that come while one waits share its answer. Rejects with
   * PodSourceError; never for good: the next call tries again, after a pause that grows with failures.
   *
   * @param reason for status(): what asked
   * @param onBegin the read begins: whoever wants to know something by then is answered by it
   */
  refresh(reason: string, onBegin?: () => void): Promise<readonly Pod[]>;
  status(): PodSourceStatus;
  /** Ends what is under way; later calls are refused. */
  close(): void;
}

export type PodSourceErrorKind =
  | 'credentials' // a token or CA file cannot be read
  | 'tls' // the certificate is not trusted, or not for this node
  | 'unreachable' // no connection
  | 'timeout'
  | 'unauthorized' // 401
  | 'forbidden' // 403
  | 'status' // any other HTTP status
  | 'reply' // cut, or not what was asked for
  | 'not-ready' // the kubelet does not know its pods yet
  | 'not-found' // no such pod
  | 'exhausted' // over the kubelet's limit of calls, or too slow a watch
  | 'unsupported' // no such service
  | 'too-large'
  | 'closed';

/** Why pods could not be read; the message names the remedy where there is one. */
export class PodSourceError extends Error {
  override readonly name = 'PodSourceError';
  readonly kind: PodSourceErrorKind;

  constructor(kind: PodSourceErrorKind, message: string) {
    super(message);
    this.kind = kind;
  }
}

/** For doctor and metrics. Counts are of this process. */
export interface PodSourceStatus {
  readonly source: PodSourceName;
  readonly url: string;
  /** The peer's certificate is not verified. */
  readonly insecure: boolean;
  /** The last read succeeded; undefined: none has ended yet. */
  readonly reachable: boolean | undefined;
  /** Wall clock, ms since 1970; undefined: never. */
  readonly lastOkMs: number | undefined;
  /** Of the last read, '' where it succeeded. */
  readonly lastError: string;
  readonly lastErrorKind: PodSourceErrorKind | undefined;
  /** What asked for the last read. */
  readonly lastReason: string;
  readonly requests: number;
  readonly failures: Readonly<Record<PodSourceErrorKind, number>>;
  readonly consecutiveFailures: number;
  /** Items of all replies that did not read as a pod. */
  readonly skippedPods: number;
  readonly firstSkipped: string;
  /** Of the last good reply. */
  readonly lastPods: number;
  readonly lastBytes: number;
  readonly lastDurationMs: number;
}

/** Before anything was asked. */
export function blankStatus(source: PodSourceName, url: string, insecure = false): PodSourceStatus {
  return {
    source,
    url,
    insecure,
    reachable: undefined,
    lastOkMs: undefined,
    lastError: '',
    lastErrorKind: undefined,
    lastReason: '',
    requests: 0,
    failures: NO_FAILURES,
    consecutiveFailures: 0,
    skippedPods: 0,
    firstSkipped: '',
    lastPods: 0,
    lastBytes: 0,
    lastDurationMs: 0,
  };
}

const NO_FAILURES: Readonly<Record<PodSourceErrorKind, number>> = {
  credentials: 0,
  tls: 0,
  unreachable: 0,
  timeout: 0,
  unauthorized: 0,
  forbidden: 0,
  status: 0,
  reply: 0,
  'not-ready': 0,
  'not-found': 0,
  exhausted: 0,
  unsupported: 0,
  'too-large': 0,
  closed: 0,
};
