import { beforeEach, describe, expect, it } from 'vitest';
import { PodInventory } from '../../../src/kubernetes/pod-inventory.ts';
import { parsePod } from '../../../src/kubernetes/pod-projection.ts';
import type { Pod } from '../../../src/kubernetes/pods.ts';
import { type PodPlan, v1Pod } from '../../core-v1.ts';
import { UID_A } from './fake-kubelet.ts';

const UID_B = 'bbbbbbbb-2222-3333-4444-555555555555';
const ID = (digit: string) => digit.repeat(64);

let told: string[];
let last: Pod | undefined;
let onTold: () => void;
let inventory: PodInventory;

beforeEach(() => {
  told = [];
  last = undefined;
  onTold = () => {};
  inventory = new PodInventory({
    table: { applyPods: () => {}, forgetPod: () => {}, hasLivingCgroup: () => false },
    onPod: ({ state, pod, source }) => {
      told.push(`${source} ${state} ${pod.name}`);
      last = pod;
      onTold();
    },
    graceMs: 60_000,
    keepGoneMs: 900_000,
    maxGone: 1024,
    now: () => 0,
  });
});

const pod = (plan: PodPlan = {}): Pod => parsePod(v1Pod({ uid: UID_A, name: 'web', ...plan }), '$');
const other = (plan: PodPlan = {}): Pod => pod({ uid: UID_B, name: 'db', ...plan });

describe('two sources of the same pods', () => {
  it('say each change once, whoever says it first', async () => {
    inventory.upsert(pod(), 'pods-api');
    await inventory.list([pod(), other()], 'kubelet', inventory.mark());
    inventory.upsert(other(), 'pods-api');
    await inventory.list([pod(), other({ phase: 'Failed' })], 'pods-api', inventory.mark());
    expect(told).toEqual(['pods-api seen web', 'kubelet seen db', 'pods-api seen db']);
  });

  it('are named in the order of a list, but for those that are waited for', async () => {
    const awaited = new Set([UID_B]);
    // One that comes to be waited for while the list is gone through is named by it as well.
    onTold = () => awaited.add(UID_A);
    await inventory.list([pod(), other()], 'kubelet', inventory.mark(), awaited);
    expect(told).toEqual(['kubelet seen db', 'kubelet seen web']);
  });

  it('do not take back what is known because the other one lags', () => {
    const running = pod({ containers: [{ name: 'main', id: ID('1') }] });
    inventory.upsert(running, 'pods-api');
    const lagging = pod({ containers: [{ name: 'main' }], ips: [], status: { startTime: undefined } });
    inventory.upsert(lagging, 'kubelet');
    inventory.upsert(pod({ containers: [{ name: 'main' }], status: { containerStatuses: undefined } }), 'pods-api');
    expect(told).toEqual(['pods-api seen web']);
    expect(inventory.pods()[0]).toEqual(running);
  });

  it('are believed when they tell of the next instance of a container', () => {
    inventory.upsert(pod({ containers: [{ name: 'main', id: ID('1') }] }), 'pods-api');
    const waiting = { name: 'main', restartCount: 1, state: { waiting: { reason: 'CrashLoopBackOff' } } };
    inventory.upsert(pod({ status: { containerStatuses: [waiting] } }), 'pods-api');
    expect(last?.containers).toMatchObject([{ id: '', restartCount: 1 }]);
    inventory.upsert(pod({ containers: [{ name: 'main', id: ID('2') }] }), 'pods-api');
    expect(last?.containers).toMatchObject([{ id: ID('2') }]);
  });
});

describe('the end of a pod', () => {
  it('is told once: a finished pod that lists still have does not come back', async () => {
    inventory.upsert(pod({ phase: 'Succeeded' }), 'pods-api');
    inventory.remove(UID_A, 'pods-api');
    await inventory.list([pod({ phase: 'Succeeded' })], 'kubelet', inventory.mark());
    await inventory.list([], 'kubelet', inventory.mark());
    expect(told).toEqual(['pods-api seen web', 'pods-api gone web']);
  });

  it('is taken back where the pod runs after all', async () => {
    inventory.upsert(pod(), 'pods-api');
    inventory.remove(UID_A, 'pods-api');
    await inventory.list([pod()], 'kubelet', inventory.mark());
    expect(told.at(-1)).toBe('kubelet seen web');
  });
});

describe('a list that was asked for before something was told', () => {
  it('is older than that: what came is kept, what went stays away, what changed stays changed', async () => {
    inventory.upsert(other(), 'pods-api');
    const mark = inventory.mark();
    inventory.upsert(pod({ phase: 'Running' }), 'pods-api');
    inventory.remove(UID_B, 'pods-api');
    await inventory.list([other()], 'pods-api', mark);
    expect(told).toEqual(['pods-api seen db', 'pods-api seen web', 'pods-api gone db']);
    inventory.answer(pod({ phase: 'Pending' }), 'pods-api', mark);
    expect(inventory.pods()[0]?.phase).toBe('Running');
  });
});
