import { describe, expect, test } from 'vitest';
import {
  FILE,
  HEAD,
  KT_CGROUP_MKDIR,
  KT_FILE_OPEN,
  KT_PROCESS_EXEC,
  KT_RECORD_VERSION,
  PATH,
} from '../../../src/kernel/layout.gen.ts';
import { faultOf, walkRecords } from '../../../src/kernel/records.ts';
import { randomBelow } from './random.ts';
import { buildRecord, sampleRecords } from './record-builder.ts';

const fault = (record: Buffer) => {
  const view = new DataView(record.buffer, record.byteOffset, record.length);
  return faultOf(view, 0, record.length);
};

test.each(sampleRecords().map((record) => [record.readUInt8(HEAD.kind), record]))(
  'a record of kind %i is good',
  (_, record) => {
    expect(fault(record as Buffer)).toBeUndefined();
  },
);

describe('a record is refused', () => {
  const open = () => buildRecord({ kind: KT_FILE_OPEN, paths: [{ path: '/etc/shadow' }], strings: ['shadow'] });
  const edited = (edit: (record: Buffer) => unknown, record = open()) => {
    edit(record);
    return fault(record);
  };

  test('whose version or kind is not known', () => {
    expect(edited((record) => record.writeUInt8(KT_RECORD_VERSION + 1, HEAD.version))).toBe('version');
    expect(edited((record) => record.writeUInt8(200, HEAD.kind))).toBe('kind');
    expect(edited((record) => record.writeUInt8(0, HEAD.kind))).toBe('kind');
  });

  test('with a value that no enum has', () => {
    for (const at of [HEAD.tier, HEAD.actor, HEAD.entry]) {
      expect(edited((record) => record.writeUInt8(99, at))).toBe('enum');
    }
  });

  test('that is cut off, or shorter than a head', () => {
    const record = open();
    for (const length of [0, 1, HEAD.SIZE - 1, record.readUInt32LE(HEAD.len) - 1]) {
      expect(fault(record.subarray(0, length))).toBe('short');
    }
    expect(edited((bytes) => bytes.writeUInt32LE(HEAD.SIZE - 1, HEAD.len))).toBe('short');
    expect(edited((bytes) => bytes.writeUInt32LE(0xffffffff, HEAD.len))).toBe('short');
  });

  test('whose lengths do not add up', () => {
    const asked = HEAD.SIZE + FILE.asked_len;
    expect(edited((record) => record.writeUInt16LE(7, asked))).toBe('length');
    expect(edited((record) => record.writeUInt16LE(0xffff, asked))).toBe('length');
    expect(edited((record) => record.writeUInt8(KT_PROCESS_EXEC, HEAD.kind))).toBe('length');
    const cgroup = buildRecord({ kind: KT_CGROUP_MKDIR, strings: ['/x'.repeat(600)] });
    expect(fault(cgroup)).toBe('length');
  });

  test('whose path does not add up', () => {
    const first = HEAD.SIZE + FILE.SIZE;
    expect(edited((record) => record.writeUInt8(5, first))).toBe('path');
    expect(edited((record) => record.writeUInt8(0, first))).toBe('path');
    expect(edited((record) => record.writeUInt8(255, first))).toBe('path');
    expect(edited((record) => record.writeUInt8(0, HEAD.SIZE + FILE.path + PATH.source))).toBe('path');
    expect(edited((record) => record.writeUInt8(9, HEAD.SIZE + FILE.path2 + PATH.source))).toBe('path');
  });
});

describe('a walk over a drain', () => {
  test('hands on every good record and counts the bad one between them', () => {
    const [first, ...rest] = sampleRecords();
    const bad = buildRecord({ kind: KT_FILE_OPEN });
    bad.writeUInt8(250, HEAD.kind);
    const bytes = Buffer.concat([first as Buffer, bad, ...rest]);
    const kinds: number[] = [];
    const { good, faults } = walkRecords(bytes, bytes.length, (view, offset) =>
      kinds.push(view.getUint8(offset + HEAD.kind)),
    );
    expect(kinds).toEqual(sampleRecords().map((record) => record.readUInt8(HEAD.kind)));
    expect(good).toBe(kinds.length);
    expect(faults).toEqual(new Map([['kind', 1]]));
  });

  test('ends where a length hides the next record', () => {
    const bytes = Buffer.concat(sampleRecords());
    bytes.writeUInt32LE(3, HEAD.len);
    expect(walkRecords(bytes, bytes.length, () => {})).toEqual({ good: 0, faults: new Map([['short', 1]]) });
  });

  test('reads no byte that drain() did not say', () => {
    const bytes = Buffer.concat(sampleRecords());
    const { good, faults } = walkRecords(bytes, bytes.length - 8, () => {});
    expect({ good, faults }).toEqual({ good: sampleRecords().length - 1, faults: new Map([['short', 1]]) });
    expect(walkRecords(bytes, bytes.length + 4096, () => {}).good).toBe(sampleRecords().length);
  });
});

test('100,000 damaged records: none throws, and whatever passes can be read to its end', () => {
  const below = randomBelow(42);
  const samples = sampleRecords();
  let refused = 0;
  for (let round = 0; round < 100_000; round++) {
    const record = Buffer.from(samples[below(samples.length)] as Buffer);
    for (let edits = below(4); edits >= 0; edits--) record.writeUInt8(below(256), below(record.length));
    const cut = record.subarray(0, below(8) === 0 ? below(record.length) : record.length);
    const view = new DataView(cut.buffer, cut.byteOffset, cut.length);
    if (faultOf(view, 0, cut.length) === undefined)
      expect(view.getUint32(HEAD.len, true)).toBeLessThanOrEqual(cut.length);
    else refused++;
  }
  expect(refused).toBeGreaterThan(10_000);
});
