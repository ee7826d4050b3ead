/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What threads passed to the file calls that they are making: kept by the file probes, cleared by the trackers. */
#ifndef KT_THREAD_NAMES_H
#define KT_THREAD_NAMES_H

#include "tap.h"

/*
 * Names that a thread passed to the call it is making, as they were at entry. Key: pid_tgid. What lies here may also be
 * an older call's, whose exit was missed: an exit takes it only if it is of its own call (names_are_of), and where the
 * thread makes no other it goes with the thread.
 */
struct kt_names {
	s32 dfd;
	s32 dfd2;
	u32 flags;
	u16 mode; /* of chmod: the bits of 07777 */
	u16 kind;
	u64 user1; /* user addresses: read again at exit where they faulted */
	u64 user2;
	u16 len1; /* without NUL; 0 with source USER_EXIT: to be read at exit */
	u16 len2;
	u8 source1;
	u8 source2;
	u8 state1; /* KT_PATH_* of the name */
	u8 state2;
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

/*
 * Are they of the call that now ends? Both programs of a call may be held off by a map update on their CPU: then what one
 * exit left behind is there for a call whose entry was missed. `args_known`: `user` and `dfd` are this call's arguments.
 */
INLINE int names_are_of(struct kt_names *names, u32 kind, u32 args_known, u64 user, s32 dfd)
{
	return names->kind == kind && (!args_known || (names->user1 == user && names->dfd == dfd));
}

/* A thread is gone. `id`: its pid_tgid. Nearly always there is nothing: looking takes no lock. */
INLINE void forget_names(u64 id)
{
	if (bpf_map_lookup_elem(&kt_names, &id))
		bpf_map_delete_elem(&kt_names, &id);
	if (bpf_map_lookup_elem(&kt_names2, &id))
		bpf_map_delete_elem(&kt_names2, &id);
}

#endif
