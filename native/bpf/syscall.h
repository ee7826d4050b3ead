/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* System calls: their arguments from registers, and the numbers that the raw tier tests (64-bit calls only). */
#ifndef KT_SYSCALL_H
#define KT_SYSCALL_H

#include "tap.h"

#if defined(__TARGET_ARCH_x86)
#define ARG1(regs) RD(pt_regs, regs, di)
#define ARG2(regs) RD(pt_regs, regs, si)
#define ARG3(regs) RD(pt_regs, regs, dx)
#define ARG4(regs) RD(pt_regs, regs, r10)
#define ARG5(regs) RD(pt_regs, regs, r8)
#define SYSCALL_NUMBER(regs) RD(pt_regs, regs, orig_ax)
#define NR_open 2
#define NR_close 3
#define NR_rename 82
#define NR_creat 85
#define NR_unlink 87
#define NR_chmod 90
#define NR_fchmod 91
#define NR_openat 257
#define NR_unlinkat 263
#define NR_renameat 264
#define NR_fchmodat 268
#define NR_open_by_handle_at 304
#define NR_renameat2 316
#define IS_COMPAT(task) (RD(task_struct, task, thread_info.status) & 2) /* TS_COMPAT */
#elif defined(__TARGET_ARCH_arm64)
#define ARG1(regs) RD(pt_regs, regs, orig_x0)
#define ARG2(regs) RD(pt_regs, regs, user_regs.regs[1])
#define ARG3(regs) RD(pt_regs, regs, user_regs.regs[2])
#define ARG4(regs) RD(pt_regs, regs, user_regs.regs[3])
#define ARG5(regs) RD(pt_regs, regs, user_regs.regs[4])
#define SYSCALL_NUMBER(regs) RD(pt_regs, regs, syscallno)
/* no open, rename, creat, unlink, chmod: numbers that never come */
#define NR_open -1
#define NR_rename -2
#define NR_creat -3
#define NR_unlink -4
#define NR_chmod -5
#define NR_close 57
#define NR_fchmod 52
#define NR_openat 56
#define NR_unlinkat 35
#define NR_renameat 38
#define NR_fchmodat 53
#define NR_open_by_handle_at 265
#define NR_renameat2 276
#define IS_COMPAT(task) (RD(task_struct, task, thread_info.flags) >> 22 & 1) /* TIF_32BIT */
#endif
#define NR_io_uring_setup 425
#define NR_openat2 437
#define NR_fchmodat2 452

/*
 * Exit tracepoints carry no arguments, but the registers that the call was made with still lie on the kernel stack
 * (bpf_task_pt_regs, since 5.15).
 */
#ifdef KT_LEGACY
enum { HAS_EXIT_REGS = 0 }; /* what an exit needs is remembered at the entry, and nowhere else */
#else
enum { HAS_EXIT_REGS = 1 };
#endif

INLINE u64 exit_regs(void)
{
#ifdef KT_LEGACY
	return 0;
#else
	return bpf_task_pt_regs(bpf_get_current_task_btf());
#endif
}

#endif
