import {
  KT_FILE_CHMOD,
  KT_FILE_CLOSE,
  KT_FILE_OPEN,
  KT_FILE_RENAME,
  KT_FILE_UNLINK,
  KT_PROCESS_EXEC,
  KT_PROCESS_EXIT,
  KT_PROCESS_IO_URING,
  KT_SOCKET_ACCEPT,
  KT_SOCKET_CLOSE,
  KT_SOCKET_CONNECT,
  KT_SOCKET_LISTEN,
} from './layout.gen.ts';

/** Object file of native/bpf that holds a family's programs. */
export type Family = 'process' | 'file' | 'socket';

/** How programs hook the kernel; also the record's tier (record.h, enum kt_tier). */
export type TierName = 'tracker' | 'trampoline' | 'syscall' | 'raw_syscall';

/** One way to take a kind. Entry programs stand before exit programs: attached in this order, detached in reverse. */
export interface Tier {
  readonly tier: TierName;
  /** All of them, or the tier is not available. */
  readonly required: readonly string[];
  /** Those whose hook this kernel or architecture has. */
  readonly optional?: readonly string[];
  /** Likewise, but only while failed opens are wanted. */
  readonly failedOpens?: readonly string[];
}

export interface Probe {
  readonly kind: number;
  /** Public name of the kind. */
  readonly name: string;
  readonly family: Family;
  /** In the order in which they are tried. */
  readonly tiers: readonly Tier[];
}

const enters = (...calls: string[]) => calls.map((call) => `kt_sys_enter_${call}`);
const exits = (...calls: string[]) => calls.map((call) => `kt_sys_exit_${call}`);

/** A system call with its older forms: some of them are missing on some kernels and architectures. */
const syscalls = (required: readonly string[], optional: readonly string[]): Tier => ({
  tier: 'syscall',
  required: [...enters(...required), ...exits(...required)],
  optional: [...enters(...optional), ...exits(...optional)],
});

const rawFile: Tier = { tier: 'raw_syscall', required: ['kt_file_raw_enter', 'kt_file_raw_exit'] };

/** Who owns a TCP connection and what becomes of it: shared by all kinds that tell of connections. */
const connections = ['kt_inet_sock_set_state', 'kt_tcp_destroy_sock'];
const rawSocket = ['kt_socket_raw_enter', 'kt_socket_raw_exit'];

export const PROBES: readonly Probe[] = [
  {
    kind: KT_PROCESS_EXEC,
    name: 'process.exec',
    family: 'process',
    tiers: [{ tier: 'tracker', required: ['kt_process_exec'] }],
  },
  {
    kind: KT_PROCESS_EXIT,
    name: 'process.exit',
    family: 'process',
    tiers: [{ tier: 'tracker', required: ['kt_process_exit'] }],
  },
  // tracked always, in core; no program makes events of it
  {
    kind: KT_PROCESS_IO_URING,
    name: 'process.io_uring',
    family: 'process',
    tiers: [
      syscalls(['io_uring_setup'], []),
      { tier: 'raw_syscall', required: ['kt_process_raw_enter', 'kt_process_raw_exit'] },
    ],
  },
  {
    kind: KT_FILE_OPEN,
    name: 'file.open',
    family: 'file',
    tiers: [
      // renamed in 6.19
      { tier: 'trampoline', required: ['kt_do_filp_open'], optional: ['kt_do_file_open_root'] },
      { tier: 'trampoline', required: ['kt_do_file_open'], optional: ['kt_do_file_open_root'] },
      {
        tier: 'syscall',
        required: exits('openat'),
        optional: exits('open', 'creat', 'openat2', 'open_by_handle_at'),
        failedOpens: enters('open', 'creat', 'openat', 'openat2'),
      },
      { tier: 'raw_syscall', required: ['kt_file_raw_exit'], failedOpens: ['kt_file_raw_enter'] },
    ],
  },
  {
    kind: KT_FILE_CLOSE,
    name: 'file.close',
    family: 'file',
    tiers: [
      { tier: 'syscall', required: enters('close') },
      { tier: 'raw_syscall', required: ['kt_file_raw_enter'] },
    ],
  },
  {
    kind: KT_FILE_RENAME,
    name: 'file.rename',
    family: 'file',
    tiers: [syscalls(['renameat2'], ['rename', 'renameat']), rawFile],
  },
  {
    kind: KT_SOCKET_CONNECT,
    name: 'socket.connect',
    family: 'socket',
    tiers: [
      { tier: 'syscall', required: [...connections, ...enters('connect'), ...exits('connect')] },
      { tier: 'raw_syscall', required: [...connections, ...rawSocket] },
    ],
  },
  {
    kind: KT_SOCKET_ACCEPT,
    name: 'socket.accept',
    family: 'socket',
    tiers: [
      { tier: 'syscall', required: [...connections, ...exits('accept4')], optional: exits('accept') },
      { tier: 'raw_syscall', required: [...connections, 'kt_socket_raw_exit'] },
    ],
  },
  {
    kind: KT_SOCKET_LISTEN,
    name: 'socket.listen',
    family: 'socket',
    tiers: [syscalls(['listen'], []), { tier: 'raw_syscall', required: rawSocket }],
  },
  {
    kind: KT_SOCKET_CLOSE,
    name: 'socket.close',
    family: 'socket',
    // accept(2) gives a connection its owner, whether or not it is an event itself
    tiers: [
      { tier: 'tracker', required: [...connections, ...exits('accept4')], optional: exits('accept') },
      { tier: 'tracker', required: [...connections, 'kt_socket_raw_exit'] },
    ],
  },
  { kind: KT_FILE_UNLINK, name: 'file.unlink', family: 'file', tiers: [syscalls(['unlinkat'], ['unlink']), rawFile] },
  {
    kind: KT_FILE_CHMOD,
    name: 'file.chmod',
    family: 'file',
    tiers: [syscalls(['fchmod', 'fchmodat'], ['chmod', 'fchmodat2']), rawFile],
  },
];

/** An iterator over what is there already. */
export interface Snapshot {
  readonly family: Family;
  readonly program: string;
  /** Run while one of these kinds is on; undefined: always. */
  readonly kinds?: readonly number[];
  /** Goes on from where the list ends: attached before it, for as long as the tap is open. */
  readonly follow?: string;
}

export const SNAPSHOTS: readonly Snapshot[] = [
  // every process's image is needed for the process table, whether or not an exec is an event
  { family: 'process', program: 'kt_snapshot_tasks', follow: 'kt_process_exec' },
  {
    family: 'socket',
    program: 'kt_snapshot_sockets',
    kinds: [KT_SOCKET_CONNECT, KT_SOCKET_ACCEPT, KT_SOCKET_LISTEN, KT_SOCKET_CLOSE],
  },
];
