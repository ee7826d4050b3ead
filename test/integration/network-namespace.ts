import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';

function ip(...args: string[]): string {
  return execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });
}

/** A network namespace with loopback up. */
export class NetworkNamespace {
  readonly name = `kt-${randomBytes(3).toString('hex')}`;
  readonly file = `/run/netns/${this.name}`;

  constructor() {
    ip('netns', 'add', this.name);
    this.ip('link', 'set', 'lo', 'up');
  }

  /** `ip` in it. */
  ip(...args: string[]): void {
    ip('-n', this.name, ...args);
  }

  /** Writes a value below /proc/sys or /sys as seen from it. */
  write(path: string, value: string): void {
    // `ip netns exec` mounts the namespace's own /sys.
    ip('netns', 'exec', this.name, 'sh', '-c', 'echo "$1" > "$0"', path, value);
  }

  /** A cable to another namespace: `name` here with `address` (CIDR), `peerName` there with `peerAddress`. */
  connect(peer: NetworkNamespace, name: string, address: string, peerName: string, peerAddress: string): void {
    this.ip('link', 'add', name, 'type', 'veth', 'peer', 'name', peerName, 'netns', peer.name);
    this.ip('addr', 'add', address, 'dev', name, 'nodad');
    peer.ip('addr', 'add', peerAddress, 'dev', peerName, 'nodad');
    this.ip('link', 'set', name, 'up');
    peer.ip('link', 'set', peerName, 'up');
  }

  /** Interrupts of frames that arrive at the device are served by this CPU alone, whoever sent them. */
  steer(device: string, cpu: number): void {
    this.write(`/sys/class/net/${device}/queues/rx-0/rps_cpus`, (1 << cpu).toString(16));
  }

  remove(): void {
    ip('netns', 'del', this.name);
  }
}
