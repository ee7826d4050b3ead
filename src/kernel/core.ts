import { existsSync } from 'node:fs';
import { codeOf, reasonOf } from './failure.ts';
import type { Handle, NativeAddon } from './native.ts';
import { objectPath, type Variant } from './program-set.ts';

export interface CoreOptions {
  /** Folder of the BPF objects. */
  readonly objectDir: string;
  /** Bytes of each ring, rounded up to a power of two; default: as the core object says. */
  readonly ringBytes?: { readonly control?: number; readonly process?: number; readonly events?: number } | undefined;
  /** Default: fast, and legacy where the kernel refuses that. */
  readonly variant?: Variant | undefined;
}

/** The kernel refused the core object or a tracker: there is no tap. The cause has the kernel's own words. */
export class TapOpenError extends Error {
  override name = 'TapOpenError';
}

/** Slots in which one CPU builds records (bpf/tap.h, KT_SLOTS_PER_CPU). */
const SLOTS_PER_CPU = 4;
const TRACEFS = '/sys/kernel/tracing';

/** Loads the core object: every map, the trackers (not attached yet). */
export function openCore(addon: NativeAddon, options: CoreOptions): { handle: Handle; variant: Variant } {
  const { control, process, events } = options.ringBytes ?? {};
  const maps: Record<string, number> = { kt_slots: addon.possibleCpus() * SLOTS_PER_CPU };
  if (control !== undefined) maps['kt_ring_control'] = control;
  if (process !== undefined) maps['kt_ring_process'] = process;
  if (events !== undefined) maps['kt_ring_events'] = events;
  const refused: string[] = [];
  let cause: unknown;
  for (const variant of options.variant === undefined ? (['fast', 'legacy'] as const) : [options.variant]) {
    try {
      return { handle: addon.open({ coreObject: objectPath(options.objectDir, 'core', variant), maps }), variant };
    } catch (error) {
      cause = error;
      refused.push(`${variant}: ${reasonOf(error)}`);
      // Another form of the same programs is no more permitted.
      if (codeOf(error) === 'EPERM') break;
    }
  }
  throw new TapOpenError(`the kernel refuses the core programs (${refused.join('; ')})`, { cause });
}

/** Per-syscall tracepoints are numbered there. Where it cannot be mounted, raw sys_enter and sys_exit stand in. */
export function mountTracefs(addon: NativeAddon): void {
  if (existsSync(`${TRACEFS}/events`) || existsSync('/sys/kernel/debug/tracing/events')) return;
  try {
    addon.mountTracefs(TRACEFS);
  } catch {
    // The probes that want it say so.
  }
}

/** Attaches the core's trackers, which are on as long as the tap is. */
export function attachTrackers(addon: NativeAddon, handle: Handle, objectDir: string, variant: Variant): void {
  for (const { name, section } of addon.programs(objectPath(objectDir, 'core', variant))) {
    if (!section.startsWith('tp_btf/')) continue;
    try {
      addon.attach(handle, name);
    } catch (cause) {
      throw new TapOpenError(`tracker ${name} cannot be attached: ${reasonOf(cause)}`, { cause });
    }
  }
}

/** Writes the agent's process key, as the initial pid namespace has it, into map kt_config. */
export function identify(addon: NativeAddon, handle: Handle): void {
  try {
    addon.testRun(handle, 'kt_identify');
  } catch (cause) {
    throw new TapOpenError(`the kernel does not tell the agent's own process id: ${reasonOf(cause)}`, { cause });
  }
}
