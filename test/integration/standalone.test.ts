import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { withoutNulls } from '../rows.ts';
import { until } from './condition.ts';
import { EventFiles, parseRow, type Row } from './event-files.ts';

const MAIN = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));
const BUDGET_MS = 1500;

let folder: string;
let children: ChildProcess[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kerntap-standalone-'));
  children = [];
});
afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

interface Started {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly startedMs: number;
  readonly rows: Row[];
  readonly log: Row[];
  readonly files: EventFiles;
  readonly ended: Promise<number | null>;
}

/** The built agent as `npm start` runs it, its stdout a pipe. */
function start(flags: readonly string[] = [], wrapper: readonly string[] = []): Started {
  const out = join(folder, `events-${children.length}`);
  const command = [...wrapper, process.execPath, MAIN, 'agent', '--standalone', '--out', out, ...flags];
  const startedMs = Date.now();
  const child = spawn(command[0] ?? '', command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  const rows: Row[] = [];
  const log: Row[] = [];
  follow(child.stdout, rows);
  follow(child.stderr, log);
  const ended = new Promise<number | null>((resolve) => child.on('close', (code) => resolve(code)));
  if (child.pid === undefined) throw new Error('the agent did not start');
  return { child, pid: child.pid, startedMs, rows, log, files: new EventFiles(out), ended };
}

function follow(stream: NodeJS.ReadableStream | null, into: Row[]): void {
  let rest = '';
  stream?.on('data', (bytes: Buffer) => {
    const lines = (rest + bytes.toString()).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) into.push(parseRow(line));
  });
}

/** Runs /bin/true with this argument and returns its pid. */
function act(marker: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn('/bin/true', [marker]);
    child.on('error', reject);
    child.on('close', () => resolve(child.pid ?? 0));
  });
}

function execsWith(rows: readonly Row[], marker: string): Row[] {
  return rows.filter((row) => {
    const args = row['process_command_args'];
    return row['kind'] === 'process.exec' && Array.isArray(args) && args[1] === marker;
  });
}

const said = (agent: Started, message: RegExp) => agent.log.some((line) => message.test(String(line['msg'])));
const told = (agent: Started) => () => `the agent: ${agent.log.map((line) => JSON.stringify(line)).join('\n')}`;

async function running(agent: Started): Promise<void> {
  await until(told(agent), () => said(agent, /^watching/), 30_000);
}

/** Ids of the programs or maps that a process holds: each descriptor of one tells its id (proc(5), fdinfo). */
function heldBy(pid: number, what: 'prog' | 'map'): number[] {
  const ids = readdirSync(`/proc/${pid}/fdinfo`).flatMap((fd) => {
    const match = new RegExp(`^${what}_id:\\s*(\\d+)$`, 'm').exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'));
    return match ? [Number(match[1])] : [];
  });
  return [...new Set(ids)];
}

/** Ids of all there are in the kernel, as bpftool lists them. */
function existing(what: 'prog' | 'map'): Set<number> {
  const listed: { readonly id: number }[] = JSON.parse(
    execFileSync('bpftool', ['-j', what, 'list'], { encoding: 'utf8', maxBuffer: 1 << 26 }),
  );
  return new Set(listed.map((item) => item.id));
}

describe('an agent on its own', () => {
  it('shows an exec once on stdout and once in the files, the same both times', async () => {
    const agent = start();
    await running(agent);
    const marker = 'marker with\nnewline and \x1b[31m';
    const pid = await act(marker);
    await until(
      told(agent),
      () => execsWith(agent.rows, marker).length > 0 && execsWith(agent.files.poll(), marker).length > 0,
    );
    agent.child.kill('SIGTERM');
    expect(await agent.ended).toBe(0);

    const [shown, ...more] = execsWith(agent.rows, marker);
    expect(more).toEqual([]);
    expect(shown).toMatchObject({
      process_pid: pid,
      process_command: 'true',
      process_command_args: ['/bin/true', marker],
      process_executable_asked: '/bin/true',
      process_parent_pid: process.pid,
      process_working_directory: process.cwd(),
      existing: false,
      entry: 'host',
    });
    const stored = execsWith(agent.files.poll(), marker);
    expect(stored).toHaveLength(1);
    expect(withoutNulls({ ...stored[0], ingest_time: null })).toEqual(withoutNulls(shown));
  });

  it('ends in order: its books balance and the collector has every event that it names', async () => {
    const agent = start();
    await running(agent);
    for (let i = 0; i < 50; i++) await act(`book-${i}`);
    agent.child.kill('SIGTERM');
    expect(await agent.ended).toBe(0);

    const last = agent.log.at(-1);
    expect(last).toMatchObject({ msg: 'stopped', ledger: { lost: [], user: { inFlight: 0 } } });
    const { kinds, user } = (last?.['ledger'] ?? {}) as {
      kinds: Record<string, { seen: number; emitted: number; suppressed: object }>;
      user: { drained: number; control: number; encoded: number };
    };
    expect(user.drained - user.control).toBe(Object.values(kinds).reduce((sum, kind) => sum + kind.emitted, 0));
    expect(user.encoded).toBe(user.drained - user.control);
    const rows = agent.files.poll();
    expect(Object.keys(kinds)).toContain('process.exec');
    for (const [kind, { seen, emitted, suppressed }] of Object.entries(kinds)) {
      const sum = Object.values(suppressed).reduce((a, b) => a + b, 0);
      expect(seen, kind).toBe(emitted + sum);
      expect(
        rows.filter((row) => row['kind'] === kind),
        kind,
      ).toHaveLength(emitted);
    }
    const sequences = rows.map((row) => Number(row['seq'])).sort((a, b) => a - b);
    expect(sequences).toEqual(Array.from({ length: rows.length }, (_, i) => i + 1));
    for (let i = 0; i < 50; i++) expect(execsWith(rows, `book-${i}`)).toHaveLength(1);
  });

  it(`shows its first event within ${BUDGET_MS} ms of its start`, async () => {
    const times: number[] = [];
    for (let round = 0; round < 3; round++) {
      const agent = start(['--tail-kinds', 'process.exec']);
      let marks = 0;
      const acting = setInterval(() => void act(`first-${round}-${marks++}`), 25);
      await until(told(agent), () => agent.rows.some((row) => row['existing'] === false), 30_000);
      clearInterval(acting);
      times.push(Date.now() - agent.startedMs);
      agent.child.kill('SIGTERM');
      await agent.ended;
    }
    console.log(`time to first event: ${times.join(', ')} ms`);
    expect(Math.min(...times)).toBeLessThanOrEqual(BUDGET_MS);
  });

  it('killed, leaves no program and no map in the kernel', async () => {
    const agent = start();
    await running(agent);
    const programs = heldBy(agent.pid, 'prog');
    const maps = heldBy(agent.pid, 'map');
    expect(programs.length).toBeGreaterThan(10);
    expect(maps.length).toBeGreaterThan(8);
    agent.child.kill('SIGKILL');
    await agent.ended;
    // Links go when the kernel has let their last users out: some RCU periods.
    await until(
      () =>
        `left: programs ${programs.filter((id) => existing('prog').has(id))}, maps ${maps.filter((id) => existing('map').has(id))}`,
      () => {
        const left = existing('prog');
        const leftMaps = existing('map');
        return !programs.some((id) => left.has(id)) && !maps.some((id) => leftMaps.has(id));
      },
    );
  });

  it('stops when the reader of its events is gone', async () => {
    const agent = start();
    await running(agent);
    agent.child.stdout?.destroy();
    await act('nobody reads this');
    expect(await agent.ended).toBe(0);
    expect(said(agent, /the reader of stdout is gone/)).toBe(true);
  });

  it('without the capabilities says which are missing and what to do, and exits with 1', async () => {
    const agent = start([], ['setpriv', '--bounding-set', '-all', '--inh-caps', '-all']);
    expect(await agent.ended).toBe(1);
    const last = agent.log.at(-1);
    expect(last?.['msg']).toMatch(/the agent cannot start: Capabilities: BPF and PERFMON missing/);
    expect(last?.['remedy']).toMatch(/add BPF and PERFMON/);
    expect(agent.rows).toEqual([]);
  });

  it('with a folder that is no cgroup hierarchy says so, and exits with 1', async () => {
    const agent = start(['--cgroup', folder]);
    expect(await agent.ended).toBe(1);
    expect(agent.log.at(-1)?.['msg']).toMatch(/the agent cannot start: Control groups: /);
  });
});

describe('a reader of stdout that does not read', () => {
  it('loses lines of the tail, which are counted, and nothing else; the agent neither waits nor grows', async () => {
    const out = join(folder, 'events');
    const child = spawn(process.execPath, [MAIN, 'agent', '--standalone', '--open-mode', 'writes', '--out', out], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    children.push(child);
    const log: Row[] = [];
    follow(child.stderr, log);
    const ended = new Promise<number | null>((resolve) => child.on('close', (code) => resolve(code)));
    const agent = { child, pid: child.pid ?? 0, startedMs: 0, rows: [], log, files: new EventFiles(out), ended };
    await running(agent);
    const before = rssKiB(agent.pid);
    // Some 2.5 KiB a line: far more than the pipe and the queue take.
    const made = 4000;
    const files = Array.from({ length: made }, (_, i) => join(folder, `made-${i}`));
    for (const file of files) writeFileSync(file, 'x');
    const opened = () =>
      agent.files.poll().filter((row) => row['kind'] === 'file.open' && row['process_pid'] === process.pid);
    await until(told(agent), () => opened().length >= made, 30_000);
    expect(opened().map((row) => row['file_path'])).toEqual(files);
    expect(rssKiB(agent.pid) - before).toBeLessThan(64 * 1024);

    const rows: Row[] = [];
    follow(child.stdout, rows);
    await until(told(agent), () => rows.some((row) => row['kind'] === 'kerntap.tail_dropped'));
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
    const shown = rows.filter((row) => row['kind'] !== 'kerntap.tail_dropped');
    const dropped = rows.filter((row) => row['kind'] === 'kerntap.tail_dropped').map((row) => Number(row['count']));
    expect(shown.length + dropped.reduce((a, b) => a + b, 0)).toBe(agent.files.poll().length);
  });
});

/** Resident memory of a process (proc(5)). */
function rssKiB(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

describe('two agents with one folder', () => {
  it('the second says who has it, and exits with 1 without touching the first', async () => {
    const first = start();
    await running(first);
    const out = join(folder, 'events-0');
    const second = spawn(process.execPath, [MAIN, 'agent', '--standalone', '--out', out], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    children.push(second);
    const log: Row[] = [];
    follow(second.stderr, log);
    expect(await new Promise((resolve) => second.on('close', resolve))).toBe(1);
    expect(log.at(-1)?.['msg']).toMatch(/the agent cannot start: .*events-0/);
    expect(log.at(-1)?.['remedy']).toBe('choose another folder with --out');
    await act('still here');
    await until(told(first), () => execsWith(first.rows, 'still here').length > 0);
  });
});

describe('an agent whose collector is not there', () => {
  it('runs, shows its events and says once that it waits', async () => {
    const out = join(folder, 'events');
    const child = spawn(
      process.execPath,
      [MAIN, 'agent', '--collector', '127.0.0.1:1', '--tail-rate', '0', '--tail-bytes', '0', '--json'],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    children.push(child);
    const rows: Row[] = [];
    const log: Row[] = [];
    follow(child.stdout, rows);
    follow(child.stderr, log);
    const agent = {
      child,
      pid: child.pid ?? 0,
      startedMs: 0,
      rows,
      log,
      files: new EventFiles(out),
      ended: new Promise<number | null>((r) => child.on('close', r)),
    };
    await running(agent);
    await act('unheard');
    await until(told(agent), () => execsWith(rows, 'unheard').length > 0 && said(agent, /no stream to the collector/));
    child.kill('SIGTERM');
    expect(await agent.ended).toBe(0);
    expect(said(agent, /stopped with events that the collector did not confirm/)).toBe(true);
  });
});
