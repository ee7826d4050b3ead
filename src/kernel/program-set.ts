import { join } from 'node:path';
import type { Handle, NativeAddon } from './native.ts';
import type { Family } from './probes.ts';

/**
 * `fast` objects need kernel >= 6.2, `legacy` ones 5.10. All objects of a tap are of one variant: they claim record
 * slots by different means, which do not see each other.
 */
export type Variant = 'fast' | 'legacy';

export function objectPath(dir: string, name: Family | 'core', variant: Variant): string {
  return join(dir, variant === 'fast' ? `${name}.bpf.o` : `${name}.legacy.bpf.o`);
}

/**
 * The programs of a tap's family objects. Several kinds may need the same program: it is loaded once, attached with
 * the first of them and detached with the last.
 */
export class ProgramSet {
  readonly #addon: NativeAddon;
  readonly #handle: Handle;
  readonly #dir: string;
  readonly #variant: Variant;
  readonly #loaded = new Set<string>();
  readonly #users = new Map<string, number>();

  constructor(addon: NativeAddon, handle: Handle, dir: string, variant: Variant) {
    this.#addon = addon;
    this.#handle = handle;
    this.#dir = dir;
    this.#variant = variant;
  }

  /** Loads those that are not loaded yet, all or none. One call costs a parse of the kernel's BTF: 15 ms and more. */
  load(family: Family, names: readonly string[]): void {
    const missing = [...new Set(names)].filter((name) => !this.#loaded.has(name));
    if (missing.length === 0) return;
    this.#addon.load(this.#handle, objectPath(this.#dir, family, this.#variant), missing);
    for (const name of missing) this.#loaded.add(name);
  }

  isLoaded(name: string): boolean {
    return this.#loaded.has(name);
  }

  attach(name: string): void {
    const users = this.#users.get(name) ?? 0;
    if (users === 0) this.#addon.attach(this.#handle, name);
    this.#users.set(name, users + 1);
  }

  detach(name: string): void {
    const users = this.#users.get(name) ?? 0;
    if (users === 0) return;
    this.#users.set(name, users - 1);
    if (users === 1) this.#addon.detach(this.#handle, name);
  }
}
