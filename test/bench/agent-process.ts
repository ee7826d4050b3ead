import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const TICKS_PER_SECOND = 100;

/** Lines of a child's output, one after another. */
export const linesOf = (child: ChildProcess, stream: 'stdout' | 'stderr') => {
  const input = child[stream];
  if (input === null) throw new Error('not piped');
  return createInterface({ input })[Symbol.asyncIterator]();
};
/** The next line as JSON. */
export const json = async (lines: AsyncIterator<string>): Promise<Record<string, unknown>> =>
  JSON.parse((await lines.next()).value) as Record<string, unknown>;

/** User and system time of a process in seconds, and its resident memory in MB (proc(5)). */
export function usage(pid: number): { cpu: number; rss: number; peak: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kilobytes = (key: string) => Number(new RegExp(`${key}:\\s+(\\d+)`).exec(status)?.[1] ?? 0);
  return {
    cpu: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND,
    rss: kilobytes('VmRSS') / 1024,
    peak: kilobytes('VmHWM') / 1024,
  };
}

/** Passes lines until one is found. Rejects where the child ends before. */
export async function waitForLine(lines: AsyncIterator<string>, found: (line: string) => boolean): Promise<string> {
  for (;;) {
    const { value, done } = await lines.next();
    if (done) throw new Error('the agent ended');
    if (found(value)) return value;
  }
}
