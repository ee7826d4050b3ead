import type { Logger } from 'pino';
import { readFeatures } from '../kernel/features.ts';
import { checkFeatures } from '../kernel/requirements.ts';
import { type AgentOptions, StartError } from './options.ts';

const TRACEFS = '/sys/kernel/tracing';

/**
 * Looks whether the agent can run here, before anything is loaded. Standalone mounts tracefs where it is missing; in a
 * cluster that is the chart's business. Throws StartError for the first thing without which it cannot run.
 */
export function preflight(
  options: Pick<AgentOptions, 'standalone' | 'procDir' | 'cgroupDir'>,
  mountTracefs: (path: string) => void,
  log: Logger,
): void {
  const sources = { proc: options.procDir, cgroup: options.cgroupDir };
  let features = readFeatures(sources);
  if (options.standalone && features.tracefs.mount === undefined) {
    try {
      mountTracefs(TRACEFS);
      log.info({ path: TRACEFS }, 'mounted tracefs');
      features = readFeatures(sources);
    } catch (error) {
      log.warn({ err: error, path: TRACEFS }, 'could not mount tracefs');
    }
  }
  for (const check of checkFeatures(features)) {
    if (check.verdict === 'problem') throw new StartError(`${check.title}: ${check.value}`, check.remedy);
    if (check.verdict === 'warning')
      log.warn({ check: check.id, found: check.value, remedy: check.remedy }, check.title);
  }
}
