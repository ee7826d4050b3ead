import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Counters } from './counters.ts';
import type { EventFile } from './event-file.ts';
import { inParallel } from './parallel.ts';

export interface CommitOptions {
  /** How long rows gather before they are made durable together. */
  readonly commitMs: number;
  /** First wait after an error of the disk; doubles up to 5 s. */
  readonly retryMs: number;
}

/** What the owner of the files does around commits; never while one is written. */
export interface CommitHooks {
  /** A commit is done. */
  committed(): Promise<void>;
  /** Descriptors ran out: give back those of files that are not in `waiting`. */
  shed(waiting: ReadonlySet<EventFile>): Promise<void>;
}

const RETRY_MAX_MS = 5_000;
const LOG_EVERY_MS = 30_000;
const STOPPED = 'the collector stopped before the rows could be written';

class Round {
  readonly files = new Set<EventFile>();
  /** Someone waits for it, even if it has no rows. */
  awaited = false;
  readonly done: Promise<void>;
  resolve: () => void = () => {};
  reject: (error: Error) => void = () => {};

  constructor() {
    this.done = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // Whoever waits sees the rejection; nobody need wait.
    this.done.catch(() => {});
  }
}

/**
 * Makes rows durable in rounds: what was gathered in `commitMs` is written and synced file by file, then all who wait
 * for the round go on. An error of the disk is retried for ever, and no round passes it.
 */
export class GroupCommit {
  readonly #options: CommitOptions;
  readonly #counters: Counters;
  readonly #log: Logger;
  readonly #hooks: CommitHooks;
  readonly #stopped = new AbortController();
  #closing = false;
  #round = new Round();
  #gathered = 0;
  #committing = 0;
  #timer: NodeJS.Timeout | null = null;
  #running: Promise<void> | null = null;

  constructor(options: CommitOptions, counters: Counters, log: Logger, hooks: CommitHooks) {
    this.#options = options;
    this.#counters = counters;
    this.#log = log;
    this.#hooks = hooks;
  }

  /** Bytes of rows that are not durable. */
  get waitingBytes(): number {
    return this.#gathered + this.#committing;
  }

  /** `file` got `bytes` that are to be durable. */
  add(file: EventFile, bytes: number): void {
    this.#gathered += bytes;
    this.#round.files.add(file);
    this.schedule();
  }

  /** Resolves when all that was added so far is durable. Rejects when the store was closed before. */
  durable(): Promise<void> {
    this.#round.awaited = true;
    this.schedule();
    return this.#round.done;
  }

  /** Resolves when the round that is written, or else the next one, is over. Rejects as durable() does. */
  progress(): Promise<void> {
    return this.#running ?? this.durable();
  }

  /** A round is due in `commitMs`, whether or not there are rows. */
  schedule(): void {
    if (this.#running !== null || this.#timer !== null || this.#closing) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.#run();
    }, this.#options.commitMs);
  }

  /** Runs what is left, for `deadlineMs` at most; then gives up. */
  async close(deadlineMs: number): Promise<void> {
    this.#closing = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const deadline = setTimeout(() => this.#stopped.abort(), deadlineMs);
    await this.#running;
    if (!this.#stopped.signal.aborted) await this.#run();
    clearTimeout(deadline);
    this.#stopped.abort();
    this.#round.reject(new Error(STOPPED));
  }

  #run(): Promise<void> {
    this.#running ??= this.#commit().finally(() => {
      this.#running = null;
      if (this.#round.files.size > 0 || this.#round.awaited) this.schedule();
    });
    return this.#running;
  }

  async #commit(): Promise<void> {
    const round = this.#round;
    this.#round = new Round();
    this.#committing = this.#gathered;
    this.#gathered = 0;
    if (!(await this.#insist([...round.files]))) {
      round.reject(new Error(STOPPED));
      return;
    }
    this.#committing = 0;
    this.#counters.commits += 1;
    round.resolve();
    await this.#hooks.committed();
  }

  // Until all files are durable; false when stopped before.
  async #insist(files: readonly EventFile[]): Promise<boolean> {
    let loggedMs = 0;
    let left = files;
    let wait = this.#options.retryMs;
    for (;;) {
      const failed = new Map<EventFile, unknown>();
      await inParallel(left, async (file) => {
        const before = file.durableBytes;
        await file.commit().catch((error: unknown) => failed.set(file, error));
        this.#counters.bytesWritten += file.durableBytes - before;
      });
      // Some got through: it is not the disk as a whole.
      if (failed.size < left.length) wait = this.#options.retryMs;
      left = [...failed.keys()];
      const [error] = failed.values();
      if (left.length === 0) break;
      this.#counters.diskErrors += 1;
      this.#counters.blocked = error instanceof Error ? error.message : String(error);
      if (Date.now() - loggedMs >= LOG_EVERY_MS) {
        loggedMs = Date.now();
        this.#log.error(
          { err: error, files: left.length },
          'cannot write events: nothing is acknowledged and agents keep theirs till the disk takes them',
        );
      }
      if (isTooManyFiles(error)) await this.#hooks.shed(new Set(left));
      try {
        await delay(wait, undefined, { signal: this.#stopped.signal });
      } catch {
        return false;
      }
      wait = Math.min(wait * 2, RETRY_MAX_MS);
    }
    if (this.#counters.blocked !== null) {
      this.#log.info({ was: this.#counters.blocked }, 'the disk takes events again');
      this.#counters.blocked = null;
    }
    return true;
  }
}

function isTooManyFiles(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'EMFILE' || error.code === 'ENFILE');
}
