import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Balance } from '../../src/telemetry/balance.ts';
import type { LedgerSnapshot } from '../../src/telemetry/ledger.ts';
import { until } from './condition.ts';
import { EventFiles } from './event-files.ts';

const MAIN = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));

/** A process of kerntap and the lines of its log. */
export class Process {
  readonly log: string[] = [];
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;

  constructor(args: readonly string[]) {
    this.child = spawn(process.execPath, ['--enable-source-maps', MAIN, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child.stdout?.resume();
    let rest = '';
    this.child.stderr?.on('data', (bytes: Buffer) => {
      const lines = (rest + bytes.toString()).split('\n');
      rest = lines.pop() ?? '';
      this.log.push(...lines);
    });
    this.ended = new Promise((resolve) => this.child.once('close', resolve));
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** The first line of its log that says so, as an object. */
  async said(message: string, deadlineMs = 30_000): Promise<Record<string, unknown>> {
    const line = await until(
      () => `'${message}'; it said:\n${this.log.slice(-15).join('\n')}`,
      () => this.log.find((text) => text.includes(`"msg":"${message}`)),
      deadlineMs,
    );
    return JSON.parse(line) as Record<string, unknown>;
  }

  async kill(signal: NodeJS.Signals): Promise<number | null> {
    this.child.kill(signal);
    return await this.ended;
  }
}

/** A collector in a process of its own, which comes back on the port that it had. */
export class OwnCollector {
  readonly files: EventFiles;
  address = '127.0.0.1:0';
  readonly #out: string;
  #process: Process | undefined;

  constructor(dir: string) {
    this.#out = join(dir, 'events');
    this.files = new EventFiles(this.#out);
  }

  async start(): Promise<void> {
    const args = ['collector', '--listen', this.address, '--out', this.#out, '--metrics', 'off'];
    this.#process = new Process(args);
    const { address } = await this.#process.said('the collector listens');
    this.address = String(address);
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.#process?.kill(signal);
    this.#process = undefined;
  }
}

export interface Books {
  readonly ledger: LedgerSnapshot;
  readonly balance: Balance;
}

/** An agent with a spool, whose collector is another process. */
export class SpoolingAgent extends Process {
  readonly #socket: string;

  constructor(dir: string, collector: string, flags: readonly string[], spool = join(dir, 'spool')) {
    const socket = join(dir, 'agent.sock');
    const metrics = flags.includes('--metrics') ? [] : ['--metrics', 'off'];
    const common = ['--collector', collector, '--spool', spool, '--socket', socket, '--tail', 'off', ...metrics];
    super(['agent', ...common, '--json', ...flags]);
    this.#socket = socket;
  }

  async watching(): Promise<this> {
    await this.said('watching this node');
    return this;
  }

  /** `kerntap ledger`: also says whether it balances, by its exit code. */
  async books(): Promise<Books & { readonly code: number | null }> {
    const asked = spawn(process.execPath, [MAIN, 'ledger', '--json', '--socket', this.#socket], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let out = '';
    let err = '';
    asked.stdout.on('data', (bytes: Buffer) => (out += bytes.toString()));
    asked.stderr.on('data', (bytes: Buffer) => (err += bytes.toString()));
    const code = await new Promise<number | null>((resolve) => asked.once('close', resolve));
    if (out === '') throw new Error(`no ledger: ${err}`);
    return { ...(JSON.parse(out) as Books), code };
  }

  /** The books that it closed with. */
  async stop(): Promise<LedgerSnapshot> {
    await this.kill('SIGTERM');
    return (await this.said('stopped', 1000))['ledger'] as LedgerSnapshot;
  }
}
