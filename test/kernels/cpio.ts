import { type FileHandle, open, readFile } from 'node:fs/promises';

/** One member of an archive. `path` is without a leading slash; `mode` holds type and permission bits as in stat(2). */
export interface ArchiveEntry {
  readonly path: string;
  readonly mode: number;
  /** Bytes, or the host file that holds them; absent for a directory. */
  readonly content?: Uint8Array | { readonly file: string };
}

export const DIRECTORY = 0o040755;
export const PROGRAM = 0o100755;
export const PLAIN_FILE = 0o100644;

/** Writes the archive format that the kernel unpacks as its initramfs ("newc", Documentation/driver-api/early-userspace). */
export async function writeCpio(target: string, entries: Iterable<ArchiveEntry>): Promise<void> {
  const out = await open(target, 'w');
  try {
    let inode = 1;
    for (const { path, mode, content } of entries) {
      const bytes = content instanceof Uint8Array ? content : content ? await readFile(content.file) : new Uint8Array();
      await writeMember(out, path, inode++, mode, bytes);
    }
    await writeMember(out, 'TRAILER!!!', 0, 0, new Uint8Array());
  } finally {
    await out.close();
  }
}

async function writeMember(out: FileHandle, path: string, inode: number, mode: number, bytes: Uint8Array) {
  const name = Buffer.from(`${path}\0`);
  // inode, mode, uid, gid, nlink, mtime, size, devmajor, devminor, rdevmajor, rdevminor, namesize, check
  const fields = [inode, mode, 0, 0, 1, 0, bytes.length, 0, 0, 0, 0, name.length, 0];
  const head = Buffer.from(`070701${fields.map((value) => value.toString(16).padStart(8, '0')).join('')}`);
  await out.writev([head, name, padding(head.length + name.length), bytes, padding(bytes.length)]);
}

const padding = (length: number) => new Uint8Array((4 - (length % 4)) % 4);
