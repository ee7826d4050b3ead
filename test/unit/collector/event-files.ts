import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { wholeRow } from '../../rows.ts';

/** Paths of the files under a collector's folder, relative to it, sorted. */
export function filesUnder(out: string): string[] {
  return readdirSync(out, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(out.length + 1))
    .sort();
}

/** Every row of the finished files. Throws where one is not whole JSON. */
export function rowsUnder(out: string, unfinished = false): Record<string, unknown>[] {
  return [...eachRowUnder(out, unfinished)];
}

/** The same, one after another: a test with many rows need not hold them all. */
export function* eachRowUnder(out: string, unfinished = false): Generator<Record<string, unknown>> {
  for (const path of filesUnder(out)) {
    if (!path.endsWith('.ndjson') && !unfinished) continue;
    const text = readFileSync(join(out, path), 'utf8');
    if (!text.endsWith('\n')) throw new Error(`${path} does not end in a newline`);
    for (const line of text.slice(0, -1).split('\n')) yield wholeRow(JSON.parse(line) as Record<string, unknown>);
  }
}
