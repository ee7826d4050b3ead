import { describe, expect, it } from 'vitest';
import { VIEWERS_RATE, Viewers } from '../../../src/agent/viewers.ts';
import { KT_FILE_OPEN, KT_PROCESS_EXEC } from '../../../src/kernel/layout.gen.ts';
import { makeWorkload, type Workload } from '../../../src/kubernetes/workload.ts';
import { BatchEncoder } from '../../../src/stream/encoder.ts';
import { ProcessTable } from '../../../src/stream/processes.ts';
import type { Tail } from '../../../src/tail/tail.ts';
import type { Sink } from '../../../src/tail/writer.ts';
import { LocalRequestError, type TailFilter } from '../../../src/telemetry/local-request.ts';
import { nodeFacts } from '../../node-facts.ts';
import { kernelPath, makeExec, makeFile, makeHead, recordBytes } from '../../records.ts';

const NODE = nodeFacts({ bootId: 'boot', nodeName: 'n1', hostName: 'n1' });
const ALL: TailFilter = { namespaces: [], pods: [], kinds: [], processes: [], host: false };
const HOST = makeWorkload({ cgroupId: 1n, cgroupPath: '/', state: 'host', reason: '' });
const pod = (namespace: string, podName: string): Workload =>
  makeWorkload({ cgroupId: 2n, cgroupPath: '/p', state: 'complete', reason: '', podUid: podName, namespace, podName });

class TestSink implements Sink {
  text = '';
  stalled = false;
  closed = false;

  write(chunk: Uint8Array, done: (error: NodeJS.ErrnoException | null, written: number) => void): void {
    if (this.stalled) return;
    this.text += Buffer.from(chunk).toString();
    done(null, chunk.length);
  }

  close(): void {
    this.closed = true;
  }

  rows(): Record<string, unknown>[] {
    return this.text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line));
  }
}

function makeViewers() {
  const processes = new ProcessTable();
  const encoder = new BatchEncoder({ runId: NODE.runId, processes });
  const tails = new Set<Tail>();
  const viewers = new Viewers({
    node: () => NODE,
    processes,
    encodeOne: encoder.encodeOne.bind(encoder),
    wallOffsetNs: () => 0n,
    // Stands still: budgets are what a burst gives.
    now: () => 0,
    watch: (tail) => tails.add(tail),
    unwatch: (tail) => tails.delete(tail),
  });
  const offer = (record: Buffer, kind: number, workload: Workload): void => {
    if (kind === KT_PROCESS_EXEC) processes.observe(record, 0);
    for (const tail of tails) tail.offer(record, 0, record.length, kind, workload, 1);
  };
  const view = (filter: Partial<TailFilter>) => {
    const sink = new TestSink();
    let refused = 0;
    const viewer = viewers.open({ ...ALL, ...filter }, sink, () => refused++);
    return { sink, viewer, refused: () => refused };
  };
  const flush = async () => {
    for (const tail of tails) await tail.flush(100);
  };
  return { viewers, tails, offer, view, flush };
}

let starts = 0n;

/** An exec, and an open by the process that it made. */
function processOf(comm: string, exe: string): { exec: Buffer; open: Buffer } {
  const startTime = 1000n + starts++;
  const head = makeHead({
    tgid: 7,
    tid: 7,
    comm: Buffer.from(comm),
    startTime,
    imageTgid: 7,
    imageStartTime: startTime,
  });
  return {
    exec: recordBytes({ head, body: makeExec({ exe: kernelPath(exe), argv: Buffer.from(`${comm}\0`), argc: 1 }) }),
    open: recordBytes({ head, body: makeFile('file.open', { path: kernelPath(`/opened-by-${comm}`) }) }),
  };
}

describe('those who watch', () => {
  it('see the pods that they asked for, each its own', async () => {
    const { offer, view, flush } = makeViewers();
    const shop = view({ namespaces: ['shop*'] });
    const web = view({ pods: ['web-*'], namespaces: ['shop'] });
    const host = view({ host: true });
    const both = view({ host: true, pods: ['db'] });
    const all = view({});
    const { open } = processOf('cat', '/bin/cat');
    for (const workload of [pod('shop', 'web-1'), pod('shop-2', 'db'), pod('bank', 'web-1'), HOST]) {
      offer(open, KT_FILE_OPEN, workload);
    }
    await flush();
    const seen = ({ sink }: { sink: TestSink }) =>
      sink.rows().map((row) => `${row['k8s_namespace_name'] ?? ''}/${row['k8s_pod_name'] ?? 'host'}`);
    expect(seen(shop)).toEqual(['shop/web-1', 'shop-2/db']);
    expect(seen(web)).toEqual(['shop/web-1']);
    expect(seen(host)).toEqual(['/host']);
    expect(seen(both)).toEqual(['shop-2/db', '/host']);
    expect(seen(all)).toEqual(['shop/web-1', 'shop-2/db', 'bank/web-1', '/host']);
  });

  it('see the kinds and the processes that they asked for: by name, path, or its last part', async () => {
    const { offer, view, flush } = makeViewers();
    const byName = view({ processes: ['curl'] });
    const byPath = view({ processes: ['/opt/*'] });
    const byBase = view({ processes: ['tool-x'], kinds: ['file'] });
    for (const [comm, exe] of [
      ['curl', '/usr/bin/other'],
      ['thread', '/opt/tool-x'],
      ['sh', '/bin/sh'],
    ] as const) {
      const { exec, open } = processOf(comm, exe);
      offer(exec, KT_PROCESS_EXEC, HOST);
      offer(open, KT_FILE_OPEN, HOST);
    }
    await flush();
    const seen = ({ sink }: { sink: TestSink }) => sink.rows().map((row) => [row['kind'], row['file_path']]);
    expect(seen(byName)).toEqual([
      ['process.exec', undefined],
      ['file.open', '/opened-by-curl'],
    ]);
    expect(seen(byPath)).toEqual([
      ['process.exec', undefined],
      ['file.open', '/opened-by-thread'],
    ]);
    expect(seen(byBase)).toEqual([['file.open', '/opened-by-thread']]);
  });

  it('refuses a kind that is none', () => {
    const { view, viewers } = makeViewers();
    expect(() => view({ kinds: ['files'] })).toThrow(LocalRequestError);
    expect(viewers.count).toBe(0);
  });

  it('a slow one loses its own lines, which are counted, and no one else', async () => {
    const { offer, view, tails } = makeViewers();
    const slow = view({});
    const quick = view({});
    slow.sink.stalled = true;
    const { open } = processOf('cat', '/bin/cat');
    for (let i = 0; i < VIEWERS_RATE / 2; i++) {
      offer(open, KT_FILE_OPEN, HOST);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await expect.poll(() => quick.sink.rows().length).toBe(VIEWERS_RATE / 2);
    const [slowTail, quickTail] = [...tails];
    expect(quickTail?.counts.dropped).toBe(0);
    expect(slowTail?.droppedBy.reader).toBeGreaterThan(100);
    expect(slow.sink.text).toBe('');
  });

  it('share one budget, and let it go when they go', async () => {
    const { offer, view, viewers, tails, flush } = makeViewers();
    const first = view({});
    const { open } = processOf('cat', '/bin/cat');
    const storm = async () => {
      for (let i = 0; i < VIEWERS_RATE; i++) {
        offer(open, KT_FILE_OPEN, HOST);
        if (i % 100 === 99) await flush();
      }
    };
    await storm();
    const [tail] = tails;
    expect(tail?.counts.dropped).toBe(0);
    const half = VIEWERS_RATE / 2;
    const second = view({});
    await storm();
    for (const one of tails) expect(one.droppedBy.rate).toBe(half);
    second.viewer.close();
    expect(second.sink.closed).toBe(true);
    expect([viewers.count, tails.size]).toEqual([1, 1]);
    const { dropped } = tail?.counts ?? { dropped: -1 };
    await storm();
    expect(tail?.counts.dropped).toBe(dropped);
    first.viewer.close();
    first.viewer.close();
    expect(viewers.count).toBe(0);
  });
});
