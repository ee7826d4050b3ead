import { PROBES } from '../kernel/probes.ts';
import type { Check } from '../kernel/requirements.ts';
import { KernelTap } from '../kernel/tap.ts';
import type { ProbeFinding } from './doctor-report.ts';

/** Loads and attaches every probe, notes the tier that each got, and takes all out again. */
export function tryProbes(objectDir: string | undefined): { checks: Check[]; probes: ProbeFinding[] } {
  const check: Check = { id: 'bpf_load', title: 'BPF programs', verdict: 'ok', value: '', remedy: '' };
  let tap: KernelTap;
  try {
    tap = KernelTap.open({ objectDir });
  } catch (error) {
    const value = error instanceof Error ? error.message : String(error);
    return { checks: [{ ...check, verdict: 'problem', value, remedy: remedyFor(value) }], probes: [] };
  }
  try {
    // a kind without a tier has no probe yet: that says nothing of this node
    const statuses = tap.enable(PROBES.filter(({ tiers }) => tiers.length > 0).map(({ kind }) => kind));
    const value =
      tap.variant === 'fast' ? 'load' : 'load in the form for older kernels, at a higher price for each event';
    const probes = statuses.map(({ name, tier, state, reason }): ProbeFinding => {
      return { kind: name, tier: tier ?? '', state: state === 'on' ? 'on' : 'failed', reason };
    });
    return { checks: [{ ...check, value }], probes };
  } finally {
    tap.close();
  }
}

function remedyFor(message: string): string {
  if (/EPERM|not permitted/i.test(message)) {
    return 'a seccomp profile, LSM or sysctl forbids bpf(2): use RuntimeDefault with containerd >= 1.7, and see dmesg';
  }
  if (/kerntap\.node|cannot find|ENOENT|not built/i.test(message))
    return 'build it: npm run build, or correct --bpf-dir';
  return 'report it with this output: this kernel is meant to work';
}
