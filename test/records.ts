// Kernel records from plain descriptions, and what a collector must read of them. Both are derived from native/record.h
// and events.proto by hand, not from the code under test: offsets are written out, paths are joined as strings.

export interface Head {
  tier: number;
  actor: number;
  ktime: bigint;
  tid: number;
  weight: number;
  cgroupId: bigint;
  startTime: bigint;
  execId: bigint;
  parentStartTime: bigint;
  parentExecId: bigint;
  imageStartTime: bigint;
  tgid: number;
  parentTgid: number;
  imageTgid: number;
  nsTgid: number;
  uid: number;
  gid: number;
  euid: number;
  mntNs: number;
  netNs: number;
  entry: number;
  comm: Buffer;
}

/** `names` from the root to the leaf; `string` is what is appended. */
export interface PathPlan {
  names: Buffer[];
  string: Buffer;
  state: number;
  source: number;
}

export interface ExecBody {
  kind: 'process.exec';
  exe: PathPlan;
  cwd: PathPlan;
  filename: Buffer;
  interp: Buffer;
  tty: Buffer;
  /** The block as copied: NUL-separated, perhaps cut. */
  argv: Buffer;
  env: Buffer;
  exeInode: bigint;
  capPermitted: bigint;
  capEffective: bigint;
  capInheritable: bigint;
  exeDev: number;
  flags: number;
  loginuid: number;
  sessionid: number;
  argc: number;
  argvOrigLen: number;
  envOrigLen: number;
}
export interface ExitBody {
  kind: 'process.exit';
  duration: bigint;
  code: number;
  signal: number;
  core: number;
}
export interface IoUringBody {
  kind: 'process.io_uring';
  entries: number;
  flags: number;
  ret: number;
}
export interface FileBody {
  kind: 'file.open' | 'file.close' | 'file.rename' | 'file.unlink' | 'file.chmod';
  inode: bigint;
  size: bigint;
  dev: number;
  mode: number;
  flags: number;
  openFlags: number;
  ret: number;
  askedSource: number;
  path: PathPlan;
  path2: PathPlan;
  asked: Buffer;
}
export interface SocketBody {
  kind: 'socket.connect' | 'socket.accept' | 'socket.listen' | 'socket.close';
  connStart: bigint;
  bytesSent: bigint;
  bytesReceived: bigint;
  duration: bigint;
  /** 16 bytes each. */
  localAddr: Buffer;
  remoteAddr: Buffer;
  askedAddr: Buffer;
  family: number;
  protocol: number;
  localPort: number;
  remotePort: number;
  askedFamily: number;
  askedPort: number;
  flags: number;
  ret: number;
  backlog: number;
  endedBy: number;
  path: PathPlan;
  name: Buffer;
}
export type Body = ExecBody | ExitBody | IoUringBody | FileBody | SocketBody;
export type Kind = Body['kind'];

export interface RecordPlan {
  head: Head;
  body: Body;
}

const KIND_NUMBERS: Readonly<Record<Kind, number>> = {
  'process.exec': 1,
  'process.exit': 2,
  'process.io_uring': 4,
  'file.open': 10,
  'file.close': 11,
  'file.rename': 12,
  'file.unlink': 13,
  'file.chmod': 14,
  'socket.connect': 20,
  'socket.accept': 21,
  'socket.listen': 22,
  'socket.close': 23,
};

export const KINDS = Object.keys(KIND_NUMBERS) as Kind[];

export const noPath = (): PathPlan => ({ names: [], string: Buffer.alloc(0), state: 0, source: 0 });

/** A head of which only what matters is said. */
export function makeHead(known: Partial<Head> = {}): Head {
  return {
    tier: 2,
    actor: 0,
    ktime: 1_000_000_000n,
    tid: 100,
    weight: 1,
    cgroupId: 77n,
    startTime: 5_000_000n,
    execId: 3n,
    parentStartTime: 4_000_000n,
    parentExecId: 2n,
    imageStartTime: 5_000_000n,
    tgid: 100,
    parentTgid: 50,
    imageTgid: 100,
    nsTgid: 7,
    uid: 1000,
    gid: 1000,
    euid: 1000,
    mntNs: 4026531841,
    netNs: 4026531840,
    entry: 1,
    comm: Buffer.from('sh'),
    ...known,
  };
}

/** A file body of which only what matters is said. */
export function makeFile(kind: FileBody['kind'], known: Partial<FileBody> = {}): FileBody {
  return {
    kind,
    inode: 0n,
    size: 0n,
    dev: 0,
    mode: 0,
    flags: 0,
    openFlags: 0,
    ret: 0,
    askedSource: 0,
    path: noPath(),
    path2: noPath(),
    asked: Buffer.alloc(0),
    ...known,
  };
}

/** An exec body of which only what matters is said. */
export function makeExec(known: Partial<ExecBody> = {}): ExecBody {
  return {
    kind: 'process.exec',
    exe: noPath(),
    cwd: noPath(),
    filename: Buffer.alloc(0),
    interp: Buffer.alloc(0),
    tty: Buffer.alloc(0),
    argv: Buffer.alloc(0),
    env: Buffer.alloc(0),
    exeInode: 0n,
    capPermitted: 0n,
    capEffective: 0n,
    capInheritable: 0n,
    exeDev: 0,
    flags: 0,
    loginuid: 0xffffffff,
    sessionid: 0xffffffff,
    argc: 0,
    argvOrigLen: known.argv?.length ?? 0,
    envOrigLen: known.env?.length ?? 0,
    ...known,
  };
}

/** "/usr/bin/sh" as the kernel's own resolved path. */
export function kernelPath(text: string, state = 0): PathPlan {
  const names = text
    .split('/')
    .filter((name) => name !== '')
    .map((name) => Buffer.from(name));
  return { names, string: Buffer.alloc(0), state, source: 1 };
}

function headBytes(head: Head, kind: number, length: number): Buffer {
  const out = Buffer.alloc(128);
  out.writeUInt32LE(length, 0);
  out.writeUInt8(1, 4);
  out.writeUInt8(kind, 5);
  out.writeUInt8(head.tier, 6);
  out.writeUInt8(head.actor, 7);
  out.writeBigUInt64LE(head.ktime, 8);
  out.writeUInt32LE(head.tid, 16);
  out.writeUInt32LE(head.weight, 20);
  out.writeBigUInt64LE(head.cgroupId, 24);
  out.writeBigUInt64LE(head.startTime, 32);
  out.writeBigUInt64LE(head.execId, 40);
  out.writeBigUInt64LE(head.parentStartTime, 48);
  out.writeBigUInt64LE(head.parentExecId, 56);
  out.writeBigUInt64LE(head.imageStartTime, 64);
  out.writeUInt32LE(head.tgid, 72);
  out.writeUInt32LE(head.parentTgid, 76);
  out.writeUInt32LE(head.imageTgid, 80);
  out.writeUInt32LE(head.nsTgid, 84);
  out.writeUInt32LE(head.uid, 88);
  out.writeUInt32LE(head.gid, 92);
  out.writeUInt32LE(head.euid, 96);
  out.writeUInt32LE(head.mntNs, 100);
  out.writeUInt32LE(head.netNs, 104);
  out.writeUInt8(head.entry, 108);
  head.comm.copy(out, 112);
  return out;
}

function pathBytes(path: PathPlan): { struct: Buffer; bytes: Buffer } {
  const comps = Buffer.concat([...path.names].reverse().flatMap((name) => [Buffer.from([name.length]), name]));
  const struct = Buffer.alloc(8);
  struct.writeUInt16LE(comps.length, 0);
  struct.writeUInt16LE(path.string.length, 2);
  struct.writeUInt8(path.state, 4);
  struct.writeUInt8(path.source, 5);
  return { struct, bytes: Buffer.concat([comps, path.string]) };
}

function bodyBytes(body: Body): Buffer {
  switch (body.kind) {
    case 'process.exec': {
      const exe = pathBytes(body.exe);
      const cwd = pathBytes(body.cwd);
      const out = Buffer.alloc(80);
      out.writeBigUInt64LE(body.exeInode, 0);
      out.writeBigUInt64LE(body.capPermitted, 8);
      out.writeBigUInt64LE(body.capEffective, 16);
      out.writeBigUInt64LE(body.capInheritable, 24);
      out.writeUInt32LE(body.exeDev, 32);
      out.writeUInt32LE(body.flags, 36);
      out.writeUInt32LE(body.loginuid, 40);
      out.writeUInt32LE(body.sessionid, 44);
      out.writeUInt32LE(body.argc, 48);
      out.writeUInt32LE(body.argvOrigLen, 52);
      out.writeUInt32LE(body.envOrigLen, 56);
      out.writeUInt32LE(body.argv.length, 60);
      out.writeUInt32LE(body.env.length, 64);
      out.writeUInt16LE(body.filename.length, 68);
      out.writeUInt16LE(body.interp.length, 70);
      out.writeUInt16LE(body.tty.length, 72);
      return Buffer.concat([
        out,
        exe.struct,
        cwd.struct,
        exe.bytes,
        cwd.bytes,
        body.filename,
        body.interp,
        body.tty,
        body.argv,
        body.env,
      ]);
    }
    case 'process.exit': {
      const out = Buffer.alloc(24);
      out.writeBigUInt64LE(body.duration, 0);
      out.writeInt32LE(body.code, 8);
      out.writeUInt32LE(body.signal, 12);
      out.writeUInt32LE(body.core, 16);
      return out;
    }
    case 'process.io_uring': {
      const out = Buffer.alloc(16);
      out.writeUInt32LE(body.entries, 0);
      out.writeUInt32LE(body.flags, 4);
      out.writeInt32LE(body.ret, 8);
      return out;
    }
    case 'file.open':
    case 'file.close':
    case 'file.rename':
    case 'file.unlink':
    case 'file.chmod': {
      const path = pathBytes(body.path);
      const path2 = pathBytes(body.path2);
      const out = Buffer.alloc(40);
      out.writeBigUInt64LE(body.inode, 0);
      out.writeBigUInt64LE(body.size, 8);
      out.writeUInt32LE(body.dev, 16);
      out.writeUInt32LE(body.mode, 20);
      out.writeUInt32LE(body.flags, 24);
      out.writeUInt32LE(body.openFlags, 28);
      out.writeInt32LE(body.ret, 32);
      out.writeUInt16LE(body.asked.length, 36);
      out.writeUInt8(body.askedSource, 38);
      return Buffer.concat([out, path.struct, path2.struct, path.bytes, path2.bytes, body.asked]);
    }
    default: {
      const path = pathBytes(body.path);
      const out = Buffer.alloc(112);
      out.writeBigUInt64LE(body.connStart, 0);
      out.writeBigUInt64LE(body.bytesSent, 8);
      out.writeBigUInt64LE(body.bytesReceived, 16);
      out.writeBigUInt64LE(body.duration, 24);
      body.localAddr.copy(out, 32);
      body.remoteAddr.copy(out, 48);
      body.askedAddr.copy(out, 64);
      out.writeUInt16LE(body.family, 80);
      out.writeUInt16LE(body.protocol, 82);
      out.writeUInt16LE(body.localPort, 84);
      out.writeUInt16LE(body.remotePort, 86);
      out.writeUInt16LE(body.askedFamily, 88);
      out.writeUInt16LE(body.askedPort, 90);
      out.writeUInt32LE(body.flags, 92);
      out.writeInt32LE(body.ret, 96);
      out.writeUInt32LE(body.backlog, 100);
      out.writeUInt8(body.endedBy, 104);
      out.writeUInt16LE(body.name.length, 108);
      return Buffer.concat([out, path.struct, path.bytes, body.name]);
    }
  }
}

/** The record's bytes, as native/record.h lays them out; not padded. */
export function recordBytes(plan: RecordPlan): Buffer {
  const body = bodyBytes(plan.body);
  return Buffer.concat([headBytes(plan.head, KIND_NUMBERS[plan.body.kind], 128 + body.length), body]);
}

/** Puts records one behind the other at multiples of 8 bytes; returns the buffer and each one's offset. */
export function drainBuffer(records: readonly Buffer[]): { bytes: Uint8Array; offsets: number[] } {
  const offsets: number[] = [];
  let used = 0;
  for (const record of records) {
    offsets.push(used);
    used += (record.length + 7) & ~7;
  }
  const bytes = new Uint8Array(used);
  for (const [i, record] of records.entries()) bytes.set(record, offsets[i]);
  return { bytes, offsets };
}
