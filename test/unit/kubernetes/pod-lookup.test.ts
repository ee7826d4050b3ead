import { describe, expect, it } from 'vitest';
import { PodLookup } from '../../../src/kubernetes/pod-lookup.ts';
import { parsePod } from '../../../src/kubernetes/pod-projection.ts';
import { PodSourceError } from '../../../src/kubernetes/pod-source.ts';
import type { Pod } from '../../../src/kubernetes/pods.ts';
import { rawPod, UID_A } from './fake-kubelet.ts';

const uid = (i: number) => UID_A.slice(0, -4) + String(1000 + i);
const pod = (i: number): Pod => parsePod(rawPod({ uid: uid(i), name: `p${i}` }), '$');

/** An API whose answers are given by hand. */
class HeldApi {
  readonly gets: string[] = [];
  lists = 0;
  atOnce = 0;
  mostAtOnce = 0;
  readonly #held: { resolve: (pod: Pod | undefined) => void; reject: (error: Error) => void }[] = [];
  #listed: ((pods: Pod[]) => void) | undefined;

  get(wanted: string): Promise<Pod | undefined> {
    this.gets.push(wanted);
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.atOnce);
    return new Promise<Pod | undefined>((resolve, reject) => this.#held.push({ resolve, reject })).finally(() => {
      this.atOnce--;
    });
  }

  list(): Promise<Pod[]> {
    this.lists++;
    return new Promise((resolve) => {
      this.#listed = resolve;
    });
  }

  async answer(found: Pod | undefined): Promise<void> {
    this.#held.shift()?.resolve(found);
    await settled();
  }

  async refuse(): Promise<void> {
    this.#held.shift()?.reject(new PodSourceError('exhausted', 'too many'));
    await settled();
  }

  async answerList(...pods: Pod[]): Promise<void> {
    this.#listed?.(pods);
    await settled();
  }
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

function setUp() {
  const api = new HeldApi();
  const clock = { ms: 0 };
  return { api, clock, lookup: new PodLookup(api, () => clock.ms) };
}

describe('asking for a pod', () => {
  it('takes one call however many want it', async () => {
    const { api, lookup } = setUp();
    const all = Array.from({ length: 20 }, () => lookup.find(uid(1)));
    expect(api.gets).toEqual([uid(1)]);
    await api.answer(pod(1));
    expect((await Promise.all(all)).map((found) => found?.name)).toEqual(Array(20).fill('p1'));
    void lookup.find(uid(1));
    expect(api.gets).toHaveLength(2);
  });

  it('has few calls under way, and one list for many pods', async () => {
    const { api, clock, lookup } = setUp();
    clock.ms = 10_000;
    const all = Array.from({ length: 30 }, (_, i) => lookup.find(uid(i)));
    expect(api.mostAtOnce).toBe(4);
    expect(api.lists).toBe(1);
    for (let i = 0; i < 4; i++) await api.answer(pod(i));
    await api.answerList(...Array.from({ length: 29 }, (_, i) => pod(i)));
    while (api.atOnce > 0) await api.answer(undefined);
    const names = (await Promise.all(all)).map((found) => found?.name);
    expect(names.filter((name) => name !== undefined).length).toBeGreaterThan(10);
    expect(api.mostAtOnce).toBe(4);
    expect(api.lists).toBe(1);
    expect(api.gets.length).toBeLessThan(30);
  });

  it('remembers for a moment that there is none, until the kubelet may be another', async () => {
    const { api, clock, lookup } = setUp();
    void lookup.find(uid(1));
    await api.answer(undefined);
    expect(await lookup.find(uid(1))).toBeUndefined();
    expect(api.gets).toHaveLength(1);
    clock.ms += 500;
    void lookup.find(uid(1));
    expect(api.gets).toHaveLength(2);
    await api.answer(undefined);
    lookup.forget();
    void lookup.find(uid(1));
    expect(api.gets).toHaveLength(3);
  });

  it('fails for all who asked, and not for the next', async () => {
    const { api, lookup } = setUp();
    const asked = [lookup.find(uid(1)), lookup.find(uid(1))];
    await api.refuse();
    for (const each of asked) await expect(each).rejects.toMatchObject({ kind: 'exhausted' });
    const again = lookup.find(uid(1));
    await api.answer(pod(1));
    expect(await again).toMatchObject({ name: 'p1' });
  });
});

describe('a pod that stays pending', () => {
  it('is looked at less and less often, anew once it was settled', () => {
    const { clock, lookup } = setUp();
    const times: number[] = [];
    for (; clock.ms <= 60_000; clock.ms += 1000) if (lookup.due([uid(1)]).length > 0) times.push(clock.ms / 1000);
    expect(times).toEqual([1, 3, 7, 15, 31, 47]);
    expect(lookup.due([])).toEqual([]);
    expect(lookup.due([uid(1)])).toEqual([]);
    clock.ms += 1000;
    expect(lookup.due([uid(1)])).toEqual([uid(1)]);
  });
});
