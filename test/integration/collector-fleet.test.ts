import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type CollectorProcess, CompiledCollector } from '../unit/collector/compiled.ts';
import { eachRowUnder, filesUnder } from '../unit/collector/event-files.ts';
import { NODE, openBatch, Publisher } from '../unit/collector/publisher.ts';

/** More than have files of their own. */
const AGENTS = 40;
const PER_BATCH = 25;
/** Batches that an agent has unconfirmed. */
const WINDOW = 20n;

let compiled: CompiledCollector;
const undo: (() => unknown)[] = [];

beforeAll(() => {
  compiled = new CompiledCollector();
});
afterAll(() => compiled.remove());
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

function folder(): string {
  const out = mkdtempSync(join(tmpdir(), 'kerntap-many-'));
  undo.push(() => rmSync(out, { recursive: true, force: true }));
  return out;
}

function collector(out: string): CollectorProcess {
  const started = compiled.run('--listen', '127.0.0.1:0', '--out', out, '--metrics', 'off', '--rotate-bytes', '1Mi');
  undo.push(async () => {
    started.kill('SIGKILL');
    await started.exit;
  });
  return started;
}

/** As an agent: what was not confirmed is sent again, first of all, on the next stream. */
class Agent {
  readonly run: string;
  /** Batches made, and those confirmed as durable. */
  made = 0n;
  confirmed = 0n;
  #publisher: Publisher | undefined;
  #sent = 0n;
  #before = 0n;
  readonly #node;

  constructor(number: number) {
    const runId = Buffer.alloc(16, 0x40 + number);
    this.run = runId.toString('hex');
    this.#node = { ...NODE, runId, nodeName: `node-${number}` };
  }

  connect(address: string): void {
    const publisher = new Publisher(address).hello(this.#node);
    undo.push(() => publisher.close());
    this.#publisher = publisher;
    this.#sent = 0n;
    this.#before = this.confirmed;
    publisher.stream.on('data', () => {
      this.confirmed = this.#before + publisher.acked;
    });
    for (let batch = this.confirmed; batch < this.made; batch++) this.#send(batch);
  }

  #send(batch: bigint): void {
    const { runId } = this.#node;
    this.#publisher?.batch(openBatch(++this.#sent, batch * BigInt(PER_BATCH) + 1n, PER_BATCH, { runId }));
  }

  /** Makes batches as long as there are few unconfirmed. */
  feed(window = WINDOW): void {
    for (; this.made < this.confirmed + window; this.made++) this.#send(this.made);
  }

  get open(): boolean {
    return this.#publisher?.status === 'open';
  }
}

/** Distinct sequences by run, of every finished and unfinished file; a torn last line is none. */
function sequences(out: string): Map<string, Set<number>> {
  const found = new Map<string, Set<number>>();
  for (const row of eachRowUnder(out)) {
    const run = String(row['agent_run_id']);
    const seqs = found.get(run) ?? new Set<number>();
    found.set(run, seqs.add(Number(row['seq'])));
  }
  return found;
}

const until = (condition: () => boolean) => expect.poll(condition, { timeout: 20_000, interval: 5 }).toBe(true);

describe('a collector with many agents', () => {
  test('that is killed with SIGKILL again and again loses nothing that it acknowledged to any of them', async () => {
    const out = folder();
    const agents = Array.from({ length: AGENTS }, (_, number) => new Agent(number));
    for (let life = 1; life <= 3; life++) {
      const started = collector(out);
      const address = await started.address();
      const before = sequences(out);
      for (const { run, confirmed } of agents) {
        for (let seq = 1; seq <= Number(confirmed) * PER_BATCH; seq++) expect(before.get(run)?.has(seq)).toBe(true);
      }
      for (const agent of agents) agent.connect(address);
      const feed = setInterval(() => {
        for (const agent of agents) agent.feed();
      }, 2);
      await until(() => agents.every(({ confirmed }) => confirmed >= BigInt(life * 15)));
      started.kill('SIGKILL');
      await started.exit;
      clearInterval(feed);
      await until(() => agents.every(({ open }) => !open));
      expect(agents.some(({ made, confirmed }) => made > confirmed)).toBe(true);
    }
    const last = collector(out);
    const address = await last.address();
    for (const agent of agents) agent.connect(address);
    await until(() => agents.every(({ made, confirmed }) => made === confirmed));
    last.kill('SIGTERM');
    expect(await last.exit).toEqual({ code: 0, signal: null });
    const all = sequences(out);
    for (const { run, made } of agents) expect(all.get(run)?.size).toBe(Number(made) * PER_BATCH);
    // Sixteen have files of their own, the others share.
    expect(filesUnder(out).some((path) => path.includes('/many-'))).toBe(true);
    expect(filesUnder(out).filter((path) => path.endsWith('.tmp'))).toEqual([]);
  }, 90_000);

  test('is one of several replicas: when it is killed its agents go on at another, and together they have everything', async () => {
    const folders = [folder(), folder()] as const;
    const [first, second] = folders.map(collector) as [CollectorProcess, CollectorProcess];
    const addresses = [await first.address(), await second.address()];
    const agents = Array.from({ length: AGENTS }, (_, number) => new Agent(number));
    for (const [number, agent] of agents.entries()) agent.connect(String(addresses[number % 2]));
    const feed = setInterval(() => {
      for (const agent of agents) agent.feed();
    }, 2);
    undo.push(() => clearInterval(feed));
    await until(() => agents.every(({ confirmed }) => confirmed >= 15n));
    first.kill('SIGKILL');
    await first.exit;
    await until(() => agents.filter(({ open }) => !open).length === AGENTS / 2);
    for (const agent of agents) if (!agent.open) agent.connect(String(addresses[1]));
    await until(() => agents.every(({ confirmed }) => confirmed >= 30n));
    clearInterval(feed);
    await until(() => agents.every(({ made, confirmed }) => made === confirmed));
    second.kill('SIGTERM');
    await second.exit;
    // What the killed one has is finished at its next start.
    const again = collector(folders[0]);
    await again.address();
    const [left, right] = folders.map(sequences);
    for (const { run, made } of agents) {
      const both = new Set([...(left?.get(run) ?? []), ...(right?.get(run) ?? [])]);
      expect(both.size).toBe(Number(made) * PER_BATCH);
    }
  }, 90_000);

  test('holds no more than its bound in memory while its disk stands still, and confirms nothing until it moves', async (context) => {
    const out = freezableDisk();
    if (out === null) return context.skip('needs root, a loop device, mkfs.ext4 and fsfreeze');
    const started = collector(out.folder);
    const agents = Array.from({ length: AGENTS }, (_, number) => new Agent(number));
    const address = await started.address();
    for (const agent of agents) agent.connect(address);
    const windows = { now: WINDOW };
    const feed = setInterval(() => {
      for (const agent of agents) agent.feed(windows.now);
    }, 2);
    undo.push(() => clearInterval(feed));
    await until(() => agents.every(({ confirmed }) => confirmed >= 10n));
    out.freeze();
    const confirmed = (): number => agents.reduce((sum, agent) => sum + Number(agent.confirmed), 0);
    // An answer may be on its way: then none comes any more.
    let last = -1;
    await expect
      .poll(
        () => {
          const same = confirmed() === last;
          last = confirmed();
          return same;
        },
        { timeout: 20_000, interval: 1000 },
      )
      .toBe(true);
    // Far more than memory may hold: 40 agents with 300 batches of 25 rows of 1 KiB are 300 MB.
    windows.now = 300n;
    await until(() => agents.every(({ made, confirmed: done }) => made >= done + 300n));
    let rss = 0;
    await expect
      .poll(
        () => {
          const grown = residentMiB(started) > rss + 1;
          rss = residentMiB(started);
          return grown;
        },
        { timeout: 60_000, interval: 2000 },
      )
      .toBe(false);
    console.log(`${rss.toFixed(0)} MiB while its disk stands still`);
    expect(rss).toBeLessThan(250);
    expect(confirmed()).toBe(last);
    expect(agents.every(({ open }) => open)).toBe(true);

    clearInterval(feed);
    out.thaw();
    await expect
      .poll(() => agents.every(({ made, confirmed: done }) => made === done), { timeout: 120_000, interval: 100 })
      .toBe(true);
    started.kill('SIGTERM');
    expect(await started.exit).toEqual({ code: 0, signal: null });
    const all = sequences(out.folder);
    for (const { run, made } of agents) expect(all.get(run)?.size).toBe(Number(made) * PER_BATCH);
  }, 240_000);
});

function residentMiB({ pid }: CollectorProcess): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

/** A file system of its own that can be stopped: whoever writes to it then waits, and nobody can end that wait but `thaw`. */
function freezableDisk(): { readonly folder: string; freeze(): void; thaw(): void } | null {
  const at = folder();
  const disk = join(at, 'disk');
  const mounted = join(at, 'mounted');
  const run = (file: string, ...args: string[]): void => {
    execFileSync(file, args, { stdio: 'pipe', timeout: 30_000 });
  };
  let frozen = false;
  const thaw = (): void => {
    if (frozen) run('fsfreeze', '-u', mounted);
    frozen = false;
  };
  try {
    mkdirSync(mounted);
    run('truncate', '-s', '2G', disk);
    run('mkfs.ext4', '-q', disk);
    run('mount', '-o', 'loop', disk, mounted);
  } catch {
    return null;
  }
  undo.push(() => run('umount', mounted));
  // Before those who wait for it are ended: they cannot be.
  const freeze = (): void => {
    run('fsfreeze', '-f', mounted);
    frozen = true;
    undo.push(thaw);
  };
  return { folder: join(mounted, 'events'), freeze, thaw };
}
