// The segments that are there, oldest first, and what is in them all.

import { addKinds } from '../delivery-losses.ts';
import { KIND_SLOTS } from '../event-kinds.ts';
import { type Segment, subtractKinds } from './segment.ts';
import type { StoredBatch } from './spool-reader.ts';

export class Segments {
  /** Of all files. */
  bytes = 0;
  /** Events of this run that are stored and not settled, by kind; and of all others. */
  readonly own = new Float64Array(KIND_SLOTS);
  others = 0;
  private readonly list: Segment[] = [];
  private readonly run: string;

  /** `run`: this one, in hex. */
  constructor(run: string) {
    this.run = run;
  }

  get count(): number {
    return this.list.length;
  }

  get oldest(): Segment | undefined {
    return this.list[0];
  }

  /** The one to read from. */
  get firstUnread(): Segment | undefined {
    return this.list.find((segment) => segment.hasUnread);
  }

  [Symbol.iterator](): Iterator<Segment> {
    return this.list.values();
  }

  add(segment: Segment): void {
    this.list.push(segment);
    this.bytes += segment.fileBytes;
    this.stored(segment, segment.unread);
    this.stored(segment, segment.unreadSent);
  }

  grow(segment: Segment, bytes: number): void {
    segment.fileBytes += bytes;
    this.bytes += bytes;
  }

  stored({ run }: Segment, kinds: ArrayLike<number>): void {
    if (run === this.run) addKinds(this.own, kinds);
    else this.others += total(kinds);
  }

  /** A batch that was read is confirmed, refused or lost. */
  settled({ segment, kinds }: StoredBatch): void {
    segment.outstanding--;
    this.dropped(segment.run, kinds);
  }

  /** Events that were stored are not any more. */
  dropped(run: string, kinds: ArrayLike<number>): void {
    if (run === this.run) subtractKinds(this.own, kinds);
    else this.others -= total(kinds);
  }

  remove(segment: Segment): void {
    const at = this.list.indexOf(segment);
    if (at < 0) return;
    this.list.splice(at, 1);
    this.bytes -= segment.fileBytes;
  }
}

function total(kinds: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < kinds.length; i++) sum += kinds[i] as number;
  return sum;
}
