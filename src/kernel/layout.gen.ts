// Printed by native/layout.c from native/record.h; not edited by hand. Byte offsets and values.

export const KT_RECORD_VERSION = 1;
export const KT_RECORD_MAX = 65536;
export const KT_CGROUP_PATH_MAX = 1024;
export const KT_PATH_MAX = 4096;
export const KT_ARGV_CAP_MAX = 16384;
export const KT_ENV_CAP_MAX = 4096;
export const KT_PROCESS_BLOCK_OFFSET = 24;
export const KT_PREFIX_NAME = 32;
export const KT_KIND_COUNT = 32;
export const KT_REASON_COUNT = 16;
export const KT_PROCESS_EXEC = 1;
export const KT_PROCESS_EXIT = 2;
export const KT_PROCESS_FORK = 3;
export const KT_PROCESS_IO_URING = 4;
export const KT_FILE_OPEN = 10;
export const KT_FILE_CLOSE = 11;
export const KT_FILE_RENAME = 12;
export const KT_FILE_UNLINK = 13;
export const KT_FILE_CHMOD = 14;
export const KT_SOCKET_CONNECT = 20;
export const KT_SOCKET_ACCEPT = 21;
export const KT_SOCKET_LISTEN = 22;
export const KT_SOCKET_CLOSE = 23;
export const KT_CGROUP_MKDIR = 64;
export const KT_CGROUP_RMDIR = 65;
export const KT_PROCESS_IMAGE = 66;
export const KT_TIER_TRACKER = 0;
export const KT_TIER_TRAMPOLINE = 1;
export const KT_TIER_SYSCALL = 2;
export const KT_TIER_RAW_SYSCALL = 3;
export const KT_TIER_ITERATOR = 4;
export const KT_ACTOR_CURRENT = 0;
export const KT_ACTOR_OWNER = 1;
export const KT_ACTOR_CGROUP_ONLY = 2;
export const KT_ENTRY_UNKNOWN = 0;
export const KT_ENTRY_INIT = 1;
export const KT_ENTRY_EXEC = 2;
export const KT_ENTRY_HOST = 3;
export const KT_PATH_TRUNCATED = 1;
export const KT_PATH_DELETED = 2;
export const KT_PATH_UNREACHABLE = 4;
export const KT_PATH_CHROOTED = 8;
export const KT_PATH_PSEUDO = 16;
export const KT_PATH_FAULT = 32;
export const KT_PATH_NONE = 0;
export const KT_PATH_KERNEL_FILE = 1;
export const KT_PATH_KERNEL_NAME = 2;
export const KT_PATH_USER_ENTER = 3;
export const KT_PATH_USER_EXIT = 4;
export const KT_EXEC_UPPER_LAYER = 1;
export const KT_EXEC_MEMFD = 2;
export const KT_EXEC_DELETED = 4;
export const KT_EXEC_SECURE = 8;
export const KT_EXEC_ARGV_FAULT = 16;
export const KT_EXEC_ENV_FAULT = 32;
export const KT_FILE_CREATED = 1;
export const KT_FILE_MODIFIED = 2;
export const KT_FILE_MODIFIED_KNOWN = 4;
export const KT_FILE_SENSITIVE = 8;
export const KT_FILE_INODE_KNOWN = 16;
export const KT_ENDED_UNKNOWN = 0;
export const KT_ENDED_LOCAL = 1;
export const KT_ENDED_REMOTE = 2;
export const KT_ENDED_LOCAL_RESET = 3;
export const KT_ENDED_REMOTE_RESET = 4;
export const KT_ENDED_TIMEOUT = 5;
export const KT_SOCK_LOCAL = 1;
export const KT_SOCK_REMOTE = 2;
export const KT_SOCK_ASKED = 4;
export const KT_SOCK_COUNTERS = 8;
export const KT_SOCK_UNIX_ABSTRACT = 16;
export const KT_SEEN = 0;
export const KT_EMITTED = 1;
export const KT_FILTERED = 2;
export const KT_SAMPLED = 3;
export const KT_SELF = 4;
export const KT_LOST_RING_FULL = 5;
export const KT_LOST_BUDGET = 6;
export const KT_LOST_NO_SLOT = 7;
export const KT_LOST_UNPAIRED = 8;
export const KT_LOST_STATE_FULL = 9;
export const KT_LOST_TOO_BIG = 10;
export const KT_NOTE_USER_FAULT = 11;
export const KT_NOTE_STATE_FULL = 12;
export const KT_OPEN_OFF = 0;
export const KT_OPEN_WRITES = 1;
export const KT_OPEN_SENSITIVE = 2;
export const KT_OPEN_ALL = 3;
export const KT_UNIX_OFF = 0;
export const KT_UNIX_SENSITIVE = 1;
export const KT_UNIX_ALL = 2;
export const KT_PREFIX_FILE = 1;
export const KT_PREFIX_UNIX = 2;
export const KT_PREFIX_WILDCARD = 4;
export const KT_CGROUP_CONTAINER = 1;
export const KT_CGROUP_FRESH = 2;

export const HEAD = {
  len: 0,
  version: 4,
  kind: 5,
  tier: 6,
  actor: 7,
  ktime: 8,
  tid: 16,
  weight: 20,
  cgroup_id: 24,
  start_time: 32,
  exec_id: 40,
  parent_start_time: 48,
  parent_exec_id: 56,
  image_start_time: 64,
  tgid: 72,
  parent_tgid: 76,
  image_tgid: 80,
  ns_tgid: 84,
  uid: 88,
  gid: 92,
  euid: 96,
  mnt_ns: 100,
  net_ns: 104,
  entry: 108,
  comm: 112,
  SIZE: 128,
} as const;

export const PATH = {
  comps_len: 0,
  str_len: 2,
  state: 4,
  source: 5,
  SIZE: 8,
} as const;

export const EXEC = {
  exe_inode: 0,
  cap_permitted: 8,
  cap_effective: 16,
  cap_inheritable: 24,
  exe_dev: 32,
  flags: 36,
  loginuid: 40,
  sessionid: 44,
  argc: 48,
  argv_orig_len: 52,
  env_orig_len: 56,
  argv_len: 60,
  env_len: 64,
  filename_len: 68,
  interp_len: 70,
  tty_len: 72,
  exe: 80,
  cwd: 88,
  SIZE: 96,
} as const;

export const EXIT = {
  duration: 0,
  code: 8,
  signal: 12,
  core: 16,
  SIZE: 24,
} as const;

export const IO_URING = {
  entries: 0,
  flags: 4,
  ret: 8,
  SIZE: 16,
} as const;

export const FILE = {
  inode: 0,
  size: 8,
  dev: 16,
  mode: 20,
  flags: 24,
  open_flags: 28,
  ret: 32,
  asked_len: 36,
  asked_source: 38,
  path: 40,
  path2: 48,
  SIZE: 56,
} as const;

export const SOCKET = {
  conn_start: 0,
  bytes_sent: 8,
  bytes_received: 16,
  duration: 24,
  local_addr: 32,
  remote_addr: 48,
  asked_addr: 64,
  family: 80,
  protocol: 82,
  local_port: 84,
  remote_port: 86,
  asked_family: 88,
  asked_port: 90,
  flags: 92,
  ret: 96,
  backlog: 100,
  ended_by: 104,
  name_len: 108,
  path: 112,
  SIZE: 120,
} as const;

export const CGROUP = {
  id: 0,
  parent_id: 8,
  level: 16,
  path_len: 20,
  truncated: 22,
  SIZE: 24,
} as const;

export const CONFIG = {
  self_start_time: 0,
  self_tgid: 8,
  argv_cap: 12,
  env_cap: 16,
  enabled_kinds: 20,
  open_mode: 24,
  failed_opens: 25,
  unix_mode: 26,
  policies: 27,
  port_filter: 28,
  raw_kinds: 32,
  container_interval_ns: 40,
  node_interval_ns: 48,
  burst_ns: 56,
  SIZE: 64,
} as const;

export const POLICY = {
  off: 0,
  sample: 4,
  sample_n: 8,
  SIZE: 16,
} as const;

export const PREFIX_KEY = {
  node: 0,
  len: 4,
  name: 8,
  SIZE: 40,
} as const;

export const PREFIX_VALUE = {
  next: 0,
  marks: 4,
  SIZE: 8,
} as const;

export const CGROUP_INFO = {
  root_id: 0,
  flags: 8,
  SIZE: 16,
} as const;

export const PROC = {
  start_time: 0,
  root_id: 8,
  image_start_time: 16,
  image_tgid: 24,
  entry: 28,
  SIZE: 32,
} as const;
