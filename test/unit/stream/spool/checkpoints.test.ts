import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Checkpoints } from '../../../../src/stream/spool/checkpoints.ts';
import { RUN_A, RUN_B } from './stored.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'kerntap-checkpoint-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

async function opened(run: string): Promise<Checkpoints> {
  const checkpoints = new Checkpoints(run);
  await checkpoints.open(dir);
  return checkpoints;
}

/** Run A writes 1 to `last`. */
async function written(last: number): Promise<string> {
  const first = await opened(RUN_A);
  for (let value = 1; value <= last; value++) {
    first.write({ value });
    await first.flush(1000);
  }
  return join(dir, `${RUN_A}.checkpoint`);
}

describe('checkpoints', () => {
  it('are read by the next run as they were last written', async () => {
    await written(5);
    const next = await opened(RUN_B);
    expect(next.earlier).toEqual([{ run: RUN_A, value: { value: 5 } }]);
  });

  it('keep to the newest where they are asked for more than the disk does', async () => {
    const first = await opened(RUN_A);
    for (let value = 1; value <= 1000; value++) first.write({ value });
    await first.flush(1000);
    const next = await opened(RUN_B);
    expect(next.earlier).toEqual([{ run: RUN_A, value: { value: 1000 } }]);
    expect(readFileSync(join(dir, `${RUN_A}.checkpoint`)).length).toBeLessThanOrEqual(32 * 1024);
  });

  it('give the one before where the last was cut or spoilt, and never anything else', async () => {
    const path = await written(6);
    const whole = readFileSync(path);
    // Value 6 is in slot 0, value 5 in slot 1.
    for (let at = 0; at < 40; at++) {
      const bytes = Buffer.from(whole);
      bytes[at] = (bytes[at] ?? 0) ^ 0xff;
      writeFileSync(path, bytes);
      expect((await opened(RUN_B)).earlier[0]?.value, `flip at ${at}`).toEqual({ value: at < 31 ? 5 : 6 });
    }
    for (const end of [0, 10, 16_383, 16_384, 16_400]) {
      writeFileSync(path, whole.subarray(0, end));
      const [found] = (await opened(RUN_B)).earlier;
      expect(found?.value, `cut at ${end}`).toEqual(end < 16_383 ? undefined : { value: 6 });
    }
  });

  it('are forgotten one by one', async () => {
    await written(1);
    const next = await opened(RUN_B);
    await next.forget(RUN_A);
    expect(readdirSync(dir)).toEqual([`${RUN_B}.checkpoint`]);
  });

  it('are of no use where nothing was written: a run that was killed at once', async () => {
    await opened(RUN_A);
    const next = await opened(RUN_B);
    expect(next.earlier).toEqual([]);
    expect(readdirSync(dir)).toEqual([`${RUN_B}.checkpoint`]);
  });
});
