/**
 * A node as an agent meets it, but for Kubernetes itself: real containers placed as a kubelet places them, and something
 * in the kubelet's place that knows their pods as early, and their containers as late, as a kubelet does.
 */
import { readdirSync, rmdirSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import { type PodsServer, startPodsServer } from '../pods-server.ts';
import { attribution, type Figures, type Identity } from './attribution.ts';
import { type BriefContainer, BriefContainers, type BriefOptions, type BriefTruth } from './brief-container.ts';
import { ConfigVolume } from './config-volume.ts';
import { PODS } from './control-group.ts';
import type { Row } from './event-files.ts';
import type { PodObject } from './pod-objects.ts';

/** The kubelet looks at the runtime once a second, and knows container ids only from there. */
const RELIST_MS = 1000;
/** What the tests look at; whatever else goes on on this machine need not be read. */
export const KINDS = ['--kinds', 'process,file.open,socket', '--open-mode', 'writes', '--unix', 'off'];
/** As on a node: what storms is shed, be it a neighbour on this machine, and leaves the others alone. */
const BUDGETS = 'budgets: {containerEventsPerSecond: 1000}\n';
export const CLUSTER = 'cluster-of-the-test';

type Placed = Partial<Omit<BriefOptions, 'podUid'>> & {
  /** Its name in the pod; null: the sandbox, which is in no status. Default: main. */
  readonly container?: string | null;
};

export class KubeletNode {
  readonly kubelet: PodsServer;
  readonly port: number;
  readonly #server: Server;
  readonly #containers = new BriefContainers();
  readonly #config = new ConfigVolume(BUDGETS);
  readonly #pods = new Map<string, PodObject>();
  /** What the runtime has and the kubelet has not looked at yet. */
  #unlisted: { pod: PodObject; change: () => void }[] = [];
  readonly #relist: NodeJS.Timeout;
  #looks: (() => void)[] = [];
  readonly #identities = new Map<string, Identity>();
  readonly #groups = new Set<string>();

  private constructor(kubelet: PodsServer, server: Server) {
    this.kubelet = kubelet;
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    this.#relist = setInterval(() => {
      this.relist();
      for (const looked of this.#looks.splice(0)) looked();
    }, RELIST_MS);
  }

  /** `podsApi`: the kubelet has the socket, too, which an agent asks first. */
  static async open({ nodeName = 'node-a', podsApi = false } = {}): Promise<KubeletNode> {
    const kubelet = await startPodsServer({ podsApi, nodeName });
    const server = createServer((socket) => socket.on('error', () => {}).resume());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new KubeletNode(kubelet, server);
  }

  /** How an agent is told of it. */
  get flags(): string[] {
    const { url, tokenFile, caFile, nodeName, podsApiDir } = this.kubelet;
    return [
      ...['--kubelet-pods-api', podsApiDir],
      ...KINDS,
      ...['--config', this.#config.file],
      ...['--kubelet', url, '--kubelet-token-file', tokenFile, '--kubelet-ca-file', caFile],
      ...['--cluster-name', CLUSTER, '--node-name', nodeName],
    ];
  }

  /** The kubelet has heard of the pod: before anything of it runs. */
  admit(pod: PodObject): PodObject {
    this.#pods.set(pod.uid, pod);
    this.kubelet.addPod(pod.object());
    return pod;
  }

  /** The kubelet forgets the pod, whatever it has told of it. Its control groups are gone by then, but for living ones. */
  forget(pod: PodObject): void {
    this.#removeGroups(`${PODS}/pod${pod.uid}`);
    this.#pods.delete(pod.uid);
    this.kubelet.removePod(pod.uid);
  }

  /** As a pod ends: the kubelet looks, tells that its containers have ended, and forgets it one look later. */
  async retire(pod: PodObject): Promise<void> {
    for (let look = 0; look < 2; look++) await new Promise<void>((looked) => this.#looks.push(looked));
    this.forget(pod);
  }

  /** Starts a container of the pod. The kubelet learns of it at its next look. */
  start(pod: PodObject, { container = 'main', ...placed }: Placed = {}): BriefContainer {
    const brief = this.#containers.start({ ip: '127.0.0.1', port: this.port, ...placed, podUid: pod.uid });
    this.#identities.set(brief.id, { podName: pod.name, namespace: pod.namespace, containerName: container });
    this.#groups.add(dirname(placed.cgroupPath ?? `${PODS}/pod${pod.uid}/${brief.id}`));
    if (container !== null) {
      this.#unlisted.push({ pod, change: () => pod.report(container, brief.id) });
      const ended = () => this.#unlisted.push({ pod, change: () => pod.end(container) });
      brief.ended.then(ended, ended);
    }
    return brief;
  }

  /** A pod and one container of it, to its end. */
  async run(pod: PodObject, placed?: Placed): Promise<BriefTruth> {
    this.admit(pod);
    return await this.start(pod, placed).ended;
  }

  /** The kubelet looks at the runtime. */
  relist(): void {
    const changed = new Set<PodObject>();
    for (const { pod, change } of this.#unlisted.splice(0)) {
      change();
      changed.add(pod);
    }
    for (const pod of changed) if (this.#pods.has(pod.uid)) this.kubelet.updatePod(pod.uid, pod.object());
  }

  /** The figures of some containers: what they said beside what is in the rows. */
  figures(rows: readonly Row[], truths: readonly BriefTruth[]): Figures {
    return attribution(rows, truths, ({ containerId }) => {
      const identity = this.#identities.get(containerId);
      if (identity === undefined) throw new Error(`container ${containerId} is not of this node`);
      return identity;
    });
  }

  async close(): Promise<void> {
    clearInterval(this.#relist);
    await this.kubelet.close();
    this.#server.close();
    this.#containers.remove();
    this.#config.remove();
    for (const group of this.#groups) this.#removeGroups(group);
  }

  /** runc makes a container's group in every hierarchy, with those above it, and removes its own alone. */
  #removeGroups(path: string): void {
    for (const hierarchy of ['', ...readdirSync('/sys/fs/cgroup')]) {
      try {
        rmdirSync(join('/sys/fs/cgroup', hierarchy, path));
      } catch {
        // Not in this hierarchy, or already gone.
      }
    }
  }
}
