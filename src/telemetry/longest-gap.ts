const SLOT_MS = 10_000;
const SLOTS = 6;

/** The longest time between two ticks within the last minute (to 10 s). */
export class LongestGap {
  readonly #slots = new Float64Array(SLOTS);
  #slot = -1;
  #lastMs = Number.NaN;

  /** `nowMs`: a monotonic clock. */
  tick(nowMs: number): void {
    this.#turn(nowMs);
    const gap = nowMs - this.#lastMs;
    const at = this.#slot % SLOTS;
    if (gap > (this.#slots[at] ?? 0)) this.#slots[at] = gap;
    this.#lastMs = nowMs;
  }

  /** In ms; what has passed since the last tick counts too. 0 before the first. */
  longest(nowMs: number): number {
    if (Number.isNaN(this.#lastMs)) return 0;
    this.#turn(nowMs);
    return Math.max(nowMs - this.#lastMs, ...this.#slots);
  }

  #turn(nowMs: number): void {
    const slot = Math.floor(nowMs / SLOT_MS);
    if (slot === this.#slot) return;
    for (let n = Math.max(this.#slot + 1, slot - SLOTS + 1); n <= slot; n++) this.#slots[n % SLOTS] = 0;
    this.#slot = slot;
  }
}
