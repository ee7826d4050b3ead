import { expect, test } from 'vitest';
import { FakeEventSource } from '../../../src/kernel/fake.ts';
import { KT_KIND_COUNT, KT_REASON_COUNT } from '../../../src/kernel/layout.gen.ts';
import { randomBelow } from './random.ts';
import { sampleRecords } from './record-builder.ts';

test('a recording comes out whole and in order, whatever the size of the buffer', () => {
  const below = randomBelow(7);
  const records = sampleRecords();
  const source = new FakeEventSource([Buffer.concat(records.slice(0, 3)), Buffer.concat(records.slice(3))]);
  const longest = Math.max(...records.map(({ length }) => length));
  const got: Buffer[] = [];
  for (;;) {
    const into = new Uint8Array(longest + below(300));
    const used = source.drain(into);
    if (used === 0) break;
    expect(used % 8).toBe(0);
    got.push(Buffer.from(into.subarray(0, used)));
  }
  expect(Buffer.concat(got)).toEqual(Buffer.concat(records));
});

test('what no record can be is replayed as it is', () => {
  const source = new FakeEventSource([Buffer.alloc(200, 0xff), Buffer.alloc(3)]);
  expect(source.drain(new Uint8Array(4096))).toBe(203);
  expect(source.drain(new Uint8Array(4096))).toBe(0);
});

test('a record longer than the buffer is passed over and counted', () => {
  const source = new FakeEventSource([Buffer.concat(sampleRecords().slice(0, 1))]);
  expect(source.drain(new Uint8Array(128))).toBe(0);
  expect(source.badRecords).toBe(1);
});

test('counters are what the test set, and a closed source says so', () => {
  const source = new FakeEventSource();
  source.counts[33] = 5n;
  const into = new BigUint64Array(KT_KIND_COUNT * KT_REASON_COUNT);
  source.counters(into);
  expect(into[33]).toBe(5n);
  source.close();
  expect(() => source.drain(new Uint8Array(8))).toThrow('closed');
});
