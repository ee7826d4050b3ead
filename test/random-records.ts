// Random records of every kind from a seed: the same seed gives the same records on every machine.

import { makeWorkload, type Workload } from '../src/kubernetes/workload.ts';
import {
  type Body,
  type FileBody,
  type Head,
  KINDS,
  type Kind,
  noPath,
  type PathPlan,
  type RecordPlan,
  type SocketBody,
} from './records.ts';

/** mulberry32. */
export class Random {
  private state: number;
  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  /** 0 <= x < 1 */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  below(n: number): number {
    return Math.floor(this.next() * n);
  }

  chance(p: number): boolean {
    return this.next() < p;
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new RangeError('pick from nothing');
    return item;
  }

  /** Any 32 bits; small ones and the extremes often. */
  u32(): number {
    const width = this.below(34);
    if (width === 33) return 0xffffffff;
    return width === 32 ? this.below(2 ** 32) : this.below(2 ** width);
  }

  s32(): number {
    return this.u32() | 0;
  }

  u64(): bigint {
    if (this.chance(0.2)) return 0n;
    if (this.chance(0.05)) return 0xffff_ffff_ffff_ffffn;
    return ((BigInt(this.u32()) << 32n) | BigInt(this.u32())) >> BigInt(this.below(64));
  }

  bytes(length: number): Buffer {
    const out = Buffer.alloc(length);
    for (let i = 0; i < length; i++) out[i] = this.below(256);
    return out;
  }
}

const LENGTHS = [0, 1, 2, 7, 31, 32, 33, 126, 127, 128, 129, 255, 256, 1000, 4095, 4096];

const EDGE_STRINGS = [
  '',
  '.',
  './',
  './/',
  '/',
  '//',
  './a',
  '././a/b',
  '/etc/passwd',
  '../x',
  'a',
  '.a',
  './/a',
  'a/./b',
];

function name(random: Random): Buffer {
  const length = random.chance(0.03) ? 255 : 1 + random.below(random.chance(0.1) ? 60 : 12);
  return random.chance(0.8) ? Buffer.alloc(length, 97 + random.below(26)) : random.bytes(length);
}

function path(random: Random, optional: boolean): PathPlan {
  if (optional && random.chance(0.2)) return noPath();
  const depth = random.chance(0.01) ? 100 + random.below(200) : random.below(7);
  const names = Array.from({ length: depth }, () => name(random));
  let string: Buffer = Buffer.alloc(0);
  if (random.chance(0.3)) {
    string = random.chance(0.7) ? Buffer.from(random.pick(EDGE_STRINGS)) : random.bytes(random.pick(LENGTHS));
  }
  const state = random.chance(0.6) ? 0 : random.below(64);
  return { names, string, state, source: 1 + random.below(4) };
}

/** A block as execve gives it: arguments with a NUL each, perhaps cut anywhere. */
function block(random: Random, count: number): Buffer {
  const parts: Buffer[] = [];
  for (let i = 0; i < count; i++) {
    const text = random.chance(0.15) ? Buffer.alloc(0) : random.bytes(random.chance(0.05) ? 200 : random.below(20));
    parts.push(Buffer.from(text.map((byte) => (byte === 0 ? 1 : byte))), Buffer.from([0]));
  }
  const whole = Buffer.concat(parts);
  return random.chance(0.3) ? whole.subarray(0, random.below(whole.length + 1)) : whole;
}

function short(random: Random): Buffer {
  return random.chance(0.3)
    ? Buffer.alloc(0)
    : random.bytes(random.chance(0.02) ? random.pick(LENGTHS) : random.below(40));
}

function file(random: Random, kind: FileBody['kind']): FileBody {
  return {
    kind,
    inode: random.u64(),
    size: random.u64(),
    dev: random.u32(),
    mode: random.u32(),
    flags: random.below(32),
    openFlags: random.u32(),
    ret: random.chance(0.5) ? 0 : random.s32(),
    askedSource: random.below(5),
    path: path(random, true),
    path2: kind === 'file.rename' || random.chance(0.1) ? path(random, true) : noPath(),
    asked: random.chance(0.4) ? short(random) : Buffer.alloc(0),
  };
}

function socket(random: Random, kind: SocketBody['kind']): SocketBody {
  const families = [2, 2, 10, 10, 1, 0, 65535];
  return {
    kind,
    connStart: random.u64(),
    bytesSent: random.u64(),
    bytesReceived: random.u64(),
    duration: random.u64(),
    localAddr: random.bytes(16),
    remoteAddr: random.bytes(16),
    askedAddr: random.bytes(16),
    family: random.pick(families),
    protocol: random.pick([6, 17, 1, 2, 0, 65535]),
    localPort: random.below(65536),
    remotePort: random.chance(0.2) ? 0 : random.below(65536),
    askedFamily: random.pick(families),
    askedPort: random.below(65536),
    flags: random.below(32),
    ret: random.chance(0.5) ? 0 : -random.below(134),
    backlog: random.u32(),
    endedBy: random.below(6),
    path: random.chance(0.3) ? path(random, true) : noPath(),
    name: random.chance(0.2) ? short(random) : Buffer.alloc(0),
  };
}

export function randomBody(random: Random, kind: Kind): Body {
  switch (kind) {
    case 'process.exec': {
      const argv = block(random, random.chance(0.02) ? 800 : random.below(8));
      const env = random.chance(0.2) ? block(random, random.below(5)) : Buffer.alloc(0);
      return {
        kind,
        exe: path(random, true),
        cwd: path(random, true),
        filename: short(random),
        interp: short(random),
        tty: short(random),
        argv,
        env,
        exeInode: random.u64(),
        capPermitted: random.u64(),
        capEffective: random.u64(),
        capInheritable: random.u64(),
        exeDev: random.u32(),
        flags: random.below(64),
        loginuid: random.u32(),
        sessionid: random.u32(),
        argc: random.u32(),
        argvOrigLen: argv.length + (random.chance(0.3) ? random.below(300_000) : 0),
        envOrigLen: env.length,
      };
    }
    case 'process.exit':
      return {
        kind,
        duration: random.u64(),
        code: random.chance(0.9) ? random.below(256) : random.s32(),
        signal: random.below(65),
        core: random.below(2),
      };
    case 'process.io_uring':
      return { kind, entries: random.u32(), flags: random.u32(), ret: random.s32() };
    case 'file.open':
    case 'file.close':
    case 'file.rename':
    case 'file.unlink':
    case 'file.chmod':
      return file(random, kind);
    default:
      return socket(random, kind);
  }
}

/** The process block of a head, and zeroes for what an event adds. */
export function randomProcess(random: Random): Head {
  const startTime = random.u64();
  const tgid = random.u32();
  const forked = random.chance(0.3);
  return {
    tier: 0,
    actor: 0,
    ktime: 0n,
    tid: 0,
    weight: 1,
    cgroupId: random.u64(),
    startTime,
    execId: random.u64(),
    parentStartTime: random.u64(),
    parentExecId: random.u64(),
    imageStartTime: forked ? random.u64() : startTime,
    tgid,
    parentTgid: random.u32(),
    imageTgid: forked ? random.u32() : tgid,
    nsTgid: random.u32(),
    uid: random.u32(),
    gid: random.u32(),
    euid: random.u32(),
    mntNs: random.u32(),
    netNs: random.u32(),
    entry: random.below(4),
    comm: random.bytes(random.below(17)),
  };
}

/** One event of a process. */
export function randomPlan(random: Random, process: Head, ktime: bigint): RecordPlan {
  const head = {
    ...process,
    tier: random.below(5),
    actor: random.below(3),
    ktime,
    tid: random.chance(0.5) ? process.tgid : random.u32(),
    weight: random.chance(0.8) ? 1 : random.u32(),
  };
  return { head, body: randomBody(random, random.pick(KINDS)) };
}

export function randomWorkload(random: Random, i: number): Workload {
  const word = (): string => (random.chance(0.2) ? '' : `${random.pick(['web', 'db', 'Größe', '雲'])}-${random.u32()}`);
  const labels = Object.fromEntries(Array.from({ length: random.below(6) }, (_, n) => [`label-${n}`, word()]));
  return makeWorkload({
    cgroupId: random.u64(),
    cgroupPath: `/kubepods.slice/${i}`,
    state: random.pick(['complete', 'pending', 'unknown', 'host'] as const),
    reason: word(),
    containerId: random.bytes(32).toString('hex'),
    containerName: word(),
    containerRuntime: 'containerd',
    imageName: word(),
    imageDigest: `sha256:${random.bytes(32).toString('hex')}`,
    podUid: word(),
    podName: word(),
    namespace: word(),
    labels,
    serviceAccount: word(),
    ownerKind: word(),
    ownerName: word(),
    ownerDerived: random.chance(0.5),
  });
}
