/** The facts that this machine tells without asking anyone: settings, environment, token, kernel, firmware, files. */
import { readFileSync } from 'node:fs';
import { hostname, machine, networkInterfaces, release } from 'node:os';
import { join } from 'node:path';
import type { FactValues, Telling } from './facts.ts';
import { dmiTellings } from './facts-dmi.ts';
import { firstLine } from './first-line.ts';

export interface LocalFactsOptions {
  /** By flag or file; then the environment's NODE_NAME; then the service account token's node; then the host name. */
  readonly nodeName?: string | undefined;
  /** Facts by the configuration; what is left out or empty is looked for. */
  readonly values?: Readonly<Partial<FactValues>> | undefined;
  /** The agent's token: since Kubernetes 1.32 it names its node (KEP-4193). */
  readonly tokenFile?: string | undefined;
  /**
   * Default process.env. Downward API: NODE_NAME; NODE_IPS, comma-separated (status.hostIPs); NODE_REGION and NODE_ZONE,
   * the pod's topology labels (KEP-4742, Kubernetes 1.35 and newer; empty before).
   */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly proc?: string | undefined;
  readonly sys?: string | undefined;
  /** Of the machine, where this is not a pod; default /etc. */
  readonly etc?: string | undefined;
}

/** In order of what to believe first; what is asked elsewhere comes in between. */
export interface LocalTellings {
  readonly nodeName: string;
  /** Told to us: settings, environment, token. */
  readonly told: readonly Telling[];
  /** Seen by us: the kernel, the firmware's instance id, files. */
  readonly seen: readonly Telling[];
  /** What stands in where nobody knows better. */
  readonly lastResort: readonly Telling[];
}

/** Never throws: what cannot be read is not told. */
export function readLocalFacts(options: LocalFactsOptions = {}): LocalTellings {
  const env = options.env ?? process.env;
  // Files and names of a pod are the image's and its own, not the node's; /proc/sys, uname's rest and /sys are the kernel's.
  const inPod = env['KUBERNETES_SERVICE_HOST'] !== undefined;
  const token = nodeOfToken(firstLine(options.tokenFile));
  const named = options.nodeName || env['NODE_NAME'] || token.name;
  const nodeName = named || hostname();
  const etc = options.etc ?? '/etc';
  const machineId = inPod ? '' : firstLine(join(etc, 'machine-id'));
  const { cloud, uuid } = dmiTellings(options.sys);
  return {
    nodeName,
    told: [
      { source: 'value', facts: { ...options.values, nodeName: options.nodeName ?? '' } },
      {
        source: 'environment',
        facts: {
          nodeName: env['NODE_NAME'] ?? '',
          nodeIps: words(env['NODE_IPS']),
          cloudRegion: env['NODE_REGION'] ?? '',
          cloudAvailabilityZone: env['NODE_ZONE'] ?? '',
        },
      },
      // A token of another node (a copied one) says nothing of this.
      { source: 'token', facts: token.name === nodeName ? { nodeName: token.name, nodeUid: token.uid } : {} },
    ],
    seen: [
      { source: 'procfs', facts: { bootId: firstLine(join(options.proc ?? '/proc', 'sys/kernel/random/boot_id')) } },
      { source: 'uname', facts: { kernelRelease: release(), architecture: machine(), ...(inPod ? {} : ownNames()) } },
      cloud,
      { source: 'machine_id', facts: { machineId, hostId: machineId } },
      ...(inPod ? [] : seenOutside(etc)),
    ],
    lastResort: [
      uuid,
      { source: 'node_name', facts: named === '' ? {} : { hostName: named } },
      // The pod's own name, where nobody told another: better than a node without a name.
      { source: 'uname', facts: ownNames() },
    ],
  };
}

const ownNames = () => ({ hostName: hostname(), nodeName: hostname() });

/** What only a process in the machine's own namespaces may take for the machine's. */
function seenOutside(etc: string): Telling[] {
  return [
    { source: 'interfaces', facts: { nodeIps: ownAddresses() } },
    { source: 'os_release', facts: { osDescription: prettyName(join(etc, 'os-release')) } },
  ];
}

function ownAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((addresses) =>
    (addresses ?? [])
      .filter(({ internal, address }) => !internal && !/^fe80:/i.test(address))
      .map(({ address }) => address),
  );
}

function words(list: string | undefined): string[] {
  return (list ?? '')
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '');
}

/** PRETTY_NAME of an os-release(5) file: shell syntax, of which real files use plain and double-quoted text. */
function prettyName(file: string): string {
  try {
    const value = /^PRETTY_NAME=(.*)$/m.exec(readFileSync(file, 'utf8'))?.[1]?.trim() ?? '';
    return value.replace(/^(["'])(.*)\1$/, '$2').replace(/\\([\\"$`])/g, '$1');
  } catch {
    return '';
  }
}

/**
 * The node that a service account token is bound to, by its claim kubernetes.io.node; empty where it has none. The
 * signature is not checked: it is the agent's own token, read from disk.
 */
export function nodeOfToken(token: string): { readonly name: string; readonly uid: string } {
  try {
    const claims: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
    const { name, uid } = member(member(claims, 'kubernetes.io'), 'node') as Record<string, unknown>;
    return { name: typeof name === 'string' ? name : '', uid: typeof uid === 'string' ? uid : '' };
  } catch {
    return { name: '', uid: '' };
  }
}

function member(value: unknown, name: string): object {
  const found: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
  return typeof found === 'object' && found !== null ? found : {};
}
