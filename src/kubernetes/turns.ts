/** Long work in short turns: between two of them the drain of the rings has its own. */
export class Turns {
  readonly #maxMs: number;
  readonly #now: () => number;
  #since: number;

  /** `maxMs`: longest turn; well below the interval of the drain. */
  constructor(maxMs = 4, now: () => number = () => performance.now()) {
    this.#maxMs = maxMs;
    this.#now = now;
    this.#since = now();
  }

  /** Resolves at once while the turn lasts, else when all others had theirs. */
  async giveWay(): Promise<void> {
    if (this.#now() - this.#since < this.#maxMs) return;
    await new Promise((resolve) => setImmediate(resolve));
    this.#since = this.#now();
  }
}
