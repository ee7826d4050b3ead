import { mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { DEFAULT_TAP_CONFIG } from '../../src/kernel/config.ts';
import {
  KT_CGROUP_MKDIR,
  KT_ENTRY_EXEC,
  KT_ENTRY_HOST,
  KT_ENTRY_INIT,
  KT_FILE_CHMOD,
  KT_FILE_OPEN,
  KT_FILE_RENAME,
  KT_FILE_UNLINK,
  KT_FILTERED,
  KT_LOST_BUDGET,
  KT_LOST_UNPAIRED,
  KT_PROCESS_EXEC,
} from '../../src/kernel/layout.gen.ts';
import { counterOf, drainAll, drainOnce, type Seen } from './kernel-drain.ts';
import { dir, opensOf, openTap, shell } from './live-taps.ts';

describe('cgroups made while the tap runs', () => {
  const root = /^cgroup2 (\S+)/m.exec(readFileSync('/proc/mounts', 'utf8'))?.[1] ?? '/sys/fs/cgroup';
  const made: string[] = [];

  function makeCgroup(name: string): { path: string; id: bigint } {
    const path = join(root, name);
    mkdirSync(path);
    made.push(path);
    return { path, id: statSync(path, { bigint: true }).ino };
  }

  afterEach(() => {
    for (const path of made.splice(0).reverse()) rmdirSync(path);
  });

  const inside = (cgroup: string, script: string) => shell(`echo $$ > ${cgroup}/cgroup.procs; ${script}`);

  test('a consumer that pauses between the rings still meets the cgroup before the file opened in it', () => {
    const tap = openTap(KT_FILE_OPEN, KT_PROCESS_EXEC);
    const marker = join(dir, 'marker');
    writeFileSync(marker, '');
    drainAll(tap);
    shell('/bin/true; /bin/true; : < marker');
    const seen: Seen[] = [];
    // One record at a time: every stop between two records of a round is a pause.
    const small = new Uint8Array(1024);
    for (let pause = 0; pause < 12; pause++) seen.push(...drainOnce(tap, small));
    const { path, id } = makeCgroup(`kerntap-order-${process.pid}`);
    inside(path, `/bin/true; : < ${marker}`);
    seen.push(...drainAll(tap));
    const at = (wanted: (one: Seen) => boolean) => seen.findIndex(wanted);
    const mkdir = at((one) => one.kind === KT_CGROUP_MKDIR && one.cgroupId === id);
    const exec = at((one) => one.kind === KT_PROCESS_EXEC && one.cgroupId === id);
    const open = at((one) => one.kind === KT_FILE_OPEN && one.cgroupId === id && one.path === marker);
    expect(mkdir).toBeGreaterThanOrEqual(0);
    expect(exec).toBeGreaterThan(mkdir);
    expect(open).toBeGreaterThan(exec);
    expect(seen[mkdir]?.path).toContain(`kerntap-order-${process.pid}`);
  });

  test('a policy turns a kind off for one cgroup alone, and is counted', () => {
    const tap = openTap(KT_FILE_OPEN, KT_PROCESS_EXEC);
    const { path, id } = makeCgroup(`kerntap-policy-${process.pid}`);
    const marker = join(dir, 'policy');
    writeFileSync(marker, '');
    const told = () => {
      inside(path, `: < ${marker}; /bin/true`);
      shell(`: < ${marker}`);
      const seen = drainAll(tap);
      const opens = opensOf(seen, marker);
      return {
        inside: opens.filter(({ cgroupId }) => cgroupId === id).length,
        outside: opens.filter(({ cgroupId }) => cgroupId !== id).length,
        execs: seen.filter((one) => one.kind === KT_PROCESS_EXEC && one.cgroupId === id).length,
      };
    };
    expect(told()).toEqual({ inside: 1, outside: 1, execs: 1 });
    tap.setPolicy(id, { off: [KT_FILE_OPEN], sample: [], n: 1 });
    const before = counterOf(tap, KT_FILE_OPEN, KT_FILTERED);
    expect(told()).toEqual({ inside: 0, outside: 1, execs: 1 });
    expect(counterOf(tap, KT_FILE_OPEN, KT_FILTERED)).toBeGreaterThan(before);
    tap.setPolicy(id, undefined);
    expect(told()).toEqual({ inside: 1, outside: 1, execs: 1 });
  });

  test('acts of two halves are left out by a policy whole, counted, and whole again when it is gone', () => {
    const kinds = [KT_FILE_RENAME, KT_FILE_CHMOD, KT_FILE_UNLINK];
    const tap = openTap(...kinds);
    const { path, id } = makeCgroup(`kerntap-halves-${process.pid}`);
    const told = () => {
      // A directory's removal is made of the same system call, and is no unlink.
      inside(path, ': > a; mv a b; chmod 600 b; rm b; mkdir c; rmdir c');
      const ours = drainAll(tap).filter(({ kind, cgroupId }) => kinds.includes(kind) && cgroupId === id);
      return ours.map((one) => [one.kind, one.path.replace(/^.*\//, '')]);
    };
    const counted = (reason: number) => kinds.map((kind) => counterOf(tap, kind, reason));
    const whole = [
      [KT_FILE_RENAME, 'a'],
      [KT_FILE_CHMOD, 'b'],
      [KT_FILE_UNLINK, 'b'],
    ];
    expect(told()).toEqual(whole);
    tap.setPolicy(id, { off: kinds, sample: [], n: 1 });
    const before = counted(KT_FILTERED);
    expect(told()).toEqual([]);
    counted(KT_FILTERED).forEach((count, i) => {
      expect(count).toBeGreaterThan(before[i] ?? 0n);
    });
    tap.setPolicy(id, undefined);
    expect(told()).toEqual(whole);
    expect(counted(KT_LOST_UNPAIRED)).toEqual([0n, 0n, 0n]);
  });

  test('over its budget a group loses files first, each counted, and no exec; another group loses nothing', () => {
    const tap = openTap(KT_FILE_OPEN, KT_PROCESS_EXEC);
    const { path, id } = makeCgroup('greedy');
    const modest = makeCgroup('modest');
    const marker = join(dir, 'budget');
    writeFileSync(marker, '');
    // A burst of 50 files; 60 may be followed by execs, which have half as much again.
    const budgets = { containerPerSecond: 0.5, nodePerSecond: 0, burstSeconds: 100 };
    tap.configure({ ...DEFAULT_TAP_CONFIG, openMode: 'all', budgets });
    const shed = counterOf(tap, KT_FILE_OPEN, KT_LOST_BUDGET);
    inside(path, `i=0; while [ $i -lt 200 ]; do : < ${marker}; i=$((i+1)); done; /bin/true; /bin/true`);
    inside(modest.path, `: < ${marker}`);
    const seen = drainAll(tap);
    const opens = opensOf(seen, marker);
    const kept = opens.filter(({ cgroupId }) => cgroupId === id).length;
    expect(kept).toBeGreaterThan(0);
    expect(kept).toBeLessThanOrEqual(52);
    expect(opens.filter(({ cgroupId }) => cgroupId === modest.id).length).toBe(1);
    expect(Number(counterOf(tap, KT_FILE_OPEN, KT_LOST_BUDGET) - shed)).toBeGreaterThanOrEqual(200 - kept);
    expect(seen.filter((one) => one.kind === KT_PROCESS_EXEC && one.cgroupId === id).length).toBe(2);
    expect(counterOf(tap, KT_PROCESS_EXEC, KT_LOST_BUDGET)).toBe(0n);
  });

  test('the first process of a container is its init, one that comes from outside was injected', () => {
    const tap = openTap(KT_PROCESS_EXEC);
    tap.setCgroup(1n, 0n);
    const name = Buffer.from(`${process.pid}`.padStart(32, '0')).toString('hex');
    const { path, id } = makeCgroup(name);
    const entries = (script: string) => {
      script === '' || inside(path, script);
      return drainAll(tap).flatMap((one) => (one.kind === KT_PROCESS_EXEC && one.cgroupId === id ? [one.entry] : []));
    };
    expect(entries('/bin/true; /bin/true')).toEqual([KT_ENTRY_INIT, KT_ENTRY_INIT]);
    expect(entries('/bin/true')).toEqual([KT_ENTRY_EXEC]);
  });

  test('a process in a cgroup that setCgroup names as the host is the host', () => {
    const tap = openTap(KT_PROCESS_EXEC);
    const own = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1] ?? '/';
    const id = statSync(join(root, own), { bigint: true }).ino;
    tap.setCgroup(id, 0n);
    tap.snapshot();
    drainAll(tap);
    shell('/bin/true host-entry');
    const entries = drainAll(tap).flatMap(({ argv, entry }) => (argv.includes('host-entry') ? [entry] : []));
    expect(entries).toEqual([KT_ENTRY_HOST]);
  });
});
