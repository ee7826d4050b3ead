import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { until } from './condition.ts';
import { ControlGroup } from './control-group.ts';
import { EventFiles, type Row } from './event-files.ts';
import { buildTruth, parseAct, programPath, runTruth, startTruth } from './truth-program.ts';

const MAIN = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));

/** So long is waited for rows that are missing before a sentinel's. */
const COMPLETE_MS = 4000;
/** After so long another sentinel is sent. */
const SENTINEL_MS = 4_000;

export interface AgentStart {
  /** Beside --standalone --json --out. */
  readonly flags?: readonly string[];
  /** Run it born in this cgroup. */
  readonly group?: ControlGroup;
  /** Keep what it writes on stdout. */
  readonly keepStdout?: boolean;
  /** Rows that are to be kept; others are counted only, in `files.passed`. Without it all. */
  readonly keep?: (row: Row) => boolean;
}

/** Kernel counters of one kind: seen = emitted + suppressed + lost. */
export interface KindBook {
  readonly seen: number;
  readonly emitted: number;
  readonly suppressed: Readonly<Record<string, number>>;
  readonly lost: Readonly<Record<string, number>>;
}

/**
 * A built agent with its own collector, watched through the collector's files only.
 * Nothing waits by time: `settle` does acts of its own and returns when they have arrived, and with them all before.
 */
export class RunningAgent {
  readonly files: EventFiles;
  readonly dir: string;
  /** 0 until it is known: in a cgroup it is a grandchild. */
  pid: number;
  /** Lines of its log. */
  readonly log: string[] = [];
  readonly stdout: Buffer[] = [];
  readonly #child: ChildProcess;
  readonly #probe: ControlGroup;
  #marks = 0;
  #seenAt: number | undefined;

  #ended: Promise<number> | null = null;
  #stopped: Promise<number> | undefined;

  private constructor(child: ChildProcess, pid: number, dir: string, keep?: (row: Row) => boolean) {
    this.#child = child;
    this.pid = pid;
    this.dir = dir;
    this.files = new EventFiles(join(dir, 'events'), keep);
    this.#probe = ControlGroup.host('probe');
  }

  static async start({ flags = ['--all'], group, keepStdout = false, keep }: AgentStart = {}): Promise<RunningAgent> {
    buildTruth();
    const dir = mkdtempSync(join(tmpdir(), 'kerntap-test-'));
    const args = ['agent', '--standalone', '--json', '--out', join(dir, 'events'), ...flags];
    // What a kubelet of this machine says is no part of a test.
    if (!flags.includes('--kubelet-pods-api')) args.push('--kubelet-pods-api', 'off');
    if (!keepStdout) args.push('--tail', 'off');
    const child =
      group === undefined
        ? spawn(process.execPath, ['--enable-source-maps', MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
        : startTruth(group, process.execPath, { args: [MAIN, ...args], pipeStderr: true }, (line) => {
            if (line.startsWith('{"act":"start"')) agent.pid = parseAct(line).pid;
          });
    if (child.pid === undefined) throw new Error('the agent did not start');
    const agent = new RunningAgent(child, group === undefined ? child.pid : 0, dir, keep);
    child.stdout?.on('data', (bytes: Buffer) => keepStdout && agent.stdout.push(bytes));
    const copy = createWriteStream(join(dir, 'agent.log'));
    let rest = '';
    child.stderr?.on('data', (bytes: Buffer) => {
      copy.write(bytes);
      const lines = (rest + bytes.toString()).split('\n');
      rest = lines.pop() ?? '';
      agent.log.push(...lines);
    });
    agent.#ended = new Promise((resolve) => child.on('close', (code) => resolve(code ?? -1)));
    try {
      await agent.#ready();
    } catch (error) {
      // Nobody else knows of it.
      if (agent.pid !== 0 && child.exitCode === null && child.signalCode === null) process.kill(agent.pid, 'SIGKILL');
      throw error;
    }
    return agent;
  }

  /** Until it says that everything is attached, and acts arrive. */
  async #ready(): Promise<void> {
    let next = 0;
    const marks: string[] = [];
    let running = false;
    await until(
      () => `the agent sees nothing; its log:\n${this.log.slice(-20).join('\n')}`,
      () => {
        if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
          throw new Error(`the agent ended with ${this.#child.exitCode}:\n${this.log.slice(-20).join('\n')}`);
        }
        if (!running && performance.now() > next) {
          running = true;
          next = performance.now() + 200;
          void this.#mark().then((mark) => {
            marks.push(mark);
            running = false;
          });
        }
        const rows = this.rows();
        const whole = this.log.some((line) => line.includes('"msg":"watching this'));
        return whole && !running && marks.some((mark) => this.#arrived(rows, mark));
      },
      30_000,
    );
  }

  async #mark(): Promise<string> {
    const mark = join(this.dir, `mark-${++this.#marks}`);
    await runTruth(this.#probe, 'sentinel', { args: [mark] });
    return mark;
  }

  #arrived(rows: readonly Row[], mark: string): boolean {
    const opened = rows.find((row) => row['kind'] === 'file.open' && row['file_path'] === mark);
    const exited = rows.find(
      (row) => row['kind'] === 'process.exit' && opened !== undefined && row['process_pid'] === opened['process_pid'],
    );
    if (opened === undefined || exited === undefined) return false;
    this.#seenAt ??= performance.now();
    // Rows of other kinds are in other files, which may be read a moment later: none before these may be missing. But
    // for those that the agent had to drop after it had numbered them.
    const last = Math.max(Number(opened['seq']), Number(exited['seq']));
    // Where some are not kept, all of them may be behind.
    const complete = rows.filter((row) => Number(row['seq']) <= last).length + this.files.passed >= last;
    return complete || performance.now() - this.#seenAt > COMPLETE_MS;
  }

  /** Every row so far that was to be kept. */
  rows(): readonly Row[] {
    return this.files.poll();
  }

  /**
   * Resolves when everything that was done before the call has arrived. Needs file.open and process.exit on. Where the
   * kernel missed one of the sentinel's own events, another sentinel is sent.
   */
  async settle(deadlineMs = 20_000): Promise<readonly Row[]> {
    this.#seenAt = undefined;
    const marks = [await this.#mark()];
    let next = performance.now() + SENTINEL_MS;
    let sending = false;
    return await until(
      () => `the sentinel's events; the agent's log:\n${this.log.slice(-10).join('\n')}`,
      () => {
        const rows = this.rows();
        if (!sending && marks.some((mark) => this.#arrived(rows, mark))) return rows;
        if (!sending && performance.now() > next) {
          sending = true;
          void this.#mark().then((mark) => {
            marks.push(mark);
            next = performance.now() + SENTINEL_MS;
            sending = false;
          });
        }
        return undefined;
      },
      deadlineMs,
    );
  }

  /** Rows of one cgroup. */
  of(group: ControlGroup): Row[] {
    return this.rows().filter((row) => row['cgroup_id'] === group.id);
  }

  get sentinel(): string {
    return programPath('sentinel');
  }

  /** Stops it in order; gives its exit code. A second call gives the first's. */
  stop(): Promise<number> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<number> {
    process.kill(this.pid, 'SIGTERM');
    const code = (await this.#ended) ?? -1;
    this.rows();
    this.#probe.remove();
    return code;
  }

  /** The books it closed with, by kind; after `stop`. */
  ledger(): Record<string, KindBook> {
    const line = this.log.findLast((text) => text.includes('"msg":"stopped"'));
    if (line === undefined) throw new Error('the agent did not say its ledger');
    const value = JSON.parse(line) as { ledger: { kinds: Record<string, KindBook> } };
    return value.ledger.kinds;
  }

  /** Removes what it wrote. */
  clean(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}
