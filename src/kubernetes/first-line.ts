import { readFileSync } from 'node:fs';

/** The first line of a small file, trimmed; '' where there is none to read. */
export function firstLine(file: string | undefined): string {
  if (file === undefined) return '';
  try {
    return (readFileSync(file, 'utf8').split('\n')[0] ?? '').trim();
  } catch {
    return '';
  }
}
