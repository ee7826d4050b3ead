/**
 * Follows certificates and keys on disk, so that they are renewed without a restart. A pair that is half written or does
 * not go together is told of, and the last good one stays.
 */
import path from 'node:path';
import { FolderWatch } from '../files/folder-watch.ts';
import { readMaterial, type TlsMaterial, type TlsPaths } from './material.ts';

export interface TlsFilesOptions {
  readonly paths: TlsPaths;
  /** Others than before were put in force. */
  readonly onApplied?: (material: TlsMaterial) => void;
  /** What is on disk cannot be used; told once until it changes. */
  readonly onRefused?: (error: Error) => void;
  readonly pollMs?: number;
  readonly settleMs?: number;
}

/** For metrics. */
export interface TlsStatus {
  /** When one's own certificate ends, ms since 1970; undefined: there is none. */
  readonly ownNotAfterMs: number | undefined;
  /** When the first authority of the peers ends. */
  readonly authorityNotAfterMs: number | undefined;
  /** Changes that were put in force, and those that could not be. */
  readonly applied: number;
  readonly refused: number;
  /** Whether what is on disk is in force. */
  readonly lastSuccessful: boolean;
  /** Of the last refusal; '' where the files are in force. */
  readonly problem: string;
}

export class TlsFiles {
  readonly #options: TlsFilesOptions;
  readonly #watch: FolderWatch;
  #take: (material: TlsMaterial) => void = () => {};
  #material: TlsMaterial | undefined;
  #applied = 0;
  #refused = 0;
  #problem = '';

  /** Nothing is read yet. */
  constructor(options: TlsFilesOptions) {
    const { paths, pollMs, settleMs } = options;
    this.#options = options;
    this.#watch = new FolderWatch({
      folders: [paths.ca, paths.cert, paths.key].flatMap((file) => (file ? [path.dirname(file.path)] : [])),
      onChange: () => this.check(),
      ...(pollMs === undefined ? {} : { pollMs }),
      ...(settleMs === undefined ? {} : { settleMs }),
    });
  }

  /** The last good ones. Throws TlsFileError where there was none yet. */
  get current(): TlsMaterial {
    if (this.#material === undefined) {
      const first = readMaterial(this.#options.paths);
      this.#material = first;
      this.#problem = '';
    }
    return this.#material;
  }

  /** Calls back with others before they count as in force; where that throws they are refused. */
  onChange(take: (material: TlsMaterial) => void): void {
    this.#take = take;
  }

  get paths(): TlsPaths {
    return this.#options.paths;
  }

  get status(): TlsStatus {
    return {
      ownNotAfterMs: this.#material?.own?.notAfterMs,
      authorityNotAfterMs: this.#material?.authority?.notAfterMs,
      applied: this.#applied,
      refused: this.#refused,
      lastSuccessful: this.#problem === '',
      problem: this.#problem,
    };
  }

  start(): void {
    this.#watch.start();
    this.check();
  }

  stop(): void {
    this.#watch.stop();
  }

  /** Looks at the files now. */
  check(): void {
    const { paths, onApplied, onRefused } = this.#options;
    try {
      const material = readMaterial(paths);
      if (material.hash !== this.#material?.hash) {
        const first = this.#material === undefined;
        this.#take(material);
        this.#material = material;
        if (!first) {
          this.#applied++;
          onApplied?.(material);
        }
      }
      this.#problem = '';
    } catch (error) {
      const refusal = error instanceof Error ? error : new Error(String(error));
      if (refusal.message === this.#problem) return;
      this.#problem = refusal.message;
      this.#refused++;
      onRefused?.(refusal);
    }
  }
}
