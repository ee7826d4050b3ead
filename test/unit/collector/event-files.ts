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
  return filesUnder(out)
    .filter((path) => path.endsWith('.ndjson') || unfinished)
    .flatMap((path) => {
      const text = readFileSync(join(out, path), 'utf8');
      if (!text.endsWith('\n')) throw new Error(`${path} does not end in a newline`);
      return text
        .slice(0, -1)
        .split('\n')
        .map((line) => wholeRow(JSON.parse(line) as Record<string, unknown>));
    });
}
