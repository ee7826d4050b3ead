import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { programPath } from './truth-program.ts';

/** An empty folder that other users may enter. */
export function makeWorkDir(): string {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'kt-work-')));
  chmodSync(dir, 0o755);
  return dir;
}

/** Paths in it may be longer than Node can remove. */
export function removeWorkDir(dir: string): void {
  execFileSync('rm', ['-rf', dir]);
}

/** What the exec acts execute: see main() of exec.c. */
export function fillForExec(dir: string): void {
  for (const folder of ['lower', 'upper/sub', 'work', 'merged']) mkdirSync(join(dir, folder), { recursive: true });
  for (const name of ['nop', 'doomed', 'setuid', 'not-executable', 'lower/nop', 'upper/sub/nop']) {
    copyFileSync(programPath('nop'), join(dir, name));
    chmodSync(join(dir, name), 0o755);
  }
  chmodSync(join(dir, 'setuid'), 0o4755);
  chmodSync(join(dir, 'not-executable'), 0o644);
  symlinkSync('nop', join(dir, 'link'));
  writeFileSync(join(dir, 'script'), `#!${join(dir, 'nop')}  -x y \nnot read\n`, { mode: 0o755 });
  writeFileSync(join(dir, 'not-a-program'), 'junk\n', { mode: 0o755 });
}
