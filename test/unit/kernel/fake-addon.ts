import type { Handle, NativeAddon, ProgramSection } from '../../../src/kernel/native.ts';

/** An Error as the addon throws it. */
export function addonError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

/**
 * The addon without a kernel: maps are in memory, and a test says which objects and programs are refused. `log` has
 * every call that acts on a program.
 */
export class FakeAddon implements NativeAddon {
  readonly log: string[] = [];
  readonly attached = new Set<string>();
  readonly maps = new Map<string, Map<string, Uint8Array>>();
  /** Program -> error that its load meets. */
  readonly loadErrors = new Map<string, Error>();
  readonly attachErrors = new Map<string, Error>();
  /** Core object file name -> error. */
  readonly openErrors = new Map<string, Error>();
  testRunError: Error | undefined;
  sizes: Readonly<Record<string, number>> = {};
  core: ProgramSection[] = [
    { name: 'kt_identify', section: 'raw_tp' },
    { name: 'kt_fork', section: 'tp_btf/sched_process_fork' },
    { name: 'kt_exec', section: 'tp_btf/sched_process_exec' },
  ];
  closed = 0;
  readonly #loaded = new Set<string>();

  open(options: { coreObject: string; maps: Readonly<Record<string, number>> }): Handle {
    const name = options.coreObject.split('/').at(-1) ?? '';
    this.log.push(`open ${name}`);
    const error = this.openErrors.get(name);
    if (error !== undefined) throw error;
    this.sizes = options.maps;
    for (const program of this.core) this.#loaded.add(program.name);
    return {} as Handle;
  }

  close(): void {
    this.closed++;
  }

  programs(): ProgramSection[] {
    return this.core;
  }

  load(_: Handle, objectPath: string, programNames: readonly string[]): void {
    this.log.push(`load ${objectPath.split('/').at(-1)} ${programNames.join(' ')}`);
    for (const name of programNames) {
      const error = this.loadErrors.get(name);
      if (error !== undefined) throw error;
      if (this.#loaded.has(name)) throw addonError('EEXIST', name);
    }
    for (const name of programNames) this.#loaded.add(name);
  }

  attach(_: Handle, name: string): void {
    const error = this.attachErrors.get(name);
    if (error !== undefined) throw error;
    if (!this.#loaded.has(name)) throw addonError('ENOENT', `${name} is not loaded`);
    if (this.attached.has(name)) throw addonError('EALREADY', name);
    this.log.push(`attach ${name}`);
    this.attached.add(name);
  }

  detach(_: Handle, name: string): void {
    if (!this.attached.delete(name)) throw addonError('EALREADY', name);
    this.log.push(`detach ${name}`);
  }

  runIterator(_: Handle, name: string): void {
    this.log.push(`iterate ${name}`);
  }

  testRun(): void {
    if (this.testRunError !== undefined) throw this.testRunError;
    const config = new Uint8Array(64);
    config.set([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    this.#map('kt_config').set('00000000', config);
  }

  updateMap(_: Handle, name: string, key: Uint8Array, value: Uint8Array, onlyNew = false): boolean {
    const map = this.#map(name);
    if (onlyNew && map.has(Buffer.from(key).toString('hex'))) return false;
    map.set(Buffer.from(key).toString('hex'), value.slice());
    return true;
  }

  deleteMap(_: Handle, name: string, key: Uint8Array): boolean {
    return this.#map(name).delete(Buffer.from(key).toString('hex'));
  }

  lookupMap(_: Handle, name: string, key: Uint8Array): Uint8Array | null {
    return this.#map(name).get(Buffer.from(key).toString('hex'))?.slice() ?? null;
  }

  drain(): number {
    return 0;
  }

  counters(): void {}

  ringPositions(): [] {
    return [];
  }

  programInfo(): [] {
    return [];
  }

  possibleCpus(): number {
    return 3;
  }

  mountTracefs(): void {}

  lockFile(): boolean {
    return true;
  }

  config(): Buffer {
    return Buffer.from(this.#map('kt_config').get('00000000') ?? []);
  }

  #map(name: string): Map<string, Uint8Array> {
    const map = this.maps.get(name) ?? new Map<string, Uint8Array>();
    this.maps.set(name, map);
    return map;
  }
}
