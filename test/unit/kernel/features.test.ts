import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { namesOfCapabilities, readFeatures } from '../../../src/kernel/features.ts';
import { goodNode, nodeTree } from './node-tree.ts';

const hybridMounts = `31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`;

describe('readFeatures', () => {
  it('reads a well-equipped node', () => {
    expect(readFeatures({ root: nodeTree() })).toEqual({
      kernelRelease: '6.12.117+deb13-cloud-amd64',
      kernelVersion: [6, 12],
      btfBytes: goodNode['sys/kernel/btf/vmlinux']?.length,
      ringBuffer: true,
      lockdown: 'none',
      capabilities: 0xc000000000n,
      initialUserNamespace: true,
      hostProcesses: true,
      perfEventParanoid: 2,
      unprivilegedBpfDisabled: 2,
      bpfJitEnable: 1,
      lockedMemoryBytes: 8388608,
      cgroup: { version: 'v2', mount: '/sys/fs/cgroup', wholeHierarchy: true },
      tracefs: { mount: '/sys/kernel/tracing', syscalls: true },
    });
  });

  it('takes what is missing as absent, and never throws', () => {
    const root = mkdtempSync(join(tmpdir(), 'kerntap-node-'));
    onTestFinished(() => rmSync(root, { recursive: true }));
    expect(readFeatures({ root })).toEqual({
      kernelRelease: '',
      kernelVersion: undefined,
      btfBytes: 0,
      ringBuffer: false,
      lockdown: 'unknown',
      capabilities: 0n,
      initialUserNamespace: undefined,
      hostProcesses: false,
      perfEventParanoid: undefined,
      unprivilegedBpfDisabled: undefined,
      bpfJitEnable: undefined,
      lockedMemoryBytes: undefined,
      cgroup: { version: 'none', mount: undefined, wholeHierarchy: false },
      tracefs: { mount: undefined, syscalls: false },
    });
  });

  it('takes garbage as absent', () => {
    const files = Object.fromEntries(Object.keys(goodNode).map((path) => [path, '\0\xff[zz] - - \n- 9x']));
    const features = readFeatures({ root: nodeTree({ files, userNamespace: 'mnt:[1]' }) });
    expect(features).toMatchObject({ kernelVersion: undefined, capabilities: 0n, perfEventParanoid: undefined });
    expect(features).toMatchObject({ lockdown: 'unknown', ringBuffer: false, initialUserNamespace: false });
    expect(features).toMatchObject({ cgroup: { version: 'none' }, tracefs: { mount: undefined } });
  });

  it.each([
    ['hybrid', hybridMounts, '/sys/fs/cgroup/unified', 'hybrid'],
    ['v1 only', hybridMounts.split('\n').slice(0, 2).join('\n'), undefined, 'v1'],
    ['no cgroup', '22 1 0:21 / /proc rw - proc proc rw\n', undefined, 'none'],
    ['a blank in the path', '41 31 0:38 / /mnt/c\\040g rw - cgroup2 none rw\n', '/mnt/c g', 'v2'],
  ])('finds cgroup v2 among the mounts: %s', (_, mountinfo, mount, version) => {
    const files = {
      'proc/self/mountinfo': mountinfo,
      'sys/fs/cgroup/unified/cgroup.controllers': '',
      'mnt/c g/cgroup.controllers': '',
    };
    expect(readFeatures({ root: nodeTree({ files }) }).cgroup).toMatchObject({ version, mount });
  });

  it("tells a container's part of the hierarchy from all of it", () => {
    const files = { 'sys/fs/cgroup/cgroup.events': 'populated 1\n' };
    expect(readFeatures({ root: nodeTree({ files }) }).cgroup.wholeHierarchy).toBe(false);
  });

  it('reads the host by the folders that are named', () => {
    const moved = Object.entries(goodNode).map(([path, text]) => [path.replace(/^proc\//, 'host/proc/'), text]);
    const files = { ...Object.fromEntries(moved), 'host/cgroup/cgroup.controllers': '', 'proc/2/comm': 'bash\n' };
    const root = nodeTree({ files });
    expect(readFeatures({ root }).hostProcesses).toBe(false);
    const features = readFeatures({ root, proc: '/host/proc', cgroup: '/host/cgroup' });
    expect(features).toMatchObject({ hostProcesses: true, cgroup: { mount: '/host/cgroup', wholeHierarchy: true } });
    expect(readFeatures({ root, cgroup: '/no/such' }).cgroup).toMatchObject({ version: 'none', mount: undefined });
  });

  it('knows an unreadable tracefs from a missing one', () => {
    const files = { 'sys/kernel/tracing/events/syscalls/sys_enter_openat/id': undefined };
    const root = nodeTree({ files });
    expect(readFeatures({ root }).tracefs).toEqual({ mount: '/sys/kernel/tracing', syscalls: false });
  });

  it('reads an unlimited RLIMIT_MEMLOCK', () => {
    const files = { 'proc/self/limits': 'Max locked memory         unlimited            unlimited            bytes\n' };
    expect(readFeatures({ root: nodeTree({ files }) }).lockedMemoryBytes).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('namesOfCapabilities', () => {
  it('names bits as linux/capability.h does, and numbers newer ones', () => {
    expect(namesOfCapabilities(0n)).toEqual([]);
    expect(namesOfCapabilities((1n << 21n) | (1n << 24n) | (3n << 38n))).toEqual([
      'SYS_ADMIN',
      'SYS_RESOURCE',
      'PERFMON',
      'BPF',
    ]);
    expect(namesOfCapabilities(1n << 62n)).toEqual(['62']);
  });
});
