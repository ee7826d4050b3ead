import {
  CONFIG,
  KT_ARGV_CAP_MAX,
  KT_ENV_CAP_MAX,
  KT_OPEN_ALL,
  KT_OPEN_OFF,
  KT_OPEN_SENSITIVE,
  KT_OPEN_WRITES,
  KT_UNIX_ALL,
  KT_UNIX_OFF,
  KT_UNIX_SENSITIVE,
} from './layout.gen.ts';

const OPEN_MODES = {
  off: KT_OPEN_OFF,
  writes: KT_OPEN_WRITES,
  sensitive: KT_OPEN_SENSITIVE,
  all: KT_OPEN_ALL,
} as const;
const UNIX_MODES = { off: KT_UNIX_OFF, sensitive: KT_UNIX_SENSITIVE, all: KT_UNIX_ALL } as const;

/** What the kernel side is told; defaults as in DEFAULT_TAP_CONFIG. */
export interface TapConfig {
  /** Bytes of a command line that are kept, up to KT_ARGV_CAP_MAX. */
  readonly argvCap: number;
  /** Bytes of an environment that are kept, up to KT_ENV_CAP_MAX; 0: none. */
  readonly envCap: number;
  readonly openMode: keyof typeof OPEN_MODES;
  /** Opens that fail are events too. */
  readonly failedOpens: boolean;
  readonly unixMode: keyof typeof UNIX_MODES;
  readonly budgets: Budgets;
  /** Connections with one of these ports at either end are no events; at most PORTS_MAX. */
  readonly ignoredPorts: readonly number[];
}

/** Entries of map kt_ports (bpf/tap.h). */
export const PORTS_MAX = 1024;

/** Events a second that are let through in the long run; 0: no limit. What exceeds them is shed, files first. */
export interface Budgets {
  /** Each container; outside of containers each control group. */
  readonly containerPerSecond: number;
  readonly nodePerSecond: number;
  /** How long twice the rate may last before files are shed; sockets and processes have 5/4 and 3/2 of it. */
  readonly burstSeconds: number;
}

export const DEFAULT_TAP_CONFIG: TapConfig = {
  argvCap: 8192,
  envCap: 0,
  openMode: 'sensitive',
  failedOpens: false,
  unixMode: 'sensitive',
  budgets: { containerPerSecond: 0, nodePerSecond: 0, burstSeconds: 10 },
  ignoredPorts: [],
};

/** What the tap itself knows beside the settings. Kinds are bits by number. */
export interface TapState {
  readonly enabledKinds: number;
  readonly rawKinds: number;
  readonly policies: boolean;
}

/**
 * A struct kt_config (record.h). The agent's process key is not touched: it stays as program kt_identify set it.
 *
 * @param into CONFIG.SIZE bytes, as they are in the map now
 * @throws RangeError for a cap that the kernel side would not honour
 */
export function encodeConfig(config: TapConfig, state: TapState, into: Uint8Array): void {
  const view = new DataView(into.buffer, into.byteOffset, CONFIG.SIZE);
  view.setUint32(CONFIG.argv_cap, checkedCap('argvCap', config.argvCap, KT_ARGV_CAP_MAX), true);
  view.setUint32(CONFIG.env_cap, checkedCap('envCap', config.envCap, KT_ENV_CAP_MAX), true);
  view.setUint32(CONFIG.enabled_kinds, state.enabledKinds, true);
  view.setUint8(CONFIG.open_mode, OPEN_MODES[config.openMode]);
  view.setUint8(CONFIG.failed_opens, config.failedOpens ? 1 : 0);
  view.setUint8(CONFIG.unix_mode, UNIX_MODES[config.unixMode]);
  view.setUint8(CONFIG.policies, state.policies ? 1 : 0);
  view.setUint8(CONFIG.port_filter, config.ignoredPorts.length > 0 ? 1 : 0);
  if (config.ignoredPorts.length > PORTS_MAX || !config.ignoredPorts.every(isPort)) {
    throw new RangeError(`ignoredPorts: not up to ${PORTS_MAX} whole numbers from 1 to 65535`);
  }
  view.setUint32(CONFIG.raw_kinds, state.rawKinds, true);
  const { containerPerSecond, nodePerSecond, burstSeconds } = config.budgets;
  view.setBigUint64(CONFIG.container_interval_ns, intervalNs('containerPerSecond', containerPerSecond), true);
  view.setBigUint64(CONFIG.node_interval_ns, intervalNs('nodePerSecond', nodePerSecond), true);
  if (!(burstSeconds >= 0 && burstSeconds <= 3600)) {
    throw new RangeError(`burstSeconds: ${burstSeconds} is not a number of seconds from 0 to 3600`);
  }
  view.setBigUint64(CONFIG.burst_ns, BigInt(Math.round(burstSeconds * 1e9)), true);
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65535;
}

/** Nanoseconds between two events at the sustained rate. */
function intervalNs(name: string, perSecond: number): bigint {
  if (perSecond === 0) return 0n;
  if (perSecond > 0 && perSecond <= 1e9) return BigInt(Math.max(1, Math.round(1e9 / perSecond)));
  throw new RangeError(`${name}: ${perSecond} is not a number of events a second from 0 (no limit) to 10^9`);
}

function checkedCap(name: string, value: number, max: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= max) return value;
  throw new RangeError(`${name}: ${value} is not a whole number of bytes from 0 to ${max}`);
}
