// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Programs that do nothing, at the hooks of the default probes' system calls: what the kernel itself asks for a hook. */
#define SEC(name) __attribute__((section(name), used))

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define FLOOR(point)                                   \
	SEC("tp/syscalls/sys_" #point)                 \
	int floor_##point(void *ctx)                   \
	{                                              \
		return 0;                              \
	}
FLOOR(exit_openat)
FLOOR(enter_close)
FLOOR(enter_rename)
FLOOR(exit_rename)
FLOOR(enter_chmod)
FLOOR(exit_chmod)
FLOOR(enter_connect)
FLOOR(exit_connect)
FLOOR(exit_accept)
