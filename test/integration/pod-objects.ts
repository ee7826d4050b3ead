/** Pods as the kubelet of a node has them, in the wire's own form (v1.Pod as JSON): the tests' truth of who is who. */
import { randomBytes, randomUUID } from 'node:crypto';
import type { V1Pod } from '../core-v1.ts';

type Json = Record<string, unknown>;

/** Which of a pod's three lists a container stands in. A sidecar is an init container that is restarted always. */
export type ContainerClass = 'container' | 'init' | 'sidecar' | 'ephemeral';

export interface PodSpec {
  readonly uid?: string;
  readonly name?: string;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Name to class; default: one container `main`. */
  readonly containers?: Readonly<Record<string, ContainerClass>>;
  readonly hostNetwork?: boolean;
  readonly ip?: string;
}

interface Instance {
  id: string;
  restarts: number;
  previous: string;
  ended: boolean;
}

const LISTS = {
  container: ['containers', 'containerStatuses'],
  init: ['initContainers', 'initContainerStatuses'],
  sidecar: ['initContainers', 'initContainerStatuses'],
  ephemeral: ['ephemeralContainers', 'ephemeralContainerStatuses'],
} as const;

export const NAMESPACE = 'attribution';
export const IMAGE = 'docker.io/library/brief:1';

/** One pod. A container has no id in its status until the kubelet has `reported` it. */
export class PodObject {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly spec: PodSpec;
  readonly #containers = new Map<string, ContainerClass>();
  readonly #instances = new Map<string, Instance>();

  constructor(spec: PodSpec = {}) {
    this.spec = spec;
    this.uid = spec.uid ?? randomUUID();
    this.name = spec.name ?? `pod-${randomBytes(5).toString('hex')}`;
    this.namespace = spec.namespace ?? NAMESPACE;
    for (const [name, type] of Object.entries(spec.containers ?? { main: 'container' })) this.add(name, type);
  }

  /** As `kubectl debug` adds one. */
  add(name: string, type: ContainerClass): void {
    this.#containers.set(name, type);
  }

  /** The status names the container's running instance from now on; the one before it becomes lastState. */
  report(container: string, id: string): void {
    const before = this.#instances.get(container);
    if (before?.id === id) return;
    this.#instances.set(container, {
      id,
      restarts: before === undefined ? 0 : before.restarts + 1,
      previous: before?.id ?? '',
      ended: false,
    });
  }

  /** It runs no more. */
  end(container: string): void {
    const instance = this.#instances.get(container);
    if (instance !== undefined) instance.ended = true;
  }

  /** The v1.Pod. */
  object(): V1Pod {
    const { labels = { app: this.name }, annotations, hostNetwork = false, ip } = this.spec;
    const spec: Record<string, Json[]> = { containers: [] };
    const status: Record<string, Json[]> = { containerStatuses: [] };
    for (const [name, type] of this.#containers) {
      const [specList, statusList] = LISTS[type];
      spec[specList] ??= [];
      status[statusList] ??= [];
      spec[specList].push({ name, image: IMAGE, ...(type === 'sidecar' ? { restartPolicy: 'Always' } : {}) });
      status[statusList].push(this.#status(name));
    }
    return {
      metadata: { name: this.name, namespace: this.namespace, uid: this.uid, labels, annotations },
      spec: { ...spec, serviceAccountName: 'default', nodeName: 'node-a', hostNetwork },
      status: { phase: 'Running', ...status, ...(ip === undefined ? {} : { podIP: ip, podIPs: [{ ip }] }) },
    };
  }

  #status(name: string): Json {
    const instance = this.#instances.get(name);
    const common = { name, image: IMAGE, restartCount: instance?.restarts ?? 0 };
    if (instance === undefined) {
      return { ...common, imageID: '', state: { waiting: { reason: 'ContainerCreating' } }, lastState: {} };
    }
    const containerID = `containerd://${instance.id}`;
    const at = '2026-11-22T08:00:00Z';
    return {
      ...common,
      containerID,
      imageID: `docker.io/library/brief@sha256:${'ab'.repeat(32)}`,
      state: instance.ended
        ? { terminated: { exitCode: 0, startedAt: at, finishedAt: at, containerID } }
        : { running: { startedAt: at } },
      lastState: instance.previous === '' ? {} : { terminated: { containerID: `containerd://${instance.previous}` } },
    };
  }
}
