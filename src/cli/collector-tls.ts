/** What the collector's flags say about TLS, and who may publish. */
import { ClientPattern } from '../collector/client-names.ts';
import type { TlsPaths } from '../tls/material.ts';
import { type FlagValues, integer, text, UsageError } from './flags.ts';

export interface ClientRules {
  readonly allowClients: readonly string[];
  readonly clientStreams: number;
  readonly clientBytes: number;
  readonly clientEvents: number;
}

/** A batch is at most 64 KiB and some thousand events: a smaller quota would keep it unread beyond the agent's patience. */
const CLIENT_BYTES_MIN = 64 << 10;
const CLIENT_EVENTS_MIN = 1_000;

/** Undefined: plain connections. Throws UsageError for files that need each other. */
export function serverFiles(values: FlagValues): TlsPaths | undefined {
  const named = (flag: string) => {
    const path = text(values, flag);
    return path === undefined ? undefined : { path, setting: `--${flag}` };
  };
  const [cert, key, ca] = [named('tls-cert'), named('tls-key'), named('tls-client-ca')];
  if ((cert === undefined) !== (key === undefined)) {
    throw new UsageError(
      `--tls-${cert === undefined ? 'key' : 'cert'} needs --tls-${cert === undefined ? 'cert' : 'key'}`,
    );
  }
  if (cert === undefined && ca !== undefined) throw new UsageError('--tls-client-ca needs --tls-cert and --tls-key');
  return cert === undefined ? undefined : { cert, key, ca };
}

/** Throws UsageError. */
export function clientRules(values: FlagValues): ClientRules {
  const names = text(values, 'allow-client');
  if (names !== undefined && values['tls-client-ca'] === undefined) {
    throw new UsageError('--allow-client needs --tls-client-ca: a name that no certificate proves is worth nothing');
  }
  const allowClients = names?.split(',').map((name) => name.trim()) ?? [];
  for (const name of allowClients) {
    try {
      new ClientPattern(name);
    } catch {
      throw new UsageError(`--allow-client: '${name}' is not a name with {node} once at most`);
    }
  }
  return {
    allowClients,
    clientStreams: integer(values, 'client-streams', { min: 1, max: 10_000 }) ?? 8,
    clientBytes: quota(values, 'client-bytes', CLIENT_BYTES_MIN, true) ?? 16 << 20,
    clientEvents: quota(values, 'client-events', CLIENT_EVENTS_MIN, false) ?? 0,
  };
}

function quota(values: FlagValues, name: string, min: number, bytes: boolean): number | undefined {
  const value = integer(values, name, { min: 0, max: 2 ** 40, bytes });
  if (value !== undefined && value !== 0 && value < min) throw new UsageError(`--${name}: 0, or at least ${min}`);
  return value;
}
