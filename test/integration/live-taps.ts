/** Taps with their probes on, closed after each test of the file, and a folder for what children do under them. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, expect } from 'vitest';
import { DEFAULT_TAP_CONFIG } from '../../src/kernel/config.ts';
import { KT_FILE_OPEN } from '../../src/kernel/layout.gen.ts';
import { KernelTap } from '../../src/kernel/tap.ts';
import type { Seen } from './kernel-drain.ts';

const taps: KernelTap[] = [];
export const dir = mkdtempSync(join(tmpdir(), 'kerntap-'));

afterEach(() => {
  for (const tap of taps.splice(0)) tap.close();
});
afterAll(() => rmSync(dir, { recursive: true }));

/** Every open is an event. */
export function openTap(...kinds: number[]): KernelTap {
  const tap = KernelTap.open({ config: { ...DEFAULT_TAP_CONFIG, openMode: 'all' } });
  taps.push(tap);
  expect(tap.enable(kinds).map(({ state }) => state)).toEqual(kinds.map(() => 'on'));
  return tap;
}

/** A child that does it, in the folder: what the test's own process does is the agent's own, and not told. */
export const shell = (script: string) => spawnSync('/bin/sh', ['-c', script], { cwd: dir });

export const opensOf = (seen: readonly Seen[], path: string) =>
  seen.filter((one) => one.kind === KT_FILE_OPEN && one.path === path);
