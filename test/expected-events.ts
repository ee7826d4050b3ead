// What protobufjs must decode from the wire for a described record: plain objects in which proto3's defaults are absent,
// 64-bit numbers are decimal strings and bytes are latin-1 strings.

import type { Workload } from '../src/kubernetes/workload.ts';
import type { Body, FileBody, Head, PathPlan, SocketBody } from './records.ts';

export type Plain = { [field: string]: unknown };

/** Marks a value of an `optional` field, which stands even where it is 0. */
class Present {
  readonly value: unknown;
  constructor(value: unknown) {
    this.value = value;
  }
}

function message(fields: Plain): Plain {
  const out: Plain = {};
  for (const [name, raw] of Object.entries(fields)) {
    let value = raw;
    if (value instanceof Present) {
      value = value.value;
    } else if (
      value === undefined ||
      value === 0 ||
      value === 0n ||
      value === false ||
      value === '' ||
      (Buffer.isBuffer(value) && value.length === 0) ||
      (Array.isArray(value) && value.length === 0)
    ) {
      continue;
    }
    out[name] = normal(value);
  }
  return out;
}

const normal = (value: unknown): unknown => {
  if (typeof value === 'bigint') return value.toString();
  if (Buffer.isBuffer(value)) return value.toString('latin1');
  if (Array.isArray(value)) return value.map(normal);
  return value;
};

/** The text of a path, as events.proto describes it. */
export function pathText(path: PathPlan): string {
  let text = path.names.map((name) => `/${name.toString('latin1')}`).join('');
  const string = path.string.toString('latin1').replace(/^(\.\/)+/, '');
  if (string !== '') text += string.startsWith('/') ? string : `/${string}`;
  if (text === '') text = (path.state & 16) !== 0 ? '' : '/';
  return (path.state & 1) !== 0 ? text.slice(1) : text;
}

const path = (plan: PathPlan): Plain | undefined =>
  plan.source === 0 ? undefined : message({ path: pathText(plan), state: plan.state, source: plan.source });

function strings(block: Buffer): string[] {
  if (block.length === 0) return [];
  const text = block.toString('latin1');
  return (text.endsWith('\0') ? text.slice(0, -1) : text).split('\0');
}

const flag = (flags: number, bit: number): boolean => (flags & bit) !== 0;

function file(body: FileBody): Plain {
  const sensitive = flag(body.flags, 8);
  const first = path(body.path);
  const { mode, dev, inode, openFlags, ret } = body;
  switch (body.kind) {
    case 'file.open': {
      const { asked } = body;
      const askedSource = asked.length > 0 ? body.askedSource : 0;
      const created = flag(body.flags, 1);
      return {
        fileOpen: message({
          path: first,
          asked,
          askedSource,
          openFlags,
          mode,
          dev,
          inode,
          created,
          sensitive,
          result: ret,
        }),
      };
    }
    case 'file.close': {
      const modified = flag(body.flags, 4) ? new Present(flag(body.flags, 2)) : undefined;
      return { fileClose: message({ path: first, dev, inode, size: body.size, modified, sensitive, mode }) };
    }
    case 'file.rename':
      return {
        fileRename: message({ path: first, newPath: path(body.path2), flags: openFlags, result: ret, sensitive }),
      };
    case 'file.unlink':
      return { fileUnlink: message({ path: first, result: ret, sensitive }) };
    case 'file.chmod':
      return { fileChmod: message({ path: first, mode, result: ret, dev, inode, sensitive }) };
  }
}

function address(known: boolean, family: number, addr: Buffer, port: number): Plain | undefined {
  if (!known || (family !== 2 && family !== 10)) return undefined;
  return message({ ip: addr.subarray(0, family === 2 ? 4 : 16), port });
}

function socket(body: SocketBody): Plain {
  const { family, protocol, flags } = body;
  const local = address(flag(flags, 1), family, body.localAddr, body.localPort);
  const remote = address(flag(flags, 2), family, body.remoteAddr, body.remotePort);
  const asked = address(flag(flags, 4), body.askedFamily, body.askedAddr, body.askedPort);
  const ends = { family, protocol, local, remote };
  const connectionStartNs = body.connStart;
  const result = body.ret;
  switch (body.kind) {
    case 'socket.connect': {
      const unixAbstract = flag(flags, 16);
      const unixPath = path(body.path);
      return {
        socketConnect: message({
          ...ends,
          asked,
          result,
          connectionStartNs,
          unixPath,
          unixName: body.name,
          unixAbstract,
        }),
      };
    }
    case 'socket.accept':
      return { socketAccept: message({ ...ends, connectionStartNs }) };
    case 'socket.listen':
      return { socketListen: message({ family, protocol, local, backlog: body.backlog, result }) };
    case 'socket.close': {
      const counted = flag(flags, 8);
      return {
        socketClose: message({
          ...ends,
          connectionStartNs,
          durationNs: body.duration,
          bytesSent: counted ? new Present(body.bytesSent) : undefined,
          bytesReceived: counted ? new Present(body.bytesReceived) : undefined,
          endedBy: body.endedBy,
          result,
          asked,
        }),
      };
    }
  }
}

function unlessUnset(value: number): Present | undefined {
  return value === 0xffffffff ? undefined : new Present(value);
}

/** The event's body: one field. */
export function expectedBody(body: Body): Plain {
  switch (body.kind) {
    case 'process.exec':
      return {
        processExec: message({
          exe: path(body.exe),
          filename: body.filename,
          argv: strings(body.argv),
          argc: unlessUnset(body.argc),
          argvLength: body.argvOrigLen,
          argvTruncated: body.argvOrigLen > body.argv.length,
          cwd: path(body.cwd),
          exeInode: body.exeInode,
          exeDev: body.exeDev,
          exeUpperLayer: flag(body.flags, 1),
          exeMemfd: flag(body.flags, 2),
          exeDeleted: flag(body.flags, 4),
          secureexec: flag(body.flags, 8),
          capPermitted: body.capPermitted,
          capEffective: body.capEffective,
          capInheritable: body.capInheritable,
          interpreter: body.interp,
          loginuid: unlessUnset(body.loginuid),
          sessionId: unlessUnset(body.sessionid),
          tty: body.tty,
          env: strings(body.env),
          argvFault: flag(body.flags, 16),
        }),
      };
    case 'process.exit':
      return {
        processExit: message({
          durationNs: body.duration,
          code: body.code,
          signal: body.signal,
          coreDumped: body.core !== 0,
        }),
      };
    case 'process.io_uring':
      return { processIoUring: message({ entries: body.entries, flags: body.flags, result: body.ret }) };
    case 'file.open':
    case 'file.close':
    case 'file.rename':
    case 'file.unlink':
    case 'file.chmod':
      return file(body);
    default:
      return socket(body);
  }
}

/** The event beside time and process index. */
export function expectedEvent(head: Head, body: Body): Plain {
  return {
    ...message({
      tid: head.tid === head.tgid ? 0 : head.tid,
      actor: head.actor,
      tier: head.tier,
      existing: head.weight === 0,
      sampleWeight: head.weight === 1 ? 0 : head.weight,
    }),
    ...expectedBody(body),
  };
}

/** The process entry beside its workload's index; `exe` undefined: not known. */
export function expectedProcess(head: Head, exe: string | undefined): Plain {
  const forked = head.imageTgid !== head.tgid || head.imageStartTime !== head.startTime;
  const nul = head.comm.indexOf(0);
  return message({
    tgid: head.tgid,
    startTimeNs: head.startTime,
    execId: head.execId,
    parentTgid: head.parentTgid,
    parentStartTimeNs: head.parentStartTime,
    parentExecId: head.parentExecId,
    nsTgid: head.nsTgid,
    uid: head.uid,
    gid: head.gid,
    euid: head.euid,
    mntNs: head.mntNs,
    netNs: head.netNs,
    comm: nul < 0 ? head.comm : head.comm.subarray(0, nul),
    entry: head.entry,
    exe,
    exeUnknown: exe === undefined,
    imageTgid: forked ? head.imageTgid : 0,
    imageStartTimeNs: forked ? head.imageStartTime : 0n,
  });
}

/** The workload entry. */
export function expectedWorkload(workload: Workload): Plain {
  return message({
    cgroupId: workload.cgroupId,
    cgroupPath: Buffer.from(workload.cgroupPath),
    state: ['', 'complete', 'pending', 'unknown', 'host'].indexOf(workload.state),
    metadataReason: workload.reason,
    containerId: workload.containerId,
    containerName: workload.containerName,
    containerRuntime: workload.containerRuntime,
    imageName: workload.imageName,
    imageDigest: workload.imageDigest,
    podUid: workload.podUid,
    podName: workload.podName,
    namespaceName: workload.namespace,
    podLabels: Object.keys(workload.labels).length === 0 ? undefined : { ...workload.labels },
    serviceAccount: workload.serviceAccount,
    ownerKind: workload.ownerKind,
    ownerName: workload.ownerName,
    ownerDerived: workload.ownerDerived,
  });
}
