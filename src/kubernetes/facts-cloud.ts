/**
 * What the cloud's metadata service says of this instance. Off by default: it is a link-local address of the node that
 * pods often may not reach, and the same address hands out credentials; of those nothing is ever asked here.
 */
import type { FactValues, MetadataProvider, Telling } from './facts.ts';
import { callHttp, type HttpReply } from './http-call.ts';

export interface MetadataOptions {
  readonly provider: MetadataProvider;
  /** Default: http://169.254.169.254, the address of all three. */
  readonly url?: string | undefined;
  /** For each call; default 1,000. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

const METADATA_URL = 'http://169.254.169.254';
const TIMEOUT_MS = 1000;
const MAX_BYTES = 64 << 10;

type Call = (path: string, headers: Readonly<Record<string, string>>, method?: 'GET' | 'PUT') => Promise<HttpReply>;

const READERS: Readonly<Record<MetadataProvider, (call: Call) => Promise<Partial<FactValues>>>> = { aws, azure, gcp };

/** Rejects with an Error for people where the service does not answer as its provider's documentation has it. */
export async function askMetadata(options: MetadataOptions): Promise<Telling> {
  const { provider, url = METADATA_URL, timeoutMs = TIMEOUT_MS, signal } = options;
  const call: Call = async (path, headers, method = 'GET') => {
    const reply = await callHttp({ url: new URL(path, url), method, headers, timeoutMs, maxBytes: MAX_BYTES, signal });
    if (reply.status === 200) return reply;
    throw new Error(`the metadata service answered ${reply.status} for ${path}`);
  };
  const facts = await READERS[provider](call);
  return { source: 'metadata_service', facts: { ...facts, cloudProvider: provider } };
}

/** EC2, version 2 of the service alone: a token first, as version 1 may be off and is open to request forgery. */
async function aws(call: Call): Promise<Partial<FactValues>> {
  const token = (await call('/latest/api/token', { 'x-aws-ec2-metadata-token-ttl-seconds': '60' }, 'PUT')).body.trim();
  if (!/^[\x21-\x7e]{1,1024}$/.test(token)) throw new Error('the metadata service gave no token');
  const headers = { 'x-aws-ec2-metadata-token': token };
  const document = object((await call('/latest/dynamic/instance-identity/document', headers)).body);
  return {
    hostId: word(document['instanceId']),
    cloudAccountId: word(document['accountId']),
    cloudRegion: word(document['region']),
    cloudAvailabilityZone: word(document['availabilityZone']),
  };
}

/** A zone is told as Kubernetes labels it: the region and the zone's number. */
async function azure(call: Call): Promise<Partial<FactValues>> {
  const path = '/metadata/instance/compute?api-version=2021-02-01&format=json';
  const compute = object((await call(path, { metadata: 'true' })).body);
  const region = word(compute['location']);
  const zone = word(compute['zone']);
  return {
    hostId: word(compute['vmId']),
    cloudAccountId: word(compute['subscriptionId']),
    cloudRegion: region,
    cloudAvailabilityZone: zone === '' || region === '' ? '' : `${region}-${zone}`,
  };
}

async function gcp(call: Call): Promise<Partial<FactValues>> {
  const get = async (name: string) => {
    const { headers, body } = await call(`/computeMetadata/v1/${name}`, { 'metadata-flavor': 'Google' });
    // Whoever answers without it is another server at this address.
    if (headers['metadata-flavor'] !== 'Google') throw new Error('the answer is not of a Google metadata service');
    return word(body.trim());
  };
  const [hostId, project, place] = await Promise.all([
    get('instance/id'),
    get('project/project-id'),
    get('instance/zone'),
  ]);
  // projects/NUMBER/zones/europe-west1-b; a zone is its region and a letter.
  const zone = /^projects\/[^/]+\/zones\/([a-z0-9-]+)$/.exec(place)?.[1] ?? '';
  return {
    hostId,
    cloudAccountId: project,
    cloudAvailabilityZone: zone,
    cloudRegion: /^(.+)-[a-z]$/.exec(zone)?.[1] ?? '',
  };
}

function object(body: string): Readonly<Record<string, unknown>> {
  const value: unknown = JSON.parse(body);
  if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  throw new Error('the metadata service did not answer with an object');
}

/** A name or an id; '' for anything else. */
function word(value: unknown): string {
  return typeof value === 'string' && /^[\x21-\x7e]{1,256}$/.test(value) ? value : '';
}
