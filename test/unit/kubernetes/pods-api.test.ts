import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Pod } from '../../../src/kubernetes/pods.ts';
import { PodsApi, type PodsApiListener, type PodsApiOptions } from '../../../src/kubernetes/pods-api.ts';
import { type PodsServer, startPodsServer, type V1Pod, v1Pod } from '../../pods-server.ts';

const MAIN = 'a'.repeat(64);

let server: PodsServer;
const apis: PodsApi[] = [];

beforeEach(async () => {
  server = await startPodsServer({ https: false });
});

afterEach(async () => {
  for (const api of apis.splice(0)) api.stop();
  await server.close();
});

/** What an API told, in order, as text. */
class Told implements PodsApiListener {
  readonly lines: string[] = [];
  readonly pods = new Map<string, Pod>();
  #mark = 0;

  state(state: string): void {
    this.lines.push(state);
  }

  mark(): number {
    return ++this.#mark;
  }

  pod(pod: Pod): void {
    this.pods.set(pod.uid, pod);
    this.lines.push(`pod ${pod.name}`);
  }

  gone(uid: string): void {
    this.lines.push(`gone ${this.pods.get(uid)?.name ?? uid}`);
  }

  all(uids: ReadonlySet<string>): void {
    this.lines.push(`all ${uids.size}`);
  }

  async list(pods: readonly Pod[]): Promise<void> {
    this.lines.push(`list ${pods.map(({ name }) => name).join()}`);
  }

  count(line: string): number {
    return this.lines.filter((each) => each === line).length;
  }

  /** Resolves once a line was told so many times. */
  async until(line: string, times = 1): Promise<void> {
    await expect.poll(() => this.count(line), { timeout: 10_000, interval: 5 }).toBeGreaterThanOrEqual(times);
  }
}

function open(options: Partial<PodsApiOptions> = {}): { api: PodsApi; told: Told } {
  let pause = 5;
  const retry = {
    next: () => {
      pause = Math.min(pause * 2, 50);
      return pause;
    },
    reset: () => {
      pause = 5;
    },
  };
  const api = new PodsApi({ dir: server.podsApiDir, retry, absentMs: 20, ...options });
  apis.push(api);
  const told = new Told();
  api.start(told);
  return { api, told };
}

const labelled = (labels: Record<string, string>) => ({ labels }) as unknown as V1Pod['metadata'];

describe('the watch', () => {
  it('tells the pods that are there, that these were all, and every change', async () => {
    const web = server.addPod(v1Pod({ name: 'web', containers: [{ name: 'main', id: MAIN }] }));
    const { api, told } = open();
    await told.until('synced');
    server.addPod(v1Pod({ name: 'db' }));
    await told.until('pod db');
    server.updatePod(web.metadata.uid, { status: { phase: 'Succeeded' } });
    await told.until('pod web', 2);
    server.removePod(web.metadata.uid);
    await told.until('gone web');
    expect(told.lines).toEqual([
      'connecting',
      'syncing',
      'pod web',
      'all 1',
      'synced',
      'pod db',
      'pod web',
      'gone web',
    ]);
    expect(told.pods.get(web.metadata.uid)).toMatchObject({ phase: 'Succeeded', containers: [{ id: MAIN }] });
    expect(api.status()).toMatchObject({ source: 'pods-api', reachable: true, lastPods: 1, skippedPods: 0 });
  });

  it('begins anew when the kubelet ends it: too slow a client, a kubelet that restarts', async () => {
    server.addPod(v1Pod({ name: 'web' }));
    const { api, told } = open();
    await told.until('synced');
    server.dropWatchers();
    await told.until('synced', 2);
    expect(api.status().failures.exhausted).toBe(1);
    await server.replaceSocket();
    await told.until('synced', 3);
    await server.stopPodsApi({ unlink: false });
    await told.until('absent');
    await server.startPodsApi();
    await told.until('synced', 4);
    expect(told.count('failed')).toBe(3);
    expect(api.status()).toMatchObject({ reachable: true, lastError: '', consecutiveFailures: 0 });
  });

  it('waits for a socket that is not there yet, and for its folder', async () => {
    await server.stopPodsApi();
    rmSync(server.podsApiDir, { recursive: true });
    const { told, api } = open();
    expect(api.state).toBe('absent');
    mkdirSync(server.podsApiDir);
    await server.startPodsApi();
    await told.until('synced');
    expect(told.lines).toEqual(['connecting', 'syncing', 'all 0', 'synced']);
    expect(api.status().consecutiveFailures).toBe(0);
  });

  it('waits for a kubelet that does not know its pods yet', async () => {
    server.faults.podsApi = 'not-ready';
    const { api, told } = open();
    await expect.poll(() => api.status().failures['not-ready'], { timeout: 5000 }).toBeGreaterThan(2);
    expect(api.status().lastError).toContain('has not all its pods yet');
    server.faults.podsApi = 'none';
    await told.until('synced');
  });

  it('takes a list for the word that these were all, from a kubelet that never says it', async () => {
    server.addPod(v1Pod({ name: 'web' }));
    server.faults.podsApi = 'no-sync';
    const { told } = open({ syncMs: 50 });
    await told.until('synced');
    expect(told.lines).toEqual(['connecting', 'syncing', 'pod web', 'list web', 'synced']);
  });

  it('gives up on one that is silent, and tries again', async () => {
    server.faults.podsApi = 'hang';
    const { api, told } = open({ syncMs: 30, timeoutMs: 50 });
    await told.until('failed');
    expect(api.status().failures.timeout).toBeGreaterThan(0);
    server.faults.podsApi = 'none';
    await told.until('synced');
  });

  it('gives up on one that tells no events of pods', async () => {
    server.faults.podsApi = 'garbage';
    const { api, told } = open();
    await told.until('failed');
    expect(api.status()).toMatchObject({ reachable: false, lastErrorKind: 'reply' });
    expect(api.status().lastError).toContain('no event of pods');
    server.faults.podsApi = 'none';
    await told.until('synced');
  });

  it('notices by a list that a kubelet hangs', async () => {
    const { api, told } = open({ reconcileMs: 30, timeoutMs: 100 });
    await told.until('synced');
    server.faults.podsApi = 'hang';
    await told.until('failed');
    server.faults.podsApi = 'none';
    await told.until('synced', 2);
    expect(api.status().failures.timeout).toBeGreaterThan(0);
  });

  it('leaves out and counts what is no pod, and takes the next', async () => {
    const { api, told } = open();
    await told.until('synced');
    server.sendBytes(Buffer.from('\x0a\xff\xff\xff\x0f', 'latin1'));
    server.sendBytes(new Uint8Array(0));
    server.sendBytes(Buffer.from('junk'), 'DELETED');
    server.addPod(v1Pod({ name: 'web' }));
    await told.until('pod web');
    expect(api.status()).toMatchObject({ skippedPods: 3, reachable: true });
    expect(api.status().firstSkipped).not.toBe('');
    expect(api.state).toBe('synced');
  });

  it('tells nothing any more once it is stopped', async () => {
    const { api, told } = open();
    await told.until('synced');
    api.stop();
    server.addPod(v1Pod({ name: 'web' }));
    await server.replaceSocket();
    await expect.poll(() => server.watchers).toBe(0);
    expect(told.lines.at(-1)).toBe('synced');
  });
});

describe('lists beside the watch', () => {
  it('show what was not pushed: a change of labels, a dropped event', async () => {
    const web = server.addPod(v1Pod({ name: 'web' }));
    const { told } = open({ reconcileMs: 50 });
    await told.until('synced');
    server.updatePod(web.metadata.uid, { metadata: labelled({ app: 'other' }) });
    server.addPod(v1Pod({ name: 'dropped' }), { silent: true });
    await told.until('list web,dropped');
    expect(told.count('pod dropped')).toBe(0);
  });

  it('are taken up to a bound, over which none is read', async () => {
    for (let i = 0; i < 20; i++) server.addPod(v1Pod({ name: `p${i}` }));
    server.faults.padBytes = 1 << 19;
    const { api, told } = open();
    await told.until('synced');
    expect(await api.list('test')).toHaveLength(20);
    expect(api.status().lastBytes).toBeGreaterThan(10 << 20);
    const small = open({ maxBytes: 4 << 20 });
    await small.told.until('synced');
    await expect(small.api.list('test')).rejects.toMatchObject({ kind: 'too-large' });
    expect(small.api.state).toBe('synced');
  });
});

describe('a single pod', () => {
  it('is asked for by its UID', async () => {
    const { api, told } = open();
    await told.until('synced');
    const web = server.addPod(v1Pod({ name: 'web' }), { silent: true });
    expect(await api.get(web.metadata.uid)).toMatchObject({ name: 'web' });
    expect(await api.get('00000000-0000-0000-0000-000000000000')).toBeUndefined();
    expect(api.status().failures['not-found']).toBe(0);
  });

  it.each([
    ['internal', 'status'],
    ['not-ready', 'not-ready'],
    ['garbage', 'reply'],
    ['hang', 'timeout'],
  ] as const)('fails by name where the kubelet is %s', async (fault, kind) => {
    const { api, told } = open({ timeoutMs: 100 });
    await told.until('synced');
    server.faults.podsApi = fault;
    await expect(api.get(join('any'))).rejects.toMatchObject({ kind });
    expect(api.status().failures[kind]).toBe(1);
  });
});
