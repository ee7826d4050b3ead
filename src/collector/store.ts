import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Counters } from './counters.ts';
import { makeFolder } from './durable-folder.ts';
import { EventFile } from './event-file.ts';
import { lockFolder } from './folder-lock.ts';
import { hourOf, partitionFolder, pathName } from './partition.ts';
import { recover } from './recovery.ts';

export interface StoreOptions {
  /** Folder; made if missing. */
  readonly out: string;
  /** A file is finished at this size, */
  readonly rotateBytes: number;
  /** at this age, */
  readonly rotateMs: number;
  /** or when nothing came for so long. */
  readonly idleMs: number;
  /** How long rows gather before they are made durable together. */
  readonly commitMs: number;
  /** Files that are written at a time; beyond, the longest untouched are finished. */
  readonly maxFiles: number;
  /** Bytes of rows in memory. */
  readonly maxBuffered: number;
  /** First wait after an error of the disk; doubles up to 5 s. */
  readonly retryMs: number;
}

const RETRY_MAX_MS = 5_000;
const PARALLEL = 8;
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

/** Rows of one run of one agent, on their way to files. */
export interface RunWriter {
  /** `line` without its newline. The caller asks `hasRoom` before. */
  append(kind: string, timeNs: bigint, seq: bigint, line: string): void;
}

/**
 * Partitioned files of rows with group commit: rows gather for `commitMs`, then every touched file is written and
 * synced, then everyone who waits on `durable()` goes on. An error of the disk is retried for ever; meanwhile
 * `hasRoom` is false and no `durable()` resolves.
 */
export class EventStore {
  readonly #out: string;
  readonly #options: StoreOptions;
  readonly #counters: Counters;
  readonly #log: Logger;
  readonly #unlock: () => void;
  readonly #files = new Map<string, EventFile>();
  readonly #retired = new Set<EventFile>();
  readonly #stopped = new AbortController();
  #closing = false;
  #round = new Round();
  #gathered = 0;
  #committing = 0;
  #timer: NodeJS.Timeout | null = null;
  #running: Promise<void> | null = null;
  readonly #ticker: NodeJS.Timeout;

  private constructor(out: string, options: StoreOptions, counters: Counters, log: Logger, unlock: () => void) {
    this.#out = out;
    this.#options = options;
    this.#counters = counters;
    this.#log = log;
    this.#unlock = unlock;
    this.#ticker = setInterval(() => this.#tick(), Math.min(1_000, options.idleMs));
    this.#ticker.unref();
  }

  /** Locks the folder and finishes what an earlier run left. Throws where the folder cannot be used. */
  static async open(options: StoreOptions, counters: Counters, log: Logger): Promise<EventStore> {
    await makeFolder(options.out);
    const out = await realpath(options.out);
    const unlock = await lockFolder(out);
    try {
      const recovered = await recover(out);
      if (recovered.files > 0) log.info(recovered, 'finished the files of an earlier run');
    } catch (error) {
      unlock();
      throw error;
    }
    return new EventStore(out, options, counters, log, unlock);
  }

  /** May more rows be appended? If not, wait for `room()`. */
  get hasRoom(): boolean {
    return (
      this.#counters.blocked === null &&
      this.#gathered + this.#committing < this.#options.maxBuffered &&
      this.#files.size < this.#options.maxFiles
    );
  }

  /** `cluster` and `node` as the agent told them, `run` in hex. */
  writer(cluster: string, node: string, run: string): RunWriter {
    const clusterName = pathName(cluster, 'default');
    const nodeName = pathName(node, 'unknown');
    const files = new Map<string, EventFile>();
    let filesHour = -1;
    return {
      append: (kind, timeNs, seq, line) => {
        const hour = hourOf(timeNs);
        if (hour !== filesHour) {
          files.clear();
          filesHour = hour;
        }
        let file = files.get(kind);
        if (file === undefined || file.retired) {
          file = this.#file(partitionFolder(kind, clusterName, hour), `${nodeName}-${run}`, seq);
          files.set(kind, file);
        }
        this.#append(file, line);
        this.#counters.event(kind);
      },
    };
  }

  /** Resolves when every row appended so far is durable. Rejects when the store was closed before. */
  durable(): Promise<void> {
    this.#round.awaited = true;
    this.#schedule();
    return this.#round.done;
  }

  /** Resolves when there is room. Rejects when the store was closed before. */
  async room(): Promise<void> {
    while (!this.hasRoom) await (this.#running ?? this.durable());
  }

  #file(folder: string, name: string, seq: bigint): EventFile {
    const key = `${folder}/${name}`;
    const known = this.#files.get(key);
    if (known !== undefined) return known;
    const file = new EventFile(key, join(this.#out, `${key}-${seq}`), Date.now());
    this.#files.set(key, file);
    this.#countFiles();
    return file;
  }

  #append(file: EventFile, line: string): void {
    this.#gathered += file.append(line);
    file.touchedMs = Date.now();
    this.#round.files.add(file);
    if (file.size >= this.#options.rotateBytes) this.#retire(file);
    this.#schedule();
  }

  #retire(file: EventFile): void {
    file.retired = true;
    this.#files.delete(file.key);
    this.#retired.add(file);
  }

  #countFiles(): void {
    this.#counters.filesOpen = this.#files.size + this.#retired.size;
  }

  #schedule(): void {
    if (this.#running !== null || this.#timer !== null || this.#closing) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#run();
    }, this.#options.commitMs);
  }

  #run(): Promise<void> {
    this.#running ??= this.#commit().finally(() => {
      this.#running = null;
      if (this.#round.files.size > 0 || this.#round.awaited) this.#schedule();
    });
    return this.#running;
  }

  async #commit(): Promise<void> {
    const round = this.#round;
    this.#round = new Round();
    this.#committing = this.#gathered;
    this.#gathered = 0;
    let files = [...round.files];
    let wait = this.#options.retryMs;
    let loggedMs = 0;
    for (;;) {
      const failed: EventFile[] = [];
      let error: unknown;
      await inParallel(files, async (file) => {
        const before = file.durableBytes;
        try {
          await file.commit();
        } catch (reason) {
          error = reason;
          failed.push(file);
        }
        this.#counters.bytesWritten += file.durableBytes - before;
      });
      if (failed.length === 0) break;
      this.#block(error, failed.length, Date.now() - loggedMs >= LOG_EVERY_MS);
      if (Date.now() - loggedMs >= LOG_EVERY_MS) loggedMs = Date.now();
      files = failed;
      if (isTooManyFiles(error)) await this.#shed(new Set(failed));
      try {
        await delay(wait, undefined, { signal: this.#stopped.signal });
      } catch {
        round.reject(new Error(STOPPED));
        this.#round.reject(new Error(STOPPED));
        return;
      }
      wait = Math.min(wait * 2, RETRY_MAX_MS);
    }
    if (this.#counters.blocked !== null) {
      this.#log.info({ was: this.#counters.blocked }, 'the disk takes events again');
      this.#counters.blocked = null;
    }
    this.#committing = 0;
    this.#counters.commits += 1;
    round.resolve();
    this.#retireDue();
    await this.#finishRetired();
  }

  #block(error: unknown, files: number, log: boolean): void {
    this.#counters.diskErrors += 1;
    this.#counters.blocked = error instanceof Error ? error.message : String(error);
    if (log) {
      this.#log.error(
        { err: error, files, out: this.#out },
        'cannot write events: nothing is acknowledged and agents keep theirs till the disk takes them',
      );
    }
  }

  // Descriptors ran out: give back those of files that are not waiting for one.
  async #shed(waiting: ReadonlySet<EventFile>): Promise<void> {
    for (const file of [...this.#files.values()]) if (!waiting.has(file)) this.#retire(file);
    await this.#finishRetired();
  }

  #tick(): void {
    this.#retireDue();
    if (this.#retired.size > 0) this.#schedule();
  }

  #retireDue(): void {
    const now = Date.now();
    const { rotateMs, idleMs, maxFiles } = this.#options;
    for (const file of [...this.#files.values()]) {
      if (now - file.touchedMs >= idleMs || now - file.createdMs >= rotateMs) this.#retire(file);
    }
    if (this.#files.size < maxFiles) return;
    const oldestFirst = [...this.#files.values()].sort((a, b) => a.touchedMs - b.touchedMs);
    for (const file of oldestFirst.slice(0, Math.ceil(maxFiles / 4))) this.#retire(file);
  }

  async #finishRetired(): Promise<void> {
    const clean = [...this.#retired].filter((file) => file.clean);
    await inParallel(clean, (file) => this.#finish(file));
    this.#countFiles();
  }

  async #finish(file: EventFile): Promise<void> {
    try {
      await file.finish();
      this.#counters.filesFinished += 1;
      this.#retired.delete(file);
    } catch (error) {
      // Its rows are durable under the unfinished name: it is tried again, and at the latest at the next start.
      this.#counters.diskErrors += 1;
      this.#log.error({ err: error, file: file.base }, 'cannot give a file its name');
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') this.#retired.delete(file);
    }
  }

  /** Makes all rows durable and finishes every file, within `deadlineMs`; then leaves the rest for the next start. */
  async close(deadlineMs: number): Promise<void> {
    clearInterval(this.#ticker);
    this.#closing = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const deadline = setTimeout(() => this.#stopped.abort(), deadlineMs);
    await this.#running;
    for (const file of [...this.#files.values()]) this.#retire(file);
    if (!this.#stopped.signal.aborted) await this.#run();
    clearTimeout(deadline);
    this.#stopped.abort();
    this.#round.reject(new Error(STOPPED));
    await Promise.all([...this.#retired].map((file) => file.abandon()));
    this.#unlock();
  }
}

// More would only queue for the four threads that do I/O, and hold descriptors meanwhile.
async function inParallel<Item>(items: readonly Item[], act: (item: Item) => Promise<void>): Promise<void> {
  const left = items.values();
  const work = async (): Promise<void> => {
    for (const item of left) await act(item);
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL, items.length) }, work));
}

function isTooManyFiles(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'EMFILE' || error.code === 'ENFILE');
}
