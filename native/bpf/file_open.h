/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* file.open: what came of it, or only the name where nothing did. */
#ifndef KT_FILE_OPEN_H
#define KT_FILE_OPEN_H

#include "file_record.h"

/* What the caller passed, where the tier knows: at the exit of the call user memory may have changed. */
struct kt_open_call {
	u64 user_name; /* 0: not known */
	u64 flags;
	u64 kernel_name; /* trampoline: the kernel's copy */
	s32 dfd;
	u16 flags_known;
	u16 args_known; /* user_name (0: the call takes none) and dfd */
};

INLINE u32 put_asked(struct kt_slot *slot, u32 pos, struct kt_open_call *call, struct kt_names *names)
{
	struct kt_file *body = body_of(slot);
	u32 n = 0;
	long r;

	if (call->kernel_name) {
		n = put_kernel_str(slot, pos, (void *)call->kernel_name);
		body->asked_source = KT_PATH_KERNEL_NAME;
	} else if (names && names->source1 == KT_PATH_USER_ENTER) {
		n = put_kernel_bytes(slot, pos, names->str1, names->len1);
		body->asked_source = KT_PATH_USER_ENTER;
	} else if (call->user_name) {
		u64 to = pos; /* 64 bits: the verifier of 5.10 loses the bounds of a 32-bit copy */

		barrier_var(to);
		if (to > KT_SLOT_DATA - KT_PATH_MAX)
			return pos;
		r = bpf_probe_read_user_str(&slot->data[to], KT_PATH_MAX, (void *)call->user_name);
		n = r > 0 ? (u32)r - 1 : 0;
		body->asked_source = KT_PATH_USER_EXIT;
	}
	if (!n)
		body->asked_source = KT_PATH_NONE;
	body->asked_len = n;
	return pos + n;
}

INLINE void remember_for_close(u64 file, u64 inode, u32 created)
{
	struct kt_open_file was = {};

	if ((RD(inode, inode, i_mode) & S_IFMT) != S_IFREG)
		return;
	was.inode = RD(inode, inode, i_ino);
	was.dev = RD(super_block, RD(inode, inode, i_sb), s_dev);
	was.size = RD(inode, inode, i_size);
	was.ctime_ns = inode_ctime_ns(inode);
	was.created = created;
	bpf_map_update_elem(&kt_open_files, &file, &was, BPF_ANY);
}

/* A successful open: `file` is what came of it. */
INLINE void file_open__exit(struct task_struct *task, u64 file, struct kt_open_call *call, struct kt_names *names, u32 tier)
{
	u32 f_mode, created, write, by_path, marks, pos;
	struct kt_slot *slot;
	struct kt_file *body;
	struct kt_act act;
	u64 inode;

	if (!admit(&act, KT_FILE_OPEN, task, 1))
		return;
	f_mode = RD(file, file, f_mode);
	created = f_mode & FMODE_CREATED || RD(file, file, f_flags) & O_TMPFILE_BIT;
	write = f_mode & (FMODE_WRITE | FMODE_CREATED);
	inode = (u64)RD(file, file, f_inode);
	if (f_mode & FMODE_WRITE && act.cfg->enabled_kinds & (1u << KT_FILE_CLOSE))
		remember_for_close(file, inode, created != 0);
	if (act.cfg->open_mode == KT_OPEN_OFF || (act.cfg->open_mode == KT_OPEN_WRITES && !write)) {
		count(act.counts, KT_FILTERED);
		return;
	}
	by_path = !write && act.cfg->open_mode == KT_OPEN_SENSITIVE;
	if (!by_path && !within_budget(&act))
		return;
	slot = slot_claim();
	if (!slot) {
		count(act.counts, KT_LOST_NO_SLOT);
		return;
	}
	body = body_of(slot);
	body_zero(body);
	pos = put_path(&body->path, slot, DATA_OFFSET, AT(file, file, f_path), task);
	marks = path_marks(slot);
	if (by_path) {
		if (!(marks & KT_PREFIX_FILE)) {
			slot_release(slot);
			count(act.counts, KT_FILTERED);
			return;
		}
		if (!within_budget(&act)) {
			slot_release(slot);
			return;
		}
	}
	head_fill((struct kt_head *)slot->data, task, KT_FILE_OPEN, tier, act.cgroup_id, act.weight);
	body_inode(body, inode);
	if (created)
		body->flags |= KT_FILE_CREATED;
	if (marks & KT_PREFIX_FILE)
		body->flags |= KT_FILE_SENSITIVE;
	body->open_flags = call->flags_known ? (u32)call->flags : RD(file, file, f_flags);
	/*
	 * A fifth of the event's cost: in mode all, where the rate is the matter, only with failed opens, whose names are
	 * taken at entry anyway. A trampoline's name costs next to nothing.
	 */
	if (act.cfg->open_mode != KT_OPEN_ALL || act.cfg->failed_opens || call->kernel_name)
		pos = put_asked(slot, pos, call, names);
	slot_emit(&kt_ring_events, slot, pos, act.counts);
}

/* A failed open: there is no file, only the name. */
INLINE void file_open__failed(struct task_struct *task, long err, struct kt_open_call *call, struct kt_names *names, u32 tier)
{
	struct kt_slot *slot;
	struct kt_file *body;
	struct kt_act act;
	u32 pos;

	if (!admit(&act, KT_FILE_OPEN, task, 1))
		return;
	if (!act.cfg->failed_opens || act.cfg->open_mode == KT_OPEN_OFF) {
		count(act.counts, KT_FILTERED);
		return;
	}
	if (!within_budget(&act))
		return;
	if (!call->kernel_name && !names && !call->user_name) {
		count(act.counts, KT_LOST_UNPAIRED);
		return;
	}
	slot = slot_claim();
	if (!slot) {
		count(act.counts, KT_LOST_NO_SLOT);
		return;
	}
	body = body_of(slot);
	body_zero(body);
	if (call->kernel_name) {
		u8 first = 0;
		u32 n;

		bpf_probe_read_kernel(&first, 1, (void *)call->kernel_name);
		pos = put_base(&body->path, slot, DATA_OFFSET, call->dfd, first, task);
		n = put_kernel_str(slot, pos, (void *)call->kernel_name);
		body->path.str_len = n;
		body->path.source = KT_PATH_KERNEL_NAME;
		pos += n;
	} else if (names) {
		pos = put_named(&body->path, slot, DATA_OFFSET, names->dfd, names->str1, names->len1, names->user1,
				names->source1, names->state1, task, act.counts);
	} else {
		pos = put_named(&body->path, slot, DATA_OFFSET, call->dfd, NULL, 0, call->user_name, KT_PATH_USER_EXIT, 0,
				task, act.counts);
	}
	head_fill((struct kt_head *)slot->data, task, KT_FILE_OPEN, tier, act.cgroup_id, act.weight);
	body->ret = err;
	body->open_flags = call->flags_known ? (u32)call->flags : names ? names->flags : 0;
	slot_emit(&kt_ring_events, slot, pos, act.counts);
}

/* The end of an open system call: a descriptor or an error. */
INLINE void open__exit(long ret, struct kt_open_call *call, u32 tier)
{
	struct task_struct *task = current_task();
	struct kt_config *cfg = config();
	struct kt_names *names = NULL;
	u64 id, file;

	if (cfg && cfg->failed_opens) {
		id = bpf_get_current_pid_tgid();
		names = bpf_map_lookup_elem(&kt_names, &id);
		if (names && !names_are_of(names, KT_FILE_OPEN, call->args_known, call->user_name, call->dfd)) {
			bpf_map_delete_elem(&kt_names, &id);
			names = NULL;
		}
	}
	if (ret < 0) {
		file_open__failed(task, ret, call, names, tier);
	} else {
		file = file_of_fd(task, ret);
		/* 0: another thread closed it already; what it was is gone */
		if (file)
			file_open__exit(task, file, call, names, tier);
		else {
			count_kind(KT_FILE_OPEN, KT_SEEN);
			count_kind(KT_FILE_OPEN, KT_LOST_UNPAIRED);
		}
	}
	if (names)
		bpf_map_delete_elem(&kt_names, &id);
}

#endif
