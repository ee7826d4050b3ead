import fs from 'node:fs';
import net from 'node:net';
import type { Sink } from './writer.ts';

/**
 * A sink on a file descriptor that never blocks a thread of the pool: a write that sleeps in write(2) on a stalled
 * reader would keep the process from exiting, since Node joins its threads at exit.
 *
 * Pipes and terminals are opened again by /proc/self/fd with O_NONBLOCK, which leaves the description that others
 * share (a shell, `2>&1`) as it was. A socket cannot be reopened: libuv's own non-blocking handle writes it. Files and
 * devices never block for long and are written as they are.
 */
export function openSink(fd: number): Sink {
  const stat = fs.fstatSync(fd);
  if (stat.isSocket()) return socketSink(fd);
  if (stat.isFIFO() || stat.isCharacterDevice()) {
    try {
      const own = fs.openSync(`/proc/self/fd/${fd}`, fs.constants.O_WRONLY | fs.constants.O_NONBLOCK);
      return descriptorSink(own, () => fs.close(own, () => {}));
    } catch {
      // No /proc, or a terminal of another user: the shared description has to do.
    }
  }
  return descriptorSink(fd, () => {});
}

function descriptorSink(fd: number, close: () => void): Sink {
  return {
    write: (chunk, done) =>
      fs.write(fd, chunk, 0, chunk.byteLength, null, (error, written) => done(error, written ?? 0)),
    close,
  };
}

function socketSink(fd: number): Sink {
  const socket = new net.Socket({ fd, readable: false, writable: true });
  // Reported through the write's own callback.
  socket.on('error', () => {});
  return {
    write: (chunk, done) => {
      socket.write(chunk, (error) => done(error ?? null, error ? 0 : chunk.byteLength));
    },
    close: () => socket.destroy(),
  };
}
