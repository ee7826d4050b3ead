import type { Given } from './field.ts';
import type { PROFILES } from './schema.ts';

/** Named bases that a file builds on: what each changes in the defaults. */
export const PROFILE_SETTINGS: Readonly<Record<(typeof PROFILES)[number], Given>> = {
  default: {},
  // Compilers write and remove many files in short-lived processes: their execs tell the story.
  'build-systems': {
    probes: { 'file.close': 'off', 'file.rename': 'off', 'file.unlink': 'off', 'file.chmod': 'off' },
    argv: { capBytes: 4096 },
    budgets: { containerEventsPerSecond: 2000, nodeEventsPerSecond: 10_000 },
  },
  // For a node under suspicion: everything, at the price that it has.
  forensic: {
    probes: { 'file.open': 'all', 'socket.unix': 'all' },
    failedOpens: true,
    argv: { capBytes: 16_384 },
    budgets: { containerEventsPerSecond: 20_000, nodeEventsPerSecond: 50_000, cpuCores: 2 },
  },
};
