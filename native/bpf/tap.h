/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What every program needs: reading kernel memory, the maps and the counters.
 *
 * Two builds of each object. The fast one (kernels >= 6.2) reads kernel structs by typed loads of pointers made with
 * bpf_rdonly_cast: no helper call a field, a third of the cost of probe reads (a path walk by probe reads alone costs more than
 * everything else in an open event). The legacy one (KT_LEGACY, >= 5.10) uses probe reads, bounded loops and no atomic
 * fetches. RD and the K macros are the only difference that most code sees.
 */
#ifndef KT_TAP_H
#define KT_TAP_H

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "record.h"

#define INLINE static __always_inline

#ifndef KT_LEGACY
extern void *bpf_rdonly_cast(const void *obj, u32 btf_id) __ksym;
#define CAST(type, addr) ((struct type *)bpf_rdonly_cast((const void *)(addr), bpf_core_type_id_kernel(struct type)))
/* One field of the kernel struct at addr; 0 where addr is bad (the JIT catches the fault). */
#define RD(type, addr, field) (CAST(type, addr)->field)
/* 8 bytes at any kernel address: timespec64 is two plain words wherever it is laid. */
#define K64(addr) ((u64)CAST(timespec64, addr)->tv_sec)
/* A pointer to load several fields by, with one cast; GET(p, a, b) is p->a->b. */
#define PTR(type, addr) CAST(type, addr)
#define GET_1(p, a) ((p)->a)
#define GET_2(p, a, b) ((p)->a->b)
#define GET_3(p, a, b, c) ((p)->a->b->c)
#define GET(p, ...) ___apply(GET_, ___narg(__VA_ARGS__))(p, __VA_ARGS__)
#else
#define PTR(type, addr) ((struct type *)(addr))
#define GET(p, ...) BPF_CORE_READ(p, __VA_ARGS__)
#define RD(type, addr, field)                           \
	({                                              \
		struct type *__p = (struct type *)(addr); \
		BPF_CORE_READ(__p, field);              \
	})
INLINE u64 kt_k64(u64 addr)
{
	u64 v = 0;

	bpf_probe_read_kernel(&v, sizeof(v), (void *)addr);
	return v;
}
#define K64(addr) kt_k64((u64)(addr))
#endif
#define K32(addr) ((u32)K64(addr))
/* Address of a member: relocated, nothing is read. */
#define AT(type, addr, field) ((u64)(addr) + bpf_core_field_offset(struct type, field))

/*
 * The state of a path walk. It lives in the slot, not on the stack: the verifier does not follow values in map memory,
 * so that every step of the loop looks the same to it.
 */
#define KT_COMPONENTS_KEPT 8 /* from the root: what prefixes are matched on */
struct kt_walk {
	u64 dentry;
	u64 vfsmount;
	u64 mount_root; /* dentry */
	u32 pos;	/* next byte in the slot's data */
	u32 end;	/* pos may not pass this: start + KT_PATH_MAX */
	u32 state;	/* KT_PATH_* */
	u32 done;
	u32 components;
	u16 tops[KT_COMPONENTS_KEPT]; /* positions of the last components written, by number modulo KEPT */
};

/* A record under construction. Claimed slots are exclusive whatever preempts or interrupts the program. */
#define KT_SLOTS_PER_CPU 4
#define KT_SLOT_DATA 40960
struct kt_slot {
	u32 busy;
	u32 index;
	struct kt_walk walk;
	u8 data[KT_SLOT_DATA];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} kt_ring_control SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 * 1024 * 1024);
} kt_ring_process SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 * 1024 * 1024);
} kt_ring_events SEC(".maps");
/* max_entries is set to possible CPUs * KT_SLOTS_PER_CPU before load */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KT_SLOTS_PER_CPU);
	__type(key, u32);
	__type(value, struct kt_slot);
} kt_slots SEC(".maps");
/* key: slot index. Legacy claims: a hash insert is atomic on kernels that have no compare-and-swap for BPF (< 5.12) */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, u32);
	__type(value, u8);
} kt_claims SEC(".maps");
/* key: kind; flat, this is index kind * KT_REASON_COUNT + reason */
struct kt_counts {
	u64 n[KT_REASON_COUNT];
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, KT_KIND_COUNT);
	__type(key, u32);
	__type(value, struct kt_counts);
} kt_counters SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct kt_config);
} kt_config SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct kt_prefix_key);
	__type(value, struct kt_prefix_value);
} kt_prefixes SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__type(key, u64);
	__type(value, struct kt_cgroup_info);
} kt_cgroups SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__type(key, u32);
	__type(value, struct kt_proc);
} kt_procs SEC(".maps");
/* key: port in host order: connections with it at either end are no events */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, u8);
} kt_ports SEC(".maps");

INLINE struct kt_config *config(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&kt_config, &zero);
}

/*
 * Is the kind taken at raw sys_enter and sys_exit? A dispatcher is there for at least one kind of its family, but meets
 * the calls of all: one that has a better tier must not be told twice.
 */
INLINE int is_raw(u32 kind)
{
	struct kt_config *cfg = config();

	return cfg && cfg->raw_kinds & (1u << kind);
}

INLINE struct kt_counts *counts_of(u32 kind)
{
	return bpf_map_lookup_elem(&kt_counters, &kind);
}

/* Atomic although per CPU: an interrupt on the same CPU may count the same thing, and the ledger is exact. */
INLINE void count(struct kt_counts *c, u32 reason)
{
	if (c)
		__sync_fetch_and_add(&c->n[reason & (KT_REASON_COUNT - 1)], 1);
}

INLINE void count_kind(u32 kind, u32 reason)
{
	count(counts_of(kind), reason);
}

INLINE struct task_struct *current_task(void)
{
#ifdef KT_LEGACY
	return (struct task_struct *)bpf_get_current_task();
#else
	return bpf_get_current_task_btf();
#endif
}

INLINE u64 task_cgroup_id(const void *task)
{
	struct kernfs_node *kn = GET(PTR(task_struct, task), cgroups, dfl_cgrp, kn);

	return GET(kn, id);
}

#endif
