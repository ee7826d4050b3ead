import os from 'node:os';
import path from 'node:path';
import { KERNEL_KINDS, OWN_KINDS } from '../agent/kinds.ts';
import type { AgentOptions } from '../agent/options.ts';
import { KT_ARGV_CAP_MAX } from '../kernel/layout.gen.ts';
import {
  choice,
  type FlagSpecs,
  flagHelp,
  hostPort,
  integer,
  parseFlags,
  suggestion,
  text,
  UsageError,
} from './flags.ts';
import { version } from './version.ts';

const KINDS = [...KERNEL_KINDS.keys()];

const FLAGS = {
  collector: { type: 'string', value: 'HOST:PORT', help: 'stream to this collector' },
  standalone: {
    type: 'boolean',
    help: 'with a collector of its own on the loopback interface: this host, no Kubernetes needed',
  },
  out: { type: 'string', value: 'DIR', help: "where standalone's collector writes (a folder under the user's state)" },
  kubelet: { type: 'string', value: 'URL', help: "ask this node's kubelet for pods, e.g. https://127.0.0.1:10250" },
  'kubelet-token-file': { type: 'string', value: 'FILE', help: "bearer token for it (the pod's own service account)" },
  'kubelet-ca-file': { type: 'string', value: 'FILE', help: 'CA that its certificate must be signed by' },
  'node-name': { type: 'string', value: 'NAME', help: 'Kubernetes name of this node ($NODE_NAME, else the host name)' },
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
  json: { type: 'boolean', help: 'JSON lines on stdout also where it is a terminal' },
  'ring-bytes': { type: 'string', value: 'BYTES', help: 'ring for file and socket events, a power of two (16Mi)' },
  'process-ring-bytes': { type: 'string', value: 'BYTES', help: 'ring for process events, a power of two (4Mi)' },
  proc: { type: 'string', value: 'DIR', help: "the host's /proc (/proc)" },
  cgroup: { type: 'string', value: 'DIR', help: 'mount point of the cgroup v2 hierarchy (found in the mounts)' },
  'bpf-dir': { type: 'string', value: 'DIR', help: 'folder of the BPF objects (the built-in ones)' },
  help: { type: 'boolean', help: 'print this text' },
} as const satisfies FlagSpecs;

const HELP = `Usage: kerntap agent --collector HOST:PORT [FLAGS]
       kerntap agent --standalone [FLAGS]

Taps this node's kernel. Events go to the collector and, as a courtesy, to stdout; the agent's own log goes to stderr.
Needs root or CAP_BPF and CAP_PERFMON, and a kernel with BTF, 5.10 or newer.

Flags (defaults in brackets):
${flagHelp(FLAGS)}
`;

const CLUSTER_TAIL_KINDS = ['process.exec', 'socket.connect', 'file.open'];
const FAMILIES = ['process', 'file', 'socket', 'kerntap'];
/** A ring's size: whole pages, a power of two. */
const RING_MAX = 1 << 30;

/** Kinds named one by one or by family. */
function kindList(name: string, value: string, known: readonly string[]): string[] {
  const chosen = new Set<string>();
  const families = FAMILIES.filter((family) => known.some((kind) => kind.startsWith(`${family}.`)));
  for (const word of value.split(',').map((item) => item.trim())) {
    const found = known.filter((kind) => kind === word || (families.includes(word) && kind.startsWith(`${word}.`)));
    if (found.length === 0) {
      const accepted = [...known, ...families];
      throw new UsageError(
        `--${name}: '${word}' is not a kind${suggestion(word, accepted)}; known: ${accepted.join(', ')}`,
      );
    }
    for (const kind of found) chosen.add(kind);
  }
  return known.filter((kind) => chosen.has(kind));
}

function ringBytes(values: Parameters<typeof integer>[0], name: string, fallback: number): number {
  const bytes = integer(values, name, { min: 4096, max: RING_MAX, bytes: true }) ?? fallback;
  if ((bytes & (bytes - 1)) !== 0) throw new UsageError(`--${name}: ${bytes} is not a power of two`);
  return bytes;
}

function kubeletUrl(value: string | undefined): string | undefined {
  if (value === undefined) return undefined;
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url?.protocol === 'https:' && url.hostname !== '') return url.origin;
  throw new UsageError(`--kubelet: '${value}' is not a URL such as https://127.0.0.1:10250`);
}

/** `env`: NODE_NAME, XDG_STATE_HOME and HOME are read. Undefined: help was asked for. Throws UsageError. */
export function agentOptions(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): AgentOptions | undefined {
  const values = parseFlags(args, FLAGS);
  if (values['help']) return undefined;
  const standalone = values['standalone'] === true;
  const all = values['all'] === true;
  const collector = hostPort(values, 'collector');
  const out = text(values, 'out');
  if (standalone && collector !== undefined)
    throw new UsageError('--standalone brings its own collector: leave out --collector');
  if (!standalone && collector === undefined) throw new UsageError('--collector HOST:PORT or --standalone is needed');
  if (!standalone && out !== undefined)
    throw new UsageError('--out belongs to --standalone: the collector decides where it writes');
  for (const name of ['open-mode', 'unix']) {
    if (all && values[name] !== undefined) throw new UsageError(`--all says what --${name} would: give one of them`);
  }
  const kubelet = kubeletUrl(text(values, 'kubelet'));
  for (const name of ['kubelet-token-file', 'kubelet-ca-file']) {
    if (kubelet === undefined && values[name] !== undefined) throw new UsageError(`--${name} needs --kubelet`);
  }
  const kinds = text(values, 'kinds');
  const tailKinds = text(values, 'tail-kinds');
  const state = env['XDG_STATE_HOME'] || path.join(env['HOME'] || os.homedir(), '.local', 'state');
  return {
    version: version(),
    standalone,
    collector: collector ?? '',
    outDir: path.resolve(out ?? path.join(state, 'kerntap', 'events')),
    kubelet,
    kubeletTokenFile: text(values, 'kubelet-token-file'),
    kubeletCaFile: text(values, 'kubelet-ca-file'),
    nodeName: text(values, 'node-name') ?? (env['NODE_NAME'] || undefined),
    clusterName: text(values, 'cluster-name') ?? '',
    kinds: kinds === undefined ? KINDS : kindList('kinds', kinds, KINDS),
    openMode: all ? 'all' : (choice(values, 'open-mode', ['off', 'writes', 'sensitive', 'all']) ?? 'sensitive'),
    failedOpens: all || values['failed-opens'] === true,
    unixMode: all ? 'all' : (choice(values, 'unix', ['off', 'sensitive', 'all']) ?? 'sensitive'),
    argvCap: integer(values, 'argv-cap', { min: 64, max: KT_ARGV_CAP_MAX, bytes: true }) ?? 8192,
    tail: (choice(values, 'tail', ['on', 'off']) ?? 'on') === 'on',
    tailKinds:
      tailKinds !== undefined
        ? kindList('tail-kinds', tailKinds, [...KINDS, ...OWN_KINDS])
        : standalone
          ? undefined
          : [...CLUSTER_TAIL_KINDS, ...OWN_KINDS],
    tailRate: integer(values, 'tail-rate', { min: 0, max: 1_000_000 }) ?? (standalone ? 0 : 20),
    tailBytes: integer(values, 'tail-bytes', { min: 0, max: 1 << 30, bytes: true }) ?? (standalone ? 0 : 16384),
    json: values['json'] === true,
    ringBytes: ringBytes(values, 'ring-bytes', 16 << 20),
    processRingBytes: ringBytes(values, 'process-ring-bytes', 4 << 20),
    procDir: text(values, 'proc') ?? '/proc',
    cgroupDir: text(values, 'cgroup'),
    bpfDir: text(values, 'bpf-dir'),
  };
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
