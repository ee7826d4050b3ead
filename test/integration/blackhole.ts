import { NetworkNamespace } from './network-namespace.ts';

/** A network namespace whose one route leads nowhere: SYNs to `address` vanish, and time out after one repetition. */
export class Blackhole extends NetworkNamespace {
  readonly address = '10.99.0.2';

  constructor() {
    super();
    this.ip('link', 'add', 'hole', 'type', 'veth', 'peer', 'name', 'bottom');
    this.ip('addr', 'add', '10.99.0.1/24', 'dev', 'hole');
    this.ip('link', 'set', 'hole', 'up');
    this.ip('link', 'set', 'bottom', 'up');
    // Nobody has this address: frames arrive at the other end and are dropped.
    this.ip('neigh', 'add', this.address, 'lladdr', '02:00:00:00:00:01', 'dev', 'hole', 'nud', 'permanent');
    this.write('/proc/sys/net/ipv4/tcp_syn_retries', '1');
  }
}
