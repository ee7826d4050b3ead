import { bytes, type Column, column, device, orNull, outcome, path, pathSource } from './column.ts';
import type { FileChmod, FileClose, FileOpen, FileRename, FileUnlink, Path } from './messages.ts';

const S_IFMT = 0o170000;
const TYPES = new Map([
  [0o010000, 'fifo'],
  [0o020000, 'character_device'],
  [0o040000, 'directory'],
  [0o060000, 'block_device'],
  [0o100000, 'regular'],
  [0o120000, 'symbolic_link'],
  [0o140000, 'socket'],
]);
const ACCESS = ['read', 'write', 'read_write', 'none'];

function permissions(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0');
}

function pathColumns<Source extends { readonly path: Path | null }>(doc: string): Column<Source>[] {
  return path<Source>('file_path', doc, (file) => file.path);
}

function inodeColumns<Source extends { readonly dev: number; readonly inode: bigint }>(): Column<Source>[] {
  return [
    column('file_inode', 'unsigned', "the kernel's i_ino: on overlayfs and btrfs not stat(2)'s", (file) =>
      orNull(file.inode),
    ),
    column('file_device', 'string', "the kernel's s_dev, major:minor", (file) => device(file.dev)),
  ];
}

// i_mode always has type bits, so 0 is: not read.
function modeColumns<Source extends { readonly mode: number }>(): Column<Source>[] {
  return [
    column('file_mode', 'string', 'permission bits in octal, four digits', (file) =>
      file.mode === 0 ? null : permissions(file.mode),
    ),
    column('file_type', 'string', [...TYPES.values()].join(', '), (file) => TYPES.get(file.mode & S_IFMT) ?? null),
  ];
}

function sensitive<Source extends { readonly sensitive: boolean }>(): Column<Source> {
  return column('file_sensitive', 'boolean', 'under a sensitive prefix', (file) => file.sensitive);
}

const RESULT = '0, or -errno';

/** file.open: after the act. */
export const FILE_OPEN: readonly Column<FileOpen>[] = [
  ...pathColumns<FileOpen>('resolved; of a failed open the name asked for'),
  ...bytes<FileOpen>('file_path_asked', 'as passed, where it was read and differs', (open) => open.asked),
  column('file_path_asked_source', 'string', 'as file_path_source', (open) => pathSource(open.askedSource)),
  // O_ACCMODE is 3 on every architecture; 3 itself opens for ioctl only.
  column('file_access', 'string', ACCESS.join(', '), (open) => ACCESS[open.openFlags & 3] ?? null),
  column('file_open_flags', 'integer', "O_*, numbers of the node's architecture", (open) => open.openFlags),
  ...modeColumns<FileOpen>(),
  ...inodeColumns<FileOpen>(),
  column('file_created', 'boolean', 'this open made it', (open) => open.created),
  sensitive<FileOpen>(),
  ...outcome<FileOpen>(RESULT),
];

/** file.close: of a file that was open for writing. */
export const FILE_CLOSE: readonly Column<FileClose>[] = [
  ...pathColumns<FileClose>('at the close'),
  ...modeColumns<FileClose>(),
  ...inodeColumns<FileClose>(),
  column('file_size', 'integer', 'bytes', (close) => close.size),
  column(
    'file_modified',
    'boolean',
    'size or change time moved while it was open; null where it was opened before the agent',
    (close) => close.modified,
  ),
  sensitive<FileClose>(),
];

/** file.rename. */
export const FILE_RENAME: readonly Column<FileRename>[] = [
  ...pathColumns<FileRename>('old'),
  ...path<FileRename>('file_new_path', 'new', (rename) => rename.newPath),
  column('file_rename_flags', 'integer', 'RENAME_*', (rename) => rename.flags),
  sensitive<FileRename>(),
  ...outcome<FileRename>(RESULT),
];

/** file.unlink. */
export const FILE_UNLINK: readonly Column<FileUnlink>[] = [
  ...pathColumns<FileUnlink>(''),
  sensitive<FileUnlink>(),
  ...outcome<FileUnlink>(RESULT),
];

/** file.chmod. */
export const FILE_CHMOD: readonly Column<FileChmod>[] = [
  ...pathColumns<FileChmod>(''),
  column('file_mode', 'string', 'permission bits asked for, in octal, four digits', (chmod) => permissions(chmod.mode)),
  ...inodeColumns<FileChmod>(),
  sensitive<FileChmod>(),
  ...outcome<FileChmod>(RESULT),
];
