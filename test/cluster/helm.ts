import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Cluster, KubeObject } from './cluster.ts';
import { type Product, productImage } from './product.ts';

const run = promisify(execFile);

/** The chart under test. */
export const CHART = join(import.meta.dirname, '../../helm/kerntap');
/** Release of the tests: objects are called as in the manual. */
export const RELEASE = 'kerntap';

/** Output of helm. Rejects with its error text. */
export async function helm(...args: string[]): Promise<string> {
  const { stdout } = await run('helm', args, { encoding: 'utf8', timeout: 400_000, maxBuffer: 64 << 20 });
  return stdout;
}

/** Values that name the image which the nodes have. */
export function imageValues(): string[] {
  const [, repository = '', tag = 'latest'] = /^(.*?)(?::([^:/]+))?$/.exec(productImage()) ?? [];
  return ['--set', `image.repository=${repository},image.tag=${tag}`];
}

/** A values file, for `-f`. */
export function valuesFile(cluster: Cluster, values: KubeObject): string[] {
  const file = join(cluster.dir, `values-${Math.random().toString(36).slice(2)}.json`);
  writeFileSync(file, JSON.stringify(values));
  return ['-f', file];
}

/** helm install into a namespace, with the chart's defaults but for the image and `values`; returns when all is ready. */
export async function install(cluster: Cluster, namespace: string, values: KubeObject = {}): Promise<Product> {
  const chosen = [...imageValues(), ...valuesFile(cluster, values)];
  await helm('install', RELEASE, CHART, '-n', namespace, '--wait', '--timeout', '5m', ...chosen);
  return { cluster, namespace, account: RELEASE, agent: `ds/${RELEASE}`, collector: `sts/${RELEASE}-collector` };
}

/** helm upgrade of such an install, its values kept but for those in `more`; returns when all is ready. */
export function upgrade(namespace: string, ...more: string[]): Promise<string> {
  const kept = ['--reset-then-reuse-values', ...imageValues()];
  return helm('upgrade', RELEASE, CHART, '-n', namespace, '--wait', '--timeout', '5m', ...kept, ...more);
}

/** `kubectl edit configmap`: the whole object goes through an editor, here a copy. */
export async function editConfig({ cluster, namespace }: Product, text: string): Promise<void> {
  const object = await cluster.get('configmap', RELEASE, namespace);
  const file = join(cluster.dir, 'edited.json');
  writeFileSync(file, JSON.stringify({ ...object, data: { 'kerntap.yaml': text } }));
  const env = { ...process.env, KUBE_EDITOR: `cp ${file}` };
  await run('kubectl', ['edit', 'configmap', RELEASE, '-n', namespace], { env, timeout: 60_000 });
}

/** Makes the kubelet write the volumes of these pods now, rather than within two minutes: any change of a pod does. */
export async function hasten({ cluster, namespace }: Product, pods: readonly KubeObject[]): Promise<void> {
  for (const { metadata } of pods) {
    const mark = `kerntap.dev/hastened=${Date.now()}`;
    await cluster.kubectl('annotate', 'pod', metadata.name, '-n', namespace, '--overwrite', mark);
  }
}

/** Ids of the BPF programs and maps that a container's processes hold, by /proc of this machine. */
export function heldByContainer(containerId: string): { readonly programs: number[]; readonly maps: number[] } {
  const held = { prog_id: new Set<number>(), map_id: new Set<number>() };
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (!readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(containerId)) continue;
      for (const fd of readdirSync(`/proc/${pid}/fdinfo`)) {
        const info = readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8');
        for (const [, key, id] of info.matchAll(/^(prog_id|map_id):\t(\d+)$/gm)) {
          held[key as keyof typeof held].add(Number(id));
        }
      }
    } catch {
      // It ended meanwhile.
    }
  }
  return { programs: [...held.prog_id], maps: [...held.map_id] };
}

/** Those of these ids that are in the kernel now, by bpftool. */
export async function inKernel(what: 'prog' | 'map', ids: readonly number[]): Promise<number[]> {
  const { stdout } = await run('bpftool', [what, 'show', '--json'], { encoding: 'utf8', maxBuffer: 64 << 20 });
  const present = new Set((JSON.parse(stdout) as KubeObject[]).map(({ id }) => id));
  return ids.filter((id) => present.has(id));
}
