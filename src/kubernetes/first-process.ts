import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A process, known by what /proc tells of it. */
export interface ProcessStart {
  readonly tgid: number;
  /** Field 22 of /proc/PID/stat: clock ticks (10 ms) of the boot clock; the kernel's own value is finer. */
  readonly startTicks: number;
}

interface Candidate extends ProcessStart {
  /** Its pid in each pid namespace, outermost first (NSpid of /proc/PID/status). */
  readonly nsTgids: readonly number[];
}

/**
 * The first process of a container that already runs: of those in its cgroup, pid 1 of a pid namespace of its own and
 * started no later than any other. Anything less (host or shared pid namespace, a process moved in from outside, a
 * container that is just ending, a /proc that hides pids) gives undefined: its `entry` stays unknown, it is not guessed.
 *
 * @param tgids as containerTgids() lists them, in the pid namespace that `proc` shows
 */
export function firstProcess(tgids: readonly number[], proc = '/proc'): ProcessStart | undefined {
  const processes: Candidate[] = [];
  for (const tgid of tgids) {
    const process = readProcess(proc, tgid);
    if (process !== undefined) processes.push(process);
  }
  return pickFirst(processes);
}

/** The rule of firstProcess on what was read. */
export function pickFirst(processes: readonly Candidate[]): ProcessStart | undefined {
  let first: Candidate | undefined;
  let level = Number.POSITIVE_INFINITY;
  for (const process of processes) {
    const depth = process.nsTgids.length;
    if (depth < 2 || process.nsTgids[depth - 1] !== 1 || depth > level) continue;
    // Two of them side by side: neither is known to be the container's.
    first = depth === level ? undefined : process;
    level = depth;
  }
  if (first === undefined) return undefined;
  for (const process of processes) if (process.startTicks < first.startTicks) return undefined;
  return { tgid: first.tgid, startTicks: first.startTicks };
}

// The start is read on both sides of the status, so that a pid that was reused between them does not mix two processes.
function readProcess(proc: string, tgid: number): Candidate | undefined {
  const startTicks = readStartTicks(proc, tgid);
  const status = readText(join(proc, String(tgid), 'status'));
  if (startTicks === undefined || status === undefined || readStartTicks(proc, tgid) !== startTicks) return undefined;
  const nsTgids = /^NSpid:\t(.*)$/m.exec(status)?.[1]?.split('\t').map(Number);
  if (nsTgids === undefined || nsTgids.some((pid) => !Number.isSafeInteger(pid))) return undefined;
  return { tgid, startTicks, nsTgids };
}

function readStartTicks(proc: string, tgid: number): number | undefined {
  const stat = readText(join(proc, String(tgid), 'stat'));
  // The name is in brackets and may hold brackets and spaces itself: count from the last one.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = Number(fields?.[19]);
  return Number.isSafeInteger(ticks) ? ticks : undefined;
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}
