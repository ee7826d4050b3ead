/**
 * Keeps the agent's own CPU below a ceiling: what it costs grows with the events that it takes, so the node's budget is
 * lowered until it fits, and raised again when there is room. What the kernel side then sheds is counted there.
 */

export interface CpuCeilingOptions {
  /** Puts a limit of the node in force, events a second; undefined: only what the settings say. */
  readonly limit: (eventsPerSecond: number | undefined) => void;
  /** Told when a limit begins, ends, or has become half or twice what was told. */
  readonly onChange: (change: { readonly limit: number | undefined; readonly cores: number }) => void;
}

export interface CpuReading {
  /** Seconds since the last reading. */
  readonly elapsed: number;
  /** CPU seconds that the process has used, in all. */
  readonly cpuSeconds: number;
  /** Records taken from the rings, in all. */
  readonly records: number;
}

/** What so many events cost is not what takes an agent over its ceiling; and execs have to fit in, whatever files do. */
export const LIMIT_MIN = 1000;
/** Starting costs CPU that no event is to blame for: seconds. */
export const WARM_UP = 10;
/** Of the newest second in the smoothed use. */
const NEWEST = 0.4;
const FASTEST_CUT = 0.5;
const RAISE = 1.25;
/** Below this share of the ceiling there is room. */
const ROOM = 0.8;

export class CpuCeiling {
  readonly #options: CpuCeilingOptions;
  #ceiling = 0;
  #configured = 0;
  #limit: number | undefined;
  #told: number | undefined;
  #age = 0;
  #cores: number | undefined;
  #last: CpuReading | undefined;

  constructor(options: CpuCeilingOptions) {
    this.#options = options;
  }

  /** The limit in force now; undefined: none. */
  get limit(): number | undefined {
    return this.#limit;
  }

  /** Smoothed use, cores. */
  get cores(): number {
    return this.#cores ?? 0;
  }

  /** `cores` 0: no ceiling. `nodePerSecond`: the budget of the settings, 0: none. */
  configure(cores: number, nodePerSecond: number): void {
    this.#ceiling = cores;
    this.#configured = nodePerSecond;
    if (this.#limit !== undefined && (cores === 0 || (nodePerSecond > 0 && this.#limit >= nodePerSecond))) {
      this.#set(undefined);
    }
  }

  /** One reading, about every second. */
  read(reading: CpuReading): void {
    const last = this.#last;
    this.#last = reading;
    this.#age += reading.elapsed;
    if (last === undefined || reading.elapsed <= 0) return;
    const cores = (reading.cpuSeconds - last.cpuSeconds) / reading.elapsed;
    const rate = (reading.records - last.records) / reading.elapsed;
    this.#cores = this.#cores === undefined ? cores : this.#cores + NEWEST * (cores - this.#cores);
    if (this.#ceiling === 0 || this.#age < WARM_UP) return;
    const use = this.#cores;
    if (use > this.#ceiling) this.#lower(rate, Math.max(FASTEST_CUT, this.#ceiling / use));
    else if (this.#limit !== undefined && use < this.#ceiling * ROOM) this.#raise(rate);
  }

  #lower(rate: number, factor: number): void {
    // A limit far above what comes limits nothing: it has to begin at what comes.
    const from = Math.min(this.#limit ?? Number.POSITIVE_INFINITY, this.#configured || Number.POSITIVE_INFINITY, rate);
    this.#set(Math.max(LIMIT_MIN, Math.round(from * factor)));
  }

  #raise(rate: number): void {
    const next = Math.round((this.#limit ?? 0) * RAISE);
    // Without a budget the limit goes when it has not been reached for long.
    const free = this.#configured > 0 ? next >= this.#configured : next > 4 * rate + 2 * LIMIT_MIN;
    this.#set(free ? undefined : next);
  }

  #set(limit: number | undefined): void {
    if (limit === this.#limit) return;
    this.#limit = limit;
    this.#options.limit(limit);
    const told = this.#told;
    const news = limit === undefined || told === undefined || limit <= told / 2 || limit >= told * 2;
    if (!news || limit === told) return;
    this.#told = limit;
    this.#options.onChange({ limit, cores: Math.round((this.#cores ?? 0) * 1000) / 1000 });
  }
}
