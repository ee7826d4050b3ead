/** Wires the tap, the workload table, the stream and the tail together, and owns the order of start and stop. */
import { randomBytes } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { isatty } from 'node:tty';
import type { Logger } from 'pino';
import { type Hello, type NodeFacts, SCHEMA } from '../../proto/contract.ts';
import { type Collector, startCollector } from '../collector/server.ts';
import type { ConfigStatus } from '../config/watch.ts';
import { KernelTap } from '../kernel/tap.ts';
import { findCgroupMount } from '../kubernetes/cgroup-mount.ts';
import { firstProcess } from '../kubernetes/first-process.ts';
import type { NodeFactsKeeper } from '../kubernetes/node-facts.ts';
import type { PodResolver } from '../kubernetes/resolver.ts';
import { WorkloadTable } from '../kubernetes/table.ts';
import { containerTgids, walkCgroups } from '../kubernetes/walk.ts';
import { BufferPool } from '../stream/buffer-pool.ts';
import { PublishClient } from '../stream/client.ts';
import { BatchEncoder } from '../stream/encoder.ts';
import { ProcessTable } from '../stream/processes.ts';
import { RunLosses } from '../stream/run-losses.ts';
import type { Spool } from '../stream/spool/spool.ts';
import { JSON_LINES, prettyLines } from '../tail/render.ts';
import { openSink } from '../tail/stdout.ts';
import { Tail } from '../tail/tail.ts';
import { BoundedWriter } from '../tail/writer.ts';
import type { LedgerSnapshot } from '../telemetry/ledger.ts';
import { Accounts } from './accounts.ts';
import { BootClock, systemClocks } from './clock.ts';
import { CollectorChannel } from './collector-channel.ts';
import { DrainLoop } from './drain.ts';
import { Hold } from './hold.ts';
import { KERNEL_KINDS } from './kinds.ts';
import { onceUntilChange } from './log.ts';
import { lossMessage } from './loss-message.ts';
import { openNodeFacts } from './node.ts';
import { Observation } from './observation.ts';
import { openSpool } from './open-spool.ts';
import { type AgentOptions, StartError } from './options.ts';
import { openOtlp } from './otlp.ts';
import { Pipeline } from './pipeline.ts';
import { openPodNames } from './pod-names.ts';
import { preflight } from './preflight.ts';
import { ProbeNews } from './probe-news.ts';
import { Services } from './services.ts';
import { SettingsControl } from './settings-control.ts';
import { Succession } from './succession.ts';
import { kindsOf, sensitiveOf, tailRulesOf, tapConfigOf } from './tap-settings.ts';
import { Viewers } from './viewers.ts';
import { type CollectorWay, WaysOut } from './ways-out.ts';

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
  readonly #cgroupDir: string;
  /** Undefined: OTLP is the only way out. */
  readonly #client: PublishClient | undefined;
  readonly #out: WaysOut;
  readonly #spool: Spool | undefined;
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
    this.#cgroupDir = cgroupDir;
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
    let toCollector: CollectorWay | undefined;
    if (addresses.length > 0) {
      const lost = new RunLosses(run);
      const channel = new CollectorChannel({
        addresses,
        tls: options.tls,
        compression: collector === undefined ? options.settings.collector.compression : 'none',
        log: log.child({ part: 'stream' }),
      });
      this.#spool = openSpool(options, run, () => this.#node, this.#succession, lost, log);
      this.#client = new PublishClient({
        dialer: channel.dialer,
        hello: this.#hello(),
        pool,
        log: onceUntilChange(log.child({ part: 'stream' })),
        lost,
        spool: this.#spool,
        catchUpShare: options.settings.spool.catchUpShare,
      });
      toCollector = { client: this.#client, channel };
    }
    const { settings, version } = options;
    const otlp = openOtlp({ settings: settings.stream.otlp, node: () => this.#node, version, log });
    this.#out = new WaysOut(toCollector, otlp, pool);
    this.#tail =
      options.settings.tail.enabled || options.config !== undefined
        ? this.#openTail(processes, wallOffsetNs, events)
        : undefined;
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
    this.#client?.greetWith(this.#hello());
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
    const cgroups = this.#walk();
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
        const containers = this.#markInits();
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
    if (this.#spool === undefined || this.#client === undefined) return;
    this.#succession.start({
      spool: this.#spool,
      client: this.#client,
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

  #openTail(processes: ProcessTable, wallOffsetNs: () => bigint, { onTailClosed }: AgentEvents): Tail {
    const { settings, json } = this.#options;
    const encoder = new BatchEncoder({ runId: this.#runId, processes });
    const people = isatty(1) && !json;
    const renderer = people ? prettyLines(!process.env['NO_COLOR'], () => process.stdout.columns ?? 0) : JSON_LINES;
    return new Tail({
      writer: new BoundedWriter(openSink(1), {
        onClosed: (error) => {
          this.#log.info({ code: error.code }, 'the reader of stdout is gone');
          onTailClosed();
        },
      }),
      encodeOne: encoder.encodeOne.bind(encoder),
      node: () => this.#node,
      ...renderer,
      ...tailRulesOf(settings),
      wallOffsetNs,
    });
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

  /** Returns how many control groups there are. */
  #walk(): number {
    const { cgroups, skipped } = walkCgroups(this.#cgroupDir);
    for (const { id, rootId } of cgroups) this.#tap.setCgroup(id, rootId);
    if (skipped > 0) this.#workloads.addFound(cgroups);
    else this.#workloads.takeWalk(cgroups);
    for (const { id } of cgroups) this.#settings.policies.consider(id);
    if (skipped > 0) this.#log.warn({ skipped }, 'cgroups were left out: their events carry no container');
    return cgroups.length;
  }

  /** Containers that run already: the first process of each is the one whose descendants are `entry: init`. Returns how many. */
  #markInits(): number {
    const { procDir } = this.#options;
    let containers = 0;
    for (const { id, rootId, path } of walkCgroups(this.#cgroupDir).cgroups) {
      if (rootId === 0n || rootId !== id) continue;
      const process = firstProcess(containerTgids(this.#cgroupDir, path), procDir);
      if (process !== undefined) this.#tap.markInit({ ...process, rootId });
      containers++;
    }
    return containers;
  }

  #pollOnce(): void {
    this.#clock.checkSuspend();
    this.#observation.look();
    this.#settings.readCpu(this.#loop.records);
    this.#tellProbes();
    this.#tellLosses();
    if (this.#accounts.lostControl > this.#lostControl) {
      this.#lostControl = this.#accounts.lostControl;
      this.#walk();
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

/** A collector in this process: the same server, over the loopback interface. Throws StartError. */
async function embedCollector(out: string, log: Logger): Promise<Collector> {
  try {
    return await startCollector({ listen: '127.0.0.1:0', out, log: log.child({ part: 'collector' }) });
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new StartError(message, 'choose another folder with --out', { cause });
  }
}
