// Batches on disk while the collector does not take them: append-only segments of this run and of those before it.
// Nothing waits for the disk: one write at a time, and whoever calls goes on. A disk that refuses costs what does not fit
// into memory, until it takes bytes again.

import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { BufferPool } from '../buffer-pool.ts';
import type { StreamLogger } from '../stream-logger.ts';
import { type DiskState, DiskWork } from './disk-work.ts';
import { type FoundSegment, SpoolFolder, type TryLock } from './folder.ts';
import { type FrameContent, frameHeadBytes, type SegmentFacts } from './format.ts';
import type { SpoolLoss } from './losses.ts';
import { type FoundFrame, recoverSegment } from './recovery.ts';
import { KINDS_WRITTEN, Segment, segmentName } from './segment.ts';
import { SegmentWriter } from './segment-writer.ts';
import { Segments } from './segments.ts';
import { readSpace, type Space, type SpaceLimits } from './space.ts';
import { SpoolReader, type StoredBatch } from './spool-reader.ts';

export type FsyncPolicy = 'never' | 'interval' | 'always';

export interface SpoolOptions extends SpaceLimits {
  readonly dir: string;
  readonly tryLock: TryLock;
  /** This run, in hex. */
  readonly run: string;
  /** What batches of it need when a later run sends them; asked for each segment. */
  readonly facts: () => Pick<SegmentFacts, 'node' | 'agentVersion'>;
  /** What a crash of the node may cost; a crash of the agent costs nothing that was written. */
  readonly fsync: FsyncPolicy;
  readonly fsyncMs: number;
  readonly log: StreamLogger;
  readonly lost: (loss: SpoolLoss) => void;
  /** Who is interested in what earlier runs left. */
  readonly earlier?: EarlierRunHooks;
  /** Default 8 MiB. */
  readonly segmentBytes?: number;
}

export interface EarlierRunHooks {
  /**
   * The folder is this run's now, and nothing in it was looked at. Resolves to the segment up to which what earlier runs
   * left may have been on a stream; 0: none. Rejects where the disk refuses.
   */
  prepare(dir: string): Promise<number>;
  /** Each frame that is there. */
  found(frame: FoundFrame): void;
  /** There are no more. */
  recovered(): void;
}

export interface SpoolReading {
  readonly state: DiskState;
  /** Why it takes nothing now; '' : it does. */
  readonly problem: string;
  readonly bytes: number;
  readonly capacityBytes: number;
  readonly segments: number;
  /** Events that wait: of this run, and of earlier ones. */
  readonly events: number;
  readonly otherRunsEvents: number;
  readonly writtenBytes: number;
}

/** Where the next frame of this run will be written: what is stored before is before this. */
export interface SpoolPosition {
  readonly segment: number;
  readonly at: number;
}

const SEGMENT_BYTES = 8 << 20;
/** Others fill the disk, too: how often it is looked at. */
const LOOK_MS = 5_000;

export class Spool {
  /** Resolves when what earlier runs left is known, or cannot be. */
  readonly opened: Promise<void>;
  readonly segments: Segments;
  /** Segments up to this one were read from. */
  readTo = 0;
  /** Something can be read that could not before. */
  onUnread: () => void = () => {};
  private readonly options: SpoolOptions;
  private readonly segmentBytes: number;
  private readonly reader: SpoolReader;
  private readonly disk = new DiskWork();
  private folder: SpoolFolder | undefined;
  private current: { readonly segment: Segment; readonly writer: SegmentWriter } | undefined;
  private nextNumber = 1;
  private capacityBytes = 0;
  private writtenBytes = 0;
  private tidying = false;
  private readonly timers: NodeJS.Timeout[] = [];

  constructor(options: SpoolOptions) {
    this.options = options;
    this.segmentBytes = options.segmentBytes ?? SEGMENT_BYTES;
    this.segments = new Segments(options.run);
    this.reader = new SpoolReader((loss) => this.lose(loss));
    this.opened = this.disk.inOrder(() => this.open()).catch((error: unknown) => this.failed(error));
    this.timers.push(setInterval(() => this.look(), LOOK_MS).unref());
    if (options.fsync === 'interval') {
      this.timers.push(setInterval(() => this.sync(), Math.max(10, options.fsyncMs)).unref());
    }
  }

  /** Whether `append` would be tried now. */
  get accepts(): boolean {
    return this.disk.accepts;
  }

  get read(): SpoolReading {
    const { disk, segments, capacityBytes, writtenBytes } = this;
    return {
      state: disk.state,
      problem: disk.problem,
      bytes: segments.bytes,
      capacityBytes,
      segments: segments.count,
      events: segments.own.reduce((total, count) => total + count, 0),
      otherRunsEvents: segments.others,
      writtenBytes,
    };
  }

  get position(): SpoolPosition {
    const { current } = this;
    if (current === undefined) return { segment: this.nextNumber, at: 0 };
    return { segment: current.segment.number, at: current.segment.size };
  }

  /**
   * Stores all of them, or none: false. Their bytes must not change before it resolves; never rejects. One call at a
   * time. The oldest segments go where the room is needed.
   */
  append(frames: readonly FrameContent[]): Promise<boolean> {
    return this.disk.inOrder(async () => {
      try {
        await this.store(frames);
        this.succeeded();
        return true;
      } catch (error) {
        this.failed(error);
        return false;
      }
    });
  }

  /** The oldest batch that was not read yet; undefined: there is none now. Never rejects. One call at a time. */
  async next(pool: BufferPool): Promise<StoredBatch | undefined> {
    if (this.disk.state === 'closed') return undefined;
    for (;;) {
      const segment = this.segments.firstUnread;
      if (segment === undefined) return undefined;
      try {
        const batch = await this.reader.next(segment, pool);
        this.readTo = Math.max(this.readTo, segment.number);
        if (batch !== undefined) return batch;
        this.tidy();
      } catch (error) {
        this.options.log.warn({ reason: messageOf(error) }, 'the spool cannot be read');
        return undefined;
      }
    }
  }

  /** A batch from `next` is confirmed or refused: it will not be sent again. */
  settle(batch: StoredBatch): void {
    this.segments.settled(batch);
    this.tidy();
  }

  /** A batch from `next` that will not be sent again, and that is in no segment any more. */
  drop({ segment, kinds, firstSeq, events }: StoredBatch, reason: SpoolLoss['reason']): void {
    segment.outstanding--;
    this.lose({ run: segment.run, reason, kinds, firstSeq, lastSeq: firstSeq + events - 1, unaccountable: false });
  }

  /** Lets what was begun end, within `timeoutMs`, and gives the folder back. Segments stay for the next run. */
  async close(timeoutMs: number): Promise<void> {
    for (const timer of this.timers) clearInterval(timer);
    if (this.disk.state === 'closed') return;
    const closing = this.disk
      .inOrder(async () => {
        this.disk.state = 'closed';
        await this.reader.leave();
        await this.removeDone();
        await this.seal(this.options.fsync !== 'never');
        await this.folder?.close();
      })
      .catch((error: unknown) => {
        this.options.log.warn({ reason: messageOf(error) }, 'the spool could not be closed well');
      });
    const timer = new Promise<void>((resolve) => setTimeout(resolve, timeoutMs).unref());
    await Promise.race([closing, timer]);
    this.disk.state = 'closed';
  }

  private async open(): Promise<void> {
    const { options } = this;
    const folder = await SpoolFolder.open(options.dir, options.tryLock);
    let found: FoundSegment[];
    let sentTo: number;
    try {
      sentTo = (await options.earlier?.prepare(options.dir)) ?? 0;
      found = await folder.segments();
    } catch (error) {
      await folder.close();
      throw error;
    }
    this.folder = folder;
    const lastOf = new Map(found.map(({ run, number }) => [run, number]));
    for (const one of found) {
      this.nextNumber = one.number + 1;
      await this.recover(one, lastOf.get(one.run) === one.number, sentTo);
    }
    this.capacityBytes = (await readSpace(options.dir, options)).capacityBytes;
    const { others, bytes } = this.segments;
    if (others > 0) options.log.info({ events: others, bytes }, 'events of an earlier run are in the spool');
    this.succeeded();
    options.earlier?.recovered();
    if (others > 0) this.onUnread();
  }

  /** What cannot be read is left for the next run. */
  private async recover(found: FoundSegment, last: boolean, sentTo: number): Promise<void> {
    const hooks = {
      lost: (loss: SpoolLoss) => this.lose(loss),
      frame: (frame: FoundFrame) => this.options.earlier?.found(frame),
    };
    try {
      const segment = await recoverSegment(found, last, hooks);
      if (segment === undefined) {
        await rm(found.path, { force: true });
        return;
      }
      if (segment.number <= sentTo) segment.suspectSent();
      this.segments.add(segment);
    } catch (error) {
      this.options.log.warn({ file: found.path, reason: messageOf(error) }, 'a segment of the spool cannot be read');
    }
  }

  private async store(frames: readonly FrameContent[]): Promise<void> {
    if (this.folder === undefined) await this.open();
    const headBytes = frameHeadBytes(KINDS_WRITTEN.length);
    const bytes = frames.reduce((total, frame) => total + headBytes + frame.bytes.length, 0);
    if (this.current !== undefined && this.current.segment.size + bytes > this.segmentBytes) await this.seal(false);
    await this.makeRoom(bytes);
    this.current ??= await this.begin();
    const { segment, writer } = this.current;
    const before = writer.size;
    const ends = await writer.append(frames);
    if (this.options.fsync === 'always') await writer.sync();
    for (const [i, frame] of frames.entries()) {
      segment.add(frame, frame.kinds);
      this.segments.stored(segment, frame.kinds);
      segment.size = ends[i] as number;
    }
    this.segments.grow(segment, writer.size - before);
    this.writtenBytes += writer.size - before;
    this.onUnread();
  }

  private async begin(): Promise<{ segment: Segment; writer: SegmentWriter }> {
    const { dir, run, facts } = this.options;
    const number = this.nextNumber++;
    const path = join(dir, segmentName(number, run));
    try {
      const salt = randomBytes(8).toString('hex');
      const writer = await SegmentWriter.create(path, { run, ...facts(), kinds: KINDS_WRITTEN, salt });
      const segment = new Segment(number, path, run, writer.head, true);
      this.segments.add(segment);
      return { segment, writer };
    } catch (error) {
      await rm(path, { force: true }).catch(() => {});
      throw error;
    }
  }

  /** Ends the segment that is written. */
  private async seal(sync: boolean): Promise<void> {
    const { current } = this;
    if (current === undefined) return;
    this.current = undefined;
    current.segment.sealed = true;
    try {
      if (sync || this.options.fsync === 'interval') await current.writer.sync();
    } finally {
      await current.writer.close();
    }
  }

  /** Deletes the oldest segments until `bytes` more fit. Rejects where they cannot. */
  private async makeRoom(bytes: number): Promise<void> {
    let space = await this.space();
    while (this.segments.bytes + bytes > space.capacityBytes || space.shortBytes > 0) {
      const { oldest } = this.segments;
      if (oldest === undefined) throw new Error(noRoom(space, bytes, this.options));
      await this.evict(oldest);
      space = await this.space();
    }
  }

  private async space(): Promise<Space> {
    const space = await readSpace(this.options.dir, this.options);
    this.capacityBytes = space.capacityBytes;
    return space;
  }

  private async evict(segment: Segment): Promise<void> {
    if (this.current?.segment === segment) await this.seal(false);
    await this.remove(segment);
    const { run, firstSeq, lastSeq, unread, unreadSent } = segment;
    for (const [reason, kinds] of [
      ['evicted', unread],
      ['evicted_unconfirmed', unreadSent],
    ] as const) {
      if (kinds.some((count) => count > 0)) this.lose({ run, reason, kinds, firstSeq, lastSeq, unaccountable: false });
    }
  }

  /** Deletes its file; what was read of it stays valid. */
  private async remove(segment: Segment): Promise<void> {
    segment.gone = true;
    this.segments.remove(segment);
    await this.reader.leave(segment);
    await rm(segment.path, { force: true });
  }

  private lose(loss: SpoolLoss): void {
    // Damage that was found at the start was never among what is stored.
    if (!loss.unaccountable) this.segments.dropped(loss.run, loss.kinds);
    this.options.lost(loss);
  }

  /** Deletes what is of no use any more, soon. */
  private tidy(): void {
    if (this.tidying || ![...this.segments].some((segment) => segment.done || this.isIdle(segment))) return;
    this.tidying = true;
    void this.disk
      .inOrder(() => {
        this.tidying = false;
        return this.removeDone();
      })
      .catch((error: unknown) => this.failed(error));
  }

  private async removeDone(): Promise<void> {
    for (const segment of [...this.segments]) {
      if (this.isIdle(segment)) await this.seal(false);
      if (segment.done) await this.remove(segment);
    }
  }

  /** It is being written, and all that is in it is settled. */
  private isIdle(segment: Segment): boolean {
    const used = segment.size > segment.head.length;
    return this.current?.segment === segment && used && !segment.hasUnread && segment.outstanding === 0;
  }

  private look(): void {
    if (!this.accepts || (this.disk.state === 'ready' && this.segments.count === 0)) return;
    void this.disk
      .inOrder(async () => {
        if (this.folder === undefined) await this.open();
        await this.removeDone();
        if (this.disk.state !== 'failing') return await this.makeRoom(0);
        // Nobody may have anything to store for long: whether the disk takes bytes again is tried with the next segment's head.
        await this.store([]);
        this.succeeded();
      })
      .catch((error: unknown) => this.failed(error));
  }

  private sync(): void {
    const writer = this.current?.writer;
    if (writer === undefined || !writer.unsynced || !this.accepts) return;
    void this.disk
      .inOrder(async () => {
        if (this.current?.writer === writer) await writer.sync();
      })
      .catch((error: unknown) => this.failed(error));
  }

  private succeeded(): void {
    if (this.disk.succeeded()) this.options.log.info({ dir: this.options.dir }, 'the spool takes events again');
  }

  private failed(error: unknown): void {
    const { current, disk, options } = this;
    this.current = undefined;
    if (current !== undefined) {
      current.segment.sealed = true;
      void current.writer.close().catch(() => {});
    }
    if (disk.state === 'closed') return;
    const { dir } = options;
    const reason = messageOf(error);
    disk.failed(reason);
    options.log.warn({ dir, reason }, 'the spool takes no events: those that memory cannot hold are lost');
  }
}

function noRoom({ shortBytes, freePercent, capacityBytes }: Space, bytes: number, limits: SpaceLimits): string {
  if (shortBytes > 0) {
    return `${freePercent.toFixed(1)} % of the disk are free, and ${limits.minFreePercent} % have to stay free`;
  }
  return `${bytes} bytes do not fit into the spool's ${capacityBytes}`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
