import { stat } from 'node:fs/promises';
import { createServer } from 'node:net';

/**
 * Keeps a second collector on this host (of the same network namespace) out of the folder, whose unfinished files it
 * would take for a dead one's. The lock is an abstract socket: the kernel drops it with the process, kill -9 included.
 * Throws where it is taken. Returns what releases it.
 */
export async function lockFolder(folder: string): Promise<() => void> {
  const { dev, ino } = await stat(folder, { bigint: true });
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(error.code === 'EADDRINUSE' ? new Error(`another collector is writing to ${folder}`) : error);
    });
    server.listen(`\0kerntap-collector-${dev}-${ino}`, resolve);
  });
  server.unref();
  return () => void server.close();
}
