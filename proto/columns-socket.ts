import { addressText, addressType } from './address.ts';
import { bytes, type Column, column, enumName, orNull, outcome, path } from './column.ts';
import { socketCommunityId } from './community-id.ts';
import type { SocketAccept, SocketAddress, SocketClose, SocketConnect, SocketListen } from './messages.ts';

const AF_UNIX = 1;
const FAMILIES = new Map([
  [AF_UNIX, 'unix'],
  [2, 'inet'],
  [10, 'inet6'],
]);
// IPPROTO_*, linux/in.h
const PROTOCOLS = new Map([
  [1, 'icmp'],
  [6, 'tcp'],
  [17, 'udp'],
  [33, 'dccp'],
  [58, 'icmpv6'],
  [132, 'sctp'],
  [136, 'udplite'],
  [262, 'mptcp'],
]);
const UNIX_TYPES = new Map([
  [1, 'stream'],
  [2, 'dgram'],
  [5, 'seqpacket'],
]);
const ENDED_BY = ['unknown', 'local', 'remote', 'local_reset', 'remote_reset', 'timeout'];

interface Socket {
  readonly family: number;
  readonly protocol: number;
  readonly local: SocketAddress | null;
  readonly remote?: SocketAddress | null;
  readonly asked?: SocketAddress | null;
}

function networkType(socket: Socket): string | null {
  const told = addressType(socket.remote ?? null) ?? addressType(socket.asked ?? null) ?? addressType(socket.local);
  if (told !== null) return told;
  return socket.family === 2 ? 'ipv4' : socket.family === 10 ? 'ipv6' : null;
}

function endColumns<Source>(end: string, doc: string, get: (source: Source) => SocketAddress | null): Column<Source>[] {
  return [
    column(`network_${end}_address`, 'string', doc, (source) => {
      const address = get(source);
      return address === null ? null : addressText(address.ip);
    }),
    column(`network_${end}_port`, 'integer', '', (source) => {
      const address = get(source);
      return address === null || (address.ip.length === 0 && address.port === 0) ? null : address.port;
    }),
  ];
}

function socketColumns<Source extends Socket>(): Column<Source>[] {
  return [
    column('network_transport', 'string', 'tcp, udp, unix, sctp, ...; else protocol_<IPPROTO number>', (socket) =>
      socket.family === AF_UNIX ? 'unix' : (PROTOCOLS.get(socket.protocol) ?? `protocol_${socket.protocol}`),
    ),
    column('network_type', 'string', 'ipv4 or ipv6: what travels; v4-mapped v6 is ipv4; null for unix', networkType),
    column(
      'network_socket_family',
      'string',
      'of the socket: inet, inet6, unix; else family_<AF number>',
      (socket) => FAMILIES.get(socket.family) ?? `family_${socket.family}`,
    ),
    ...endColumns<Source>('local', 'v4-mapped v6 is written as v4', (socket) => socket.local),
  ];
}

const START =
  'boot clock: the same in connect or accept and close of a connection; null where it is older than the agent';

/** socket.connect: with its result, also that of a connect which was refused after the call returned. */
export const SOCKET_CONNECT: readonly Column<SocketConnect>[] = [
  ...socketColumns<SocketConnect>(),
  ...endColumns<SocketConnect>('peer', 'reached or tried', (socket) => socket.remote),
  ...endColumns<SocketConnect>(
    'asked',
    'as passed; differs where it was rewritten on the way',
    (socket) => socket.asked,
  ),
  column('network_connection_start_ns', 'integer', START, (socket) => orNull(socket.connectionStartNs)),
  column('network_unix_type', 'string', 'stream, dgram, seqpacket; null for others than unix', (socket) =>
    socket.family === AF_UNIX ? (UNIX_TYPES.get(socket.protocol) ?? `type_${socket.protocol}`) : null,
  ),
  ...path<SocketConnect>('network_unix_path', "the peer's, resolved", (socket) => socket.unixPath),
  ...bytes<SocketConnect>(
    'network_unix_name',
    'as passed; of an abstract one without its NUL',
    (socket) => socket.unixName,
  ),
  column('network_unix_abstract', 'boolean', 'null for others than unix', (socket) =>
    socket.family === AF_UNIX ? socket.unixAbstract : null,
  ),
  ...outcome<SocketConnect>('0, or -errno'),
];

/** socket.accept: a connection came in. */
export const SOCKET_ACCEPT: readonly Column<SocketAccept>[] = [
  ...socketColumns<SocketAccept>(),
  ...endColumns<SocketAccept>('peer', '', (socket) => socket.remote),
  column('network_connection_start_ns', 'integer', START, (socket) => orNull(socket.connectionStartNs)),
];

/** socket.listen. */
export const SOCKET_LISTEN: readonly Column<SocketListen>[] = [
  ...socketColumns<SocketListen>(),
  column('network_listen_backlog', 'integer', 'as asked for', (socket) => socket.backlog),
  ...outcome<SocketListen>('0, or -errno'),
];

/** socket.close: once per TCP connection. */
export const SOCKET_CLOSE: readonly Column<SocketClose>[] = [
  ...socketColumns<SocketClose>(),
  ...endColumns<SocketClose>('peer', '', (socket) => socket.remote),
  ...endColumns<SocketClose>('asked', 'as passed to connect, where it differs', (socket) => socket.asked),
  column('network_connection_start_ns', 'integer', START, (socket) => orNull(socket.connectionStartNs)),
  column('network_connection_duration_ns', 'integer', 'null where the start is not known', (socket) =>
    socket.connectionStartNs === 0n && socket.durationNs === 0n ? null : socket.durationNs,
  ),
  column('network_bytes_sent', 'integer', 'payload; null where not known', (socket) => socket.bytesSent),
  column('network_bytes_received', 'integer', 'payload; null where not known', (socket) => socket.bytesReceived),
  column('network_ended_by', 'string', ENDED_BY.join(', '), (socket) => enumName(ENDED_BY, socket.endedBy)),
  ...outcome<SocketClose>("-errno of the socket's error; 0 if none"),
];

/** A connection, and the seed of its Community ID; null: none is computed. */
export interface Flow {
  readonly socket: SocketConnect | SocketAccept | SocketClose;
  readonly seed: number | null;
}

/** Last columns of socket.connect, socket.accept and socket.close: what the collector computes. */
export const FLOW: readonly Column<Flow>[] = [
  column(
    'community_id',
    'string',
    "Community ID v1 by the collector's seed, of the addresses reached; null without a whole 5-tuple, and in the local tail",
    ({ socket, seed }) =>
      seed === null || socket.family === AF_UNIX
        ? null
        : socketCommunityId(socket.protocol, socket.local, socket.remote, seed),
  ),
];
