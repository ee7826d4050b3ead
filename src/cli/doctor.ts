import os from 'node:os';
import { LOCAL_SOCKET } from '../agent/local-socket.ts';
import { loadConfig } from '../config/load.ts';
import { DEFAULT_SETTINGS, withGiven } from '../config/settings.ts';
import { readFeatures } from '../kernel/features.ts';
import { type Check, checkFeatures } from '../kernel/requirements.ts';
import { KUBELET_TOKEN_FILE } from '../kubernetes/kubelet.ts';
import { factTable, NodeFactsKeeper } from '../kubernetes/node-facts.ts';
import { PODS_API_DIR } from '../kubernetes/pods-api.ts';
import { clientTls } from '../tls/client-settings.ts';
import { endpointsOf, podsApiDir, TLS_FLAGS, tlsFlags } from './agent-settings.ts';
import { askRunning } from './doctor-live.ts';
import { checkCollector, checkKubelet, checkPodsApi } from './doctor-peers.ts';
import { tryProbes } from './doctor-probes.ts';
import { canRun, type FactFinding, reportAsJson, reportAsTable } from './doctor-report.ts';
import { type FlagSpecs, type FlagValues, flagHelp, hostPorts, parseFlags, text, UsageError } from './flags.ts';

const FLAGS = {
  json: { type: 'boolean', help: 'one JSON object instead of a table' },
  collector: { type: 'string', value: 'HOST:PORT', help: 'also ask whether this collector can be reached' },
  ...TLS_FLAGS,
  config: {
    type: 'string',
    value: 'FILE',
    help: "collector and its certificates from the agent's configuration file; flags win over it",
  },
  kubelet: {
    type: 'string',
    value: 'URL',
    help: "also ask this node's kubelet for its pods, e.g. https://127.0.0.1:10250",
  },
  'kubelet-token-file': { type: 'string', value: 'FILE', help: "bearer token for it (the pod's own service account)" },
  'kubelet-ca-file': { type: 'string', value: 'FILE', help: 'CA that its certificate must be signed by' },
  'kubelet-pods-api': {
    type: 'string',
    value: 'DIR',
    help: `folder of its Pods API's socket, which is asked for the pods; off: not asked (${PODS_API_DIR})`,
  },
  'node-name': { type: 'string', value: 'NAME', help: 'Kubernetes name of this node ($NODE_NAME, else the host name)' },
  proc: { type: 'string', value: 'DIR', help: "the host's /proc (/proc)" },
  cgroup: { type: 'string', value: 'DIR', help: 'mount point of the cgroup v2 hierarchy (found in the mounts)' },
  socket: {
    type: 'string',
    value: 'PATH',
    help: `ask the agent that runs here, off: try the probes beside it (${LOCAL_SOCKET})`,
  },
  'bpf-dir': { type: 'string', value: 'DIR', help: 'try the BPF objects of this folder (the built-in ones)' },
  help: { type: 'boolean', help: 'print this text' },
} as const satisfies FlagSpecs;

const HELP = `Usage: kerntap doctor [FLAGS]

Tells what this node offers, which form each probe takes here, and what to do about what is missing. An agent that runs
here is asked for its probes; where there is none, every probe is loaded, attached for a moment and taken out again. Exit code: 0 kerntap can run (also with less than it could),
1 it cannot, 2 usage.

Flags (defaults in brackets):
${flagHelp(FLAGS)}
`;

/** The command: prints a report. Resolves to 0, or 1 where the tap cannot run. Throws UsageError. */
export async function run(args: readonly string[]): Promise<number> {
  const values = parseFlags(args, FLAGS);
  if (values['help']) {
    process.stdout.write(HELP);
    return 0;
  }
  const peers = [...collectorChecks(values), podsApiCheck(values), kubeletCheck(values)];
  const checks = checkFeatures(readFeatures({ proc: text(values, 'proc'), cgroup: text(values, 'cgroup') }));
  const hopeless = checks.some(({ verdict }) => verdict === 'problem');
  const objects = text(values, 'bpf-dir');
  const socket = text(values, 'socket') ?? LOCAL_SOCKET;
  const running = socket === 'off' || objects !== undefined ? undefined : await askRunning(socket);
  // what the kernel says of a trial on such a node only hides the cause
  const trial = running ?? (hopeless ? { checks: [], probes: [] } : tryProbes(objects));
  const facts = running?.facts ?? localFacts(values);
  const report = { facts, checks: [...checks, ...trial.checks, ...(await Promise.all(peers))], probes: trial.probes };
  process.stdout.write(values['json'] ? `${reportAsJson(report)}\n` : reportAsTable(report));
  return canRun(report) ? 0 : 1;
}

/** Where no agent tells them: what an agent would know here without a configuration, and without asking anyone. */
function localFacts(values: FlagValues): FactFinding[] {
  const keeper = new NodeFactsKeeper({
    nodeName: text(values, 'node-name'),
    proc: text(values, 'proc'),
    tokenFile: text(values, 'kubelet-token-file') ?? KUBELET_TOKEN_FILE,
  });
  return factTable(keeper.facts);
}

/** One for each endpoint. Throws ConfigError for the file of --config. */
function collectorChecks(values: FlagValues): Promise<Check>[] {
  const file = text(values, 'config');
  const node = { name: text(values, 'node-name') ?? (process.env['NODE_NAME'] || os.hostname()) };
  const base = file === undefined ? DEFAULT_SETTINGS : loadConfig(file, { node });
  const { collector } = withGiven(base, {
    collector: { endpoints: hostPorts(values, 'collector'), tls: tlsFlags(values) },
  });
  const tls = clientTls(collector.tls, 'collector.tls');
  const addresses = endpointsOf(collector);
  if (addresses.length === 0) return [notAsked('collector', 'Collector', '--collector')];
  return addresses.map((address) => checkCollector({ address, tls }));
}

function podsApiCheck(values: FlagValues): Promise<Check> {
  const dir = podsApiDir(values) ?? PODS_API_DIR;
  return dir === 'off' ? notAsked('pods_api', 'Pods API', '--kubelet-pods-api') : checkPodsApi(dir);
}

function kubeletCheck(values: FlagValues): Promise<Check> {
  const url = text(values, 'kubelet');
  const tokenFile = text(values, 'kubelet-token-file');
  const caFile = text(values, 'kubelet-ca-file');
  if (url === undefined) {
    if (tokenFile !== undefined) throw new UsageError('--kubelet-token-file needs --kubelet');
    if (caFile !== undefined) throw new UsageError('--kubelet-ca-file needs --kubelet');
    return notAsked('kubelet', 'Kubelet', '--kubelet');
  }
  if (!URL.canParse(url) || new URL(url).protocol !== 'https:') {
    throw new UsageError(`--kubelet: '${url}' is not a URL such as https://127.0.0.1:10250`);
  }
  const nodeName = text(values, 'node-name') ?? (process.env['NODE_NAME'] || os.hostname());
  return checkKubelet({ url, nodeName, ...(tokenFile && { tokenFile }), ...(caFile && { caFile }) });
}

const notAsked = async (id: string, title: string, flag: string): Promise<Check> => ({
  id,
  title,
  verdict: 'unknown',
  value: `not asked: ${flag}`,
  remedy: '',
});
