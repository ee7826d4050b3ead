import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Books } from '../../src/cli/ledger.ts';
import { askAgent } from '../../src/cli/local-client.ts';
import { type Family, parseExposition } from '../unit/telemetry/exposition-parser.ts';
import { until } from './condition.ts';
import { parseRow, type Row } from './event-files.ts';

const MAIN = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));

/** The built agent as the chart runs it, without a kubelet and without budgets, streaming to a given address. */
export class StreamingAgent {
  /** Rows on its stdout. */
  readonly rows: Row[] = [];
  readonly log: Row[] = [];
  readonly dir = mkdtempSync(join(tmpdir(), 'kerntap-stream-'));
  readonly #child: ChildProcess;
  readonly #socket = join(this.dir, 'agent.sock');
  readonly #ended: Promise<number>;

  private constructor(address: string, flags: readonly string[]) {
    const config = join(this.dir, 'kerntap.yaml');
    const budgets = 'budgets: {containerEventsPerSecond: 0, nodeEventsPerSecond: 0, cpuCores: 0}';
    writeFileSync(config, `apiVersion: kerntap.dev/v1alpha1\n${budgets}\n`);
    const args = ['agent', '--json', '--config', config, '--collector', address, '--socket', this.#socket, ...flags];
    this.#child = spawn(process.execPath, ['--enable-source-maps', MAIN, ...args, '--metrics', '127.0.0.1:0'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#follow(this.#child.stdout, this.rows);
    this.#follow(this.#child.stderr, this.log);
    this.#ended = new Promise((resolve) => this.#child.on('close', (code) => resolve(code ?? -1)));
  }

  static async start(address: string, flags: readonly string[]): Promise<StreamingAgent> {
    const agent = new StreamingAgent(address, flags);
    await until(
      () => `the agent to watch; it says:\n${agent.said()}`,
      () => agent.log.some(({ msg }) => msg === 'watching this node'),
      30_000,
    );
    return agent;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  said(): string {
    return this.log.map((line) => JSON.stringify(line)).join('\n');
  }

  #follow(stream: NodeJS.ReadableStream | null, into: Row[]): void {
    let rest = '';
    stream?.on('data', (bytes: Buffer) => {
      const lines = (rest + bytes.toString()).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) into.push(parseRow(line));
    });
  }

  async metrics(): Promise<Map<string, Family>> {
    const { address } = this.log.find(({ msg }) => msg === 'metrics and health') ?? {};
    return parseExposition(await (await fetch(`http://${String(address)}/metrics`)).text());
  }

  async books(): Promise<Books> {
    for await (const line of askAgent(this.#socket, { ask: 'ledger' })) return JSON.parse(line) as Books;
    throw new Error('the agent closed its socket');
  }

  /** Stops it in order; its exit code. */
  async stop(): Promise<number> {
    this.#child.kill('SIGTERM');
    return this.#ended;
  }

  /** Also where it still runs. */
  clean(): void {
    this.#child.kill('SIGKILL');
    rmSync(this.dir, { recursive: true, force: true });
  }
}
