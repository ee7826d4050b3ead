import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { wholeRow } from '../rows.ts';
import type { Cluster, KubeObject } from './cluster.ts';

/** Where the collector of a test keeps its files. */
export const EVENTS_DIR = '/var/lib/kerntap/events';

/** One line of the collector's files or of the tail: the columns of docs/events.md. */
export type Row = Readonly<Record<string, unknown>>;

/** Name of the product's image, which the cluster has already (CLUSTER_IMAGE). Throws where none is named. */
export function productImage(): string {
  const image = process.env['CLUSTER_IMAGE'];
  if (!image) throw new Error('set CLUSTER_IMAGE to the name of the built image that the nodes have (docker.io/...)');
  return image;
}

/** A running kerntap: where its parts are. */
export interface Product {
  readonly cluster: Cluster;
  readonly namespace: string;
  /** Service account of the agent. */
  readonly account: string;
  /** As kubectl names it: ds/NAME. */
  readonly agent: string;
  /** As kubectl names it: sts/NAME. */
  readonly collector: string;
}

// There is no shell in the image: Node itself prints the lines of some kinds that hold all of some texts. Line by line,
// for it shares the container's memory.
const READER = `
const { createReadStream, readdirSync } = require('node:fs');
const { createInterface } = require('node:readline');
const [dir, kinds, ...needles] = process.argv.slice(1);
const wanted = new Set(kinds.split(','));
(async () => {
  for (const { name, parentPath } of readdirSync(dir, { recursive: true, withFileTypes: true }).filter((e) => e.isFile())) {
    if (!wanted.has(/kind=([^/]+)/.exec(parentPath + '/')?.[1])) continue;
    for await (const line of createInterface({ input: createReadStream(parentPath + '/' + name) }))
      // What does not end as a row does is being written.
      if (needles.every((needle) => line.includes(needle)) && line.endsWith('}')) console.log(line);
  }
})().catch((error) => {
  // A file that was finished meanwhile has another name: it is read next time.
  if (error.code !== 'ENOENT') throw error;
  process.exitCode = 3;
});`;

/** Rows of the collector's files, of these kinds and with all of these texts in them. */
export async function collected(product: Product, kinds: readonly string[], ...needles: string[]): Promise<Row[]> {
  const { cluster, namespace, collector } = product;
  const command = ['node', '-e', READER, EVENTS_DIR, kinds.join(','), ...needles];
  return rowsOf(await cluster.kubectl('exec', '-n', namespace, collector, '-c', 'collector', '--', ...command));
}

/** Lines that the agent has printed, as kubectl shows them: events, and its own log, which has no `event_id`. */
export async function logged(product: Product): Promise<{ readonly events: Row[]; readonly log: Row[] }> {
  const { cluster, namespace, agent } = product;
  const rows = rowsOf(await cluster.kubectl('logs', '-n', namespace, agent, '-c', 'agent', '--tail=-1'));
  return {
    events: rows.filter((row) => row['event_id'] !== undefined),
    log: rows.filter((row) => row['event_id'] === undefined),
  };
}

/** The first lines of `kerntap tail` in an agent's pod. Rejects where it ends, or is silent for a minute. */
export async function tailed({ namespace, agent }: Product, count: number, ...flags: string[]): Promise<Row[]> {
  const command = ['exec', '-n', namespace, agent, '-c', 'agent', '--', 'kerntap', 'tail', '--json', ...flags];
  const tail = spawn('kubectl', command, { stdio: ['ignore', 'pipe', 'inherit'], timeout: 60_000 });
  const rows: Row[] = [];
  try {
    for await (const line of createInterface({ input: tail.stdout })) {
      rows.push(wholeRow(JSON.parse(line)));
      if (rows.length === count) return rows;
    }
    throw new Error(`kerntap tail ended after ${rows.length} lines`);
  } finally {
    tail.kill();
  }
}

function rowsOf(text: string): Row[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => wholeRow(JSON.parse(line)));
}

/** The pods of a controller, `ds/NAME` or `sts/NAME`. */
export async function podsOf({ cluster, namespace }: Product, controller: string): Promise<KubeObject[]> {
  const kind = controller.startsWith('ds/') ? 'DaemonSet' : 'StatefulSet';
  const name = controller.slice(controller.indexOf('/') + 1);
  const list = JSON.parse(await cluster.kubectl('get', 'pods', '-n', namespace, '-o', 'json'));
  return list.items.filter(({ metadata }: KubeObject) =>
    metadata.ownerReferences?.some((owner: KubeObject) => owner.kind === kind && owner.name === name),
  );
}
