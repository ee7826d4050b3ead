// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* process.*: exec, exit, the snapshot of processes, io_uring_setup. The trackers are in core. */
#include "task.h"
#include "path.h"
#include "syscall.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define OVERLAYFS_SUPER_MAGIC 0x794c7630
#define TMPFS_MAGIC 0x01021994
#define SIGNAL_GROUP_EXIT 4

/* {tgid, start}: the thread that puts it in is the last one, where the tracepoint does not say (before 6.16) */
struct kt_exit_key {
	u64 start_time;
	u64 tgid;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct kt_exit_key);
	__type(value, u8);
} kt_exits SEC(".maps");

/* Copies `want` bytes of user memory; after a fault page by page, so that what is there is kept. Returns the bytes. */
INLINE u32 put_user(struct kt_slot *slot, u32 pos, u64 addr, u32 want, u32 max)
{
	u32 got = 0;

	barrier_var(pos);
	if (pos > KT_SLOT_DATA - KT_ARGV_CAP_MAX - 8192)
		return 0;
	barrier_var(want);
	if (want > max)
		want = max;
	if (!want)
		return 0;
	if (!bpf_probe_read_user(&slot->data[pos], want, (void *)addr))
		return want;
	for (int i = 0; i < 5; i++) {
		u32 part = 4096 - ((addr + got) & 4095), at = pos + got;

		if (got >= want)
			break;
		if (part > want - got)
			part = want - got;
		barrier_var(at);
		if (at > KT_SLOT_DATA - 4096)
			break;
		barrier_var(part);
		if (part > 4096)
			break;
		if (bpf_probe_read_user(&slot->data[at], part, (void *)(addr + got)))
			break;
		got += part;
	}
	return got;
}

INLINE u32 exe_flags(u64 inode, u64 dentry)
{
	u64 sb = (u64)RD(inode, inode, i_sb);
	u32 flags = 0;

	if (RD(super_block, sb, s_magic) == OVERLAYFS_SUPER_MAGIC) {
		/* struct ovl_inode: vfs_inode is followed by __upperdentry (fs/overlayfs/ovl_entry.h, since 4.8) */
		if (K64(inode + bpf_core_type_size(struct inode)))
			flags |= KT_EXEC_UPPER_LAYER;
	}
	if (!RD(inode, inode, i_nlink)) {
		flags |= KT_EXEC_DELETED;
		/* memfd_create(2) names its file "memfd:..." */
		if (RD(super_block, sb, s_magic) == TMPFS_MAGIC &&
		    (K64(RD(dentry, dentry, d_name.name)) & 0xffffffffffffull) == 0x3a64666d656dull)
			flags |= KT_EXEC_MEMFD;
	}
	return flags;
}

/* What exec and snapshot have in common: everything that the task itself tells. Returns the position behind cwd. */
INLINE u32 exec_fill(struct kt_slot *slot, struct kt_exec *body, const void *task)
{
	u32 pos = sizeof(struct kt_head) + sizeof(struct kt_exec);
	u64 mm = (u64)RD(task_struct, task, mm), file, inode, cred, fs;

	file = (u64)RD(mm_struct, mm, exe_file);
	inode = (u64)RD(file, file, f_inode);
	cred = (u64)RD(task_struct, task, real_cred);
	body->exe_inode = RD(inode, inode, i_ino);
	body->exe_dev = RD(super_block, RD(inode, inode, i_sb), s_dev);
	body->flags = exe_flags(inode, K64(AT(file, file, f_path) + bpf_core_field_offset(struct path, dentry)));
	body->cap_permitted = K64(AT(cred, cred, cap_permitted));
	body->cap_effective = K64(AT(cred, cred, cap_effective));
	body->cap_inheritable = K64(AT(cred, cred, cap_inheritable));
	body->loginuid = bpf_core_field_exists(struct task_struct, loginuid) ? RD(task_struct, task, loginuid.val) : ~0u;
	body->sessionid = bpf_core_field_exists(struct task_struct, sessionid) ? RD(task_struct, task, sessionid) : ~0u;
	body->argc = ~0u;
	body->argv_orig_len = RD(mm_struct, mm, arg_end) - RD(mm_struct, mm, arg_start);
	body->env_orig_len = RD(mm_struct, mm, env_end) - RD(mm_struct, mm, env_start);
	body->argv_len = body->env_len = 0;
	body->filename_len = body->interp_len = body->tty_len = body->pad = 0;
	body->pad2 = 0;
	pos = put_path(&body->exe, slot, pos, AT(file, file, f_path), task);
	fs = (u64)RD(task_struct, task, fs);
	pos = put_path(&body->cwd, slot, pos, AT(fs_struct, fs, pwd), task);
	return pos;
}

INLINE u32 tty_put(struct kt_slot *slot, struct kt_exec *body, u32 pos, const void *task)
{
	u64 tty = (u64)RD(signal_struct, RD(task_struct, task, signal), tty);

	if (!tty)
		return pos;
	body->tty_len = put_kernel_str(slot, pos, (void *)AT(tty_struct, tty, name));
	return pos + body->tty_len;
}

INLINE u32 argv_put(struct kt_slot *slot, struct kt_exec *body, u32 pos, u64 mm, struct kt_act *act)
{
	u32 cap = act->cfg->argv_cap, want = body->argv_orig_len;

	if (want > cap)
		want = cap;
	if (want > KT_ARGV_CAP_MAX)
		want = KT_ARGV_CAP_MAX;
	body->argv_len = put_user(slot, pos, RD(mm_struct, mm, arg_start), want, KT_ARGV_CAP_MAX);
	if (body->argv_len < want) {
		body->flags |= KT_EXEC_ARGV_FAULT;
		count(act->counts, KT_NOTE_USER_FAULT);
	}
	pos += body->argv_len;
	want = body->env_orig_len;
	cap = act->cfg->env_cap;
	if (want > cap)
		want = cap;
	if (want > KT_ENV_CAP_MAX)
		want = KT_ENV_CAP_MAX;
	if (want) {
		body->env_len = put_user(slot, pos, RD(mm_struct, mm, env_start), want, KT_ENV_CAP_MAX);
		if (body->env_len < want)
			body->flags |= KT_EXEC_ENV_FAULT;
		pos += body->env_len;
	}
	return pos;
}

/*
 * TP_PROTO(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm): a successful exec, credentials are new.
 * Attached as long as the tap is open: an exec that is no event still tells the process's image.
 */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(kt_process_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	int is_event;
	struct kt_slot *slot;
	struct kt_head *head;
	struct kt_exec *body;
	struct kt_act act;
	u64 filename, interp;
	u32 pos;

	is_event = admit(&act, KT_PROCESS_EXEC, task, 0);
	if (!act.cfg)
		return 0;
	if (!is_event) {
		act.counts = counts_of(0); /* control */
		act.weight = 1;
	}
	slot = slot_claim();
	if (!slot) {
		count(act.counts, KT_LOST_NO_SLOT);
		return 0;
	}
	head = (struct kt_head *)slot->data;
	body = (struct kt_exec *)(head + 1);
	head_fill(head, task, is_event ? KT_PROCESS_EXEC : KT_PROCESS_IMAGE, KT_TIER_TRACKER, act.cgroup_id, act.weight);
	/* whichever of tracker and emitter runs first: from now on this process is its own image's */
	head->image_tgid = head->tgid;
	head->image_start_time = head->start_time;
	pos = exec_fill(slot, body, task);
	if (!is_event) {
		slot_emit(&kt_ring_process, slot, pos, act.counts);
		return 0;
	}
	body->argc = RD(linux_binprm, bprm, argc);
	if (BPF_CORE_READ_BITFIELD_PROBED(bprm, secureexec))
		body->flags |= KT_EXEC_SECURE;
	filename = (u64)RD(linux_binprm, bprm, filename);
	interp = (u64)RD(linux_binprm, bprm, interp);
	body->filename_len = put_kernel_str(slot, pos, (void *)filename);
	pos += body->filename_len;
	if (interp != filename) {
		body->interp_len = put_kernel_str(slot, pos, (void *)interp);
		pos += body->interp_len;
	}
	pos = tty_put(slot, body, pos, task);
	pos = argv_put(slot, body, pos, (u64)RD(task_struct, task, mm), &act);
	slot_emit(&kt_ring_process, slot, pos, act.counts);
	return 0;
}

/*
 * TP_PROTO(struct task_struct *p, bool group_dead): once per thread; group_dead since 6.16 (one argument before).
 * The count of live threads is already down when it fires, so where it does not say, two last threads may both see 0:
 * the one that enters the process into kt_exits first tells.
 */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(kt_process_exit, struct task_struct *task)
{
	u64 leader = task_leader(task), signal = (u64)RD(task_struct, task, signal);
	struct kt_exit_key key = {};
	struct kt_head *head;
	struct kt_exit *body;
	struct kt_act act;
	u32 status;
	u8 one = 1;

	if (RD(signal_struct, signal, live.counter) > 0)
		return 0;
	key.tgid = RD(task_struct, task, tgid);
	key.start_time = RD(task_struct, leader, start_boottime);
	if (bpf_map_update_elem(&kt_exits, &key, &one, BPF_NOEXIST) == -17 /* EEXIST */)
		return 0;
	if (!admit(&act, KT_PROCESS_EXIT, task, 0))
		return 0;
	head = bpf_ringbuf_reserve(&kt_ring_process, sizeof(*head) + sizeof(*body), 0);
	if (!head) {
		count(act.counts, KT_LOST_RING_FULL);
		return 0;
	}
	body = (struct kt_exit *)(head + 1);
	head_fill(head, task, KT_PROCESS_EXIT, KT_TIER_TRACKER, act.cgroup_id, act.weight);
	head->len = sizeof(*head) + sizeof(*body);
	/* wait(2) gives the group's code after exit_group(2) or a fatal signal, else the leader's */
	if (RD(signal_struct, signal, flags) & SIGNAL_GROUP_EXIT)
		status = RD(signal_struct, signal, group_exit_code);
	else
		status = RD(task_struct, leader, exit_code);
	body->duration = head->ktime - head->start_time;
	body->signal = status & 0x7f;
	body->core = status >> 7 & 1;
	body->code = body->signal ? 0 : status >> 8 & 0xff;
	body->pad = 0;
	bpf_ringbuf_submit(head, BPF_RB_NO_WAKEUP);
	count(act.counts, KT_EMITTED);
	return 0;
}

/* The arguments of a system call that is being made, by thread: what its exit needs. */
struct kt_io_uring_call {
	u32 entries;
	u32 pad;
	u64 params;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, struct kt_io_uring_call);
} kt_io_uring_calls SEC(".maps");

INLINE void io_uring_setup__enter(u32 entries, u64 params)
{
	struct kt_io_uring_call call = { .entries = entries, .params = params };
	u64 id = bpf_get_current_pid_tgid();

	bpf_map_update_elem(&kt_io_uring_calls, &id, &call, BPF_ANY);
}

INLINE void io_uring_setup__exit(long ret, u32 tier)
{
	u64 id = bpf_get_current_pid_tgid();
	struct task_struct *task = current_task();
	struct kt_io_uring_call *found, call;
	u64 regs = exit_regs();
	struct kt_io_uring *body;
	struct kt_head *head;
	struct kt_act act;
	u32 flags = 0;

	if (!admit(&act, KT_PROCESS_IO_URING, task, 0))
		return;
	found = bpf_map_lookup_elem(&kt_io_uring_calls, &id);
	if (regs) {
		/* what lies there may be an older call's */
		call.entries = ARG1(regs);
		call.params = ARG2(regs);
		/* else one load serves both, which no verifier lets pass */
		barrier_var(call.params);
	} else if (found) {
		call = *found;
	} else {
		count(act.counts, KT_LOST_UNPAIRED);
		return;
	}
	head = bpf_ringbuf_reserve(&kt_ring_process, sizeof(*head) + sizeof(*body), 0);
	if (!head) {
		count(act.counts, KT_LOST_RING_FULL);
		goto out;
	}
	body = (struct kt_io_uring *)(head + 1);
	head_fill(head, task, KT_PROCESS_IO_URING, tier, act.cgroup_id, act.weight);
	head->len = sizeof(*head) + sizeof(*body);
	/* struct io_uring_params: sq_entries, cq_entries, flags */
	if (bpf_probe_read_user(&flags, sizeof(flags), (void *)(call.params + 8)))
		count(act.counts, KT_NOTE_USER_FAULT);
	body->entries = call.entries;
	body->flags = flags;
	body->ret = ret;
	body->pad = 0;
	bpf_ringbuf_submit(head, BPF_RB_NO_WAKEUP);
	count(act.counts, KT_EMITTED);
out:
	if (found)
		bpf_map_delete_elem(&kt_io_uring_calls, &id);
}

SEC("tp/syscalls/sys_enter_io_uring_setup")
int kt_sys_enter_io_uring_setup(struct trace_event_raw_sys_enter *ctx)
{
	io_uring_setup__enter(ctx->args[0], ctx->args[1]);
	return 0;
}

SEC("tp/syscalls/sys_exit_io_uring_setup")
int kt_sys_exit_io_uring_setup(struct trace_event_raw_sys_exit *ctx)
{
	io_uring_setup__exit(ctx->ret, KT_TIER_SYSCALL);
	return 0;
}

SEC("tp_btf/sys_enter")
int BPF_PROG(kt_process_raw_enter, struct pt_regs *regs, long id)
{
	if (id == NR_io_uring_setup && !IS_COMPAT(current_task()))
		io_uring_setup__enter(ARG1(regs), ARG2(regs));
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(kt_process_raw_exit, struct pt_regs *regs, long ret)
{
	if (SYSCALL_NUMBER(regs) == NR_io_uring_setup && !IS_COMPAT(current_task()))
		io_uring_setup__exit(ret, KT_TIER_RAW_SYSCALL);
	return 0;
}

/*
 * The snapshot: every process that runs, as process.exec with weight 0. Also adopts it into kt_procs where no tracker
 * has met it yet. Its command line is another task's memory: read only by the sleepable form (>= 5.18).
 */
INLINE int snapshot_task(struct task_struct *task, int with_argv)
{
	struct kt_slot *slot;
	struct kt_head *head;
	struct kt_exec *body;
	struct kt_proc np = {};
	struct kt_counts *counts;
	struct kt_config *cfg;
	u64 id, leader, mm;
	u32 pos, tgid, is_event;

	if (!task || RD(task_struct, task, pid) != RD(task_struct, task, tgid))
		return 0;
	leader = (u64)task;
	tgid = RD(task_struct, task, tgid);
	mm = (u64)RD(task_struct, task, mm);
	if (!proc_of(tgid, RD(task_struct, leader, start_boottime))) {
		u64 cgid = task_cgroup_id(task);
		struct kt_cgroup_info *info = bpf_map_lookup_elem(&kt_cgroups, &cgid);

		np.start_time = RD(task_struct, leader, start_boottime);
		np.image_start_time = np.start_time;
		np.image_tgid = tgid;
		np.root_id = info ? info->root_id : ~0ull;
		np.entry = info && !info->root_id ? KT_ENTRY_HOST : KT_ENTRY_UNKNOWN;
		bpf_map_update_elem(&kt_procs, &tgid, &np, BPF_NOEXIST);
	}
	if (!mm)
		return 0; /* a kernel thread, or it is exiting */
	cfg = config();
	is_event = cfg && cfg->enabled_kinds & (1u << KT_PROCESS_EXEC);
	counts = counts_of(is_event ? KT_PROCESS_EXEC : 0);
	if (is_event)
		count(counts, KT_SEEN);
	slot = slot_claim();
	if (!slot) {
		count(counts, KT_LOST_NO_SLOT);
		return 0;
	}
	head = (struct kt_head *)slot->data;
	body = (struct kt_exec *)(head + 1);
	id = task_cgroup_id(task);
	head_fill(head, task, is_event ? KT_PROCESS_EXEC : KT_PROCESS_IMAGE, KT_TIER_ITERATOR, id, 0);
	pos = exec_fill(slot, body, task);
	if (!is_event) {
		slot_emit(&kt_ring_process, slot, pos, counts);
		return 0;
	}
	pos = tty_put(slot, body, pos, task);
#ifndef KT_LEGACY
	if (with_argv) {
		u32 want = body->argv_orig_len, at = pos;

		if (want > cfg->argv_cap)
			want = cfg->argv_cap;
		barrier_var(at);
		if (at <= KT_SLOT_DATA - KT_ARGV_CAP_MAX) {
			barrier_var(want);
			if (want > KT_ARGV_CAP_MAX)
				want = KT_ARGV_CAP_MAX;
			if (want && !bpf_copy_from_user_task(&slot->data[at], want, (void *)RD(mm_struct, mm, arg_start),
							     task, 0)) {
				body->argv_len = want;
				pos = at + want;
			} else if (want) {
				body->flags |= KT_EXEC_ARGV_FAULT;
				count(counts, KT_NOTE_USER_FAULT);
			}
		}
	}
#endif
	slot_emit(&kt_ring_process, slot, pos, counts);
	return 0;
}

#ifndef KT_LEGACY
SEC("iter.s/task")
#else
SEC("iter/task")
#endif
int kt_snapshot_tasks(struct bpf_iter__task *ctx)
{
	return snapshot_task(ctx->task, 1);
}
