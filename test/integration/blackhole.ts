import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** A network namespace whose one route leads nowhere: SYNs to `address` vanish, and time out after one repetition. */
export class Blackhole {
  readonly name = `kt-${randomBytes(3).toString('hex')}`;
  readonly file = `/run/netns/${this.name}`;
  readonly address = '10.99.0.2';

  constructor() {
    ip('netns', 'add', this.name);
    const inside = (...args: string[]) => ip('-n', this.name, ...args);
    inside('link', 'set', 'lo', 'up');
    inside('link', 'add', 'hole', 'type', 'veth', 'peer', 'name', 'bottom');
    inside('addr', 'add', '10.99.0.1/24', 'dev', 'hole');
    inside('link', 'set', 'hole', 'up');
    inside('link', 'set', 'bottom', 'up');
    // Nobody has this address: frames arrive at the other end and are dropped.
    inside('neigh', 'add', this.address, 'lladdr', '02:00:00:00:00:01', 'dev', 'hole', 'nud', 'permanent');
    ip('netns', 'exec', this.name, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/tcp_syn_retries');
  }

  remove(): void {
    ip('netns', 'del', this.name);
  }
}
