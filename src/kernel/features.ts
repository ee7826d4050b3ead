import { readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** `none | integrity | confidentiality` as the kernel says; `unknown`: securityfs is not visible. */
export type Lockdown = 'none' | 'integrity' | 'confidentiality' | 'unknown';

/** `v2`: only the unified hierarchy; `hybrid`: beside v1 ones; `v1`: no unified hierarchy is mounted. */
export type CgroupVersion = 'v2' | 'hybrid' | 'v1' | 'none';

/** What this node and this process's confinement offer a tap. Read from /proc and /sys only; nothing is loaded. */
export interface NodeFeatures {
  /** `uname -r`; empty where unreadable. */
  readonly kernelRelease: string;
  /** Major and minor number; undefined where the release does not begin with them. */
  readonly kernelVersion: readonly [number, number] | undefined;
  /** Bytes of /sys/kernel/btf/vmlinux; 0: there is none. */
  readonly btfBytes: number;
  /** The kernel's own BTF names the ring buffer map type (mainline 5.8). */
  readonly ringBuffer: boolean;
  readonly lockdown: Lockdown;
  /** CapEff of this process: bit n is capability n of linux/capability.h. */
  readonly capabilities: bigint;
  /** Capabilities count only there; undefined where /proc does not tell. */
  readonly initialUserNamespace: boolean | undefined;
  /** /proc lists every process of the host. */
  readonly hostProcesses: boolean;
  /** kernel.perf_event_paranoid: -1..2 in mainline, 3 and 4 are distributions' own. */
  readonly perfEventParanoid: number | undefined;
  /** kernel.unprivileged_bpf_disabled: 0 open, 1 closed for good, 2 closed. */
  readonly unprivilegedBpfDisabled: number | undefined;
  /** net.core.bpf_jit_enable; undefined also in a pod: it shows in the initial network namespace only. */
  readonly bpfJitEnable: number | undefined;
  /** RLIMIT_MEMLOCK in bytes; Infinity: unlimited. */
  readonly lockedMemoryBytes: number | undefined;
  readonly cgroup: CgroupFeatures;
  readonly tracefs: TracefsFeatures;
}

export interface CgroupFeatures {
  readonly version: CgroupVersion;
  /** Where the unified hierarchy is mounted (or was said to be). */
  readonly mount: string | undefined;
  /** The mount shows the whole hierarchy, not one container's part. */
  readonly wholeHierarchy: boolean;
}

export interface TracefsFeatures {
  readonly mount: string | undefined;
  /** Ids of per-syscall tracepoints can be read. */
  readonly syscalls: boolean;
}

/** Numbers of linux/capability.h. */
export const CAP = { SYS_ADMIN: 21, SYS_RESOURCE: 24, PERFMON: 38, BPF: 39 } as const;

const capabilityNames =
  `CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
  NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
  SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
  MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`.split(/\s+/);

/** Names, without CAP_, of the bits set; a bit newer than this list is its number. */
export function namesOfCapabilities(set: bigint): string[] {
  const names: string[] = [];
  for (let bit = 0; set >> BigInt(bit) > 0n; bit++) {
    if ((set >> BigInt(bit)) & 1n) names.push(capabilityNames[bit] ?? String(bit));
  }
  return names;
}

export const hasCapability = (set: bigint, capability: number): boolean => ((set >> BigInt(capability)) & 1n) === 1n;

export interface FeatureSources {
  /** Stands before every path; for tests. */
  readonly root?: string;
  /** The host's procfs. Default /proc. */
  readonly proc?: string | undefined;
  /** Mount point of the cgroup v2 hierarchy; default: found in the mounts. */
  readonly cgroup?: string | undefined;
}

/** Reads a node's features. Never throws: what cannot be read is absent. */
export function readFeatures({ root = '/', proc = '/proc', cgroup }: FeatureSources = {}): NodeFeatures {
  const procText = (path: string) => readText(join(root, proc, path));
  const kernelRelease = procText('sys/kernel/osrelease').trim();
  const version = /^(\d+)\.(\d+)/.exec(kernelRelease);
  const btf = readBytes(join(root, 'sys/kernel/btf/vmlinux'));
  const mounts = parseMounts(procText('self/mountinfo'));
  return {
    kernelRelease,
    kernelVersion: version ? [Number(version[1]), Number(version[2])] : undefined,
    btfBytes: btf.length,
    ringBuffer: btf.includes('BPF_MAP_TYPE_RINGBUF\0'),
    lockdown: parseLockdown(readText(join(root, 'sys/kernel/security/lockdown'))),
    capabilities: BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(procText('self/status'))?.[1] ?? '0'}`),
    initialUserNamespace: initialUserNamespace(join(root, proc)),
    // the thread that starts all other kernel threads is process 2 of the initial pid namespace
    hostProcesses: procText('2/comm') === 'kthreadd\n',
    perfEventParanoid: integer(procText('sys/kernel/perf_event_paranoid')),
    unprivilegedBpfDisabled: integer(procText('sys/kernel/unprivileged_bpf_disabled')),
    bpfJitEnable: integer(procText('sys/net/core/bpf_jit_enable')),
    lockedMemoryBytes: parseLockedMemory(procText('self/limits')),
    cgroup: cgroupFeatures(root, mounts, cgroup),
    tracefs: tracefsFeatures(root, mounts),
  };
}

interface Mount {
  readonly point: string;
  readonly type: string;
}

/** proc(5): fields up to a lone '-', then the file system's type; blanks in a path are octal escapes. */
function parseMounts(mountinfo: string): Mount[] {
  const mounts: Mount[] = [];
  for (const line of mountinfo.split('\n')) {
    const [before, after] = line.split(' - ');
    const point = before?.split(' ')[4];
    const type = after?.split(' ')[0];
    if (point && type) mounts.push({ point: point.replace(/\\(\d{3})/g, (_, octal) => chr(octal)), type });
  }
  return mounts;
}

const chr = (octal: string) => String.fromCharCode(Number.parseInt(octal, 8));

function cgroupFeatures(root: string, mounts: readonly Mount[], named: string | undefined): CgroupFeatures {
  const mount = named ?? mounts.find(({ type }) => type === 'cgroup2')?.point;
  const v1 = mounts.some(({ type }) => type === 'cgroup');
  // every cgroup of a v2 hierarchy has cgroup.controllers, and all but its root cgroup.events
  if (mount === undefined || !exists(join(root, mount, 'cgroup.controllers'))) {
    return { version: v1 ? 'v1' : 'none', mount: undefined, wholeHierarchy: false };
  }
  return { version: v1 ? 'hybrid' : 'v2', mount, wholeHierarchy: !exists(join(root, mount, 'cgroup.events')) };
}

function tracefsFeatures(root: string, mounts: readonly Mount[]): TracefsFeatures {
  const points = mounts.filter(({ type }) => type === 'tracefs').map(({ point }) => point);
  const readable = points.find((point) => readText(join(root, point, 'events/syscalls/sys_enter_openat/id')) !== '');
  return { mount: readable ?? points[0], syscalls: readable !== undefined };
}

/** The file marks the mode in force with brackets: `none [integrity] confidentiality`. */
function parseLockdown(text: string): Lockdown {
  const mode = /\[(\w+)\]/.exec(text)?.[1];
  return mode === 'none' || mode === 'integrity' || mode === 'confidentiality' ? mode : 'unknown';
}

function parseLockedMemory(limits: string): number | undefined {
  const soft = /^Max locked memory\s+(\S+)/m.exec(limits)?.[1];
  if (soft === undefined) return undefined;
  return soft === 'unlimited' ? Number.POSITIVE_INFINITY : integer(soft);
}

/** By the initial namespace's fixed inode number (PROC_USER_INIT_INO, include/linux/proc_ns.h). */
function initialUserNamespace(proc: string): boolean | undefined {
  try {
    return readlinkSync(join(proc, 'self/ns/user')) === `user:[${0xeffffffd}]`;
  } catch {
    return undefined;
  }
}

const integer = (text: string) => (/^-?\d+\s*$/.test(text) ? Number(text) : undefined);

function readBytes(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch {
    return Buffer.alloc(0);
  }
}

const readText = (path: string) => readBytes(path).toString('utf8');

const exists = (path: string) => statSync(path, { throwIfNoEntry: false }) !== undefined;
