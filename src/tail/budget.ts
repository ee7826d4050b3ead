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
    return this.#tokens >= amount;
  }
}
