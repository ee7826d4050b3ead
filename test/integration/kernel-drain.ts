// What the integration tests of src/kernel read out of drained records: enough to compare with what a test did.
import { expect } from 'vitest';
import {
  EXEC,
  FILE,
  HEAD,
  KT_CGROUP_MKDIR,
  KT_FILE_CHMOD,
  KT_FILE_OPEN,
  KT_KIND_COUNT,
  KT_PROCESS_EXEC,
  KT_REASON_COUNT,
  PATH,
} from '../../src/kernel/layout.gen.ts';
import { walkRecords } from '../../src/kernel/records.ts';
import type { KernelTap } from '../../src/kernel/tap.ts';

export interface Seen {
  readonly kind: number;
  readonly tier: number;
  readonly tgid: number;
  readonly startTime: bigint;
  readonly cgroupId: bigint;
  readonly entry: number;
  readonly weight: number;
  /** file.*: its path; cgroup.*: the cgroup's. */
  readonly path: string;
  /** file.open: the name as it was asked for. */
  readonly asked: string;
  /** file.*: 0 or -errno. */
  readonly ret: number;
  readonly argv: readonly string[];
}

/** One drain of `into`; fails on a record that does not add up. */
export function drainOnce(tap: KernelTap, into = new Uint8Array(256 * 1024)): Seen[] {
  const seen: Seen[] = [];
  const { faults } = walkRecords(into, tap.drain(into), (view, offset, length) =>
    seen.push(read(view, offset, length)),
  );
  expect(faults).toEqual(new Map());
  return seen;
}

/** Everything that is in the rings. */
export function drainAll(tap: KernelTap): Seen[] {
  const seen: Seen[] = [];
  for (let part = drainOnce(tap); part.length > 0; part = drainOnce(tap)) seen.push(...part);
  return seen;
}

function read(view: DataView, offset: number, length: number): Seen {
  const kind = view.getUint8(offset + HEAD.kind);
  const body = offset + HEAD.SIZE;
  const bytes = Buffer.from(view.buffer, view.byteOffset + offset, length);
  const isFile = kind >= KT_FILE_OPEN && kind <= KT_FILE_CHMOD;
  let path = '';
  if (isFile) path = renderPath(bytes, HEAD.SIZE + FILE.path, HEAD.SIZE + FILE.SIZE);
  if (kind >= KT_CGROUP_MKDIR) path = bytes.subarray(HEAD.SIZE + 24).toString();
  return {
    kind,
    tier: view.getUint8(offset + HEAD.tier),
    tgid: view.getUint32(offset + HEAD.tgid, true),
    startTime: view.getBigUint64(offset + HEAD.start_time, true),
    cgroupId: view.getBigUint64(offset + HEAD.cgroup_id, true),
    entry: view.getUint8(offset + HEAD.entry),
    weight: view.getUint32(offset + HEAD.weight, true),
    path,
    asked: isFile ? bytes.toString('utf8', length - view.getUint16(body + FILE.asked_len, true)) : '',
    ret: isFile ? view.getInt32(body + FILE.ret, true) : 0,
    argv: kind === KT_PROCESS_EXEC ? argvOf(bytes) : [],
  };
}

function argvOf(bytes: Buffer): string[] {
  const end = bytes.length - bytes.readUInt32LE(HEAD.SIZE + EXEC.env_len);
  const start = end - bytes.readUInt32LE(HEAD.SIZE + EXEC.argv_len);
  return bytes.toString('utf8', start, end).split('\0').slice(0, -1);
}

function renderPath(bytes: Buffer, at: number, start: number): string {
  const end = start + bytes.readUInt16LE(at + PATH.comps_len);
  const names: string[] = [];
  for (let next = start; next < end; next += 1 + bytes.readUInt8(next)) {
    names.unshift(bytes.toString('utf8', next + 1, next + 1 + bytes.readUInt8(next)));
  }
  const base = names.length === 0 ? '' : `/${names.join('/')}`;
  const text = bytes.toString('utf8', end, end + bytes.readUInt16LE(at + PATH.str_len));
  if (text === '') return base;
  return text.startsWith('/') ? base + text : `${base}/${text}`;
}

export function counterOf(tap: KernelTap, kind: number, reason: number): bigint {
  const counters = new BigUint64Array(KT_KIND_COUNT * KT_REASON_COUNT);
  tap.counters(counters);
  return counters[kind * KT_REASON_COUNT + reason] ?? 0n;
}
