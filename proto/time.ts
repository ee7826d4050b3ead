const SECOND = 1_000_000_000n;
// 9999-12-31T23:59:59.999999999Z: RFC 3339 has four digits for the year.
const LAST = 253_402_300_800n * SECOND - 1n;

let cachedSecond = -1n;
let cachedText = '';

/** Can RFC 3339 write this time (ns since 1970)? */
export function isWritable(timeNs: bigint): boolean {
  return timeNs >= 0n && timeNs <= LAST;
}

/** RFC 3339 in UTC with nine digits of `timeNs` (since 1970), which must be writable. */
export function rfc3339(timeNs: bigint): string {
  const second = timeNs / SECOND;
  if (second !== cachedSecond) {
    cachedText = new Date(Number(second) * 1000).toISOString().slice(0, 19);
    cachedSecond = second;
  }
  return `${cachedText}.${String(timeNs - second * SECOND).padStart(9, '0')}Z`;
}

/** As rfc3339; null where it cannot be written. */
export function boundedTime(timeNs: bigint): string | null {
  return isWritable(timeNs) ? rfc3339(timeNs) : null;
}
