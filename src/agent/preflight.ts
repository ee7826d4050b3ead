import type { Logger } from 'pino';
import { readFeatures } from '../kernel/features.ts';
import { checkFeatures } from '../kernel/requirements.ts';
import { type AgentOptions, StartError } from './options.ts';

/** The tap mounts tracefs itself where it may, and its probes say what they miss of it. */
const LEFT_TO_THE_TAP = 'tracefs';

/**
 * Looks whether the agent can run here, before anything is loaded. Throws StartError for the first thing without which
 * it cannot; what makes it do less goes to the log.
 */
export function preflight(options: Pick<AgentOptions, 'procDir' | 'cgroupDir'>, log: Logger): void {
  for (const check of checkFeatures(readFeatures({ proc: options.procDir, cgroup: options.cgroupDir }))) {
    if (check.verdict === 'problem') throw new StartError(`${check.title}: ${check.value}`, check.remedy);
    if (check.verdict === 'warning' && check.id !== LEFT_TO_THE_TAP) {
      log.info({ check: check.id, found: check.value, remedy: check.remedy }, `this node: ${check.title}`);
    }
  }
}
