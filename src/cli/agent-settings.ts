/** What the flags of `kerntap agent` say about settings that a file may say too: flags win. */

import path from 'node:path';
import { KERNEL_KINDS, OWN_KINDS } from '../agent/kinds.ts';
import type { Given } from '../config/field.ts';
import { FAMILIES, type Settings } from '../config/schema.ts';
import { DEFAULT_SETTINGS, withGiven } from '../config/settings.ts';
import { KT_ARGV_CAP_MAX } from '../kernel/layout.gen.ts';
import {
  choice,
  type FlagSpecs,
  type FlagValues,
  hostPort,
  hostPorts,
  integer,
  listenOrOff,
  suggestion,
  text,
  UsageError,
} from './flags.ts';

export const KINDS: readonly string[] = [...KERNEL_KINDS.keys()];

/** Where one watches one's own host: everything is shown, and nothing is shed. */
const STANDALONE: Given = {
  tail: { kinds: [...FAMILIES, 'kerntap'], eventsPerSecond: 0, bytesPerSecond: 0, sensitiveFilesOnly: false },
  budgets: { containerEventsPerSecond: 0, nodeEventsPerSecond: 0, cpuCores: 0 },
  metrics: { listen: 'off' },
};

export function baseSettings(standalone: boolean): Settings {
  return standalone ? withGiven(DEFAULT_SETTINGS, STANDALONE) : DEFAULT_SETTINGS;
}

/** Kinds named one by one or by family. */
function kindList(name: string, value: string, known: readonly string[]): string[] {
  const chosen = new Set<string>();
  const families = [...FAMILIES, 'kerntap'].filter((family) => known.some((kind) => kind.startsWith(`${family}.`)));
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

function kubeletUrl(value: string | undefined): string | undefined {
  if (value === undefined) return undefined;
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url?.protocol === 'https:' && url.hostname !== '') return url.origin;
  throw new UsageError(`--kubelet: '${value}' is not a URL such as https://127.0.0.1:10250`);
}

/** A folder, or off. */
function spoolFlag(value: string | undefined): Given {
  if (value === undefined) return {};
  return value === 'off' ? { enabled: false } : { enabled: true, dir: path.resolve(value) };
}

export function podsApiDir(values: FlagValues): string | undefined {
  const value = text(values, 'kubelet-pods-api');
  if (value === undefined || value === 'off' || value.startsWith('/')) return value;
  throw new UsageError(`--kubelet-pods-api: '${value}' is not an absolute path, nor off`);
}

/** Only the kinds named are on; file.open keeps the mode it has, and is `sensitive` where that was off. */
function onlyKinds(kinds: readonly string[], settings: Settings): Given {
  const probes = Object.keys(settings.probes).filter((name) => name !== 'socket.unix');
  const state = (name: string): string => {
    if (!kinds.includes(name)) return 'off';
    if (name !== 'file.open') return 'on';
    return settings.probes['file.open'] === 'off' ? 'sensitive' : settings.probes['file.open'];
  };
  return { probes: Object.fromEntries(probes.map((name) => [name, state(name)])) };
}

/** Lays the flags over settings. Throws UsageError at once for a flag that cannot be. */
export function flagSettings(values: FlagValues): (settings: Settings) => Settings {
  const all = values['all'] === true;
  for (const name of ['open-mode', 'unix']) {
    if (all && values[name] !== undefined) throw new UsageError(`--all says what --${name} would: give one of them`);
  }
  const kinds = text(values, 'kinds');
  const chosen = kinds === undefined ? undefined : kindList('kinds', kinds, KINDS);
  const tailKinds = text(values, 'tail-kinds');
  const openMode = all ? 'all' : choice(values, 'open-mode', ['off', 'writes', 'sensitive', 'all']);
  const tail = choice(values, 'tail', ['on', 'off']);
  const given: Given = {
    clusterName: text(values, 'cluster-name'),
    nodeName: text(values, 'node-name'),
    probes: {
      'file.open': chosen === undefined || chosen.includes('file.open') ? openMode : undefined,
      'socket.unix': all ? 'all' : choice(values, 'unix', ['off', 'sensitive', 'all']),
    },
    failedOpens: all || values['failed-opens'] === true ? true : undefined,
    argv: { capBytes: integer(values, 'argv-cap', { min: 64, max: KT_ARGV_CAP_MAX, bytes: true }) },
    tail: {
      enabled: tail === undefined ? undefined : tail === 'on',
      kinds: tailKinds === undefined ? undefined : kindList('tail-kinds', tailKinds, [...KINDS, ...OWN_KINDS]),
      // Kinds that were asked for by name are shown whole.
      sensitiveFilesOnly: tailKinds === undefined ? undefined : false,
      eventsPerSecond: integer(values, 'tail-rate', { min: 0, max: 1_000_000 }),
      bytesPerSecond: integer(values, 'tail-bytes', { min: 0, max: 1 << 30, bytes: true }),
    },
    collector: {
      endpoints: hostPorts(values, 'collector'),
      tls: tlsFlags(values),
      compression: choice(values, 'compression', ['none', 'gzip']),
    },
    stream: { otlp: { endpoint: hostPort(values, 'otlp') } },
    metrics: { listen: listenOrOff(values, 'metrics') },
    spool: spoolFlag(text(values, 'spool')),
    kubelet: {
      url: kubeletUrl(text(values, 'kubelet')),
      tokenFile: text(values, 'kubelet-token-file'),
      caFile: text(values, 'kubelet-ca-file'),
      podsApiDir: podsApiDir(values),
    },
  };
  return (settings) =>
    withGiven(chosen === undefined ? settings : withGiven(settings, onlyKinds(chosen, settings)), given);
}

/** Replicas of the collector in their order; none: it is not said. */
export function endpointsOf({ endpoint, endpoints }: Settings['collector']): readonly string[] {
  if (endpoints.length > 0) return endpoints;
  return endpoint === undefined ? [] : [endpoint];
}

/** Flags of `kerntap agent` and `kerntap doctor`. */
export const TLS_FLAGS = {
  'collector-tls': { type: 'boolean', help: 'TLS to the collector, also where none of the files below is named' },
  'collector-ca-file': {
    type: 'string',
    value: 'FILE',
    help: "PEM with who may have signed the collector's certificate (public authorities)",
  },
  'collector-cert-file': { type: 'string', value: 'FILE', help: 'PEM with the certificate that is shown to it' },
  'collector-key-file': { type: 'string', value: 'FILE', help: 'PEM with its key' },
  'collector-server-name': {
    type: 'string',
    value: 'NAME',
    help: 'name that its certificate has to be for (the host of --collector)',
  },
} as const satisfies FlagSpecs;

/** Throws UsageError for a certificate without its key. */
export function tlsFlags(values: FlagValues): Given {
  const certFile = text(values, 'collector-cert-file');
  const keyFile = text(values, 'collector-key-file');
  if ((certFile === undefined) !== (keyFile === undefined)) {
    throw new UsageError('--collector-cert-file and --collector-key-file need each other');
  }
  return {
    mode: values['collector-tls'] === true ? 'on' : undefined,
    caFile: text(values, 'collector-ca-file'),
    certFile,
    keyFile,
    serverName: text(values, 'collector-server-name'),
  };
}

/** `a=b,c=d`. Undefined where it was not given. Throws UsageError. */
export function nodeLabels(value: string | undefined): Readonly<Record<string, string>> | undefined {
  if (value === undefined || value === '') return undefined;
  const labels: Record<string, string> = {};
  for (const pair of value.split(',')) {
    const match = /^\s*([A-Za-z0-9./_-]+)=([A-Za-z0-9._-]*)\s*$/.exec(pair);
    if (match === null) throw new UsageError(`--node-labels: '${pair}' is not NAME=VALUE`);
    labels[match[1] ?? ''] = match[2] ?? '';
  }
  return labels;
}
