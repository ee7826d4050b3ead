import { once } from 'node:events';
import { realpath } from 'node:fs/promises';
import { type FoundFile, filesBelow, linesOf } from '../collector/found-files.ts';
import { matchesGlob } from '../config/glob.ts';
import { type FlagSpecs, type FlagValues, flagHelp, integer, parseFlags, text, UsageError } from './flags.ts';

const FLAGS = {
  out: { type: 'string', value: 'DIR', help: "the collector's folder (/var/lib/kerntap/events)" },
  kind: { type: 'string', value: 'LIST', help: 'only these kinds or families, e.g. process.exec,socket' },
  namespace: { type: 'string', value: 'LIST', help: 'of pods in these namespaces; * stands for any characters' },
  pod: { type: 'string', value: 'LIST', help: 'of these pods, likewise' },
  since: { type: 'string', value: 'TIME', help: 'not older: 90s, 10m, 2h, 7d, or a time such as 2026-01-31T08:00:00Z' },
  limit: { type: 'string', value: 'N', help: 'stop after so many' },
  help: { type: 'boolean', help: 'print this text' },
} as const satisfies FlagSpecs;

const HELP = `Usage: kerntap collector cat [FLAGS]

Prints the events that a collector wrote as JSON lines, also from files that it is still writing: hour by hour, and in
the order of the files within. Without a shell: kubectl exec sts/kerntap-collector -- kerntap collector cat --since 10m

Flags (defaults in brackets):
${flagHelp(FLAGS)}
`;

const UNIT_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const HOUR_MS = 3_600_000;

/** Which events are printed; lists are patterns, undefined: all. */
export interface CatFilter {
  readonly kinds: readonly string[] | undefined;
  readonly namespaces: readonly string[] | undefined;
  readonly pods: readonly string[] | undefined;
  /** Wall clock, ms. */
  readonly sinceMs: number | undefined;
  readonly limit: number;
}

function list(values: FlagValues, name: string): string[] | undefined {
  return text(values, name)
    ?.split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '');
}

function since(values: FlagValues, nowMs: number): number | undefined {
  const value = text(values, 'since');
  if (value === undefined) return undefined;
  const ago = /^(\d{1,9})([smhd])$/.exec(value);
  const ms = ago ? nowMs - Number(ago[1]) * (UNIT_MS[ago[2] ?? ''] ?? 0) : Date.parse(value);
  if (!Number.isNaN(ms) && (ago !== null || /^\d{4}-\d\d-\d\dT.*(Z|[+-]\d\d:\d\d)$/.test(value))) return ms;
  throw new UsageError(`--since: '${value}' is not like 90s, 10m, 2h, 7d or 2026-01-31T08:00:00Z`);
}

/** Undefined: help was asked for. Throws UsageError. */
export function catFlags(args: readonly string[], nowMs: number): (CatFilter & { readonly out: string }) | undefined {
  const values = parseFlags(args, FLAGS);
  if (values['help']) return undefined;
  return {
    out: text(values, 'out') ?? '/var/lib/kerntap/events',
    kinds: list(values, 'kind'),
    namespaces: list(values, 'namespace'),
    pods: list(values, 'pod'),
    sinceMs: since(values, nowMs),
    limit: integer(values, 'limit', { min: 1, max: 1e12 }) ?? Number.POSITIVE_INFINITY,
  };
}

/** The events' lines, without newlines. Throws errors of the disk. */
export async function* eventLines(out: string, filter: CatFilter): AsyncGenerator<string> {
  const { kinds, sinceMs, limit } = filter;
  const files: FoundFile[] = [];
  const wanted = ([kind = '', , day]: readonly string[]) =>
    (kinds === undefined || kinds.some((word) => word === kind || kind.startsWith(`${word}.`))) &&
    (day === undefined || sinceMs === undefined || Date.parse(`${day}T00:00:00Z`) + 24 * HOUR_MS > sinceMs);
  for await (const file of filesBelow(out, wanted)) {
    if (sinceMs === undefined || Date.parse(`${file.hour}:00:00Z`) + HOUR_MS > sinceMs) files.push(file);
  }
  files.sort((a, b) => (a.hour === b.hour ? (a.path < b.path ? -1 : 1) : a.hour < b.hour ? -1 : 1));
  let count = 0;
  for (const { path } of files) {
    for await (const line of linesOf(path)) {
      if (!passes(line, filter)) continue;
      yield line;
      if (++count >= limit) return;
    }
  }
}

function passes(line: string, { namespaces, pods, sinceMs }: CatFilter): boolean {
  if (namespaces === undefined && pods === undefined && sinceMs === undefined) return true;
  const row = parsed(line);
  if (row === undefined) return false;
  // Milliseconds are enough for a bound that people give.
  if (sinceMs !== undefined && !(Date.parse(String(row['time'])) >= sinceMs)) return false;
  const one = (patterns: readonly string[] | undefined, column: string) =>
    patterns === undefined || patterns.some((pattern) => matchesGlob(String(row[column] ?? ''), pattern));
  return one(namespaces, 'k8s_namespace_name') && one(pods, 'k8s_pod_name');
}

function parsed(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const row: unknown = JSON.parse(line);
    return typeof row === 'object' && row !== null ? (row as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Resolves to 0; throws UsageError, and errors of the disk. A reader that is gone ends it. */
export async function run(args: readonly string[]): Promise<number> {
  const flags = catFlags(args, Date.now());
  if (flags === undefined) {
    process.stdout.write(HELP);
    return 0;
  }
  const gone = new AbortController();
  process.stdout.on('error', () => gone.abort());
  for await (const line of eventLines(await realpath(flags.out), flags)) {
    if (!process.stdout.write(`${line}\n`))
      await once(process.stdout, 'drain', { signal: gone.signal }).catch(() => {});
    if (gone.signal.aborted) break;
  }
  return 0;
}
