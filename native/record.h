/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The wire format of kernel records: the only header that the BPF side, the addon and (by layout.c, which prints it as
 * TypeScript) the agent share.
 *
 * A record is: struct kt_head, then the body of its kind, then its variable bytes in the order that the body names.
 * Little-endian (BPF objects are built for bpfel), naturally aligned, no implicit padding. `len` counts everything.
 * A reader refuses a record whose version it does not know, or whose lengths do not add up to `len`.
 */
#ifndef KT_RECORD_H
#define KT_RECORD_H

#ifndef __bpf__
#include <stdint.h>
typedef uint8_t __kt_u8;
typedef uint16_t __kt_u16;
typedef uint32_t __kt_u32;
typedef int32_t __kt_s32;
typedef uint64_t __kt_u64;
#else
typedef unsigned char __kt_u8;
typedef unsigned short __kt_u16;
typedef unsigned int __kt_u32;
typedef int __kt_s32;
typedef unsigned long long __kt_u64;
#endif

#define KT_RECORD_VERSION 1

/* Limits, in bytes. A path's bytes include one '/' a component. */
#define KT_PATH_MAX 4096
#define KT_NAME_MAX 255
#define KT_ARGV_CAP_MAX 16384 /* upper bound of the configurable argv cap */
#define KT_ENV_CAP_MAX 4096   /* upper bound of the configurable environment cap */
#define KT_CGROUP_PATH_MAX 1024
#define KT_RECORD_MAX 65536 /* no record is longer; the reader counts a longer one as undecodable */

/* One number space for events (1..63, which also index the counters) and control records (64..). */
enum kt_kind {
	KT_PROCESS_EXEC = 1,
	KT_PROCESS_EXIT = 2,
	KT_PROCESS_FORK = 3,
	KT_PROCESS_IO_URING = 4, /* io_uring_setup(2): what follows on that ring the tracepoint tier cannot see */
	KT_FILE_OPEN = 10,
	KT_FILE_CLOSE = 11,
	KT_FILE_RENAME = 12,
	KT_FILE_UNLINK = 13,
	KT_FILE_CHMOD = 14,
	KT_SOCKET_CONNECT = 20,
	KT_SOCKET_ACCEPT = 21,
	KT_SOCKET_LISTEN = 22,
	KT_SOCKET_CLOSE = 23,
	KT_KIND_COUNT = 32, /* size of the counters' kind dimension */

	KT_CGROUP_MKDIR = 64,
	KT_CGROUP_RMDIR = 65,
	/*
	 * A process has a new image and that is not an event (the kind is off, filtered, sampled away or shed): the exe of
	 * its later events must be known all the same. Body as process.exec, with the exe path alone. In the process ring.
	 */
	KT_PROCESS_IMAGE = 66,
};

/* How the record was taken. */
enum kt_tier {
	KT_TIER_TRACKER = 0,	/* BTF tracepoints that every kernel offers (sched, cgroup, sock) */
	KT_TIER_TRAMPOLINE = 1, /* fentry/fexit */
	KT_TIER_SYSCALL = 2,	/* per-syscall tracepoints (perf) */
	KT_TIER_RAW_SYSCALL = 3, /* raw sys_enter/sys_exit */
	KT_TIER_ITERATOR = 4,	/* BPF iterator: the snapshot at start */
};

/* Whose fields stand in the head. */
enum kt_actor {
	KT_ACTOR_CURRENT = 0,	  /* the running task did it */
	KT_ACTOR_OWNER = 1,	  /* taken from the socket's remembered owner; `current` was a stranger */
	KT_ACTOR_CGROUP_ONLY = 2, /* only cgroup_id is known (the socket's own); every other process field is 0 */
};

/* Is the process in the tree of its container's first process? */
enum kt_entry {
	KT_ENTRY_UNKNOWN = 0,
	KT_ENTRY_INIT = 1,
	KT_ENTRY_EXEC = 2, /* injected: kubectl exec, exec probe, nsenter */
	KT_ENTRY_HOST = 3, /* not in a container */
};

/*
 * Common head, 128 bytes. Bytes 24..127 are constant for one thread name of one image of one process in one
 * container: user space finds the process dictionary entry by comparing them.
 */
struct kt_head {
	__kt_u32 len;	  /* bytes of the whole record */
	__kt_u8 version;  /* KT_RECORD_VERSION */
	__kt_u8 kind;	  /* enum kt_kind */
	__kt_u8 tier;	  /* enum kt_tier */
	__kt_u8 actor;	  /* enum kt_actor */
	__kt_u64 ktime;	  /* ns of the boot clock */
	__kt_u32 tid;	  /* thread, initial pid namespace; 0 where unknown */
	__kt_u32 weight;  /* 1; N where 1 of N was sampled; 0 for the snapshot at start (existing) */
	/* --- process block from here --- */
	__kt_u64 cgroup_id;	   /* cgroup v2 id */
	__kt_u64 start_time;	   /* of the thread group leader: ns of the boot clock (start_boottime) */
	__kt_u64 exec_id;	   /* self_exec_id: counts the execs of this process */
	__kt_u64 parent_start_time; /* likewise of the parent */
	__kt_u64 parent_exec_id;
	__kt_u64 image_start_time; /* with image_tgid and exec_id: the process that executed the current image; differs
				    * from this process where it only forked */
	__kt_u32 tgid;		   /* initial pid namespace */
	__kt_u32 parent_tgid;
	__kt_u32 image_tgid;
	__kt_u32 ns_tgid; /* tgid in the process's own pid namespace */
	__kt_u32 uid;	  /* real, initial user namespace */
	__kt_u32 gid;
	__kt_u32 euid;
	__kt_u32 mnt_ns; /* namespace inode numbers */
	__kt_u32 net_ns;
	__kt_u8 entry; /* enum kt_entry */
	__kt_u8 pad[3]; /* 0 */
	char comm[16]; /* of the thread */
};

#define KT_PROCESS_BLOCK_OFFSET 24

/* path_state: bits; 0 is ok */
#define KT_PATH_TRUNCATED 1   /* the leaf end is kept; not to be read as absolute */
#define KT_PATH_DELETED 2     /* unlinked */
#define KT_PATH_UNREACHABLE 4 /* the walk did not end at the root of the mount namespace */
#define KT_PATH_CHROOTED 8    /* the task's root is not its mount namespace's root; the path is from the latter */
#define KT_PATH_PSEUDO 16     /* pipe, socket, memfd, anon inode: a name, not a place */
#define KT_PATH_FAULT 32      /* the bytes could not be read from user memory (kernel_name/user sources) */

enum kt_path_source {
	KT_PATH_NONE = 0,	 /* no path in this field */
	KT_PATH_KERNEL_FILE = 1, /* resolved from the kernel's struct path */
	KT_PATH_KERNEL_NAME = 2, /* the kernel's copy of the name (struct filename, bprm) */
	KT_PATH_USER_ENTER = 3,	 /* user memory at system call entry */
	KT_PATH_USER_EXIT = 4,	 /* user memory at exit, after a fault at entry: the caller may have changed it */
};

/*
 * A path: `comps_len` bytes of components, then `str_len` bytes of a string to append (no NUL).
 * Components run from leaf to root, each one length byte and that many name bytes: the text "/a/b" is [1]b[1]a, so
 * comps_len is also the length of the rendered text; 0 with no string is "/". A string that is appended is what the
 * process passed, relative to the components (dirfd, cwd, or the process's root for an absolute one).
 */
struct kt_path {
	__kt_u16 comps_len;
	__kt_u16 str_len;
	__kt_u8 state;	/* KT_PATH_* bits */
	__kt_u8 source; /* enum kt_path_source; KT_PATH_NONE: both lengths are 0 */
	__kt_u16 pad;	/* 0 */
};

/* exec_flags */
#define KT_EXEC_UPPER_LAYER 1 /* the executable is in the overlay's upper layer: not from the image */
#define KT_EXEC_MEMFD 2
#define KT_EXEC_DELETED 4
#define KT_EXEC_SECURE 8     /* AT_SECURE: set-id or file capabilities gained privilege */
#define KT_EXEC_ARGV_FAULT 16 /* part of argv could not be read; what follows the first bad page is missing */
#define KT_EXEC_ENV_FAULT 32

/* process.exec. Then: exe, cwd (paths), filename, interp, tty, argv block, env block. */
struct kt_exec {
	__kt_u64 exe_inode;
	__kt_u64 cap_permitted;
	__kt_u64 cap_effective;
	__kt_u64 cap_inheritable;
	__kt_u32 exe_dev; /* kernel s_dev: major << 20 | minor */
	__kt_u32 flags;	  /* KT_EXEC_* */
	__kt_u32 loginuid; /* 0xffffffff: unset */
	__kt_u32 sessionid; /* audit session; 0xffffffff: unset */
	__kt_u32 argc;	    /* as the kernel counted it; 0xffffffff: not known (snapshot) */
	__kt_u32 argv_orig_len; /* bytes of the whole argv block with its NULs */
	__kt_u32 env_orig_len;
	__kt_u32 argv_len; /* bytes that follow here: NUL-separated, cut at the cap */
	__kt_u32 env_len;
	__kt_u16 filename_len; /* as given to execve(2), or /dev/fd/N... for execveat(2) */
	__kt_u16 interp_len;   /* interpreter of a script; 0: none */
	__kt_u16 tty_len;
	__kt_u16 pad;
	__kt_u32 pad2;
	struct kt_path exe;
	struct kt_path cwd;
};

/* process.exit: once per process, after its last thread. */
struct kt_exit {
	__kt_u64 duration; /* ns since start_time */
	__kt_s32 code;	   /* exit(2) status 0..255; 0 when killed */
	__kt_u32 signal;   /* 0: none */
	__kt_u32 core;	   /* 1: dumped */
	__kt_u32 pad;
};

/* process.io_uring. */
struct kt_io_uring {
	__kt_u32 entries;
	__kt_u32 flags;
	__kt_s32 ret; /* fd or -errno */
	__kt_u32 pad;
};

/* file.*: one body for the family; a field that a kind has no use for is 0. Then: path, path2, asked. */
#define KT_FILE_CREATED 1	/* open made it */
#define KT_FILE_MODIFIED 2	/* close: size or ctime changed while it was open */
#define KT_FILE_MODIFIED_KNOWN 4 /* close: it was open since before the agent otherwise */
#define KT_FILE_SENSITIVE 8	/* the path is under a sensitive prefix */
#define KT_FILE_INODE_KNOWN 16	/* dev, inode and mode were read */
struct kt_file {
	__kt_u64 inode; /* i_ino; on overlayfs and btrfs differs from stat(2) */
	__kt_u64 size;	/* close: bytes */
	__kt_u32 dev;	/* s_dev: major << 20 | minor */
	__kt_u32 mode;	/* i_mode; for chmod the new mode asked for */
	__kt_u32 flags; /* KT_FILE_* */
	__kt_u32 open_flags; /* O_*; rename: RENAME_*; unlink, chmod: AT_* */
	__kt_s32 ret;	     /* 0 or -errno */
	__kt_u16 asked_len;  /* open: the string as passed; 0: same as path or not known */
	__kt_u8 asked_source; /* enum kt_path_source of `asked` */
	__kt_u8 pad;
	struct kt_path path;
	struct kt_path path2; /* rename: the new one */
};

enum kt_ended_by {
	KT_ENDED_UNKNOWN = 0,
	KT_ENDED_LOCAL = 1,	   /* orderly, by us */
	KT_ENDED_REMOTE = 2,	   /* orderly, by the peer */
	KT_ENDED_LOCAL_RESET = 3,  /* aborted by us */
	KT_ENDED_REMOTE_RESET = 4, /* reset by the peer */
	KT_ENDED_TIMEOUT = 5,
};

/* which ends are known */
#define KT_SOCK_LOCAL 1
#define KT_SOCK_REMOTE 2	  /* address reached */
#define KT_SOCK_ASKED 4		  /* address asked for */
#define KT_SOCK_COUNTERS 8	  /* bytes are known */
#define KT_SOCK_UNIX_ABSTRACT 16 /* the name is abstract: without its leading NUL */

/* socket.*: one body for the family. Then: path (AF_UNIX: the peer's, resolved), name (AF_UNIX: as passed). */
struct kt_socket {
	__kt_u64 conn_start; /* boot ns at which the connection was begun or accepted: the same in connect/accept and close */
	__kt_u64 bytes_sent; /* payload: retransmissions and FIN taken off; what a local firewall drops counts at each try */
	__kt_u64 bytes_received;
	__kt_u64 duration; /* ns: close */
	__kt_u8 local_addr[16];	 /* AF_INET: the first 4 bytes */
	__kt_u8 remote_addr[16];
	__kt_u8 asked_addr[16];
	__kt_u16 family;   /* AF_INET, AF_INET6, AF_UNIX */
	__kt_u16 protocol; /* IPPROTO_*; AF_UNIX: SOCK_STREAM.. */
	__kt_u16 local_port; /* host order */
	__kt_u16 remote_port;
	__kt_u16 asked_family;
	__kt_u16 asked_port;
	__kt_u32 flags; /* KT_SOCK_* */
	/*
	 * 0 or -errno: connect's result, close's sk_err. A connect that its caller gave up before any answer (closed,
	 * or its own timeout) is -ECANCELED: nobody got an errno for it.
	 */
	__kt_s32 ret;
	__kt_u32 backlog; /* listen */
	__kt_u8 ended_by; /* enum kt_ended_by */
	__kt_u8 pad[3];
	__kt_u16 name_len;
	__kt_u16 pad2;
	struct kt_path path;
};

/* cgroup.mkdir / .rmdir (control). Then: path from the root of the v2 hierarchy, `path_len` bytes. */
struct kt_cgroup {
	__kt_u64 id;
	__kt_u64 parent_id;
	__kt_u32 level;
	__kt_u16 path_len;
	__kt_u8 truncated; /* 1: the kernel's path was cut at KT_CGROUP_PATH_MAX */
	__kt_u8 pad;
};

/*
 * Counters: per CPU, u64, monotonic, never reset; index = kind * KT_REASON_COUNT + reason.
 * seen = emitted + suppressed (filtered, sampled, self) + lost (the rest), exactly, for every kind.
 */
enum kt_reason {
	KT_SEEN = 0,	  /* the act reached the hook */
	KT_EMITTED = 1,	  /* a record is in the ring */
	KT_FILTERED = 2,  /* suppressed: mode, policy or path prefix */
	KT_SAMPLED = 3,	  /* suppressed: not the one of N */
	KT_SELF = 4,	  /* suppressed: the agent itself */
	KT_LOST_RING_FULL = 5,
	KT_LOST_BUDGET = 6,
	KT_LOST_NO_SLOT = 7, /* no free record slot on this CPU */
	KT_LOST_UNPAIRED = 8, /* exit without its entry */
	KT_LOST_STATE_FULL = 9, /* the map that pairs entry and exit was full */
	KT_LOST_TOO_BIG = 10,
	/* notes: not part of the sum; the event itself was emitted or counted above */
	KT_NOTE_USER_FAULT = 11, /* user memory could not be read */
	KT_NOTE_STATE_FULL = 12, /* a tracker map was full: the owner, entry or image of later events is unknown */
	KT_REASON_COUNT = 16,
};

/* The one entry of map kt_config; written whole by user space before attach and whenever a setting changes. */
enum kt_open_mode { KT_OPEN_OFF = 0, KT_OPEN_WRITES = 1, KT_OPEN_SENSITIVE = 2, KT_OPEN_ALL = 3 };
enum kt_unix_mode { KT_UNIX_OFF = 0, KT_UNIX_SENSITIVE = 1, KT_UNIX_ALL = 2 };
struct kt_config {
	__kt_u64 self_start_time; /* the agent's process key, set by program kt_identify */
	__kt_u32 self_tgid;
	__kt_u32 argv_cap;
	__kt_u32 env_cap;
	__kt_u32 enabled_kinds; /* bit per kind below 32: raw dispatchers and shared hooks test it */
	__kt_u8 open_mode;	/* enum kt_open_mode */
	__kt_u8 failed_opens;	/* 1: opens that fail are events too */
	__kt_u8 unix_mode;	/* enum kt_unix_mode */
	__kt_u8 policies;	/* 1: map kt_policies is consulted; a cgroup without a policy is traced */
	__kt_u8 port_filter;	/* 1: map kt_ports is consulted */
	__kt_u8 pad[3];
	__kt_u32 raw_kinds; /* bit per kind that is taken at raw sys_enter/sys_exit: the others of a dispatcher's kinds have
			     * another tier, and must not be told twice */
	__kt_u32 pad2;
	/* Budgets: ns between two events at the sustained rate; 0: no budget. */
	__kt_u64 container_interval_ns;
	__kt_u64 node_interval_ns;
	__kt_u64 burst_ns; /* how far ahead of the sustained rate files may run; sockets 5/4, processes 3/2 of it */
};

/* Value of map kt_policies: cgroup id -> policy. Bits by kind below 32; a kind in neither is traced. */
struct kt_policy {
	__kt_u32 off;
	__kt_u32 sample;   /* 1 of sample_n processes */
	__kt_u32 sample_n;
	__kt_u32 pad;
};

/*
 * Sensitive prefixes are a trie in map kt_prefixes: (node, component) -> next node and marks. Node 0 is the root
 * directory. An empty name with len 0 is the wildcard of one component. Components longer than KT_PREFIX_NAME bytes
 * match only the wildcard.
 */
#define KT_PREFIX_NAME 32
#define KT_PREFIX_FILE 1	 /* everything at and below is sensitive for file events */
#define KT_PREFIX_UNIX 2	 /* this AF_UNIX socket is sensitive */
#define KT_PREFIX_WILDCARD 4 /* the next node has a wildcard edge */
struct kt_prefix_key {
	__kt_u32 node;
	__kt_u32 len;
	char name[KT_PREFIX_NAME]; /* zero-padded */
};
struct kt_prefix_value {
	__kt_u32 next;
	__kt_u32 marks; /* KT_PREFIX_* */
};

/* Value of map kt_cgroups: cgroup id -> what the kernel side must know of it. */
#define KT_CGROUP_CONTAINER 1 /* inside a container: root_id is that container's cgroup */
#define KT_CGROUP_FRESH 2     /* made while the agent watched, and no process has entered the container yet */
struct kt_cgroup_info {
	__kt_u64 root_id; /* the container's own cgroup; 0: host */
	__kt_u32 flags;
	__kt_u32 pad;
};

/* Value of map kt_procs: tgid -> what is inherited at fork. */
struct kt_proc {
	__kt_u64 start_time; /* guards against reuse of the tgid */
	__kt_u64 root_id;    /* container cgroup that `entry` speaks of; 0: host */
	__kt_u64 image_start_time;
	__kt_u32 image_tgid;
	__kt_u32 entry; /* enum kt_entry */
};

#define KT_ASSERT(name, cond) typedef char kt_assert_##name[(cond) ? 1 : -1] __attribute__((unused))
KT_ASSERT(head, sizeof(struct kt_head) == 128);
KT_ASSERT(path, sizeof(struct kt_path) == 8);
KT_ASSERT(exec, sizeof(struct kt_exec) == 96);
KT_ASSERT(exit_, sizeof(struct kt_exit) == 24);
KT_ASSERT(file, sizeof(struct kt_file) == 56);
KT_ASSERT(socket_, sizeof(struct kt_socket) == 120);
KT_ASSERT(cgroup, sizeof(struct kt_cgroup) == 24);
KT_ASSERT(config, sizeof(struct kt_config) == 64);

#endif
