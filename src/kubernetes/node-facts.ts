/**
 * Keeps the facts of the node: what the machine tells at once, and what others are asked for, now and from time to time.
 * Nobody waits for an answer but the first stream, and that only for a moment.
 */
import { isDeepStrictEqual } from 'node:util';
import {
  type FactSource,
  type FactValues,
  METADATA_PROVIDERS,
  type MetadataProvider,
  type NodeFacts,
  settleFacts,
  type Telling,
} from './facts.ts';
import { type ApiServerOptions, askApiServer } from './facts-api.ts';
import { askMetadata } from './facts-cloud.ts';
import { type LocalFactsOptions, type LocalTellings, readLocalFacts } from './facts-local.ts';

export interface NodeFactsOptions extends LocalFactsOptions {
  /** Undefined: the API server is not asked. */
  readonly apiServer?: Omit<ApiServerOptions, 'nodeName' | 'signal'> | undefined;
  /** Undefined: no metadata service is asked; auto: that of the cloud which the firmware names. */
  readonly metadata?: { readonly provider: MetadataProvider | 'auto'; readonly url?: string | undefined } | undefined;
  /** After what was asked for came, or came otherwise than before. */
  readonly onChange?: (keeper: NodeFactsKeeper) => void;
  /** What could not be found out; told once until it is another. */
  readonly onProblem?: (problem: string) => void;
  readonly retryMs?: number;
  readonly refreshMs?: number;
}

/** How long the first stream may wait for what is asked. */
const FIRST_MS = 2000;
const RETRY_MS = 5000;
const RETRY_MAX_MS = 300_000;
/** Labels of a node may change; asked of the API server's cache, by each node once in so long. */
const REFRESH_MS = 600_000;

export class NodeFactsKeeper {
  readonly nodeName: string;
  readonly #options: NodeFactsOptions;
  readonly #local: LocalTellings;
  readonly #closing = new AbortController();
  #facts: NodeFacts;
  #api: Awaited<ReturnType<typeof askApiServer>> | undefined;
  #cloud: Telling | undefined;
  #problems: readonly string[] = [];
  #failures = 0;
  #labelsTold: Readonly<Record<string, string>> | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** Reads what the machine tells. Never throws. */
  constructor(options: NodeFactsOptions) {
    this.#options = options;
    this.#local = readLocalFacts(options);
    this.nodeName = this.#local.nodeName;
    this.#facts = this.#settle();
  }

  get facts(): NodeFacts {
    return this.#facts;
  }

  /** Labels of the Node object; undefined: not read. */
  get labels(): Readonly<Record<string, string>> | undefined {
    return this.#api?.labels;
  }

  /** What was asked for and did not come, for people. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  /** Begins to ask; resolves when all answered, or after two seconds, or at once where nobody is to be asked. */
  async start(): Promise<void> {
    if (this.#options.apiServer === undefined && this.#options.metadata === undefined) return;
    let timer: NodeJS.Timeout | undefined;
    const enough = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, FIRST_MS);
    });
    await Promise.race([this.#ask(), enough]);
    clearTimeout(timer);
  }

  stop(): void {
    this.#closing.abort();
    clearTimeout(this.#timer);
  }

  async #ask(): Promise<void> {
    const problems = (await Promise.all([this.#askApi(), this.#askCloud()])).flat();
    if (this.#closing.signal.aborted) return;
    for (const problem of problems) if (!this.#problems.includes(problem)) this.#options.onProblem?.(problem);
    this.#problems = problems;
    this.#failures = problems.length === 0 ? 0 : this.#failures + 1;
    const before = this.#facts;
    const labelsBefore = this.#labelsTold;
    this.#facts = this.#settle();
    this.#labelsTold = this.labels;
    if (!isDeepStrictEqual([before, labelsBefore], [this.#facts, this.labels])) this.#options.onChange?.(this);
    this.#timer = setTimeout(() => void this.#ask(), this.#pauseMs());
    this.#timer.unref();
  }

  #pauseMs(): number {
    const { retryMs = RETRY_MS, refreshMs = REFRESH_MS } = this.#options;
    const pause = this.#failures === 0 ? refreshMs : Math.min(retryMs * 2 ** (this.#failures - 1), RETRY_MAX_MS);
    // The agents of many nodes spread.
    return pause * (0.8 + 0.4 * Math.random());
  }

  async #askApi(): Promise<readonly string[]> {
    const { apiServer } = this.#options;
    if (apiServer === undefined) return [];
    const { signal } = this.#closing;
    const found = await askApiServer({ ...apiServer, nodeName: this.nodeName, signal });
    // What was known stays known while the API server is away.
    const { tellings, lastResort, labels } = this.#api ?? found;
    this.#api = {
      ...found,
      tellings: found.tellings.map((telling, index) => newer(telling, tellings[index])),
      lastResort: found.lastResort.map((telling, index) => newer(telling, lastResort[index])),
      labels: found.labels ?? labels,
    };
    return found.problems;
  }

  /** An instance does not change while it runs: asked until it was told once. */
  async #askCloud(): Promise<readonly string[]> {
    const { metadata } = this.#options;
    if (metadata === undefined || this.#cloud !== undefined) return [];
    const provider = metadata.provider === 'auto' ? this.#providerByFirmware() : metadata.provider;
    if (provider === undefined) return ['metadata service: the firmware names none of its clouds; name the provider'];
    try {
      this.#cloud = await askMetadata({ provider, url: metadata.url, signal: this.#closing.signal });
      return [];
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return [
        `metadata service (${provider}): ${reason}; pods reach it only where its hop limit or a policy lets them`,
      ];
    }
  }

  #providerByFirmware(): MetadataProvider | undefined {
    return METADATA_PROVIDERS.find((name) => name === this.#facts.cloudProvider);
  }

  #settle(): NodeFacts {
    const { told, seen, lastResort } = this.#local;
    const asked = [...(this.#api?.tellings ?? []), ...(this.#cloud === undefined ? [] : [this.#cloud])];
    return settleFacts([...told, ...asked, ...seen, ...(this.#api?.lastResort ?? []), ...lastResort]);
  }
}

function newer(telling: Telling, before: Telling | undefined): Telling {
  return Object.keys(telling.facts).length === 0 && before !== undefined ? before : telling;
}

/** Facts with their sources, in the contract's names, for people and programs: what is known alone. */
export function factTable(facts: NodeFacts): { name: string; value: string; source: FactSource }[] {
  return Object.entries(facts.sources).map(([name, source]) => {
    const key = name.replace(/_([a-z])/g, (_all, letter: string) => letter.toUpperCase()) as keyof FactValues;
    return { name, value: [facts[key]].flat().join(', '), source };
  });
}
