import { describe, expect, it } from 'vitest';
import { ProcessTable } from '../../../src/stream/processes.ts';
import { Random } from '../../random-records.ts';
import { type Head, kernelPath, makeExec, makeHead, noPath, recordBytes } from '../../records.ts';

const exec = (table: ProcessTable, head: Head, path = '/bin/sh'): void =>
  table.observe(recordBytes({ head, body: makeExec({ exe: path === '' ? noPath() : kernelPath(path) }) }), 0);
const exit = (table: ProcessTable, head: Head): void =>
  table.observe(recordBytes({ head, body: { kind: 'process.exit', duration: 1n, code: 0, signal: 0, core: 0 } }), 0);
const half = (value: bigint, shift: bigint): number => Number(BigInt.asIntN(32, value >> shift));
const ask = (table: ProcessTable, head: Head): string | undefined => {
  const { imageTgid, imageStartTime: start, execId } = head;
  const exe = table.get(imageTgid | 0, half(start, 0n), half(start, 32n), half(execId, 0n), half(execId, 32n));
  return exe === undefined ? undefined : Buffer.from(exe).toString();
};
const process = (tgid: number, known: Partial<Head> = {}): Head =>
  makeHead({ tgid, imageTgid: tgid, startTime: BigInt(tgid), imageStartTime: BigInt(tgid), execId: 1n, ...known });

describe('ProcessTable', () => {
  it('tells the executable of an image, its forks included, and tells none from not known', () => {
    const table = new ProcessTable(8);
    exec(table, process(10), '/usr/sbin/nginx');
    exec(table, process(2), '');
    expect(ask(table, process(10))).toBe('/usr/sbin/nginx');
    expect(ask(table, process(11, { imageTgid: 10, imageStartTime: 10n }))).toBe('/usr/sbin/nginx');
    expect(ask(table, process(2))).toBe('');
    expect(ask(table, process(3))).toBeUndefined();
  });

  it('keeps apart reused pids and repeated execs, in all 64 bits', () => {
    const table = new ProcessTable(8);
    const start = 0xffff_ffff_0000_0001n;
    const keys = [
      process(7, { startTime: start, imageStartTime: start, execId: 1n << 32n }),
      process(7, { startTime: start, imageStartTime: start, execId: 1n }),
      process(7, { startTime: 1n, imageStartTime: 1n, execId: 1n }),
      process(0xfffffff7, { startTime: 1n, imageStartTime: 1n, execId: 1n }),
    ];
    for (const [i, key] of keys.entries()) exec(table, key, `/bin/${i}`);
    expect(keys.map((key) => ask(table, key))).toEqual(['/bin/0', '/bin/1', '/bin/2', '/bin/3']);
  });

  it('forgets exited images first, in the order of exit and use, then the longest unused', () => {
    const table = new ProcessTable(4);
    for (const tgid of [1, 2, 3, 4]) exec(table, process(tgid));
    exit(table, process(4));
    exit(table, process(3));
    // A forked child of 4 still runs its image.
    expect(ask(table, process(40, { imageTgid: 4, imageStartTime: 4n }))).toBe('/bin/sh');
    exec(table, process(5));
    expect(ask(table, process(3))).toBeUndefined();
    exec(table, process(6));
    expect(ask(table, process(4))).toBeUndefined();
    expect(ask(table, process(1))).toBe('/bin/sh');
    exec(table, process(7));
    expect([1, 2, 5, 6, 7].map((tgid) => ask(table, process(tgid)))).toEqual([
      '/bin/sh',
      undefined,
      '/bin/sh',
      '/bin/sh',
      '/bin/sh',
    ]);
    expect(table.evicted).toBe(3);
  });

  it('lets the image go that a process executed before', () => {
    const table = new ProcessTable(2);
    exec(table, process(1, { execId: 1n }), '/bin/sh');
    exec(table, process(1, { execId: 2n }), '/bin/env');
    exec(table, process(9), '/bin/cat');
    expect(ask(table, process(1, { execId: 1n }))).toBeUndefined();
    expect(ask(table, process(1, { execId: 2n }))).toBe('/bin/env');
  });

  it('stays within its bytes, and keeps a path that many share once', () => {
    const table = new ProcessTable(1000, 10_000);
    for (let i = 1; i <= 500; i++) exec(table, process(i), '/usr/bin/python3');
    expect(table.pathBytes).toBe('/usr/bin/python3'.length);
    for (let i = 501; i <= 900; i++) exec(table, process(i), `/${String(i).padStart(199, 'x')}`);
    expect(table.pathBytes).toBeLessThanOrEqual(10_000);
    expect(ask(table, process(900))).toBe(`/${'900'.padStart(199, 'x')}`);
    expect(table.evicted).toBeGreaterThan(0);
  });

  it('agrees with a map over a long random life', () => {
    const random = new Random(99);
    const table = new ProcessTable(64);
    const known = new Map<number, string>();
    for (let i = 0; i < 20_000; i++) {
      const head = process(random.below(200));
      const dice = random.next();
      if (dice < 0.5) {
        const path = `/bin/${random.below(50)}`;
        exec(table, head, path);
        known.set(head.tgid, path);
      } else if (dice < 0.7) {
        exit(table, head);
      } else {
        const exe = ask(table, head);
        if (exe !== undefined) expect(exe).toBe(known.get(head.tgid));
      }
      expect(table.size).toBeLessThanOrEqual(64);
    }
    expect(table.size).toBe(64);
    expect(table.pathBytes).toBeLessThanOrEqual(50 * '/bin/49'.length);
  });

  it('ignores what cannot be decoded', () => {
    const table = new ProcessTable(4);
    const record = recordBytes({ head: process(1), body: makeExec({ exe: kernelPath('/bin/sh') }) });
    record[4] = 9;
    table.observe(record, 0);
    table.observe(new Uint8Array(3), 0);
    table.observe(record, 1000);
    expect(table.size).toBe(0);
  });
});
