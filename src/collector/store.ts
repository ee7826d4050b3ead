import { randomBytes } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Counters } from './counters.ts';
import { makeFolder } from './durable-folder.ts';
import { EventFile, type Line } from './event-file.ts';
import { lockFolder } from './folder-lock.ts';
import { type CommitOptions, GroupCommit } from './group-commit.ts';
import { inParallel } from './parallel.ts';
import { hourOf, partitionFolder, pathName } from './partition.ts';
import { recover } from './recovery.ts';

export interface StoreOptions extends CommitOptions {
  /** Folder; made if missing. */
  readonly out: string;
  /** A file is finished at this size, */
  readonly rotateBytes: number;
  /** at this age, */
  readonly rotateMs: number;
  /** or when nothing came for so long. */
  readonly idleMs: number;
  /** Files that are written at a time; beyond, the longest untouched are finished. */
  readonly maxFiles: number;
  /**
   * Up to so many streams each run has files of its own. With more, what is begun is shared: a disk syncs some hundred files
   * a second, and readers of a lake want few large ones.
   */
  readonly shareAbove: number;
  /** Bytes of rows in memory. */
  readonly maxBuffered: number;
}

/** Rows of one run of one agent, on their way to files. */
export interface RunWriter {
  /** `line` without its newline. The caller asks `hasRoom` before. */
  append(kind: string, timeNs: bigint, seq: bigint, line: Line): void;
}

/** Name of files that runs share, in the place of node and run: with the collector's own start and a count of them. */
const SHARED = 'many';

/** Partitioned files of rows. While the disk fails, `hasRoom` is false and no `durable()` resolves. */
export class EventStore {
  /** Its folder, resolved. */
  readonly out: string;
  readonly #options: StoreOptions;
  readonly #counters: Counters;
  readonly #log: Logger;
  readonly #unlock: () => void;
  readonly #files = new Map<string, EventFile>();
  readonly #retired = new Set<EventFile>();
  readonly #commit: GroupCommit;
  readonly #ticker: NodeJS.Timeout;
  readonly #start = randomBytes(16).toString('hex');
  #sharedFiles = 0;

  private constructor(out: string, options: StoreOptions, counters: Counters, log: Logger, unlock: () => void) {
    this.out = out;
    this.#options = options;
    this.#counters = counters;
    this.#log = log;
    this.#unlock = unlock;
    this.#commit = new GroupCommit(options, counters, log, {
      committed: () => {
        this.#retireDue();
        return this.#finishRetired();
      },
      shed: (waiting) => {
        for (const file of [...this.#files.values()]) if (!waiting.has(file)) this.#retire(file);
        return this.#finishRetired();
      },
    });
    this.#ticker = setInterval(
      () => {
        this.#retireDue();
        // Files are finished only between commits.
        if (this.#retired.size > 0) this.#commit.schedule();
      },
      Math.min(1_000, options.idleMs),
    );
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
      this.#commit.waitingBytes < this.#options.maxBuffered &&
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
    return this.#commit.durable();
  }

  /** Resolves when there is room. Rejects when the store was closed before. */
  async room(): Promise<void> {
    while (!this.hasRoom) await this.#commit.progress();
  }

  #file(folder: string, name: string, seq: bigint): EventFile {
    const own = `${folder}/${name}`;
    const known = this.#files.get(own);
    if (known !== undefined) return known;
    return this.#counters.streams > this.#options.shareAbove ? this.#shared(folder) : this.#open(own, `${own}-${seq}`);
  }

  #shared(folder: string): EventFile {
    const key = `${folder}/${SHARED}`;
    return this.#files.get(key) ?? this.#open(key, `${key}-${this.#start}-${++this.#sharedFiles}`);
  }

  #open(key: string, base: string): EventFile {
    const file = new EventFile(key, join(this.out, base), Date.now());
    this.#files.set(key, file);
    this.#countFiles();
    return file;
  }

  #append(file: EventFile, line: Line): void {
    this.#commit.add(file, file.append(line));
    file.touchedMs = Date.now();
    if (file.size >= this.#options.rotateBytes) this.#retire(file);
  }

  #retire(file: EventFile): void {
    file.retired = true;
    this.#files.delete(file.key);
    this.#retired.add(file);
  }

  #countFiles(): void {
    this.#counters.filesOpen = this.#files.size + this.#retired.size;
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
    for (const file of [...this.#files.values()]) this.#retire(file);
    await this.#commit.close(deadlineMs);
    await inParallel([...this.#retired], (file) => file.abandon());
    this.#unlock();
  }
}
