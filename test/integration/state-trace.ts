import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const TRACING = '/sys/kernel/tracing';

/** A TCP socket that closed, as the kernel's own tracer saw it. */
export interface Closing {
  /** The task that happened to run. */
  readonly currentPid: number;
  readonly from: string;
  readonly localPort: number;
  readonly peerPort: number;
  readonly localAddress: string;
}

/** The kernel's tracer of socket states, in an instance of its own: who ran while a socket closed. */
export class StateTrace {
  readonly #dir = join(TRACING, 'instances', `kt-${randomBytes(3).toString('hex')}`);

  constructor() {
    mkdirSync(this.#dir);
    const event = join(this.#dir, 'events/sock/inet_sock_set_state');
    writeFileSync(join(event, 'filter'), 'newstate == 7');
    writeFileSync(join(event, 'enable'), '1');
  }

  /** Sockets with this local address that closed so far. */
  closings(localAddress: string): Closing[] {
    const closings: Closing[] = [];
    const pattern =
      /^.*-(\d+)\s+\[\d+\].*sport=(\d+) dport=(\d+) saddr=(\S+) .*oldstate=TCP_(\w+) newstate=TCP_CLOSE$/gm;
    for (const match of readFileSync(join(this.#dir, 'trace'), 'latin1').matchAll(pattern)) {
      const [, pid, sport, dport, saddr, from] = match;
      if (saddr !== localAddress || from === 'LISTEN') continue;
      closings.push({
        currentPid: Number(pid),
        from: from ?? '',
        localPort: Number(sport),
        peerPort: Number(dport),
        localAddress,
      });
    }
    return closings;
  }

  remove(): void {
    rmdirSync(this.#dir);
  }
}
