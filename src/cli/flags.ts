import { parseArgs } from 'node:util';
import { nearest } from '../config/nearest.ts';

/** What the caller typed cannot be run: exit 2, with the message and nothing else. */
export class UsageError extends Error {
  override name = 'UsageError';
}

export interface FlagSpec {
  readonly type: 'string' | 'boolean';
  /** What stands for the value in the help, for `string`. */
  readonly value?: string;
  readonly help: string;
}

export type FlagSpecs = Readonly<Record<string, FlagSpec>>;
export type FlagValues = Readonly<Record<string, string | boolean | undefined>>;

/** ` (did you mean ...?)` or nothing. */
export function suggestion(word: string, candidates: Iterable<string>, prefix = ''): string {
  const found = nearest(word, candidates);
  return found === undefined ? '' : ` (did you mean ${prefix}${found}?)`;
}

/**
 * Reads a command's flags. Throws UsageError for an unknown flag, a missing or unwanted value, a flag given twice, or an
 * argument that is not a flag.
 */
export function parseFlags(args: readonly string[], specs: FlagSpecs): FlagValues {
  const options = Object.fromEntries(Object.entries(specs).map(([name, spec]) => [name, { type: spec.type }]));
  const { tokens } = parseArgs({ args: [...args], options, strict: false, tokens: true });
  const values: Record<string, string | boolean> = {};
  for (const token of tokens) {
    if (token.kind === 'positional') throw new UsageError(`unexpected argument: ${token.value}`);
    if (token.kind !== 'option') continue;
    const spec = Object.hasOwn(specs, token.name) ? specs[token.name] : undefined;
    if (spec === undefined) {
      throw new UsageError(`unknown flag: ${token.rawName}${suggestion(token.name, Object.keys(specs), '--')}`);
    }
    if (Object.hasOwn(values, token.name)) throw new UsageError(`${token.rawName} is given twice`);
    if (spec.type === 'boolean') {
      if (token.value !== undefined) throw new UsageError(`${token.rawName} takes no value, got '${token.value}'`);
      values[token.name] = true;
    } else {
      if (token.value === undefined || (!token.inlineValue && token.value.startsWith('--'))) {
        throw new UsageError(`${token.rawName} needs a value: ${spec.value ?? 'VALUE'}`);
      }
      values[token.name] = token.value;
    }
  }
  return values;
}

/** The flags as an indented list of two columns. */
export function flagHelp(specs: FlagSpecs): string {
  const rows = Object.entries(specs).map(([name, spec]): [string, string] => [
    `--${name}${spec.type === 'string' ? ` ${spec.value ?? 'VALUE'}` : ''}`,
    spec.help,
  ]);
  const width = Math.max(...rows.map(([left]) => left.length)) + 2;
  return rows
    .map(([left, help]) => `  ${left.padEnd(width)}${help.replaceAll('\n', `\n  ${' '.repeat(width)}`)}`)
    .join('\n');
}

/** A text flag, or undefined where it was not given. Throws UsageError for an empty one. */
export function text(values: FlagValues, name: string): string | undefined {
  const value = values[name];
  if (typeof value !== 'string') return undefined;
  if (value === '') throw new UsageError(`--${name} must not be empty`);
  return value;
}

/** One of a few words. */
export function choice<T extends string>(values: FlagValues, name: string, accepted: readonly T[]): T | undefined {
  const value = values[name];
  if (typeof value !== 'string') return undefined;
  const found = accepted.find((word) => word === value);
  if (found !== undefined) return found;
  throw new UsageError(`--${name}: '${value}' is not one of ${accepted.join(', ')}${suggestion(value, accepted)}`);
}

const UNITS: Readonly<Record<string, number>> = { '': 1, Ki: 1 << 10, Mi: 1 << 20, Gi: 1 << 30 };

/** A whole number; `bytes` also takes Ki, Mi and Gi. */
export function integer(
  values: FlagValues,
  name: string,
  range: { readonly min: number; readonly max: number; readonly bytes?: boolean },
): number | undefined {
  const value = values[name];
  if (typeof value !== 'string') return undefined;
  const match = (range.bytes ? /^(\d{1,15})(Ki|Mi|Gi)?$/ : /^(\d{1,15})$/).exec(value);
  const number = match ? Number(match[1]) * (UNITS[match[2] ?? ''] ?? 1) : Number.NaN;
  if (number >= range.min && number <= range.max) return number;
  const what = range.bytes ? 'a number of bytes (also with Ki, Mi or Gi)' : 'a whole number';
  throw new UsageError(`--${name}: '${value}' is not ${what} from ${range.min} to ${range.max}`);
}

/** Where to listen: HOST:PORT or :PORT, port 0 for a free one; or `off`. */
export function listenOrOff(values: FlagValues, name: string): string | undefined {
  const value = text(values, name);
  if (value === undefined || value === 'off') return value;
  hostPort({ [name]: value.replace(/^:/, '0.0.0.0:').replace(/:0$/, ':1') }, name);
  return value;
}

/** One HOST:PORT or several, separated by commas. */
export function hostPorts(values: FlagValues, name: string): string[] | undefined {
  return text(values, name)
    ?.split(',')
    .flatMap((each) => hostPort({ [name]: each.trim() }, name) ?? []);
}

/** HOST:PORT; an IPv6 address in brackets. */
export function hostPort(values: FlagValues, name: string): string | undefined {
  const value = text(values, name);
  if (value === undefined) return undefined;
  const match = /^(?:\[[0-9a-fA-F:.]+\]|[^\s:/[\]]+):(\d{1,5})$/.exec(value);
  const port = match ? Number(match[1]) : Number.NaN;
  if (port >= 1 && port <= 65535) return value;
  throw new UsageError(`--${name}: '${value}' is not HOST:PORT (port 1 to 65535, an IPv6 address in brackets)`);
}
