import { describe, expect, it } from 'vitest';
import { isKept, Policies } from '../../../src/agent/policies.ts';
import { parseConfig } from '../../../src/config/load.ts';
import type { CgroupPolicy } from '../../../src/kernel/entries.ts';
import {
  HEAD,
  KT_FILE_CHMOD,
  KT_FILE_CLOSE,
  KT_FILE_OPEN,
  KT_FILE_RENAME,
  KT_FILE_UNLINK,
  KT_PROCESS_EXEC,
  KT_PROCESS_EXIT,
  KT_PROCESS_IO_URING,
  KT_SOCKET_CONNECT,
} from '../../../src/kernel/layout.gen.ts';
import { makeWorkload, type Workload } from '../../../src/kubernetes/workload.ts';
import { kernelPath, makeFile, makeHead, recordBytes } from '../../records.ts';

const FILES = [KT_FILE_OPEN, KT_FILE_CLOSE, KT_FILE_RENAME, KT_FILE_UNLINK, KT_FILE_CHMOD];
const PROCESSES = [KT_PROCESS_EXEC, KT_PROCESS_EXIT, KT_PROCESS_IO_URING];
const sorted = (kinds: readonly number[]) => [...kinds].sort((a, b) => a - b);

function rules(text: string) {
  const file = `apiVersion: kerntap.dev/v1alpha1\npolicies:\n${text}`;
  return parseConfig(Buffer.from(file), 'k.yaml', { node: { name: 'n' } }).policies;
}

const pod = (known: Partial<Workload> & { cgroupId: bigint }): Workload =>
  makeWorkload({
    cgroupPath: '/kubepods/x',
    state: 'complete',
    reason: '',
    namespace: 'shop',
    podName: 'web-0',
    podUid: 'u',
    containerName: 'web',
    imageName: 'registry/shop/web:1',
    labels: { app: 'web', tier: 'front' },
    ...known,
  });

function setUp(text: string, workloads: Workload[]) {
  const table = new Map(workloads.map((workload) => [workload.cgroupId, workload]));
  const kernel = new Map<bigint, CgroupPolicy>();
  const calls: bigint[] = [];
  const policies = new Policies({
    sink: {
      setPolicy: (id, policy) => {
        calls.push(id);
        if (policy === undefined) kernel.delete(id);
        else kernel.set(id, policy);
      },
    },
    lookup: (id) =>
      table.get(id) ?? makeWorkload({ cgroupId: id, cgroupPath: '', state: 'unknown', reason: 'cgroup was not seen' }),
    cgroups: () => table.keys(),
  });
  policies.configure(rules(text));
  return { policies, kernel, table, calls };
}

function opened(head: Parameters<typeof makeHead>[0] = {}): Buffer {
  return recordBytes({ head: makeHead(head), body: makeFile('file.open', { path: kernelPath('/x') }) });
}

describe('policies', () => {
  it('take for each family the first rule that matches and names it', () => {
    const { kernel } = setUp(
      `  - {match: {namespace: shop, podLabels: {app: db}}, all: trace}
  - {match: {namespace: [shop, ci-*]}, file: off}
  - {match: {namespace: shop}, file: trace, process: {sample: 10}}
  - {match: {}, socket: off}
`,
      [
        pod({ cgroupId: 1n }),
        pod({ cgroupId: 2n, labels: { app: 'db' } }),
        pod({ cgroupId: 3n, namespace: 'ci-7' }),
        pod({ cgroupId: 4n, namespace: 'other' }),
      ],
    );
    const socket = kernel.get(4n)?.off ?? [];
    expect(socket).toContain(KT_SOCKET_CONNECT);
    expect(socket).not.toContain(KT_FILE_OPEN);
    expect(sorted(kernel.get(1n)?.off ?? [])).toEqual(sorted([...FILES, ...socket]));
    expect(sorted(kernel.get(1n)?.sample ?? [])).toEqual(sorted(PROCESSES));
    expect(kernel.get(1n)?.n).toBe(10);
    expect(kernel.has(2n)).toBe(false);
    expect(kernel.get(3n)).toMatchObject({ sample: [] });
    expect(sorted(kernel.get(3n)?.off ?? [])).toEqual(sorted([...FILES, ...socket]));
  });

  it.each([
    ['{namespace: shop}', true],
    ['{namespace: sho}', false],
    ['{container: w*}', true],
    ['{container: db}', false],
    ['{image: "registry/*/web:*"}', true],
    ['{image: "other/*"}', false],
    ['{podLabels: {app: web, tier: "*"}}', true],
    ['{podLabels: {app: web, nothing: "*"}}', false],
    ['{podLabels: {toString: "*"}}', false],
    ['{host: true}', false],
    ['{}', true],
  ])('match a pod by %s: %s', (match, expected) => {
    expect(setUp(`  - {match: ${match}, all: off}\n`, [pod({ cgroupId: 1n })]).kernel.has(1n)).toBe(expected);
  });

  it('tell the host from containers that are in no pod', () => {
    const place = { cgroupPath: '/x', reason: '' };
    const { kernel } = setUp('  - {match: {host: true}, all: off}\n', [
      makeWorkload({ cgroupId: 1n, state: 'host', ...place }),
      makeWorkload({ cgroupId: 2n, state: 'unknown', ...place }),
      pod({ cgroupId: 3n }),
    ]);
    expect([...kernel.keys()]).toEqual([1n]);
  });

  it('leave nothing out before it is known whose it is', () => {
    const { policies, kernel, table } = setUp(
      '  - {match: {namespace: shop}, all: trace}\n  - {match: {}, all: off}\n',
      [pod({ cgroupId: 1n, state: 'pending', namespace: '' })],
    );
    expect(kernel.size).toBe(0);
    expect(policies.admits(opened(), 0, table.get(1n) as Workload)).toBe(true);
    table.set(1n, pod({ cgroupId: 1n, namespace: 'other' }));
    policies.consider(1n);
    expect(kernel.has(1n)).toBe(true);
    expect(policies.admits(opened(), 0, table.get(1n) as Workload)).toBe(false);
    table.set(1n, pod({ cgroupId: 1n }));
    policies.consider(1n);
    expect(kernel.size).toBe(0);
  });

  it('judge what the kernel let through, and count by kind what they suppress', () => {
    const workload = pod({ cgroupId: 1n });
    const { policies } = setUp('  - {match: {}, file: off}\n', [workload]);
    for (let i = 0; i < 3; i++) expect(policies.admits(opened(), 0, workload)).toBe(false);
    expect(policies.suppressed[KT_FILE_OPEN]).toBe(3);
    expect(policies.suppressed[KT_PROCESS_EXEC]).toBe(0);
  });

  it('sample processes as the kernel does, each whole, and weigh what is kept', () => {
    const workload = pod({ cgroupId: 1n });
    const { policies } = setUp('  - {match: {}, file: {sample: 10}}\n', [workload]);
    let kept = 0;
    const processes = 20_000;
    for (let i = 0; i < processes; i++) {
      const startTime = 1_000_000_000n + BigInt(i) * 1_234_567n;
      const twice = [0, 1].map(() => {
        const record = opened({ startTime, weight: 1 });
        const admitted = policies.admits(record, 0, workload);
        return admitted ? record.readUInt32LE(HEAD.weight) : 0;
      });
      expect(twice).toEqual(isKept(startTime, 10) ? [10, 10] : [0, 0]);
      if (twice[0] === 10) kept++;
    }
    expect(Math.abs(kept - processes / 10)).toBeLessThan(5 * Math.sqrt(processes * 0.1 * 0.9));
    // Sampled by the kernel, or older than the agent: as they are.
    for (const weight of [10, 7, 0]) {
      const record = opened({ startTime: 3n, weight });
      expect(policies.admits(record, 0, workload)).toBe(true);
      expect(record.readUInt32LE(HEAD.weight)).toBe(weight);
    }
  });

  it('hold the smallest sample of a workload for all its families, so that a process is kept whole', () => {
    const { kernel } = setUp('  - {match: {}, file: {sample: 100}, process: {sample: 10}}\n', [pod({ cgroupId: 1n })]);
    expect(kernel.get(1n)?.n).toBe(10);
  });

  it('tell the kernel only what changed, and take back what no rule says any more', () => {
    const { policies, kernel, calls } = setUp('  - {match: {namespace: shop}, file: off}\n', [
      pod({ cgroupId: 1n }),
      pod({ cgroupId: 2n, namespace: 'other' }),
    ]);
    expect(calls).toEqual([1n]);
    policies.configure(rules('  - {match: {namespace: "*"}, file: off}\n'));
    expect(calls).toEqual([1n, 2n]);
    policies.forget(2n);
    expect([...kernel.keys()]).toEqual([1n]);
    policies.configure([]);
    expect(kernel.size).toBe(0);
    expect(policies).toMatchObject({ active: false, inKernel: 0 });
  });

  it('count what the kernel has no room for, and suppress it all the same', () => {
    const workload = pod({ cgroupId: 1n });
    const policies = new Policies({
      sink: {
        setPolicy: () => {
          throw new Error('E2BIG');
        },
      },
      lookup: () => workload,
      cgroups: () => [1n],
    });
    policies.configure(rules('  - {match: {}, all: off}\n'));
    expect(policies.refused).toBe(1);
    expect(policies.admits(opened(), 0, workload)).toBe(false);
  });
});
