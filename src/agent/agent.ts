/** Wires the tap, the workload table, the stream and the tail together, and owns the order of start and stop. */
import { randomBytes } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type Hello, type NodeFacts, SCHEMA } from '../../proto/contract.ts';
import type { Collector } from '../collector/server.ts';
import type { ConfigStatus } from '../config/watch.ts';
import { KernelTap } from '../kernel/tap.ts';
import { findCgroupMount } from '../kubernetes/cgroup-mount.ts';
import type { NodeFactsKeeper } from '../kubernetes/node-facts.ts';
import type { PodResolver } from '../kubernetes/resolver.ts';
import { WorkloadTable } from '../kubernetes/table.ts';
import { BufferPool } from '../stream/buffer-pool.ts';
import { BatchEncoder } from '../stream/encoder.ts';
import { ProcessTable } from '../stream/processes.ts';
import type { Tail } from '../tail/tail.ts';
import type { LedgerSnapshot } from '../telemetry/ledger.ts';
import { Accounts } from './accounts.ts';
import { BootClock, systemClocks } from './clock.ts';
import { type CollectorWay, openCollectorWay } from './collector-way.ts';
import { DrainLoop } from './drain.ts';
import { embedCollector } from './embedded-collector.ts';
import { Hold } from './hold.ts';
import { KERNEL_KINDS } from './kinds.ts';
import { lossMessage } from './loss-message.ts';
import { openNodeFacts } from './node.ts';
import { Observation } from './observation.ts';
import { openTail } from './open-tail.ts';
import type { AgentOptions } from './options.ts';
import { openOtlp } from './otlp.ts';
import { Pipeline } from './pipeline.ts';
import { openPodNames } from './pod-names.ts';
import { preflight } from './preflight.ts';
import { ProbeNews } from './probe-news.ts';
import { RunningCgroups } from './running-cgroups.ts';
import { Services } from './services.ts';
import { SettingsControl } from './settings-control.ts';
import { Succession } from './succession.ts';
import { kindsOf, sensitiveOf, tapConfigOf } from './tap-settings.ts';
import { Viewers } from './viewers.ts';
import { WaysOut } from './ways-out.ts';

const POLL_MS = 1000;
/** At stop: for the rings to run empty, for the collector's last acknowledgement, for the reader of stdout. */
const DRAIN_STOP_MS = 1000;
const ACK_STOP_MS = 5000;
const TAIL_STOP_MS = 1000;
/** At start, for the kubelet's first answer; attaching leaves little time to read it. */
const FIRST_PODS_MS = 500;
/** At a change of settings, for what is in the rings. */
const DRAIN_CHANGE_MS = 200;

export interface AgentEvents {
  /** The reader of stdout is gone. */
  readonly onTailClosed: () => void;
}

export class Agent {
  readonly #options: AgentOptions;
  readonly #log: Logger;
  readonly #clock: BootClock;
  readonly #collector: Collector | undefined;
  readonly #tap: KernelTap;
  readonly #workloads = new WorkloadTable();
  /** Undefined: OTLP is the only way out. */
  readonly #collectorWay: CollectorWay | undefined;
  readonly #out: WaysOut;
  readonly #succession: Succession;
  readonly #encoder: BatchEncoder;
  readonly #tail: Tail | undefined;
  readonly #pipeline: Pipeline;
  readonly #loop: DrainLoop;
  readonly #accounts: Accounts;
  readonly #pods: PodResolver | undefined;
  readonly #observation: Observation;
  readonly #viewers: Viewers;
  readonly #runId = randomBytes(16);
  readonly #facts: NodeFactsKeeper;
  readonly #settings: SettingsControl;
  readonly #cgroups: RunningCgroups;
  readonly #probes: ProbeNews;
  #services: Services | undefined;
  #poll: NodeJS.Timeout | undefined;
  #lostControl = 0;
  #stopped: Promise<LedgerSnapshot> | undefined;

  /**
   * Starts everything and returns with events flowing. Throws StartError, TapOpenError or CgroupError where this node
   * cannot be tapped, Error where standalone's collector cannot write; a collector or kubelet that is not there is
   * waited for.
   */
  static async start(options: AgentOptions, log: Logger, events: AgentEvents): Promise<Agent> {
    preflight(options, log);
    const cgroupDir = findCgroupMount({ dir: options.cgroupDir, proc: options.procDir }).dir;
    const collector = options.standalone ? await embedCollector(options.outDir, log) : undefined;
    let agent: Agent | undefined;
    try {
      agent = new Agent(options, log, events, cgroupDir, collector);
      await agent.#begin();
      return agent;
    } catch (error) {
      agent?.abandon();
      await collector?.close();
      throw error;
    }
  }

  private constructor(
    options: AgentOptions,
    log: Logger,
    events: AgentEvents,
    cgroupDir: string,
    collector: Collector | undefined,
  ) {
    this.#options = options;
    this.#log = log;
    this.#collector = collector;
    this.#clock = new BootClock(systemClocks(options.procDir));
    this.#clock.onStep = (fromNs, toNs) =>
      log.info({ by_ms: Number((toNs - fromNs) / 1_000_000n) }, 'the wall clock moved');
    this.#facts = openNodeFacts(options, log, () => this.#factsChanged());
    const pool = new BufferPool();
    const processes = new ProcessTable();
    const encoder = new BatchEncoder({ runId: this.#runId, processes, pool });
    this.#encoder = encoder;
    const wallOffsetNs = (): bigint => this.#clock.wallOffsetNs();
    const addresses = collector === undefined ? options.endpoints : [collector.address];
    const run = Buffer.from(this.#runId).toString('hex');
    this.#succession = new Succession(run);
    const way = openCollectorWay({
      options,
      addresses,
      run,
      hello: this.#hello(),
      node: () => this.#node,
      earlier: this.#succession,
      pool,
      log,
    });
    this.#collectorWay = way;
    const { settings, version } = options;
    const otlp = openOtlp({ settings: settings.stream.otlp, node: () => this.#node, version, log });
    this.#out = new WaysOut(way, otlp, pool);
    const tailEncoder = new BatchEncoder({ runId: this.#runId, processes });
    this.#tail = openTail({
      options,
      encodeOne: tailEncoder.encodeOne.bind(tailEncoder),
      node: () => this.#node,
      wallOffsetNs,
      onClosed: events.onTailClosed,
      log,
    });
    this.#tap = KernelTap.open({
      objectDir: options.bpfDir,
      ringBytes: { events: options.ringBytes, process: options.processRingBytes },
      config: tapConfigOf(options.settings),
      sensitive: sensitiveOf(options.settings),
    });
    this.#settings = new SettingsControl({
      settings: options.settings,
      config: options.config,
      tap: this.#tap,
      workloads: this.#workloads,
      tail: this.#tail,
      log,
      onApplied: () => {
        this.#loop.drainAll(performance.now() + DRAIN_CHANGE_MS);
        this.#tellProbes();
      },
    });
    this.#cgroups = new RunningCgroups({
      cgroupDir,
      procDir: options.procDir,
      tap: this.#tap,
      workloads: this.#workloads,
      consider: (id) => this.#settings.policies.consider(id),
      log,
    });
    this.#pipeline = new Pipeline({
      workloads: this.#workloads,
      processes,
      encoder,
      tail: this.#tail,
      send: (batch) => this.#out.send(batch),
      queueFill: () => this.#out.main.fill,
      wallOffsetNs,
      execs: this.#settings.execs,
      policies: this.#settings.policies,
    });
    this.#probes = new ProbeNews((event) => this.#pipeline.own(event, this.#clock.nowNs()), log);
    const node = (): NodeFacts => this.#node;
    const viewerEncoder = new BatchEncoder({ runId: this.#runId, processes });
    this.#viewers = new Viewers({
      node,
      encodeOne: viewerEncoder.encodeOne.bind(viewerEncoder),
      processes,
      wallOffsetNs,
      watch: (tail) => this.#pipeline.watch(tail),
      unwatch: (tail) => this.#pipeline.unwatch(tail),
    });
    this.#pods = openPodNames({
      options,
      nodeName: this.#facts.nodeName,
      table: this.#workloads,
      tell: (event) => this.#pipeline.own(event, this.#clock.nowNs()),
      redact: (command) => this.#settings.execs.commandLine(command),
      log,
    });
    const hold = this.#openHold();
    this.#loop = new DrainLoop({
      source: this.#tap,
      onRecord: this.#pipeline.record.bind(this.#pipeline),
      onTick: (nowMs) => {
        this.#pipeline.tick(nowMs);
        this.#observation.drained(nowMs);
      },
    });
    this.#accounts = new Accounts(
      {
        tap: this.#tap,
        loop: this.#loop,
        pipeline: this.#pipeline,
        encoder,
        client: this.#out.main,
        otlp: this.#out.otlp,
        hold,
        policies: this.#settings.policies,
      },
      this.#clock.nowNs(),
    );
    this.#observation = new Observation({
      version: options.version,
      tap: this.#tap,
      loop: this.#loop,
      pipeline: this.#pipeline,
      accounts: this.#accounts,
      client: this.#out.main,
      otlp: this.#out.otlp,
      tls: () => this.#out.tls,
      pods: this.#pods,
      hold,
      tail: this.#tail,
      blindNs: () => this.#succession.blindNs,
      config: () => this.config,
      wanted: () => kindsOf(this.#settings.current),
    });
  }

  /** The books as of now. */
  ledger(): LedgerSnapshot {
    return this.#accounts.ledger();
  }

  /** The facts as they are known now. */
  get #node(): NodeFacts {
    return { ...this.#facts.facts, runId: this.#runId };
  }

  #hello(): Hello {
    return { schema: SCHEMA, node: this.#node, agentVersion: this.#options.version };
  }

  /** What was asked of others came: the next stream and the file's overrides go by it. */
  #factsChanged(): void {
    this.#collectorWay?.client.greetWith(this.#hello());
    this.#settings.relabel(this.#facts.labels);
  }

  /** How the configuration file fares; undefined without one. */
  get config(): ConfigStatus | undefined {
    return this.#settings.status;
  }

  /** Takes the tap out of the kernel and lets out what is on its way. Never throws; a second call gives the first's. */
  stop(): Promise<LedgerSnapshot> {
    this.#stopped ??= this.#end();
    return this.#stopped;
  }

  /** Takes a start back that went wrong. */
  private abandon(): void {
    this.#facts.stop();
    this.#loop.stop();
    this.#pods?.stop();
    void this.#services?.close();
    this.#tail?.close();
    this.#succession.stop();
    void this.#out.shutdown(0);
    this.#tap.close();
  }

  async #begin(): Promise<void> {
    // The trackers run since the tap was opened: no cgroup is made unseen from here on, nor any process.
    this.#loop.start();
    // The first stream waits for what is asked about the node, where anything is; the tap does not.
    void this.#facts.start().then(() => this.#out.start());
    const started = performance.now();
    const cgroups = this.#cgroups.walk();
    let primeMs = performance.now() - started;
    const firstPods = this.#pods?.start();
    this.#settings.judgeAll();
    this.#services = await Services.open({
      metricsListen: this.#options.metricsListen,
      socketPath: this.#options.socketPath,
      version: this.#options.version,
      facts: this.#facts,
      runId: this.#runId,
      observation: this.#observation,
      accounts: this.#accounts,
      viewers: this.#viewers,
      log: this.#log,
    });
    // Attaching takes the kernel a while: what is on already is seen meanwhile. What is older follows what is new, so
    // that nothing falls between the two; a process that starts just then may be told both ways.
    const families = this.#kindsByFamily();
    for (const family of ['process', 'file', 'socket'] as const) {
      await new Promise((resolve) => setImmediate(resolve));
      this.#tap.enable(families.get(family) ?? []);
      // What runs already is told with its names where they come soon; what happens meanwhile is seen.
      if (family === 'process') await Promise.race([firstPods, setTimeout(FIRST_PODS_MS)]);
      const unlisted = this.#tap.snapshot(family);
      this.#loop.drainAll(performance.now() + DRAIN_STOP_MS);
      if (family === 'process') {
        const markedFrom = performance.now();
        const containers = this.#cgroups.markInits();
        primeMs += performance.now() - markedFrom;
        this.#log.info({ cgroups, containers, prime_ms: Math.round(primeMs) }, 'what runs already is known');
      }
      if (unlisted.length > 0) this.#log.warn({ unlisted }, 'what ran before could not all be listed');
      this.#tellProbes();
    }
    this.#poll = setInterval(() => this.#pollOnce(), POLL_MS);
    this.#succeed();
    this.#settings.follow();
    this.#observation.phase = 'running';
  }

  /** From here on nothing is missed: what was before is told. */
  #succeed(): void {
    const { client, spool } = this.#collectorWay ?? {};
    if (spool === undefined || client === undefined) return;
    this.#succession.start({
      spool,
      client,
      encoder: this.#encoder,
      accounts: this.#accounts,
      nowNs: () => this.#clock.nowNs(),
      bootId: this.#node.bootId,
      own: (event, timeNs) => this.#pipeline.own(event, timeNs),
      log: this.#log,
    });
  }

  #kindsByFamily(): Map<string, number[]> {
    const families = new Map<string, number[]>();
    const available = new Set(this.#tap.status().map((probe) => probe.kind));
    const wanted = kindsOf(this.#settings.current);
    for (const [name, kind] of KERNEL_KINDS) {
      if (!wanted.includes(kind) || !available.has(kind)) continue;
      const family = name.slice(0, name.indexOf('.'));
      families.set(family, [...(families.get(family) ?? []), kind]);
    }
    return families;
  }

  async #end(): Promise<LedgerSnapshot> {
    clearInterval(this.#poll);
    this.#observation.phase = 'stopping';
    this.#succession.ceased(this.#clock.nowNs());
    this.#facts.stop();
    this.#settings.stop();
    this.#pods?.stop();
    this.#loop.stop();
    try {
      const on = this.#tap.status().filter((probe) => probe.state === 'on');
      this.#tap.disable(on.map((probe) => probe.kind));
      if (!this.#loop.drainAll(performance.now() + DRAIN_STOP_MS))
        this.#log.warn('the rings did not run empty in time');
      this.#tellProbes();
      this.#tellLosses();
      this.#pipeline.finish();
    } catch (error) {
      this.#log.error({ err: error }, 'the last events could not be taken');
    }
    await this.#services?.close();
    this.#tap.close();
    await this.#out.shutdown(ACK_STOP_MS);
    await this.#succession.end();
    await this.#collector?.close();
    if (this.#tail !== undefined) {
      await this.#tail.flush(TAIL_STOP_MS);
      this.#tail.close();
    }
    return this.#accounts.ledger();
  }

  #openHold(): Hold | undefined {
    const pods = this.#pods;
    const { seconds, bytes } = this.#options.settings.hold;
    if (pods === undefined || seconds === 0) return undefined;
    const hold = new Hold({
      deadlineMs: seconds * 1000,
      capacityBytes: bytes,
      worthWaiting: (workload) => pods.mayNameSoon(workload),
      lookup: (low, high) => this.#workloads.get(low, high),
      release: this.#pipeline.event.bind(this.#pipeline),
    });
    this.#pipeline.useHold(hold);
    return hold;
  }

  #pollOnce(): void {
    this.#clock.checkSuspend();
    this.#observation.look();
    this.#settings.readCpu(this.#loop.records);
    this.#tellProbes();
    this.#tellLosses();
    if (this.#accounts.lostControl > this.#lostControl) {
      this.#lostControl = this.#accounts.lostControl;
      this.#cgroups.walk();
    }
  }

  #tellLosses(): void {
    const nowNs = this.#clock.nowNs();
    const lost: Record<string, Record<string, number>> = {};
    for (const record of this.#accounts.poll(nowNs)) {
      const { count, ...rest } = record;
      this.#pipeline.own({ loss: lossMessage(record) }, nowNs);
      const why = `${rest.stage} ${rest.reason}`;
      lost[why] = { ...lost[why], [rest.kind || 'any']: count };
    }
    if (Object.keys(lost).length > 0) this.#log.warn({ lost }, 'events were lost');
  }

  #tellProbes(): void {
    this.#probes.look(this.#tap.status(), kindsOf(this.#settings.current));
  }
}
