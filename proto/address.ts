import type { SocketAddress } from './messages.ts';

/** Text of an IP address, as RFC 5952 writes it; v4-mapped v6 as v4. Null where `ip` has neither 4 nor 16 bytes. */
export function addressText(ip: Uint8Array): string | null {
  if (ip.length === 4) return ip.join('.');
  if (ip.length !== 16) return null;
  if (isMapped(ip)) return ip.subarray(12).join('.');
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(((ip[i] ?? 0) << 8) | (ip[i + 1] ?? 0));
  // The longest run of two zero groups or more, the first of equals.
  let start = -1;
  let length = 1;
  for (let i = 0; i < 8; ) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > length) {
      start = i;
      length = end - i;
    }
    i = end + 1;
  }
  const hex = groups.map((group) => group.toString(16));
  if (start < 0) return hex.join(':');
  return `${hex.slice(0, start).join(':')}::${hex.slice(start + length).join(':')}`;
}

function isMapped(ip: Uint8Array): boolean {
  for (let i = 0; i < 10; i++) if (ip[i] !== 0) return false;
  return ip[10] === 0xff && ip[11] === 0xff;
}

/** The address that travels: of a v4-mapped one its v4 part, a view. */
export function travelling(ip: Uint8Array): Uint8Array {
  return ip.length === 16 && isMapped(ip) ? ip.subarray(12) : ip;
}

/** ipv4 or ipv6: what travels, so ipv4 for v4-mapped v6. Null where no address tells. */
export function addressType(address: SocketAddress | null): 'ipv4' | 'ipv6' | null {
  if (address?.ip.length === 4) return 'ipv4';
  if (address?.ip.length === 16) return isMapped(address.ip) ? 'ipv4' : 'ipv6';
  return null;
}

/** May the address stand in a row? Absent and empty ones may. */
export function isAddress(address: SocketAddress | null): boolean {
  return address === null || address.ip.length === 0 || address.ip.length === 4 || address.ip.length === 16;
}
