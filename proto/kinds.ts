import { type Column, type ColumnInfo, infos } from './column.ts';
import { ACTOR, CAPTURE, HEAD, IMAGE, ORIGIN } from './columns-common.ts';
import { FILE_CHMOD, FILE_CLOSE, FILE_OPEN, FILE_RENAME, FILE_UNLINK } from './columns-file.ts';
import { LOSS, type Own, POD, PROBE } from './columns-kerntap.ts';
import { PROCESS_EXEC, PROCESS_EXIT, PROCESS_IO_URING } from './columns-process.ts';
import { FLOW, SOCKET_ACCEPT, SOCKET_CLOSE, SOCKET_CONNECT, SOCKET_LISTEN } from './columns-socket.ts';
import type { Event } from './messages.ts';

// A kind's own columns read its body; those of kerntap.* read an Own<body>. The pairing of field and table is checked
// where shape() is called, and erased.
export interface Shape {
  readonly kind: string;
  readonly doc: string;
  readonly body: (event: Event) => object | null;
  readonly columns: readonly Column<never>[];
  readonly own: boolean;
  /** The body has fields local, remote, asked: SocketAddress. */
  readonly addresses: boolean;
  /** The body is a connection: the columns FLOW follow its own. */
  readonly flow: boolean;
}

function shape<Body extends object>(
  kind: string,
  doc: string,
  body: (event: Event) => Body | null,
  columns: readonly Column<Body>[],
): Shape {
  const addresses = kind.startsWith('socket.');
  return { kind, doc, body, columns, own: false, addresses, flow: addresses && kind !== 'socket.listen' };
}

function ownShape<Body extends object>(
  kind: string,
  doc: string,
  body: (event: Event) => Body | null,
  columns: readonly Column<Own<Body>>[],
): Shape {
  return { kind, doc, body, columns, own: true, addresses: false, flow: false };
}

/** Every kind: where its body is and how it is written. The most frequent come first. */
export const SHAPES: readonly Shape[] = [
  shape('file.open', 'a file was opened, or could not be', (event) => event.fileOpen, FILE_OPEN),
  shape('file.close', 'a file that was open for writing was closed', (event) => event.fileClose, FILE_CLOSE),
  shape('file.rename', 'a name was changed', (event) => event.fileRename, FILE_RENAME),
  shape('file.unlink', 'a name was removed', (event) => event.fileUnlink, FILE_UNLINK),
  shape('file.chmod', 'permissions were changed', (event) => event.fileChmod, FILE_CHMOD),
  shape('process.exec', 'a process began to run an image', (event) => event.processExec, PROCESS_EXEC),
  shape('process.exit', 'a process ended', (event) => event.processExit, PROCESS_EXIT),
  shape(
    'process.io_uring',
    'an io_uring was made: its operations are not all seen',
    (event) => event.processIoUring,
    PROCESS_IO_URING,
  ),
  shape('socket.connect', 'a connection was begun, with its result', (event) => event.socketConnect, SOCKET_CONNECT),
  shape('socket.accept', 'a connection came in', (event) => event.socketAccept, SOCKET_ACCEPT),
  shape('socket.listen', 'a socket began to listen', (event) => event.socketListen, SOCKET_LISTEN),
  shape('socket.close', 'a TCP connection ended', (event) => event.socketClose, SOCKET_CLOSE),
  ownShape('kerntap.loss', 'something was not delivered', (event) => event.loss, LOSS),
  ownShape('kerntap.pod', 'a pod was seen, changed or went', (event) => event.pod, POD),
  ownShape('kerntap.probe', 'a probe was turned on or off, or failed', (event) => event.probe, PROBE),
];

/** A kind with its own columns, in order. Every row has COMMON, then (but for kerntap.*) PROCESS columns, then these. */
export interface KindInfo {
  readonly kind: string;
  readonly doc: string;
  readonly columns: readonly ColumnInfo[];
}

/** Columns of every row. */
export const COMMON_COLUMNS: readonly ColumnInfo[] = [...infos(HEAD), ...infos(ORIGIN)];

/** Columns of every row but those of kerntap.*. process.exec takes process_executable_path from its own columns. */
export const PROCESS_COLUMNS: readonly ColumnInfo[] = [...infos(ACTOR), ...infos(IMAGE), ...infos(CAPTURE)];

function ownInfos({ columns, flow }: Shape): ColumnInfo[] {
  return [...infos(columns), ...(flow ? infos(FLOW) : [])];
}

/** The kinds, each with the columns that are its own. */
export const KINDS: readonly KindInfo[] = SHAPES.map((shape) => ({
  kind: shape.kind,
  doc: shape.doc,
  columns: ownInfos(shape),
}));

/** Kind -> all its columns in the order of its rows: the schema of kind=<kind>/ files. */
export const COLUMNS: ReadonlyMap<string, readonly ColumnInfo[]> = new Map(
  SHAPES.map((shape) => [
    shape.kind,
    shape.own
      ? [...COMMON_COLUMNS, ...ownInfos(shape)]
      : [
          ...COMMON_COLUMNS,
          ...infos(ACTOR),
          ...(shape.kind === 'process.exec' ? [] : infos(IMAGE)),
          ...infos(CAPTURE),
          ...ownInfos(shape),
        ],
  ]),
);
