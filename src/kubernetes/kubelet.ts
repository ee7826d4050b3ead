import { readFileSync } from 'node:fs';
import { getFromKubelet, type KubeletReply } from './kubelet-request.ts';
import { DEFAULT_LABEL_RULES, type LabelRules } from './pod-labels.ts';
import { type PodList, readPodList } from './pod-list.ts';
import { PodListError } from './pod-list-splitter.ts';
import { blankStatus, type PodSource, PodSourceError, type PodSourceStatus } from './pod-source.ts';
import type { Pod } from './pods.ts';
import { Turns } from './turns.ts';

const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';
export const KUBELET_TOKEN_FILE = `${SERVICE_ACCOUNT}/token`;
export const KUBELET_CA_FILE = `${SERVICE_ACCOUNT}/ca.crt`;
const MAX_PAUSE_MS = 30_000;
/** Of a list of pods: 500 pods of 40 KiB are 20 MiB. */
export const MAX_REPLY_BYTES = 32 << 20;

export interface KubeletOptions {
  /** https://ADDRESS:10250; a path is ignored. */
  readonly url: string;
  /** Read anew for every request: a projected token rotates hourly. */
  readonly tokenFile?: string;
  /** Likewise. */
  readonly caFile?: string;
  /** The certificate may be for this name or for the URL's host. */
  readonly nodeName?: string;
  /** Do not verify the kubelet's certificate. */
  readonly insecure?: boolean;
  /** Between the starts of two requests; default 500. */
  readonly minIntervalMs?: number;
  /** For the whole of a reply; default 10,000. */
  readonly timeoutMs?: number;
  /** Of a reply; default 32 MiB. */
  readonly maxBytes?: number;
  readonly rules?: LabelRules;
}

/** The kubelet's HTTPS /pods. Needs a token that may `get` `nodes/pods` (Kubernetes >= 1.33), or `nodes/proxy`. */
export class KubeletSource implements PodSource {
  readonly #options: Required<KubeletOptions>;
  readonly #url: URL;
  readonly #closing = new AbortController();
  #running: Promise<unknown> | undefined;
  #waiting: Promise<readonly Pod[]> | undefined;
  /** To be told when the one that waits begins. */
  #onBegin: (() => void)[] = [];
  #lastStart = Number.NEGATIVE_INFINITY;
  #status: PodSourceStatus;

  /** Throws TypeError where the URL is none, or not https: the token would cross the network in the clear. */
  constructor(options: KubeletOptions) {
    const url = new URL('/pods', options.url);
    if (url.protocol !== 'https:') throw new TypeError(`the kubelet's URL must be https, not ${options.url}`);
    this.#url = url;
    this.#options = {
      tokenFile: KUBELET_TOKEN_FILE,
      caFile: KUBELET_CA_FILE,
      nodeName: '',
      insecure: false,
      minIntervalMs: 500,
      timeoutMs: 10_000,
      maxBytes: MAX_REPLY_BYTES,
      rules: DEFAULT_LABEL_RULES,
      ...options,
    };
    this.#status = blankStatus('kubelet', url.href, this.#options.insecure);
  }

  status(): PodSourceStatus {
    return this.#status;
  }

  close(): void {
    this.#closing.abort();
  }

  refresh(reason: string, onBegin?: () => void): Promise<readonly Pod[]> {
    if (onBegin !== undefined) this.#onBegin.push(onBegin);
    // One runs, one waits: whoever calls joins the one that has not started, so that the answer is newer than the call.
    this.#waiting ??= this.#afterPause(this.#running, reason);
    return this.#waiting;
  }

  async #afterPause(running: Promise<unknown> | undefined, reason: string): Promise<readonly Pod[]> {
    await running;
    await this.#pause(this.#lastStart + this.#intervalMs() - performance.now());
    if (this.#closing.signal.aborted) throw new PodSourceError('closed', 'closed');
    this.#lastStart = performance.now();
    this.#waiting = undefined;
    for (const begins of this.#onBegin.splice(0)) begins();
    const read = this.#readAndNote(reason);
    this.#running = read.catch(() => undefined);
    return read;
  }

  #pause(ms: number): Promise<void> {
    const { signal } = this.#closing;
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', end);
        resolve();
      };
      const timer = setTimeout(end, Math.max(ms, 0));
      signal.addEventListener('abort', end);
      if (signal.aborted) end();
    });
  }

  /** Doubles with every failure in a row, with a fifth of jitter so that the agents of many nodes spread. */
  #intervalMs(): number {
    const failures = this.#status.consecutiveFailures;
    const { minIntervalMs } = this.#options;
    if (failures === 0) return minIntervalMs;
    const pause = Math.max(minIntervalMs, Math.min(minIntervalMs * 2 ** failures, MAX_PAUSE_MS));
    return pause * (1 + Math.random() / 5);
  }

  async #readAndNote(reason: string): Promise<readonly Pod[]> {
    const started = performance.now();
    this.#note({ lastReason: reason });
    try {
      const pods = await this.#read();
      this.#note({
        reachable: true,
        lastOkMs: Date.now(),
        lastError: '',
        lastErrorKind: undefined,
        consecutiveFailures: 0,
        lastPods: pods.length,
        lastDurationMs: performance.now() - started,
      });
      return pods;
    } catch (error) {
      const failed = failure(error);
      const { failures, consecutiveFailures } = this.#status;
      this.#note({
        reachable: false,
        lastError: failed.message,
        lastErrorKind: failed.kind,
        failures: { ...failures, [failed.kind]: failures[failed.kind] + 1 },
        consecutiveFailures: consecutiveFailures + 1,
      });
      throw failed;
    }
  }

  async #read(): Promise<readonly Pod[]> {
    const token = this.#token();
    let reply = await this.#get(token);
    if (reply.status === 401) {
      // The token may have been rotated between our reading and its use.
      const newer = this.#token();
      if (newer !== token) reply = await this.#get(newer);
    }
    if (!('value' in reply)) throw refusal(reply.status, reply.said, this.#options.tokenFile);
    const { pods, bytes, skipped, firstProblem } = reply.value;
    this.#note({
      lastBytes: bytes,
      skippedPods: this.#status.skippedPods + skipped,
      firstSkipped: firstProblem,
    });
    return pods;
  }

  #token(): string {
    const token = readCredential(this.#options.tokenFile, 'token').trim();
    // What cannot stand in a header would throw later, with the token in the message.
    if (!/^[\x21-\x7e]+$/.test(token)) {
      throw new PodSourceError('credentials', `token file ${this.#options.tokenFile} holds no bearer token`);
    }
    return token;
  }

  #get(token: string): Promise<KubeletReply<PodList>> {
    const { caFile, insecure, nodeName, timeoutMs, maxBytes, rules } = this.#options;
    const ca = insecure ? '' : readCredential(caFile, 'CA');
    if (!insecure && !ca.includes('-----BEGIN CERTIFICATE-----')) {
      throw new PodSourceError('credentials', `CA file ${caFile} holds no certificate`);
    }
    this.#note({ requests: this.#status.requests + 1 });
    const { signal } = this.#closing;
    const ask = { url: this.#url, nodeName, token, ca, caFile, insecure, timeoutMs, maxBytes, signal };
    return getFromKubelet(ask, (body) => readPodList(body, { rules, turns: new Turns() }));
  }

  #note(change: Partial<PodSourceStatus>): void {
    this.#status = { ...this.#status, ...change };
  }
}

function readCredential(file: string, what: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new PodSourceError('credentials', `cannot read ${what} file ${file}: ${message}`);
  }
}

/** What reading threw, as an error of this source. */
function failure(error: unknown): PodSourceError {
  if (error instanceof PodSourceError) return error;
  if (error instanceof SyntaxError || error instanceof PodListError) {
    return new PodSourceError('reply', `the kubelet's reply is not a list of pods: ${error.message}`);
  }
  return new PodSourceError('reply', String(error));
}

function refusal(status: number, body: string, tokenFile: string): PodSourceError {
  const said = body.trim().slice(0, 200);
  if (status === 401) {
    return new PodSourceError('unauthorized', `the kubelet does not accept the token in ${tokenFile} (401): ${said}`);
  }
  if (status === 403) {
    return new PodSourceError(
      'forbidden',
      'the kubelet refuses /pods (403): the service account needs RBAC `nodes/pods: get` ' +
        `(before Kubernetes 1.33: \`nodes/proxy: get\`): ${said}`,
    );
  }
  return new PodSourceError('status', `the kubelet answered ${status}: ${said}`);
}
