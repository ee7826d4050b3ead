import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type CollectorProcess, CompiledCollector } from './compiled.ts';
import { filesUnder, rowsUnder } from './event-files.ts';
import { openBatch, Publisher } from './publisher.ts';

const PER_BATCH = 20;
let compiled: CompiledCollector;
let out: string;
const running: CollectorProcess[] = [];
const publishers: Publisher[] = [];

beforeAll(() => {
  compiled = new CompiledCollector();
});
afterAll(() => compiled.remove());

beforeEach(() => {
  out = mkdtempSync(join(tmpdir(), 'kerntap-crash-'));
});

afterEach(async () => {
  for (const each of publishers.splice(0)) each.close();
  for (const each of running.splice(0)) {
    each.kill('SIGKILL');
    await each.exit;
  }
  rmSync(out, { recursive: true, force: true });
});

function command(...args: string[]): CollectorProcess {
  const started = compiled.run(...args);
  running.push(started);
  return started;
}

function collector(...args: string[]): CollectorProcess {
  return command('--listen', '127.0.0.1:0', '--out', out, ...args);
}

async function publisher(to: CollectorProcess): Promise<Publisher> {
  const made = new Publisher(await to.address());
  publishers.push(made);
  return made.hello();
}

// Sequences on disk, each with how often; every line of every finished file must parse.
function sequences(): Map<number, number> {
  const counts = new Map<number, number>();
  for (const { seq } of rowsUnder(out)) counts.set(Number(seq), (counts.get(Number(seq)) ?? 0) + 1);
  return counts;
}

describe('a collector that is killed with SIGKILL while it writes', () => {
  test.each([1, 2, 3])('loses nothing that it acknowledged (round %i)', async (round) => {
    const first = collector('--rotate-bytes', '512Ki');
    const agent = await publisher(first);
    let sent = 0n;
    const feed = setInterval(() => {
      if (sent > agent.acked + 100n) return;
      for (let i = 0; i < 5; i++) {
        agent.batch(openBatch(sent + 1n, sent * BigInt(PER_BATCH) + 1n, PER_BATCH));
        sent += 1n;
      }
    }, 2);
    await agent.until(() => agent.acked >= BigInt(round * 60));
    first.kill('SIGKILL');
    await first.exit;
    clearInterval(feed);
    await agent.until(() => agent.status !== 'open');
    const acked = Number(agent.acked) * PER_BATCH;
    expect(Number(sent) * PER_BATCH).toBeGreaterThan(acked);

    // The machine fails too: a torn line, and blocks that were never written.
    const unfinished = filesUnder(out).filter((path) => path.endsWith('.tmp'));
    unfinished.push(String(filesUnder(out)[0]).replace(/[^/]*$/, 'node-1-of-an-earlier-crash-1.ndjson.tmp'));
    for (const path of unfinished) appendFileSync(join(out, path), `{"seq":99999${'\0'.repeat(100)}\n{"seq":99998}\n`);

    const second = collector();
    const again = await publisher(second);
    expect(filesUnder(out).filter((path) => path.endsWith('.tmp'))).toEqual([]);
    const recovered = sequences();
    for (let seq = 1; seq <= acked; seq++) expect(recovered.get(seq)).toBe(1);
    expect(recovered.has(99998) || recovered.has(99999)).toBe(false);

    // What was not acknowledged is sent again: at least once on disk, by the same event ids.
    const durable = agent.acked;
    for (let batch = durable; batch < sent; batch++) {
      again.batch(openBatch(batch - durable + 1n, batch * BigInt(PER_BATCH) + 1n, PER_BATCH));
    }
    await again.untilAcked(sent - durable);
    second.kill('SIGTERM');
    expect(await second.exit).toEqual({ code: 0, signal: null });
    const all = sequences();
    expect(all.size).toBe(Number(sent) * PER_BATCH);
    expect(filesUnder(out).filter((path) => path.endsWith('.tmp'))).toEqual([]);
  });

  test('leaves an empty file to be removed', async () => {
    const first = collector();
    const agent = await publisher(first);
    await agent.batch(openBatch(1n, 1n, 1)).untilAcked(1n);
    first.kill('SIGKILL');
    await first.exit;
    const [path] = filesUnder(out);
    appendFileSync(join(out, String(path).replace('-1.ndjson.tmp', '-2.ndjson.tmp')), '{"torn');
    const second = collector();
    await second.address();
    expect(filesUnder(out)).toEqual([String(path).replace('.tmp', '')]);
    expect(second.stderr).toMatch(/"files":2,"bytes":\d+,"cutBytes":6/);
  });
});

test('a collector with few file descriptors gives back those it can and loses nothing', async () => {
  const started = compiled.runLimited(48, '--listen', '127.0.0.1:0', '--out', out);
  running.push(started);
  const agent = await publisher(started);
  const events = Array.from({ length: 150 }, () => ({ timeDeltaNs: 3_600_000_000_000n, process: 1, fileOpen: {} }));
  await agent.batch(openBatch(1n, 1n, 0, { events })).untilAcked(1n);
  expect(agent.acked).toBe(1n);
  expect(started.stderr).toContain('EMFILE');
  started.kill('SIGTERM');
  expect((await started.exit).code).toBe(0);
  expect(sequences().size).toBe(150);
});

describe('kerntap collector', () => {
  test('prints its help and exits 0', async () => {
    const started = command('--help');
    expect(await started.exit).toEqual({ code: 0, signal: null });
    expect(started.stdout).toMatch(/^Usage: kerntap collector/);
    for (const flag of ['--listen', '--out', '--rotate-bytes', '--rotate-seconds', '--json']) {
      expect(started.stdout).toContain(flag);
    }
  });

  test.each([
    [['--listen', 'nowhere'], "--listen: 'nowhere' is not HOST:PORT"],
    [['--listen', '1.2.3.4:70000'], 'is not HOST:PORT'],
    [['--rotate-bytes', '12'], '--rotate-bytes'],
    [['--rotate-seconds', '-1'], '--rotate-seconds'],
    [['--outt', 'x'], 'did you mean --out'],
    [['events'], 'unexpected argument'],
    [['--out', ''], '--out must not be empty'],
  ])('exits 2 on %j', async (args, message) => {
    const started = command(...args);
    expect((await started.exit).code).toBe(2);
    expect(started.stderr).toContain(message);
  });

  test('exits 1 where the folder cannot be made, and says which', async () => {
    const started = command('--listen', '127.0.0.1:0', '--out', '/proc/kerntap');
    expect((await started.exit).code).toBe(1);
    expect(started.stderr).toContain('/proc/kerntap');
  });

  test('exits 1 where the folder has a collector already', async () => {
    await collector().address();
    const second = collector();
    expect((await second.exit).code).toBe(1);
    expect(second.stderr).toContain(`another collector is writing to ${out}`);
  });

  test('logs a summary with events by kind', async () => {
    const started = collector('--json');
    const agent = await publisher(started);
    await agent.batch(openBatch(1n, 1n, 10)).untilAcked(1n);
    await expect.poll(() => started.stderr, { timeout: 10_000 }).toContain('"msg":"summary"');
    const line = started.stderr.split('\n').find((text) => text.includes('"msg":"summary"'));
    expect(JSON.parse(line ?? '')).toMatchObject({ streams: 1, eventsPerSecond: 2, kinds: { 'file.open': 2 } });
  });
});
