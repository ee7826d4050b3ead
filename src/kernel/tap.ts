import { DEFAULT_TAP_CONFIG, encodeConfig, type TapConfig } from './config.ts';
import { attachTrackers, type CoreOptions, identify, mountTracefs, openCore } from './core.ts';
import {
  type CgroupPolicy,
  encodeCgroupId,
  encodeCgroupInfo,
  encodeNumber,
  encodePolicy,
  withEntryInit,
} from './entries.ts';
import { reasonOf } from './failure.ts';
import { CONFIG, KT_KIND_COUNT } from './layout.gen.ts';
import {
  type Handle,
  loadAddon,
  type NativeAddon,
  nativeBuildDir,
  type ProgramInfo,
  type RingPosition,
} from './native.ts';
import { DEFAULT_SENSITIVE, encodePrefixes, PREFIX_ENTRIES_MAX, type SensitivePrefixes } from './prefixes.ts';
import { type ProbeStatus, ProbeSwitch, type TierRefusals } from './probe-switch.ts';
import { type Family, PROBES, SNAPSHOTS, type TierName } from './probes.ts';
import { ProgramSet, type Variant } from './program-set.ts';
import type { EventSource } from './source.ts';

export interface KernelTapOptions extends Omit<CoreOptions, 'objectDir'> {
  /** Folder of the BPF objects; default: where this package builds them. */
  readonly objectDir?: string | undefined;
  readonly config?: TapConfig | undefined;
  readonly sensitive?: SensitivePrefixes | undefined;
  /** Tiers that may be used; default: all, the best first. */
  readonly tiers?: readonly TierName[] | undefined;
  readonly addon?: NativeAddon | undefined;
}

const CONFIG_KEY = new Uint8Array(4);

/**
 * The tap on this machine's kernel. Open: the trackers run and no kind is on. Then, in this order: setCgroup for every
 * cgroup that is there; enable; snapshot, so that nothing falls between the two; markInit for containers' first
 * processes, which the snapshot has made known. Everything is synchronous.
 */
export class KernelTap implements EventSource {
  readonly variant: Variant;
  readonly #addon: NativeAddon;
  readonly #handle: Handle;
  readonly #programs: ProgramSet;
  readonly #probes: ReadonlyMap<number, ProbeSwitch>;
  readonly #policies = new Set<bigint>();
  readonly #followed = new Set<string>();
  #config: TapConfig;
  #prefixKeys: Uint8Array[] = [];
  #ports: ReadonlySet<number> = new Set();
  #prefixGeneration = 0;

  /** @throws TapOpenError; RangeError for settings that cannot be */
  static open(options: KernelTapOptions = {}): KernelTap {
    const addon = options.addon ?? loadAddon();
    const objectDir = options.objectDir ?? nativeBuildDir();
    mountTracefs(addon);
    const { handle, variant } = openCore(addon, { ...options, objectDir });
    try {
      return new KernelTap(addon, handle, objectDir, variant, options);
    } catch (error) {
      addon.close(handle);
      throw error;
    }
  }

  private constructor(
    addon: NativeAddon,
    handle: Handle,
    objectDir: string,
    variant: Variant,
    { config = DEFAULT_TAP_CONFIG, sensitive = DEFAULT_SENSITIVE, tiers }: KernelTapOptions,
  ) {
    const refusals: TierRefusals = new Map();
    const programs = new ProgramSet(addon, handle, objectDir, variant);
    this.variant = variant;
    this.#addon = addon;
    this.#handle = handle;
    this.#programs = programs;
    this.#probes = new Map(
      PROBES.map((probe) => {
        const allowed = probe.tiers.filter(({ tier }) => tiers?.includes(tier) ?? true);
        return [probe.kind, new ProbeSwitch({ ...probe, tiers: allowed }, programs, refusals)];
      }),
    );
    this.#config = config;
    identify(addon, handle);
    encodeConfig(config, this.#state(), new Uint8Array(CONFIG.SIZE));
    this.#writePorts(config.ignoredPorts);
    this.#writeConfig();
    this.setSensitive(sensitive);
    attachTrackers(addon, handle, objectDir, variant);
  }

  drain(into: Uint8Array): number {
    return this.#addon.drain(this.#handle, into);
  }

  counters(into: BigUint64Array): void {
    this.#addon.counters(this.#handle, into);
  }

  close(): void {
    this.#addon.close(this.#handle);
  }

  /** Turns kinds on, each by the best tier that this kernel grants. What fails is in the status, and stops nothing. */
  enable(kinds: readonly number[]): ProbeStatus[] {
    const { failedOpens } = this.#config;
    const chosen = this.#switches(kinds);
    for (const family of new Set(chosen.map(({ probe }) => probe.family))) {
      try {
        // One load instead of one per kind: each parses the kernel's BTF.
        this.#programs.load(family, this.#likelyPrograms(family, chosen));
      } catch {
        // Each probe tries alone below, and keeps the reason.
      }
    }
    for (const probe of chosen) probe.turnOn(failedOpens);
    this.#writeConfig();
    return chosen.map(({ status }) => status);
  }

  /** Turns kinds off: their programs leave the kernel's hooks, those of other kinds stay as they are. */
  disable(kinds: readonly number[]): ProbeStatus[] {
    const chosen = this.#switches(kinds);
    for (const probe of chosen) probe.turnOff();
    this.#writeConfig();
    return chosen.map(({ status }) => status);
  }

  status(): ProbeStatus[] {
    return [...this.#probes.values()].map(({ status }) => status);
  }

  /** Applies settings at once, without a gap in any probe. Throws RangeError and keeps the old ones. */
  configure(config: TapConfig): void {
    encodeConfig(config, this.#state(), new Uint8Array(CONFIG.SIZE));
    const before = this.#config;
    if (config.failedOpens && !before.failedOpens) this.#followFailedOpens(true);
    this.#config = config;
    this.#writePorts(config.ignoredPorts);
    this.#writeConfig();
    if (!config.failedOpens && before.failedOpens) this.#followFailedOpens(false);
  }

  /** Replaces the sensitive prefixes. Throws RangeError and keeps the old ones. */
  setSensitive(prefixes: SensitivePrefixes): void {
    const first = 1 + this.#prefixGeneration * PREFIX_ENTRIES_MAX;
    const entries = encodePrefixes(prefixes, first);
    // New nodes are reached only by the root's edges, which come last.
    for (const { key, value } of entries.toSorted((a, b) => Number(a.root) - Number(b.root))) {
      this.#addon.updateMap(this.#handle, 'kt_prefixes', key, value);
    }
    const kept = new Set(entries.map(({ key }) => Buffer.from(key).toString('latin1')));
    for (const key of this.#prefixKeys) {
      if (!kept.has(Buffer.from(key).toString('latin1'))) this.#addon.deleteMap(this.#handle, 'kt_prefixes', key);
    }
    this.#prefixKeys = entries.map(({ key }) => key);
    this.#prefixGeneration = 1 - this.#prefixGeneration;
  }

  /** Sets or (undefined) removes a cgroup's policy. */
  setPolicy(cgroupId: bigint, policy: CgroupPolicy | undefined): void {
    const key = encodeCgroupId(cgroupId);
    if (policy === undefined) {
      this.#addon.deleteMap(this.#handle, 'kt_policies', key);
      this.#policies.delete(cgroupId);
    } else {
      this.#addon.updateMap(this.#handle, 'kt_policies', key, encodePolicy(policy));
      this.#policies.add(cgroupId);
    }
    this.#writeConfig();
  }

  /**
   * Tells of a cgroup that is older than the tap; what the tracker knows already stays. `rootId` is the container's
   * own cgroup, 0n outside of containers. Returns whether it was new.
   */
  setCgroup(cgroupId: bigint, rootId: bigint): boolean {
    const value = encodeCgroupInfo(rootId);
    return this.#addon.updateMap(this.#handle, 'kt_cgroups', encodeCgroupId(cgroupId), value, true);
  }

  /**
   * Marks a process as its container's first: `entry` init for it and for what it forks from now on. Returns false
   * where the kernel side does not know that very process in that container. The tgid is of the initial namespace.
   */
  markInit(process: { readonly tgid: number; readonly startTicks: number; readonly rootId: bigint }): boolean {
    const key = encodeNumber(process.tgid);
    const known = this.#addon.lookupMap(this.#handle, 'kt_procs', key);
    const marked = known === null ? undefined : withEntryInit(known, process);
    if (marked !== undefined) this.#addon.updateMap(this.#handle, 'kt_procs', key, marked);
    return marked !== undefined;
  }

  /**
   * Puts what is there already into the rings, as records with weight 0: processes always, connections and listeners
   * while a kind of theirs is on. Returns the reasons of what could not be listed. What exceeds a ring is lost and
   * counted: drain right after. From then on every exec tells its image (KT_PROCESS_IMAGE), also where it is no event.
   *
   * @param only of this family; default: all
   */
  snapshot(only?: Family): string[] {
    const failures: string[] = [];
    for (const { family, program, kinds, follow } of SNAPSHOTS) {
      if (only !== undefined && family !== only) continue;
      if (kinds !== undefined && !kinds.some((kind) => this.#probes.get(kind)?.isOn)) continue;
      try {
        this.#programs.load(family, follow === undefined ? [program] : [program, follow]);
        if (follow !== undefined && !this.#followed.has(follow)) {
          this.#programs.attach(follow);
          this.#followed.add(follow);
        }
        this.#addon.runIterator(this.#handle, program);
      } catch (error) {
        failures.push(`${program}: ${reasonOf(error)}`);
      }
    }
    return failures;
  }

  programInfo(): ProgramInfo[] {
    return this.#addon.programInfo(this.#handle);
  }

  ringPositions(): RingPosition[] {
    return this.#addon.ringPositions(this.#handle);
  }

  #switches(kinds: readonly number[]): ProbeSwitch[] {
    return [...new Set(kinds)].flatMap((kind) => {
      const probe = this.#probes.get(kind);
      if (probe === undefined) throw new RangeError(`no probe takes kind ${kind}`);
      return [probe];
    });
  }

  #likelyPrograms(family: Family, chosen: readonly ProbeSwitch[]): string[] {
    return [
      ...chosen
        .filter(({ probe }) => probe.family === family)
        .flatMap((one) => one.likelyPrograms(this.#config.failedOpens)),
      ...SNAPSHOTS.filter((snapshot) => snapshot.family === family).map(({ program }) => program),
    ];
  }

  #writePorts(ports: readonly number[]): void {
    const wanted = new Set(ports);
    for (const port of wanted) {
      if (!this.#ports.has(port))
        this.#addon.updateMap(this.#handle, 'kt_ports', encodeNumber(port), new Uint8Array([1]));
    }
    for (const port of this.#ports) {
      if (!wanted.has(port)) this.#addon.deleteMap(this.#handle, 'kt_ports', encodeNumber(port));
    }
    this.#ports = wanted;
  }

  #followFailedOpens(failedOpens: boolean): void {
    for (const probe of this.#probes.values()) probe.followFailedOpens(failedOpens);
  }

  #state() {
    let enabledKinds = 0;
    let rawKinds = 0;
    for (const [kind, probe] of this.#probes) {
      if (kind >= KT_KIND_COUNT) continue;
      if (probe.isOn) enabledKinds |= 1 << kind;
      if (probe.isRaw) rawKinds |= 1 << kind;
    }
    return { enabledKinds: enabledKinds >>> 0, rawKinds: rawKinds >>> 0, policies: this.#policies.size > 0 };
  }

  #writeConfig(): void {
    // The agent's own process key is in it, written by kt_identify.
    const value = this.#addon.lookupMap(this.#handle, 'kt_config', CONFIG_KEY) ?? new Uint8Array(CONFIG.SIZE);
    encodeConfig(this.#config, this.#state(), value);
    this.#addon.updateMap(this.#handle, 'kt_config', CONFIG_KEY, value);
  }
}
