import type { Logger } from 'pino';
import type { Hello, NodeFacts } from '../../proto/contract.ts';
import type { BufferPool } from '../stream/buffer-pool.ts';
import { PublishClient } from '../stream/client.ts';
import { RunLosses } from '../stream/run-losses.ts';
import type { EarlierRunHooks, Spool } from '../stream/spool/spool.ts';
import { onceUntilChange } from '../stream/stream-logger.ts';
import { CollectorChannel } from './collector-channel.ts';
import { openSpool } from './open-spool.ts';
import type { AgentOptions } from './options.ts';

export interface CollectorWay {
  readonly client: PublishClient;
  readonly channel: CollectorChannel;
  readonly spool: Spool | undefined;
}

export interface CollectorWayParts {
  readonly options: AgentOptions;
  /** HOST:PORT of the collector's replicas. */
  readonly addresses: readonly string[];
  /** Id of this run, in hex. */
  readonly run: string;
  readonly hello: Hello;
  /** Facts of the node, as they are known by then. */
  readonly node: () => NodeFacts;
  readonly earlier: EarlierRunHooks;
  /** The encoder's. */
  readonly pool: BufferPool;
  readonly log: Logger;
}

/** The stream to the collector, with the spool where the settings want one; undefined: there is no collector. */
export function openCollectorWay(parts: CollectorWayParts): CollectorWay | undefined {
  const { options, addresses, run, hello, node, earlier, pool, log } = parts;
  const { settings, standalone, tls } = options;
  if (addresses.length === 0) return undefined;
  const lost = new RunLosses(run);
  const streamLog = log.child({ part: 'stream' });
  const channel = new CollectorChannel({
    addresses,
    tls,
    compression: standalone ? 'none' : settings.collector.compression,
    log: streamLog,
  });
  const spool = openSpool(options, run, node, earlier, lost, log);
  const client = new PublishClient({
    dialer: channel.dialer,
    hello,
    pool,
    log: onceUntilChange(streamLog),
    lost,
    spool,
    catchUpShare: settings.spool.catchUpShare,
  });
  return { client, channel, spool };
}
