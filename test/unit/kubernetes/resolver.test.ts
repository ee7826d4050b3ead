import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { parsePod } from '../../../src/kubernetes/pod-projection.ts';
import { blankStatus, type PodSource } from '../../../src/kubernetes/pod-source.ts';
import type { Pod } from '../../../src/kubernetes/pods.ts';
import { PodResolver, type PodResolverOptions } from '../../../src/kubernetes/resolver.ts';
import { WorkloadTable } from '../../../src/kubernetes/table.ts';
import { rawPod, UID_A } from './fake-kubelet.ts';

const UID_B = 'bbbbbbbb-2222-3333-4444-555555555555';
const MAIN = 'a'.repeat(64);
const STATUS = { containerStatuses: [{ name: 'main', containerID: `containerd://${MAIN}` }] };

/** A source that answers when it is told to. */
class HeldSource implements PodSource {
  readonly reasons: string[] = [];
  closed = false;
  #answer: ((pods: readonly Pod[]) => void) | undefined;
  #refuse: ((error: Error) => void) | undefined;

  /** The next read has to wait for its turn. */
  busy = false;
  #begins: (() => void) | undefined;

  refresh(reason: string, onBegin?: () => void): Promise<readonly Pod[]> {
    this.reasons.push(reason);
    this.#begins = onBegin;
    if (!this.busy) this.begin();
    return new Promise((resolve, reject) => {
      this.#answer = resolve;
      this.#refuse = reject;
    });
  }

  begin(): void {
    this.#begins?.();
  }

  async answer(...pods: Pod[]): Promise<void> {
    this.#answer?.(pods);
    await vi.advanceTimersByTimeAsync(0);
  }

  async refuse(message: string): Promise<void> {
    this.#refuse?.(new Error(message));
    await vi.advanceTimersByTimeAsync(0);
  }

  status() {
    return blankStatus('kubelet', 'https://test');
  }

  close(): void {
    this.closed = true;
  }
}

function setUp(options: Partial<PodResolverOptions> = {}) {
  const source = new HeldSource();
  const table = new WorkloadTable({ now: () => Date.now() });
  const told: string[] = [];
  const errors: string[] = [];
  const resolver = new PodResolver({
    kubelet: source,
    table,
    onPod: ({ state, pod }) => told.push(`${state} ${pod.name}`),
    onError: ({ message }) => errors.push(message),
    now: () => Date.now(),
    ...options,
  });
  table.mkdir(1n, 0n, '/', false);
  return { source, table, told, errors, resolver };
}

function pod(uid: string, name: string, status: Record<string, unknown> = {}): Pod {
  return parsePod(rawPod({ uid, name }, status), '$');
}

function run(table: WorkloadTable, id: bigint, uid: string): void {
  table.mkdir(id, 1n, `/pod${uid}`, false);
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('PodResolver', () => {
  it('reads at start, then slowly while nothing is pending', async () => {
    const { source, resolver, told } = setUp();
    const started = resolver.start();
    await source.answer(pod(UID_A, 'web'));
    await started;
    expect(told).toEqual(['seen web']);
    await vi.advanceTimersByTimeAsync(29_999);
    expect(source.reasons).toEqual(['start']);
    await vi.advanceTimersByTimeAsync(1);
    expect(source.reasons).toEqual(['start', 'period']);
    await source.answer(pod(UID_A, 'web'));
    expect(told).toEqual(['seen web']);
    expect(resolver.status()).toMatchObject({ source: 'kubelet', changes: 1, pods: 1, gone: 0, unknown: 0 });
  });

  it('asks at once for a pod that is new, and once for many', async () => {
    const { source, table, resolver } = setUp();
    void resolver.start();
    await source.answer();
    for (let i = 0n; i < 50n; i++) run(table, 10n + i, UID_A.slice(0, -2) + String(10n + i));
    expect(source.reasons).toHaveLength(2);
    // Those that came after the first of them asked need one more read.
    await source.answer();
    expect(source.reasons).toHaveLength(3);
    await source.answer();
    expect(source.reasons).toHaveLength(3);
  });

  it('answers who asks while a read waits for its turn by that read, with no other', async () => {
    const { source, table, resolver } = setUp();
    void resolver.start();
    await source.answer();
    source.busy = true;
    run(table, 10n, UID_A);
    run(table, 11n, UID_B);
    source.begin();
    await source.answer(pod(UID_A, 'web'), pod(UID_B, 'db'));
    // Their containers are in no status yet: nothing more is to come of this read.
    for (const id of [10, 11]) expect(resolver.mayNameSoon(table.get(id, 0))).toBe(false);
    expect(source.reasons).toHaveLength(2);
  });

  it('knows whether a name may still come', async () => {
    const { source, table, resolver } = setUp();
    run(table, 10n, UID_A);
    expect(resolver.mayNameSoon(table.get(10, 0))).toBe(true);
    void resolver.start();
    run(table, 11n, UID_B);
    expect(resolver.mayNameSoon(table.get(11, 0))).toBe(true);
    await source.answer(pod(UID_A, 'web'));
    expect(resolver.mayNameSoon(table.get(10, 0))).toBe(false);
    // B appeared while that read was under way: its answer says nothing of B.
    expect(resolver.mayNameSoon(table.get(11, 0))).toBe(true);
    await source.answer(pod(UID_A, 'web'));
    expect(table.get(11, 0).state).toBe('pending');
    expect(resolver.mayNameSoon(table.get(11, 0))).toBe(false);
    expect(resolver.mayNameSoon(table.get(99, 0))).toBe(false);
  });

  it('reads each second while a container is not in its status, at most a minute', async () => {
    const { source, table, resolver } = setUp();
    void resolver.start();
    await source.answer(pod(UID_A, 'web'));
    table.mkdir(10n, 1n, `/pod${UID_A}`, false);
    table.mkdir(11n, 10n, `/pod${UID_A}/${MAIN}`, false);
    expect(source.reasons).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1000);
    for (let i = 0; i < 5; i++) {
      await source.answer(pod(UID_A, 'web'));
      await vi.advanceTimersByTimeAsync(1000);
    }
    expect(source.reasons.slice(2)).toEqual(Array(5).fill('pending'));
    await vi.advanceTimersByTimeAsync(60_000);
    const before = source.reasons.length;
    await source.answer(pod(UID_A, 'web'));
    await vi.advanceTimersByTimeAsync(29_000);
    expect(source.reasons).toHaveLength(before);
    await vi.advanceTimersByTimeAsync(1000);
    await source.answer(pod(UID_A, 'web', STATUS));
    expect(table.get(11, 0)).toMatchObject({ state: 'complete', containerName: 'main' });
  });

  it('reads soon for a container that comes when its pod is known and nothing else is pending', async () => {
    const { source, table, resolver } = setUp();
    void resolver.start();
    await source.answer(pod(UID_A, 'web'));
    await vi.advanceTimersByTimeAsync(5000);
    run(table, 10n, UID_A);
    table.mkdir(11n, 10n, `/pod${UID_A}/${MAIN}`, false);
    table.mkdir(12n, 11n, `/pod${UID_A}/${MAIN}/inner`, false);
    expect(table.get(11, 0).state).toBe('pending');
    expect(source.reasons).toEqual(['start']);
    await vi.advanceTimersByTimeAsync(1000);
    expect(source.reasons).toEqual(['start', 'pending']);
    await source.answer(pod(UID_A, 'web', STATUS));
    expect(table.get(11, 0).state).toBe('complete');
    await vi.advanceTimersByTimeAsync(29_999);
    expect(source.reasons).toHaveLength(2);
  });

  it('tells a pod again when it changed, and when it is gone', async () => {
    const { source, resolver, told } = setUp();
    void resolver.start();
    const next = async (...pods: Pod[]) => {
      await source.answer(...pods);
      await vi.advanceTimersByTimeAsync(30_000);
    };
    await next(pod(UID_A, 'web'), pod(UID_B, 'db'));
    await next(pod(UID_A, 'web', STATUS), pod(UID_B, 'db'));
    await next(pod(UID_B, 'db'));
    await next(pod(UID_A, 'web', STATUS), pod(UID_B, 'db'));
    expect(told).toEqual(['seen web', 'seen db', 'seen web', 'gone web', 'seen web']);
  });

  it('tells a pod gone before the one that came in its place: they may have one address', async () => {
    const { source, resolver, told } = setUp();
    void resolver.start();
    await source.answer(pod(UID_A, 'db-0'));
    await vi.advanceTimersByTimeAsync(30_000);
    await source.answer(pod(UID_B, 'db-0'));
    expect(told).toEqual(['seen db-0', 'gone db-0', 'seen db-0']);
  });

  it('does not call a pod gone that still runs when a starting kubelet lists only some', async () => {
    const { source, table, resolver, told } = setUp();
    run(table, 10n, UID_A);
    void resolver.start();
    await source.answer(pod(UID_A, 'web'));
    await vi.advanceTimersByTimeAsync(30_000);
    await source.answer();
    expect(told).toEqual(['seen web']);
    table.rmdir(10n);
    await vi.advanceTimersByTimeAsync(30_000);
    await source.answer();
    expect(told).toEqual(['seen web', 'gone web']);
  });

  it('calls it gone in the end, even if a cgroup lingers', async () => {
    const { source, table, resolver, told } = setUp();
    run(table, 10n, UID_A);
    void resolver.start();
    await source.answer(pod(UID_A, 'web'));
    for (let i = 0; i < 4; i++) {
      await vi.advanceTimersByTimeAsync(30_000);
      await source.answer();
    }
    expect(told).toEqual(['seen web', 'gone web']);
  });

  it('names late records of a pod that is gone, for 15 minutes and 1,024 pods', async () => {
    const { source, table, resolver } = setUp({ maxGone: 2 });
    void resolver.start();
    await source.answer(pod(UID_A, 'web'));
    await vi.advanceTimersByTimeAsync(30_000);
    await source.answer();
    run(table, 10n, UID_A);
    expect(table.get(10, 0)).toMatchObject({ podName: 'web' });
    for (let i = 0; i < 30; i++) {
      await vi.advanceTimersByTimeAsync(30_000);
      await source.answer();
    }
    run(table, 11n, UID_A);
    expect(table.get(11, 0)).toMatchObject({ state: 'pending', podName: '' });
    await source.answer(...[1, 2, 3].map((i) => pod(UID_B.slice(0, -1) + i, `p${i}`)));
    await vi.advanceTimersByTimeAsync(30_000);
    await source.answer();
    expect(resolver.status().gone).toBe(2);
  });

  it('goes on after failures, and tells each kind of failure once', async () => {
    const { source, table, resolver, errors } = setUp();
    const started = resolver.start();
    await source.refuse('refused');
    await started;
    run(table, 10n, UID_A);
    expect(resolver.mayNameSoon(table.get(10, 0))).toBe(true);
    await source.refuse('refused');
    // Nothing to wait for: the source is down.
    expect(resolver.mayNameSoon(table.get(10, 0))).toBe(false);
    await vi.advanceTimersByTimeAsync(1000);
    await source.refuse('forbidden');
    await vi.advanceTimersByTimeAsync(1000);
    await source.answer(pod(UID_A, 'web'));
    expect(table.get(10, 0).podName).toBe('web');
    await vi.advanceTimersByTimeAsync(30_000);
    await source.refuse('forbidden');
    expect(errors).toEqual(['refused', 'forbidden', 'forbidden']);
    expect(resolver.status()).toMatchObject({ source: undefined, pods: 1 });
  });

  it('stops', async () => {
    const { source, table, resolver, told } = setUp();
    void resolver.start();
    resolver.stop();
    expect(source.closed).toBe(true);
    await source.answer(pod(UID_A, 'web'));
    run(table, 10n, UID_B);
    await vi.advanceTimersByTimeAsync(120_000);
    expect(source.reasons).toEqual(['start']);
    expect(told).toEqual([]);
    expect(resolver.mayNameSoon(table.get(10, 0))).toBe(false);
    expect(() => resolver.start()).toThrow(/once/);
  });
});
