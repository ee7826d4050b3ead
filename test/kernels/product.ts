import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { GuestFile } from './vm.ts';

const repository = join(import.meta.dirname, '..', '..');

/** Where the product stands in the machine. */
export const productFolder = '/kerntap';

const nativeBuild = join(repository, 'native', 'build');

/** The BPF objects and the addon, of this machine unless another build is named. Throws where they were not built. */
export function nativeFiles(build = nativeBuild): Record<string, GuestFile> {
  const names = readdirSync(build).filter((name) => name.endsWith('.bpf.o') || name.endsWith('.node'));
  if (!names.includes('kerntap.node')) throw new Error(`${build}: no kerntap.node: npm run build`);
  return Object.fromEntries(
    names.map((name) => [`${productFolder}/native/build/${name}`, { host: join(build, name) }]),
  );
}

/** A script of the guest folder, and where it stands in the machine. */
export function guestScript(name: string): { path: string; files: Record<string, GuestFile> } {
  const path = `${productFolder}/test/${name}`;
  return { path, files: { [path]: { host: join(import.meta.dirname, 'guest', name) } } };
}

/** The whole product as it is installed: dist, proto, addon, objects, and the packages that it needs at run time. */
export async function productFiles(build = nativeBuild): Promise<Record<string, GuestFile>> {
  const files: Record<string, GuestFile> = { ...nativeFiles(build) };
  const add = (path: string) => {
    files[`${productFolder}/${path}`] = { host: join(repository, path) };
  };
  for (const path of ['dist', 'proto', 'package.json']) add(path);
  for (const path of await productionPackages()) add(path);
  return files;
}

/** Folders of the locked packages that are no development dependencies. */
async function productionPackages(): Promise<string[]> {
  const lock: unknown = JSON.parse(await readFile(join(repository, 'package-lock.json'), 'utf8'));
  const packages = field(lock, 'packages');
  const wanted = new Set<string>();
  const visit = (from: string, name: string) => {
    const path = [...nestings(from)].map((base) => `${base}node_modules/${name}`).find((each) => field(packages, each));
    if (path === undefined || wanted.has(path)) return;
    wanted.add(path);
    for (const dependency of Object.keys(field(field(packages, path), 'dependencies') ?? {}))
      visit(`${path}/`, dependency);
  };
  for (const name of Object.keys(field(field(packages, ''), 'dependencies') ?? {})) visit('', name);
  return [...wanted].filter((path) => ![...wanted].some((other) => path.startsWith(`${other}/`)));
}

/** The folders in which Node looks for a package required from this one: itself, its parents, the top. */
function* nestings(from: string): Generator<string> {
  for (let base = from; base !== ''; base = base.slice(0, Math.max(0, base.lastIndexOf('node_modules/')))) yield base;
  yield '';
}

function field(value: unknown, name: string): object | undefined {
  const found: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
  return typeof found === 'object' && found !== null ? found : undefined;
}
