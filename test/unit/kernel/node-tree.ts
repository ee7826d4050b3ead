import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';

const v2Mounts = `22 1 0:21 / /proc rw,relatime shared:5 - proc proc rw
24 1 0:22 / /sys rw,relatime - sysfs sysfs rw
30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
31 24 0:12 / /sys/kernel/tracing rw,nosuid - tracefs tracefs rw
`;

/** The files of a well-equipped node as they read there, by path below the root. */
export const goodNode: Readonly<Record<string, string>> = {
  'proc/sys/kernel/osrelease': '6.12.117+deb13-cloud-amd64\n',
  'proc/sys/kernel/perf_event_paranoid': '2\n',
  'proc/sys/kernel/unprivileged_bpf_disabled': '2\n',
  'proc/sys/net/core/bpf_jit_enable': '1\n',
  'proc/self/status': 'Name:\tnode\nCapInh:\t0000000000000000\nCapPrm:\t000000c000000000\nCapEff:\t000000c000000000\n',
  'proc/self/limits':
    'Limit                     Soft Limit           Hard Limit           Units     \n' +
    'Max locked memory         8388608              8388608              bytes     \n',
  'proc/self/mountinfo': v2Mounts,
  'proc/2/comm': 'kthreadd\n',
  'sys/kernel/btf/vmlinux': '\x9f\xeb\0BPF_MAP_TYPE_STACK\0BPF_MAP_TYPE_RINGBUF\0BPF_MAP_TYPE_INODE_STORAGE\0',
  'sys/kernel/security/lockdown': '[none] integrity confidentiality\n',
  'sys/fs/cgroup/cgroup.controllers': 'cpu io memory pids\n',
  'sys/kernel/tracing/events/syscalls/sys_enter_openat/id': '672\n',
};

export interface NodeChange {
  /** Other content, or undefined: the file is missing. */
  readonly files?: Readonly<Record<string, string | undefined>>;
  /** Target of /proc/self/ns/user; undefined: unreadable. */
  readonly userNamespace?: string | undefined;
}

/** Makes such a node, with changes, in a folder that goes when the test ends. Its path. */
export function nodeTree(change: NodeChange = {}): string {
  const root = mkdtempSync(join(tmpdir(), 'kerntap-node-'));
  onTestFinished(() => rmSync(root, { recursive: true }));
  for (const [path, content] of Object.entries({ ...goodNode, ...change.files })) {
    if (content === undefined) continue;
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content, 'latin1');
  }
  const user = 'userNamespace' in change ? change.userNamespace : 'user:[4026531837]';
  mkdirSync(join(root, 'proc/self/ns'), { recursive: true });
  if (user !== undefined) symlinkSync(user, join(root, 'proc/self/ns/user'));
  return root;
}
