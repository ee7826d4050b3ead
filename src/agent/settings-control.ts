/** Keeps the settings in force: those of the start, every good change of the file, and the CPU ceiling's limit. */
import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import type { ConfigContext } from '../config/load.ts';
import type { Settings } from '../config/schema.ts';
import { type ConfigStatus, ConfigWatch } from '../config/watch.ts';
import type { KernelTap } from '../kernel/tap.ts';
import type { WorkloadTable } from '../kubernetes/table.ts';
import type { Tail } from '../tail/tail.ts';
import { CpuCeiling } from './cpu-ceiling.ts';
import { ExecRewriter } from './exec-rewriter.ts';
import { LiveSettings } from './live-settings.ts';
import type { ConfigFile } from './options.ts';
import { Policies } from './policies.ts';
import { execRulesOf, needsRestart, tailRulesOf } from './tap-settings.ts';

export interface SettingsParts {
  /** Those that the tap was opened with. */
  readonly settings: Settings;
  readonly config: ConfigFile | undefined;
  readonly tap: KernelTap;
  readonly workloads: WorkloadTable;
  readonly tail: Tail | undefined;
  readonly log: Logger;
  /** The probes may have changed: what was seen before is to go out before the word of it. */
  readonly onApplied: () => void;
}

export class SettingsControl {
  readonly execs: ExecRewriter;
  readonly policies: Policies;
  readonly #parts: SettingsParts;
  readonly #live: LiveSettings;
  readonly #ceiling: CpuCeiling;
  /** Of the hashes that stand for secrets: another in each run. */
  readonly #runKey = randomBytes(32);
  #watch: ConfigWatch | undefined;
  /** Of the Node object; undefined: not known. */
  #labels: Readonly<Record<string, string>> | undefined;
  #cpuReadMs = performance.now();

  /** Throws where the file with the key of the hashes cannot be read. */
  constructor(parts: SettingsParts) {
    const { settings, tap, workloads } = parts;
    this.#parts = parts;
    this.#live = new LiveSettings(tap, settings);
    this.execs = new ExecRewriter(execRulesOf(settings, this.#runKey));
    this.policies = new Policies({
      sink: tap,
      lookup: (id) => workloads.find(id),
      cgroups: () => workloads.living(),
    });
    workloads.onChange((cgroupId) => this.policies.consider(cgroupId));
    this.#ceiling = new CpuCeiling({
      limit: (perSecond) => this.#live.limitNode(perSecond),
      onChange: (change) => this.#tellCeiling(change),
    });
    this.#limitCpu(settings);
  }

  get current(): Settings {
    return this.#live.current;
  }

  /** How the file fares; undefined without one. */
  get status(): ConfigStatus | undefined {
    return this.#watch?.status;
  }

  /** Policies for what runs already: when the workload table is filled. */
  judgeAll(): void {
    this.policies.configure(this.current.policies);
  }

  /** Follows the file from now on: when every probe has been turned on once. */
  follow(): void {
    const { config, log } = this.#parts;
    if (config === undefined) return;
    this.#watch = new ConfigWatch(config.hash, {
      file: config.file,
      context: this.#context(config),
      onSettings: (settings, hash) => this.#apply(settings, hash),
      onRefused: ({ message }) =>
        log.error({ config: message }, 'the configuration was refused; the last good one stays in force'),
    });
    this.#watch.start();
    // It, or the node's labels, may have changed while the probes were attached.
    if (this.#labels === undefined) this.#watch.check();
    else this.#watch.reconsider(this.#context(config));
  }

  /** The node's labels as its object has them: the file's overrides are judged by them, and by those that were given. */
  relabel(labels: Readonly<Record<string, string>> | undefined): void {
    const { config } = this.#parts;
    if (isDeepStrictEqual(labels, this.#labels)) return;
    this.#labels = labels;
    if (config !== undefined) this.#watch?.reconsider(this.#context(config));
  }

  #context({ context }: ConfigFile): ConfigContext {
    if (this.#labels === undefined) return context;
    const { node } = context;
    return { ...context, node: { ...node, labels: { ...this.#labels, ...node.labels } } };
  }

  stop(): void {
    this.#watch?.stop();
  }

  /** About once a second; `records`: taken from the rings so far. */
  readCpu(records: number): void {
    const { user, system } = process.cpuUsage();
    const nowMs = performance.now();
    const elapsed = (nowMs - this.#cpuReadMs) / 1000;
    this.#cpuReadMs = nowMs;
    this.#ceiling.read({ elapsed, cpuSeconds: (user + system) / 1e6, records });
  }

  #apply(settings: Settings, hash: string): void {
    const { tap, tail, log, onApplied } = this.#parts;
    const restart = needsRestart(this.current, settings);
    // What can fail comes first: nothing of a change that is refused is in force.
    const execRules = execRulesOf(settings, this.#runKey);
    const { turnedOn, turnedOff } = this.#live.apply(settings);
    this.execs.configure(execRules);
    this.policies.configure(settings.policies);
    this.#limitCpu(settings);
    tail?.configure(tailRulesOf(settings));
    onApplied();
    const on = tap.status().filter(({ state }) => state === 'on');
    log.info(
      { hash, turned_on: turnedOn, turned_off: turnedOff, probes: on.map(({ name }) => name) },
      'the configuration is in force',
    );
    if (restart.length > 0) log.warn({ keys: restart }, 'changed settings that need a restart of the agent');
  }

  #limitCpu({ budgets }: Settings): void {
    this.#ceiling.configure(budgets.cpuCores, budgets.nodeEventsPerSecond);
  }

  #tellCeiling(change: { readonly limit: number | undefined; readonly cores: number }): void {
    this.#parts.log.warn(
      { ...change, ceiling: this.current.budgets.cpuCores },
      change.limit === undefined
        ? 'the agent is below its CPU ceiling: the budgets of the settings hold again'
        : "the agent is above its CPU ceiling: the node's events a second are limited",
    );
  }
}
