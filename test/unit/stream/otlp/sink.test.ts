import { createServer } from 'node:http2';
import { Metadata, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { decodeBatch, encodeBatch, type Sparse } from '../../../../proto/contract.ts';
import { KT_FILE_OPEN, KT_PROCESS_EXIT } from '../../../../src/kernel/layout.gen.ts';
import { type EncodedBatch, FRAME_HEADROOM } from '../../../../src/stream/batch.ts';
import { Endpoints } from '../../../../src/stream/endpoints.ts';
import { KIND_SLOTS } from '../../../../src/stream/event-kinds.ts';
import { OtlpSink, type OtlpSinkOptions } from '../../../../src/stream/otlp/sink.ts';
import { type Answer, OtlpReceiver, type ReceivedRecord } from '../../../otlp-receiver.ts';
import { until } from '../collector-double.ts';

const RUN = Buffer.alloc(16, 7);
const { node: NODE } = decodeBatch(encodeBatch({ node: { runId: RUN, nodeName: 'node-1' } }));
if (NODE === null) throw new Error('no node');

/** A batch of exits, the first `opens` of them opens; their numbers follow `firstSeq`. */
function batchOf(firstSeq: number, events: number, { opens = 0, path = '/x' } = {}): EncodedBatch {
  const bytes = encodeBatch({
    runId: RUN,
    firstSeq: BigInt(firstSeq),
    baseTimeNs: 1000n,
    wallOffsetNs: 1_795_000_000_000_000_000n,
    workloads: [{ cgroupId: 1n, state: 4 }],
    processes: [{ workload: 1, tgid: 5, startTimeNs: 3n }],
    events: Array.from({ length: events }, (_, i) =>
      i < opens
        ? { process: 1, fileOpen: { path: { path: Buffer.from(path), source: 1 } } }
        : { process: 1, processExit: { code: 1 } },
    ),
  } satisfies Sparse<object>);
  const buffer = Buffer.concat([Buffer.alloc(FRAME_HEADROOM), bytes]);
  const kinds = new Uint32Array(KIND_SLOTS);
  kinds[KT_FILE_OPEN] = opens;
  kinds[KT_PROCESS_EXIT] = events - opens;
  return { buffer, length: bytes.length, firstSeq, events, kinds };
}

const sum = (counts: Iterable<number>): number => [...counts].reduce((total, count) => total + count, 0);
const sequence = ({ attributes }: ReceivedRecord): number => Number(String(attributes['log.record.uid']).split('-')[1]);
const upTo = (last: number): number[] => Array.from({ length: last }, (_, i) => i + 1);

let receiver: OtlpReceiver;
let sink: OtlpSink;
const said: { level: string; fields: Record<string, unknown>; message: string }[] = [];
const log = {
  info: (fields: object, message: string) => void said.push({ level: 'info', fields: { ...fields }, message }),
  warn: (fields: object, message: string) => void said.push({ level: 'warn', fields: { ...fields }, message }),
};

function sinkOf(
  changes: Partial<OtlpSinkOptions> = {},
  exporting: Partial<OtlpSinkOptions['exporting']> = {},
): OtlpSink {
  return new OtlpSink({
    dialer: new Endpoints({ addresses: [receiver.address] }),
    exporting: {
      node: () => NODE,
      version: '1',
      communityIdSeed: 0,
      maxRequestBytes: 1 << 20,
      maxRecords: 2000,
      ...exporting,
    },
    log,
    backoffMinMs: 5,
    backoffMaxMs: 20,
    ...changes,
  });
}

/** accepted = confirmed + lost + what waits. */
function balanced(): void {
  const lost = sum(sink.losses().map(({ total }) => total));
  expect(sum(sink.accepted)).toBe(sum(sink.confirmed) + lost + sink.depth.events);
}

beforeEach(async () => {
  said.length = 0;
  receiver = new OtlpReceiver();
  await receiver.start();
  sink = sinkOf();
});
afterEach(async () => {
  balanced();
  await sink.shutdown(0);
  receiver.stop();
});

const settled = () => until(() => sink.depth.events === 0);
const losses = () => sink.losses().map(({ stage, reason, kind, total }) => `${total} ${kind} ${stage}: ${reason}`);

describe('a receiver that takes what it gets', () => {
  it('has every event, and the books say so by kind', async () => {
    sink.start();
    for (let i = 0; i < 20; i++) sink.send(batchOf(1 + i * 100, 100, { opens: 30 }));
    await settled();
    expect(receiver.records.map(sequence).sort((a, b) => a - b)).toEqual(upTo(2000));
    expect(sink.confirmed[KT_FILE_OPEN]).toBe(600);
    expect(sink.confirmed[KT_PROCESS_EXIT]).toBe(1400);
    expect(losses()).toEqual([]);
    expect(sink.state).toBe('open');
  });

  it('gets requests of bounded size, as many at once as may be, and no more', async () => {
    receiver.behaviour = async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return {};
    };
    sink = sinkOf({ concurrency: 3 }, { maxRequestBytes: 20_000 });
    sink.start();
    for (let i = 0; i < 5; i++) sink.send(batchOf(1 + i * 200, 200));
    await settled();
    expect(receiver.records.map(sequence).sort((a, b) => a - b)).toEqual(upTo(1000));
    expect(Math.max(...receiver.sizes)).toBeLessThanOrEqual(20_000);
    expect(receiver.calls).toBeGreaterThan(10);
    expect(receiver.openMost).toBe(3);
  });

  it('keeps what it was sent though the caller uses the buffer again', async () => {
    const batch = batchOf(1, 10);
    sink.send(batch);
    batch.buffer.fill(0xff);
    sink.start();
    await settled();
    expect(receiver.records.map(sequence)).toEqual(upTo(10));
  });

  it('gets the headers, and a request compressed as was asked for', async () => {
    const seen: Record<string, unknown>[] = [];
    const server = createServer();
    server.on('stream', (stream, headers) => {
      seen.push({ ...headers });
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end(Buffer.alloc(5));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    try {
      for (const compression of ['gzip', 'none'] as const) {
        const dialer = new Endpoints({ addresses: [`127.0.0.1:${port}`] });
        sink = sinkOf({ dialer, compression, headers: () => ({ authorization: 'Bearer x' }) });
        sink.start();
        sink.send(batchOf(1, 3));
        await settled();
        await sink.shutdown(0);
      }
    } finally {
      server.close();
    }
    expect(seen).toMatchObject([
      {
        ':path': '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
        authorization: 'Bearer x',
        'grpc-encoding': 'gzip',
      },
      { authorization: 'Bearer x' },
    ]);
    expect(seen[1]?.['grpc-encoding'] ?? 'identity').toBe('identity');
  });
});

describe('partial success', () => {
  it('is never sent again: what was rejected is lost and counted, the rest is confirmed', async () => {
    receiver.behaviour = () => ({ rejectedLogRecords: 3, errorMessage: 'too old' });
    sink.start();
    sink.send(batchOf(1, 10));
    await settled();
    expect(losses()).toEqual(['3 process.exit otlp: rejected']);
    expect(sink.confirmed[KT_PROCESS_EXIT]).toBe(7);
    expect(receiver.calls).toBe(1);
    expect(said).toContainEqual({
      level: 'warn',
      fields: { reason: 'too old', events: 3 },
      message: expect.any(String),
    });
  });

  it('of a request of several kinds is counted without one', async () => {
    receiver.behaviour = () => ({ rejectedLogRecords: 4, errorMessage: '' });
    sink.start();
    sink.send(batchOf(1, 10, { opens: 5 }));
    await settled();
    expect(losses()).toEqual(['4  otlp: rejected']);
    expect([sink.confirmed[0], sink.confirmed[KT_FILE_OPEN], sink.confirmed[KT_PROCESS_EXIT]]).toEqual([-4, 5, 5]);
  });

  it('with nothing rejected and a message is a warning', async () => {
    receiver.behaviour = () => ({ rejectedLogRecords: 0, errorMessage: 'slow down' });
    sink.start();
    sink.send(batchOf(1, 10));
    await settled();
    expect(losses()).toEqual([]);
    expect(sink.confirmed[KT_PROCESS_EXIT]).toBe(10);
    expect(said).toContainEqual({ level: 'warn', fields: { reason: 'slow down' }, message: expect.any(String) });
  });

  it('that rejects more than was sent does not make the books wrong', async () => {
    receiver.behaviour = () => ({ rejectedLogRecords: 1e9, errorMessage: 'x' });
    sink.start();
    sink.send(batchOf(1, 10));
    await settled();
    expect(losses()).toEqual(['10 process.exit otlp: rejected']);
  });
});

// google.rpc.Status{8, details: Any{RetryInfo{Duration}}} written out, so that the reader has something of others to read.
function retryInfo(seconds: number, nanos: number): Metadata {
  const field = (number: number, bytes: Buffer) =>
    Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
  const varint = (value: number): number[] => (value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)]);
  const duration = Buffer.from([0x08, ...varint(seconds), 0x10, ...varint(nanos)]);
  const any = Buffer.concat([
    field(1, Buffer.from('type.googleapis.com/google.rpc.RetryInfo')),
    field(2, field(1, duration)),
  ]);
  const metadata = new Metadata();
  metadata.set('grpc-status-details-bin', Buffer.concat([Buffer.from([0x08, 8]), field(3, any)]));
  return metadata;
}

// The specification's table, by hand.
const RETRIED = ['CANCELLED', 'DEADLINE_EXCEEDED', 'ABORTED', 'OUT_OF_RANGE', 'UNAVAILABLE', 'DATA_LOSS'] as const;
const DROPPED = [
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAUTHENTICATED',
] as const;

describe('a status', () => {
  const first = (answer: Answer) => (_: unknown, call: number) => (call === 0 ? answer : {});

  it.each(RETRIED)('%s is tried again until it goes through', async (name) => {
    receiver.behaviour = first({ code: status[name], details: 'later' });
    sink.start();
    sink.send(batchOf(1, 10));
    await settled();
    expect(receiver.calls).toBe(2);
    expect(receiver.records.map(sequence)).toEqual(upTo(10));
    expect(losses()).toEqual([]);
  });

  it.each(DROPPED)('%s drops the request, which is counted, and nothing else', async (name) => {
    receiver.behaviour = first({ code: status[name], details: 'no' });
    sink = sinkOf({ concurrency: 1 });
    sink.start();
    sink.send(batchOf(1, 10));
    sink.send(batchOf(11, 10));
    await settled();
    expect(receiver.calls).toBe(2);
    expect(receiver.records.map(sequence)).toEqual(upTo(20).slice(10));
    expect(losses()).toEqual([`10 process.exit otlp: ${name.toLowerCase()}`]);
  });

  it('that refuses is not a receiver that works: health says why, until something is taken again', async () => {
    receiver.behaviour = (_, call) => (call < 20 ? { code: status.UNAUTHENTICATED, details: 'token expired' } : {});
    sink.start();
    for (let i = 0; i < 20; i++) sink.send(batchOf(1 + i, 1));
    await settled();
    expect(sink.state).toBe('connecting');
    expect(sink.problem).toBe('unauthenticated: token expired');
    // Twenty refusals, one line.
    expect(said.filter(({ message }) => message === 'the OTLP receiver refused events')).toHaveLength(1);
    sink.send(batchOf(21, 1));
    await settled();
    expect([sink.state, sink.problem]).toEqual(['open', '']);
  });

  it('RESOURCE_EXHAUSTED with a RetryInfo is tried again when it says', async () => {
    receiver.behaviour = first({
      code: status.RESOURCE_EXHAUSTED,
      details: 'full',
      metadata: retryInfo(0, 300_000_000),
    });
    sink.start();
    const begun = performance.now();
    sink.send(batchOf(1, 10));
    await settled();
    expect(performance.now() - begun).toBeGreaterThanOrEqual(299);
    expect(receiver.calls).toBe(2);
    expect(receiver.records.map(sequence)).toEqual(upTo(10));
  });

  it('UNAVAILABLE with a RetryInfo is tried again when it says', async () => {
    receiver.behaviour = first({ code: status.UNAVAILABLE, details: 'full', metadata: retryInfo(0, 300_000_000) });
    sink.start();
    const begun = performance.now();
    sink.send(batchOf(1, 10));
    await settled();
    expect(performance.now() - begun).toBeGreaterThanOrEqual(299);
  });

  it('with details that are not a google.rpc.Status is judged by its code', async () => {
    const metadata = new Metadata();
    metadata.set('grpc-status-details-bin', Buffer.from('ffffffffff', 'hex'));
    receiver.behaviour = first({ code: status.RESOURCE_EXHAUSTED, details: 'full', metadata });
    sink.start();
    sink.send(batchOf(1, 10));
    await settled();
    expect(losses()).toEqual(['10 process.exit otlp: resource_exhausted']);
  });

  it('that one request always gets while others go through is given up, and counted', async () => {
    receiver.behaviour = (records) =>
      records.some((record) => sequence(record) === 1) ? { code: status.UNAVAILABLE, details: 'crash' } : {};
    sink = sinkOf({ concurrency: 2 });
    sink.start();
    for (let i = 0; i < 10; i++) sink.send(batchOf(1 + i * 10, 10));
    await settled();
    expect(losses()).toEqual(['10 process.exit otlp: undeliverable']);
    expect(sum(sink.confirmed)).toBe(90);
  });
});

describe('a receiver that is not there', () => {
  it('is waited for, and gets everything when it is back; killed in the middle, it gets every event at least once', async () => {
    receiver.stop();
    sink = sinkOf({}, { maxRequestBytes: 20_000 });
    sink.start();
    for (let i = 0; i < 10; i++) sink.send(batchOf(1 + i * 100, 100));
    await until(() => sink.state === 'waiting');
    expect(sink.problem).toContain('ECONNREFUSED');
    let kills = 0;
    receiver.behaviour = (_, call) => {
      if (call % 7 === 3 && kills++ < 5) {
        receiver.stop();
        setImmediate(() => void receiver.start());
      }
      return {};
    };
    await receiver.start();
    await settled();
    expect([...new Set(receiver.records.map(sequence))].sort((a, b) => a - b)).toEqual(upTo(1000));
    expect(losses()).toEqual([]);
    expect(kills).toBeGreaterThanOrEqual(5);
  });

  it('costs memory up to the bound, then the oldest, counted', async () => {
    receiver.stop();
    const one = batchOf(1, 1000);
    sink = sinkOf({ queueBytes: 10 * (16 << 10), concurrency: 1 });
    sink.start();
    for (let i = 0; i < 40; i++) {
      sink.send(batchOf(1 + i * 1000, 1000));
      expect(sink.depth.bytes).toBeLessThanOrEqual(10 * (16 << 10));
      balanced();
    }
    expect(one.length).toBeLessThan(16 << 10);
    await receiver.start();
    await settled();
    const got = new Set(receiver.records.map(sequence));
    const [loss] = sink.losses();
    expect(loss).toMatchObject({ stage: 'otlp', reason: 'overflow', kind: 'process.exit' });
    expect(got.size + (loss?.total ?? 0)).toBe(40_000);
    // The newest are there.
    for (const seq of upTo(40_000).slice(-5000)) expect(got.has(seq)).toBe(true);
  });

  it('that takes calls and never answers is asked again after the deadline', async () => {
    receiver.behaviour = (_, call) => (call < 2 ? new Promise<never>(() => {}) : {});
    sink = sinkOf({ timeoutMs: 150 });
    sink.start();
    sink.send(batchOf(1, 10));
    await settled();
    expect(receiver.records.map(sequence)).toEqual(upTo(10));
    expect(said.find(({ level }) => level === 'warn')?.fields).toMatchObject({ status: 'deadline_exceeded' });
  });
});

describe('what cannot be told', () => {
  it('is lost and counted, by kind, and the rest goes on', async () => {
    const broken = { ...batchOf(1, 10), length: 40 };
    sink.start();
    sink.send(broken);
    sink.send(batchOf(11, 10));
    await settled();
    expect(losses()).toEqual(['10 process.exit otlp: unwritable']);
    expect(receiver.records.map(sequence)).toEqual(upTo(20).slice(10));
  });
});

describe('the end', () => {
  it('waits for what is under way', async () => {
    receiver.behaviour = async () => {
      await new Promise((resolve) => setTimeout(resolve, 100));
      return {};
    };
    sink.start();
    sink.send(batchOf(1, 10));
    expect(await sink.shutdown(5000)).toMatchObject({ events: 0 });
    expect(receiver.records).toHaveLength(10);
    sink.send(batchOf(11, 10));
    expect(losses()).toEqual(['10 process.exit otlp: closed']);
  });

  it('comes in time where nobody answers, and tells what is left', async () => {
    receiver.behaviour = () => new Promise<never>(() => {});
    sink.start();
    sink.send(batchOf(1, 10));
    expect(await sink.shutdown(50)).toMatchObject({ events: 10, batches: 1 });
  });
});
