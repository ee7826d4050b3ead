import type { Logger } from 'pino';
import { encodeBatch, type NodeFacts } from '../../proto/contract.ts';
import { loadAddon } from '../kernel/native.ts';
import type { RunLosses } from '../stream/run-losses.ts';
import { type EarlierRunHooks, Spool } from '../stream/spool/spool.ts';
import { onceUntilChange } from '../stream/stream-logger.ts';
import type { AgentOptions } from './options.ts';

/** The spool as the settings want it; undefined: none. `facts`: of the node, as they are known by then. */
export function openSpool(
  options: AgentOptions,
  run: string,
  facts: () => NodeFacts,
  earlier: EarlierRunHooks,
  lost: RunLosses,
  log: Logger,
): Spool | undefined {
  const { enabled, catchUpShare: _share, ...limits } = options.settings.spool;
  if (!enabled) return undefined;
  return new Spool({
    ...limits,
    tryLock: loadAddon().lockFile,
    run,
    facts: () => ({
      node: Buffer.from(encodeBatch({ node: facts() })).toString('base64'),
      agentVersion: options.version,
    }),
    log: onceUntilChange(log.child({ part: 'spool' })),
    lost: (loss) => lost.spool(loss),
    earlier,
  });
}
