/** Between two looks at sockets, timers and the disk's answers. */
const SLICE_MS = 5;

/**
 * Gives all streams their turn at the one thread: batch by batch, in the order in which they came, and a slice at a time.
 * Thousands of streams may have sent before the thread comes to look; without it, what they sent would all be taken before
 * the next commit, and no acknowledgement would go out meanwhile.
 */
export class Turns {
  #waiting: (() => Promise<void>)[] = [];
  #running = false;

  /** Streams that wait for their turn. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Does the work when it is its turn; resolves and rejects as the work does. What it awaits, all others await. */
  take<Result>(work: () => Promise<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#waiting.push(() => work().then(resolve, reject));
      if (!this.#running) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#running = true;
    let since = performance.now();
    while (this.#waiting.length > 0) {
      // A round of those who wait now: an array from which the first is taken again and again is slow when it is long.
      const round = this.#waiting;
      this.#waiting = [];
      for (const turn of round) {
        await turn();
        if (performance.now() - since < SLICE_MS) continue;
        await new Promise((resolve) => setImmediate(resolve));
        since = performance.now();
      }
    }
    this.#running = false;
  }
}
