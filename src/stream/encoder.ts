// Kernel records -> bytes of a kerntap.v1.Batch, without one object, string or BigInt per event.
// Repeated fields keep their order wherever they stand, so a workload, then a process, then the event that first names
// them are appended to one buffer.

import { type Event, encodeBatch, type Sparse } from '../../proto/contract.ts';
import { HEAD, KT_PROCESS_IMAGE, KT_RECORD_MAX } from '../kernel/layout.gen.ts';
import type { Workload } from '../kubernetes/workload.ts';
import { type EncodedBatch, FRAME_HEADROOM } from './batch.ts';
import { BufferPool, POOLED_BYTES_MAX } from './buffer-pool.ts';
import { bodyBound, bodyTag, writeBody } from './event-bodies.ts';
import { KIND_LOSS, KIND_POD, KIND_PROBE, KIND_SLOTS } from './event-kinds.ts';
import { PROCESS_BOUND, ProcessDictionary, writeProcess } from './process-dictionary.ts';
import type { ProcessTable } from './processes.ts';
import { REFUSAL_REASONS, REFUSED_KIND, REFUSED_TOO_BIG, RecordWindow } from './record.ts';
import {
  BYTES,
  copyArray,
  FIXED64,
  fieldU32,
  fixed64,
  lengthBytes,
  patchLength,
  tag,
  VARINT,
  varint32,
  varint64,
} from './wire.ts';
import { WORKLOAD_BYTES_MAX, WorkloadDictionary } from './workload-dictionary.ts';

/** `add` and `addMessage`: the record cannot be encoded; counted in `refused`. */
export const REFUSED = -1;
/** `add` and `addMessage`: no room in this batch: `finish` it and call again. Sequences begin at 1. */
export const BATCH_FULL = 0;

/** A batch is full before it exceeds this, frame included; only a single larger event makes a larger one. */
export const BATCH_BYTES = POOLED_BYTES_MAX;
/** The largest kerntap.* message; a collector's receive limit is 4 MiB. */
export const MESSAGE_BYTES_MAX = 256 * 1024;
/** Processes that one batch can name. */
const PROCESSES_MAX = 2048;
/** The fields of Batch that `finish` writes. */
const TRAILER_BYTES = 18 + 11 + 9 + 9;
/** The fields of Event beside its body, with tags and lengths. */
const EVENT_BOUND = 1 + 3 + 11 + 6 + 6 + 3 + 3 + 2 + 6 + 2 + 3;
/** An event is at most thrice its record (an environment of empty strings); then come the dictionaries. */
const CAPACITY = BATCH_BYTES + Math.max(3 * KT_RECORD_MAX, MESSAGE_BYTES_MAX) + WORKLOAD_BYTES_MAX + 2 * 0x10000 + 4096;
const BATCH_LIMIT = BATCH_BYTES - FRAME_HEADROOM - TRAILER_BYTES;

const BATCH_RUN_ID = tag(2, BYTES);
const BATCH_FIRST_SEQ = tag(3, VARINT);
const BATCH_BASE_TIME = tag(4, FIXED64);
const BATCH_WALL_OFFSET = tag(5, FIXED64);
const BATCH_PROCESS = tag(7, BYTES);
const BATCH_EVENT = tag(8, BYTES);

const EVENT_TIME_DELTA = tag(1, VARINT);
const EVENT_PROCESS = tag(2, VARINT);
const EVENT_TID = tag(3, VARINT);
const EVENT_ACTOR = tag(4, VARINT);
const EVENT_TIER = tag(5, VARINT);
const EVENT_EXISTING = tag(6, VARINT);
const EVENT_WEIGHT = tag(7, VARINT);

/** The agent's own events: exactly one of the three. */
export type OwnEvent = Sparse<Pick<Event, 'loss'>> | Sparse<Pick<Event, 'pod'>> | Sparse<Pick<Event, 'probe'>>;

export interface EncoderOptions {
  /** 16 bytes. */
  readonly runId: Uint8Array;
  readonly processes: ProcessTable;
  /** Where finished batches' buffers come from; they go back when the client has them confirmed. */
  readonly pool?: BufferPool;
  /** Sequence of the run's next event; default 1. */
  readonly nextSeq?: number;
}

export class BatchEncoder {
  /** Records and messages that could not be encoded, by REFUSED_*: see `refusals`. */
  readonly refused = new Float64Array(REFUSAL_REASONS.length);
  /** Refused ones by kind of record.h; slot 0: not known. */
  readonly refusedKinds = new Float64Array(KIND_SLOTS);
  /** Events in the open batch. */
  events = 0;
  private readonly runId: Uint8Array;
  private readonly table: ProcessTable;
  private readonly pool: BufferPool;
  private readonly bytes = new Uint8Array(CAPACITY);
  private readonly out = new DataView(this.bytes.buffer);
  private readonly record = new RecordWindow();
  private readonly workloads = new WorkloadDictionary();
  private readonly processes = new ProcessDictionary(PROCESSES_MAX);
  private readonly kinds = new Uint32Array(KIND_SLOTS);
  private at = 0;
  private nextSeq: number;
  private baseLow = 0;
  private baseHigh = 0;
  private lastLow = 0;
  private lastHigh = 0;

  constructor(options: EncoderOptions) {
    if (options.runId.length !== 16) throw new RangeError(`runId has ${options.runId.length} bytes, not 16`);
    this.runId = options.runId;
    this.table = options.processes;
    this.pool = options.pool ?? new BufferPool();
    this.nextSeq = options.nextSeq ?? 1;
  }

  /** Bytes of the open batch. */
  get size(): number {
    return this.at;
  }

  /** Sequence that the next event gets. */
  get sequence(): number {
    return this.nextSeq;
  }

  /**
   * Appends the kernel record at buf[offset..]; returns the event's sequence, BATCH_FULL or REFUSED. Never throws on
   * a record's contents, and leaves the batch as it was unless it returns a sequence.
   */
  add(buf: Uint8Array, offset: number, workload: Workload): number {
    const { record } = this;
    const refusal = record.open(buf, offset);
    if (refusal !== 0) return this.refuse(refusal, record.kind);
    const { kind } = record;
    // Whole, but for the process table alone.
    if (kind === KT_PROCESS_IMAGE) return this.refuse(REFUSED_KIND, kind);
    const bound = bodyBound(record);
    const entry = this.workloads.entry(workload);
    const known = this.workloads.has(entry);
    let need = EVENT_BOUND + bound;
    let process = known ? this.processes.find(record, entry.index) : 0;
    let exe: Uint8Array | undefined;
    if (process === 0) {
      exe = this.executable();
      need += PROCESS_BOUND + (exe === undefined ? 0 : exe.length) + (known ? 0 : entry.field.length);
    }
    if (this.events > 0) {
      if (this.at + need > BATCH_LIMIT) return BATCH_FULL;
      if (process === 0 && this.processes.count === this.processes.capacity) return BATCH_FULL;
    }
    if (this.at + need > CAPACITY) return this.refuse(REFUSED_TOO_BIG, kind);

    // From here nothing can fail: lengths are checked and the room is there.
    if (process === 0) {
      if (!known) {
        this.bytes.set(entry.field, this.at);
        this.at += entry.field.length;
        this.workloads.add(entry);
        this.processes.find(record, entry.index);
      }
      process = this.processes.add(record, entry.index);
      this.writeProcess(entry.index, exe);
    }
    this.writeEvent(kind, bound, process);
    this.kinds[kind] = (this.kinds[kind] as number) + 1;
    return this.nextSeq++;
  }

  /**
   * Appends one of the agent's own events, at `timeNs` of the boot clock; by protobufjs, as they are rare. Returns as
   * `add` does; REFUSED where the message is larger than MESSAGE_BYTES_MAX.
   */
  addMessage(event: OwnEvent, timeNs: bigint): number {
    const low = Number(BigInt.asIntN(32, timeNs));
    const high = Number(BigInt.asIntN(32, timeNs >> 32n));
    const kind = 'loss' in event ? KIND_LOSS : 'pod' in event ? KIND_POD : KIND_PROBE;
    const first = this.events === 0;
    const last = (BigInt(this.lastHigh) << 32n) | BigInt(this.lastLow >>> 0);
    const timeDeltaNs = first ? 0n : BigInt.asIntN(64, timeNs - last);
    const field = encodeBatch({ events: [{ timeDeltaNs, ...event }] });
    if (field.length > MESSAGE_BYTES_MAX) return this.refuse(REFUSED_TOO_BIG, kind);
    if (!first && this.at + field.length > BATCH_LIMIT) return BATCH_FULL;
    this.advanceTime(low, high);
    this.bytes.set(field, this.at);
    this.at += field.length;
    this.events++;
    this.kinds[kind] = (this.kinds[kind] as number) + 1;
    return this.nextSeq++;
  }

  /**
   * Closes the batch and begins the next; undefined where it has no event. `wallOffsetNs`: wall clock minus boot clock,
   * as measured now.
   */
  finish(wallOffsetNs: bigint): EncodedBatch | undefined {
    const { events } = this;
    if (events === 0) return undefined;
    const firstSeq = this.nextSeq - events;
    const length = this.writeTrailer(firstSeq, wallOffsetNs);
    const buffer = this.pool.take(FRAME_HEADROOM + length);
    buffer.set(this.bytes.subarray(0, length), FRAME_HEADROOM);
    const kinds = this.kinds.slice();
    this.reset();
    return { buffer, length, firstSeq, events, kinds };
  }

  /**
   * One record as a batch of its own, with a sequence given elsewhere: for the tail. The bytes are valid until the next
   * call; undefined where the record cannot be encoded. An encoder used so is used for nothing else.
   */
  encodeOne(
    buf: Uint8Array,
    offset: number,
    workload: Workload,
    sequence: number,
    wallOffsetNs: bigint,
  ): Uint8Array | undefined {
    if (this.events !== 0) throw new Error('encodeOne on an encoder with an open batch');
    this.nextSeq = sequence;
    if (this.add(buf, offset, workload) < 0) return undefined;
    const length = this.writeTrailer(sequence, wallOffsetNs);
    this.reset();
    return this.bytes.subarray(0, length);
  }

  private refuse(reason: number, kind: number): number {
    this.refused[reason] = (this.refused[reason] as number) + 1;
    const slot = kind < KIND_SLOTS ? kind : 0;
    this.refusedKinds[slot] = (this.refusedKinds[slot] as number) + 1;
    return REFUSED;
  }

  private reset(): void {
    this.at = 0;
    this.events = 0;
    this.kinds.fill(0);
    this.workloads.clear();
    this.processes.clear();
  }

  private writeTrailer(firstSeq: number, wallOffsetNs: bigint): number {
    const { out } = this;
    out.setUint8(this.at, BATCH_RUN_ID);
    let at = copyArray(out, varint32(out, this.at + 1, 16), this.runId);
    out.setUint8(at, BATCH_FIRST_SEQ);
    at = varint64(out, at + 1, firstSeq | 0, Math.floor(firstSeq / 2 ** 32));
    out.setUint8(at, BATCH_BASE_TIME);
    at = fixed64(out, at + 1, this.baseLow, this.baseHigh);
    out.setUint8(at, BATCH_WALL_OFFSET);
    const low = Number(BigInt.asIntN(32, wallOffsetNs));
    return fixed64(out, at + 1, low, Number(BigInt.asIntN(32, wallOffsetNs >> 32n)));
  }

  private executable(): Uint8Array | undefined {
    const { record } = this;
    return this.table.get(
      record.i32(HEAD.image_tgid),
      record.i32(HEAD.image_start_time),
      record.i32(HEAD.image_start_time + 4),
      record.i32(HEAD.exec_id),
      record.i32(HEAD.exec_id + 4),
    );
  }

  private writeProcess(workload: number, exe: Uint8Array | undefined): void {
    const { out } = this;
    const reserved = lengthBytes(PROCESS_BOUND + (exe === undefined ? 0 : exe.length));
    const lengthAt = this.at + 1;
    out.setUint8(this.at, BATCH_PROCESS);
    const end = writeProcess(out, lengthAt + reserved, this.record, workload, exe);
    patchLength(out, lengthAt, reserved, end - lengthAt - reserved);
    this.at = end;
  }

  private writeEvent(kind: number, bound: number, process: number): void {
    const { out, record } = this;
    const reserved = lengthBytes(EVENT_BOUND + bound);
    const bodyReserved = lengthBytes(bound);
    const lengthAt = this.at + 1;
    out.setUint8(this.at, BATCH_EVENT);
    let at = this.writeTime(lengthAt + reserved);
    at = fieldU32(out, at, EVENT_PROCESS, process);
    const tid = record.i32(HEAD.tid);
    if (tid !== record.i32(HEAD.tgid)) at = fieldU32(out, at, EVENT_TID, tid);
    at = fieldU32(out, at, EVENT_ACTOR, record.u8(HEAD.actor));
    at = fieldU32(out, at, EVENT_TIER, record.u8(HEAD.tier));
    const weight = record.i32(HEAD.weight);
    if (weight === 0) at = fieldU32(out, at, EVENT_EXISTING, 1);
    else if (weight !== 1) at = fieldU32(out, at, EVENT_WEIGHT, weight);
    out.setUint16(at, bodyTag(kind), true);
    const bodyAt = at + 2;
    const end = writeBody(out, bodyAt + bodyReserved, record);
    patchLength(out, bodyAt, bodyReserved, end - bodyAt - bodyReserved);
    patchLength(out, lengthAt, reserved, end - lengthAt - reserved);
    this.at = end;
    this.events++;
  }

  /** The time since the event before as sint64; wraps as the decoder's addition does. */
  private writeTime(at: number): number {
    const low = this.record.i32(HEAD.ktime);
    const high = this.record.i32(HEAD.ktime + 4);
    if (this.events === 0) {
      this.advanceTime(low, high);
      return at;
    }
    const deltaLow = (low - this.lastLow) | 0;
    const borrow = low >>> 0 < this.lastLow >>> 0 ? 1 : 0;
    const deltaHigh = (high - this.lastHigh - borrow) | 0;
    this.lastLow = low;
    this.lastHigh = high;
    if ((deltaLow | deltaHigh) === 0) return at;
    const sign = deltaHigh >> 31;
    this.out.setUint8(at, EVENT_TIME_DELTA);
    return varint64(this.out, at + 1, (deltaLow << 1) ^ sign, ((deltaHigh << 1) | (deltaLow >>> 31)) ^ sign);
  }

  private advanceTime(low: number, high: number): void {
    if (this.events === 0) {
      this.baseLow = low;
      this.baseHigh = high;
    }
    this.lastLow = low;
    this.lastHigh = high;
  }
}
