import { CAP, hasCapability, type NodeFeatures, namesOfCapabilities } from './features.ts';

/** `problem`: the tap cannot run; `warning`: it runs with less; `unknown`: not asked for, or not visible from here. */
export type Verdict = 'ok' | 'warning' | 'problem' | 'unknown';

/** One finding about a node. */
export interface Check {
  /** Stable name for programs, e.g. `perf_event_paranoid`. */
  readonly id: string;
  /** For people. */
  readonly title: string;
  readonly verdict: Verdict;
  /** What was found. */
  readonly value: string;
  /** What to do about a warning or a problem; empty otherwise. */
  readonly remedy: string;
}

const ok = (id: string, title: string, value: string): Check => ({ id, title, verdict: 'ok', value, remedy: '' });

/** Judges a node's features: one check per requirement, in the order in which they would stop the tap. */
export function checkFeatures(features: NodeFeatures): Check[] {
  return [
    kernel(features),
    btf(features),
    ringBuffer(features),
    capabilities(features),
    userNamespace(features),
    lockdown(features),
    lockedMemory(features),
    jit(features),
    perfEvents(features),
    tracefs(features),
    cgroup(features),
    processView(features),
    unprivilegedBpf(features),
  ];
}

function kernel({ kernelRelease, kernelVersion }: NodeFeatures): Check {
  const check = ok('kernel', 'Kernel', kernelRelease || 'not readable');
  if (!kernelVersion) return { ...check, verdict: 'unknown', remedy: '' };
  const [major, minor] = kernelVersion;
  if (major > 5 || (major === 5 && minor >= 10)) return check;
  return { ...check, verdict: 'problem', remedy: 'Linux 5.10 or newer is needed: upgrade the node image' };
}

function btf({ btfBytes }: NodeFeatures): Check {
  const check = ok('btf', 'Kernel type information (BTF)', `/sys/kernel/btf/vmlinux, ${btfBytes} bytes`);
  if (btfBytes > 0) return check;
  const remedy =
    'use a kernel built with CONFIG_DEBUG_INFO_BTF=y; in a container /sys must be mounted (read-only will do)';
  return { ...check, verdict: 'problem', value: 'no /sys/kernel/btf/vmlinux', remedy };
}

function ringBuffer({ btfBytes, ringBuffer: present }: NodeFeatures): Check {
  const check = ok('ring_buffer', 'BPF ring buffer', present ? 'supported' : 'not supported');
  if (btfBytes === 0) return { ...check, verdict: 'unknown', value: 'not known without BTF' };
  return present
    ? check
    : { ...check, verdict: 'problem', remedy: 'use a kernel with BPF_MAP_TYPE_RINGBUF (Linux 5.8)' };
}

function capabilities({ capabilities: set }: NodeFeatures): Check {
  const names = namesOfCapabilities(set);
  const check = ok(
    'capabilities',
    'Capabilities',
    names.length > 4 ? `${names.length} held` : names.join(' ') || 'none',
  );
  if (hasCapability(set, CAP.SYS_ADMIN)) return { ...check, value: `${check.value}, SYS_ADMIN among them` };
  const missing = (['BPF', 'PERFMON'] as const).filter((name) => !hasCapability(set, CAP[name]));
  if (missing.length === 0) return check;
  const remedy = `add ${missing.join(' and ')} (securityContext.capabilities.add in a pod; sudo on a host)`;
  return { ...check, verdict: 'problem', value: `${missing.join(' and ')} missing; held: ${check.value}`, remedy };
}

function userNamespace({ initialUserNamespace: initial }: NodeFeatures): Check {
  const check = ok('user_namespace', 'User namespace', initial ? 'initial' : 'a nested one');
  if (initial === undefined) return { ...check, verdict: 'unknown', value: 'not readable' };
  if (initial) return check;
  const remedy =
    'capabilities count in the initial user namespace only: set hostUsers: true, or run outside the rootless container';
  return { ...check, verdict: 'problem', remedy };
}

function lockdown({ lockdown: mode }: NodeFeatures): Check {
  const check = ok('lockdown', 'Kernel lockdown', mode);
  if (mode === 'unknown')
    return { ...check, verdict: 'unknown', value: 'securityfs is not visible or the kernel has none' };
  if (mode !== 'confidentiality') return check;
  const remedy = 'confidentiality forbids BPF to read kernel memory: boot with lockdown=integrity or without it';
  return { ...check, verdict: 'problem', remedy };
}

/** Maps are charged to RLIMIT_MEMLOCK before 5.11 (commit 3ac1f01b43b6), to the memory cgroup since. */
function lockedMemory({ kernelVersion, capabilities: set, lockedMemoryBytes: limit }: NodeFeatures): Check {
  const check = ok('locked_memory', 'Locked memory', limit === undefined ? 'not readable' : `${limit} bytes`);
  const [major, minor] = kernelVersion ?? [6, 0];
  if (major > 5 || minor >= 11) return { ...check, value: 'not limited on this kernel' };
  if (hasCapability(set, CAP.SYS_RESOURCE)) return { ...check, value: 'raised by SYS_RESOURCE' };
  if (limit === undefined) return { ...check, verdict: 'unknown' };
  if (limit >= 64 * 1024 * 1024) return check;
  const remedy = 'before Linux 5.11 maps count against RLIMIT_MEMLOCK: add SYS_RESOURCE, or raise the limit to 64 MiB';
  return { ...check, verdict: 'warning', remedy };
}

function jit({ bpfJitEnable: value }: NodeFeatures): Check {
  const check = ok('bpf_jit', 'BPF JIT', value === 0 ? 'off' : 'on');
  if (value === undefined) return { ...check, verdict: 'unknown', value: 'shows in the host network only' };
  if (value !== 0) return check;
  return {
    ...check,
    verdict: 'warning',
    remedy: 'trampolines need it and all else is slow: sysctl net.core.bpf_jit_enable=1',
  };
}

function perfEvents({ perfEventParanoid: value, capabilities: set }: NodeFeatures): Check {
  const check = ok(
    'perf_event_paranoid',
    'kernel.perf_event_paranoid',
    value === undefined ? 'not readable' : String(value),
  );
  if (value === undefined) return { ...check, verdict: 'unknown' };
  if (value <= 2 || hasCapability(set, CAP.SYS_ADMIN)) return check;
  const remedy =
    'per-syscall tracepoints are closed to PERFMON; probes without a trampoline use raw sys_enter/sys_exit, a small tax on every system call. To avoid it: sysctl kernel.perf_event_paranoid=2';
  return { ...check, verdict: 'warning', remedy };
}

function tracefs({ tracefs: { mount, syscalls } }: NodeFeatures): Check {
  const check = ok('tracefs', 'tracefs', mount ?? 'not mounted');
  if (syscalls) return check;
  const how =
    mount === undefined ? 'mount -t tracefs tracefs /sys/kernel/tracing' : `make ${mount}/events/syscalls readable`;
  const remedy = `per-syscall tracepoints need it, raw sys_enter/sys_exit stand in: ${how} (in a pod: a read-only hostPath)`;
  return {
    ...check,
    verdict: 'warning',
    value: mount === undefined ? 'not mounted' : `${mount}, not readable`,
    remedy,
  };
}

function cgroup({ cgroup: { version, mount, wholeHierarchy } }: NodeFeatures): Check {
  const check = ok('cgroup', 'Control groups', mount === undefined ? version : `${version} at ${mount}`);
  if (mount === undefined) {
    const remedy =
      'containers are told apart by cgroup v2: boot with systemd.unified_cgroup_hierarchy=1, or mount cgroup2';
    return { ...check, verdict: 'problem', value: version === 'v1' ? 'v1 only' : 'none mounted', remedy };
  }
  if (!wholeHierarchy) {
    const remedy = 'only this container is visible: mount the host folder /sys/fs/cgroup read-only and pass --cgroup';
    return { ...check, verdict: 'warning', value: `${check.value}, one container's part`, remedy };
  }
  if (version === 'v2') return check;
  const remedy = 'containers are seen where their runtime joins the v2 tree too (runc does)';
  return { ...check, verdict: 'warning', remedy };
}

function processView({ hostProcesses }: NodeFeatures): Check {
  const check = ok(
    'process_view',
    'Processes in view',
    hostProcesses ? 'all of the host' : 'of this pid namespace only',
  );
  if (hostProcesses) return check;
  const remedy = 'processes older than the agent stay unknown: hostPID: true, or mount the host /proc and pass --proc';
  return { ...check, verdict: 'warning', remedy };
}

function unprivilegedBpf({ unprivilegedBpfDisabled: value }: NodeFeatures): Check {
  const check = ok('unprivileged_bpf_disabled', 'kernel.unprivileged_bpf_disabled', String(value ?? 'not readable'));
  if (value === undefined) return { ...check, verdict: 'unknown' };
  if (value !== 0) return check;
  return {
    ...check,
    verdict: 'warning',
    remedy: 'any user may load BPF programs: sysctl kernel.unprivileged_bpf_disabled=2',
  };
}
