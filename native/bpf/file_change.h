/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* file.close, .rename, .unlink and .chmod. */
#ifndef KT_FILE_CHANGE_H
#define KT_FILE_CHANGE_H

#include "file_names.h"

/*
 * close(2) at entry: the descriptor still leads to the file. Only what was open for writing, a regular file, and the
 * last reference (a dup'ed descriptor is not the end of the file).
 */
INLINE void close__enter(u32 fd, u32 tier)
{
	struct task_struct *task = current_task();
	u64 file = file_of_fd(task, fd), inode;
	struct kt_open_file *was;
	struct kt_slot *slot;
	struct kt_file *body;
	struct kt_act act;
	u32 pos;

	if (!file || !(RD(file, file, f_mode) & FMODE_WRITE))
		return;
	inode = (u64)RD(file, file, f_inode);
	if ((RD(inode, inode, i_mode) & S_IFMT) != S_IFREG || !is_last_reference(file))
		return;
	if (!admit(&act, KT_FILE_CLOSE, task, 1))
		return;
	slot = slot_claim();
	if (!slot) {
		count(act.counts, KT_LOST_NO_SLOT);
		return;
	}
	body = body_of(slot);
	body_zero(body);
	head_fill((struct kt_head *)slot->data, task, KT_FILE_CLOSE, tier, act.cgroup_id, act.weight);
	body_inode(body, inode);
	body->size = RD(inode, inode, i_size);
	was = bpf_map_lookup_elem(&kt_open_files, &file);
	if (was && was->inode == body->inode && was->dev == body->dev) {
		body->flags |= KT_FILE_MODIFIED_KNOWN;
		if (was->size != (s64)body->size || was->ctime_ns != inode_ctime_ns(inode))
			body->flags |= KT_FILE_MODIFIED;
	}
	bpf_map_delete_elem(&kt_open_files, &file);
	pos = put_path(&body->path, slot, DATA_OFFSET, AT(file, file, f_path), task);
	if (path_marks(slot) & KT_PREFIX_FILE)
		body->flags |= KT_FILE_SENSITIVE;
	slot_emit(&kt_ring_events, slot, pos, act.counts);
}

/* unlink and chmod: what the saved registers say at the call's exit. */
struct kt_named_call {
	u64 user;
	u32 flags;
	u32 mode;
	s32 dfd;
	u32 known;
};

INLINE void named_call_from_regs(struct kt_named_call *call, u64 regs)
{
	long nr;

	call->user = call->flags = call->mode = 0;
	call->dfd = AT_FDCWD;
	call->known = regs != 0;
	if (!regs)
		return;
	nr = SYSCALL_NUMBER(regs);
	if (nr == NR_unlink || nr == NR_chmod) {
		call->user = ARG1(regs);
		call->mode = ARG2(regs);
	} else if (nr == NR_unlinkat) {
		call->dfd = ARG1(regs);
		call->user = ARG2(regs);
		call->flags = ARG3(regs);
	} else if (nr == NR_fchmod) {
		call->dfd = ARG1(regs);
		call->mode = ARG2(regs);
	} else if (nr == NR_fchmodat || nr == NR_fchmodat2) {
		call->dfd = ARG1(regs);
		call->user = ARG2(regs);
		call->mode = ARG3(regs);
		call->flags = nr == NR_fchmodat2 ? (u32)ARG4(regs) : 0;
	} else {
		call->known = 0;
	}
}

/*
 * What this call passed. An entry that was missed (the probe was just attached, or perf-attached programs were held off by
 * a map update on this CPU) is made up for from the saved registers: the names are then read at exit, and say so. NULL:
 * neither is there.
 */
INLINE struct kt_names *names_of_call(u32 kind, u64 *id)
{
	struct kt_names *names = bpf_map_lookup_elem(&kt_names, id);
	struct kt_named_call call;

	named_call_from_regs(&call, exit_regs());
	if (names) {
		if (names_are_of(names, kind, call.known, call.user, call.dfd))
			return names;
		bpf_map_delete_elem(&kt_names, id);
	}
	if (!call.known)
		return NULL;
	names__enter(kind, call.dfd, call.user, call.flags, call.mode);
	names = bpf_map_lookup_elem(&kt_names, id);
	if (names && call.user)
		names->source1 = KT_PATH_USER_EXIT;
	return names;
}

/* The same of a rename. */
INLINE struct kt_names2 *names2_of_call(u64 *id)
{
	struct kt_names2 *names = bpf_map_lookup_elem(&kt_names2, id);
	u64 regs = exit_regs(), user, user2;
	s32 dfd = AT_FDCWD, dfd2 = AT_FDCWD;
	u32 flags = 0;
	long nr;

	if (!regs)
		return names;
	nr = SYSCALL_NUMBER(regs);
	if (nr == NR_rename) {
		user = ARG1(regs);
		user2 = ARG2(regs);
	} else {
		dfd = ARG1(regs);
		user = ARG2(regs);
		dfd2 = ARG3(regs);
		user2 = ARG4(regs);
		if (nr == NR_renameat2)
			flags = ARG5(regs);
	}
	if (names) {
		if (names_are_of(&names->one, KT_FILE_RENAME, 1, user, dfd) && names->one.user2 == user2 &&
		    names->one.dfd2 == dfd2)
			return names;
		bpf_map_delete_elem(&kt_names2, id);
	}
	rename__enter(dfd, user, dfd2, user2, flags);
	names = bpf_map_lookup_elem(&kt_names2, id);
	if (names)
		names->one.source1 = names->one.source2 = KT_PATH_USER_EXIT;
	return names;
}

/* rmdir, which is another kind, comes as an unlinkat too. */
INLINE int is_rmdir(u64 *id)
{
	u64 regs = exit_regs();
	struct kt_names *names;

	if (regs)
		return SYSCALL_NUMBER(regs) == NR_unlinkat && ARG3(regs) & AT_REMOVEDIR;
	names = bpf_map_lookup_elem(&kt_names, id);
	return names && names->kind == KT_FILE_UNLINK && names->flags & AT_REMOVEDIR;
}

/*
 * Is there nothing to forget of a call that was not admitted? Its entry was refused too, and remembered nothing; where the
 * policy changed in between, what it remembered goes with the thread.
 */
INLINE int was_refused(const struct kt_act *act)
{
	return HAS_EXIT_REGS && act->refused;
}

/* unlink, and chmod by name or by descriptor: one name at most. */
INLINE void named__exit(u32 kind, long ret, u32 tier)
{
	struct task_struct *task = current_task();
	u64 id = bpf_get_current_pid_tgid();
	struct kt_names *names;
	struct kt_slot *slot;
	struct kt_file *body;
	struct kt_act act;
	u32 pos = DATA_OFFSET;

	if (kind == KT_FILE_UNLINK && is_rmdir(&id))
		goto forget;
	if (!admit(&act, kind, task, 1)) {
		if (was_refused(&act))
			return;
		goto forget;
	}
	names = names_of_call(kind, &id);
	if (!names) {
		count(act.counts, KT_LOST_UNPAIRED);
		return;
	}
	slot = slot_claim();
	if (!slot) {
		count(act.counts, KT_LOST_NO_SLOT);
		goto forget;
	}
	body = body_of(slot);
	body_zero(body);
	head_fill((struct kt_head *)slot->data, task, kind, tier, act.cgroup_id, act.weight);
	body->ret = ret;
	body->open_flags = names->flags;
	if (names->source1 == KT_PATH_NONE) {
		u64 file = file_of_fd(task, names->dfd);

		if (file) {
			body_inode(body, (u64)RD(file, file, f_inode));
			pos = put_path(&body->path, slot, pos, AT(file, file, f_path), task);
			if (path_marks(slot) & KT_PREFIX_FILE)
				body->flags |= KT_FILE_SENSITIVE;
		}
	} else {
		pos = put_named(&body->path, slot, pos, names->dfd, names->str1, names->len1, names->user1, names->source1,
				names->state1, task, act.counts);
	}
	if (kind == KT_FILE_CHMOD)
		body->mode = names->mode;
	slot_emit(&kt_ring_events, slot, pos, act.counts);
forget:
	bpf_map_delete_elem(&kt_names, &id);
}

INLINE void rename__exit(long ret, u32 tier)
{
	struct task_struct *task = current_task();
	u64 id = bpf_get_current_pid_tgid();
	struct kt_names2 *names;
	struct kt_slot *slot;
	struct kt_file *body;
	struct kt_act act;
	u32 pos;

	if (!admit(&act, KT_FILE_RENAME, task, 1)) {
		if (was_refused(&act))
			return;
		goto forget;
	}
	names = names2_of_call(&id);
	if (!names) {
		count(act.counts, KT_LOST_UNPAIRED);
		return;
	}
	slot = slot_claim();
	if (!slot) {
		count(act.counts, KT_LOST_NO_SLOT);
		goto forget;
	}
	body = body_of(slot);
	body_zero(body);
	head_fill((struct kt_head *)slot->data, task, KT_FILE_RENAME, tier, act.cgroup_id, act.weight);
	body->ret = ret;
	body->open_flags = names->one.flags;
	pos = put_named(&body->path, slot, DATA_OFFSET, names->one.dfd, names->one.str1, names->one.len1, names->one.user1,
			names->one.source1, names->one.state1, task, act.counts);
	pos = put_named(&body->path2, slot, pos, names->one.dfd2, names->str2, names->one.len2, names->one.user2,
			names->one.source2, names->one.state2, task, act.counts);
	slot_emit(&kt_ring_events, slot, pos, act.counts);
forget:
	bpf_map_delete_elem(&kt_names2, &id);
}

#endif
