/** A built agent that sends by OTLP and sees containers only: what else this machine does is nobody's concern here. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { until } from './condition.ts';
import { ControlGroup } from './control-group.ts';
import { EventFiles, type Row } from './event-files.ts';
import type { OtlpFarEnd } from './otlp-far-end.ts';
import { rowsOnce } from './otlp-rows.ts';
import { buildTruth, runTruth } from './truth-program.ts';

const MAIN = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));

export interface OtlpBooks {
  readonly accepted: number;
  readonly confirmed: number;
  readonly inFlight: number;
  readonly lost: readonly unknown[];
}

export interface ClosingBooks {
  readonly otlp: OtlpBooks;
  readonly user: { readonly acked: number; readonly inFlight: number };
}

export class OtlpAgent {
  readonly dir = mkdtempSync(join(tmpdir(), 'kt-otlp-'));
  readonly log: string[] = [];
  /** What its own collector wrote, where it has one. */
  readonly files = new EventFiles(join(this.dir, 'events'));
  readonly #end: OtlpFarEnd;
  #child: ChildProcess | undefined;
  #ended: Promise<number> | undefined;
  #marks = 0;

  constructor(end: OtlpFarEnd) {
    this.#end = end;
  }

  /** `otlp`: further keys of stream.otlp, as a flow of YAML. */
  async start(flags: readonly string[], otlp = ''): Promise<void> {
    buildTruth();
    const config = join(this.dir, 'kerntap.yaml');
    writeFileSync(
      config,
      `apiVersion: kerntap.dev/v1alpha1
probes: {file.open: all}
failedOpens: true
policies: [{match: {host: true}, all: off}]
stream: {otlp: {endpoint: "${this.#end.address}"${otlp === '' ? '' : `, ${otlp}`}}}
budgets: {containerEventsPerSecond: 0, nodeEventsPerSecond: 0, cpuCores: 0}
metrics: {listen: off}
`,
    );
    const own = ['--config', config, '--socket', join(this.dir, 'socket'), '--tail', 'off'];
    const child = spawn(process.execPath, [MAIN, 'agent', ...own, ...flags], { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child = child;
    this.#ended = new Promise((resolve) => child.on('close', (code) => resolve(code ?? -1)));
    let rest = '';
    child.stderr?.on('data', (bytes: Buffer) => {
      const lines = (rest + bytes.toString()).split('\n');
      rest = lines.pop() ?? '';
      this.log.push(...lines);
    });
    await until(
      () => `an agent; its log:\n${this.log.join('\n')}`,
      () => this.log.some((line) => line.includes('"msg":"watching this')),
      30_000,
    );
  }

  /** By OTLP, each once. */
  rows(): Map<string, Row> {
    return rowsOnce(this.#end.receiver.records);
  }

  /** Resolves when what was done in containers before the call has come by OTLP: a program's acts come after it. */
  async settle(): Promise<void> {
    const mark = join(this.dir, `mark-${++this.#marks}`);
    const group = ControlGroup.container();
    try {
      await runTruth(group, 'sentinel', { args: [mark] });
    } finally {
      group.remove();
    }
    const ofGroup = (): Row[] => [...this.rows().values()].filter((row) => row['cgroup_id'] === group.id);
    await until(
      () => `the sentinel by OTLP; the agent's log:\n${this.log.slice(-10).join('\n')}`,
      () => {
        const kinds = ofGroup().map((row) => (row['file_path'] === mark ? 'mark' : row['kind']));
        return kinds.includes('mark') && kinds.includes('process.exit');
      },
      30_000,
    );
  }

  /** Stops it in order; gives its exit code. */
  async stop(): Promise<number> {
    this.#child?.kill('SIGTERM');
    return (await this.#ended) ?? -1;
  }

  /** The books it closed with; after `stop`. */
  books(): ClosingBooks {
    const line = this.log.findLast((text) => text.includes('"msg":"stopped"'));
    if (line === undefined) throw new Error('the agent did not say its ledger');
    return (JSON.parse(line) as { ledger: ClosingBooks }).ledger;
  }

  clean(): void {
    this.#child?.kill('SIGKILL');
    rmSync(this.dir, { recursive: true, force: true });
  }
}
