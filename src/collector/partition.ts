import { createHash } from 'node:crypto';

const HOUR_NS = 3_600_000_000_000n;
const NAME_MAX = 100;

/** Hours since 1970 (UTC) of a wall-clock time in ns. */
export function hourOf(timeNs: bigint): number {
  return Number(timeNs / HOUR_NS);
}

/**
 * A name that came over the network as one path component: letters, digits, '.', '_' and '-', not beginning with a
 * dot, at most 100 characters. A name that had to be changed gets a hash of the original, so that two never meet.
 */
export function pathName(name: string, absent: string): string {
  if (name === '') return absent;
  const safe = name.replace(/[^A-Za-z0-9._-]/g, '_').replace(/^\./, '_');
  if (safe === name && name.length <= NAME_MAX) return name;
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 12);
  return `${safe.slice(0, NAME_MAX - 13)}-${hash}`;
}

/** `kind=<kind>/cluster=<name or default>/dt=YYYY-MM-DD/hour=HH`; `cluster` is a pathName. */
export function partitionFolder(kind: string, cluster: string, hour: number): string {
  const time = new Date(hour * 3_600_000).toISOString();
  return `kind=${kind}/cluster=${cluster}/dt=${time.slice(0, 10)}/hour=${time.slice(11, 13)}`;
}
