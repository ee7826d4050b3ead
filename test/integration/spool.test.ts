import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { until } from './condition.ts';
import { ControlGroup } from './control-group.ts';
import { type Books, OwnCollector, SpoolingAgent } from './delivery-processes.ts';
import { Disk } from './disks.ts';
import type { Row } from './event-files.ts';
import { PacedOpens } from './paced-opens.ts';
import { buildTruth } from './truth-program.ts';
import { makeWorkDir, removeWorkDir } from './work-dir.ts';

const OPENS_PER_SECOND = 2000;
/** Events of 1 KB and more: a disk of a few MiB is full within seconds. */
const LONG_NAME = Array.from({ length: 5 }, () => 'd'.repeat(200)).join('/');

let base: string;
let dir: string;
let group: ControlGroup;
let collector: OwnCollector;
let pace: PacedOpens;
let agent: SpoolingAgent | undefined;
let disk: Disk | undefined;
let round = 0;
/** Whose metrics are where. */
let asked: SpoolingAgent | undefined;
let address = '';

const config = (spool: string): string => `apiVersion: kerntap.dev/v1alpha1
probes: {process.exec: off, process.exit: off, process.io_uring: off, file.open: writes, file.close: off,
  file.rename: off, file.unlink: off, file.chmod: off, socket.connect: off, socket.accept: off, socket.listen: off,
  socket.close: off}
budgets: {containerEventsPerSecond: 0, nodeEventsPerSecond: 0, cpuCores: 0}
spool: ${spool}
`;

beforeAll(() => {
  buildTruth();
  base = makeWorkDir();
  group = ControlGroup.host('spool');
});
afterAll(() => {
  group?.remove();
  removeWorkDir(base);
});
beforeEach(async () => {
  dir = join(base, String(++round));
  mkdirSync(dir);
  collector = new OwnCollector(dir);
  await collector.start();
});
afterEach(async () => {
  await pace?.end();
  await agent?.kill('SIGKILL');
  await collector.stop('SIGKILL');
  disk?.unmount();
  disk = undefined;
});

/** An agent whose collector goes away, while files are opened at a pace. */
async function outage(settings: string, spool = join(dir, 'spool')): Promise<SpoolingAgent> {
  const file = join(dir, 'kerntap.yaml');
  writeFileSync(file, config(settings));
  agent = new SpoolingAgent(dir, collector.address, ['--config', file, '--metrics', '127.0.0.1:0'], spool);
  await agent.watching();
  await collector.stop('SIGKILL');
  pace = new PacedOpens(group, join(dir, LONG_NAME), OPENS_PER_SECOND);
  return agent;
}

async function fetchText(of: SpoolingAgent, path: string): Promise<string> {
  if (asked !== of) {
    asked = of;
    address = String((await of.said('metrics and health'))['address']);
  }
  return await new Promise((resolve, reject) => {
    get(`http://${address}${path}`, (response) => {
      let text = '';
      response.on('data', (bytes: Buffer) => (text += bytes.toString()));
      response.on('end', () => resolve(text));
    }).on('error', reject);
  });
}

async function metric(of: SpoolingAgent, name: string): Promise<number> {
  const line = (await fetchText(of, '/metrics')).split('\n').find((text) => text.startsWith(`${name} `));
  return Number(line?.split(' ')[1] ?? Number.NaN);
}

/** Polls until it holds. */
async function eventually(what: string, holds: () => Promise<boolean>, deadlineMs = 40_000): Promise<void> {
  const end = performance.now() + deadlineMs;
  while (!(await holds())) {
    if (performance.now() > end)
      throw new Error(`not within ${deadlineMs} ms: ${what}; ${agent?.log.slice(-8).join('\n')}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Everything that the agent took is delivered or counted, and the books balance. */
async function settled(of: SpoolingAgent): Promise<Books> {
  let books: Books | undefined;
  await eventually('nothing on disk and little in memory', async () => {
    const { code, ...now } = await of.books();
    books = now;
    return code === 0 && now.ledger.user.spooled === 0;
  });
  if (books === undefined) throw new Error('no books');
  return books;
}

/** Rows of this test, once each. */
function rowsOnce(): Row[] {
  const rows = new Map<unknown, Row>();
  for (const row of collector.files.poll()) rows.set(row['event_id'], row);
  return [...rows.values()];
}

const lostOf = ({ ledger }: Pick<Books, 'ledger'>, stage: string): Record<string, number> => {
  const lost = ledger.lost.filter((loss) => loss.stage === stage && loss.kind === 'file.open');
  return Object.fromEntries(lost.map(({ reason, total }) => [reason, total]));
};

/** After everything has settled and the agent has stopped: what was taken is in the files, but for what was lost. */
async function expectComplete(of: SpoolingAgent): Promise<Record<string, number>> {
  const opens = await pace.end();
  await settled(of);
  const ledger = await of.stop();
  const lost = { ...lostOf({ ledger }, 'spool'), ...lostOf({ ledger }, 'queue') };
  const gone = Object.values(lost).reduce((sum, count) => sum + count, 0);
  // What was shed never got a sequence.
  const encoded = ledger.user.encoded - gone + (lost['shed'] ?? 0);
  expect(ledger.user.spooled).toBe(0);
  const rows = rowsOnce();
  expect(rows.filter((row) => row['kind'] === 'file.open').length).toBe(encoded);
  const told = new Set(rows.map((row) => pace.numberOf(row)));
  const missing = opens.filter(({ number }) => !told.has(number)).length;
  expect(missing).toBeLessThanOrEqual(gone);
  if (gone === 0) expect(missing).toBe(0);
  return lost;
}

describe('a collector that is away', () => {
  test('costs nothing while the spool has room, and writes nothing once it is back', async () => {
    const one = await outage('{maxBytes: 256Mi, minFreePercent: 0}');
    await eventually('events on disk', async () => (await metric(one, 'kerntap_spool_bytes')) > 4 << 20);
    const { code } = await one.books();
    expect(code).toBe(0);
    await collector.start();
    await pace.more(OPENS_PER_SECOND);
    expect(await expectComplete(one)).toEqual({});
    expect(readdirSync(join(dir, 'spool')).filter((name) => name.endsWith('.seg'))).toEqual([]);
  });

  test('costs the oldest when the spool is full: the hole in the files is what was counted', async () => {
    const one = await outage('{maxBytes: 20Mi, minFreePercent: 0}');
    await eventually('evictions', async () => (lostOf(await one.books(), 'spool')['evicted'] ?? 0) > 5000, 60_000);
    await collector.start();
    const lost = await expectComplete(one);
    expect(Object.keys(lost)).not.toContain('overflow');
    const rows = rowsOnce();
    const sequences = new Set(rows.map((row) => Number(row['seq'])));
    const last = Math.max(...sequences);
    const holes = Array.from({ length: last }, (_, i) => i + 1).filter((sequence) => !sequences.has(sequence));
    const spans = rows.filter((row) => row['loss_stage'] === 'spool');
    const [first, end] = [
      Math.min(...spans.map((row) => Number(row['loss_first_seq']))),
      Math.max(...spans.map((row) => Number(row['loss_last_seq']))),
    ];
    // The hole is told: all that is missing is among those sequences, and so many are missing.
    expect(holes.length).toBeGreaterThanOrEqual(lost['evicted'] ?? 0);
    expect(holes[0]).toBeGreaterThanOrEqual(first);
    expect(holes.at(-1)).toBeLessThanOrEqual(end);
  });
});

describe('a disk', () => {
  test('that is full costs nothing that memory holds, and is used again when there is room', async () => {
    disk = Disk.tmpfs(join(dir, 'disk'), 4);
    const one = await outage('{maxBytes: 1Gi, minFreePercent: 0}', join(disk.dir, 'spool'));
    await one.said('the spool takes no events', 30_000);
    expect(await metric(one, 'kerntap_spool_up')).toBe(0);
    expect(await fetchText(one, '/readyz')).toMatch(/"status":"degraded".*"part":"spool","reason":"ENOSPC/s);
    await collector.start();
    await one.said('the spool takes events again', 60_000);
    await eventually('a spool that is up', async () => (await metric(one, 'kerntap_spool_up')) === 1);
    await expectComplete(one);
  });

  test('that became read-only costs what memory cannot hold; what is on it is still sent', async () => {
    disk = Disk.loop(join(dir, 'disk'), 64);
    const one = await outage('{maxBytes: 48Mi, minFreePercent: 0}', join(disk.dir, 'spool'));
    await eventually('events on disk', async () => (await metric(one, 'kerntap_spool_bytes')) > 1 << 20);
    disk.abort();
    await one.said('the spool takes no events', 30_000);
    expect(await fetchText(one, '/readyz')).toMatch(/"part":"spool","reason":"(EROFS|EIO)/);
    await collector.start();
    await expectComplete(one);
  });

  test('that does not answer stalls neither the drain nor those who watch', async () => {
    disk = Disk.loop(join(dir, 'disk'), 64);
    const one = await outage('{maxBytes: 48Mi, minFreePercent: 0, fsync: always}', join(disk.dir, 'spool'));
    await eventually('events on disk', async () => (await metric(one, 'kerntap_spool_bytes')) > 1 << 20);
    disk.freeze();
    try {
      await eventually('the stall to be told', async () => (await metric(one, 'kerntap_spool_up')) === 0);
      expect(await fetchText(one, '/readyz')).toMatch(/the disk has not answered for \d+ s/);
      expect(await metric(one, 'kerntap_drain_lag_seconds')).toBeLessThan(2);
      // Memory is soon full of what cannot be sent: opens are then shed before they are encoded, and counted.
      const taken = ({ ledger }: Books) => ledger.user.encoded + (lostOf({ ledger }, 'queue')['shed'] ?? 0);
      const before = taken(await one.books());
      await pace.more(OPENS_PER_SECOND);
      expect(taken(await one.books())).toBeGreaterThan(before + OPENS_PER_SECOND / 2);
      // The stream does not wait for it either.
      await collector.start();
      await until('new events at the collector', () => collector.files.poll().length > 100, 30_000);
    } finally {
      disk.thaw();
    }
    await expectComplete(one);
  });
});
