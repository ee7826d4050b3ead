/** So many seconds of a quota may be spent at once. */
const BURST_SECONDS = 10;

/** A rate that may be overdrawn by what was read already; the debt is waited for. */
export class Quota {
  readonly #perSecond: number;
  #left: number;
  #atMs: number;

  /** 0 a second: no limit. */
  constructor(perSecond: number, nowMs: number) {
    this.#perSecond = perSecond;
    this.#left = perSecond * BURST_SECONDS;
    this.#atMs = nowMs;
  }

  /** Spends; returns how long to wait until nothing is owed, ms. */
  spend(amount: number, nowMs: number): number {
    if (this.#perSecond === 0) return 0;
    this.#refill(nowMs);
    this.#left -= amount;
    return this.#left >= 0 ? 0 : Math.ceil((-this.#left / this.#perSecond) * 1000);
  }

  /** Nothing of it is spent: it can be forgotten. */
  full(nowMs: number): boolean {
    this.#refill(nowMs);
    return this.#left >= this.#perSecond * BURST_SECONDS;
  }

  #refill(nowMs: number): void {
    const earned = (Math.max(0, nowMs - this.#atMs) / 1000) * this.#perSecond;
    this.#left = Math.min(this.#perSecond * BURST_SECONDS, this.#left + earned);
    this.#atMs = nowMs;
  }
}
