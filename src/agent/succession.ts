/**
 * From run to run: writes down what this one knows of itself, and tells what became of those before it: the events that
 * went with them and the time in which nobody watched. Their notes are kept until what is told of them is safe.
 */
import type { Logger } from 'pino';
import type { PublishClient } from '../stream/client.ts';
import type { BatchEncoder, OwnEvent } from '../stream/encoder.ts';
import { Checkpoints } from '../stream/spool/checkpoints.ts';
import type { FoundFrame } from '../stream/spool/recovery.ts';
import type { EarlierRunHooks, Spool } from '../stream/spool/spool.ts';
import type { Accounts } from './accounts.ts';
import { checkpointValue } from './checkpoint.ts';
import { lossMessage } from './loss-message.ts';
import { type Ended, Predecessors } from './predecessors.ts';

/** At most so much is known only to the process: what is lost with it is what it took after its last checkpoint. */
const CHECKPOINT_MS = 200;
/** Also where nothing happens: the time itself is told. */
const IDLE_MS = 1000;
const FLUSH_MS = 500;
/** Segments that a stream can have taken between two checkpoints. */
const SEGMENTS_AHEAD = 4;

export interface SuccessionParts {
  readonly spool: Pick<Spool, 'position' | 'readTo'>;
  readonly client: Pick<PublishClient, 'accepted' | 'confirmed' | 'oldestUnsafe'>;
  readonly encoder: Pick<BatchEncoder, 'sequence' | 'events'>;
  readonly accounts: Pick<Accounts, 'read' | 'ledger' | 'inMemory' | 'earlierRuns'>;
  readonly nowNs: () => bigint;
  readonly bootId: string;
  readonly own: (event: OwnEvent, timeNs: bigint) => void;
  readonly log: Logger;
}

export class Succession implements EarlierRunHooks {
  /** How long nobody watched before this run; undefined: not known, or not told yet. */
  blindNs: bigint | undefined;
  readonly #run: string;
  readonly #checkpoints: Checkpoints;
  #predecessors = new Predecessors([]);
  #recovered = false;
  #parts: SuccessionParts | undefined;
  #startNs = 0n;
  #ceasedNs: bigint | undefined;
  #told: { readonly runs: readonly string[]; readonly lastSeq: number } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #noted = { atMs: 0, sequence: 0, confirmed: 0 };

  /** `run`: this one, in hex. */
  constructor(run: string) {
    this.#run = run;
    this.#checkpoints = new Checkpoints(run);
  }

  async prepare(dir: string): Promise<number> {
    await this.#checkpoints.open(dir);
    this.#predecessors = new Predecessors(this.#checkpoints.earlier.map(({ value }) => value));
    const { readTo } = this.#predecessors;
    return readTo === 0 ? 0 : readTo + SEGMENTS_AHEAD;
  }

  found(frame: FoundFrame): void {
    this.#predecessors.found(frame);
  }

  recovered(): void {
    this.#recovered = true;
    this.#tell();
  }

  /** Every probe is on. */
  start(parts: SuccessionParts): void {
    this.#parts = parts;
    this.#startNs = parts.nowNs();
    this.#timer = setInterval(() => this.#look(), CHECKPOINT_MS);
    this.#note(false);
    this.#tell();
  }

  /** Nothing is watched any more since `timeNs`, boot clock; what is on its way may still be saved. */
  ceased(timeNs: bigint): void {
    this.#ceasedNs = timeNs;
  }

  /** What could be saved is. */
  async end(): Promise<void> {
    clearInterval(this.#timer);
    this.#note(true);
    await this.#checkpoints.flush(FLUSH_MS);
  }

  /** No more notes, as a process that is killed makes none. */
  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const parts = this.#parts;
    if (parts === undefined) return;
    const { sequence } = parts.encoder;
    const confirmed = parts.client.confirmed.reduce((total, count) => total + count, 0);
    const { atMs, ...before } = this.#noted;
    const nowMs = performance.now();
    if (sequence === before.sequence && confirmed === before.confirmed && nowMs - atMs < IDLE_MS) return;
    this.#noted = { atMs: nowMs, sequence, confirmed };
    if (this.#ceasedNs === undefined) parts.accounts.read();
    this.#note(false);
    this.#forget();
  }

  #note(closed: boolean): void {
    const parts = this.#parts;
    if (parts === undefined || !this.#checkpoints.isOpen) return;
    const { encoder, client, accounts, spool, bootId } = parts;
    const nextSeq = encoder.sequence;
    const value = checkpointValue({
      run: this.#run,
      bootId,
      startNs: this.#startNs,
      timeNs: this.#ceasedNs ?? parts.nowNs(),
      wallMs: Date.now() - (this.#ceasedNs === undefined ? 0 : Number((parts.nowNs() - this.#ceasedNs) / 1_000_000n)),
      closed,
      nextSeq,
      oldestUnsafe: Math.min(client.oldestUnsafe, nextSeq - encoder.events),
      inMemory: Object.fromEntries(accounts.inMemory()),
      lost: accounts.ledger().lost,
      storedTo: spool.position,
      readTo: spool.readTo,
    });
    this.#checkpoints.write(value);
  }

  #tell(): void {
    const parts = this.#parts;
    if (parts === undefined || !this.#recovered || this.#told !== undefined) return;
    const ended = this.#predecessors.ended({ bootId: parts.bootId, startNs: this.#startNs, wallMs: Date.now() });
    for (const one of ended) this.#tellOne(one, parts);
    this.#told = {
      runs: this.#checkpoints.earlier.map(({ run }) => run),
      lastSeq: parts.encoder.sequence - 1,
    };
    this.blindNs = ended.at(-1)?.blindNs;
  }

  #tellOne(ended: Ended, { own, nowNs, log, accounts }: SuccessionParts): void {
    const { run, killed, missing, lost, firstSeq, lastSeq, fromNs, toNs, blindNs } = ended;
    const common = { stage: 'run', unaccountable: true, firstTimeNs: fromNs, lastTimeNs: toNs } as const;
    const ofRunId = Buffer.from(run, 'hex');
    own({ loss: { ...common, reason: 'blind', ofRunId, blindNs } }, nowNs());
    // Totals again, as the last of them may not have got out. It is no new loss: the count is 0.
    if (killed) {
      const losses = lost.map((loss) => ({
        ...loss,
        count: 0,
        firstTimeNs: 0n,
        lastTimeNs: 0n,
        firstSeq: 0,
        lastSeq: 0,
      }));
      for (const loss of losses) own({ loss: lossMessage({ ...loss, ofRun: run }) }, nowNs());
    }
    accounts.earlierRuns.noteEnded(run, killed ? 'killed' : 'stopped', missing);
    for (const [kind, count] of missing) {
      const loss = { ...common, reason: killed ? 'killed' : 'stopped', kind, count, total: count, firstSeq, lastSeq };
      own({ loss: lossMessage({ ...loss, ofRun: run, unaccountable: false }) }, nowNs());
    }
    const blind_ms = Number(blindNs / 1_000_000n);
    const gone = missing.size === 0 ? undefined : Object.fromEntries(missing);
    if (killed)
      log.warn({ run, blind_ms, lost: gone }, 'the agent before this one was killed: nobody watched this node since');
    else
      log.info({ run, blind_ms, lost: gone }, 'nobody watched this node since the agent before this one was stopped');
  }

  /** What is told of the runs before is confirmed or on disk: their notes are not needed any more. */
  #forget(): void {
    const { encoder, client } = this.#parts as SuccessionParts;
    if (this.#told === undefined || this.#told.runs.length === 0) return;
    if (Math.min(client.oldestUnsafe, encoder.sequence - encoder.events) <= this.#told.lastSeq) return;
    const { runs, lastSeq } = this.#told;
    this.#told = { runs: [], lastSeq };
    for (const run of runs) void this.#checkpoints.forget(run);
  }
}
