import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CgroupError, findCgroupMount, parseCgroupMounts } from '../../../src/kubernetes/cgroup-mount.ts';
import { pickFirst } from '../../../src/kubernetes/first-process.ts';
import { WorkloadTable } from '../../../src/kubernetes/table.ts';
import { containerTgids, walkCgroups } from '../../../src/kubernetes/walk.ts';
import { UID_A } from './fake-kubelet.ts';

const MAIN = 'a'.repeat(64);
const INNER = 'b'.repeat(64);

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'kerntap-cgroup-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

function make(path: string, procs = ''): bigint {
  mkdirSync(join(dir, path), { recursive: true });
  writeFileSync(join(dir, path, 'cgroup.procs'), procs);
  return statSync(join(dir, path), { bigint: true }).ino;
}

describe('walkCgroups', () => {
  it('finds every directory, parents first, with the container it is in', () => {
    const pod = make(`kubepods/pod${UID_A}`);
    const main = make(`kubepods/pod${UID_A}/${MAIN}`);
    const inner = make(`kubepods/pod${UID_A}/${MAIN}/docker/${INNER}`);
    const host = make('system.slice/sshd.service');
    const { cgroups, skipped } = walkCgroups(dir);
    const byId = new Map(cgroups.map((cgroup) => [cgroup.id, cgroup]));
    expect(skipped).toBe(0);
    expect(cgroups).toHaveLength(8);
    expect(cgroups[0]).toMatchObject({ path: '/', parentId: 0n, rootId: 0n });
    expect(byId.get(pod)).toMatchObject({ path: `/kubepods/pod${UID_A}`, podUid: UID_A, containerId: '', rootId: 0n });
    expect(byId.get(main)).toMatchObject({ podUid: UID_A, containerId: MAIN, rootId: main, parentId: pod });
    expect(byId.get(inner)).toMatchObject({ podUid: UID_A, containerId: MAIN, rootId: main });
    expect(byId.get(host)).toMatchObject({ path: '/system.slice/sshd.service', containerId: '', rootId: 0n });
    cgroups.forEach((cgroup, i) => {
      if (i > 0) expect(cgroups.slice(0, i).map(({ id }) => id)).toContain(cgroup.parentId);
    });
  });

  it('does not believe names below a pod container', () => {
    const main = make(`kubepods/pod${UID_A}/${MAIN}`);
    const forged = make(`kubepods/pod${UID_A}/${MAIN}/pod${UID_A.replaceAll('1', '2')}/${INNER}`);
    const found = walkCgroups(dir).cgroups.find(({ id }) => id === forged);
    expect(found).toMatchObject({ podUid: UID_A, containerId: MAIN, rootId: main });
  });

  it('walks names that are not UTF-8 and paths over 1,024 bytes', () => {
    const odd = Buffer.concat([Buffer.from(`${dir}/`), Buffer.from([0xff, 0xfe])]);
    mkdirSync(odd);
    const id = statSync(odd, { bigint: true }).ino;
    const deep = make(`${MAIN}/${Array.from({ length: 8 }, () => 'd'.repeat(200)).join('/')}`);
    const { cgroups, skipped } = walkCgroups(dir);
    expect(skipped).toBe(0);
    expect(cgroups.find((cgroup) => cgroup.id === id)?.path).toBe('/\ufffd\ufffd');
    const found = cgroups.find((cgroup) => cgroup.id === deep);
    expect(found).toMatchObject({ containerId: MAIN });
    expect(found?.path).toHaveLength(1024);
  });

  it('is bounded, and counts what it leaves out', () => {
    for (let i = 0; i < 20; i++) make(`c${i}`);
    const { cgroups, skipped } = walkCgroups(dir, 15);
    expect(cgroups).toHaveLength(15);
    expect(skipped).toBe(6);
  });

  it('gives what the table takes', () => {
    const main = make(`kubepods/pod${UID_A}/${MAIN}`);
    const table = new WorkloadTable();
    table.addFound(walkCgroups(dir).cgroups);
    expect(table.get(Number(main & 0xffffffffn), Number(main >> 32n))).toMatchObject({
      podUid: UID_A,
      containerId: MAIN,
    });
    expect(table.pendingPodUids()).toEqual([UID_A]);
  });

  it('throws where there is nothing to walk', () => {
    expect(() => walkCgroups(join(dir, 'none'))).toThrow(/ENOENT/);
  });
});

describe('containerTgids', () => {
  it('lists the processes of a container and its sub-groups', () => {
    make(`docker/${MAIN}`, '');
    make(`docker/${MAIN}/init.scope`, '100\n101\n');
    make(`docker/${MAIN}/system.slice/x.service`, '102\n');
    make('docker/other', '7\n');
    expect(containerTgids(dir, `/docker/${MAIN}`)).toEqual([100, 101, 102]);
    expect(containerTgids(dir, '/docker/gone')).toEqual([]);
    expect(containerTgids(dir, `/docker/${MAIN}`, 2)).toEqual([]);
  });

  it('lists none where a process is hidden by the pid namespace', () => {
    make(`docker/${MAIN}`, '100\n0\n');
    expect(containerTgids(dir, `/docker/${MAIN}`)).toEqual([]);
  });
});

describe('the first process of a container', () => {
  const init = { tgid: 500, startTicks: 1000, nsTgids: [500, 1] };
  const child = { tgid: 501, startTicks: 1001, nsTgids: [501, 7] };
  it.each([
    ['pid 1 of its own namespace that started first', [child, init], init],
    ['though another started in the same tick', [{ ...child, startTicks: 1000 }, init], init],
    ['not when another is older: it was moved in', [{ ...child, startTicks: 999 }, init], undefined],
    ['not in the host pid namespace', [{ ...init, nsTgids: [500] }], undefined],
    ['not in a shared pid namespace', [{ ...init, nsTgids: [500, 12] }, child], undefined],
    ['not a namespace made in a shared one', [child, { ...init, startTicks: 1002, nsTgids: [500, 9, 1] }], undefined],
    ['whatever namespaces it makes itself', [init, { tgid: 502, startTicks: 1002, nsTgids: [502, 8, 1] }], init],
    ['not when two could be', [init, { ...init, tgid: 600 }], undefined],
    ['not when the container is empty', [], undefined],
  ])('%s', (_name, processes, expected) => {
    const found = expected && { tgid: expected.tgid, startTicks: expected.startTicks };
    expect(pickFirst(processes)).toEqual(found);
    expect(pickFirst(processes.toReversed())).toEqual(found);
  });
});

describe('findCgroupMount', () => {
  const V1 = '32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu';
  const line = (root: string, at: string) => `41 31 0:38 ${root} ${at} rw shared:9 master:1 - cgroup2 cgroup2 rw`;

  function proc(...lines: string[]): string {
    mkdirSync(join(dir, 'self'), { recursive: true });
    writeFileSync(join(dir, 'self/mountinfo'), lines.join('\n'));
    return dir;
  }

  it('prefers the mount that shows the most, at the shortest path', () => {
    const lines = [
      line('/docker/x', '/a'),
      line('/', '/host/sys/fs/cgroup'),
      line('/', '/sys/fs/cgroup'),
      V1,
      'junk',
      '',
    ];
    expect(parseCgroupMounts(lines.join('\n'))).toEqual({ v2: ['/sys/fs/cgroup', '/host/sys/fs/cgroup', '/a'], v1: 1 });
    expect(parseCgroupMounts(line('/', '/with\\040space')).v2).toEqual(['/with space']);
  });

  it("finds a hybrid host's v2 hierarchy", () => {
    const v2 = join(dir, 'unified');
    mkdirSync(v2);
    writeFileSync(join(v2, 'cgroup.controllers'), '');
    expect(findCgroupMount({ proc: proc(V1, line('/', v2)) })).toEqual({ dir: v2, hybrid: true });
    expect(findCgroupMount({ proc: proc(line('/', v2)) })).toEqual({ dir: v2, hybrid: false });
    expect(findCgroupMount({ proc: proc(V1), dir: `${v2}/` })).toEqual({ dir: v2, hybrid: true });
  });

  it('refuses pure cgroup v1 and says what to do', () => {
    expect(() => findCgroupMount({ proc: proc(V1) })).toThrow(CgroupError);
    expect(() => findCgroupMount({ proc: proc(V1) })).toThrow(/cgroup v1 only.*--cgroup/);
    expect(() => findCgroupMount({ proc: proc('') })).toThrow(/no cgroup v2/);
    expect(() => findCgroupMount({ proc: '/nonexistent' })).toThrow(/mountinfo/);
    expect(() => findCgroupMount({ dir: join(dir, 'none') })).toThrow(/not a cgroup v2 directory/);
    expect(() => findCgroupMount({ dir })).toThrow(/not a cgroup v2 directory/);
  });
});
