import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

declare const handleBrand: unique symbol;

/** An open tap inside the addon. */
export interface Handle {
  readonly [handleBrand]: true;
}

/** A BPF program as its object file names it; `section` tells what it attaches to. */
export interface ProgramSection {
  readonly name: string;
  readonly section: string;
}

export interface ProgramInfo {
  readonly name: string;
  readonly attached: boolean;
  /** Runs and time in them; 0 unless sysctl kernel.bpf_stats_enabled is set. */
  readonly runCount: bigint;
  readonly runTimeNs: bigint;
  /** Times the kernel skipped the program because it was running already on that CPU; null: the kernel does not tell. */
  readonly recursionMisses: bigint | null;
}

/** Positions are bytes since the ring was made. */
export interface RingPosition {
  readonly name: 'control' | 'process' | 'events';
  readonly consumer: bigint;
  readonly producer: bigint;
  readonly size: number;
  /** Records that the drain skipped: impossible length, or longer than its buffer. */
  readonly badRecords: number;
}

/**
 * What kerntap.node exports (native/addon). Synchronous. Failures throw an Error whose `code` is an errno name or
 * LIBBPF<number>, with the end of libbpf's and the verifier's text in the message; wrong argument types a TypeError;
 * any use of a closed handle the Error "closed".
 */
export interface NativeAddon {
  /** Loads the core object; `maps` overrides max_entries by map name (rings: bytes, rounded up to a power of two). */
  open(options: { readonly coreObject: string; readonly maps: Readonly<Record<string, number>> }): Handle;
  close(handle: Handle): void;
  /** The programs of an object file; nothing is loaded. */
  programs(objectPath: string): ProgramSection[];
  /** Loads these programs of the object, and no others, on the maps that are there by name. EEXIST: one is loaded. */
  load(handle: Handle, objectPath: string, programNames: readonly string[]): void;
  /** Attaches as the section says. EALREADY, ENOENT (not loaded, or no such tracepoint). */
  attach(handle: Handle, programName: string): void;
  detach(handle: Handle, programName: string): void;
  /** Runs an iterator over everything there is; its records are in the rings when this returns. */
  runIterator(handle: Handle, programName: string): void;
  /** Runs a raw_tp program once in the context of this thread. */
  testRun(handle: Handle, programName: string): void;
  /** False: `onlyNew` and the key is there. */
  updateMap(handle: Handle, mapName: string, key: Uint8Array, value: Uint8Array, onlyNew?: boolean): boolean;
  /** False: the key was not there. */
  deleteMap(handle: Handle, mapName: string, key: Uint8Array): boolean;
  lookupMap(handle: Handle, mapName: string, key: Uint8Array): Uint8Array | null;
  /** See EventSource.drain; at least 128 bytes. */
  drain(handle: Handle, into: Uint8Array): number;
  counters(handle: Handle, into: BigUint64Array): void;
  ringPositions(handle: Handle): RingPosition[];
  programInfo(handle: Handle): ProgramInfo[];
  possibleCpus(): number;
  mountTracefs(path: string): void;
  /** flock(2) on an open file, exclusive and without waiting; false: another one has it. */
  lockFile(fd: number): boolean;
}

/** Where the addon and the BPF objects are built: native/build of the package that this file is in. */
export function nativeBuildDir(): string {
  let dir = import.meta.dirname;
  // src/kernel of a checkout, or dist/src/kernel of a build
  while (!existsSync(join(dir, 'native')) && dirname(dir) !== dir) dir = dirname(dir);
  return join(dir, 'native', 'build');
}

/** Loads kerntap.node. Throws where it was not built, or not for this platform. */
export function loadAddon(path: string = join(nativeBuildDir(), 'kerntap.node')): NativeAddon {
  if (!existsSync(path)) throw new Error(`the native addon is not built: ${path} is missing; run: npm run build`);
  try {
    return createRequire(import.meta.url)(path) as NativeAddon;
  } catch (cause) {
    const hint = /libbpf/.test(String(cause)) ? '; install Debian package libbpf1' : '';
    throw new Error(`the native addon does not load: ${(cause as Error).message}${hint}`, { cause });
  }
}
