import { isatty } from 'node:tty';
import { type Logger, pino } from 'pino';
import { plain } from '../tail/pretty.ts';
import { openSink } from '../tail/stdout.ts';
import { BoundedWriter } from '../tail/writer.ts';

/** The log of a process, and the way to let its last lines out. */
export interface ProcessLog {
  readonly log: Logger;
  /** A line for people, as it is. */
  say(line: string): void;
  /** Gives the reader of stderr so long to take what waits; then the log is closed. */
  end(timeoutMs: number): Promise<void>;
}

const LOG_BYTES = 256 * 1024;
const DIM = '\x1b[2m';
const RED = '\x1b[31m';
const RESET = '\x1b[0m';
const WARN = 40;

/** A log line for a terminal, where it stands among events: its message and its fields, dimmed, on one line. */
export function logForPeople(line: string, colour: boolean): string {
  const parsed: unknown = JSON.parse(line);
  if (typeof parsed !== 'object' || parsed === null) return line;
  const { level, time: _time, msg, ...fields } = parsed as Record<string, unknown>;
  const rest = Object.entries(fields)
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(' ');
  const text = `# ${String(msg)}${rest === '' ? '' : ` (${rest})`}`;
  const safe = plain(text);
  if (!colour) return `${safe}\n`;
  return `${typeof level === 'number' && level >= WARN ? RED : DIM}${safe}${RESET}\n`;
}

/**
 * pino on stderr, JSON; lines for people where stderr is a terminal and `json` was not asked for. A reader that stalls
 * costs log lines, never time.
 */
export function openLog(json: boolean): ProcessLog {
  const writer = new BoundedWriter(openSink(2), { capacityBytes: LOG_BYTES });
  const people = isatty(2) && !json;
  const colour = people && !process.env['NO_COLOR'];
  const write = people
    ? (line: string) => void writer.offer(logForPeople(line, colour))
    : (line: string) => void writer.offer(line);
  return {
    log: pino({ base: null }, { write }),
    say: (line) => void writer.offer(`${line}\n`),
    end: async (timeoutMs) => {
      await writer.flush(timeoutMs);
      writer.close();
    },
  };
}
