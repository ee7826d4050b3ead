import type { Logger } from 'pino';
import { type Collector, startCollector } from '../collector/server.ts';
import { StartError } from './options.ts';

/** A collector in this process: the same server, over the loopback interface. Throws StartError. */
export async function embedCollector(out: string, log: Logger): Promise<Collector> {
  try {
    return await startCollector({ listen: '127.0.0.1:0', out, log: log.child({ part: 'collector' }) });
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new StartError(message, 'choose another folder with --out', { cause });
  }
}
