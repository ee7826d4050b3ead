/**
 * Follows the configuration file while the agent runs. Whatever is wrong, the last good settings stay: only a whole, valid
 * file is handed on.
 */
import path from 'node:path';
import { FolderWatch } from '../files/folder-watch.ts';
import { type ConfigContext, configHash, parseConfig, readConfigFile } from './load.ts';
import { ConfigError } from './problem.ts';
import type { Settings } from './schema.ts';

export interface ConfigWatchOptions {
  readonly file: string;
  readonly context: ConfigContext;
  /** New settings. Throws where they cannot be put in force: the content then counts as refused. */
  readonly onSettings: (settings: Settings, hash: string) => void;
  /** The content was refused, or there is none; told once until it changes. The settings stay as they were. */
  readonly onRefused: (error: ConfigError) => void;
  /** Between polls; default 10,000. */
  readonly pollMs?: number;
  /** After a change in the folder: an editor writes in several steps; default 50. */
  readonly settleMs?: number;
  /** Wall clock, ms. */
  readonly now?: () => number;
}

/** For metrics and health. */
export interface ConfigStatus {
  /** Of the content in force. */
  readonly hash: string;
  /** 1 for what the agent started with, one more for each that was put in force since. */
  readonly generation: number;
  readonly applied: number;
  readonly refused: number;
  /** Whether the file as it is now is in force. */
  readonly lastSuccessful: boolean;
  /** Wall clock, ms. */
  readonly lastSuccessMs: number;
  /** Of the last refusal; '' where the file is in force. */
  readonly problem: string;
}

export class ConfigWatch {
  readonly #options: Required<ConfigWatchOptions>;
  #context: ConfigContext;
  #status: ConfigStatus;
  /** The content looked at last, in force or not; '' for none. */
  #seen: string;
  readonly #folder: FolderWatch;

  /** `hash`: of the content that the agent started with. */
  constructor(hash: string, options: ConfigWatchOptions) {
    this.#options = { pollMs: 10_000, settleMs: 50, now: Date.now, ...options };
    this.#context = options.context;
    const { file, pollMs, settleMs } = this.#options;
    const onChange = (): void => this.check();
    this.#folder = new FolderWatch({ folders: [path.dirname(file)], onChange, pollMs, settleMs });
    this.#seen = hash;
    this.#status = {
      hash,
      generation: 1,
      applied: 0,
      refused: 0,
      lastSuccessful: true,
      lastSuccessMs: this.#options.now(),
      problem: '',
    };
  }

  get status(): ConfigStatus {
    return this.#status;
  }

  start(): void {
    this.#folder.start();
  }

  stop(): void {
    this.#folder.stop();
  }

  /** What is known of the node is another: the same content may mean other settings. */
  reconsider(context: ConfigContext): void {
    this.#context = context;
    this.#look(true);
  }

  /** Looks at the file now. */
  check(): void {
    this.#look(false);
  }

  #look(again: boolean): void {
    const { file, onSettings } = this.#options;
    let hash = '';
    try {
      const bytes = readConfigFile(file);
      hash = configHash(bytes);
      if (hash === this.#seen && !again) return;
      this.#seen = hash;
      if (hash === this.#status.hash && !again) {
        // What is in force is back: a bad edit was undone.
        this.#status = { ...this.#status, lastSuccessful: true, lastSuccessMs: this.#options.now(), problem: '' };
        return;
      }
      onSettings(parseConfig(bytes, file, this.#context), hash);
    } catch (error) {
      this.#refuse(error, hash);
      return;
    }
    const { generation, applied } = this.#status;
    this.#status = {
      ...this.#status,
      hash,
      generation: generation + 1,
      applied: applied + 1,
      lastSuccessful: true,
      lastSuccessMs: this.#options.now(),
      problem: '',
    };
  }

  #refuse(error: unknown, hash: string): void {
    const refusal =
      error instanceof ConfigError
        ? error
        : new ConfigError(this.#options.file, [
            {
              key: '(file)',
              line: 1,
              column: 1,
              message: error instanceof Error ? error.message : String(error),
              remedy: 'the settings before stay in force',
            },
          ]);
    // Unreadable has no content: told again only when it fails otherwise.
    if (hash === '' && this.#seen === '' && this.#status.problem === refusal.message) return;
    this.#seen = hash;
    this.#status = {
      ...this.#status,
      refused: this.#status.refused + 1,
      lastSuccessful: false,
      problem: refusal.message,
    };
    this.#options.onRefused(refusal);
  }
}
