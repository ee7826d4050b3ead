/**
 * Keeps back the records of containers whose pod is not known yet, so that they leave with their names: in order per
 * container, bounded in bytes and in time. What is not known in time leaves as it is; nothing is lost here.
 */
import type { Workload } from '../kubernetes/workload.ts';

/** Takes one record, in order, with the workload that it is to be sent under. */
export type RecordSink = (buf: Uint8Array, offset: number, length: number, workload: Workload) => void;

export interface HoldOptions {
  /** Longest time that a record is kept, ms. */
  readonly deadlineMs: number;
  /** Memory for records of all containers. */
  readonly capacityBytes: number;
  /** Whether waiting can still help: the metadata source was not asked or has not answered yet. */
  readonly worthWaiting: (workload: Workload) => boolean;
  /** The newest workload of a cgroup (two halves of its id). */
  readonly lookup: (idLow: number, idHigh: number) => Workload;
  readonly release: RecordSink;
}

/** No container's events are kept longer, whatever is asked for. */
export const HOLD_DEADLINE_CAP_MS = 5000;
/** Longer between two ticks, the agent did not run: an answer that came meanwhile is read only after the tick. */
const STALL_MS = 100;

const CHUNK_BYTES = 16384;
/** Per record in a chunk: length, the two halves of the cgroup id, and 4 bytes that keep records 8-byte aligned. */
const HEADER_BYTES = 16;
const MASK_32 = 0xffffffffn;

interface Chunk {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  used: number;
}

interface Queue {
  readonly key: string;
  /** The cgroup whose workload decides. */
  readonly idLow: number;
  readonly idHigh: number;
  readonly since: number;
  /** Time that the agent had stood still by then, ms. */
  readonly stalledBefore: number;
  readonly chunks: Chunk[];
  records: number;
}

/** What the hold did so far, in records. */
export interface HoldCounts {
  held: number;
  /** Left because the workload had become known. */
  released: number;
  /** Left as pending: the deadline came. */
  expired: number;
  /** Left as pending: the memory was needed. */
  overflowed: number;
}

/** One order for everything that belongs together: the container, else its pod, else the cgroup alone. */
function keyOf(workload: Workload): string {
  return workload.containerId || workload.podUid || `cgroup ${workload.cgroupId}`;
}

export class Hold {
  readonly counts: HoldCounts = { held: 0, released: 0, expired: 0, overflowed: 0 };
  readonly #options: HoldOptions;
  readonly #deadlineMs: number;
  /** In the order of `since`: a Map keeps the order of insertion. */
  readonly #queues = new Map<string, Queue>();
  /** Had their time: these states of a workload are not waited for again. */
  readonly #given = new WeakSet<Workload>();
  #bytes = 0;
  #lastTick: number | undefined;
  #stalledMs = 0;

  constructor(options: HoldOptions) {
    this.#options = options;
    this.#deadlineMs = Math.min(options.deadlineMs, HOLD_DEADLINE_CAP_MS);
  }

  get heldBytes(): number {
    return this.#bytes;
  }

  get heldRecords(): number {
    let sum = 0;
    for (const queue of this.#queues.values()) sum += queue.records;
    return sum;
  }

  /**
   * Sends the record on, or keeps a copy of it. `nowMs` is any monotonic clock.
   * A workload that is complete and has nothing waiting passes without an allocation.
   */
  pass(buf: Uint8Array, offset: number, length: number, workload: Workload, nowMs: number): void {
    // Nothing of the host ever waits.
    if (workload.state === 'host') {
      this.#options.release(buf, offset, length, workload);
      return;
    }
    const wait = workload.state !== 'complete' && !this.#given.has(workload) && this.#options.worthWaiting(workload);
    if (this.#queues.size > 0 || wait) {
      const key = keyOf(workload);
      let queue = this.#queues.get(key);
      if (queue !== undefined && !wait) {
        // Known since: what waits goes first.
        this.#leave(queue, 'released');
        queue = undefined;
      }
      if (wait) {
        if (queue === undefined) queue = this.#open(key, workload, nowMs);
        if (this.#keep(queue, buf, offset, length, workload)) return;
      }
    }
    this.#options.release(buf, offset, length, workload);
  }

  /** Releases what became known and what is over time. Cheap when nothing is held; called at every drain. */
  tick(nowMs: number): void {
    this.#stalledMs += Math.max(0, nowMs - (this.#lastTick ?? nowMs) - STALL_MS);
    this.#lastTick = nowMs;
    if (this.#queues.size === 0) return;
    for (const queue of this.#queues.values()) {
      const workload = this.#options.lookup(queue.idLow, queue.idHigh);
      if (workload.state === 'complete' || workload.state === 'host' || !this.#options.worthWaiting(workload)) {
        this.#leave(queue, 'released');
      } else if (this.#isOver(queue, nowMs)) {
        this.#leave(queue, 'expired');
      }
    }
  }

  /** Releases everything, oldest container first: at stop. */
  releaseAll(): void {
    for (const queue of this.#queues.values()) this.#leave(queue, 'expired');
  }

  /** Time in which nobody could answer does not count, but for the cap. */
  #isOver({ since, stalledBefore }: Queue, nowMs: number): boolean {
    const keptMs = nowMs - since;
    return keptMs >= HOLD_DEADLINE_CAP_MS || keptMs - (this.#stalledMs - stalledBefore) >= this.#deadlineMs;
  }

  #open(key: string, workload: Workload, nowMs: number): Queue {
    const queue: Queue = {
      key,
      idLow: Number(workload.cgroupId & MASK_32),
      idHigh: Number(workload.cgroupId >> 32n),
      since: nowMs,
      stalledBefore: this.#stalledMs,
      chunks: [],
      records: 0,
    };
    this.#queues.set(key, queue);
    return queue;
  }

  /** False: the memory ran out on this very queue, and the record goes on at once, behind what was released. */
  #keep(queue: Queue, buf: Uint8Array, offset: number, length: number, workload: Workload): boolean {
    const need = HEADER_BYTES + ((length + 7) & ~7);
    let chunk = queue.chunks.at(-1);
    if (chunk === undefined || chunk.bytes.length - chunk.used < need) {
      const size = Math.max(CHUNK_BYTES, need);
      while (this.#bytes + size > this.#options.capacityBytes) {
        const oldest = this.#queues.values().next().value;
        if (oldest === undefined) return false;
        this.#leave(oldest, 'overflowed');
        if (oldest === queue) return false;
      }
      const bytes = new Uint8Array(size);
      chunk = { bytes, view: new DataView(bytes.buffer), used: 0 };
      queue.chunks.push(chunk);
      this.#bytes += size;
    }
    chunk.view.setUint32(chunk.used, length, true);
    chunk.view.setUint32(chunk.used + 4, Number(workload.cgroupId & MASK_32), true);
    chunk.view.setUint32(chunk.used + 8, Number(workload.cgroupId >> 32n), true);
    chunk.bytes.set(buf.subarray(offset, offset + length), chunk.used + HEADER_BYTES);
    chunk.used += need;
    queue.records++;
    this.counts.held++;
    return true;
  }

  #leave(queue: Queue, why: 'released' | 'expired' | 'overflowed'): void {
    this.#queues.delete(queue.key);
    this.counts[why] += queue.records;
    if (why !== 'released') this.#given.add(this.#options.lookup(queue.idLow, queue.idHigh));
    for (const chunk of queue.chunks) {
      this.#bytes -= chunk.bytes.length;
      for (let at = 0; at < chunk.used; ) {
        const length = chunk.view.getUint32(at, true);
        const workload = this.#options.lookup(chunk.view.getUint32(at + 4, true), chunk.view.getUint32(at + 8, true));
        if (why !== 'released') this.#given.add(workload);
        this.#options.release(chunk.bytes, at + HEADER_BYTES, length, workload);
        at += HEADER_BYTES + ((length + 7) & ~7);
      }
    }
  }
}
