import { describe, expect, it } from 'vitest';
import { KT_FILE_OPEN, KT_FILE_SENSITIVE, KT_PROCESS_EXEC } from '../../../src/kernel/layout.gen.ts';
import { makeWorkload, type Workload } from '../../../src/kubernetes/workload.ts';
import { BatchEncoder } from '../../../src/stream/encoder.ts';
import { ProcessTable } from '../../../src/stream/processes.ts';
import { JSON_LINES } from '../../../src/tail/render.ts';
import { Tail, type TailRules } from '../../../src/tail/tail.ts';
import { BoundedWriter } from '../../../src/tail/writer.ts';
import { nodeFacts } from '../../node-facts.ts';
import { kernelPath, makeExec, makeFile, makeHead, recordBytes } from '../../records.ts';

const NODE = nodeFacts({ bootId: 'boot', nodeName: 'n1', hostName: 'n1' });
const FREE: TailRules = { eventsPerSecond: 0, bytesPerSecond: 0 };

function setUp(rules: TailRules) {
  let text = '';
  const encoder = new BatchEncoder({ runId: NODE.runId, processes: new ProcessTable() });
  const tail = new Tail({
    writer: new BoundedWriter({
      write: (chunk, done) => {
        text += Buffer.from(chunk).toString();
        done(null, chunk.length);
      },
      close: () => {},
    }),
    encodeOne: encoder.encodeOne.bind(encoder),
    node: () => NODE,
    ...JSON_LINES,
    ...rules,
    wallOffsetNs: () => 0n,
  });
  let sequence = 0;
  const offer = (record: Buffer, kind: number, workload: Workload) =>
    tail.offer(record, 0, record.length, kind, workload, ++sequence);
  const open = (file: string, flags: number, workload: Workload) =>
    offer(
      recordBytes({ head: makeHead({ tgid: 5 }), body: makeFile('file.open', { path: kernelPath(file), flags }) }),
      KT_FILE_OPEN,
      workload,
    );
  const exec = (workload: Workload) =>
    offer(
      recordBytes({ head: makeHead({ tgid: 5 }), body: makeExec({ exe: kernelPath('/bin/x') }) }),
      KT_PROCESS_EXEC,
      workload,
    );
  const shown = async () => {
    await tail.flush(1000);
    const rows = text
      .split('\n')
      .slice(0, -1)
      .map((line): Record<string, unknown> => JSON.parse(line));
    return rows.map((row) => row['file_path'] ?? row['kind']);
  };
  return { tail, open, exec, shown };
}

const workload = (namespace: string) =>
  makeWorkload({ cgroupId: 1n, cgroupPath: '/', state: 'complete', reason: '', namespace });

describe('the rules of the tail', () => {
  it('show of the files only the sensitive ones, and everything else', async () => {
    const { open, exec, shown, tail } = setUp({ ...FREE, sensitiveFilesOnly: true });
    open('/etc/shadow', KT_FILE_SENSITIVE, workload('a'));
    open('/tmp/x', 0, workload('a'));
    exec(workload('a'));
    expect(await shown()).toEqual(['/etc/shadow', 'process.exec']);
    expect(tail.counts.filtered).toBe(1);
  });

  it('show only the workloads that are wanted', async () => {
    const { open, shown } = setUp({ ...FREE, wanted: ({ namespace }) => namespace === 'shop' });
    open('/1', 0, workload('shop'));
    open('/2', 0, workload('other'));
    expect(await shown()).toEqual(['/1']);
  });

  it('change while it runs', async () => {
    const { tail, open, exec, shown } = setUp(FREE);
    open('/1', 0, workload('a'));
    tail.configure({ ...FREE, kinds: { numbers: new Set([KT_PROCESS_EXEC]), own: new Set() } });
    open('/2', 0, workload('a'));
    exec(workload('a'));
    tail.configure({ ...FREE, kinds: { numbers: new Set(), own: new Set() } });
    exec(workload('a'));
    tail.configure({ eventsPerSecond: 1, bytesPerSecond: 0 });
    open('/3', 0, workload('a'));
    open('/4', 0, workload('a'));
    expect(tail.counts.dropped).toBe(1);
    expect((await shown()).slice(0, 3)).toEqual(['/1', 'process.exec', '/3']);
  });
});
