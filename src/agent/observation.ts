/** Reads the agent's parts for whoever asks: metrics, health. Everything is read at the moment of the question. */
import type { KernelTap } from '../kernel/tap.ts';
import type { PodResolver } from '../kubernetes/resolver.ts';
import type { Delivery } from '../stream/delivery.ts';
import { KIND_NAMES } from '../stream/event-kinds.ts';
import type { OtlpSink } from '../stream/otlp/sink.ts';
import type { Tail } from '../tail/tail.ts';
import type { HealthReadings } from '../telemetry/health.ts';
import { LongestGap } from '../telemetry/longest-gap.ts';
import { ProbeWatch } from '../telemetry/probe-watch.ts';
import type {
  AgentReadings,
  ConfigReading,
  OtlpReading,
  PodsReading,
  ProbeReading,
  StreamReading,
  TlsReadings,
} from '../telemetry/readings.ts';
import type { Accounts } from './accounts.ts';
import type { DrainLoop } from './drain.ts';
import type { Hold } from './hold.ts';
import type { Pipeline } from './pipeline.ts';

export interface ObservedParts {
  readonly version: string;
  readonly tap: Pick<KernelTap, 'status' | 'programInfo' | 'ringPositions'>;
  readonly loop: Pick<DrainLoop, 'lastDrainMs'>;
  readonly pipeline: Pick<Pipeline, 'namespaces'>;
  readonly accounts: Pick<Accounts, 'read'>;
  readonly client: Pick<Delivery, 'state' | 'problem' | 'accepted' | 'confirmed' | 'depth' | 'stored' | 'lastAckMs'>;
  /** Beside the client, or the same. */
  readonly otlp?:
    | Pick<OtlpSink, 'state' | 'problem' | 'accepted' | 'confirmed' | 'depth' | 'losses' | 'sentBytes'>
    | undefined;
  /** Undefined: the stream is not encrypted. */
  readonly tls: () => TlsReadings;
  readonly pods: Pick<PodResolver, 'status' | 'expected'> | undefined;
  readonly hold: Hold | undefined;
  readonly tail: Tail | undefined;
  /** How long nobody watched before this run, ns; undefined: not known. */
  readonly blindNs?: () => bigint | undefined;
  readonly config: () => ConfigReading | undefined;
  /** Numbers of the kinds that are asked for. */
  readonly wanted: () => readonly number[];
  /** Monotonic clock of the drain loop, ms. */
  readonly now?: () => number;
}

const total = (counts: Float64Array): number => counts.reduce((sum, count) => sum + count, 0);

export class Observation {
  readonly #parts: ObservedParts;
  readonly #now: () => number;
  readonly #gaps = new LongestGap();
  readonly #watch = new ProbeWatch();
  /** Where the agent stands in its life. */
  phase: 'starting' | 'running' | 'stopping' = 'starting';

  constructor(parts: ObservedParts) {
    this.#parts = parts;
    this.#now = parts.now ?? performance.now.bind(performance);
  }

  /** After every drain. */
  drained(nowMs: number): void {
    this.#gaps.tick(nowMs);
  }

  /** Looks at every probe: often enough to see each be on. */
  look(): void {
    this.#watch.observe(this.#probes());
  }

  read(): AgentReadings {
    const { version, tap, pipeline, accounts, client, hold, tail, config } = this.#parts;
    const events = new Map<string, number>();
    for (const [kind, name] of KIND_NAMES) {
      const count = client.accepted[kind] ?? 0;
      if (count > 0) events.set(name, count);
    }
    return {
      version,
      ledger: accounts.read(),
      namespaces: pipeline.namespaces.totals(),
      rings: tap.ringPositions().map(({ name, consumer, producer, size }) => {
        return { name, bytes: Number(producer - consumer), capacityBytes: size };
      }),
      drainLagMs: this.#gaps.longest(this.#now()),
      probes: this.#probes(),
      programs: tap.programInfo(),
      events,
      stream: this.#stream(),
      otlp: this.#otlp(),
      spool: client.stored && { ...client.stored, blindMs: this.#blindMs() },
      pods: this.#pods(),
      hold: hold && { ...hold.counts, bytes: hold.heldBytes },
      config: config(),
      tls: this.#parts.tls(),
      tailDropped: tail && { ...tail.droppedBy },
    };
  }

  health(): HealthReadings {
    this.look();
    return {
      started: this.phase !== 'starting',
      stopping: this.phase === 'stopping',
      sinceDrainMs: this.#now() - this.#parts.loop.lastDrainMs,
      probes: this.#probes(),
      lostProbes: this.#watch.lost,
      stream: this.#stream()?.state,
      streamProblem: this.#parts.client.problem,
      otlp: this.#otlp(),
      spool: this.#parts.client.stored?.problem ?? '',
      pods: this.#pods(),
      config: this.#parts.config(),
      tls: this.#parts.tls(),
    };
  }

  /** Undefined: there is no collector, OTLP is the only way. */
  #stream(): StreamReading | undefined {
    const { client, otlp } = this.#parts;
    if (client === otlp) return undefined;
    return {
      state: client.state,
      ackedEvents: total(client.confirmed),
      queueBytes: client.depth.bytes,
      lastAckMs: client.lastAckMs ?? 0,
    };
  }

  #otlp(): OtlpReading | undefined {
    const { otlp } = this.#parts;
    if (otlp === undefined) return undefined;
    const lost: Record<string, number> = {};
    for (const { reason, total: events } of otlp.losses()) lost[reason] = (lost[reason] ?? 0) + events;
    return {
      state: otlp.state,
      problem: otlp.problem,
      acceptedEvents: total(otlp.accepted),
      confirmedEvents: total(otlp.confirmed),
      waitingEvents: otlp.depth.events,
      lost,
      queueBytes: otlp.depth.bytes,
      sentBytes: otlp.sentBytes,
    };
  }

  /** Those that are asked for, and those that are on. */
  #probes(): ProbeReading[] {
    const wanted = new Set(this.#parts.wanted());
    return this.#parts.tap.status().map(({ kind, name, tier, state, reason }): ProbeReading => {
      // A probe that failed and that nobody wants any more is off.
      return { name, tier: tier ?? '', state: state === 'failed' && !wanted.has(kind) ? 'off' : state, reason };
    });
  }

  #blindMs(): number | undefined {
    const blindNs = this.#parts.blindNs?.();
    return blindNs === undefined ? undefined : Number(blindNs / 1_000_000n);
  }

  #pods(): PodsReading | undefined {
    const { pods } = this.#parts;
    if (!pods?.expected) return undefined;
    const { source, changes, pods: known, gone, unknown, lastOkMs, problem, sources } = pods.status();
    return {
      source,
      changes,
      lastSuccessMs: lastOkMs,
      problem,
      knownPods: known,
      gonePods: gone,
      pendingPods: unknown,
      sources: sources.map((each) => ({
        name: each.source,
        requests: each.requests,
        failures: each.failures,
        skippedPods: each.skippedPods,
        lastSuccessMs: each.lastOkMs,
        problem: each.lastError,
      })),
    };
  }
}
