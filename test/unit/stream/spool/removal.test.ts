import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { removeSpool } from '../../../../src/stream/spool/removal.ts';
import { segmentName } from '../../../../src/stream/spool/segment.ts';
import { RUN_A, RUN_B } from './stored.ts';

let base: string;
let dir: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'kerntap-removal-'));
  dir = join(base, 'spool');
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

function left(): void {
  mkdirSync(dir);
  writeFileSync(join(dir, 'lock'), '');
  writeFileSync(join(dir, segmentName(1, RUN_A)), 'x'.repeat(100));
  writeFileSync(join(dir, segmentName(2, RUN_B)), 'x'.repeat(20));
  writeFileSync(join(dir, `${RUN_B}.checkpoint`), '');
}

const free = () => true;

describe('a spool that is removed', () => {
  it('is gone with all that agents wrote, and the folder', async () => {
    left();
    expect(await removeSpool(dir, free, 0)).toEqual({ segments: 2, bytes: 120 });
    expect(readdirSync(base)).toEqual([]);
  });

  it('may never have been there', async () => {
    expect(await removeSpool(dir, free, 0)).toBeUndefined();
    expect(readdirSync(base)).toEqual([]);
  });

  it('stays whole where there is something else, and that folder is not touched', async () => {
    left();
    rmSync(join(dir, 'lock'));
    writeFileSync(join(dir, 'passwd'), '');
    const before = readdirSync(dir);
    await expect(removeSpool(dir, free, 0)).rejects.toThrow(/also passwd, which no agent wrote/);
    expect(readdirSync(dir)).toEqual(before);
  });

  it('is waited for while an agent has it, and stays where the agent does', async () => {
    left();
    let tries = 0;
    await expect(removeSpool(dir, () => ++tries > 100, 300)).rejects.toThrow(/another agent uses/);
    expect(tries).toBeGreaterThan(1);
    expect(existsSync(join(dir, segmentName(1, RUN_A)))).toBe(true);
    tries = 0;
    expect(await removeSpool(dir, () => ++tries > 2, 10_000)).toMatchObject({ segments: 2 });
    expect(tries).toBe(3);
  });
});
