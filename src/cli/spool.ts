import { DEFAULT_SETTINGS } from '../config/settings.ts';
import { loadAddon } from '../kernel/native.ts';
import { removeSpool } from '../stream/spool/removal.ts';
import { type FlagSpecs, flagHelp, parseFlags, text, UsageError } from './flags.ts';

const { dir: DIR } = DEFAULT_SETTINGS.spool;
const WAIT_S = 30;
const WAIT_MAX_S = 3600;

const FLAGS = {
  dir: { type: 'string', value: 'DIR', help: `the spool (${DIR})` },
  wait: { type: 'string', value: 'SECONDS', help: `so long for an agent that has it (${WAIT_S})` },
  help: { type: 'boolean', help: 'print this text' },
} as const satisfies FlagSpecs;

const HELP = `Usage: kerntap spool remove [FLAGS]

Deletes the spool that agents left on this node, with the events in it that no collector took: nothing but what agents wrote
there, and then the folder. Exit code: 0 it is gone, 1 an agent has it, something else is in it or the disk refuses, 2 usage.

Flags (defaults in brackets):
${flagHelp(FLAGS)}
`;

/** Resolves to 0 where the spool is gone. Throws UsageError; rejects with what is in the way. */
export async function run(args: readonly string[]): Promise<number> {
  const [command, ...rest] = args;
  if (command === undefined || command === 'help' || command === '--help' || command === '-h') return print(HELP);
  if (command !== 'remove') throw new UsageError(`kerntap spool: unknown command ${command}; known: remove`);
  const values = parseFlags(rest, FLAGS);
  if (values['help']) return print(HELP);
  const dir = text(values, 'dir') ?? DIR;
  const wait = Number(text(values, 'wait') ?? WAIT_S);
  if (!(wait >= 0 && wait <= WAIT_MAX_S)) throw new UsageError(`--wait: a number of seconds, 0 to ${WAIT_MAX_S}`);
  const removed = await removeSpool(dir, loadAddon().lockFile, wait * 1000);
  if (removed === undefined) return print(`there is no ${dir}\n`);
  return print(`${dir} is gone, with ${removed.segments} segments of events in it (${removed.bytes} bytes)\n`);
}

function print(output: string): number {
  process.stdout.write(output);
  return 0;
}
