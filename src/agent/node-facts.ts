import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import type { NodeFacts } from '../../proto/contract.ts';
import type { AgentOptions } from './options.ts';

function firstLine(path: string): string {
  try {
    return readFileSync(path, 'utf8').split('\n', 1)[0]?.trim() ?? '';
  } catch {
    return '';
  }
}

/** Addresses that others can reach this node by: none of loopback or link scope. */
function nodeIps(): string[] {
  return Object.values(os.networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter((address) => !address.internal && !(address.family === 'IPv6' && address.address.startsWith('fe80:')))
    .map((address) => address.address);
}

/** What is fixed for this run: a new run id, and the node as it names itself. What is not readable is ''. */
export function nodeFacts(options: Pick<AgentOptions, 'clusterName' | 'nodeName' | 'procDir'>): NodeFacts {
  return {
    runId: randomBytes(16),
    bootId: firstLine(join(options.procDir, 'sys/kernel/random/boot_id')),
    clusterName: options.clusterName,
    nodeName: options.nodeName,
    hostName: os.hostname(),
    kernelRelease: os.release(),
    architecture: os.machine(),
    machineId: firstLine('/etc/machine-id'),
    nodeUid: '',
    nodeIps: nodeIps(),
  };
}
