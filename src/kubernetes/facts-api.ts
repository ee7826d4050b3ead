/**
 * What the API server knows of this node: its Node object, and the UID of the namespace kube-system, which stands for the
 * cluster. Two GETs with the agent's own token and nothing that watches; each needs a right of its own (`nodes: get`,
 * `namespaces: get` of kube-system alone) and may be refused without harm to the other.
 */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import type { FactValues, Telling } from './facts.ts';
import { callHttp } from './http-call.ts';

export interface ApiServerOptions {
  /** https://HOST:PORT. */
  readonly url: string;
  readonly nodeName: string;
  /** Read anew for every call: a projected token rotates hourly. */
  readonly tokenFile: string;
  readonly caFile: string;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** What was found out; a problem is a sentence for people, with the remedy. */
export interface ApiServerFacts {
  /** Of what is told here first; `lastResort` stands behind what the machine says. */
  readonly tellings: readonly Telling[];
  readonly lastResort: readonly Telling[];
  /** Labels of the Node object; undefined: not read. */
  readonly labels: Readonly<Record<string, string>> | undefined;
  readonly problems: readonly string[];
}

/** A Node of a machine with hundreds of images and devices is some 100 KiB. */
const MAX_BYTES = 4 << 20;
const TIMEOUT_MS = 5000;

/** The API server's address in a pod; undefined outside of one. */
export function apiServerUrl(env: Readonly<Record<string, string | undefined>>): string | undefined {
  const host = env['KUBERNETES_SERVICE_HOST'];
  if (host === undefined || host === '') return undefined;
  return `https://${isIP(host) === 6 ? `[${host}]` : host}:${env['KUBERNETES_SERVICE_PORT_HTTPS'] || env['KUBERNETES_SERVICE_PORT'] || '443'}`;
}

/** Never rejects. */
export async function askApiServer(options: ApiServerOptions): Promise<ApiServerFacts> {
  const [node, namespace] = await Promise.all([
    read(options, `/api/v1/nodes/${encodeURIComponent(options.nodeName)}`, 'nodes: get'),
    read(options, '/api/v1/namespaces/kube-system', 'namespaces: get (resourceNames: [kube-system])'),
  ]);
  const problems = [node, namespace].flatMap((reply) => ('problem' in reply ? [reply.problem] : []));
  const object = 'object' in node ? node.object : undefined;
  const uid = 'object' in namespace ? text(at(namespace.object, 'metadata', 'uid')) : '';
  const machineId = text(at(object, 'status', 'nodeInfo', 'machineID'));
  return {
    tellings: [
      { source: 'node_object', facts: object === undefined ? {} : nodeFacts(object) },
      { source: 'namespace_object', facts: uid === '' ? {} : { clusterUid: uid } },
    ],
    lastResort: [{ source: 'node_object', facts: machineId === '' ? {} : { machineId, hostId: machineId } }],
    labels: object === undefined ? undefined : texts(at(object, 'metadata', 'labels')),
    problems,
  };
}

async function read(
  { url, tokenFile, caFile, timeoutMs = TIMEOUT_MS, signal }: ApiServerOptions,
  path: string,
  right: string,
): Promise<{ readonly object: unknown } | { readonly problem: string }> {
  try {
    const headers = { authorization: `Bearer ${bearer(tokenFile)}`, accept: 'application/json' };
    // resourceVersion=0: from the API server's cache; thousands of agents may ask at once, and none needs the newest.
    const target = new URL(`${path}?resourceVersion=0`, url);
    const ca = readFileSync(caFile, 'utf8');
    const { status, body } = await callHttp({ url: target, headers, ca, timeoutMs, maxBytes: MAX_BYTES, signal });
    if (status === 200) return { object: JSON.parse(body) as unknown };
    if (status === 403) return { problem: `the API server refuses ${path} (403): the service account needs ${right}` };
    return { problem: `the API server answered ${status} for ${path}` };
  } catch (error) {
    return { problem: `${path}: ${error instanceof Error ? error.message : String(error)}` };
  }
}

function bearer(file: string): string {
  const token = readFileSync(file, 'utf8').trim();
  // What cannot stand in a header would be refused later, with the token in the message.
  if (!/^[\x21-\x7e]+$/.test(token)) throw new Error(`token file ${file} holds no bearer token`);
  return token;
}

function nodeFacts(node: unknown): Partial<FactValues> {
  const labels = texts(at(node, 'metadata', 'labels'));
  return {
    nodeUid: text(at(node, 'metadata', 'uid')),
    osDescription: text(at(node, 'status', 'nodeInfo', 'osImage')),
    ...addresses(at(node, 'status', 'addresses')),
    ...providerFacts(text(at(node, 'spec', 'providerID')), texts(at(node, 'metadata', 'annotations'))),
    cloudRegion: labels['topology.kubernetes.io/region'] ?? '',
    cloudAvailabilityZone: labels['topology.kubernetes.io/zone'] ?? '',
  };
}

function addresses(list: unknown): Partial<FactValues> {
  const all = (Array.isArray(list) ? list : []).map((item: unknown) => {
    return { type: text(at(item, 'type')), address: text(at(item, 'address')) };
  });
  const of = (...types: string[]) => all.filter(({ type }) => types.includes(type)).map(({ address }) => address);
  return { hostName: of('Hostname')[0] ?? '', nodeIps: of('InternalIP', 'ExternalIP') };
}

/**
 * Node.spec.providerID as the cloud providers write it: aws:///ZONE/i-…, gce://PROJECT/ZONE/NAME,
 * azure:///subscriptions/UUID/resourceGroups/…. GKE notes an instance's number in an annotation.
 */
function providerFacts(providerId: string, annotations: Readonly<Record<string, string>>): Partial<FactValues> {
  const instance = /^aws:\/\/.*\/(i-[0-9a-f]{8,17})$/.exec(providerId)?.[1];
  if (instance !== undefined) return { cloudProvider: 'aws', hostId: instance };
  const project = /^gce:\/\/([^/]+)\//.exec(providerId)?.[1];
  if (project !== undefined) {
    const hostId = annotations['container.googleapis.com/instance_id'] ?? '';
    return { cloudProvider: 'gcp', cloudAccountId: project, hostId };
  }
  const subscription = /^azure:\/\/\/subscriptions\/([^/]+)\//i.exec(providerId)?.[1];
  if (subscription !== undefined) return { cloudProvider: 'azure', cloudAccountId: subscription };
  return {};
}

function at(value: unknown, ...path: string[]): unknown {
  return path.reduce<unknown>(
    (found, key) =>
      typeof found === 'object' && found !== null && Object.hasOwn(found, key) ? Reflect.get(found, key) : undefined,
    value,
  );
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '');

function texts(value: unknown): Readonly<Record<string, string>> {
  if (typeof value !== 'object' || value === null) return {};
  return Object.fromEntries(
    Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}
