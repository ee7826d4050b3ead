import { expect, test } from 'vitest';
import { Shedding } from '../../../src/agent/shedding.ts';
import {
  KT_FILE_CHMOD,
  KT_FILE_OPEN,
  KT_PROCESS_EXEC,
  KT_PROCESS_IO_URING,
  KT_SOCKET_CLOSE,
  KT_SOCKET_CONNECT,
} from '../../../src/kernel/layout.gen.ts';

const KINDS = [
  KT_PROCESS_EXEC,
  KT_PROCESS_IO_URING,
  KT_FILE_OPEN,
  KT_FILE_CHMOD,
  KT_SOCKET_CONNECT,
  KT_SOCKET_CLOSE,
] as const;

test.each([
  { fill: 0, shed: [] },
  { fill: 0.74, shed: [] },
  { fill: 0.75, shed: [KT_FILE_OPEN, KT_FILE_CHMOD] },
  { fill: 0.89, shed: [KT_FILE_OPEN, KT_FILE_CHMOD] },
  { fill: 0.9, shed: [KT_FILE_OPEN, KT_FILE_CHMOD, KT_SOCKET_CONNECT, KT_SOCKET_CLOSE] },
  { fill: 1.2, shed: [KT_FILE_OPEN, KT_FILE_CHMOD, KT_SOCKET_CONNECT, KT_SOCKET_CLOSE] },
])('a queue that is $fill full sheds files, then sockets, never processes', ({ fill, shed }) => {
  const shedding = new Shedding();
  shedding.update(fill);
  expect(KINDS.filter((kind) => shedding.sheds(kind))).toEqual(shed);
  expect([...shedding.counts].flatMap((count, kind) => (count > 0 ? [kind] : []))).toEqual(shed);
});

test('what is shed is counted by kind, and nothing once there is room again', () => {
  const shedding = new Shedding();
  shedding.update(0.8);
  for (let i = 0; i < 5; i++) shedding.sheds(KT_FILE_OPEN);
  shedding.update(0.1);
  expect(shedding.sheds(KT_FILE_OPEN)).toBe(false);
  expect(shedding.counts[KT_FILE_OPEN]).toBe(5);
});
