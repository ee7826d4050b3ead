/** Asks the agent of this node over its local socket. */
import { connect, type Socket } from 'node:net';

/** There is no agent to ask, or it refused; the message says what to do. */
export class LocalError extends Error {
  override name = 'LocalError';
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no agent runs here, or it has another --socket',
  ECONNREFUSED: 'the agent that had it is gone',
  EACCES: 'root alone may ask: run as root',
};

/** The lines of the answer to one request. Throws LocalError. `signal` ends it without an error. */
export async function* askAgent(socketPath: string, request: object, signal?: AbortSignal): AsyncGenerator<string> {
  const socket = connect(socketPath);
  const aborted = (): void => void socket.destroy();
  signal?.addEventListener('abort', aborted);
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', (error: NodeJS.ErrnoException) => {
        reject(new LocalError(`cannot ask ${socketPath}: ${REASONS[error.code ?? ''] ?? error.message}`));
      });
    });
    socket.write(`${JSON.stringify(request)}\n`);
    yield* linesOf(socket);
  } catch (error) {
    // What breaks after the first line, or was broken off, ends the lines.
    if (error instanceof LocalError) throw error;
  } finally {
    signal?.removeEventListener('abort', aborted);
    socket.destroy();
  }
}

async function* linesOf(socket: Socket): AsyncGenerator<string> {
  let rest = '';
  socket.setEncoding('utf8');
  for await (const text of socket) {
    const lines = (rest + String(text)).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const refused = refusalIn(line);
      if (refused !== undefined) throw new LocalError(`the agent refused: ${refused}`);
      yield line;
    }
  }
}

/** Events have no column of that name at their beginning. */
function refusalIn(line: string): string | undefined {
  if (!line.startsWith('{"error":')) return undefined;
  return String((JSON.parse(line) as { error: unknown }).error);
}
