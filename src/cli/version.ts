import { readFileSync } from 'node:fs';

/** The version in package.json: two folders above src/cli, three above dist/src/cli. 'unknown' where it is not there. */
export function version(): string {
  for (const path of ['../../package.json', '../../../package.json']) {
    try {
      const parsed: unknown = JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'));
      if (typeof parsed === 'object' && parsed !== null && 'name' in parsed && parsed.name === 'kerntap') {
        return 'version' in parsed ? String(parsed.version) : 'unknown';
      }
    } catch {
      // Not there: the other place.
    }
  }
  return 'unknown';
}
