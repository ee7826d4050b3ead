/** What sums of fractions may be off by. */
const ROUNDING = 1e-6;

/** A token bucket over an injected clock: `perSecond` sustained, `burst` at once. A rate of 0 means no limit. */
export class TokenBucket {
  readonly #perSecond: number;
  readonly #burst: number;
  #tokens: number;
  #atMs: number;

  constructor(perSecond: number, burst: number, nowMs: number) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#tokens = burst;
    this.#atMs = nowMs;
  }

  /** Takes `amount` tokens if there are as many; false: none was taken. */
  take(amount: number, nowMs: number): boolean {
    if (!this.covers(amount, nowMs)) return false;
    if (this.#perSecond !== 0) this.#tokens -= amount;
    return true;
  }

  /** Whether take would succeed now. */
  covers(amount: number, nowMs: number): boolean {
    if (this.#perSecond === 0) return true;
    if (nowMs > this.#atMs) {
      this.#tokens = Math.min(this.#burst, this.#tokens + ((nowMs - this.#atMs) / 1000) * this.#perSecond);
      this.#atMs = nowMs;
    }
    return this.#tokens >= amount - ROUNDING;
  }
}

/** Sources with a share of their own; beyond, the one that was quiet for longest begins anew. */
const SHARES_MAX = 1024;

/**
 * A budget that one noisy source cannot use up: a quarter of it is each source's own, and who is beyond that may take
 * only while half a burst is left for the others. A source that is alone gets all of it. A rate of 0 means no limit.
 */
export class FairBudget {
  readonly #perSecond: number;
  readonly #shareBurst: number;
  readonly #reserve: number;
  readonly #all: TokenBucket;
  readonly #shares = new Map<string, TokenBucket>();

  /** `burst`: what one source may take at once; `shareBurst`: of its own share, at least one of the largest amounts. */
  constructor(perSecond: number, burst: number, shareBurst: number, nowMs: number) {
    this.#perSecond = perSecond;
    this.#shareBurst = Math.max(burst / 4, shareBurst);
    this.#reserve = burst / 2;
    this.#all = new TokenBucket(perSecond, burst + this.#reserve, nowMs);
  }

  /** Takes `amount` for `source`; false: none was taken. */
  take(source: string, amount: number, nowMs: number): boolean {
    if (this.#perSecond === 0) return true;
    if (!this.#all.covers(amount, nowMs)) return false;
    if (!this.#share(source, nowMs).take(amount, nowMs) && !this.#all.covers(amount + this.#reserve, nowMs))
      return false;
    return this.#all.take(amount, nowMs);
  }

  #share(source: string, nowMs: number): TokenBucket {
    let share = this.#shares.get(source);
    if (share !== undefined) {
      this.#shares.delete(source);
    } else {
      share = new TokenBucket(this.#perSecond / 4, this.#shareBurst, nowMs);
      if (this.#shares.size >= SHARES_MAX) {
        const oldest = this.#shares.keys().next().value;
        if (oldest !== undefined) this.#shares.delete(oldest);
      }
    }
    this.#shares.set(source, share);
    return share;
  }
}
