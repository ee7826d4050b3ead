import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Collector, type CollectorOptions, startCollector } from '../../../src/collector/server.ts';
import { filesUnder, rowsUnder } from './event-files.ts';
import { NODE, openBatch, Publisher, RUN } from './publisher.ts';

const WAIT = { timeout: 10_000 };

const OTHER_RUN = Buffer.alloc(16, 0xee);

let out: string;
let collector: Collector;
const publishers: Publisher[] = [];

async function start(options: Partial<CollectorOptions> = {}): Promise<void> {
  collector = await startCollector({ listen: '127.0.0.1:0', out, log: pino({ level: 'silent' }), ...options });
}

function publisher(): Publisher {
  const made = new Publisher(collector.address);
  publishers.push(made);
  return made;
}

beforeEach(() => {
  out = mkdtempSync(join(tmpdir(), 'kerntap-collector-'));
});

afterEach(async () => {
  for (const each of publishers.splice(0)) each.close();
  await collector.close();
  rmSync(out, { recursive: true, force: true });
});

describe('an acknowledged batch', () => {
  test('is on disk as rows, in the partition of its time, before the ack', async () => {
    await start();
    const agent = publisher()
      .hello()
      .batch(openBatch(1n, 1n, 3));
    await agent.untilAcked(1n);
    const [path] = filesUnder(out);
    expect(path).toBe(`kind=file.open/cluster=prod/dt=2026-11-22/hour=07/node-1-${RUN.toString('hex')}-1.ndjson.tmp`);
    expect(rowsUnder(out, true).map((row) => row['file_path'])).toEqual(['/data/1', '/data/2', '/data/3']);
    await collector.close();
    expect(filesUnder(out)).toEqual([path?.replace('.tmp', '')]);
    expect(rowsUnder(out)).toHaveLength(3);
  });

  test('is one of many that one response acknowledges', async () => {
    await start();
    const agent = publisher().hello();
    for (let i = 1n; i <= 200n; i++) agent.batch(openBatch(i, i, 1));
    await agent.untilAcked(200n);
    expect(agent.acked).toBe(200n);
    expect(agent.responses.length).toBeLessThan(150);
    expect(rowsUnder(out, true).map((row) => row['seq'])).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
  });

  test('of another run than the Hello brings its own node facts', async () => {
    await start();
    const cloud = { hostId: 'i-of-that-run', cloudAccountId: '42', sources: { host_id: 'dmi' } };
    const node = { ...NODE, ...cloud, runId: OTHER_RUN, nodeName: 'node-0', clusterName: '' };
    const agent = publisher()
      .hello()
      .batch(openBatch(1n, 1n, 1))
      .batch(openBatch(2n, 9n, 1, { runId: OTHER_RUN, node }));
    await agent.untilAcked(2n);
    const rows = rowsUnder(out, true);
    expect(rows.map((row) => [row['k8s_node_name'], row['k8s_cluster_name'], row['event_id']])).toEqual([
      ['node-0', null, `${OTHER_RUN.toString('hex')}-9`],
      ['node-1', 'prod', `${RUN.toString('hex')}-1`],
    ]);
    expect(rows.map((row) => [row['host_id'], row['cloud_account_id']])).toEqual([
      ['i-of-that-run', '42'],
      [NODE.machineId, null],
    ]);
    expect(filesUnder(out).map((path) => path.split('/')[1])).toEqual(['cluster=default', 'cluster=prod']);
  });

  // Ids from the specification, baseline/README.md.
  test.each([
    [{}, '1:wCb3OG7yAFWelaUydu0D+125CLM='],
    [{ communityIdSeed: 1 }, '1:HhA1B+6CoLbiKPEs5nhNYN4XWfk='],
  ])('names its connections by the Community ID of the seed: %j', async (options, id) => {
    await start(options);
    const local = { ip: Buffer.from([1, 2, 3, 4]), port: 1122 };
    const remote = { ip: Buffer.from([5, 6, 7, 8]), port: 3344 };
    const socketConnect = { family: 2, protocol: 6, local, remote };
    const agent = publisher()
      .hello()
      .batch(openBatch(1n, 1n, 0, { events: [{ process: 1, socketConnect }] }));
    await agent.untilAcked(1n);
    expect(rowsUnder(out, true).map((row) => row['community_id'])).toEqual([id]);
  });

  test('that was sent again after a finished file never overwrites it', async () => {
    await start();
    await publisher()
      .hello()
      .batch(openBatch(1n, 1n, 2))
      .untilAcked(1n);
    await collector.close();
    await start();
    await publisher()
      .hello()
      .batch(openBatch(1n, 1n, 1))
      .untilAcked(1n);
    await collector.close();
    const name = `node-1-${RUN.toString('hex')}-1`;
    expect(filesUnder(out).map((path) => path.split('/').at(-1))).toEqual([`${name}-2.ndjson`, `${name}.ndjson`]);
    expect(rowsUnder(out).map((row) => row['seq'])).toEqual([1, 1, 2]);
  });

  test('is acknowledged when the agent half-closes, and the stream ends well', async () => {
    await start();
    const agent = publisher()
      .hello()
      .batch(openBatch(1n, 1n, 1));
    agent.stream.end();
    await agent.until(() => agent.status !== 'open');
    expect(agent.status).toBe('ended');
    expect(agent.acked).toBe(1n);
  });
});

describe('what a peer may get wrong', () => {
  const failure = async (agent: Publisher): Promise<string> => {
    await agent.until(() => agent.status !== 'open');
    return typeof agent.status === 'string' ? agent.status : agent.status.message;
  };

  test.each([
    [
      'a batch first',
      (agent: Publisher) => agent.batch(openBatch(1n, 1n, 1)),
      '9 FAILED_PRECONDITION: the first message must be a Hello',
    ],
    [
      'garbage first',
      (agent: Publisher) => agent.raw(Buffer.from('GET / HTTP/1.1')),
      '9 FAILED_PRECONDITION: the first message must be a Hello',
    ],
    [
      'a later schema',
      (agent: Publisher) => agent.hello(NODE, 2),
      '9 FAILED_PRECONDITION: schema 2 is not known here: this collector reads 1; upgrade the collector before its agents',
    ],
    [
      'no run',
      (agent: Publisher) => agent.hello({ ...NODE, runId: Buffer.alloc(3) }),
      '9 FAILED_PRECONDITION: Hello.node.run_id must have 16 bytes',
    ],
    ['two Hellos', (agent: Publisher) => agent.hello().hello(), '3 INVALID_ARGUMENT: a second Hello'],
    [
      'a gap in stream_seq',
      (agent: Publisher) => agent.hello().batch(openBatch(2n, 1n, 1)),
      '3 INVALID_ARGUMENT: stream_seq 2 after 0',
    ],
  ])('%s ends the stream with a clear status, and only that stream', async (_, send, message) => {
    await start();
    const other = publisher().hello();
    const agent = publisher();
    send(agent);
    expect(await failure(agent)).toBe(message);
    await other.batch(openBatch(1n, 1n, 1)).untilAcked(1n);
    expect(other.acked).toBe(1n);
    await expect.poll(() => collector.stats().streams, WAIT).toBe(1);
    expect(collector.stats().streamsRefused).toBe(1);
  });

  test('poison batches are rejected with their reason, in turn, and passed', async () => {
    await start();
    const agent = publisher()
      .hello()
      .batch(openBatch(1n, 1n, 1))
      .batch(openBatch(2n, 2n, 1, { runId: Buffer.alloc(5) }))
      .raw(Buffer.from([0x12, 0xff, 0xff, 0x03, 0x08]))
      .batch(openBatch(4n, 0n, 1))
      .batch(openBatch(5n, 5n, 1, { runId: OTHER_RUN }))
      .batch(openBatch(6n, 5n, 1, { runId: OTHER_RUN, node: NODE }))
      .batch(openBatch(7n, 2n, 1));
    await agent.untilAcked(7n);
    const rejected = agent.responses.flatMap((response) => response.rejected);
    expect(rejected.map(({ streamSeq, reason }) => [streamSeq, reason.replace(/:.*/, '')])).toEqual([
      [2n, 'run_id has 5 bytes, not 16'],
      [3n, 'not a PublishRequest'],
      [4n, 'first_seq is 0'],
      [5n, 'the run is not that of the Hello and the batch has no node facts'],
      [6n, 'the node facts are of another run'],
    ]);
    expect(rowsUnder(out, true).map((row) => row['seq'])).toEqual([1, 2]);
    expect(collector.stats()).toMatchObject({ batches: 2, batchesRejected: 5, events: { 'file.open': 2 } });
  });

  test('malformed events are counted by reason; those beside them are written', async () => {
    await start();
    const good = openBatch(1n, 1n, 1).events?.[0];
    const events = [
      good,
      { process: 9, fileOpen: {} },
      { process: 1 },
      { process: 2, fileOpen: {} },
      { process: 1, socketAccept: { remote: { ip: Buffer.alloc(5) } } },
      { process: 1, timeDeltaNs: -(2n ** 62n), fileOpen: {} },
      { process: 1, timeDeltaNs: 2n ** 62n, fileOpen: {} },
    ];
    const processes = [
      { workload: 1, tgid: 1 },
      { workload: 3, tgid: 1 },
    ];
    const agent = publisher()
      .hello()
      .batch(openBatch(1n, 1n, 0, { events: events as never, processes }));
    await agent.untilAcked(1n);
    expect(collector.stats().eventsRefused).toEqual({
      'process index out of range': 1,
      'no body that this reader knows': 1,
      'workload index out of range': 1,
      'address of neither 4 nor 16 bytes': 1,
      'time out of range': 1,
    });
    expect(rowsUnder(out, true).map((row) => row['seq'])).toEqual([1, 7]);
    // The peer is told, with the acknowledgement, how many of its batch are missing.
    const told = agent.responses.flatMap(({ ackedStreamSeq, rejected }) =>
      rejected.map((entry) => ({ ackedStreamSeq, ...entry })),
    );
    expect(told.map(({ reason }) => reason).sort()).toEqual(Object.keys(collector.stats().eventsRefused).sort());
    for (const entry of told) expect(entry).toMatchObject({ ackedStreamSeq: 1n, streamSeq: 1n, events: 1n });
  });

  test('a row that a hostile dictionary blows up is refused', async () => {
    await start();
    const workloads = [{ state: 1, podLabels: { a: 'x'.repeat(1 << 20) } }];
    const agent = publisher()
      .hello()
      .batch(openBatch(1n, 1n, 5, { workloads }));
    await agent.untilAcked(1n);
    expect(collector.stats().eventsRefused).toEqual({ 'row above 1 MiB': 5 });
  });

  test('100 frames of noise end no stream and cost no row', async () => {
    await start();
    const agent = publisher().hello();
    for (let i = 0; i < 100; i++) {
      const noise = createHash('sha512').update(String(i)).digest();
      // Field 2 (batch), of 127 bytes where 64 follow: never decodable.
      agent.raw(Buffer.concat([Buffer.from([0x12, 0x7f]), noise]));
    }
    agent.batch(openBatch(101n, 1n, 1));
    await agent.untilAcked(101n);
    expect(agent.acked).toBe(101n);
    expect(collector.stats().batchesRejected).toBe(100);
    expect(rowsUnder(out, true)).toHaveLength(1);
  });

  test('a frame above 4 MiB ends its stream', async () => {
    await start();
    const other = publisher().hello();
    const agent = publisher()
      .hello()
      .raw(Buffer.alloc((4 << 20) + 1));
    expect(await failure(agent)).toMatch(/^8 RESOURCE_EXHAUSTED/);
    await other.batch(openBatch(1n, 1n, 1)).untilAcked(1n);
    expect(other.acked).toBe(1n);
  });

  test('one stream too many is told so, until another one ends', async () => {
    await start({ maxStreams: 1 });
    const first = publisher()
      .hello()
      .batch(openBatch(1n, 1n, 1));
    await first.untilAcked(1n);
    expect(await failure(publisher().hello())).toBe('8 RESOURCE_EXHAUSTED: this collector has its 1 streams');
    first.close();
    await expect.poll(() => collector.stats().streams, WAIT).toBe(0);
    const later = publisher()
      .hello()
      .batch(openBatch(1n, 1n, 1));
    await later.untilAcked(1n);
    expect(later.acked).toBe(1n);
  });

  test('a message from a later contract is ignored', async () => {
    await start();
    const agent = publisher()
      .hello()
      .raw(Buffer.from([0x7a, 0x01, 0x00]))
      .batch(openBatch(1n, 1n, 1));
    await agent.untilAcked(1n);
    expect(collector.stats().messagesIgnored).toBe(1);
  });

  test.each(['../../../../tmp/evil', '/etc/passwd', '..', 'a\0b=c/d', 'n'.repeat(300), '\u202e'])(
    'the name %j stays within the folder',
    async (name) => {
      await start();
      const agent = publisher()
        .hello({ ...NODE, nodeName: name, clusterName: name })
        .batch(openBatch(1n, 1n, 1));
      await agent.untilAcked(1n);
      expect(agent.acked).toBe(1n);
      const [path, ...more] = filesUnder(out);
      expect(more).toEqual([]);
      expect(path).toMatch(
        /^kind=file\.open\/cluster=[\w.-]{1,100}\/dt=2026-11-22\/hour=07\/[\w.-]{1,100}-[0-9a-f]{32}-1\.ndjson\.tmp$/,
      );
      expect(path).not.toMatch(/\/\.|=\./);
      expect(rowsUnder(out, true)[0]).toMatchObject({ k8s_node_name: name, k8s_cluster_name: name });
    },
  );

  test('names that become the same stay apart', async () => {
    await start();
    for (const nodeName of ['a/b', 'a:b']) {
      await publisher()
        .hello({ ...NODE, nodeName })
        .batch(openBatch(1n, 1n, 1))
        .untilAcked(1n);
    }
    expect(filesUnder(out)).toHaveLength(2);
  });
});

describe('files', () => {
  test('are finished at their size, and none of them is torn', async () => {
    await start({ rotateBytes: 10_000 });
    const agent = publisher().hello();
    for (let i = 0n; i < 20n; i++) agent.batch(openBatch(i + 1n, i * 5n + 1n, 5));
    await agent.untilAcked(20n);
    await expect.poll(() => filesUnder(out).filter((path) => path.endsWith('.ndjson')).length, WAIT).toBeGreaterThan(5);
    await collector.close();
    const seqs = rowsUnder(out).map((row) => row['seq'] as number);
    expect(seqs.sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
  });

  test('are finished when nothing comes, and when they are old', async () => {
    await start({ idleMs: 100 });
    const agent = publisher()
      .hello()
      .batch(openBatch(1n, 1n, 1));
    await agent.untilAcked(1n);
    await expect.poll(() => filesUnder(out)[0], WAIT).toMatch(/ndjson$/);
    await expect.poll(() => collector.stats().filesFinished, WAIT).toBe(1);
    agent.batch(openBatch(2n, 2n, 1));
    await agent.untilAcked(2n);
    expect(filesUnder(out)).toHaveLength(2);
  });

  test('are split by the hour of the event', async () => {
    await start();
    const events = [0n, 60_000_000_000n, 3_600_000_000_000n].map((timeDeltaNs) => ({
      timeDeltaNs,
      process: 1,
      fileOpen: {},
    }));
    await publisher()
      .hello()
      .batch(openBatch(1n, 1n, 0, { events }))
      .untilAcked(1n);
    expect(filesUnder(out).map((path) => [path.split('/')[3], path.match(/-(\d+)\.ndjson/)?.[1]])).toEqual([
      ['hour=07', '1'],
      ['hour=08', '2'],
      ['hour=09', '3'],
    ]);
  });

  test('that are open at a time are bounded, whatever the times of events', async () => {
    await start({ maxFiles: 8 });
    const events = Array.from({ length: 100 }, () => ({ timeDeltaNs: 3_600_000_000_000n, process: 1, fileOpen: {} }));
    const agent = publisher()
      .hello()
      .batch(openBatch(1n, 1n, 0, { events }));
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, collector.stats().filesOpen);
    }, 1);
    await agent.untilAcked(1n);
    clearInterval(watch);
    expect(agent.acked).toBe(1n);
    expect(most).toBeLessThanOrEqual(16);
    expect(rowsUnder(out, true)).toHaveLength(100);
  });

  test('of one folder have one collector', async () => {
    await start();
    await expect(startCollector({ listen: '127.0.0.1:0', out, log: pino({ level: 'silent' }) })).rejects.toThrow(
      `another collector is writing to ${out}`,
    );
  });
});

describe('closing', () => {
  test('acknowledges what was received and tells agents to come back later', async () => {
    await start({ commitMs: 200 });
    const agent = publisher()
      .hello()
      .batch(openBatch(1n, 1n, 1));
    await expect.poll(() => collector.stats().batches, WAIT).toBe(1);
    await collector.close();
    await agent.until(() => agent.status !== 'open');
    expect(agent.acked).toBe(1n);
    expect(agent.status).toMatchObject({ code: 14, details: 'the collector is shutting down' });
    expect(rowsUnder(out)).toHaveLength(1);
  });

  test('takes an address that is in use as an error that names it', async () => {
    await start();
    const second = mkdtempSync(join(tmpdir(), 'kerntap-collector-'));
    await expect(
      startCollector({ listen: collector.address, out: second, log: pino({ level: 'silent' }) }),
    ).rejects.toThrow(`cannot listen on ${collector.address}`);
    // Its folder is free again.
    await (await startCollector({ listen: '127.0.0.1:0', out: second, log: pino({ level: 'silent' }) })).close();
    rmSync(second, { recursive: true });
  });
});

describe('a peer that does not listen', () => {
  test('is read no further than 8 MiB beyond its last ack while nothing is durable', async () => {
    await start({ commitMs: 1_500 });
    const agent = publisher().hello();
    const padding = 'y'.repeat(200_000);
    for (let i = 1n; i <= 80n; i++) {
      agent.batch(openBatch(i, i, 1, { workloads: [{ state: 1, metadataReason: padding }] }));
    }
    await expect.poll(() => collector.stats().bytesReceived, WAIT).toBeGreaterThan(8 << 20);
    expect(collector.stats().bytesReceived).toBeLessThan((8 << 20) + 300_000);
    await agent.untilAcked(80n);
    expect(agent.acked).toBe(80n);
  });
});
