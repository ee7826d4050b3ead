#!/usr/bin/env node
import { suggestion, UsageError } from './flags.ts';
import { version } from './version.ts';

/** A command takes its arguments and resolves to the exit code: 0 ran, 1 could not, 2 usage. */
interface Command {
  readonly summary: string;
  readonly load: () => Promise<(args: readonly string[]) => Promise<number>>;
}

const COMMANDS: Readonly<Record<string, Command>> = {
  agent: {
    summary: "tap this node's kernel and stream its events to a collector",
    load: async () => (await import('./agent.ts')).run,
  },
  collector: {
    summary: 'receive events by gRPC and write them as partitioned NDJSON files',
    load: async () => (await import('./collector.ts')).run,
  },
  config: {
    summary: 'check a configuration file, explain its keys',
    load: async () => (await import('./config.ts')).run,
  },
  doctor: {
    summary: 'tell what this node offers and what is missing',
    load: async () => (await import('./doctor.ts')).run,
  },
  ledger: {
    summary: 'tell what the running agent saw, lost and delivered, and whether it balances',
    load: async () => (await import('./ledger.ts')).run,
  },
  spool: {
    summary: 'remove what agents left on this node, where none will come again',
    load: async () => (await import('./spool.ts')).run,
  },
  tail: {
    summary: 'show events of the running agent live, filtered',
    load: async () => (await import('./tail.ts')).run,
  },
};

const HELP = `kerntap taps the kernel of a node: exec, file and socket events of every pod, raw, to a collector.

Usage: kerntap COMMAND [FLAGS]

Commands:
${Object.entries(COMMANDS)
  .map(([name, command]) => `  ${name.padEnd(11)}${command.summary}`)
  .join('\n')}

Flags:
  --version   print the version
  --help      print this text; kerntap COMMAND --help prints a command's flags

To watch this host's events at once: kerntap agent --standalone
`;

async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(HELP);
    return 0;
  }
  if (name === '--version' || name === '-v') {
    process.stdout.write(`kerntap ${version()}\n`);
    return 0;
  }
  if (name === undefined) throw new UsageError('a command is missing');
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) {
    const what = name.startsWith('-') ? 'flag' : 'command';
    throw new UsageError(`unknown ${what}: ${name}${suggestion(name, Object.keys(COMMANDS))}`);
  }
  return (await command.load())(rest);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (error instanceof UsageError) {
    process.stderr.write(`kerntap: ${error.message}\nSee: kerntap --help\n`);
    process.exitCode = 2;
  } else {
    process.stderr.write(`kerntap: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
