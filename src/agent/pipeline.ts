/**
 * What happens to a record between the ring and a batch: control records feed the workload table, execs the process
 * table, and events are named, perhaps held, encoded and copied to the tail. Nothing here waits or allocates per event.
 */
import {
  CGROUP,
  HEAD,
  KT_CGROUP_MKDIR,
  KT_CGROUP_RMDIR,
  KT_PROCESS_EXEC,
  KT_PROCESS_EXIT,
  KT_PROCESS_IMAGE,
} from '../kernel/layout.gen.ts';
import type { Workload } from '../kubernetes/workload.ts';
import type { EncodedBatch } from '../stream/batch.ts';
import { BATCH_FULL, type BatchEncoder, type OwnEvent } from '../stream/encoder.ts';
import type { Tail } from '../tail/tail.ts';
import { NamespaceCounts } from '../telemetry/namespaces.ts';
import type { ExecRewriter } from './exec-rewriter.ts';
import type { Hold } from './hold.ts';
import type { Policies } from './policies.ts';
import { Shedding } from './shedding.ts';

/** Records of kinds from here on are for the agent alone. */
const CONTROL_KINDS = 64;

export interface CgroupTracker {
  get(idLow: number, idHigh: number): Workload;
  mkdir(id: bigint, parentId: bigint, path: string, truncated: boolean): unknown;
  rmdir(id: bigint): void;
}

export interface ImageTracker {
  observe(buf: Uint8Array, offset: number): void;
}

export interface PipelineParts {
  readonly workloads: CgroupTracker;
  readonly processes: ImageTracker;
  readonly encoder: BatchEncoder;
  readonly tail: Tail | undefined;
  /** How full the memory for unconfirmed batches is, 0 to 1. */
  readonly queueFill?: () => number;
  /** Takes a finished batch; must not wait. */
  readonly send: (batch: EncodedBatch) => void;
  readonly wallOffsetNs: () => bigint;
  /** Rewrites process.exec records; undefined: they stay as they are. */
  readonly execs?: Pick<ExecRewriter, 'rewrite' | 'buf' | 'view'>;
  /** Judges events that the kernel side let through. */
  readonly policies?: Pick<Policies, 'active' | 'admits' | 'consider' | 'forget'>;
}

/** Longest time that an event waits for its batch to fill. */
export const BATCH_MS = 1000;

export class Pipeline {
  /** Control records. */
  control = 0;
  /** Events handed to the encoder and taken by it, the agent's own not included. */
  encoded = 0;
  /** Control records that do not add up. */
  badControl = 0;
  /** What is not encoded because the collector does not keep up. */
  readonly shedding = new Shedding();
  /** What is encoded, by namespace. */
  readonly namespaces = new NamespaceCounts();

  readonly #parts: PipelineParts;
  #hold: Hold | undefined;
  #viewers: readonly Tail[] = [];
  #batchSince = 0;
  #nowMs = 0;

  constructor(parts: PipelineParts) {
    this.#parts = parts;
  }

  /** The hold releases into this pipeline, so it is made after it. Without one nothing is held. */
  useHold(hold: Hold): void {
    this.#hold = hold;
  }

  /** Events are copied to this tail, too. */
  watch(tail: Tail): void {
    this.#viewers = [...this.#viewers, tail];
  }

  unwatch(tail: Tail): void {
    this.#viewers = this.#viewers.filter((one) => one !== tail);
  }

  /** One record as the drain loop hands it on. */
  record(buf: Uint8Array, view: DataView, offset: number, length: number, kind: number): void {
    const { processes } = this.#parts;
    if (kind >= CONTROL_KINDS) {
      this.#controlRecord(view, buf, offset, length, kind);
      return;
    }
    if (kind === KT_PROCESS_EXEC || kind === KT_PROCESS_EXIT) processes.observe(buf, offset);
    if (kind === KT_PROCESS_EXEC && this.#parts.execs !== undefined) {
      const { execs } = this.#parts;
      const rewritten = execs.rewrite(buf, view, offset, length);
      if (rewritten > 0) {
        this.#named(execs.buf, execs.view, 0, rewritten);
        return;
      }
    }
    this.#named(buf, view, offset, length);
  }

  #named(buf: Uint8Array, view: DataView, offset: number, length: number): void {
    const { workloads } = this.#parts;
    const low = view.getUint32(offset + HEAD.cgroup_id, true);
    const workload = workloads.get(low, view.getUint32(offset + HEAD.cgroup_id + 4, true));
    if (this.#hold === undefined) this.event(buf, offset, length, workload);
    else this.#hold.pass(buf, offset, length, workload, this.#nowMs);
  }

  /** One event whose workload is settled: from the hold, or at once. */
  event(buf: Uint8Array, offset: number, length: number, workload: Workload): void {
    const { encoder, policies } = this.#parts;
    if (policies?.active && !policies.admits(buf, offset, workload)) return;
    const kind = buf[offset + HEAD.kind] ?? 0;
    if (this.shedding.sheds(kind)) {
      // What the stream cannot take, whoever watches here still sees: under sequence 0, which no sent event has.
      this.#show(buf, offset, length, kind, workload, 0);
      return;
    }
    let sequence = encoder.add(buf, offset, workload);
    if (sequence === BATCH_FULL) {
      this.flush();
      sequence = encoder.add(buf, offset, workload);
    }
    // Refused: the encoder counted it.
    if (sequence <= 0) return;
    this.encoded++;
    this.namespaces.count(workload.namespace);
    if (encoder.events === 1) this.#batchSince = this.#nowMs;
    this.#show(buf, offset, length, kind, workload, sequence);
  }

  #show(buf: Uint8Array, offset: number, length: number, kind: number, workload: Workload, sequence: number): void {
    this.#parts.tail?.offer(buf, offset, length, kind, workload, sequence);
    for (const viewer of this.#viewers) viewer.offer(buf, offset, length, kind, workload, sequence);
  }

  /** One of the agent's own events, at `timeNs` of the boot clock. */
  own(event: OwnEvent, timeNs: bigint): void {
    const { encoder, tail } = this.#parts;
    let sequence = encoder.addMessage(event, timeNs);
    if (sequence === BATCH_FULL) {
      this.flush();
      sequence = encoder.addMessage(event, timeNs);
    }
    if (sequence <= 0) return;
    if (encoder.events === 1) this.#batchSince = this.#nowMs;
    tail?.offerMessage(event, timeNs, sequence);
    for (const viewer of this.#viewers) viewer.offerMessage(event, timeNs, sequence);
  }

  /** After every drain: what is over time leaves. `nowMs` is a monotonic clock. */
  tick(nowMs: number): void {
    this.#nowMs = nowMs;
    this.shedding.update(this.#parts.queueFill?.() ?? 0);
    this.#hold?.tick(nowMs);
    if (this.#parts.encoder.events > 0 && nowMs - this.#batchSince >= BATCH_MS) this.flush();
    this.#parts.tail?.tick();
    for (const viewer of this.#viewers) viewer.tick();
  }

  /** Closes the open batch and hands it on. */
  flush(): void {
    const batch = this.#parts.encoder.finish(this.#parts.wallOffsetNs());
    if (batch !== undefined) this.#parts.send(batch);
  }

  /** At the end: nothing stays held or open. */
  finish(): void {
    this.#hold?.releaseAll();
    this.flush();
  }

  #controlRecord(view: DataView, buf: Uint8Array, offset: number, length: number, kind: number): void {
    this.control++;
    if (kind === KT_PROCESS_IMAGE) {
      this.#parts.processes.observe(buf, offset);
      return;
    }
    const body = offset + HEAD.SIZE;
    const pathAt = body + CGROUP.SIZE;
    const pathLength = length >= HEAD.SIZE + CGROUP.SIZE ? view.getUint16(body + CGROUP.path_len, true) : -1;
    if (pathLength < 0 || HEAD.SIZE + CGROUP.SIZE + pathLength !== length) {
      this.badControl++;
      return;
    }
    const id = view.getBigUint64(body + CGROUP.id, true);
    if (kind === KT_CGROUP_MKDIR) {
      const path = Buffer.from(buf.buffer, buf.byteOffset + pathAt, pathLength).toString('utf8');
      const parentId = view.getBigUint64(body + CGROUP.parent_id, true);
      const truncated = view.getUint8(body + CGROUP.truncated) !== 0;
      this.#parts.workloads.mkdir(id, parentId, path, truncated);
      this.#parts.policies?.consider(id);
    } else if (kind === KT_CGROUP_RMDIR) {
      this.#parts.workloads.rmdir(id);
      this.#parts.policies?.forget(id);
    } else {
      this.badControl++;
    }
  }
}
