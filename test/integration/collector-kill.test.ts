import { type ChildProcess, spawn } from 'node:child_process';
import { createReadStream, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from './condition.ts';
import { ControlGroup } from './control-group.ts';
import { buildTruth, startTruth } from './truth-program.ts';

const MAIN = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));
const RATE = Number(process.env['KILL_RATE'] ?? 20_000);
const SECONDS = Number(process.env['KILL_SECONDS'] ?? 120);
/** When the program has ended, what waits is delivered: longer than an agent waits between two attempts nothing stands still. */
const STUCK_MS = 45_000;
/** On a machine with other work most may have to wait. */
const DRAIN_MS = 420_000;
/** Opens of the rest of the machine that may be on their way at any moment. */
const OTHERS = 100;
/** Also without: 16 MiB of memory are some seconds of this rate. */
const SPOOL = process.env['KILL_SPOOL'] !== 'off';

/** The collector is killed after so long, each time another time: in the middle of writing, of a sync, of its recovery. */
const lifeMs = () => 3000 + Math.random() * 2000;

interface Books {
  readonly balance: {
    readonly balances: boolean;
    readonly gaps: readonly unknown[];
    readonly kinds: readonly { kind: string; seen: number; delivered: number; lost: number; inFlight: number }[];
  };
}

let dir: string;
/** Where the program makes its files: in memory, so that the disk is the collector's alone. */
let made: string;
let group: ControlGroup;
let agent: ChildProcess;
let collector: ChildProcess;
const agentLog: string[] = [];
let address = '127.0.0.1:0';
let kills = 0;
/** What was lost or off balance whenever the agent was asked on the way. */
const onTheWay: Books['balance'][] = [];
let opens = 0;
let books: Books['balance'];
let exitBooks: {
  kinds: Record<
    string,
    { seen: number; emitted: number; lost: Record<string, number>; suppressed: Record<string, number> }
  >;
  user: { inFlight: number };
  lost: unknown[];
};
let files: Tally;

function node(args: readonly string[], onLine: (line: string) => void): ChildProcess {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  if (child.stderr !== null) createInterface({ input: child.stderr }).on('line', onLine);
  return child;
}

const ended = (child: ChildProcess) =>
  new Promise<void>((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve();
    else child.once('exit', () => resolve());
  });

async function startCollector(): Promise<void> {
  let listening: string | undefined;
  const log: string[] = [];
  const flags = ['--listen', address, '--out', join(dir, 'events'), '--metrics', 'off', '--rotate-bytes', '32Mi'];
  collector = node(['collector', ...flags], (line) => {
    log.push(line);
    listening ??= /"address":"([^"]+)"/.exec(line)?.[1];
  });
  await until(
    () => `the collector listens: ${log.join('\n')}`,
    () => listening !== undefined,
  );
  address = listening ?? address;
}

async function kill(): Promise<void> {
  collector.kill('SIGKILL');
  await ended(collector);
  kills++;
}

async function askBooks(): Promise<Books['balance']> {
  const child = spawn(process.execPath, [MAIN, 'ledger', '--json', '--socket', join(dir, 'agent.sock')]);
  let out = '';
  child.stdout.on('data', (chunk) => {
    out += chunk;
  });
  await new Promise((resolve) => child.once('close', resolve));
  return (JSON.parse(out) as Books).balance;
}

interface Tally {
  readonly rows: number;
  /** Rows of an event that is there already: what was sent again. */
  readonly repeated: number;
  /** Distinct events of file.open, of everyone. */
  readonly events: number;
  /** Numbers of the program that no event, or several events, name. */
  readonly missing: unknown[];
  readonly several: unknown[];
  /** One event id with two contents, or a line that is no row. */
  readonly wrong: unknown[];
}

/** As much of a list as one wants to read. */
const told = (list: readonly unknown[]) =>
  list.length < 6 ? [...list] : [...list.slice(0, 5), `and ${list.length - 5} more`];

/** Reads the collector's files: distinct events by their id, and which of them opened which of the program's files. */
async function tally(): Promise<Tally> {
  const id = /"event_id":"([0-9a-f]{32})-([0-9]+)"/;
  const path = new RegExp(`"file_path":"${made}/([0-9]+)"`);
  const runs = new Set<string>();
  // Number + 1 of the program's file by sequence; 0: not seen; others': all ones.
  const bySeq = new Uint32Array(opens + 2_000_000);
  const times = new Uint8Array(opens);
  const wrong: string[] = [];
  let [rows, repeated, events] = [0, 0, 0];
  const names = readdirSync(join(dir, 'events'), { recursive: true, encoding: 'utf8' });
  for (const name of names.filter((each) => each.includes('kind=file.open/') && each.endsWith('.ndjson'))) {
    for await (const line of createInterface({ input: createReadStream(join(dir, 'events', name)) })) {
      const [, run = '', seq = ''] = id.exec(line) ?? [];
      const number = path.exec(line)?.[1];
      rows++;
      const what = number === undefined ? 0xffffffff : Number(number) + 1;
      if (run === '' || !line.endsWith('}')) {
        wrong.push(line);
        continue;
      }
      runs.add(run);
      const known = bySeq[Number(seq)] ?? 0;
      if (known === what) repeated++;
      else if (known !== 0) wrong.push(line);
      else {
        bySeq[Number(seq)] = what;
        events++;
        if (number !== undefined) times[Number(number)] = (times[Number(number)] ?? 0) + 1;
      }
    }
  }
  if (runs.size !== 1) wrong.push(`runs: ${[...runs].join()}`);
  const missing: number[] = [];
  const several: number[] = [];
  times.forEach((count, number) => {
    if (count === 0) missing.push(number);
    else if (count > 1) several.push(number);
  });
  return { rows, repeated, events, missing: told(missing), several: told(several), wrong: told(wrong) };
}

beforeAll(
  async () => {
    buildTruth();
    dir = mkdtempSync(join(tmpdir(), 'kerntap-kill-'));
    made = mkdtempSync('/dev/shm/kerntap-kill-');
    group = ControlGroup.host('kill');
    await startCollector();
    const config = join(dir, 'kerntap.yaml');
    writeFileSync(
      config,
      `apiVersion: kerntap.dev/v1alpha1
budgets: {containerEventsPerSecond: 0, nodeEventsPerSecond: 0, cpuCores: 0}
spool: {enabled: ${SPOOL}, dir: ${join(dir, 'spool')}, minFreePercent: 1}
`,
    );
    const flags = ['--config', config, '--socket', join(dir, 'agent.sock'), '--tail', 'off', '--metrics', 'off'];
    // Of everyone but the program as little as may be: only files that are written or made are events.
    const kinds = ['--kinds', 'file.open', '--open-mode', 'writes', '--ring-bytes', '64Mi'];
    agent = node(['agent', '--collector', address, ...flags, ...kinds], (line) => agentLog.push(line));
    await until(
      () => `the agent watches: ${agentLog.join('\n')}`,
      () => agentLog.some((line) => line.includes('watching this node')),
    );

    let done: number | undefined;
    const program = startTruth(group, 'pace', { args: ['stream', made, String(RATE), String(SECONDS)] }, (line) => {
      if (line.startsWith('d ')) done = Number(line.slice(2));
    });
    let next = performance.now() + lifeMs();
    while (done === undefined && program.exitCode === null) {
      await until('the next kill', () => performance.now() > next || done !== undefined, 10_000);
      if (done !== undefined) break;
      await kill();
      await startCollector();
      next = performance.now() + lifeMs();
      if (kills % 3 === 0) onTheWay.push(await askBooks());
    }
    opens = await until('what the program did', () => done, 30_000);
    books = await askBooks();
    // What waited for the collector: on a machine with other work that may be most of it. Of the rest of the machine's acts
    // a few are always on their way. An agent that is stopped before leaves the rest in its spool.
    const opened = () => books.kinds.find(({ kind }) => kind === 'file.open');
    let delivered = 0;
    for (let end = performance.now() + STUCK_MS; (opened()?.inFlight ?? 0) > OTHERS; books = await askBooks()) {
      if ((opened()?.delivered ?? 0) > delivered) end = performance.now() + STUCK_MS;
      delivered = opened()?.delivered ?? 0;
      if (performance.now() > end) throw new Error(`nothing is delivered any more: ${JSON.stringify(books)}`);
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    agent.kill('SIGTERM');
    await ended(agent);
    exitBooks = JSON.parse(agentLog.findLast((line) => line.includes('"msg":"stopped"')) ?? '{}').ledger;
    collector.kill('SIGTERM');
    await ended(collector);
    files = await tally();
    console.log(
      `${opens} opens at ${RATE}/s, the collector killed ${kills} times: ${files.rows} rows, ${files.repeated} of them sent again; ${exitBooks.user.inFlight} left`,
    );
  },
  SECONDS * 1000 + DRAIN_MS,
);

afterAll(async () => {
  for (const child of [agent, collector]) {
    child?.kill('SIGKILL');
    if (child !== undefined) await ended(child);
  }
  group?.remove();
  for (const each of [dir, made]) if (each !== undefined) rmSync(each, { recursive: true, force: true });
});

describe(`a collector that is killed every few seconds at ${RATE} events/s`, () => {
  it('was in the middle of its work: it was sent again what it had written', () => {
    expect(kills).toBeGreaterThanOrEqual(Math.floor(SECONDS / 8));
    expect(opens).toBeGreaterThan(RATE * SECONDS * 0.5);
    expect(files.repeated).toBeGreaterThan(0);
  });

  it('has every event in its files, exactly once by event id', () => {
    expect(files.wrong).toEqual([]);
    expect(files.missing).toEqual([]);
    expect(files.several).toEqual([]);
    expect(files.events).toBe(exitBooks.kinds['file.open']?.emitted);
  });

  it('leaves books that balance, on the way and at the end, without a loss', () => {
    expect(onTheWay.length).toBeGreaterThan(0);
    for (const { balances, gaps } of [...onTheWay, books])
      expect({ balances, gaps }).toEqual({ balances: true, gaps: [] });
    const opened = exitBooks.kinds['file.open'];
    expect(opened?.lost).toEqual({});
    expect(opened?.seen).toBe(
      (opened?.emitted ?? 0) + Object.values(opened?.suppressed ?? {}).reduce((a, b) => a + b, 0),
    );
    expect(exitBooks.user.inFlight).toBe(0);
    expect(exitBooks.lost).toEqual([]);
  });
});
