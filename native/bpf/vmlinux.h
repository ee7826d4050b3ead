/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The few kernel types that kerntap reads, kept by hand: only the fields used, relocated by CO-RE at load, so no BTF is
 * needed at build. A flavour (struct x___y) stands for another kernel's form of the same struct; the comment names the
 * change. Offsets here mean nothing.
 */
#ifndef KT_VMLINUX_H
#define KT_VMLINUX_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s32 s32;
typedef __s64 s64;
typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_RINGBUF = 27,
};
enum { BPF_ANY = 0, BPF_NOEXIST = 1, BPF_EXIST = 2 };
enum { BPF_RB_NO_WAKEUP = 1 };
enum { BPF_F_MMAPABLE = 1U << 10 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct list_head {
	struct list_head *next, *prev;
};
typedef struct {
	int counter;
} atomic_t;
typedef struct {
	s64 counter;
} atomic64_t;
typedef struct {
	u32 val;
} kuid_t, kgid_t;
struct timespec64 {
	s64 tv_sec;
	long tv_nsec;
};
struct itimerspec64 {
	struct timespec64 it_interval;
	struct timespec64 it_value;
};
struct ns_common {
	u32 inum;
};

struct qstr {
	union {
		struct {
			u32 hash;
			u32 len;
		};
		u64 hash_len;
	};
	const unsigned char *name;
};
struct super_block {
	u32 s_dev;
	unsigned long s_magic;
};
struct inode {
	u16 i_mode;
	struct super_block *i_sb;
	unsigned long i_ino;
	unsigned int i_nlink;
	s64 i_size;
	s64 i_ctime_sec; /* since 6.11 (3aa63a569c64) */
	u32 i_ctime_nsec;
};
struct inode___ctime66 {
	struct timespec64 __i_ctime; /* 6.6 to 6.10 (13bc24457850) */
};
struct inode___ctime {
	struct timespec64 i_ctime; /* before 6.6 */
};
struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
	struct {
		void *next;
		void **pprev;
	} d_hash;
	struct super_block *d_sb;
};
struct vfsmount {
	struct dentry *mnt_root;
	struct super_block *mnt_sb;
};
struct mnt_namespace;
struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
	struct mnt_namespace *mnt_ns;
};
struct mnt_namespace {
	struct ns_common ns;
	struct mount *root;
};
struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};
struct file {
	unsigned int f_mode;
	const void *f_op;
	void *private_data;
	struct inode *f_inode;
	unsigned int f_flags;
	struct path f_path;
};
struct file___count {
	atomic64_t f_count; /* before 6.13 (90ee6ed776c0) */
};
typedef struct {
	atomic64_t refcnt;
} file_ref_t;
struct file___ref {
	file_ref_t f_ref; /* since 6.13; 0 is one reference */
};
struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};
struct files_struct {
	struct fdtable *fdt;
};
struct fs_struct {
	struct path root;
	struct path pwd;
};

struct kernfs_node {
	const char *name;
	u64 id;
};
struct cgroup_root {
	int hierarchy_id;
};
struct cgroup_subsys_state {
	struct cgroup_subsys_state *parent;
};
struct cgroup {
	struct cgroup_subsys_state self;
	int level;
	struct kernfs_node *kn;
	struct cgroup_root *root;
};
struct css_set {
	struct cgroup *dfl_cgrp;
};

struct net {
	struct ns_common ns;
};
struct nsproxy {
	struct mnt_namespace *mnt_ns;
	struct net *net_ns;
};
struct upid {
	int nr;
	void *ns;
};
struct pid {
	unsigned int level;
	struct upid numbers[1];
};
typedef struct {
	u64 val; /* u32 cap[2] before 6.3 (f122a08b197d): the same 8 bytes */
} kernel_cap_t;
struct cred {
	kuid_t uid;
	kgid_t gid;
	kuid_t euid;
	kernel_cap_t cap_inheritable;
	kernel_cap_t cap_permitted;
	kernel_cap_t cap_effective;
};
struct tty_struct {
	char name[64];
};
struct signal_struct {
	atomic_t live;
	int group_exit_code;
	unsigned int flags;
	struct tty_struct *tty;
};
struct mm_struct {
	unsigned long arg_start, arg_end, env_start, env_end;
	struct file *exe_file;
};
struct thread_info {
	unsigned int status;
	unsigned long flags;
};
struct task_struct {
	struct thread_info thread_info;
	unsigned int flags;
	int exit_code;
	int pid;
	int tgid;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	u64 start_boottime;
	const struct cred *real_cred;
	const struct cred *cred;
	char comm[16];
	struct fs_struct *fs;
	struct files_struct *files;
	struct nsproxy *nsproxy;
	struct signal_struct *signal;
	struct mm_struct *mm;
	u64 parent_exec_id;
	u64 self_exec_id;
	kuid_t loginuid;
	unsigned int sessionid;
	struct css_set *cgroups;
};
struct linux_binprm {
	struct file *file;
	int argc;
	unsigned int secureexec : 1;
	const char *filename;
	const char *interp;
};
struct filename {
	const char *name;
};
struct open_flags {
	int open_flag;
};

struct in6_addr {
	union {
		u8 u6_addr8[16];
		u64 u6_addr64[2]; /* not in the kernel: read as two words by address */
	} in6_u;
};
typedef struct {
	struct net *net;
} possible_net_t;
struct sock_common {
	union {
		struct {
			__be32 skc_daddr;
			__be32 skc_rcv_saddr;
		};
	};
	union {
		struct {
			__be16 skc_dport;
			u16 skc_num;
		};
	};
	u16 skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	union {
		unsigned long skc_flags;
	};
};
struct sock_cgroup_data {
	struct cgroup *cgroup; /* since 5.15 (8520e224f547) */
};
struct sock_cgroup_data___val {
	u64 val; /* before: the pointer, or with bit 0 set a class id and priority */
};
struct socket;
struct sock {
	struct sock_common __sk_common;
	int sk_err;
	struct socket *sk_socket;
	u16 sk_type;
	u16 sk_protocol;
	u8 sk_shutdown;
	u32 sk_max_ack_backlog;
	struct sock_cgroup_data sk_cgrp_data;
};
struct socket {
	short type;
	struct file *file;
	struct sock *sk;
	const void *ops;
};
struct inet_sock {
	struct sock sk;
	__be16 inet_sport;
	__be32 inet_saddr;
};
struct mptcp_sock {
	struct sock *first; /* the subflow that is the connection as TCP sees it */
};
struct tcp_sock {
	u64 bytes_sent;
	u64 bytes_received;
	u64 bytes_acked;
	u64 bytes_retrans;
};
struct sockaddr_un {
	u16 sun_family;
	char sun_path[108];
};
struct unix_address {
	int len;
	struct sockaddr_un name[1];
};
struct unix_sock {
	struct sock sk;
	struct unix_address *addr;
	struct path path;
	struct sock *peer;
};

struct trace_entry {
	unsigned short type;
	unsigned char flags;
	unsigned char preempt_count;
	int pid;
};
struct trace_event_raw_sys_enter {
	struct trace_entry ent;
	long id;
	unsigned long args[6];
};
struct trace_event_raw_sys_exit {
	struct trace_entry ent;
	long id;
	long ret;
};

struct bpf_iter_meta {
	void *seq;
	u64 session_id;
	u64 seq_num;
};
struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};
struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	u32 fd;
	struct file *file;
};

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};
#elif defined(__TARGET_ARCH_arm64)
struct user_pt_regs {
	u64 regs[31];
	u64 sp, pc, pstate;
};
struct pt_regs {
	struct user_pt_regs user_regs;
	u64 orig_x0;
	s32 syscallno;
};
#else
#error "build with -D__TARGET_ARCH_x86 or -D__TARGET_ARCH_arm64"
#endif

#pragma clang attribute pop

#endif
