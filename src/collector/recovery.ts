import { type FileHandle, open, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncFolder } from './durable-folder.ts';
import { freePath, UNFINISHED } from './event-file.ts';
import { filesBelow } from './found-files.ts';

const CHUNK = 1 << 20;
const NEWLINE = 0x0a;

/** What a start found of an earlier run. */
export interface Recovered {
  readonly files: number;
  readonly bytes: number;
  /** Bytes of torn last lines: never acknowledged. */
  readonly cutBytes: number;
}

// End of the last whole line. A crash of the machine may leave NULs where blocks were not written; JSON has none, so
// the first ends what can be trusted.
async function wholeLines(handle: FileHandle): Promise<number> {
  const chunk = Buffer.allocUnsafe(CHUNK);
  let whole = 0;
  for (let position = 0; ; ) {
    const { bytesRead } = await handle.read(chunk, 0, CHUNK, position);
    if (bytesRead === 0) return whole;
    const read = chunk.subarray(0, bytesRead);
    const nul = read.indexOf(0);
    const trusted = nul < 0 ? read : read.subarray(0, nul);
    const newline = trusted.lastIndexOf(NEWLINE);
    if (newline >= 0) whole = position + newline + 1;
    if (nul >= 0) return whole;
    position += bytesRead;
  }
}

async function finish(path: string): Promise<{ bytes: number; cut: number }> {
  const handle = await open(path, 'r+');
  let bytes: number;
  let cut: number;
  try {
    bytes = await wholeLines(handle);
    cut = (await handle.stat()).size - bytes;
    if (cut > 0) await handle.truncate(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
  if (bytes === 0) await unlink(path);
  else await rename(path, await freePath(path.slice(0, -`.ndjson${UNFINISHED}`.length), true));
  await syncFolder(dirname(path));
  return { bytes, cut };
}

/** Cuts every unfinished file under `out` to its last whole line and gives it its name. Throws errors of the disk. */
export async function recover(out: string): Promise<Recovered> {
  let files = 0;
  let bytes = 0;
  let cutBytes = 0;
  for await (const { path, unfinished } of filesBelow(out)) {
    if (!unfinished) continue;
    const result = await finish(path);
    files += 1;
    bytes += result.bytes;
    cutBytes += result.cut;
  }
  return { files, bytes, cutBytes };
}
