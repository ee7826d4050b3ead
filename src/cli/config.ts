import os from 'node:os';
import { EXAMPLE, explain, type KeyManual, manual } from '../config/explain.ts';
import { configJsonSchema } from '../config/json-schema.ts';
import { loadConfig } from '../config/load.ts';
import { nearest } from '../config/nearest.ts';
import { ConfigError } from '../config/problem.ts';
import { nodeLabels } from './agent-settings.ts';
import { type FlagSpecs, flagHelp, parseFlags, text, UsageError } from './flags.ts';

const CHECK_FLAGS = {
  'node-name': {
    type: 'string',
    value: 'NAME',
    help: 'judge overrides for this node ($NODE_NAME, else the host name)',
  },
  'node-labels': { type: 'string', value: 'LIST', help: 'and these labels of it, a=b,c=d ($NODE_LABELS)' },
  print: { type: 'boolean', help: 'print the settings of that node, defaults and overrides laid in, as JSON' },
  help: { type: 'boolean', help: 'print this text' },
} as const satisfies FlagSpecs;

const HELP = `Usage: kerntap config check FILE [FLAGS]   check a configuration; exit 1 and one line for each problem
       kerntap config explain [KEY]        what a key means; without KEY: every key
       kerntap config schema               the JSON Schema of the file

An example:
${EXAMPLE.replaceAll(/^/gm, '  ').trimEnd()}

Flags of check:
${flagHelp(CHECK_FLAGS)}
`;

/** Runs a subcommand. Exit code: 0 well, 1 the file has problems. Throws UsageError. */
export async function run(args: readonly string[]): Promise<number> {
  const [command, ...rest] = args;
  switch (command) {
    case 'check':
      return check(rest);
    case 'explain':
      return print(explained(rest));
    case 'schema':
      if (rest.length > 0) throw new UsageError(`unexpected argument: ${rest[0]}`);
      return print(`${JSON.stringify(configJsonSchema(), null, 2)}\n`);
    case undefined:
    case 'help':
    case '--help':
    case '-h':
      return print(HELP);
    default:
      throw new UsageError(`kerntap config: unknown command ${command}; known: check, explain, schema`);
  }
}

function print(output: string): number {
  process.stdout.write(output);
  return 0;
}

function check(args: readonly string[]): number {
  const file = args[0]?.startsWith('-') ? undefined : args[0];
  const values = parseFlags(file === undefined ? args : args.slice(1), CHECK_FLAGS);
  if (values['help']) return print(HELP);
  if (file === undefined) throw new UsageError('kerntap config check: FILE is missing');
  const labels = nodeLabels(text(values, 'node-labels') ?? process.env['NODE_LABELS']);
  const name = text(values, 'node-name') ?? (process.env['NODE_NAME'] || os.hostname());
  try {
    const settings = loadConfig(file, { node: { name, labels } });
    return print(values['print'] ? `${JSON.stringify(settings, null, 2)}\n` : `${file}: ok\n`);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return 1;
  }
}

function explained(args: readonly string[]): string {
  if (args[0] === '--help') return HELP;
  if (args.length > 1) throw new UsageError(`unexpected argument: ${args[1]}`);
  const [key] = args;
  const entries = key === undefined ? manual() : explain(key);
  if (entries.length === 0) {
    const known = manual().map((entry) => entry.key);
    const meant = nearest(key ?? '', known) ?? known.find((name) => name.endsWith(`.${key}`));
    throw new UsageError(
      `no key ${key}${meant === undefined ? '' : ` (did you mean ${meant}?)`}; all: kerntap config explain`,
    );
  }
  return entries.map(entryText).join('\n');
}

function entryText({ key, type, default: value, about }: KeyManual): string {
  const lines = [key, `  ${about}`];
  if (type !== 'section') lines.push(`  ${type}`);
  if (value !== undefined) lines.push(`  default: ${value}`);
  return `${lines.join('\n')}\n`;
}
