/**
 * Tells when files may have changed. A mounted ConfigMap or Secret is a folder of links to `..data`, which is swapped by
 * one rename: so the folder is watched, not the file, whose inode is gone then; a slow poll stands behind it. What has
 * really changed is for the caller to find out.
 */
import { type FSWatcher, statSync, watch } from 'node:fs';

export interface FolderWatchOptions {
  readonly folders: Iterable<string>;
  /** Something may have changed: after a change in a folder, and at each poll. */
  readonly onChange: () => void;
  /** Between polls; default 10,000. */
  readonly pollMs?: number;
  /** After a change in a folder: who writes does so in several steps; default 50. */
  readonly settleMs?: number;
}

interface Watched {
  readonly watcher: FSWatcher;
  readonly inode: number;
}

export class FolderWatch {
  readonly #folders: readonly string[];
  readonly #onChange: () => void;
  readonly #pollMs: number;
  readonly #settleMs: number;
  readonly #watched = new Map<string, Watched>();
  #timer: NodeJS.Timeout | undefined;
  #soon: NodeJS.Timeout | undefined;

  constructor({ folders, onChange, pollMs = 10_000, settleMs = 50 }: FolderWatchOptions) {
    this.#folders = [...new Set(folders)];
    this.#onChange = onChange;
    this.#pollMs = pollMs;
    this.#settleMs = settleMs;
  }

  start(): void {
    this.#follow();
    this.#timer = setInterval(() => {
      this.#follow();
      this.#onChange();
    }, this.#pollMs);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    clearTimeout(this.#soon);
    for (const { watcher } of this.#watched.values()) watcher.close();
    this.#watched.clear();
  }

  /** A folder that was replaced, or whose watcher failed, gets a new one. */
  #follow(): void {
    for (const folder of this.#folders) {
      try {
        const { ino: inode } = statSync(folder);
        const before = this.#watched.get(folder);
        if (before?.inode === inode) continue;
        before?.watcher.close();
        const watcher = watch(folder, { persistent: false }, () => this.#changed());
        watcher.on('error', () => {
          watcher.close();
          if (this.#watched.get(folder)?.watcher === watcher) this.#watched.delete(folder);
        });
        this.#watched.set(folder, { watcher, inode });
      } catch {
        // Not there, or no inotify instance left: the poll goes on.
      }
    }
  }

  #changed(): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      this.#onChange();
    }, this.#settleMs);
  }
}
