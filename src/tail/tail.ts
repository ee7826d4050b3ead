/**
 * The local tail: a copy of the events on stdout, as a courtesy. It never slows the stream: records wait in a queue of
 * fixed size and are rendered in short turns; what is over its budgets, or more than its reader takes, is dropped from
 * the tail alone, and counted.
 */

import { type EventRow, rowsOf } from '../../proto/columns.ts';
import { decodeBatch, type Event, encodeBatch, type NodeFacts, type Sparse } from '../../proto/contract.ts';
import { FILE, HEAD, KT_FILE_CHMOD, KT_FILE_OPEN, KT_FILE_SENSITIVE } from '../kernel/layout.gen.ts';
import type { Workload } from '../kubernetes/workload.ts';
import { FairBudget } from './budget.ts';
import { LINE_BYTES_MAX } from './line.ts';
import type { BoundedWriter } from './writer.ts';

/** One kernel record as the bytes of a batch of its own; undefined where it cannot be encoded. */
export type EncodeOne = (
  buf: Uint8Array,
  offset: number,
  workload: Workload,
  sequence: number,
  wallOffsetNs: bigint,
) => Uint8Array | undefined;

/** What passes; may change while the tail runs. */
export interface TailRules {
  /** Numbers of the kinds that pass, and names of the agent's own; undefined: all. */
  readonly kinds?: { readonly numbers: ReadonlySet<number>; readonly own: ReadonlySet<string> } | undefined;
  /** Whose events pass; undefined: everybody's. */
  readonly wanted?: ((workload: Workload) => boolean) | undefined;
  /** Which records pass, by what is in their head; undefined: all. */
  readonly wantedRecord?: ((buf: Uint8Array, offset: number) => boolean) | undefined;
  /** Of file events only those under a sensitive prefix. */
  readonly sensitiveFilesOnly?: boolean;
  /** Events a second; 0: no limit. */
  readonly eventsPerSecond: number;
  /** Bytes of lines a second; 0: no limit. */
  readonly bytesPerSecond: number;
}

export interface TailOptions extends TailRules {
  readonly writer: BoundedWriter;
  readonly encodeOne: EncodeOne;
  /** Facts of the node as they are known now. */
  readonly node: () => NodeFacts;
  /** One event as one line without its newline, at most LINE_BYTES_MAX bytes. */
  readonly render: (row: EventRow) => string;
  readonly renderDropped: (count: number) => string;
  readonly wallOffsetNs: () => bigint;
  /** Lines of one drain in the order of their times, not of the stream. */
  readonly byTime?: boolean;
  readonly queueBytes?: number;
  readonly now?: () => number;
}

const DROPPED_EVERY_MS = 1000;
const QUEUE_BYTES = 1 << 20;
/** The agent's own events are not in the slab: they wait while the queue is shorter than this. */
const MESSAGES_MAX = 4096;
/** A turn renders so long at most, then lets others work. */
const TURN_MS = 3;
const PAUSE_MS = 5;

export interface TailCounts {
  /** Lines handed to the writer. */
  lines: number;
  /** Not asked for. */
  filtered: number;
  /** Asked for, but over a budget, or beyond what the reader took. */
  dropped: number;
}

/** over the events, or the bytes a second; the reader is behind; the queue of what is not rendered yet is full. */
export type DropReason = 'rate' | 'bytes' | 'reader' | 'queue';

/** A kernel record in the slab, or one of the agent's own events as a batch. */
type Waiting =
  | { readonly at: number; readonly workload: Workload; readonly sequence: number; readonly timeNs: number }
  | { readonly batch: Uint8Array; readonly timeNs: number };

/** The agent itself, among the sources that share a budget. */
const OWN_SOURCE = 'kerntap';

/** Whose budget an event is on: its pod's, or the host's as a whole. */
function sourceOf({ podUid, containerId }: Workload): string {
  return podUid || containerId;
}

type OwnEvent = Sparse<Pick<Event, 'loss' | 'pod' | 'probe'>>;

export class Tail {
  readonly counts: TailCounts = { lines: 0, filtered: 0, dropped: 0 };
  readonly #options: TailOptions;
  /** What `counts.dropped` is made of. */
  readonly droppedBy: Record<DropReason, number> = { rate: 0, bytes: 0, reader: 0, queue: 0 };
  readonly #now: () => number;
  #rules: TailRules;
  #events: FairBudget;
  #bytes: FairBudget;
  readonly #wanted = new Uint8Array(256);
  /** Records that wait, 8-byte aligned; begins anew whenever it ran empty. */
  readonly #slab: Uint8Array;
  readonly #slabView: DataView;
  #used = 0;
  #waiting: Waiting[] = [];
  #next = 0;
  #turn: NodeJS.Immediate | undefined;
  #pause: NodeJS.Timeout | undefined;
  #toldDropped = 0;
  #toldAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: TailOptions) {
    this.#options = options;
    this.#now = options.now ?? performance.now.bind(performance);
    this.#rules = options;
    this.#events = new FairBudget(0, 0, 0, 0);
    this.#bytes = this.#events;
    this.configure(options);
    this.#slab = new Uint8Array(options.queueBytes ?? QUEUE_BYTES);
    this.#slabView = new DataView(this.#slab.buffer);
  }

  /** Other rules from now on; what waits already is still shown. */
  configure(rules: TailRules): void {
    const now = this.#now();
    // A burst is what a second's budget gives, and at least one whole line.
    const { eventsPerSecond, bytesPerSecond, kinds } = rules;
    this.#rules = rules;
    const line = LINE_BYTES_MAX + 1;
    this.#events = new FairBudget(eventsPerSecond, Math.max(eventsPerSecond, 1), 1, now);
    this.#bytes = new FairBudget(bytesPerSecond, Math.max(bytesPerSecond, line), line, now);
    this.#wanted.fill(kinds === undefined ? 1 : 0);
    for (const kind of kinds?.numbers ?? []) this.#wanted[kind] = 1;
  }

  /** One kernel record that was encoded under `sequence`. Copies it or drops it; never waits. */
  offer(buf: Uint8Array, offset: number, length: number, kind: number, workload: Workload, sequence: number): void {
    if (this.#wanted[kind] !== 1 || !this.#passes(buf, offset, kind, workload)) {
      this.counts.filtered++;
      return;
    }
    const end = this.#used + ((length + 7) & ~7);
    const refused = this.#refusal(end > this.#slab.length, sourceOf(workload));
    if (refused !== undefined) {
      this.#drop(refused);
      return;
    }
    this.#slab.set(buf.subarray(offset, offset + length), this.#used);
    const view = this.#slabView;
    const ktime = this.#used + HEAD.ktime;
    // Sorts; beyond 104 days of uptime to some ns only.
    const timeNs = view.getUint32(ktime + 4, true) * 2 ** 32 + view.getUint32(ktime, true);
    this.#waiting.push({ at: this.#used, workload, sequence, timeNs });
    this.#used = end;
    this.#schedule();
  }

  /** One of the agent's own events, at `timeNs` of the boot clock. */
  offerMessage(event: OwnEvent, timeNs: bigint, sequence: number): void {
    const { node, wallOffsetNs } = this.#options;
    const { kinds } = this.#rules;
    const name = event.loss ? 'kerntap.loss' : event.pod ? 'kerntap.pod' : 'kerntap.probe';
    if (kinds !== undefined && !kinds.own.has(name)) {
      this.counts.filtered++;
      return;
    }
    const refused = this.#refusal(this.#waiting.length >= MESSAGES_MAX, OWN_SOURCE);
    if (refused !== undefined) {
      this.#drop(refused);
      return;
    }
    const firstSeq = BigInt(sequence);
    const batch = { runId: node().runId, firstSeq, baseTimeNs: timeNs, wallOffsetNs: wallOffsetNs(), events: [event] };
    this.#waiting.push({ batch: encodeBatch(batch), timeNs: Number(timeNs) });
    this.#schedule();
  }

  /** Says how much was dropped, at most once a second and as soon as the reader takes something again. */
  tick(): void {
    const { counts } = this;
    const missing = counts.dropped - this.#toldDropped;
    if (missing === 0 || this.#stalled()) return;
    const now = this.#now();
    if (now - this.#toldAtMs < DROPPED_EVERY_MS) return;
    if (!this.#options.writer.offer(`${this.#options.renderDropped(missing)}\n`)) return;
    this.#toldDropped = counts.dropped;
    this.#toldAtMs = now;
  }

  /**
   * Renders what waits, gives the reader `timeoutMs`, and leaves with the count of what was dropped. True: everything
   * left.
   */
  async flush(timeoutMs: number): Promise<boolean> {
    const until = performance.now() + timeoutMs;
    this.#order();
    while (this.#next < this.#waiting.length) this.#renderNext();
    this.#rewind();
    const { writer } = this.#options;
    if (!(await writer.flush(timeoutMs))) return false;
    this.#toldAtMs = Number.NEGATIVE_INFINITY;
    this.tick();
    return writer.flush(Math.max(until - performance.now(), 0));
  }

  close(): void {
    clearImmediate(this.#turn);
    clearTimeout(this.#pause);
    this.#options.writer.close();
  }

  #passes(buf: Uint8Array, offset: number, kind: number, workload: Workload): boolean {
    const { sensitiveFilesOnly, wanted, wantedRecord } = this.#rules;
    if (sensitiveFilesOnly && kind >= KT_FILE_OPEN && kind <= KT_FILE_CHMOD) {
      // The mark is in the lowest byte of the flags.
      if (((buf[offset + HEAD.SIZE + FILE.flags] ?? 0) & KT_FILE_SENSITIVE) === 0) return false;
    }
    if (wanted !== undefined && !wanted(workload)) return false;
    return wantedRecord === undefined || wantedRecord(buf, offset);
  }

  #refusal(full: boolean, source: string): DropReason | undefined {
    if (full) return 'queue';
    if (this.#stalled()) return 'reader';
    return this.#events.take(source, 1, this.#now()) ? undefined : 'rate';
  }

  #drop(reason: DropReason): void {
    this.counts.dropped++;
    this.droppedBy[reason]++;
  }

  /** The reader is so far behind that a line might not fit: nothing is rendered in vain. */
  #stalled(): boolean {
    return this.#options.writer.room <= LINE_BYTES_MAX;
  }

  #schedule(): void {
    if (this.#turn === undefined && this.#pause === undefined) this.#turn = setImmediate(this.#work);
  }

  readonly #work = (): void => {
    this.#turn = undefined;
    this.#pause = undefined;
    const until = performance.now() + TURN_MS;
    this.#order();
    while (this.#next < this.#waiting.length) {
      this.#renderNext();
      if (performance.now() >= until) break;
    }
    if (this.#next < this.#waiting.length) this.#pause = setTimeout(this.#work, PAUSE_MS);
    else this.#rewind();
  };

  /** The rings of one drain come one after the other; people read by time. */
  #order(): void {
    if (!this.#options.byTime || this.#next > 0) return;
    this.#waiting.sort((a, b) => a.timeNs - b.timeNs);
  }

  #rewind(): void {
    this.#waiting = [];
    this.#next = 0;
    this.#used = 0;
  }

  #renderNext(): void {
    const item = this.#waiting[this.#next++];
    if (item === undefined) return;
    if ('batch' in item) {
      this.#write(item.batch, OWN_SOURCE);
      return;
    }
    const { encodeOne, wallOffsetNs } = this.#options;
    const batch = encodeOne(this.#slab, item.at, item.workload, item.sequence, wallOffsetNs());
    if (batch !== undefined) this.#write(batch, sourceOf(item.workload));
  }

  #write(batch: Uint8Array, source: string): void {
    const { writer, node, render } = this.#options;
    for (const row of rowsOf(decodeBatch(batch), node())) {
      if ('refused' in row) continue;
      const line = `${render(row)}\n`;
      if (this.#stalled()) this.#drop('reader');
      else if (!this.#bytes.take(source, Buffer.byteLength(line), this.#now())) this.#drop('bytes');
      else if (!writer.offer(line)) this.#drop('reader');
      else this.counts.lines++;
    }
  }
}
