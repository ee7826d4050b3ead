import { readFileSync } from 'node:fs';
import { hostname, machine, networkInterfaces, release } from 'node:os';
import { join } from 'node:path';

/** The node, as kerntap.v1.NodeFacts tells it (without the run id). '' and []: not known. */
export interface NodeFacts {
  /** /proc/sys/kernel/random/boot_id: another one after every boot. */
  readonly bootId: string;
  readonly clusterName: string;
  readonly nodeName: string;
  readonly hostName: string;
  readonly kernelRelease: string;
  readonly architecture: string;
  readonly machineId: string;
  readonly nodeUid: string;
  readonly nodeIps: readonly string[];
}

export interface NodeFactsOptions {
  /** By flag; then the environment's NODE_NAME; then the service account token's node; then the host name. */
  readonly nodeName?: string | undefined;
  readonly clusterName?: string | undefined;
  /** The agent's token: since Kubernetes 1.32 it names its node (KEP-4193). */
  readonly tokenFile?: string | undefined;
  /** Default process.env. NODE_IPS: comma-separated (downward API, status.hostIPs). */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly proc?: string | undefined;
  readonly machineIdFile?: string | undefined;
}

/** Reads the facts of this node; what cannot be read stays empty. Never throws. */
export function readNodeFacts(options: NodeFactsOptions = {}): NodeFacts {
  const env = options.env ?? process.env;
  const node = nodeOfToken(firstLine(options.tokenFile));
  const nodeName = options.nodeName || env['NODE_NAME'] || node.name || hostname();
  return {
    bootId: firstLine(join(options.proc ?? '/proc', 'sys/kernel/random/boot_id')),
    clusterName: options.clusterName ?? '',
    nodeName,
    hostName: hostname(),
    kernelRelease: release(),
    architecture: machine(),
    machineId: firstLine(options.machineIdFile ?? '/etc/machine-id'),
    // A token of another node (a copied one) says nothing of this.
    nodeUid: node.name === nodeName ? node.uid : '',
    nodeIps: nodeIps(env),
  };
}

// In a pod the interfaces are the pod's, not the node's: then only what the downward API tells counts.
function nodeIps(env: Readonly<Record<string, string | undefined>>): string[] {
  const told = (env['NODE_IPS'] ?? '').split(',').map((ip) => ip.trim());
  const known = told.filter((ip) => ip !== '');
  if (known.length > 0 || env['KUBERNETES_SERVICE_HOST'] !== undefined) return known;
  return Object.values(networkInterfaces()).flatMap((addresses) =>
    (addresses ?? [])
      .filter(({ internal, address }) => !internal && !/^fe80:/i.test(address))
      .map(({ address }) => address),
  );
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

function firstLine(file: string | undefined): string {
  if (file === undefined) return '';
  try {
    return (readFileSync(file, 'utf8').split('\n')[0] ?? '').trim();
  } catch {
    return '';
  }
}
