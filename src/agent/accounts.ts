/** Gathers what every stage counted: new losses become kerntap.loss events, everything goes into the ledger. */
import { KT_KIND_COUNT, KT_REASON_COUNT } from '../kernel/layout.gen.ts';
import type { ProgramInfo, RingPosition } from '../kernel/native.ts';
import type { ProbeStatus } from '../kernel/probe-switch.ts';
import type { EventSource } from '../kernel/source.ts';
import type { Delivery } from '../stream/delivery.ts';
import type { BatchEncoder } from '../stream/encoder.ts';
import { KIND_NAMES } from '../stream/event-kinds.ts';
import { REFUSAL_REASONS } from '../stream/record.ts';
import { type Balance, balanceOf } from '../telemetry/balance.ts';
import { type DeliveryLedger, type LedgerSnapshot, ledgerSnapshot, noteKernelLosses } from '../telemetry/ledger.ts';
import { LossBook, type LossRecord } from '../telemetry/losses.ts';
import type { DrainLoop } from './drain.ts';
import { EarlierRunsBook } from './earlier-runs.ts';
import type { Hold } from './hold.ts';
import { COUNTER_NAMES, KERNEL_KINDS, OWN_KINDS } from './kinds.ts';
import type { Pipeline } from './pipeline.ts';
import type { Policies } from './policies.ts';

/** What the accounts ask of a tap beside its counters. */
export interface CountingTap extends Pick<EventSource, 'counters'> {
  programInfo(): ProgramInfo[];
  ringPositions(): RingPosition[];
  status(): ProbeStatus[];
}

export interface AccountParts {
  readonly tap: CountingTap;
  readonly loop: DrainLoop;
  readonly pipeline: Pipeline;
  readonly encoder: BatchEncoder;
  /** Whose events are the delivered ones. */
  readonly client: Delivery;
  /** The way to an OTLP receiver, beside that or the same. */
  readonly otlp?: Delivery | undefined;
  readonly hold: Hold | undefined;
  readonly policies?: Pick<Policies, 'suppressed'>;
}

const CGROUP_KIND = 0;

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

/** Counts of KIND_SLOTS by name; '' for those of a kind that is not known. */
function named(counts: Float64Array, wanted: (name: string) => boolean = () => true): Map<string, number> {
  const out = new Map<string, number>();
  for (const [kind, count] of counts.entries()) {
    const name = KIND_NAMES.get(kind) ?? '';
    if (count !== 0 && wanted(name)) out.set(name, (out.get(name) ?? 0) + count);
  }
  return out;
}

function added(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): Map<string, number> {
  const out = new Map(a);
  for (const [name, count] of b) out.set(name, (out.get(name) ?? 0) + count);
  return out;
}

function deliveryLedger(sink: Delivery): DeliveryLedger {
  return {
    accepted: sum(sink.accepted),
    confirmed: sum(sink.confirmed),
    inFlight: sink.depth.events + (sink.stored?.events ?? 0),
    lost: sink.losses().map(({ reason, kind, total }) => ({ reason, kind, total })),
  };
}

export class Accounts {
  readonly earlierRuns: EarlierRunsBook;
  readonly #parts: AccountParts;
  readonly #book: LossBook;
  readonly #counters = new BigUint64Array(KT_KIND_COUNT * KT_REASON_COUNT);
  /** recursion_misses by program as last read, and by kind as booked. */
  readonly #missesOf = new Map<string, number>();
  readonly #missed = new Map<string, number>();

  /** `startNs`: boot clock at which counting began. */
  constructor(parts: AccountParts, startNs: bigint) {
    this.#parts = parts;
    this.#book = new LossBook(startNs);
    this.earlierRuns = new EarlierRunsBook(parts.client, startNs);
  }

  /** Reads every counter; one record for each that grew. `nowNs`: boot clock. */
  poll(nowNs: bigint): LossRecord[] {
    this.#gather();
    const { client, otlp } = this.#parts;
    const spans = new Map([...client.lost.own.takeSpans(), ...(otlp?.lost.own.takeSpans() ?? [])]);
    const own = this.#book.report(nowNs, spans);
    return [...own, ...this.earlierRuns.report(nowNs)];
  }

  /** The books as of now. What is lost is told by `poll` alone. */
  read(): LedgerSnapshot {
    this.#gather();
    return this.ledger();
  }

  /** Whether they balance, as of the last read. */
  balance(): Balance {
    const { tap, loop, pipeline, encoder, client, otlp, hold } = this.#parts;
    const rings = tap.ringPositions();
    const undelivered = new Map<string, number>();
    for (const { kind, total } of client.losses()) undelivered.set(kind, (undelivered.get(kind) ?? 0) + total);
    return balanceOf({
      ledger: this.ledger(),
      eventKinds: KERNEL_KINDS.keys(),
      ringBytes: sum(rings.map(({ consumer, producer }) => Number(producer - consumer))),
      drained: loop.records - pipeline.control,
      skipped: loop.undecodable + sum(rings.map(({ badRecords }) => badRecords)),
      held: hold?.heldRecords ?? 0,
      encoded: pipeline.encoded,
      // The agent's own messages that were refused are no records.
      refused: added(
        named(encoder.refusedKinds, (name) => !OWN_KINDS.includes(name)),
        named(pipeline.shedding.counts),
      ),
      sequences: encoder.sequence - 1,
      openBatch: encoder.events,
      accepted: named(client.accepted),
      confirmed: named(client.confirmed),
      undelivered,
      queued: client.depth.events + (client.stored?.events ?? 0),
      otlp: otlp === undefined ? undefined : deliveryLedger(otlp),
    });
  }

  /** Events that are nowhere but in this process and the kernel, by kind, as of the last read. */
  inMemory(): Map<string, number> {
    const { encoder, pipeline, client } = this.#parts;
    const gone = [
      named(client.confirmed),
      named(client.storedKinds ?? new Float64Array(0)),
      named(encoder.refusedKinds),
      named(pipeline.shedding.counts),
    ];
    const lost = new Map<string, number>();
    for (const { kind, total } of client.losses()) lost.set(kind, (lost.get(kind) ?? 0) + total);
    const counts = [...gone, lost].reduce(added);
    const left = new Map<string, number>();
    for (const [kind, { emitted }] of Object.entries(this.ledger().kinds)) {
      const count = emitted - (counts.get(kind) ?? 0);
      if (KERNEL_KINDS.has(kind) && count > 0) left.set(kind, count);
    }
    return left;
  }

  #gather(): void {
    const { tap, loop, pipeline, encoder, client, otlp } = this.#parts;
    const book = this.#book;
    tap.counters(this.#counters);
    noteKernelLosses(book, this.#counters, COUNTER_NAMES);
    for (const [kind, misses] of this.#recursionMisses()) book.note('kernel', 'kernel_missed', kind, misses, true);
    book.note('decode', 'ring', '', sum(tap.ringPositions().map((ring) => ring.badRecords)));
    book.note('decode', 'walk', '', loop.undecodable, loop.unwalkableBytes > 0);
    book.note('decode', 'control', 'cgroup', pipeline.badControl);
    for (const [reason, count] of encoder.refused.entries()) {
      book.note('decode', REFUSAL_REASONS[reason] ?? `reason_${reason}`, '', count);
    }
    for (const [kind, count] of named(pipeline.shedding.counts)) book.note('queue', 'shed', kind, count);
    for (const { stage, reason, kind, total } of [...client.losses(), ...(otlp?.losses() ?? [])]) {
      // The agent's own events are outside the ledger; totals in the next loss record make up for a lost one.
      if (!OWN_KINDS.includes(kind)) book.note(stage, reason, kind, total);
    }
  }

  /** Control records that the kernel side lost so far: cgroups of which the agent was not told. */
  get lostControl(): number {
    return sum(
      this.#book
        .totals()
        .filter(({ stage, kind }) => stage === 'kernel' && kind === COUNTER_NAMES.get(CGROUP_KIND))
        .map(({ total }) => total),
    );
  }

  /** The books as of the last poll. */
  ledger(): LedgerSnapshot {
    const { loop, pipeline, client, hold } = this.#parts;
    const spooled = client.stored?.events ?? 0;
    const user = {
      drained: loop.records,
      control: pipeline.control,
      encoded: pipeline.encoded,
      acked: sum(client.confirmed),
      inFlight: (hold?.heldRecords ?? 0) + this.#parts.encoder.events + client.depth.events + spooled,
      spooled,
    };
    const ledger = ledgerSnapshot(this.#counters, COUNTER_NAMES, user, this.#book, this.#parts.policies?.suppressed);
    const earlierRuns = this.earlierRuns.read();
    const { otlp } = this.#parts;
    return {
      ...ledger,
      ...(earlierRuns === undefined ? {} : { earlierRuns }),
      ...(otlp === undefined ? {} : { otlp: deliveryLedger(otlp) }),
    };
  }

  /**
   * By kind where a program serves one alone, else under ''. What a program missed is booked once, under the kind that
   * it served when that was read: probes come and go.
   */
  #recursionMisses(): ReadonlyMap<string, number> {
    const { tap } = this.#parts;
    const owners = new Map<string, string>();
    for (const { name, programs } of tap.status()) {
      for (const program of programs) owners.set(program, owners.has(program) ? '' : name);
    }
    for (const { name, recursionMisses } of tap.programInfo()) {
      if (recursionMisses === null) continue;
      const misses = Number(recursionMisses);
      const grown = misses - (this.#missesOf.get(name) ?? 0);
      if (grown <= 0) continue;
      this.#missesOf.set(name, misses);
      const kind = owners.get(name) ?? '';
      this.#missed.set(kind, (this.#missed.get(kind) ?? 0) + grown);
    }
    return this.#missed;
  }
}
