/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the file events have in common: their state maps, the body, and paths made of a directory and a name. */
#ifndef KT_FILE_RECORD_H
#define KT_FILE_RECORD_H

#include "task.h"
#include "path.h"
#include "syscall.h"
#include "thread_names.h"

/* include/linux/fs.h; f_mode */
#define FMODE_WRITE 2u
#define FMODE_EXEC 0x20
#define FMODE_CREATED 0x100000u
#define O_TMPFILE_BIT 020000000u /* __O_TMPFILE: kernels before 6.18 at least do not set FMODE_CREATED for it */
#define S_IFMT 0xf000
#define S_IFREG 0x8000
#define AT_FDCWD -100
#define AT_REMOVEDIR 0x200
#define O_CREAT_WRONLY_TRUNC 01101

/* A file as it was when it was opened for writing; key: address of struct file */
struct kt_open_file {
	u64 inode;
	s64 size;
	u64 ctime_ns;
	u32 dev;
	u32 created;
};
struct {
	/* LRU: files closed by exiting are not seen closing in the system-call tier */
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, u64);
	__type(value, struct kt_open_file);
} kt_open_files SEC(".maps");

INLINE u64 inode_ctime_ns(u64 inode)
{
	/* the top bit of the nanoseconds says that stat(2) has asked (I_CTIME_QUERIED, since 6.13): no change of the file */
	if (bpf_core_field_exists(struct inode, i_ctime_sec))
		return RD(inode, inode, i_ctime_sec) * 1000000000ull + (RD(inode, inode, i_ctime_nsec) & ~(1u << 31));
	if (bpf_core_field_exists(struct inode___ctime66, __i_ctime))
		return K64(AT(inode___ctime66, inode, __i_ctime)) * 1000000000ull +
		       K64(AT(inode___ctime66, inode, __i_ctime) + 8);
	return K64(AT(inode___ctime, inode, i_ctime)) * 1000000000ull + K64(AT(inode___ctime, inode, i_ctime) + 8);
}

INLINE int is_last_reference(u64 file)
{
	if (bpf_core_field_exists(struct file___ref, f_ref))
		return K64(AT(file___ref, file, f_ref)) == 0;
	return K64(AT(file___count, file, f_count)) == 1;
}

INLINE void body_zero(struct kt_file *body)
{
	__builtin_memset(body, 0, sizeof(*body));
}

INLINE void body_inode(struct kt_file *body, u64 inode)
{
	if (!inode)
		return;
	body->inode = RD(inode, inode, i_ino);
	body->dev = RD(super_block, RD(inode, inode, i_sb), s_dev);
	body->mode = RD(inode, inode, i_mode);
	body->flags |= KT_FILE_INODE_KNOWN;
}

#define BODY_OFFSET sizeof(struct kt_head)
#define DATA_OFFSET (sizeof(struct kt_head) + sizeof(struct kt_file))

INLINE struct kt_file *body_of(struct kt_slot *slot)
{
	return (struct kt_file *)&slot->data[BODY_OFFSET];
}

/*
 * Writes the directory that a name is relative to: dfd's or the cwd; for an absolute name the process's root, which is
 * "/" unless it is chrooted.
 */
INLINE u32 put_base(struct kt_path *out, struct kt_slot *slot, u32 pos, s32 dfd, u8 first, const void *task)
{
	u64 fs = (u64)RD(task_struct, task, fs), base;

	path_none(out);
	if (first == '/') {
		base = AT(fs_struct, fs, root);
		if (!is_chrooted(base))
			return pos;
	} else if (dfd == AT_FDCWD) {
		base = AT(fs_struct, fs, pwd);
	} else {
		u64 file = file_of_fd(task, dfd);

		if (!file) {
			out->state = KT_PATH_UNREACHABLE;
			return pos;
		}
		base = AT(file, file, f_path);
	}
	return put_path(out, slot, pos, base, task);
}

/* Does a name whose first 4,095 bytes were taken go on? No system call takes such a one, but it was asked for. */
INLINE int name_goes_on(u64 user, u32 len)
{
	u8 next = 0;

	if (len < KT_PATH_MAX - 1)
		return 0;
	bpf_probe_read_user(&next, 1, (void *)(user + KT_PATH_MAX - 1));
	return next != 0;
}

/* base and name, the name having been read at entry (or now, where that faulted). Returns the new position. */
INLINE u32 put_named(struct kt_path *out, struct kt_slot *slot, u32 pos, s32 dfd, const char *str, u32 len, u64 user,
		     u32 source, u32 name_state, const void *task, struct kt_counts *counts)
{
	u8 first = 0, state = name_state;
	u32 at, n;
	long r;

	/* its first byte decides what it is relative to */
	if (source == KT_PATH_USER_EXIT) {
		r = bpf_probe_read_user(&first, 1, (void *)user);
		if (r) {
			count(counts, KT_NOTE_USER_FAULT);
			state = KT_PATH_FAULT;
		}
	} else {
		bpf_probe_read_kernel(&first, 1, str);
	}
	at = put_base(out, slot, pos, dfd, first, task);
	if (state & KT_PATH_FAULT) {
		n = 0;
	} else if (source == KT_PATH_USER_EXIT) {
		u64 to = at; /* 64 bits: the verifier of 5.10 loses the bounds of a 32-bit copy */

		barrier_var(to);
		if (to > KT_SLOT_DATA - KT_PATH_MAX)
			return at;
		r = bpf_probe_read_user_str(&slot->data[to], KT_PATH_MAX, (void *)user);
		n = r > 0 ? (u32)r - 1 : 0;
		if (name_goes_on(user, n))
			state |= KT_PATH_TRUNCATED;
	} else {
		n = put_kernel_bytes(slot, at, str, len);
	}
	out->str_len = n;
	out->state |= state;
	out->source = source;
	return at + n;
}

#endif
