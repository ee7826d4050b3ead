import { describe, expect, it } from 'vitest';
import { KT_FILE_OPEN, KT_PROCESS_EXEC } from '../../../src/kernel/layout.gen.ts';
import { makeWorkload } from '../../../src/kubernetes/workload.ts';
import { BatchEncoder } from '../../../src/stream/encoder.ts';
import { ProcessTable } from '../../../src/stream/processes.ts';
import { JSON_LINES } from '../../../src/tail/render.ts';
import { Tail, type TailOptions } from '../../../src/tail/tail.ts';
import { BoundedWriter, type Sink } from '../../../src/tail/writer.ts';
import { nodeFacts } from '../../node-facts.ts';
import { kernelPath, makeExec, makeFile, makeHead, recordBytes } from '../../records.ts';

const NODE = nodeFacts({ bootId: 'boot', nodeName: 'n1', hostName: 'n1' });
const HOST = makeWorkload({ cgroupId: 1n, cgroupPath: '/', state: 'host', reason: '' });

/** Takes everything, or nothing while `stalled`. */
class TestSink implements Sink {
  text = '';
  stalled = false;
  #waiting: (() => void) | undefined;

  write(chunk: Uint8Array, done: (error: NodeJS.ErrnoException | null, written: number) => void): void {
    const take = () => {
      this.text += Buffer.from(chunk).toString();
      done(null, chunk.length);
    };
    if (this.stalled) this.#waiting = take;
    else take();
  }

  release(): void {
    this.stalled = false;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.();
  }

  close(): void {}

  rows(): Record<string, unknown>[] {
    return this.text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line));
  }
}

function open(file: string): Buffer {
  return recordBytes({
    head: makeHead({ tgid: 5, tid: 5, ktime: 1000n }),
    body: makeFile('file.open', { path: kernelPath(file) }),
  });
}

function exec(...argv: string[]): Buffer {
  const block = Buffer.from(argv.map((arg) => `${arg}\0`).join(''));
  return recordBytes({
    head: makeHead({ tgid: 6, tid: 6, ktime: 1000n }),
    body: makeExec({ argv: block, argc: argv.length }),
  });
}

function makeTail(options: Partial<TailOptions> = {}) {
  const sink = new TestSink();
  const clock = { now: 0 };
  const encoder = new BatchEncoder({ runId: NODE.runId, processes: new ProcessTable() });
  const tail = new Tail({
    writer: new BoundedWriter(sink, { capacityBytes: 64 * 1024 }),
    encodeOne: encoder.encodeOne.bind(encoder),
    node: () => NODE,
    ...JSON_LINES,
    eventsPerSecond: 0,
    bytesPerSecond: 0,
    wallOffsetNs: () => 1_700_000_000_000_000_000n,
    now: () => clock.now,
    ...options,
  });
  let sequence = 0;
  const offer = (record: Buffer, kind: number, workload = HOST): void => {
    const buf = Buffer.alloc(record.length + 8);
    record.copy(buf, 8);
    tail.offer(new Uint8Array(buf.buffer, buf.byteOffset, buf.length), 8, record.length, kind, workload, ++sequence);
    buf.fill(0xff);
  };
  return { tail, sink, clock, offer };
}

describe('the tail', () => {
  it("writes the collector's columns, in order, under the sequence that the stream gave", async () => {
    const { tail, sink, offer } = makeTail();
    offer(exec('sh', '-c', 'true'), KT_PROCESS_EXEC);
    tail.offerMessage(
      { loss: { stage: 'kernel', reason: 'ring_full', kind: 'file.open', count: 3n, total: 9n } },
      2000n,
      40,
    );
    offer(open('/etc/passwd'), KT_FILE_OPEN);
    expect(sink.text).toBe('');
    expect(await tail.flush(1000)).toBe(true);
    expect(sink.rows()).toMatchObject([
      { kind: 'process.exec', seq: 1, process_command_args: ['sh', '-c', 'true'], k8s_node_name: 'n1', process_pid: 6 },
      { kind: 'kerntap.loss', seq: 40, loss_count: 3, loss_total: 9, time: '2023-11-14T22:13:20.000002000Z' },
      { kind: 'file.open', seq: 2, file_path: '/etc/passwd', event_id: `${'07'.repeat(16)}-2` },
    ]);
    expect(tail.counts).toEqual({ lines: 3, filtered: 0, dropped: 0 });
  });

  it('renders on its own, after the caller went on', async () => {
    const { sink, offer } = makeTail();
    for (let i = 0; i < 50; i++) offer(open(`/${i}`), KT_FILE_OPEN);
    await expect.poll(() => sink.rows().length).toBe(50);
    expect(sink.rows().map((row) => row['file_path'])).toEqual(Array.from({ length: 50 }, (_, i) => `/${i}`));
  });

  it('for people puts the events of one drain in the order of their times', async () => {
    const { tail, sink, offer } = makeTail({ byTime: true });
    for (const [file, ktime] of [
      ['/c', 30n],
      ['/a', 10n],
      ['/b', 20n],
      ['/d', 2n ** 40n],
    ] as const) {
      const head = makeHead({ tgid: 5, tid: 5, ktime });
      offer(recordBytes({ head, body: makeFile('file.open', { path: kernelPath(file) }) }), KT_FILE_OPEN);
    }
    await tail.flush(1000);
    expect(sink.rows().map((row) => row['file_path'])).toEqual(['/a', '/b', '/c', '/d']);
  });

  it('keeps to the kinds that it was asked for', async () => {
    const { tail, sink, offer } = makeTail({
      kinds: { numbers: new Set([KT_PROCESS_EXEC]), own: new Set(['kerntap.pod']) },
    });
    offer(open('/a'), KT_FILE_OPEN);
    offer(exec('true'), KT_PROCESS_EXEC);
    tail.offerMessage({ probe: { kind: 'file.open', tier: 'syscall', state: 'on', reason: '' } }, 1n, 9);
    await tail.flush(1000);
    expect(sink.rows().map((row) => row['kind'])).toEqual(['process.exec']);
    expect(tail.counts).toMatchObject({ filtered: 2, dropped: 0 });
  });

  it('drops what is over its rate, and says so once a second at most', async () => {
    const { tail, sink, clock, offer } = makeTail({ eventsPerSecond: 10 });
    for (let i = 0; i < 100; i++) offer(open('/a'), KT_FILE_OPEN);
    await expect.poll(() => sink.rows().length).toBe(10);
    tail.tick();
    for (let i = 0; i < 100; i++) {
      clock.now += 5;
      offer(open('/b'), KT_FILE_OPEN);
      tail.tick();
    }
    await expect.poll(() => sink.rows().filter((row) => row['file_path'] === '/b').length).toBe(5);
    expect(sink.rows().filter((row) => row['kind'] === 'kerntap.tail_dropped')).toEqual([
      { kind: 'kerntap.tail_dropped', count: 90 },
    ]);
    clock.now += 1000;
    tail.tick();
    expect(sink.rows().at(-1)).toEqual({ kind: 'kerntap.tail_dropped', count: 95 });
  });

  it('drops what is over its bytes', async () => {
    const { tail, sink, clock, offer } = makeTail({ bytesPerSecond: 10_000 });
    for (let i = 0; i < 40; i++) {
      offer(open('/a'), KT_FILE_OPEN);
      await expect.poll(() => tail.counts.lines + tail.counts.dropped).toBe(i + 1);
      clock.now += 50;
    }
    // The burst of one second and what two seconds give.
    expect(Buffer.byteLength(sink.text)).toBeLessThanOrEqual(30_000);
    expect(Buffer.byteLength(sink.text)).toBeGreaterThan(25_000);
    expect(tail.counts.dropped).toBeGreaterThan(0);
  });

  it('shows the quiet beside one that is noisy, within the same rate', async () => {
    const pod = (n: number) => {
      const known = { cgroupId: BigInt(n), cgroupPath: `/p${n}`, reason: '', podUid: `uid-${n}` };
      return makeWorkload({ ...known, state: 'complete', podName: `p${n}`, namespace: 'ns' });
    };
    const { tail, sink, clock, offer } = makeTail({ eventsPerSecond: 20, bytesPerSecond: 64_000 });
    const [noisy, quiet] = [pod(2), pod(3)];
    const SECONDS = 10;
    for (let ms = 0; ms < SECONDS * 1000; ms += 5) {
      clock.now += 5;
      for (let i = 0; i < 5; i++) offer(open('/noise'), KT_FILE_OPEN, noisy);
      if (ms % 500 === 0) offer(open('/quiet'), KT_FILE_OPEN, quiet);
      if (ms % 1000 === 0) offer(open('/host'), KT_FILE_OPEN, HOST);
      await tail.flush(1000);
    }
    const rows = sink.rows();
    const of = (file: string) => rows.filter((row) => row['file_path'] === file).length;
    expect(of('/quiet')).toBe(2 * SECONDS);
    expect(of('/host')).toBe(SECONDS);
    expect(of('/noise') + of('/quiet') + of('/host')).toBeLessThanOrEqual(20 * SECONDS + 30);
    expect(of('/noise')).toBeGreaterThan(20 * SECONDS * 0.75);
    expect(tail.droppedBy.rate).toBe(tail.counts.dropped);
  });

  it('shares its bytes, too', async () => {
    const { tail, sink, clock, offer } = makeTail({ bytesPerSecond: 16_384 });
    const quiet = makeWorkload({ ...HOST, cgroupId: 4n, state: 'pending', podUid: 'uid-4' });
    for (let ms = 0; ms < 5000; ms += 10) {
      clock.now += 10;
      for (let i = 0; i < 3; i++) offer(open('/noise'), KT_FILE_OPEN);
      if (ms % 1000 === 500) offer(open('/quiet'), KT_FILE_OPEN, quiet);
      await tail.flush(1000);
    }
    expect(sink.rows().filter((row) => row['file_path'] === '/quiet')).toHaveLength(5);
    expect(tail.droppedBy.bytes).toBe(tail.counts.dropped);
    expect(tail.counts.dropped).toBeGreaterThan(500);
  });

  it('behind a reader that stalls drops, bounded, without rendering in vain, and tells when it takes again', async () => {
    const { tail, sink, offer } = makeTail();
    sink.stalled = true;
    for (let i = 0; i < 300; i++) {
      offer(open(`/${i}`), KT_FILE_OPEN);
      await new Promise((resolve) => setImmediate(resolve));
    }
    tail.tick();
    const { dropped } = tail.counts;
    expect(dropped).toBeGreaterThan(200);
    expect(sink.text).toBe('');
    sink.release();
    tail.tick();
    const rows = sink.rows();
    expect(rows.at(-1)).toEqual({ kind: 'kerntap.tail_dropped', count: dropped });
    expect(rows.length - 1 + dropped).toBe(300);
    expect(rows.slice(0, -1).map((row) => row['file_path'])).toEqual(rows.slice(0, -1).map((_, i) => `/${i}`));
  });

  it('never writes a line of 8 KiB', async () => {
    const { tail, sink, offer } = makeTail();
    offer(exec('sh', '-c', '\u202e'.repeat(4000)), KT_PROCESS_EXEC);
    await tail.flush(1000);
    expect(Buffer.byteLength(sink.text)).toBeLessThan(8192);
    expect(sink.rows()[0]).toMatchObject({ kind: 'process.exec', tail_cut: ['process_command_args'] });
  });
});
