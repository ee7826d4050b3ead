import { bytes, bytesList, type Column, column, device, orNull, outcome, path } from './column.ts';
import type { ProcessExec, ProcessExit, ProcessIoUring } from './messages.ts';

/** process.exec: a new image runs. */
export const PROCESS_EXEC: readonly Column<ProcessExec>[] = [
  ...path<ProcessExec>('process_executable_path', 'resolved, in its mount namespace', (exec) => exec.exe),
  ...bytes<ProcessExec>(
    'process_executable_asked',
    'as given to execve; /dev/fd/N[/path] for execveat',
    (exec) => exec.filename,
  ),
  ...bytesList<ProcessExec>('process_command_args', 'incl. argv[0]; cut at the cap', (exec) => exec.argv),
  column('process_args_count', 'integer', 'original count; null for existing processes', (exec) => exec.argc),
  column(
    'process_command_args_bytes',
    'integer',
    'original size, one NUL an argument included',
    (exec) => exec.argvLength,
  ),
  column('process_command_args_truncated', 'boolean', '', (exec) => exec.argvTruncated),
  column('process_command_args_unreadable', 'boolean', 'part of it could not be read', (exec) => exec.argvFault),
  ...path<ProcessExec>('process_working_directory', '', (exec) => exec.cwd),
  column('process_executable_inode', 'unsigned', "the kernel's i_ino: on overlayfs and btrfs not stat(2)'s", (exec) =>
    orNull(exec.exeInode),
  ),
  column('process_executable_device', 'string', "the kernel's s_dev, major:minor", (exec) => device(exec.exeDev)),
  column(
    'process_executable_upper_layer',
    'boolean',
    'overlayfs: written after the image was made',
    (exec) => exec.exeUpperLayer,
  ),
  column('process_executable_memfd', 'boolean', '', (exec) => exec.exeMemfd),
  column('process_executable_deleted', 'boolean', 'unlinked when it was executed', (exec) => exec.exeDeleted),
  column('process_secureexec', 'boolean', 'AT_SECURE: gained privilege', (exec) => exec.secureexec),
  column('process_capabilities_permitted', 'unsigned', 'bit set', (exec) => exec.capPermitted),
  column('process_capabilities_effective', 'unsigned', 'bit set', (exec) => exec.capEffective),
  column('process_capabilities_inheritable', 'unsigned', 'bit set', (exec) => exec.capInheritable),
  ...bytes<ProcessExec>('process_interpreter', 'of a script', (exec) => exec.interpreter),
  column('process_login_user_id', 'integer', 'audit loginuid; null where unset', (exec) => exec.loginuid),
  column('process_audit_session_id', 'integer', 'audit session; null where unset', (exec) => exec.sessionId),
  ...bytes<ProcessExec>('process_tty', '', (exec) => exec.tty),
  ...bytesList<ProcessExec>(
    'process_environment',
    'NAME=value of the names that are allowed; none by default',
    (exec) => exec.env,
  ),
];

/** process.exit: the last thread of a process ended. */
export const PROCESS_EXIT: readonly Column<ProcessExit>[] = [
  column('process_exit_code', 'integer', '0..255; null where a signal ended it', (exit) =>
    exit.signal === 0 ? exit.code : null,
  ),
  column('process_exit_signal', 'integer', 'number of the signal that ended it', (exit) => orNull(exit.signal)),
  column('process_core_dumped', 'boolean', '', (exit) => exit.coreDumped),
  column('process_duration_ns', 'integer', "since the process's start", (exit) => exit.durationNs),
];

/** process.io_uring: what follows on this ring the system-call tiers do not see. */
export const PROCESS_IO_URING: readonly Column<ProcessIoUring>[] = [
  column('io_uring_entries', 'integer', 'as asked for', (ring) => ring.entries),
  column('io_uring_flags', 'integer', 'IORING_SETUP_*', (ring) => ring.flags),
  ...outcome<ProcessIoUring>('file descriptor, or -errno'),
];
