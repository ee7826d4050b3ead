import type { Logger } from 'pino';

const WINDOW_MS = 60_000;
/** Lines of one reason within a window. */
const LINES_MAX = 10;

/** Warnings about peers: a few of each reason a minute, for thousands of agents may meet the same fault at once. */
export class Complaints {
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #said = new Map<string, { since: number; lines: number; unsaid: number }>();

  constructor(log: Logger, now: () => number = Date.now) {
    this.#log = log;
    this.#now = now;
  }

  /** `reason`: of a fixed set. */
  warn(reason: string, fields: object, message: string): void {
    const now = this.#now();
    let said = this.#said.get(reason);
    if (said === undefined || now - said.since >= WINDOW_MS) {
      const { unsaid } = said ?? { unsaid: 0 };
      said = { since: now, lines: 0, unsaid: 0 };
      this.#said.set(reason, said);
      if (unsaid > 0) this.#log.warn({ counted: reason, times: unsaid }, 'said no more often');
    }
    said.lines++;
    if (said.lines <= LINES_MAX) this.#log.warn({ ...fields, counted: reason }, message);
    else said.unsaid++;
  }
}
