// Whose turn it is on the stream, where the live lane and the backlog both have something to send.

export type Lane = 'live' | 'backlog';

/** What one lane may be ahead of its share, bytes: a lane that was empty for long does not get all of it back at once. */
const AHEAD_BYTES = 1 << 20;

export class Turns {
  private readonly share: number;
  /** Bytes that the backlog is ahead of its share. */
  private ahead = 0;

  /** @param share of the bytes for the backlog, 0 to 1 */
  constructor(share: number) {
    this.share = share;
  }

  /** The lane to send from, by the length of what each has next; undefined: nothing. */
  next(live: number | undefined, backlog: number | undefined): Lane | undefined {
    if (live === undefined) return backlog === undefined ? undefined : 'backlog';
    if (backlog === undefined) return 'live';
    const lane: Lane = this.ahead < 0 || (this.ahead === 0 && this.share > 0) ? 'backlog' : 'live';
    this.ahead += lane === 'backlog' ? backlog * (1 - this.share) : -live * this.share;
    this.ahead = Math.max(-AHEAD_BYTES, Math.min(AHEAD_BYTES, this.ahead));
    return lane;
  }
}
