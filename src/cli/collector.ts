import type { Logger } from 'pino';
import { type Collector, startCollector } from '../collector/server.ts';
import { activity, summaryLine } from '../collector/summary.ts';
import { collectorLiveness, collectorMetrics, collectorReadiness } from '../telemetry/collector-metrics.ts';
import { openLog, type ProcessLog } from '../telemetry/log.ts';
import { serveTelemetry, type TelemetryServer } from '../telemetry/server.ts';
import { TlsFiles } from '../tls/files.ts';
import type { TlsPaths } from '../tls/material.ts';
import { type ClientRules, clientRules, serverFiles } from './collector-tls.ts';
import {
  type FlagSpecs,
  type FlagValues,
  flagHelp,
  hostPort,
  integer,
  listenOrOff,
  parseFlags,
  text,
} from './flags.ts';
import { version } from './version.ts';

const FLAGS = {
  listen: { type: 'string', value: 'HOST:PORT', help: 'where agents connect; port 0 takes a free one (0.0.0.0:4750)' },
  out: { type: 'string', value: 'DIR', help: 'folder of the event files, made if missing (/var/lib/kerntap/events)' },
  'rotate-bytes': { type: 'string', value: 'BYTES', help: 'finish a file at this size; Ki, Mi, Gi (128Mi)' },
  'rotate-seconds': { type: 'string', value: 'N', help: 'finish a file at this age; at a tenth of it when idle (600)' },
  'retain-bytes': {
    type: 'string',
    value: 'BYTES',
    help: 'delete the oldest finished files beyond this size of all; Ki, Mi, Gi (0: keep all)',
  },
  'retain-hours': { type: 'string', value: 'N', help: 'delete finished files beyond this age (0: keep all)' },
  'community-id-seed': {
    type: 'string',
    value: 'N',
    help: "seed of the Community IDs of connections, as Zeek's CommunityID::seed (0)",
  },
  'tls-cert': { type: 'string', value: 'FILE', help: 'take TLS only, with this certificate (PEM, and what signed it)' },
  'tls-key': { type: 'string', value: 'FILE', help: 'its key; both are read anew when they change' },
  'tls-client-ca': {
    type: 'string',
    value: 'FILE',
    help: 'agents need a certificate that one of these authorities signed (PEM)',
  },
  'allow-client': {
    type: 'string',
    value: 'NAMES',
    help:
      'only agents whose certificate has one of these names, separated by commas; * stands for any characters,\n' +
      '{node} for the name of the node that the agent speaks for (any that --tls-client-ca lets in)',
  },
  'client-streams': { type: 'string', value: 'N', help: 'streams that one client may have at a time (8)' },
  'client-bytes': {
    type: 'string',
    value: 'BYTES',
    help: 'a second that are read from one client; 0: no limit (16Mi)',
  },
  'client-events': { type: 'string', value: 'N', help: 'a second that are read from one client; 0: no limit (0)' },
  metrics: { type: 'string', value: 'ADDR', help: 'metrics and health on HOST:PORT or :PORT, off: nowhere (:9465)' },
  json: { type: 'boolean', help: 'log and summary as JSON lines also on a terminal' },
  help: { type: 'boolean', help: 'print this text' },
} as const satisfies FlagSpecs;

const HELP = `Usage: kerntap collector [FLAGS]
       kerntap collector cat [FLAGS]    prints what was written; see its --help

Receives events of agents by gRPC and writes them as NDJSON, one flat row per event, to
OUT/kind=<kind>/cluster=<name>/dt=<day>/hour=<hour>/<node>-<run>-<sequence>.ndjson (.tmp until complete); with more than
16 agents rows of many share many-<start>-<number>.ndjson.
What it acknowledges is synced to the disk. A summary and its log go to stderr.

Flags (defaults in brackets):
${flagHelp(FLAGS)}
`;

const SUMMARY_MS = 5_000;
const LOG_STOP_MS = 500;

interface CollectorFlags {
  readonly listen: string;
  readonly out: string;
  readonly rotateBytes: number | undefined;
  readonly rotateSeconds: number | undefined;
  readonly retainBytes: number;
  readonly retainMs: number;
  readonly communityIdSeed: number;
  /** Undefined: plain connections. */
  readonly tls: TlsPaths | undefined;
  readonly clients: ClientRules;
  /** Undefined: nowhere. */
  readonly metricsListen: string | undefined;
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
  const metrics = listenOrOff(values, 'metrics') ?? ':9465';
  return {
    listen: listenAddress(values),
    out: text(values, 'out') ?? '/var/lib/kerntap/events',
    rotateBytes: integer(values, 'rotate-bytes', { min: 4096, max: 1 << 30, bytes: true }),
    rotateSeconds: integer(values, 'rotate-seconds', { min: 1, max: 86_400 }),
    retainBytes: integer(values, 'retain-bytes', { min: 0, max: 2 ** 50, bytes: true }) ?? 0,
    retainMs: (integer(values, 'retain-hours', { min: 0, max: 1_000_000 }) ?? 0) * 3_600_000,
    communityIdSeed: integer(values, 'community-id-seed', { min: 0, max: 0xffff }) ?? 0,
    tls: serverFiles(values),
    clients: clientRules(values),
    metricsListen: metrics === 'off' ? undefined : metrics,
    json: values['json'] === true,
  };
}

/** Runs a collector until SIGTERM or SIGINT. Resolves to the exit code: 0 ran, 1 could not start. Throws UsageError. */
export async function run(args: readonly string[]): Promise<number> {
  const [command, ...rest] = args;
  if (command === 'cat') return (await import('./collector-cat.ts')).run(rest);
  const flags = collectorFlags(args);
  if (flags === undefined) {
    process.stdout.write(HELP);
    return 0;
  }
  const log = openLog(flags.json);
  try {
    await collect(flags, log);
  } finally {
    await log.end(LOG_STOP_MS);
  }
  return 0;
}

/** Until a signal. Throws where it cannot start. */
async function collect(flags: CollectorFlags, { log, say }: ProcessLog): Promise<void> {
  const { rotateBytes, rotateSeconds, retainBytes, retainMs, communityIdSeed } = flags;
  const files = flags.tls && followFiles(flags.tls, log);
  if (flags.tls?.ca === undefined) {
    const open = files === undefined ? 'neither encrypted nor authenticated' : 'encrypted, but not authenticated';
    log.warn(`connections are ${open}: whoever reaches ${flags.listen} can write events (--tls-client-ca)`);
  }
  const collector = await startCollector({
    listen: flags.listen,
    out: flags.out,
    log,
    retainBytes,
    retainMs,
    communityIdSeed,
    ...flags.clients,
    ...(files === undefined ? {} : { tls: files }),
    ...(rotateBytes === undefined ? {} : { rotateBytes }),
    ...(rotateSeconds === undefined ? {} : { rotateMs: rotateSeconds * 1000, idleMs: rotateSeconds * 100 }),
  });
  log.info({ address: collector.address, out: flags.out }, 'the collector listens');
  let stopping = false;
  const telemetry = await serve(flags.metricsListen, { collector, files, log, stopping: () => stopping });

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
    if (process.stderr.isTTY && !flags.json) say(summaryLine(seen));
    else log.info({ ...seen, kinds: Object.fromEntries(seen.kinds) }, 'summary');
  }, SUMMARY_MS);

  await new Promise<void>((resolve) => {
    process.once('SIGTERM', () => resolve());
    process.once('SIGINT', () => resolve());
  });
  clearInterval(summary);
  stopping = true;
  log.info('the collector closes');
  await collector.close();
  await telemetry?.close();
  files?.stop();
}

/** Throws TlsFileError: a collector without its certificate serves nobody. */
function followFiles(paths: TlsPaths, log: Logger): TlsFiles {
  const files = new TlsFiles({
    paths,
    onApplied: ({ own }) => log.info({ certificate: own }, 'new certificates are in force'),
    onRefused: ({ message }) => log.error({ tls: message }, 'the certificates were refused; the last good ones stay'),
  });
  log.info({ certificate: files.current.own, client_authority: files.current.authority }, 'TLS');
  files.start();
  return files;
}

interface ServedParts {
  readonly collector: Collector;
  readonly files: TlsFiles | undefined;
  readonly log: Logger;
  readonly stopping: () => boolean;
}

/** An address that is taken costs the metrics, not the events. */
async function serve(
  listen: string | undefined,
  { collector, files, log, stopping }: ServedParts,
): Promise<TelemetryServer | undefined> {
  if (listen === undefined) return undefined;
  try {
    const server = await serveTelemetry(listen, {
      metrics: () => collectorMetrics(collector.stats(), version(), files?.status),
      healthz: () => collectorLiveness(collector.stats()),
      readyz: () => collectorReadiness(collector.stats(), stopping()),
    });
    log.info({ address: server.address }, 'metrics and health');
    return server;
  } catch (error) {
    log.error({ err: error, address: listen }, 'metrics and health cannot be served');
    return undefined;
  }
}
