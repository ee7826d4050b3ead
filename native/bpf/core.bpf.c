// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The trackers, always on: who forked whom, which image runs, which container a process entered and how. They are apart
 * from the emitters so that toggling a probe never breaks `entry` or a key. Control records tell user space of cgroups.
 */
#include "task.h"
#include "emit.h"
#include "thread_names.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Tells who the agent is, in the initial pid namespace, whatever namespace it runs in. Run by bpf_prog_test_run. */
SEC("raw_tp")
int kt_identify(void *ctx)
{
	struct kt_config *cfg = config();
	struct task_struct *task = current_task();

	if (!cfg)
		return 0;
	cfg->self_start_time = RD(task_struct, task_leader(task), start_boottime);
	cfg->self_tgid = bpf_get_current_pid_tgid() >> 32;
	return 0;
}

INLINE int in_default_hierarchy(const struct cgroup *cgrp)
{
	/* cgroup tracepoints fire for every hierarchy and ids collide across them */
	return RD(cgroup_root, RD(cgroup, cgrp, root), hierarchy_id) == 0;
}

/* Does the path end in a container's name: 64 hex digits, perhaps with a prefix and ".scope"? conmon's is the host's. */
INLINE int is_container_path(struct kt_slot *slot, u32 pos, u32 len)
{
	u32 at = pos + len;

	if (len < 64)
		return 0;
	barrier_var(at);
	if (at > KT_SLOT_DATA - 256 || at < 128)
		return 0;
	if (slot->data[at - 1] == 'e' && slot->data[at - 6] == '.' && slot->data[at - 5] == 's')
		at -= 6;
	for (int i = 1; i <= 64; i++) {
		u8 c = slot->data[at - i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
			return 0;
	}
	/* crio-conmon-<id>.scope: the monitor beside the container */
	return !(slot->data[at - 65] == '-' && slot->data[at - 66] == 'n' && slot->data[at - 67] == 'o' &&
		 slot->data[at - 68] == 'm');
}

INLINE int cgroup_emit(const struct cgroup *cgrp, const char *path, u32 kind)
{
	struct kt_cgroup_info info = {}, *parent;
	struct kt_slot *slot;
	struct kt_head *head;
	struct kt_cgroup *body;
	u64 id, parent_id = 0;
	long n;

	if (!in_default_hierarchy(cgrp))
		return 0;
	id = RD(kernfs_node, RD(cgroup, cgrp, kn), id);
	slot = slot_claim();
	if (!slot) {
		count_kind(0, KT_LOST_NO_SLOT);
		return 0;
	}
	head = (struct kt_head *)slot->data;
	head_fill_cgroup_only(head, kind, KT_TIER_TRACKER, id, 1);
	body = (struct kt_cgroup *)(head + 1);
	body->id = id;
	body->level = RD(cgroup, cgrp, level);
	body->pad = 0;
	n = bpf_probe_read_kernel_str(body + 1, KT_CGROUP_PATH_MAX, path);
	n = n > 0 ? n - 1 : 0;
	body->path_len = n;
	body->truncated = n == KT_CGROUP_PATH_MAX - 1;
	/* css.parent of the cgroup's own css is the parent cgroup's: self is the first member of both */
	{
		u64 up = (u64)RD(cgroup, cgrp, self.parent);

		if (up)
			parent_id = RD(kernfs_node, RD(cgroup, up - bpf_core_field_offset(struct cgroup, self), kn), id);
	}
	body->parent_id = parent_id;
	if (kind == KT_CGROUP_MKDIR) {
		parent = bpf_map_lookup_elem(&kt_cgroups, &parent_id);
		if (parent && parent->root_id) {
			info.root_id = parent->root_id;
			info.flags = KT_CGROUP_CONTAINER;
		} else if (is_container_path(slot, sizeof(*head) + sizeof(*body), n)) {
			info.root_id = id;
			info.flags = KT_CGROUP_CONTAINER | KT_CGROUP_FRESH;
		}
		if (bpf_map_update_elem(&kt_cgroups, &id, &info, BPF_ANY))
			count_kind(0, KT_NOTE_STATE_FULL);
	} else {
		bpf_map_delete_elem(&kt_cgroups, &id);
	}
	slot_emit(&kt_ring_control, slot, sizeof(*head) + sizeof(*body) + (u32)n, counts_of(0));
	return 0;
}

/* TP_PROTO(struct cgroup *cgrp, const char *path) */
SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(kt_cgroup_mkdir, struct cgroup *cgrp, const char *path)
{
	return cgroup_emit(cgrp, path, KT_CGROUP_MKDIR);
}

SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(kt_cgroup_rmdir, struct cgroup *cgrp, const char *path)
{
	return cgroup_emit(cgrp, path, KT_CGROUP_RMDIR);
}

/*
 * The process stands in cgroup `id`: has it entered a container? The first to enter a container made while we watched
 * is its init; whoever comes later from outside was injected.
 */
INLINE void place(struct kt_proc *proc, u64 id)
{
	struct kt_cgroup_info *info = bpf_map_lookup_elem(&kt_cgroups, &id), *root;

	if (!info) {
		proc->entry = KT_ENTRY_UNKNOWN;
		proc->root_id = ~0ull;
		return;
	}
	if (info->root_id == proc->root_id)
		return;
	proc->root_id = info->root_id;
	if (!info->root_id) {
		proc->entry = KT_ENTRY_HOST;
		return;
	}
	root = bpf_map_lookup_elem(&kt_cgroups, &info->root_id);
	if (!root) {
		proc->entry = KT_ENTRY_UNKNOWN;
	} else if (root->flags & KT_CGROUP_FRESH) {
		root->flags &= ~KT_CGROUP_FRESH;
		proc->entry = KT_ENTRY_INIT;
	} else {
		proc->entry = KT_ENTRY_EXEC;
	}
}

/* A process met for the first time: older than the agent. Where it is says only whether it is the host's. */
INLINE void proc_adopt(struct kt_proc *proc, const void *task, u64 leader)
{
	u64 id = task_cgroup_id(task);
	struct kt_cgroup_info *info = bpf_map_lookup_elem(&kt_cgroups, &id);

	proc->start_time = RD(task_struct, leader, start_boottime);
	proc->image_start_time = proc->start_time;
	proc->image_tgid = RD(task_struct, leader, tgid);
	proc->root_id = info ? info->root_id : ~0ull;
	proc->entry = info && !info->root_id ? KT_ENTRY_HOST : KT_ENTRY_UNKNOWN;
}

INLINE void proc_store(u32 tgid, struct kt_proc *proc, u64 flags)
{
	if (bpf_map_update_elem(&kt_procs, &tgid, proc, flags) && flags != BPF_NOEXIST)
		count_kind(KT_PROCESS_FORK, KT_NOTE_STATE_FULL);
}

/* TP_PROTO(struct task_struct *parent, struct task_struct *child), after the child's cgroup is settled */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(kt_fork, struct task_struct *parent, struct task_struct *child)
{
	u64 leader = task_leader(parent);
	struct kt_proc np = {}, *pp;
	u32 tgid = RD(task_struct, child, tgid);
	u64 id;

	if (RD(task_struct, child, pid) != tgid)
		return 0; /* a thread */
	pp = proc_of(RD(task_struct, parent, tgid), RD(task_struct, leader, start_boottime));
	if (pp)
		np = *pp;
	else
		proc_adopt(&np, parent, leader);
	np.start_time = RD(task_struct, child, start_boottime);
	id = task_cgroup_id(child);
	/* clone3(CLONE_INTO_CGROUP) enters without an attach */
	if (id != task_cgroup_id(parent))
		place(&np, id);
	proc_store(tgid, &np, BPF_ANY);
	return 0;
}

/* TP_PROTO(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm), after the new image is in place */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(kt_exec, struct task_struct *task)
{
	u64 leader = task_leader(task), start = RD(task_struct, leader, start_boottime);
	u32 tgid = RD(task_struct, task, tgid);
	struct kt_proc np = {}, *proc = proc_of(tgid, start);

	if (proc) {
		proc->image_tgid = tgid;
		proc->image_start_time = start;
	} else {
		proc_adopt(&np, task, leader);
		proc_store(tgid, &np, BPF_ANY);
	}
	return 0;
}

/* TP_PROTO(struct cgroup *dst_cgrp, const char *path, struct task_struct *task, bool threadgroup) */
SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(kt_cgroup_attach, struct cgroup *cgrp, const char *path, struct task_struct *task)
{
	u64 leader, id;
	struct kt_proc np = {}, *proc;
	u32 tgid;

	if (!in_default_hierarchy(cgrp))
		return 0;
	leader = task_leader(task);
	tgid = RD(task_struct, task, tgid);
	id = RD(kernfs_node, RD(cgroup, cgrp, kn), id);
	proc = proc_of(tgid, RD(task_struct, leader, start_boottime));
	if (proc) {
		place(proc, id);
	} else {
		proc_adopt(&np, task, leader);
		np.root_id = ~1ull; /* from elsewhere, whatever it was */
		place(&np, id);
		proc_store(tgid, &np, BPF_ANY);
	}
	return 0;
}

/*
 * TP_PROTO(struct task_struct *p). Not at exit: the exit event and what is closed by exiting still want the entry.
 * The start time guards a tgid that was given anew.
 */
SEC("tp_btf/sched_process_free")
int BPF_PROG(kt_free, struct task_struct *task)
{
	u32 tgid = RD(task_struct, task, tgid), pid = RD(task_struct, task, pid);

	forget_names((u64)tgid << 32 | pid);
	if (pid != tgid)
		return 0;
	if (proc_of(tgid, RD(task_struct, task, start_boottime)))
		bpf_map_delete_elem(&kt_procs, &tgid);
	return 0;
}
