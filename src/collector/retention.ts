import { rmdir, stat, unlink } from 'node:fs/promises';
import { dirname, relative } from 'node:path';
import type { Logger } from 'pino';
import type { Counters } from './counters.ts';
import { type FoundFile, filesBelow } from './found-files.ts';

export interface RetentionOptions {
  /** Size of all files together, those that are still written included; 0: no limit. */
  readonly retainBytes: number;
  /** Since a file was finished; 0: no limit. */
  readonly retainMs: number;
  readonly now?: () => number;
}

interface Sized extends FoundFile {
  readonly size: number;
  readonly mtimeMs: number;
}

const LOOK_MS = 5_000;
const SWEEP_MS = 60_000;
const HOUR_MS = 3_600_000;

/**
 * Deletes whole finished files, oldest hour first, so that the folder keeps its bounds. What is still written is never
 * touched; folders that become empty go, unless their hour is so young that it may get another file.
 */
export class Retention {
  readonly #out: string;
  readonly #options: RetentionOptions;
  readonly #counters: Counters;
  readonly #log: Logger;
  readonly #now: () => number;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #stopped = false;
  #sweptAtMs = Number.NEGATIVE_INFINITY;
  #writtenThen = 0;

  /** `out` as the store resolved it. */
  constructor(out: string, options: RetentionOptions, counters: Counters, log: Logger) {
    this.#out = out;
    this.#options = options;
    this.#counters = counters;
    this.#log = log;
    this.#now = options.now ?? Date.now;
  }

  /** Sweeps now, then every minute, and sooner where much was written. Does nothing without a bound. */
  start(): void {
    const { retainBytes, retainMs } = this.#options;
    if (retainBytes === 0 && retainMs === 0) return;
    const look = (): void => {
      const written = this.#counters.bytesWritten - this.#writtenThen;
      const due = performance.now() - this.#sweptAtMs >= SWEEP_MS;
      if (due || (retainBytes > 0 && written * 20 > retainBytes)) void this.sweep();
    };
    this.#timer = setInterval(look, LOOK_MS);
    this.#timer.unref();
    look();
  }

  /** Resolves when nothing more is deleted. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    await this.#running;
  }

  /** One pass; never rejects: what cannot be deleted is counted, told once, and tried again by the next one. */
  sweep(): Promise<void> {
    this.#running ??= this.#pass().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #pass(): Promise<void> {
    this.#sweptAtMs = performance.now();
    this.#writtenThen = this.#counters.bytesWritten;
    const failed: unknown[] = [];
    let deleted = 0;
    let freed = 0;
    try {
      const { finished, total } = await this.#look();
      for (const file of this.#due(finished, total)) {
        if (this.#stopped) break;
        try {
          await unlink(file.path);
          deleted += 1;
          freed += file.size;
          await this.#tidy(file);
        } catch (error) {
          failed.push(error);
        }
      }
    } catch (error) {
      failed.push(error);
    }
    this.#counters.retentionDeletedFiles += deleted;
    this.#counters.retentionDeletedBytes += freed;
    if (deleted > 0) this.#log.info({ files: deleted, bytes: freed }, 'deleted the oldest event files');
    if (failed.length > 0) {
      this.#counters.diskErrors += failed.length;
      this.#log.error({ err: failed[0], failed: failed.length }, 'retention could not delete what it should');
    }
  }

  async #look(): Promise<{ finished: Sized[]; total: number }> {
    const finished: Sized[] = [];
    let total = 0;
    for await (const file of filesBelow(this.#out)) {
      if (this.#stopped) break;
      // One that was renamed since is counted by the next pass.
      const found = await stat(file.path).catch(() => undefined);
      if (found === undefined) continue;
      total += found.size;
      if (!file.unfinished) finished.push({ ...file, size: found.size, mtimeMs: found.mtimeMs });
    }
    return { finished, total };
  }

  /** Those to delete, oldest first: what is over age wherever it is, then by hour until the rest fits. */
  *#due(finished: readonly Sized[], total: number): Generator<Sized> {
    const { retainBytes, retainMs } = this.#options;
    const byHour = finished.toSorted((a, b) => (a.hour < b.hour ? -1 : a.hour > b.hour ? 1 : a.mtimeMs - b.mtimeMs));
    let left = total;
    for (const file of byHour) {
      const overAge = retainMs > 0 && this.#now() - file.mtimeMs > retainMs;
      if (!overAge && (retainBytes === 0 || left <= retainBytes)) continue;
      left -= file.size;
      yield file;
    }
  }

  async #tidy(file: FoundFile): Promise<void> {
    // Events may come for an hour after it has ended.
    if (this.#now() - Date.parse(`${file.hour}:00:00Z`) < 2 * HOUR_MS) return;
    for (let folder = dirname(file.path); relative(this.#out, folder) !== ''; folder = dirname(folder)) {
      try {
        await rmdir(folder);
      } catch {
        // Not empty: nor are those above it.
        return;
      }
    }
  }
}
