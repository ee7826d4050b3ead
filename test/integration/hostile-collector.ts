import { connect, createServer, type Socket, type Server as TcpServer } from 'node:net';
import { acknowledge, type Behaviour, CollectorDouble, type Seen } from '../unit/stream/collector-double.ts';

/** A collector that misbehaves, over real gRPC on loopback. */
export interface HostileCollector {
  /** Where agents connect. */
  readonly address: string;
  /** Streams that it had so far. */
  streams(): number;
  /** What agents must have met before a test may end. */
  done(): boolean;
  stop(): void;
}

/** grpc's statuses, by number: all that a server can end a stream with. */
const STATUSES = Array.from({ length: 17 }, (_, code) => code);

async function doubled(behaviour: Behaviour, done: (double: CollectorDouble) => boolean): Promise<HostileCollector> {
  const double = new CollectorDouble(behaviour);
  await double.start();
  return {
    address: double.address,
    streams: () => double.streams.length,
    done: () => done(double),
    stop: () => double.stop(),
  };
}

const end = ({ call }: Seen, code: number): void => {
  if (code === 0) call.end();
  else call.emit('error', Object.assign(new Error('no'), { code, details: `status ${code}` }));
};

/** Takes the connection and the first batch, and reads nothing after it. */
export const neverReads = () =>
  doubled(
    ({ call }) => void call.pause(),
    ({ batches }) => batches.length > 0,
  );

/** Reads everything, and acknowledges three seconds later. */
export const acksLate = () =>
  doubled(
    (seen) => {
      const acked = BigInt(seen.batches.at(-1)?.streamSeq ?? 0);
      setTimeout(() => seen.call.write({ ackedStreamSeq: acked }), 3_000).unref();
    },
    ({ batches }) => batches.length > 0,
  );

/** Acknowledges what was never sent, on every stream. */
export const acksWrong = () =>
  doubled(
    ({ call }, index) => void call.write({ ackedStreamSeq: index === 0 ? 1n : 1_000_000n }),
    ({ streams }) => streams.length > 2,
  );

/** Acknowledges one batch and ends the stream with a status: each of them in turn, again and again. */
export const everyStatus = () => {
  let next = 0;
  return doubled(
    (seen, index) => {
      if (index === 0) acknowledge(seen, index);
      else if (index === 1) end(seen, STATUSES[next++ % STATUSES.length] as number);
    },
    () => next >= STATUSES.length,
  );
};

/** A good collector behind a wire that is cut within a frame, a little later each time. */
export async function resetsMidFrame(): Promise<HostileCollector> {
  const double = new CollectorDouble(acknowledge);
  await double.start();
  const sockets = new Set<Socket>();
  let cuts = 0;
  const proxy: TcpServer = createServer((agent) => {
    const port = Number(double.address.split(':')[1]);
    const collector = connect(port, '127.0.0.1');
    // A batch is up to 64 KiB in HTTP/2 frames of 16 KiB: this is never the end of one but by chance.
    let left = 20_011 + 4_099 * (cuts % 17);
    for (const socket of [agent, collector]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => sockets.delete(socket));
    }
    agent.on('data', (bytes) => {
      collector.write(bytes.subarray(0, left));
      left -= bytes.length;
      if (left > 0) return;
      cuts++;
      agent.resetAndDestroy();
      collector.end();
    });
    collector.on('data', (bytes) => agent.write(bytes));
    collector.on('close', () => agent.destroy());
    agent.on('close', () => collector.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const address = proxy.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    address: `127.0.0.1:${address.port}`,
    streams: () => double.streams.length,
    done: () => cuts >= 3,
    stop: () => {
      proxy.close();
      for (const socket of sockets) socket.destroy();
      double.stop();
    },
  };
}
