/** Settings as the tap and the tail take them. */

import { readFileSync } from 'node:fs';
import { matchesGlob } from '../config/glob.ts';
import type { ProbeKey, Settings } from '../config/schema.ts';
import { DEFAULT_TAP_CONFIG, type TapConfig } from '../kernel/config.ts';
import type { SensitivePrefixes } from '../kernel/prefixes.ts';
import type { Workload } from '../kubernetes/workload.ts';
import type { TailRules } from '../tail/tail.ts';
import type { ExecRules } from './exec-rewriter.ts';
import { KERNEL_KINDS, OWN_KINDS } from './kinds.ts';
import { Redaction } from './redaction.ts';

/** Kinds that are on, by number. */
export function kindsOf({ probes }: Settings): number[] {
  return [...KERNEL_KINDS].flatMap(([name, kind]) => {
    const state = Object.hasOwn(probes, name) ? probes[name as ProbeKey] : 'on';
    return state === 'off' ? [] : [kind];
  });
}

export function tapConfigOf({ probes, failedOpens, argv, env, budgets, ignoredPorts }: Settings): TapConfig {
  return {
    ...DEFAULT_TAP_CONFIG,
    argvCap: argv.capBytes,
    envCap: env.allow.length === 0 ? 0 : env.capBytes,
    openMode: probes['file.open'],
    failedOpens,
    unixMode: probes['socket.unix'],
    ignoredPorts,
    budgets: {
      containerPerSecond: budgets.containerEventsPerSecond,
      nodePerSecond: budgets.nodeEventsPerSecond,
      burstSeconds: budgets.burstSeconds,
    },
  };
}

export function sensitiveOf({ sensitivePaths, sensitiveSockets }: Settings): SensitivePrefixes {
  return { files: sensitivePaths, sockets: sensitiveSockets };
}

/** `runKey`: of the hash, where the settings name no file. Throws where that cannot be read. */
export function execRulesOf({ argv, env }: Settings, runKey: Uint8Array): ExecRules {
  const { enabled, patterns, keyFile } = argv.redact;
  const key = keyFile === undefined ? runKey : readFileSync(keyFile);
  return { redaction: enabled ? new Redaction({ patterns, key }) : undefined, allowEnv: env.allow };
}

/** Words of tail.kinds are kinds and families. */
function named(words: readonly string[], name: string): boolean {
  return words.some((word) => name === word || name.startsWith(`${word}.`));
}

export function tailRulesOf({ tail }: Settings): TailRules {
  const words = tail.enabled ? tail.kinds : [];
  const { namespaces } = tail;
  return {
    kinds: {
      numbers: new Set([...KERNEL_KINDS].filter(([name]) => named(words, name)).map(([, kind]) => kind)),
      own: new Set(OWN_KINDS.filter((name) => named(words, name))),
    },
    wanted:
      namespaces.length === 0
        ? undefined
        : ({ namespace }: Workload) => namespaces.some((pattern) => matchesGlob(namespace, pattern)),
    sensitiveFilesOnly: tail.sensitiveFilesOnly,
    eventsPerSecond: tail.eventsPerSecond,
    bytesPerSecond: tail.bytesPerSecond,
  };
}

/** Sections whose change is not taken before a restart. */
const FIXED = [
  'clusterName',
  'clusterUid',
  'nodeName',
  'node',
  'collector',
  'stream',
  'kubelet',
  'pods',
  'hold',
  'metrics',
] as const;

/** Which of them differ. */
export function needsRestart(before: Settings, after: Settings): string[] {
  return FIXED.filter((name) => JSON.stringify(before[name]) !== JSON.stringify(after[name]));
}
