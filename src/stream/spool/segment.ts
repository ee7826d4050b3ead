// One segment as the spool keeps account of it.

import { addKinds } from '../delivery-losses.ts';
import { KIND_NAMES, KIND_SLOTS } from '../event-kinds.ts';
import type { FrameHead, SegmentHead } from './format.ts';

const NUMBER_DIGITS = 10;
const NAME = /^(\d{10})-([0-9a-f]{32})\.seg$/;

/** Segments of all runs are numbered in the order of their making. */
export function segmentName(number: number, run: string): string {
  return `${String(number).padStart(NUMBER_DIGITS, '0')}-${run}.seg`;
}

/** Undefined: not a segment's name. */
export function parseSegmentName(name: string): { number: number; run: string } | undefined {
  const match = NAME.exec(name);
  return match === null ? undefined : { number: Number(match[1]), run: match[2] ?? '' };
}

/** Kinds by this program's numbers, as names in a frame's order. */
export const KINDS_WRITTEN: readonly string[] = Array.from(
  { length: KIND_SLOTS },
  (_, kind) => KIND_NAMES.get(kind) ?? '',
);

const SLOT_OF: ReadonlyMap<string, number> = new Map([...KIND_NAMES].map(([kind, name]) => [name, kind]));

export type FrameCounts = Pick<FrameHead, 'firstSeq' | 'events' | 'sent'>;

export function subtractKinds(sum: Float64Array, kinds: ArrayLike<number>): void {
  for (let i = 0; i < kinds.length; i++) sum[i] = (sum[i] as number) - (kinds[i] as number);
}

export class Segment {
  readonly number: number;
  readonly path: string;
  /** In hex. */
  readonly run: string;
  /** Of the run that is on. */
  readonly own: boolean;
  readonly head: SegmentHead;
  /** Field `node` of a Batch, which batches of another run carry; empty for those of this run. */
  readonly nodeField: Buffer;
  /** Intact bytes: where the next frame would be written, and where reading ends. */
  size: number;
  /** Nothing is added any more. */
  sealed: boolean;
  /** Where the next frame to be sent begins. */
  readAt: number;
  /** Events by kind that are not read yet: those that were never on a stream, and those that were. */
  readonly unread = new Float64Array(KIND_SLOTS);
  readonly unreadSent = new Float64Array(KIND_SLOTS);
  /** Sequences of what is not read. */
  firstSeq = 0;
  lastSeq = 0;
  /** Bytes of its file, of what is no frame, too. */
  fileBytes: number;
  /** Frames that were read and are not settled. */
  outstanding = 0;
  /** Deleted: what was not read of it is lost. */
  gone = false;
  private readonly slots: readonly number[];

  constructor(number: number, path: string, run: string, head: SegmentHead, own: boolean) {
    this.number = number;
    this.path = path;
    this.run = run;
    this.own = own;
    this.head = head;
    this.size = head.length;
    this.fileBytes = head.length;
    this.readAt = head.length;
    this.sealed = !own;
    this.nodeField = own ? Buffer.alloc(0) : Buffer.from(head.facts.node, 'base64');
    this.slots = head.facts.kinds.map((name) => SLOT_OF.get(name) ?? 0);
  }

  /** A frame's counts by this program's numbers of kinds. */
  kindsOf(head: FrameHead): Uint32Array {
    const kinds = new Uint32Array(KIND_SLOTS);
    for (const [i, count] of head.kinds.entries()) {
      const slot = this.slots[i] ?? 0;
      kinds[slot] = (kinds[slot] as number) + count;
    }
    return kinds;
  }

  /** A frame is there that will be read. */
  add({ firstSeq, events, sent }: FrameCounts, kinds: Uint32Array): void {
    addKinds(sent ? this.unreadSent : this.unread, kinds);
    this.firstSeq = this.firstSeq === 0 ? firstSeq : Math.min(this.firstSeq, firstSeq);
    this.lastSeq = Math.max(this.lastSeq, firstSeq + events - 1);
  }

  /** A frame was read. */
  take({ firstSeq, events, sent }: FrameCounts, kinds: Uint32Array): void {
    subtractKinds(sent ? this.unreadSent : this.unread, kinds);
    this.firstSeq = Math.min(firstSeq + events, this.lastSeq);
  }

  /** A collector may have what is not read: it was on a stream of a run that is over. */
  suspectSent(): void {
    addKinds(this.unreadSent, this.unread);
    this.unread.fill(0);
  }

  get hasUnread(): boolean {
    return !this.gone && this.readAt < this.size;
  }

  /** Nothing in it is of use any more. */
  get done(): boolean {
    return this.sealed && !this.hasUnread && this.outstanding === 0;
  }
}
