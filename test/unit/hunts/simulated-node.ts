import { createHash } from 'node:crypto';
import type { Batch, Event, NodeFacts, Pod, Process, Sparse, Workload } from '../../../proto/contract.ts';
import { NODE, Publisher } from '../collector/publisher.ts';

/** 2026-11-22T07:30:00Z: times of a simulation are ms after it. */
export const START_NS = BigInt(Date.parse('2026-11-22T07:30:00Z')) * 1_000_000n;

const BOOT_NS = 10n ** 15n;

const digest = (text: string): string => createHash('sha256').update(text).digest('hex');

/** A pod of a simulation, and what its node's agent knows of it. */
export interface PodSetup {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly ip?: string;
  readonly hostNetwork?: boolean;
  /** Network namespace of its processes; by default one of its own, of a pod of the host's network the host's. */
  readonly netNs?: number;
  readonly probeCommands?: readonly string[];
  readonly owner?: string;
  readonly image?: string;
}

export interface SimulatedPod extends Required<PodSetup> {
  readonly containerId: string;
}

export const HOST_NET_NS = 4_026_531_840;

export function simulatedPod(setup: PodSetup): SimulatedPod {
  const { name, namespace = 'shop', hostNetwork = false } = setup;
  const id = digest(`${namespace}/${name}/${setup.uid ?? ''}`);
  return {
    ip: '',
    probeCommands: [],
    owner: '',
    image: `image-of-${name}`,
    netNs: hostNetwork ? HOST_NET_NS : 4_026_540_000 + Number.parseInt(id.slice(0, 4), 16),
    ...setup,
    name,
    namespace,
    hostNetwork,
    uid: setup.uid ?? `${id.slice(0, 8)}-${id.slice(8, 12)}-4000-8000-${id.slice(12, 24)}`,
    containerId: digest(`container of ${id}`),
  };
}

const rfc3339 = (ms: number): string => new Date(Number(START_NS / 1_000_000n) + ms).toISOString().replace(/\.\d+/, '');
const bytes = (text: string): Buffer => Buffer.from(text);

export interface ProcessSetup {
  readonly pid?: number;
  readonly startMs?: number;
  readonly parentPid?: number;
  readonly parentStartMs?: number;
  readonly exe?: string;
  /** init 1, exec 2, host 3 */
  readonly entry?: number;
  readonly execId?: number;
  readonly netNs?: number;
}

/** An end of a connection: `a.b.c.d:port`. */
const address = (end: string) => {
  const [ip = '', port] = end.split(/:(?=\d+$)/);
  return { ip: Buffer.from(ip.split('.').map(Number)), port: Number(port) };
};

/** An agent of one node that tells a collector what a test says happened there. */
export class SimulatedNode {
  readonly name: string;
  readonly run: Buffer;
  readonly bootId: string;
  /** The node's wall clock differs by so much from the others'. */
  readonly #skewMs: number;
  readonly #publisher: Publisher;
  readonly #facts: Sparse<NodeFacts>;
  #seq = 1n;
  #streamSeq = 0n;
  #events: Sparse<Event>[] = [];
  #workloads: Sparse<Workload>[] = [];
  #processes: Sparse<Process>[] = [];
  #lastNs = BOOT_NS;

  constructor(address: string, name: string, { cluster = 'prod', run = 1, skewMs = 0 } = {}) {
    this.name = name;
    this.run = Buffer.from(digest(`${cluster}/${name}/${run}`).slice(0, 32), 'hex');
    this.bootId = `boot-of-${cluster}-${name}`;
    this.#skewMs = skewMs;
    this.#facts = { ...NODE, runId: this.run, nodeName: name, clusterName: cluster, bootId: this.bootId };
    this.#publisher = new Publisher(address).hello(this.#facts);
  }

  get runId(): string {
    return this.run.toString('hex');
  }

  /** What was given since the last `send`, as one batch; resolves when the collector has it. */
  async send({ twice = false } = {}): Promise<void> {
    const batch = {
      runId: this.run,
      firstSeq: this.#seq,
      baseTimeNs: BOOT_NS,
      wallOffsetNs: START_NS - BOOT_NS + BigInt(this.#skewMs) * 1_000_000n,
      workloads: this.#workloads,
      processes: this.#processes,
      events: this.#events,
    } satisfies Sparse<Batch>;
    this.#seq += BigInt(this.#events.length);
    this.#events = [];
    this.#workloads = [];
    this.#processes = [];
    this.#lastNs = BOOT_NS;
    for (let i = 0; i < (twice ? 2 : 1); i++) this.#publisher.batch({ ...batch, streamSeq: ++this.#streamSeq });
    await this.#publisher.untilAcked(this.#streamSeq);
    if (this.#publisher.status !== 'open') throw new Error(String(this.#publisher.status));
  }

  /** What was given since the last `send` is lost after it was numbered: its sequence numbers are in no file. */
  lose(): void {
    this.#seq += BigInt(this.#events.length);
    this.#events = [];
    this.#lastNs = BOOT_NS;
  }

  close(): void {
    this.#publisher.close();
  }

  #add(atMs: number, event: Sparse<Event>): void {
    const atNs = BOOT_NS + BigInt(Math.round(atMs * 1e6));
    this.#events.push({ timeDeltaNs: atNs - this.#lastNs, ...event });
    this.#lastNs = atNs;
  }

  #process(pod: SimulatedPod | null, setup: ProcessSetup, pending: boolean): number {
    const named =
      pod === null || pending
        ? {}
        : {
            podName: pod.name,
            namespaceName: pod.namespace,
            containerName: 'main',
            imageName: pod.image,
            podLabels: { app: pod.name },
            ownerKind: pod.owner === '' ? '' : 'Deployment',
            ownerName: pod.owner,
          };
    const workload: Sparse<Workload> =
      pod === null ? { state: 4 } : { state: pending ? 2 : 1, podUid: pod.uid, containerId: pod.containerId, ...named };
    const ns = (ms: number) => BOOT_NS + BigInt(Math.round(ms * 1e6));
    const { pid = 100, startMs = -60_000, parentPid = 1, parentStartMs = -70_000, execId = 1 } = setup;
    this.#processes.push({
      workload: this.#workloads.push(workload),
      tgid: pid,
      startTimeNs: ns(startMs),
      execId: BigInt(execId),
      parentTgid: parentPid,
      parentStartTimeNs: ns(parentStartMs),
      netNs: setup.netNs ?? pod?.netNs ?? HOST_NET_NS,
      exe: bytes(setup.exe ?? '/bin/app'),
      entry: setup.entry ?? (pod === null ? 3 : 1),
    });
    return this.#processes.length;
  }

  /** The pod as the kubelet tells it from now on. `startedMs`, `finishedMs`: of its container. */
  pod(
    atMs: number,
    pod: SimulatedPod,
    changes: Sparse<Pod> & { startedMs?: number; finishedMs?: number; restartCount?: number } = {},
  ): this {
    const { startedMs = atMs, finishedMs, restartCount = 0, ...rest } = changes;
    const container = {
      id: pod.containerId,
      name: 'main',
      type: 'container',
      imageName: pod.image,
      imageDigest: `sha256:${pod.containerId}`,
      runtime: 'containerd',
      restartCount,
      startedAt: rfc3339(startedMs),
      finishedAt: finishedMs === undefined ? '' : rfc3339(finishedMs),
      probeCommands: pod.probeCommands,
    };
    this.#add(atMs, {
      pod: {
        state: 1,
        uid: pod.uid,
        name: pod.name,
        namespaceName: pod.namespace,
        labels: { app: pod.name },
        ips: pod.ip === '' ? [] : [pod.ip],
        hostNetwork: pod.hostNetwork,
        ownerKind: pod.owner === '' ? '' : 'Deployment',
        ownerName: pod.owner,
        phase: finishedMs === undefined ? 'Running' : 'Succeeded',
        startedAt: rfc3339(startedMs - 2000),
        source: 'kubelet',
        containers: [container],
        ...rest,
      },
    });
    return this;
  }

  podGone(atMs: number, pod: SimulatedPod): this {
    return this.pod(atMs, pod, { state: 2 });
  }

  /** An event of a process of the pod (null: of the host). `pending`: it leaves before the pod is known. */
  event(
    atMs: number,
    pod: SimulatedPod | null,
    event: Sparse<Event>,
    process: ProcessSetup & { readonly pending?: boolean } = {},
  ): this {
    this.#add(atMs, { process: this.#process(pod, process, process.pending ?? false), ...event });
    return this;
  }

  exec(
    atMs: number,
    pod: SimulatedPod | null,
    argv: readonly string[],
    process: ProcessSetup & {
      readonly pending?: boolean;
      readonly env?: readonly string[];
      readonly truncated?: boolean;
    } = {},
  ): this {
    const exe = process.exe ?? argv[0] ?? '';
    const processExec = {
      exe: { path: bytes(exe), source: 1 },
      filename: bytes(exe),
      argv: argv.map(bytes),
      argc: argv.length,
      argvTruncated: process.truncated ?? false,
      env: (process.env ?? []).map(bytes),
    };
    return this.event(atMs, pod, { processExec }, { startMs: atMs, ...process, exe });
  }

  connect(
    atMs: number,
    pod: SimulatedPod | null,
    local: string,
    peer: string,
    more: ProcessSetup & { readonly asked?: string; readonly result?: number; readonly protocol?: number } = {},
  ): this {
    const { asked, result = 0, protocol = 6, ...process } = more;
    const socketConnect = {
      family: 2,
      protocol,
      local: address(local),
      remote: address(peer),
      asked: asked === undefined ? undefined : address(asked),
      result,
      connectionStartNs: BOOT_NS + BigInt(Math.round(atMs * 1e6)),
    };
    return this.event(atMs, pod, { socketConnect }, process);
  }

  accept(atMs: number, pod: SimulatedPod | null, local: string, peer: string, process: ProcessSetup = {}): this {
    const connectionStartNs = BOOT_NS + BigInt(Math.round(atMs * 1e6));
    const socketAccept = { family: 2, protocol: 6, local: address(local), remote: address(peer), connectionStartNs };
    return this.event(atMs, pod, { socketAccept }, process);
  }

  /** `startMs`: of its connect or accept. */
  end(
    atMs: number,
    pod: SimulatedPod | null,
    local: string,
    peer: string,
    { startMs, sent, received, endedBy }: { startMs: number; sent: bigint; received: bigint; endedBy: number },
  ): this {
    const socketClose = {
      family: 2,
      protocol: 6,
      local: address(local),
      remote: address(peer),
      connectionStartNs: BOOT_NS + BigInt(Math.round(startMs * 1e6)),
      durationNs: BigInt(Math.round((atMs - startMs) * 1e6)),
      bytesSent: sent,
      bytesReceived: received,
      endedBy,
    };
    return this.event(atMs, pod, { socketClose });
  }
}
