import { constants, type Dirent } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { UNFINISHED } from './event-file.ts';

/** A file of rows as its place tells it. */
export interface FoundFile {
  readonly path: string;
  /** Full kind, and the cluster's folder name. */
  readonly kind: string;
  readonly cluster: string;
  /** `YYYY-MM-DDTHH`, UTC, of its events: sorts by time. */
  readonly hour: string;
  /** Still written, or left by a collector that was killed. */
  readonly unfinished: boolean;
}

const LEVELS = [
  /^kind=([a-z]+\.[a-z_]+)$/,
  /^cluster=([A-Za-z0-9._-]+)$/,
  /^dt=(\d{4}-\d{2}-\d{2})$/,
  /^hour=(\d{2})$/,
] as const;

/** Which folders are gone into; the values of the levels so far. */
export type Descend = (values: readonly string[]) => boolean;

async function entriesOf(folder: string): Promise<Dirent[]> {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (error) {
    // Retention, or the collector, was quicker.
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
}

/**
 * The files of rows below a collector's folder, in no order. Only folders as the collector names them are gone into, and
 * no link is followed: nothing outside of `out` is ever found. Throws errors of the disk.
 */
export async function* filesBelow(out: string, descend: Descend = () => true): AsyncGenerator<FoundFile> {
  yield* below(out, [], descend);
}

async function* below(folder: string, values: readonly string[], descend: Descend): AsyncGenerator<FoundFile> {
  const level = LEVELS[values.length];
  for (const entry of await entriesOf(folder)) {
    const path = join(folder, entry.name);
    if (level !== undefined) {
      const value = entry.isDirectory() ? level.exec(entry.name)?.[1] : undefined;
      if (value === undefined) continue;
      const next = [...values, value];
      if (descend(next)) yield* below(path, next, descend);
    } else if (entry.isFile() && /\.ndjson(\.tmp)?$/.test(entry.name)) {
      const [kind = '', cluster = '', day = '', hour = ''] = values;
      yield { path, kind, cluster, hour: `${day}T${hour}`, unfinished: entry.name.endsWith(UNFINISHED) };
    }
  }
}

const CHUNK_BYTES = 1 << 20;
/** Rows are below 1 Mi characters. */
const LINE_BYTES_MAX = 8 << 20;
const NEWLINE = 0x0a;

/**
 * The whole lines of a file, without newlines; what a writer has not finished yet is left out, and all that follows a
 * NUL (a crash of the machine leaves them where blocks were not written). A file that has got its final name meanwhile
 * is read under that; one that is gone has no lines. Throws errors of the disk, and where a line has no end.
 */
export async function* linesOf(path: string): AsyncGenerator<string> {
  const handle = await openEither(path);
  if (handle === undefined) return;
  try {
    let rest: Buffer = Buffer.alloc(0);
    for (;;) {
      const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
      const { bytesRead } = await handle.read(chunk, 0, CHUNK_BYTES, null);
      if (bytesRead === 0) return;
      let bytes = Buffer.concat([rest, chunk.subarray(0, bytesRead)]);
      const nul = bytes.indexOf(0);
      if (nul >= 0) bytes = bytes.subarray(0, nul);
      let from = 0;
      for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, from)) {
        yield bytes.toString('utf8', from, end);
        from = end + 1;
      }
      if (nul >= 0) return;
      rest = bytes.subarray(from);
      if (rest.length > LINE_BYTES_MAX) throw new Error(`${path}: a line of more than ${LINE_BYTES_MAX} bytes`);
    }
  } finally {
    await handle.close();
  }
}

async function openEither(path: string) {
  const names = path.endsWith(UNFINISHED) ? [path, path.slice(0, -UNFINISHED.length)] : [path];
  for (const name of names) {
    try {
      return await open(name, constants.O_RDONLY | constants.O_NOFOLLOW);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    }
  }
  return undefined;
}
