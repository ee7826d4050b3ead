import { once } from 'node:events';
import { isatty } from 'node:tty';
import type { Row } from '../../proto/ndjson.ts';
import { LOCAL_SOCKET } from '../agent/local-socket.ts';
import { prettyLine } from '../tail/pretty.ts';
import { type FlagSpecs, type FlagValues, flagHelp, parseFlags, text, UsageError } from './flags.ts';
import { askAgent, LocalError } from './local-client.ts';

const FLAGS = {
  namespace: { type: 'string', value: 'LIST', help: 'of pods in these namespaces; * stands for any characters' },
  pod: { type: 'string', value: 'LIST', help: 'of these pods, likewise' },
  kinds: { type: 'string', value: 'LIST', help: 'only these kinds or families (process, file, socket, kerntap)' },
  process: { type: 'string', value: 'LIST', help: 'of processes of this name, or running this file, likewise' },
  host: { type: 'boolean', help: 'of the host: alone, or beside those of --namespace and --pod' },
  json: { type: 'boolean', help: 'JSON lines also on a terminal' },
  pretty: { type: 'boolean', help: 'lines for people also where stdout is no terminal' },
  socket: { type: 'string', value: 'PATH', help: `socket of the agent (${LOCAL_SOCKET})` },
  help: { type: 'boolean', help: 'print this text' },
} as const satisfies FlagSpecs;

const HELP = `Usage: kerntap tail [FLAGS]

Shows events live, from the agent that runs on this node, whatever its own stdout shows: for people on a terminal, else
as JSON lines. In a cluster: kubectl exec -it ds/kerntap -- kerntap tail --namespace shop --kinds process

Flags (defaults in brackets):
${flagHelp(FLAGS)}
`;

function list(values: FlagValues, name: string): string[] | undefined {
  return text(values, name)
    ?.split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '');
}

/** A line of the agent's for people. What is no event stays as it is. */
export function prettyText(line: string, colour: boolean, columns: number): string {
  const value: unknown = JSON.parse(line);
  if (typeof value !== 'object' || value === null) return line;
  const row = value as Row;
  if (row['kind'] === 'kerntap.tail_dropped') return `... ${String(row['count'])} events were not shown`;
  return prettyLine(row, colour, columns);
}

/** Resolves to 0 when interrupted or when the reader is gone, 1 where the agent ended it. Throws UsageError. */
export async function run(args: readonly string[]): Promise<number> {
  const values = parseFlags(args, FLAGS);
  if (values['help']) {
    process.stdout.write(HELP);
    return 0;
  }
  if (values['json'] && values['pretty']) throw new UsageError('--json or --pretty, not both');
  const request = {
    ask: 'tail',
    namespaces: list(values, 'namespace'),
    pods: list(values, 'pod'),
    kinds: list(values, 'kinds'),
    processes: list(values, 'process'),
    host: values['host'] === true,
  };
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  process.stdout.on('error', () => stop.abort());
  const people = values['pretty'] === true || (isatty(1) && !values['json']);
  const colour = isatty(1) && !process.env['NO_COLOR'];
  for await (const line of askAgent(text(values, 'socket') ?? LOCAL_SOCKET, request, stop.signal)) {
    const shown = people ? prettyText(line, colour, process.stdout.columns ?? 0) : line;
    if (!process.stdout.write(`${shown}\n`) && !stop.signal.aborted) {
      await once(process.stdout, 'drain', { signal: stop.signal }).catch(() => {});
    }
  }
  if (!stop.signal.aborted) throw new LocalError('the agent closed the connection');
  return 0;
}
