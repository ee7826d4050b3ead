/**
 * The facts of the node, stamped once per stream. Several sources may tell the same one: they are laid over one another,
 * the first that knows wins, and each fact keeps the name of the source that it came from.
 */

/** As kerntap.v1.NodeFacts tells them, without the run's id. '' and []: not known. */
export interface FactValues {
  /** /proc/sys/kernel/random/boot_id: another one after every boot. */
  readonly bootId: string;
  readonly clusterName: string;
  readonly clusterUid: string;
  readonly nodeName: string;
  readonly nodeUid: string;
  readonly nodeIps: readonly string[];
  readonly hostName: string;
  readonly hostId: string;
  readonly machineId: string;
  readonly kernelRelease: string;
  readonly architecture: string;
  readonly osDescription: string;
  readonly cloudProvider: string;
  readonly cloudAccountId: string;
  readonly cloudRegion: string;
  readonly cloudAvailabilityZone: string;
}

export interface NodeFacts extends FactValues {
  /** By the fact's name in the contract (snake case). */
  readonly sources: Readonly<Record<string, FactSource>>;
}

/** Where a fact may come from; the words of kerntap.v1.NodeFacts.sources. */
export type FactSource =
  /** The configuration file, or a flag. */
  | 'value'
  /** The downward API: NODE_NAME, NODE_IPS, NODE_REGION, NODE_ZONE. */
  | 'environment'
  /** The claims of the service account's token. */
  | 'token'
  | 'node_object'
  | 'namespace_object'
  | 'metadata_service'
  /** The firmware's tables under /sys/class/dmi/id. */
  | 'dmi'
  | 'machine_id'
  | 'os_release'
  | 'uname'
  | 'procfs'
  | 'interfaces'
  /** The node's name stands in for the host's, which a pod does not see. */
  | 'node_name';

/** Clouds whose metadata service is known here. */
export const METADATA_PROVIDERS = ['aws', 'azure', 'gcp'] as const;
export type MetadataProvider = (typeof METADATA_PROVIDERS)[number];

/** What one source tells. */
export interface Telling {
  readonly source: FactSource;
  readonly facts: Readonly<Partial<FactValues>>;
}

const UNKNOWN: FactValues = {
  bootId: '',
  clusterName: '',
  clusterUid: '',
  nodeName: '',
  nodeUid: '',
  nodeIps: [],
  hostName: '',
  hostId: '',
  machineId: '',
  kernelRelease: '',
  architecture: '',
  osDescription: '',
  cloudProvider: '',
  cloudAccountId: '',
  cloudRegion: '',
  cloudAvailabilityZone: '',
};

/** Longest text of a fact: what a metadata service or a label says goes into every batch of rows. */
const TEXT_CHARS_MAX = 256;
const LIST_MAX = 16;

/** Lays the tellings over one another: of each fact the first that knows it. */
export function settleFacts(tellings: readonly Telling[]): NodeFacts {
  const facts: Record<string, string | readonly string[]> = { ...UNKNOWN };
  const sources: Record<string, FactSource> = {};
  for (const name of Object.keys(UNKNOWN) as (keyof FactValues)[]) {
    for (const telling of tellings) {
      const told = bounded(telling.facts[name]);
      if (told === undefined || told.length === 0) continue;
      facts[name] = told;
      sources[contractName(name)] = telling.source;
      break;
    }
  }
  return { ...(facts as unknown as FactValues), sources };
}

/** A fact's name in the contract: cloudRegion is cloud_region. */
export function contractName(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function bounded(told: string | readonly string[] | undefined): string | readonly string[] | undefined {
  if (typeof told === 'string') return told.slice(0, TEXT_CHARS_MAX);
  return told?.slice(0, LIST_MAX).map((text) => text.slice(0, TEXT_CHARS_MAX));
}
