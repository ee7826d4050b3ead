// What the collector pays for the Community ID of a connection: rows of socket events made with and without it, by turns in
// one run, so that a busy machine disturbs both alike. It runs the compiled dist/: build first.
import { expect, it } from 'vitest';
import { NODE } from '../unit/collector/publisher.ts';

const EVENTS = 1000;
const ROUNDS = 300;

const built = new URL('../../dist/proto/', import.meta.url);
const load = async <T>(file: string): Promise<T> => (await import(new URL(file, built).href)) as T;
const { rowsOf } = await load<typeof import('../../proto/columns.ts')>('columns.js');
const { decodeBatch, encodeBatch } = await load<typeof import('../../proto/contract.ts')>('contract.js');

const RUN = Buffer.alloc(16, 7);
const address = (last: number, port: number) => ({ ip: Buffer.from([10, 1, last >> 8, last & 255]), port });

/** One batch of connections of 20 pods: connect, accept and close by turns. */
const bytes = encodeBatch({
  runId: RUN,
  firstSeq: 1n,
  baseTimeNs: 10n ** 15n,
  wallOffsetNs: 1_795_334_399_123_456_789n - 10n ** 15n,
  workloads: Array.from({ length: 20 }, (_, i) => ({
    state: 1,
    podUid: `c0ffee00-0000-4000-8000-${String(i).padStart(12, '0')}`,
    podName: `payments-api-${i}`,
    namespaceName: 'payments',
    containerName: 'api',
    containerId: String(i).padStart(64, 'a'),
    podLabels: { app: 'payments-api', tier: 'front' },
  })),
  processes: Array.from({ length: 60 }, (_, i) => ({
    workload: 1 + (i % 20),
    tgid: 1000 + i,
    startTimeNs: 5n,
    comm: Buffer.from('api'),
    exe: Buffer.from('/usr/bin/api'),
  })),
  events: Array.from({ length: EVENTS }, (_, i) => {
    const socket = { family: 2, protocol: 6, local: address(i % 20, 30_000 + i), remote: address(i % 7, 443) };
    const process = 1 + (i % 60);
    const body = { ...socket, connectionStartNs: 10n ** 15n };
    return i % 3 === 0
      ? { process, socketConnect: body }
      : i % 3 === 1
        ? { process, socketAccept: body }
        : { process, socketClose: { ...body, durationNs: 5n, bytesSent: 10n, bytesReceived: 20n } };
  }),
});

function nsPerRow(seed: number | null): number {
  // Decoded anew: what rows keep of their actors is a batch's own.
  const batch = decodeBatch(bytes);
  const start = process.hrtime.bigint();
  let characters = 0;
  for (const event of rowsOf(batch, NODE, 1, seed)) if (!('refused' in event)) characters += event.line().length;
  const ns = Number(process.hrtime.bigint() - start) / EVENTS;
  expect(characters).toBeGreaterThan(EVENTS * 100);
  return ns;
}

/** What it takes when nothing comes in between. */
const tenth = (values: readonly number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 10)] as number;

it('a row of a connection, with and without its Community ID', () => {
  const without: number[] = [];
  const whole: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    without.push(nsPerRow(null));
    whole.push(nsPerRow(0));
  }
  const [bare, full] = [tenth(without), tenth(whole)];
  console.log(
    `row of a connection: ${bare.toFixed(0)} ns, with its Community ID ${full.toFixed(0)} ns (10th percentiles)`,
  );
});
