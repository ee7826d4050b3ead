import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, expect, test } from 'vitest';
import type { Books } from '../../src/cli/ledger.ts';
import { until } from './condition.ts';
import { ControlGroup } from './control-group.ts';
import {
  acksLate,
  acksWrong,
  everyStatus,
  type HostileCollector,
  neverReads,
  resetsMidFrame,
} from './hostile-collector.ts';
import { StreamingAgent } from './streaming-agent.ts';
import { type Act, buildTruth, programPath, runTruth } from './truth-program.ts';
import { makeWorkDir, removeWorkDir } from './work-dir.ts';

/** Each is an open and a close on the stream: more than the memory for batches that nobody confirms (16 MiB) holds. */
const OPENS = 150_000;
/** So many at once fit into the ring, however slow this machine is: then the drain has to have taken them. */
const OPENS_AT_ONCE = 10_000;
const DRAINED_MS = 10_000;
const EXECS = 300;
/** Bytes of their argument. */
const ARGUMENT = '10';
/** What else this machine does is not to fill the rings. */
const KINDS = ['--kinds', 'process.exec,process.exit,file.open,file.close', '--open-mode', 'writes'];
/** The chart's limit is 256 MiB; 105 MB are usual, and 16 MiB of batches may wait. */
const RSS_MAX = 180 << 20;

beforeAll(() => buildTruth());

const cleaners: (() => void)[] = [];
afterEach(() => {
  for (const clean of cleaners.splice(0).reverse()) clean();
});

/** As soon as they balance, or as they are after a while. */
async function settledBooks(agent: StreamingAgent): Promise<Books> {
  const deadline = performance.now() + 15_000;
  for (;;) {
    const books = await agent.books();
    if (books.balance.balances || performance.now() > deadline) return books;
  }
}

function acted(acts: readonly Act[]): number {
  const done = acts.find(({ act }) => act === 'done');
  expect(done?.['failed']).toBe(0);
  return Number(done?.['done']);
}

test.each<[string, () => Promise<HostileCollector>]>([
  ['accepts and never reads', neverReads],
  ['acknowledges late', acksLate],
  ['acknowledges what was never sent', acksWrong],
  ['answers with every status in turn', everyStatus],
  ['is reset within a frame', resetsMidFrame],
])(
  'a collector that %s touches neither the drain, nor the tail, nor memory; the books balance',
  async (_, open) => {
    const collector = await open();
    cleaners.push(() => collector.stop());
    // The opens are for the stream alone: what stdout shows of them would be a measure of its reader.
    const tail = ['--tail-kinds', 'process.exec,process.exit', '--tail-rate', '0', '--tail-bytes', '0'];
    const agent = await StreamingAgent.start(collector.address, [...KINDS, ...tail]);
    cleaners.push(() => agent.clean());
    const dir = makeWorkDir();
    cleaners.push(() => removeWorkDir(dir));
    const file = join(dir, 'file');
    writeFileSync(file, '');
    const storm = ControlGroup.host('storm');
    const people = ControlGroup.host('people');
    cleaners.push(
      () => storm.remove(),
      () => people.remove(),
    );

    const value = async (name: string): Promise<number> =>
      Math.max(...((await agent.metrics()).get(name)?.samples ?? []).map((sample) => sample.value), 0);
    const execs = async (): Promise<number> =>
      1 +
      acted(
        (await runTruth(people, 'storm', { args: ['exec', programPath('nop'), ARGUMENT, String(EXECS / 3)] })).acts,
      );
    const opens = async (): Promise<number> => {
      const { acts } = await runTruth(storm, 'storm', { args: ['open', file, String(OPENS_AT_ONCE)] });
      const deadline = performance.now() + DRAINED_MS;
      while ((await value('kerntap_ring_bytes')) > 0) expect(performance.now()).toBeLessThan(deadline);
      return acted(acts);
    };

    // Some execs before its worst, some in the middle of it, some after.
    let expected = await execs();
    let opened = 0;
    while (opened < OPENS) {
      opened += await opens();
      if (opened === OPENS / 2) expected += await execs();
    }
    await until(
      () => `its worst; the agent says:\n${agent.said()}`,
      () => collector.done(),
      60_000,
    );
    expected += await execs();

    // The tail: a line for each exec of these people, and for each end.
    const shown = (kind: string): number =>
      agent.rows.filter((row) => row['kind'] === kind && row['cgroup_id'] === people.id).length;
    await until(
      () => `${expected} execs and ends on stdout: ${shown('process.exec')} and ${shown('process.exit')}`,
      () => shown('process.exec') >= expected && shown('process.exit') >= expected,
    );
    expect([shown('process.exec'), shown('process.exit')]).toEqual([expected, expected]);
    expect(agent.rows.filter((row) => row['kind'] === 'kerntap.tail_dropped')).toEqual([]);

    // The drain went on all the time (`opens` waits for it), and memory is bounded.
    expect(await value('kerntap_drain_lag_seconds')).toBeLessThan(DRAINED_MS / 1000);
    expect(await value('process_resident_memory_bytes')).toBeLessThan(RSS_MAX);
    expect(await value('kerntap_stream_queue_bytes')).toBeLessThanOrEqual(16 << 20);

    // The books balance while it goes on: what is in flight is looked at as it is.
    const books = await settledBooks(agent);
    expect(books.balance.gaps).toEqual([]);
    const opensBooked = books.balance.kinds.find(({ kind }) => kind === 'file.open');
    expect(opensBooked?.seen).toBeGreaterThanOrEqual(OPENS);
    expect(await agent.stop()).toBe(0);
  },
  180_000,
);
