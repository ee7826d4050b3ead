/**
 * The agent's local socket: a line of JSON is asked, lines of JSON are answered. Root alone may connect. A client that
 * is slow, dead or wrong costs its own lines and nothing else.
 */
import { chmodSync, lstatSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import type { Sink } from '../tail/writer.ts';
import {
  LocalRequestError,
  parseLocalRequest,
  REQUEST_BYTES_MAX,
  type TailFilter,
} from '../telemetry/local-request.ts';

export const LOCAL_SOCKET = '/run/kerntap/agent.sock';

/** Someone who watches: told when its client is gone. */
export interface Viewer {
  close(): void;
}

export interface LocalAnswers {
  /** One object each. */
  readonly ledger: () => object;
  readonly status: () => object;
  /** Starts to write to the sink; `refuse` ends the client. Throws LocalRequestError. */
  readonly tail: (filter: TailFilter, sink: Sink, refuse: () => void) => Viewer;
}

export interface LocalSocketOptions {
  readonly path: string;
  readonly answers: LocalAnswers;
  /** Clients at a time, those that have not asked yet included; further ones are told so. */
  readonly maxClients?: number;
  /** How long a client may take to ask. */
  readonly requestMs?: number;
}

const MAX_CLIENTS = 8;
const REQUEST_MS = 5000;
const NEWLINE = 0x0a;

export class LocalSocket {
  readonly #server: Server;
  readonly #path: string;
  readonly #inode: bigint;
  readonly #clients: ReadonlySet<Socket>;

  private constructor(server: Server, path: string, clients: ReadonlySet<Socket>) {
    this.#server = server;
    this.#path = path;
    this.#clients = clients;
    this.#inode = inodeOf(path) ?? 0n;
  }

  /** Takes the path; one that nobody listens on any more is replaced. Rejects where another agent has it. */
  static async open({ path, answers, ...limits }: LocalSocketOptions): Promise<LocalSocket> {
    const { maxClients = MAX_CLIENTS, requestMs = REQUEST_MS } = limits;
    makeFolder(dirname(path));
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found !== undefined && !found.isSocket()) throw new Error(`${path} is there and is no socket`);
    if (found !== undefined && (await isAlive(path))) throw new Error(`another agent listens on ${path}`);
    const clients = new Set<Socket>();
    const server = createServer((socket) => {
      socket.on('error', () => {});
      if (clients.size >= maxClients) {
        socket.end(`${JSON.stringify({ error: `this agent has its ${maxClients} clients` })}\n`);
        return;
      }
      clients.add(socket);
      socket.on('close', () => clients.delete(socket));
      serve(socket, answers, requestMs);
    });
    // Bound under another name, so that at its own it is never open to others, nor missing while it is replaced.
    const own = `${path}.${process.pid}`;
    rmSync(own, { force: true });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(own, resolve);
    });
    try {
      chmodSync(own, 0o600);
      renameSync(own, path);
    } catch (error) {
      server.close();
      throw error;
    }
    server.on('error', () => {});
    server.unref();
    return new LocalSocket(server, path, clients);
  }

  /** Ends every client and takes the path away, if it is still this one's. */
  close(): void {
    this.#server.close();
    for (const socket of this.#clients) socket.destroy();
    if (inodeOf(this.#path) === this.#inode) rmSync(this.#path, { force: true });
  }
}

/** The folder alone, not its parents. (mkdir's own `recursive` never returns where /proc refuses a name.) */
function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
}

function inodeOf(path: string): bigint | undefined {
  return lstatSync(path, { bigint: true, throwIfNoEntry: false })?.ino;
}

function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (alive: boolean) => () => {
      socket.destroy();
      resolve(alive);
    };
    socket.on('connect', end(true));
    socket.on('error', end(false));
  });
}

function serve(socket: Socket, answers: LocalAnswers, requestMs: number): void {
  let request = Buffer.alloc(0);
  const timer = setTimeout(() => answer({ error: `nothing was asked for ${requestMs} ms` }), requestMs);
  timer.unref();
  const answer = (value: object): void => void socket.end(`${JSON.stringify(value)}\n`);
  const read = (chunk: Buffer): void => {
    request = Buffer.concat([request, chunk]);
    const end = request.indexOf(NEWLINE);
    if (end < 0 && request.length <= REQUEST_BYTES_MAX) return;
    socket.off('data', read);
    // What else it says is dropped unread.
    socket.resume();
    clearTimeout(timer);
    try {
      if (end < 0 || end > REQUEST_BYTES_MAX) throw new LocalRequestError(`longer than ${REQUEST_BYTES_MAX} bytes`);
      handle(socket, request.toString('utf8', 0, end), answers, answer);
    } catch (error) {
      answer({ error: error instanceof LocalRequestError ? error.message : `failed: ${String(error)}` });
    }
  };
  socket.on('data', read);
  socket.on('close', () => clearTimeout(timer));
}

function handle(socket: Socket, line: string, answers: LocalAnswers, answer: (value: object) => void): void {
  const request = parseLocalRequest(line);
  if (request.ask !== 'tail') {
    answer(request.ask === 'ledger' ? answers.ledger() : answers.status());
    return;
  }
  const viewer = answers.tail(request, sinkOf(socket), () => socket.destroy());
  socket.on('close', () => viewer.close());
}

function sinkOf(socket: Socket): Sink {
  return {
    write: (chunk, done) => {
      socket.write(chunk, (error) => done(error ?? null, error ? 0 : chunk.byteLength));
    },
    close: () => socket.destroy(),
  };
}
