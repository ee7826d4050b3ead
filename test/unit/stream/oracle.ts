// events.proto as protobufjs alone reads it, apart from the project's own decoder.

import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';
import type { Plain } from '../../expected-events.ts';

const root = protobuf.loadSync(fileURLToPath(new URL('../../../proto/kerntap/v1/events.proto', import.meta.url)));
const types = new Map<string, protobuf.Type>();

function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('latin1');
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, plain(field)]));
  }
  return value;
}

/** Decodes a message of kerntap.v1: only fields that were on the wire, 64-bit as strings, bytes as latin-1. */
export function decode(name: string, bytes: Uint8Array): Plain {
  let type = types.get(name);
  if (type === undefined) {
    type = root.lookupType(`kerntap.v1.${name}`);
    types.set(name, type);
  }
  return plain(type.toObject(type.decode(bytes), { longs: String })) as Plain;
}

export interface PlainBatch {
  runId: string;
  firstSeq: string;
  baseTimeNs: string;
  wallOffsetNs: string;
  workloads: Plain[];
  processes: Plain[];
  events: Plain[];
}

/** A Batch; what it lacks is empty. */
export function decodeBatch(bytes: Uint8Array): PlainBatch {
  const empty = { baseTimeNs: '0', wallOffsetNs: '0', workloads: [], processes: [], events: [] };
  return { ...empty, ...decode('Batch', bytes) } as unknown as PlainBatch;
}
