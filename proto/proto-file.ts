import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** A .proto of this folder. It lies beside this file in the source tree; from dist/proto it is two folders up. */
export function protoFile(name: string): string {
  for (const candidate of [`./${name}`, `../../proto/${name}`]) {
    const path = fileURLToPath(new URL(candidate, import.meta.url));
    if (existsSync(path)) return path;
  }
  throw new Error(`proto/${name} is missing beside ${fileURLToPath(import.meta.url)}`);
}
