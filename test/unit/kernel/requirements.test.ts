import { describe, expect, it } from 'vitest';
import { readFeatures } from '../../../src/kernel/features.ts';
import { checkFeatures } from '../../../src/kernel/requirements.ts';
import { type NodeChange, nodeTree } from './node-tree.ts';

const check = (change: NodeChange) => checkFeatures(readFeatures({ root: nodeTree(change) }));
const status = (set: string) => ({ 'proc/self/status': `CapEff:\t${set}\n` });
const old = { 'proc/sys/kernel/osrelease': '5.10.0-46-cloud-amd64\n' };

describe('checkFeatures', () => {
  it('finds nothing to say about a well-equipped node', () => {
    const checks = check({});
    expect(checks.filter(({ verdict, remedy }) => verdict !== 'ok' || remedy !== '')).toEqual([]);
    expect(checks.find(({ id }) => id === 'kernel')?.value).toBe('6.12.117+deb13-cloud-amd64');
  });

  it.each<[string, string, string, RegExp, NodeChange]>([
    ['an old kernel', 'kernel', 'problem', /5\.10/, { files: { 'proc/sys/kernel/osrelease': '5.4.0-42-generic\n' } }],
    ['an ancient kernel', 'kernel', 'problem', /5\.10/, { files: { 'proc/sys/kernel/osrelease': '4.18.0\n' } }],
    ['no BTF', 'btf', 'problem', /CONFIG_DEBUG_INFO_BTF/, { files: { 'sys/kernel/btf/vmlinux': undefined } }],
    ['no ring buffer', 'ring_buffer', 'problem', /RINGBUF/, { files: { 'sys/kernel/btf/vmlinux': 'HASH\0' } }],
    ['no capability', 'capabilities', 'problem', /add BPF and PERFMON/, { files: status('00000000a80425fb') }],
    ['only BPF', 'capabilities', 'problem', /add PERFMON/, { files: status('0000008000000000') }],
    ['a user namespace', 'user_namespace', 'problem', /hostUsers/, { userNamespace: 'user:[4026532456]' }],
    [
      'lockdown',
      'lockdown',
      'problem',
      /integrity/,
      { files: { 'sys/kernel/security/lockdown': 'none integrity [confidentiality]\n' } },
    ],
    ['locked memory before 5.11', 'locked_memory', 'warning', /SYS_RESOURCE/, { files: old }],
    ['no JIT', 'bpf_jit', 'warning', /bpf_jit_enable=1/, { files: { 'proc/sys/net/core/bpf_jit_enable': '0\n' } }],
    [
      'paranoid 3',
      'perf_event_paranoid',
      'warning',
      /perf_event_paranoid=2/,
      { files: { 'proc/sys/kernel/perf_event_paranoid': '3\n' } },
    ],
    ['no mounts', 'tracefs', 'warning', /mount -t tracefs/, { files: { 'proc/self/mountinfo': undefined } }],
    [
      'cgroup v1',
      'cgroup',
      'problem',
      /unified_cgroup_hierarchy=1/,
      { files: { 'proc/self/mountinfo': '32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n' } },
    ],
    ['a cgroup namespace', 'cgroup', 'warning', /--cgroup/, { files: { 'sys/fs/cgroup/cgroup.events': '' } }],
    ['a pid namespace', 'process_view', 'warning', /hostPID/, { files: { 'proc/2/comm': 'sleep\n' } }],
    [
      'open BPF',
      'unprivileged_bpf_disabled',
      'warning',
      /=2/,
      { files: { 'proc/sys/kernel/unprivileged_bpf_disabled': '0\n' } },
    ],
  ])('names %s and its remedy', (_, id, verdict, remedy, change) => {
    expect(check(change).find((each) => each.id === id)).toMatchObject({
      verdict,
      remedy: expect.stringMatching(remedy),
    });
  });

  it.each<[string, string, NodeChange]>([
    ['SYS_ADMIN stands for both capabilities', 'capabilities', { files: status('0000000000200000') }],
    [
      'SYS_ADMIN passes paranoid 4',
      'perf_event_paranoid',
      { files: { ...status('000000c000200000'), 'proc/sys/kernel/perf_event_paranoid': '4\n' } },
    ],
    ['SYS_RESOURCE raises the limit', 'locked_memory', { files: { ...old, ...status('000000c001000000') } }],
    [
      'integrity does not hinder',
      'lockdown',
      { files: { 'sys/kernel/security/lockdown': 'none [integrity] confidentiality\n' } },
    ],
    ['5.10 is enough', 'kernel', { files: old }],
  ])('%s', (_, id, change) => {
    expect(check(change).find((each) => each.id === id)).toMatchObject({ verdict: 'ok', remedy: '' });
  });

  it('does not judge what it cannot see', () => {
    const files = { 'sys/kernel/security/lockdown': undefined, 'proc/sys/net/core/bpf_jit_enable': undefined };
    const unknown = check({ files, userNamespace: undefined }).filter(({ verdict }) => verdict === 'unknown');
    expect(unknown.map(({ id }) => id)).toEqual(['user_namespace', 'lockdown', 'bpf_jit']);
  });

  it('asks for a remedy exactly where something is wrong', () => {
    const bare = { files: { 'sys/kernel/btf/vmlinux': undefined, 'proc/self/mountinfo': undefined } };
    for (const { verdict, remedy } of check(bare))
      expect(remedy !== '').toBe(verdict === 'warning' || verdict === 'problem');
  });
});
