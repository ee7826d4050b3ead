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

/*
 * An entry that was missed (the probe was just attached, or perf-attached programs were held off by a map update on this
 * CPU) is made up for from the saved registers. The names are then read at exit, and say so.
 */
INLINE struct kt_names *names_recover(u32 kind, u64 *id)
{
	u64 regs = exit_regs(), user = 0;
	u32 flags = 0, mode = 0;
	struct kt_names *names;
	s32 dfd = AT_FDCWD;
	long nr;

	if (!regs)
		return NULL;
	nr = SYSCALL_NUMBER(regs);
	if (nr == NR_unlink || nr == NR_chmod) {
		user = ARG1(regs);
		mode = ARG2(regs);
	} else if (nr == NR_unlinkat) {
		dfd = ARG1(regs);
		user = ARG2(regs);
		flags = ARG3(regs);
	} else if (nr == NR_fchmod) {
		dfd = ARG1(regs);
		mode = ARG2(regs);
	} else if (nr == NR_fchmodat || nr == NR_fchmodat2) {
		dfd = ARG1(regs);
		user = ARG2(regs);
		mode = ARG3(regs);
		flags = nr == NR_fchmodat2 ? (u32)ARG4(regs) : 0;
	} else {
		return NULL;
	}
	names__enter(kind, dfd, user, flags, mode);
	names = bpf_map_lookup_elem(&kt_names, id);
	if (names && user)
		names->source1 = KT_PATH_USER_EXIT;
	return names;
}

INLINE struct kt_names2 *names2_recover(u64 *id)
{
	u64 regs = exit_regs();
	struct kt_names2 *names;
	long nr;

	if (!regs)
		return NULL;
	nr = SYSCALL_NUMBER(regs);
	if (nr == NR_rename)
		rename__enter(AT_FDCWD, ARG1(regs), AT_FDCWD, ARG2(regs), 0);
	else if (nr == NR_renameat || nr == NR_renameat2)
		rename__enter(ARG1(regs), ARG2(regs), ARG3(regs), ARG4(regs), nr == NR_renameat2 ? (u32)ARG5(regs) : 0);
	names = bpf_map_lookup_elem(&kt_names2, id);
	if (names)
		names->one.source1 = names->one.source2 = KT_PATH_USER_EXIT;
	return names;
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

	names = bpf_map_lookup_elem(&kt_names, &id);
	if (names && kind == KT_FILE_UNLINK && names->flags & AT_REMOVEDIR)
		goto forget; /* rmdir: another kind */
	if (!admit(&act, kind, task, 1))
		goto forget;
	if (!names) {
		names = names_recover(kind, &id);
		if (!names) {
			count(act.counts, KT_LOST_UNPAIRED);
			return;
		}
		if (kind == KT_FILE_UNLINK && names->flags & AT_REMOVEDIR) {
			count(act.counts, KT_FILTERED);
			goto forget;
		}
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
		body->mode = names->mode & 07777;
	slot_emit(&kt_ring_events, slot, pos, act.counts);
forget:
	if (names)
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

	names = bpf_map_lookup_elem(&kt_names2, &id);
	if (!admit(&act, KT_FILE_RENAME, task, 1))
		goto forget;
	if (!names)
		names = names2_recover(&id);
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
	if (names)
		bpf_map_delete_elem(&kt_names2, &id);
}

#endif
