/** Jittered exponential delays: agents that lost their collector together must not come back together. */
export class Backoff {
  private attempt = 0;
  private readonly minMs: number;
  private readonly maxMs: number;
  private readonly random: () => number;

  constructor(minMs: number, maxMs: number, random: () => number = Math.random) {
    this.minMs = minMs;
    this.maxMs = maxMs;
    this.random = random;
  }

  /** The next delay, ms: between half and all of min * 2^n for the n-th failure, at most max; never below min. */
  next(): number {
    this.attempt++;
    const ceiling = Math.min(this.maxMs, this.minMs * 2 ** Math.min(this.attempt, 30));
    return Math.round(Math.max(this.minMs, ceiling * (0.5 + this.random() / 2)));
  }

  /** Something worked: begin anew. */
  reset(): void {
    this.attempt = 0;
  }
}
