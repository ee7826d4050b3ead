import { pino } from 'pino';
import { startCollector } from '../collector/server.ts';
import { activity, summaryLine } from '../collector/summary.ts';
import { type FlagSpecs, type FlagValues, flagHelp, hostPort, integer, parseFlags, text } from './flags.ts';

const FLAGS = {
  listen: { type: 'string', value: 'HOST:PORT', help: 'where agents connect; port 0 takes a free one (0.0.0.0:4750)' },
  out: { type: 'string', value: 'DIR', help: 'folder of the event files, made if missing (/var/lib/kerntap/events)' },
  'rotate-bytes': { type: 'string', value: 'BYTES', help: 'finish a file at this size; Ki, Mi, Gi (128Mi)' },
  'rotate-seconds': { type: 'string', value: 'N', help: 'finish a file at this age; at a tenth of it when idle (600)' },
  json: { type: 'boolean', help: 'the summary as JSON lines also on a terminal' },
  help: { type: 'boolean', help: 'print this text' },
} as const satisfies FlagSpecs;

const HELP = `Usage: kerntap collector [FLAGS]

Receives events of agents by gRPC and writes them as NDJSON, one flat row per event, to
OUT/kind=<kind>/cluster=<name>/dt=<day>/hour=<hour>/<node>-<run>-<sequence>.ndjson (.tmp until complete).
What it acknowledges is synced to the disk. A summary and its log go to stderr.

Flags (defaults in brackets):
${flagHelp(FLAGS)}
`;

const SUMMARY_MS = 5_000;

interface CollectorFlags {
  readonly listen: string;
  readonly out: string;
  readonly rotateBytes: number | undefined;
  readonly rotateSeconds: number | undefined;
  readonly json: boolean;
}

function listenAddress(values: FlagValues): string {
  const given = text(values, 'listen') ?? '0.0.0.0:4750';
  if (/^unix:.+/.test(given)) return given;
  // hostPort asks for a port that can be dialled; here 0 stands for any.
  hostPort({ listen: given.replace(/:0$/, ':1') }, 'listen');
  return given;
}

function collectorFlags(args: readonly string[]): CollectorFlags | undefined {
  const values = parseFlags(args, FLAGS);
  if (values['help']) return undefined;
  return {
    listen: listenAddress(values),
    out: text(values, 'out') ?? '/var/lib/kerntap/events',
    rotateBytes: integer(values, 'rotate-bytes', { min: 4096, max: 1 << 30, bytes: true }),
    rotateSeconds: integer(values, 'rotate-seconds', { min: 1, max: 86_400 }),
    json: values['json'] === true,
  };
}

/** Runs a collector until SIGTERM or SIGINT. Resolves to the exit code: 0 ran, 1 could not start. Throws UsageError. */
export async function run(args: readonly string[]): Promise<number> {
  const flags = collectorFlags(args);
  if (flags === undefined) {
    process.stdout.write(HELP);
    return 0;
  }
  const log = pino({ base: null }, pino.destination({ dest: 2, sync: true }));
  const { rotateBytes, rotateSeconds } = flags;
  const collector = await startCollector({
    listen: flags.listen,
    out: flags.out,
    log,
    ...(rotateBytes === undefined ? {} : { rotateBytes }),
    ...(rotateSeconds === undefined ? {} : { rotateMs: rotateSeconds * 1000, idleMs: rotateSeconds * 100 }),
  });
  log.info({ address: collector.address, out: flags.out }, 'the collector listens');

  let before = collector.stats();
  let quiet = false;
  const summary = setInterval(() => {
    const now = collector.stats();
    const seen = activity(before, now, SUMMARY_MS / 1000);
    before = now;
    // An idle collector says so once.
    const idle = seen.eventsPerSecond === 0 && seen.blocked === null;
    if (idle && quiet) return;
    quiet = idle;
    if (process.stderr.isTTY && !flags.json) process.stderr.write(`${summaryLine(seen)}\n`);
    else log.info({ ...seen, kinds: Object.fromEntries(seen.kinds) }, 'summary');
  }, SUMMARY_MS);

  await new Promise<void>((resolve) => {
    process.once('SIGTERM', () => resolve());
    process.once('SIGINT', () => resolve());
  });
  clearInterval(summary);
  log.info('the collector closes');
  await collector.close();
  return 0;
}
