// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * file.*: open, close, rename, unlink, chmod. The logic functions (file_open__exit and so on) are what the tiers share;
 * the programs at the end only unpack arguments.
 */
#include "task.h"
#include "path.h"
#include "syscall.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

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

/* Names that a thread passed to the call it is making, as they were at entry. Key: pid_tgid. */
struct kt_names {
	s32 dfd;
	s32 dfd2;
	u32 flags;
	u32 mode;
	u64 user1; /* user addresses: read again at exit where they faulted */
	u64 user2;
	u16 len1; /* without NUL; 0 with source USER_EXIT: to be read at exit */
	u16 len2;
	u8 source1;
	u8 source2;
	u16 pad;
	char str1[KT_PATH_MAX];
};
struct kt_names2 {
	struct kt_names one;
	char str2[KT_PATH_MAX];
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 512);
	__type(key, u64);
	__type(value, struct kt_names);
} kt_names SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, u64);
	__type(value, struct kt_names2);
} kt_names2 SEC(".maps");

INLINE u64 inode_ctime_ns(u64 inode)
{
	if (bpf_core_field_exists(struct inode, i_ctime_sec))
		return RD(inode, inode, i_ctime_sec) * 1000000000ull + RD(inode, inode, i_ctime_nsec);
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

/* base and name, the name having been read at entry (or now, where that faulted). Returns the new position. */
INLINE u32 put_named(struct kt_path *out, struct kt_slot *slot, u32 pos, s32 dfd, const char *str, u32 len, u64 user,
		     u32 source, const void *task, struct kt_counts *counts)
{
	u8 first = 0, state = 0;
	u32 at, n;
	long r;

	/*
	 * The name is laid down first, behind where the components may end, for its first byte decides the base. It then
	 * follows them.
	 */
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
	if (state) {
		n = 0;
	} else if (source == KT_PATH_USER_EXIT) {
		u64 to = at; /* 64 bits: the verifier of 5.10 loses the bounds of a 32-bit copy */

		barrier_var(to);
		if (to > KT_SLOT_DATA - KT_PATH_MAX)
			return at;
		r = bpf_probe_read_user_str(&slot->data[to], KT_PATH_MAX, (void *)user);
		n = r > 0 ? (u32)r - 1 : 0;
	} else {
		n = put_kernel_bytes(slot, at, str, len);
	}
	out->str_len = n;
	out->state |= state;
	out->source = source;
	return at + n;
}

/* ---- open ---- */

/* What the caller passed, where the tier knows: at the exit of the call user memory may have changed. */
struct kt_open_call {
	u64 user_name; /* 0: not known */
	u64 flags;
	u64 kernel_name; /* trampoline: the kernel's copy */
	s32 dfd;
	u32 flags_known;
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
				names->source1, task, act.counts);
	} else {
		pos = put_named(&body->path, slot, DATA_OFFSET, call->dfd, NULL, 0, call->user_name, KT_PATH_USER_EXIT, task,
				act.counts);
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

/* ---- names at entry ---- */

INLINE void names_read(char *str, u64 user, u16 *len, u8 *source)
{
	long n = bpf_probe_read_user_str(str, KT_PATH_MAX, (void *)user);

	*len = n > 0 ? n - 1 : 0;
	*source = n > 0 ? KT_PATH_USER_ENTER : KT_PATH_USER_EXIT;
}

/* Is the thread the agent's? Then its calls are not worth remembering. */
INLINE int is_self(struct kt_config *cfg)
{
	return cfg->self_tgid && cfg->self_tgid == (u32)(bpf_get_current_pid_tgid() >> 32);
}

INLINE void names__enter(u32 kind, s32 dfd, u64 user, u32 flags, u32 mode)
{
	struct kt_config *cfg = config();
	u64 id = bpf_get_current_pid_tgid();
	struct kt_names *names;
	struct kt_slot *slot;

	if (!cfg || is_self(cfg) || !(cfg->enabled_kinds & (1u << kind)))
		return;
	slot = slot_claim();
	if (!slot)
		return; /* counted as unpaired at exit */
	names = (struct kt_names *)slot->data;
	names->dfd = dfd;
	names->dfd2 = 0;
	names->flags = flags;
	names->mode = mode;
	names->user1 = user;
	names->user2 = 0;
	names->len2 = 0;
	names->source2 = 0;
	names->pad = 0;
	if (user) {
		names_read(names->str1, user, &names->len1, &names->source1);
	} else {
		names->len1 = 0;
		names->source1 = KT_PATH_NONE;
	}
	if (bpf_map_update_elem(&kt_names, &id, names, BPF_ANY))
		count_kind(kind, KT_NOTE_STATE_FULL);
	slot_release(slot);
}

INLINE void open__enter(s32 dfd, u64 user, u32 flags)
{
	struct kt_config *cfg = config();

	if (cfg && cfg->failed_opens)
		names__enter(KT_FILE_OPEN, dfd, user, flags, 0);
}

INLINE void rename__enter(s32 dfd, u64 user, s32 dfd2, u64 user2, u32 flags)
{
	struct kt_config *cfg = config();
	u64 id = bpf_get_current_pid_tgid();
	struct kt_names2 *names;
	struct kt_slot *slot;

	if (!cfg || is_self(cfg) || !(cfg->enabled_kinds & (1u << KT_FILE_RENAME)))
		return;
	slot = slot_claim();
	if (!slot)
		return;
	names = (struct kt_names2 *)slot->data;
	names->one.dfd = dfd;
	names->one.dfd2 = dfd2;
	names->one.flags = flags;
	names->one.mode = 0;
	names->one.user1 = user;
	names->one.user2 = user2;
	names->one.pad = 0;
	names_read(names->one.str1, user, &names->one.len1, &names->one.source1);
	names_read(names->str2, user2, &names->one.len2, &names->one.source2);
	if (bpf_map_update_elem(&kt_names2, &id, names, BPF_ANY))
		count_kind(KT_FILE_RENAME, KT_NOTE_STATE_FULL);
	slot_release(slot);
}

/* ---- close, rename, unlink, chmod ---- */

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
				task, act.counts);
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
			names->one.source1, task, act.counts);
	pos = put_named(&body->path2, slot, pos, names->one.dfd2, names->str2, names->one.len2, names->one.user2,
			names->one.source2, task, act.counts);
	slot_emit(&kt_ring_events, slot, pos, act.counts);
forget:
	if (names)
		bpf_map_delete_elem(&kt_names2, &id);
}

/* ---- per-syscall tracepoints ---- */

/*
 * Exit tracepoints carry no arguments, but the registers that the call was made with still lie on the kernel stack
 * (bpf_task_pt_regs, since 5.15).
 */
INLINE u64 exit_regs(void)
{
#ifdef KT_LEGACY
	return 0;
#else
	return bpf_task_pt_regs(bpf_get_current_task_btf());
#endif
}

INLINE void open_call_from_regs(struct kt_open_call *call, u64 regs, long nr)
{
	call->user_name = call->flags = call->kernel_name = 0;
	call->dfd = AT_FDCWD;
	call->flags_known = 0;
	if (!regs)
		return;
	if (nr == NR_open) {
		call->user_name = ARG1(regs);
		call->flags = ARG2(regs);
		call->flags_known = 1;
	} else if (nr == NR_creat) {
		call->user_name = ARG1(regs);
		call->flags = O_CREAT_WRONLY_TRUNC;
		call->flags_known = 1;
	} else if (nr == NR_openat) {
		call->dfd = ARG1(regs);
		call->user_name = ARG2(regs);
		call->flags = ARG3(regs);
		call->flags_known = 1;
	} else if (nr == NR_openat2) {
		call->dfd = ARG1(regs);
		call->user_name = ARG2(regs);
		call->flags_known = !bpf_probe_read_user(&call->flags, sizeof(call->flags), (void *)ARG3(regs));
	} else if (nr == NR_open_by_handle_at) {
		call->flags = ARG3(regs);
		call->flags_known = 1;
	}
}

#define OPEN_EXIT(name)                                                          \
	SEC("tp/syscalls/sys_exit_" #name)                                       \
	int kt_sys_exit_##name(struct trace_event_raw_sys_exit *ctx)             \
	{                                                                        \
		struct kt_open_call call;                                        \
                                                                                 \
		open_call_from_regs(&call, exit_regs(), NR_##name);              \
		open__exit(ctx->ret, &call, KT_TIER_SYSCALL);                    \
		return 0;                                                        \
	}
OPEN_EXIT(open)
OPEN_EXIT(creat)
OPEN_EXIT(openat)
OPEN_EXIT(openat2)
OPEN_EXIT(open_by_handle_at)

/* Entries are attached only while failed opens are wanted. */
SEC("tp/syscalls/sys_enter_open")
int kt_sys_enter_open(struct trace_event_raw_sys_enter *ctx)
{
	open__enter(AT_FDCWD, ctx->args[0], ctx->args[1]);
	return 0;
}
SEC("tp/syscalls/sys_enter_creat")
int kt_sys_enter_creat(struct trace_event_raw_sys_enter *ctx)
{
	open__enter(AT_FDCWD, ctx->args[0], O_CREAT_WRONLY_TRUNC);
	return 0;
}
SEC("tp/syscalls/sys_enter_openat")
int kt_sys_enter_openat(struct trace_event_raw_sys_enter *ctx)
{
	open__enter(ctx->args[0], ctx->args[1], ctx->args[2]);
	return 0;
}
SEC("tp/syscalls/sys_enter_openat2")
int kt_sys_enter_openat2(struct trace_event_raw_sys_enter *ctx)
{
	u64 flags = 0;

	bpf_probe_read_user(&flags, sizeof(flags), (void *)ctx->args[2]);
	open__enter(ctx->args[0], ctx->args[1], flags);
	return 0;
}

SEC("tp/syscalls/sys_enter_close")
int kt_sys_enter_close(struct trace_event_raw_sys_enter *ctx)
{
	close__enter(ctx->args[0], KT_TIER_SYSCALL);
	return 0;
}

SEC("tp/syscalls/sys_enter_rename")
int kt_sys_enter_rename(struct trace_event_raw_sys_enter *ctx)
{
	rename__enter(AT_FDCWD, ctx->args[0], AT_FDCWD, ctx->args[1], 0);
	return 0;
}
SEC("tp/syscalls/sys_enter_renameat")
int kt_sys_enter_renameat(struct trace_event_raw_sys_enter *ctx)
{
	rename__enter(ctx->args[0], ctx->args[1], ctx->args[2], ctx->args[3], 0);
	return 0;
}
SEC("tp/syscalls/sys_enter_renameat2")
int kt_sys_enter_renameat2(struct trace_event_raw_sys_enter *ctx)
{
	rename__enter(ctx->args[0], ctx->args[1], ctx->args[2], ctx->args[3], ctx->args[4]);
	return 0;
}
SEC("tp/syscalls/sys_enter_unlink")
int kt_sys_enter_unlink(struct trace_event_raw_sys_enter *ctx)
{
	names__enter(KT_FILE_UNLINK, AT_FDCWD, ctx->args[0], 0, 0);
	return 0;
}
SEC("tp/syscalls/sys_enter_unlinkat")
int kt_sys_enter_unlinkat(struct trace_event_raw_sys_enter *ctx)
{
	names__enter(KT_FILE_UNLINK, ctx->args[0], ctx->args[1], ctx->args[2], 0);
	return 0;
}
SEC("tp/syscalls/sys_enter_chmod")
int kt_sys_enter_chmod(struct trace_event_raw_sys_enter *ctx)
{
	names__enter(KT_FILE_CHMOD, AT_FDCWD, ctx->args[0], 0, ctx->args[1]);
	return 0;
}
SEC("tp/syscalls/sys_enter_fchmod")
int kt_sys_enter_fchmod(struct trace_event_raw_sys_enter *ctx)
{
	names__enter(KT_FILE_CHMOD, ctx->args[0], 0, 0, ctx->args[1]);
	return 0;
}
SEC("tp/syscalls/sys_enter_fchmodat")
int kt_sys_enter_fchmodat(struct trace_event_raw_sys_enter *ctx)
{
	names__enter(KT_FILE_CHMOD, ctx->args[0], ctx->args[1], 0, ctx->args[2]);
	return 0;
}
SEC("tp/syscalls/sys_enter_fchmodat2")
int kt_sys_enter_fchmodat2(struct trace_event_raw_sys_enter *ctx)
{
	names__enter(KT_FILE_CHMOD, ctx->args[0], ctx->args[1], ctx->args[3], ctx->args[2]);
	return 0;
}

#define NAMED_EXIT(name, call)                                       \
	SEC("tp/syscalls/sys_exit_" #name)                           \
	int kt_sys_exit_##name(struct trace_event_raw_sys_exit *ctx) \
	{                                                            \
		call;                                                \
		return 0;                                            \
	}
NAMED_EXIT(rename, rename__exit(ctx->ret, KT_TIER_SYSCALL))
NAMED_EXIT(renameat, rename__exit(ctx->ret, KT_TIER_SYSCALL))
NAMED_EXIT(renameat2, rename__exit(ctx->ret, KT_TIER_SYSCALL))
NAMED_EXIT(unlink, named__exit(KT_FILE_UNLINK, ctx->ret, KT_TIER_SYSCALL))
NAMED_EXIT(unlinkat, named__exit(KT_FILE_UNLINK, ctx->ret, KT_TIER_SYSCALL))
NAMED_EXIT(chmod, named__exit(KT_FILE_CHMOD, ctx->ret, KT_TIER_SYSCALL))
NAMED_EXIT(fchmod, named__exit(KT_FILE_CHMOD, ctx->ret, KT_TIER_SYSCALL))
NAMED_EXIT(fchmodat, named__exit(KT_FILE_CHMOD, ctx->ret, KT_TIER_SYSCALL))
NAMED_EXIT(fchmodat2, named__exit(KT_FILE_CHMOD, ctx->ret, KT_TIER_SYSCALL))

/* ---- raw sys_enter and sys_exit: no perf, no tracefs; every other system call pays for the test of the number ---- */

/* The kind that a call belongs to; 0: none. */
INLINE u32 raw_kind_of(long id)
{
	switch (id) {
	case NR_open:
	case NR_creat:
	case NR_openat:
	case NR_openat2:
	case NR_open_by_handle_at:
		return KT_FILE_OPEN;
	case NR_close:
		return KT_FILE_CLOSE;
	case NR_rename:
	case NR_renameat:
	case NR_renameat2:
		return KT_FILE_RENAME;
	case NR_unlink:
	case NR_unlinkat:
		return KT_FILE_UNLINK;
	case NR_chmod:
	case NR_fchmod:
	case NR_fchmodat:
	case NR_fchmodat2:
		return KT_FILE_CHMOD;
	default:
		return 0;
	}
}

/* TP_PROTO(struct pt_regs *regs, long id) */
SEC("tp_btf/sys_enter")
int BPF_PROG(kt_file_raw_enter, struct pt_regs *regs, long id)
{
	u64 flags = 0;
	u32 kind = raw_kind_of(id);

	if (!kind || id == NR_open_by_handle_at || !is_raw(kind) || IS_COMPAT(current_task()))
		return 0;
	if (id == NR_close)
		close__enter(ARG1(regs), KT_TIER_RAW_SYSCALL);
	else if (id == NR_open || id == NR_creat)
		open__enter(AT_FDCWD, ARG1(regs), id == NR_creat ? O_CREAT_WRONLY_TRUNC : (u32)ARG2(regs));
	else if (id == NR_openat)
		open__enter(ARG1(regs), ARG2(regs), ARG3(regs));
	else if (id == NR_openat2) {
		bpf_probe_read_user(&flags, sizeof(flags), (void *)ARG3(regs));
		open__enter(ARG1(regs), ARG2(regs), flags);
	} else if (id == NR_rename)
		rename__enter(AT_FDCWD, ARG1(regs), AT_FDCWD, ARG2(regs), 0);
	else if (id == NR_renameat || id == NR_renameat2)
		rename__enter(ARG1(regs), ARG2(regs), ARG3(regs), ARG4(regs), id == NR_renameat2 ? (u32)ARG5(regs) : 0);
	else if (id == NR_unlink)
		names__enter(KT_FILE_UNLINK, AT_FDCWD, ARG1(regs), 0, 0);
	else if (id == NR_unlinkat)
		names__enter(KT_FILE_UNLINK, ARG1(regs), ARG2(regs), ARG3(regs), 0);
	else if (id == NR_chmod)
		names__enter(KT_FILE_CHMOD, AT_FDCWD, ARG1(regs), 0, ARG2(regs));
	else if (id == NR_fchmod)
		names__enter(KT_FILE_CHMOD, ARG1(regs), 0, 0, ARG2(regs));
	else
		names__enter(KT_FILE_CHMOD, ARG1(regs), ARG2(regs), id == NR_fchmodat2 ? (u32)ARG4(regs) : 0, ARG3(regs));
	return 0;
}

/* TP_PROTO(struct pt_regs *regs, long ret) */
SEC("tp_btf/sys_exit")
int BPF_PROG(kt_file_raw_exit, struct pt_regs *regs, long ret)
{
	long id = SYSCALL_NUMBER(regs);
	struct kt_open_call call;
	u32 kind = raw_kind_of(id);

	if (!kind || kind == KT_FILE_CLOSE || !is_raw(kind) || IS_COMPAT(current_task()))
		return 0;
	switch (kind) {
	case KT_FILE_RENAME:
		rename__exit(ret, KT_TIER_RAW_SYSCALL);
		break;
	case KT_FILE_UNLINK:
		named__exit(KT_FILE_UNLINK, ret, KT_TIER_RAW_SYSCALL);
		break;
	case KT_FILE_CHMOD:
		named__exit(KT_FILE_CHMOD, ret, KT_TIER_RAW_SYSCALL);
		break;
	default:
		open_call_from_regs(&call, (u64)regs, id);
		open__exit(ret, &call, KT_TIER_RAW_SYSCALL);
	}
	return 0;
}

/* ---- trampolines: below the system call, so io_uring and 32-bit calls are seen, and the name is the kernel's copy ---- */

INLINE int filp_open__exit(s32 dfd, u64 filename, u64 op, u64 file)
{
	struct task_struct *task = current_task();
	struct kt_open_call call = { .dfd = dfd, .flags_known = 1 };

	/* execve opens its image by the same way: process.exec tells of it */
	call.flags = RD(open_flags, op, open_flag);
	if (call.flags & FMODE_EXEC)
		return 0;
	if (filename)
		call.kernel_name = (u64)RD(filename, filename, name);
	if (is_err(file))
		file_open__failed(task, (long)file, &call, NULL, KT_TIER_TRAMPOLINE);
	else if (file)
		file_open__exit(task, file, &call, NULL, KT_TIER_TRAMPOLINE);
	return 0;
}

/* struct file *do_filp_open(int dfd, struct filename *pathname, const struct open_flags *op) */
SEC("fexit/do_filp_open")
int BPF_PROG(kt_do_filp_open, int dfd, struct filename *filename, struct open_flags *op, struct file *ret)
{
	return filp_open__exit(dfd, (u64)filename, (u64)op, (u64)ret);
}

/* its name since 6.19 */
SEC("fexit/do_file_open")
int BPF_PROG(kt_do_file_open, int dfd, struct filename *filename, struct open_flags *op, struct file *ret)
{
	return filp_open__exit(dfd, (u64)filename, (u64)op, (u64)ret);
}

/*
 * struct file *do_file_open_root(const struct path *root, const char *name, const struct open_flags *op):
 * open_by_handle_at(2) ends here
 */
#ifndef KT_LEGACY
SEC("fexit/do_file_open_root")
int BPF_PROG(kt_do_file_open_root, struct path *root, const char *name, struct open_flags *op, struct file *ret)
{
	return filp_open__exit(AT_FDCWD, 0, (u64)op, (u64)ret);
}
#else
extern int LINUX_KERNEL_VERSION __kconfig; /* libbpf's own: needs no configuration file */

/* Before 5.13 (commit ffb37ca3bd16) the root was two arguments, dentry and vfsmount. */
SEC("fexit/do_file_open_root")
int kt_do_file_open_root(u64 *ctx)
{
	u64 op, ret;

	if (LINUX_KERNEL_VERSION < (5 << 16) + (13 << 8)) {
		op = ctx[3];
		ret = ctx[4];
		/* else both are loaded from ctx plus an offset, which no verifier lets pass */
		barrier_var(op);
		barrier_var(ret);
	} else {
		op = ctx[2];
		ret = ctx[3];
	}
	return filp_open__exit(AT_FDCWD, 0, op, ret);
}
#endif
