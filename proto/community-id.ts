import { hash } from 'node:crypto';
import { travelling } from './address.ts';
import type { SocketAddress } from './messages.ts';

// IPPROTO_*, linux/in.h
const ICMP = 1;
const TCP = 6;
const UDP = 17;
const ICMPV6 = 58;
const SCTP = 132;
const MPTCP = 262;

const WITH_PORTS = new Set([TCP, UDP, SCTP]);

/** Types that answer each other. Any other type is one way: its code stands in the place of the second port. */
const ANSWERS: ReadonlyMap<number, ReadonlyMap<number, number>> = new Map([
  [ICMP, pairs([0, 8], [9, 10], [13, 14], [15, 16], [17, 18])],
  [ICMPV6, pairs([128, 129], [130, 131], [133, 134], [135, 136], [139, 140], [144, 145])],
]);

/** What a socket of ping(8) sends and the kernel lets it send: an echo request. */
const ECHO_REQUESTS: ReadonlyMap<number, number> = new Map([
  [ICMP, 8],
  [ICMPV6, 128],
]);

function pairs(...both: readonly (readonly [number, number])[]): Map<number, number> {
  return new Map(both.flatMap(([a, b]) => [[a, b] as const, [b, a] as const]));
}

/** One end: 4 or 16 bytes in network order, and the port in host order (of ICMP the type, and at the other end the code). */
export interface FlowEnd {
  readonly ip: Uint8Array;
  readonly port: number;
}

// What is hashed: seed, two addresses, protocol, padding, and two ports where there are any. By its length: a connection
// is one of thousands a second.
const INPUTS: ReadonlyMap<number, Buffer> = new Map([12, 16, 36, 40].map((length) => [length, Buffer.alloc(length)]));

function before(a: FlowEnd, aPort: number, b: FlowEnd, bPort: number): boolean {
  const order = Buffer.compare(a.ip, b.ip);
  return order < 0 || (order === 0 && aPort < bPort);
}

/**
 * Community ID v1 of a flow (corelight/community-id-spec): the same for both directions. `source` and `destination` are
 * of one address family, v4-mapped addresses already as v4; the seed is that of the peer whose ids are to match (Zeek: 0).
 */
export function communityId(protocol: number, source: FlowEnd, destination: FlowEnd, seed: number): string {
  const answers = ANSWERS.get(protocol);
  const answer = answers?.get(source.port);
  const hasPorts = answers !== undefined || WITH_PORTS.has(protocol);
  const sourcePort = hasPorts ? source.port : 0;
  const destinationPort = hasPorts ? (answer ?? destination.port) : 0;
  const oneWay = answers !== undefined && answer === undefined;
  const inOrder = oneWay || before(source, sourcePort, destination, destinationPort);
  const input = INPUTS.get(4 + 2 * source.ip.length + (hasPorts ? 4 : 0));
  if (input === undefined) throw new RangeError('an address has 4 or 16 bytes');
  input.writeUInt16BE(seed, 0);
  input.set(inOrder ? source.ip : destination.ip, 2);
  input.set(inOrder ? destination.ip : source.ip, 2 + source.ip.length);
  let at = 2 + 2 * source.ip.length;
  at = input.writeUInt16BE(protocol << 8, at);
  if (hasPorts) {
    at = input.writeUInt16BE(inOrder ? sourcePort : destinationPort, at);
    input.writeUInt16BE(inOrder ? destinationPort : sourcePort, at);
  }
  return `1:${hash('sha1', input, 'base64')}`;
}

function known(ip: Uint8Array): boolean {
  for (const byte of ip) if (byte !== 0) return true;
  return false;
}

/**
 * The Community ID of a socket's connection; null where its protocol, an address or a port is not known. MPTCP travels as
 * TCP. A socket knows no ICMP types: of an ICMP socket it is the id of an echo request.
 */
export function socketCommunityId(
  protocol: number,
  local: SocketAddress | null,
  remote: SocketAddress | null,
  seed: number,
): string | null {
  if (local === null || remote === null) return null;
  const source = travelling(local.ip);
  const destination = travelling(remote.ip);
  if (source.length === 0 || source.length !== destination.length || !known(source) || !known(destination)) return null;
  const travels = protocol === MPTCP ? TCP : protocol;
  if (travels === 0 || travels > 255) return null;
  const echo = ECHO_REQUESTS.get(travels);
  if (echo !== undefined) return communityId(travels, { ip: source, port: echo }, { ip: destination, port: 0 }, seed);
  if (WITH_PORTS.has(travels) && (local.port === 0 || remote.port === 0)) return null;
  return communityId(travels, { ip: source, port: local.port }, { ip: destination, port: remote.port }, seed);
}
