/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The common head: who did it. */
#ifndef KT_TASK_H
#define KT_TASK_H

#include "tap.h"

INLINE u64 task_leader(const void *task)
{
	return (u64)RD(task_struct, task, group_leader);
}

/* The process's entry in kt_procs, if it is this process and not an earlier one with its tgid. */
INLINE struct kt_proc *proc_of(u32 tgid, u64 start_time)
{
	struct kt_proc *proc = bpf_map_lookup_elem(&kt_procs, &tgid);

	return proc && proc->start_time == start_time ? proc : NULL;
}

/* Of a process that no tracker saw: a host process can be told by its cgroup, anything else is not guessed. */
INLINE u8 entry_of_untracked(u64 cgroup_id)
{
	struct kt_cgroup_info *info = bpf_map_lookup_elem(&kt_cgroups, &cgroup_id);

	return info && !info->root_id ? KT_ENTRY_HOST : KT_ENTRY_UNKNOWN;
}

INLINE u32 task_ns_tgid(u64 leader)
{
	u64 pid = (u64)RD(task_struct, leader, thread_pid);
	u32 level = RD(pid, pid, level);

	return K32(AT(pid, pid, numbers) + (u64)level * bpf_core_type_size(struct upid));
}

INLINE void copy_comm(char *dst, u64 comm)
{
#ifdef KT_LEGACY
	bpf_probe_read_kernel(dst, 16, (void *)comm);
#else
	struct timespec64 *words = PTR(timespec64, comm);

	((u64 *)dst)[0] = words->tv_sec;
	((u64 *)dst)[1] = words->tv_nsec;
#endif
}

/* Fills all of the head but len. `task` is current or an iterator's. */
INLINE void head_fill(struct kt_head *head, const void *task, u32 kind, u32 tier, u64 cgroup_id, u32 weight)
{
	struct task_struct *t = PTR(task_struct, task);
	struct task_struct *leader = GET(t, group_leader);
	struct task_struct *parent = GET(leader, real_parent, group_leader);
	const struct cred *cred = GET(t, real_cred);
	struct nsproxy *ns = GET(t, nsproxy);
	u64 start = GET(leader, start_boottime);
	u64 comm = AT(task_struct, task, comm);
	u32 tgid = GET(t, tgid);
	struct kt_proc *proc;

	head->version = KT_RECORD_VERSION;
	head->kind = kind;
	head->tier = tier;
	head->actor = KT_ACTOR_CURRENT;
	head->ktime = bpf_ktime_get_boot_ns();
	head->tid = GET(t, pid);
	head->weight = weight;
	head->cgroup_id = cgroup_id;
	head->start_time = start;
	head->exec_id = GET(leader, self_exec_id);
	head->parent_start_time = GET(parent, start_boottime);
	head->parent_exec_id = GET(parent, self_exec_id);
	head->parent_tgid = GET(parent, tgid);
	head->tgid = tgid;
	head->ns_tgid = task_ns_tgid((u64)leader);
	head->uid = GET(cred, uid.val);
	head->gid = GET(cred, gid.val);
	head->euid = GET(cred, euid.val);
	head->mnt_ns = GET(ns, mnt_ns, ns.inum);
	head->net_ns = GET(ns, net_ns, ns.inum);
	copy_comm(head->comm, comm);
	head->pad[0] = head->pad[1] = head->pad[2] = 0;
	proc = proc_of(tgid, start);
	if (proc) {
		head->entry = proc->entry;
		head->image_start_time = proc->image_start_time;
		head->image_tgid = proc->image_tgid;
	} else {
		head->entry = entry_of_untracked(cgroup_id);
		head->image_start_time = start;
		head->image_tgid = tgid;
	}
}

/* Where only a cgroup is known: false evidence would be worse than none. */
INLINE void head_fill_cgroup_only(struct kt_head *head, u32 kind, u32 tier, u64 cgroup_id, u32 weight)
{
	__builtin_memset(head, 0, sizeof(*head));
	head->version = KT_RECORD_VERSION;
	head->kind = kind;
	head->tier = tier;
	head->actor = KT_ACTOR_CGROUP_ONLY;
	head->ktime = bpf_ktime_get_boot_ns();
	head->weight = weight;
	head->cgroup_id = cgroup_id;
}

/* The open file behind a descriptor of the running task; 0 if there is none. */
INLINE u64 file_of_fd(const void *task, u32 fd)
{
	u64 fdt = (u64)RD(files_struct, RD(task_struct, task, files), fdt);

	if (fd >= RD(fdtable, fdt, max_fds))
		return 0;
	return K64((u64)RD(fdtable, fdt, fd) + (u64)fd * 8);
}

#endif
