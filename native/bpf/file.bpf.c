// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * file.*: open, close, rename, unlink, chmod. The logic functions (file_open__exit and so on) are what the tiers share;
 * the programs at the end only unpack arguments.
 */
#include "file_open.h"
#include "file_change.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* ---- per-syscall tracepoints ---- */

INLINE void open_call_from_regs(struct kt_open_call *call, u64 regs, long nr)
{
	call->user_name = call->flags = call->kernel_name = 0;
	call->dfd = AT_FDCWD;
	call->flags_known = 0;
	call->args_known = regs || nr == NR_open_by_handle_at;
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
