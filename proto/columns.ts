import { isAddress } from './address.ts';
import type { Column } from './column.ts';
import { ACTOR, type Actor, CAPTURE, type Captured, HEAD, IMAGE, ORIGIN, type Origin } from './columns-common.ts';
import { FLOW, type Flow } from './columns-socket.ts';
import { SHAPES, type Shape } from './kinds.ts';
import type { Batch, Event, NodeFacts, Process, SocketAddress, Workload } from './messages.ts';
import { type Cell, cellToJson, type Row } from './ndjson.ts';
import { isWritable, rfc3339 } from './time.ts';

export type { ColumnInfo } from './column.ts';
export { COLUMNS, COMMON_COLUMNS, KINDS, type KindInfo, PROCESS_COLUMNS } from './kinds.ts';
export { type Cell, type Row, toLine } from './ndjson.ts';

type Reader = (name: string, cell: Cell) => void;

function readAll<Source>(columns: readonly Column<Source>[], source: Source, into: Reader): void {
  for (const { name, read } of columns) into(name, read(source));
}

// `,"name":value` for each column that is known.
function fragment<Source>(columns: readonly Column<Source>[], source: Source): string {
  let json = '';
  for (const { key, read } of columns) {
    const cell = read(source);
    if (cell !== null) json += key + cellToJson(cell);
  }
  return json;
}

/** An event of a batch as a row. */
export interface EventRow {
  readonly kind: string;
  readonly seq: bigint;
  /** Wall clock, ns since 1970. */
  readonly timeNs: bigint;
  /** The flat row, every column of its kind present; null where not known. */
  row(): Row;
  /** The same as a line of NDJSON without its newline: as toLine(row()), but cheaper. */
  line(): string;
  /** line() in pieces, for writers of many: what rows of a batch share is there as bytes, made once. */
  pieces(): readonly (string | SharedText)[];
  /** For writers of other formats. */
  readonly parts: RowParts;
}

/** What a row is read from: a source for each table of columns. */
export interface RowParts {
  readonly shape: Shape;
  /** Of ORIGIN; the same object for the whole batch. */
  readonly origin: Origin;
  /** Of ACTOR and IMAGE; the same object for all events of a process. Nobody, where the shape is the agent's own. */
  readonly actor: Actor;
  /** Of CAPTURE; not where the shape is the agent's own. */
  readonly capture: Captured;
  /** Of the shape's columns. */
  readonly body: never;
  /** Of FLOW, where the shape is a flow. */
  readonly flow: Flow;
}

/** Why an event could not be made a row. The reason has no data in it, so it can key a counter. */
export interface RefusedEvent {
  readonly seq: bigint;
  readonly refused: string;
}

/** A piece that many lines have. */
export class SharedText {
  readonly text: string;
  #bytes: Buffer | undefined;

  constructor(text: string) {
    this.text = text;
  }

  get length(): number {
    return this.text.length;
  }

  /** UTF-8. */
  get bytes(): Buffer {
    this.#bytes ??= Buffer.from(this.text);
    return this.#bytes;
  }
}

interface ActorRows {
  readonly process: Process | null;
  readonly workload: Workload | null;
  /** Columns of ACTOR; then the same and those of IMAGE. */
  actorText: SharedText | null;
  wholeText: SharedText | null;
}

interface BatchFrame {
  readonly node: NodeFacts;
  readonly run: string;
  readonly ingestTime: string | null;
  readonly wallOffsetNs: bigint;
  readonly originText: SharedText;
  readonly communityIdSeed: number | null;
}

class BatchEvent implements EventRow {
  readonly kind: string;
  readonly seq: bigint;
  readonly timeNs: bigint;
  readonly #frame: BatchFrame;
  readonly #shape: Shape;
  readonly #event: Event;
  readonly #actor: ActorRows;
  readonly #source: never;

  constructor(
    frame: BatchFrame,
    known: Shape,
    event: Event,
    body: object,
    actor: ActorRows,
    seq: bigint,
    timeNs: bigint,
  ) {
    this.kind = known.kind;
    this.seq = seq;
    this.timeNs = timeNs;
    this.#frame = frame;
    this.#shape = known;
    this.#event = event;
    this.#actor = actor;
    this.#source = (known.own ? { body, node: frame.node, wallOffsetNs: frame.wallOffsetNs } : body) as never;
  }

  #head() {
    return { timeNs: this.timeNs, time: rfc3339(this.timeNs), kind: this.kind, seq: this.seq, run: this.#frame.run };
  }

  #flow(): Flow {
    return { socket: this.#source, seed: this.#frame.communityIdSeed };
  }

  get parts(): RowParts {
    const actor = this.#actor;
    const capture = { event: this.#event, process: actor.process };
    return { shape: this.#shape, origin: this.#frame, actor, capture, body: this.#source, flow: this.#flow() };
  }

  row(): Row {
    const row: Record<string, Cell> = {};
    const into: Reader = (name, cell) => {
      row[name] = cell;
    };
    readAll(HEAD, this.#head(), into);
    readAll(ORIGIN, this.#frame, into);
    if (!this.#shape.own) {
      readAll(ACTOR, this.#actor, into);
      if (this.kind !== 'process.exec') readAll(IMAGE, this.#actor, into);
      readAll(CAPTURE, { event: this.#event, process: this.#actor.process }, into);
    }
    readAll(this.#shape.columns, this.#source, into);
    if (this.#shape.flow) readAll(FLOW, this.#flow(), into);
    return row;
  }

  line(): string {
    let json = '';
    for (const piece of this.pieces()) json += typeof piece === 'string' ? piece : piece.text;
    return json;
  }

  pieces(): readonly (string | SharedText)[] {
    const head = `{${fragment(HEAD, this.#head()).slice(1)}`;
    let own = fragment(this.#shape.columns, this.#source);
    if (this.#shape.flow) own += fragment(FLOW, this.#flow());
    if (this.#shape.own) return [head, this.#frame.originText, `${own}}`];
    const capture = fragment(CAPTURE, { event: this.#event, process: this.#actor.process });
    return [head, this.#frame.originText, this.#actorText(), `${capture}${own}}`];
  }

  #actorText(): SharedText {
    const actor = this.#actor;
    if (this.kind === 'process.exec') {
      actor.actorText ??= new SharedText(fragment(ACTOR, actor));
      return actor.actorText;
    }
    actor.wholeText ??= new SharedText(fragment(ACTOR, actor) + fragment(IMAGE, actor));
    return actor.wholeText;
  }
}

function bodyOf(event: Event): [Shape, object] | null {
  for (const known of SHAPES) {
    const body = known.body(event);
    if (body !== null) return [known, body];
  }
  return null;
}

function addressesOf(body: object): boolean {
  const { local, remote, asked } = body as Partial<Record<'local' | 'remote' | 'asked', SocketAddress | null>>;
  return isAddress(local ?? null) && isAddress(remote ?? null) && isAddress(asked ?? null);
}

const NOBODY: ActorRows = { process: null, workload: null, actorText: null, wholeText: null };

function actorsOf(batch: Batch): (ActorRows | string)[] {
  return batch.processes.map((process) => {
    if (process.workload > batch.workloads.length) return 'workload index out of range';
    return { process, workload: batch.workloads[process.workload - 1] ?? null, actorText: null, wholeText: null };
  });
}

/**
 * A decoded batch as rows, in its order. Never throws on what a decoded batch may hold: an event that is malformed
 * comes out as a RefusedEvent.
 * @param node facts of the batch's run: its own copy, or those of the stream's Hello
 * @param ingestTimeMs arrival at the collector, ms since 1970; null where there is no collector (the tail)
 * @param communityIdSeed of the Community IDs of connections, 0..65535; null: none (the tail)
 */
export function* rowsOf(
  batch: Batch,
  node: NodeFacts,
  ingestTimeMs: number | null = null,
  communityIdSeed: number | null = null,
): Generator<EventRow | RefusedEvent, void, undefined> {
  const run = Buffer.from(batch.runId).toString('hex');
  const origin = {
    node,
    run,
    ingestTime: ingestTimeMs === null ? null : rfc3339(BigInt(Math.trunc(ingestTimeMs)) * 1_000_000n),
  };
  const frame = {
    ...origin,
    wallOffsetNs: batch.wallOffsetNs,
    originText: new SharedText(fragment(ORIGIN, origin)),
    communityIdSeed,
  };
  const actors = actorsOf(batch);
  let timeNs = batch.baseTimeNs + batch.wallOffsetNs;
  let seq = batch.firstSeq - 1n;
  for (const event of batch.events) {
    seq += 1n;
    timeNs += event.timeDeltaNs;
    const found = bodyOf(event);
    const actor = event.process === 0 ? NOBODY : actors[event.process - 1];
    if (found === null) yield { seq, refused: 'no body that this reader knows' };
    else if (actor === undefined) yield { seq, refused: 'process index out of range' };
    else if (typeof actor === 'string') yield { seq, refused: actor };
    else if (!isWritable(timeNs)) yield { seq, refused: 'time out of range' };
    else if (found[0].addresses && !addressesOf(found[1])) yield { seq, refused: 'address of neither 4 nor 16 bytes' };
    else yield new BatchEvent(frame, found[0], event, found[1], actor, seq, timeNs);
  }
}
