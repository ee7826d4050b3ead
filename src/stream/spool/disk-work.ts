// Work on a disk, one piece at a time and in order, and how it fares: a disk that refuses is left alone for a while, one
// that does not answer is not waited for by anybody else.

import { Backoff } from '../backoff.ts';

export type DiskState = 'opening' | 'ready' | 'failing' | 'closed';

const RETRY_MIN_MS = 1000;
const RETRY_MAX_MS = 30_000;
/** A piece of work that takes longer: the disk is stalled. */
const STALLED_MS = 5000;

export class DiskWork {
  state: DiskState = 'opening';
  private readonly backoff = new Backoff(RETRY_MIN_MS, RETRY_MAX_MS);
  private reason = '';
  private retryAt = 0;
  /** Since when the disk owes an answer; 0: it does not. */
  private busySince = 0;
  private last: Promise<unknown> = Promise.resolve();

  /** Whether more work makes sense now. */
  get accepts(): boolean {
    if (this.busySince !== 0) return false;
    return this.state === 'ready' || (this.state === 'failing' && performance.now() >= this.retryAt);
  }

  /** Why it does not work; '' : it does. */
  get problem(): string {
    if (this.state === 'failing') return this.reason;
    const waitingMs = this.busySince === 0 ? 0 : performance.now() - this.busySince;
    return waitingMs < STALLED_MS ? '' : `the disk has not answered for ${Math.floor(waitingMs / 1000)} s`;
  }

  inOrder<Result>(task: () => Promise<Result>): Promise<Result> {
    const result = this.last.then(async () => {
      this.busySince = performance.now();
      try {
        return await task();
      } finally {
        this.busySince = 0;
      }
    });
    this.last = result.catch(() => {});
    return result;
  }

  /** True: it did not before. */
  succeeded(): boolean {
    const failing = this.state === 'failing';
    if (this.state !== 'closed') this.state = 'ready';
    this.reason = '';
    this.backoff.reset();
    return failing;
  }

  failed(reason: string): void {
    if (this.state === 'closed') return;
    this.state = 'failing';
    this.reason = reason;
    this.retryAt = performance.now() + this.backoff.next();
  }
}
