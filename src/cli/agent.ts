import os from 'node:os';
import path from 'node:path';
import { LOCAL_SOCKET } from '../agent/local-socket.ts';
import type { AgentOptions, ConfigFile } from '../agent/options.ts';
import { configHash, parseConfig, readConfigFile } from '../config/load.ts';
import type { Settings } from '../config/schema.ts';
import { KT_ARGV_CAP_MAX } from '../kernel/layout.gen.ts';
import { clientTls } from '../tls/client-settings.ts';
import { baseSettings, endpointsOf, flagSettings, KINDS, nodeLabels, TLS_FLAGS } from './agent-settings.ts';
import { type FlagSpecs, type FlagValues, flagHelp, integer, parseFlags, text, UsageError } from './flags.ts';
import { version } from './version.ts';

const FLAGS = {
  collector: {
    type: 'string',
    value: 'HOST:PORT',
    help: 'stream to this collector; several, separated by commas: the others stand in for the first, in order',
  },
  ...TLS_FLAGS,
  compression: { type: 'string', value: 'MODE', help: 'of the stream to it: none, gzip (none)' },
  otlp: {
    type: 'string',
    value: 'HOST:PORT',
    help: 'OpenTelemetry logs to this OTLP receiver, beside a collector or alone (more: stream.otlp in the file of --config)',
  },
  config: {
    type: 'string',
    value: 'FILE',
    help: 'settings from this file, followed while the agent runs; flags win over it (see: kerntap config explain)',
  },
  standalone: {
    type: 'boolean',
    help: 'with a collector of its own on the loopback interface: this host, no Kubernetes needed',
  },
  out: { type: 'string', value: 'DIR', help: "where standalone's collector writes (a folder under the user's state)" },
  kubelet: { type: 'string', value: 'URL', help: "ask this node's kubelet for pods, e.g. https://127.0.0.1:10250" },
  'kubelet-token-file': { type: 'string', value: 'FILE', help: "bearer token for it (the pod's own service account)" },
  'kubelet-ca-file': { type: 'string', value: 'FILE', help: 'CA that its certificate must be signed by' },
  'kubelet-pods-api': {
    type: 'string',
    value: 'DIR',
    help: "folder of its Pods API's socket, which is asked first; off: never (/var/lib/kubelet/pods-api)",
  },
  'node-name': { type: 'string', value: 'NAME', help: 'Kubernetes name of this node ($NODE_NAME, else the host name)' },
  'node-labels': {
    type: 'string',
    value: 'LIST',
    help: "labels of this node, a=b,c=d, for the file's overrides ($NODE_LABELS)",
  },
  'cluster-name': { type: 'string', value: 'NAME', help: 'name of the cluster, stamped on every event' },
  kinds: {
    type: 'string',
    value: 'LIST',
    help: `comma-separated kinds or families (process, file, socket) that are on:\n${KINDS.join(', ')}\n(all of them)`,
  },
  'open-mode': {
    type: 'string',
    value: 'MODE',
    help: 'file.open of: off, writes (and creates), sensitive (also reads of sensitive files), all (sensitive)',
  },
  'failed-opens': { type: 'boolean', help: 'opens that fail are events too' },
  unix: { type: 'string', value: 'MODE', help: 'socket.connect to AF_UNIX: off, sensitive, all (sensitive)' },
  'argv-cap': {
    type: 'string',
    value: 'BYTES',
    help: `argv beyond this is cut and marked, at most ${KT_ARGV_CAP_MAX} (8Ki)`,
  },
  all: { type: 'boolean', help: 'everything: --open-mode all, --unix all, --failed-opens' },
  tail: { type: 'string', value: 'on|off', help: 'events on stdout (on)' },
  'tail-kinds': { type: 'string', value: 'LIST', help: 'only these kinds or families on stdout' },
  'tail-rate': {
    type: 'string',
    value: 'N',
    help: 'at most so many lines a second on stdout, 0: no limit (20; standalone: 0)',
  },
  'tail-bytes': {
    type: 'string',
    value: 'BYTES',
    help: 'at most so many bytes a second on stdout, 0: no limit (16Ki; standalone: 0)',
  },
  metrics: {
    type: 'string',
    value: 'ADDR',
    help: 'metrics and health on HOST:PORT or :PORT, off: nowhere (:9464; standalone: off)',
  },
  socket: {
    type: 'string',
    value: 'PATH',
    help: `local socket that kerntap tail and ledger ask, off: none (${LOCAL_SOCKET})`,
  },
  spool: {
    type: 'string',
    value: 'DIR',
    help: 'events go to disk here while the collector is away, off: they do not (off)',
  },
  json: { type: 'boolean', help: 'JSON lines on stdout also where it is a terminal' },
  'ring-bytes': { type: 'string', value: 'BYTES', help: 'ring for file and socket events, a power of two (16Mi)' },
  'process-ring-bytes': { type: 'string', value: 'BYTES', help: 'ring for process events, a power of two (4Mi)' },
  proc: { type: 'string', value: 'DIR', help: "the host's /proc (/proc)" },
  cgroup: { type: 'string', value: 'DIR', help: 'mount point of the cgroup v2 hierarchy (found in the mounts)' },
  'bpf-dir': { type: 'string', value: 'DIR', help: 'folder of the BPF objects (the built-in ones)' },
  help: { type: 'boolean', help: 'print this text' },
} as const satisfies FlagSpecs;

const HELP = `Usage: kerntap agent --collector HOST:PORT [FLAGS]
       kerntap agent --otlp HOST:PORT [FLAGS]
       kerntap agent --standalone [FLAGS]

Taps this node's kernel. Events go to the collector and, as a courtesy, to stdout; the agent's own log goes to stderr.
Needs root or CAP_BPF and CAP_PERFMON, and a kernel with BTF, 5.10 or newer.

Flags (defaults in brackets):
${flagHelp(FLAGS)}
`;

/** A ring's size: whole pages, a power of two. */
const RING_MAX = 1 << 30;

function ringBytes(values: Parameters<typeof integer>[0], name: string, fallback: number): number {
  const bytes = integer(values, name, { min: 4096, max: RING_MAX, bytes: true }) ?? fallback;
  if ((bytes & (bytes - 1)) !== 0) throw new UsageError(`--${name}: ${bytes} is not a power of two`);
  return bytes;
}

/**
 * `env`: NODE_NAME, NODE_LABELS, XDG_STATE_HOME and HOME are read. Undefined: help was asked for. Throws UsageError, and
 * ConfigError for the file of --config.
 */
export function agentOptions(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): AgentOptions | undefined {
  const values = parseFlags(args, FLAGS);
  if (values['help']) return undefined;
  const standalone = values['standalone'] === true;
  const out = text(values, 'out');
  if (standalone && values['collector'] !== undefined)
    throw new UsageError('--standalone brings its own collector: leave out --collector');
  if (!standalone && out !== undefined)
    throw new UsageError('--out belongs to --standalone: the collector decides where it writes');
  const { settings, config } = settingsOf(values, env, standalone);
  const { kubelet } = settings;
  const endpoints = endpointsOf(settings.collector);
  if (!standalone && endpoints.length === 0 && settings.stream.otlp.endpoint === undefined) {
    throw new UsageError(
      '--collector HOST:PORT, --otlp HOST:PORT or --standalone is needed (or collector.endpoint or stream.otlp.endpoint ' +
        'in the file of --config)',
    );
  }
  for (const name of ['kubelet-token-file', 'kubelet-ca-file']) {
    if (kubelet.url === undefined && values[name] !== undefined) throw new UsageError(`--${name} needs --kubelet`);
  }
  const socket = text(values, 'socket') ?? LOCAL_SOCKET;
  const state = env['XDG_STATE_HOME'] || path.join(env['HOME'] || os.homedir(), '.local', 'state');
  return {
    version: version(),
    standalone,
    endpoints,
    tls: standalone ? undefined : clientTls(settings.collector.tls, 'collector.tls'),
    outDir: path.resolve(out ?? path.join(state, 'kerntap', 'events')),
    kubelet: kubelet.url,
    podsApiDir: kubelet.podsApiDir === 'off' ? undefined : kubelet.podsApiDir,
    kubeletTokenFile: kubelet.tokenFile,
    kubeletCaFile: kubelet.caFile,
    kubeletInsecure: kubelet.insecureSkipVerify,
    nodeName: settings.nodeName,
    clusterName: settings.clusterName,
    settings,
    config,
    metricsListen: settings.metrics.listen === 'off' ? undefined : settings.metrics.listen,
    socketPath: socket === 'off' ? undefined : path.resolve(socket),
    json: values['json'] === true,
    ringBytes: ringBytes(values, 'ring-bytes', 8 << 20),
    processRingBytes: ringBytes(values, 'process-ring-bytes', 4 << 20),
    procDir: text(values, 'proc') ?? '/proc',
    cgroupDir: text(values, 'cgroup'),
    bpfDir: text(values, 'bpf-dir'),
  };
}

/** Throws ConfigError for a file that cannot be used: there are no last good settings yet. */
function settingsOf(
  values: FlagValues,
  env: Readonly<Record<string, string | undefined>>,
  standalone: boolean,
): { settings: Settings; config: ConfigFile | undefined } {
  const over = flagSettings(values);
  const base = baseSettings(standalone);
  const given = text(values, 'config');
  const labels = nodeLabels(text(values, 'node-labels') ?? env['NODE_LABELS']);
  if (given === undefined) return { settings: over(base), config: undefined };
  const file = path.resolve(given);
  const name = text(values, 'node-name') ?? (env['NODE_NAME'] || os.hostname());
  const context = { node: { name, labels }, base, over };
  const bytes = readConfigFile(file);
  return { settings: parseConfig(bytes, file, context), config: { file, hash: configHash(bytes), context } };
}

/** Runs until it is stopped, and ends the process: a half-open connection must not keep it. Resolves for --help alone. */
export async function run(args: readonly string[]): Promise<number> {
  const options = agentOptions(args, process.env);
  if (options === undefined) {
    process.stdout.write(HELP);
    return 0;
  }
  const { runAgent } = await import('../agent/run.ts');
  process.exit(await runAgent(options));
}
