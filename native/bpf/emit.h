/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The one way a record leaves: variable ones are built in a claimed slot and copied once, fixed ones reserve and submit. */
#ifndef KT_EMIT_H
#define KT_EMIT_H

#include "admit.h"

INLINE struct kt_slot *slot_claim(void)
{
	u32 base = bpf_get_smp_processor_id() * KT_SLOTS_PER_CPU;

#pragma unroll
	for (int i = 0; i < KT_SLOTS_PER_CPU; i++) {
		u32 index = base + i;
		struct kt_slot *slot = bpf_map_lookup_elem(&kt_slots, &index);

		if (!slot)
			return NULL;
#ifdef KT_LEGACY
		u8 one = 1;

		if (!bpf_map_update_elem(&kt_claims, &index, &one, BPF_NOEXIST)) {
			slot->index = index;
			return slot;
		}
#else
		if (!slot->busy && __sync_val_compare_and_swap(&slot->busy, 0, 1) == 0) {
			slot->index = index;
			return slot;
		}
#endif
	}
	return NULL;
}

INLINE void slot_release(struct kt_slot *slot)
{
#ifdef KT_LEGACY
	u32 index = slot->index;

	bpf_map_delete_elem(&kt_claims, &index);
#else
	/* a plain store: x86 and arm64 JITs do not reorder it before the copy that bpf_ringbuf_output made */
	*(volatile u32 *)&slot->busy = 0;
#endif
}

/* Sets the length, copies the record into the ring, counts, frees the slot. */
INLINE void slot_emit(void *ring, struct kt_slot *slot, u32 len, struct kt_counts *counts)
{
	struct kt_head *head = (struct kt_head *)slot->data;

	barrier_var(len);
	if (len > KT_SLOT_DATA)
		goto too_big;
	barrier_var(len); /* one test of both bounds would be made on a copy, which verifiers before 6.12 do not relate */
	if (len < sizeof(struct kt_head))
		goto too_big;
	head->len = len;
	if (bpf_ringbuf_output(ring, slot->data, len, BPF_RB_NO_WAKEUP))
		count(counts, KT_LOST_RING_FULL);
	else
		count(counts, KT_EMITTED);
	slot_release(slot);
	return;
too_big:
	count(counts, KT_LOST_TOO_BIG);
	slot_release(slot);
}

/*
 * Positions are 64 bits where their bounds are tested: the verifier of 5.10 loses those of a 32-bit copy.
 *
 * Appends a string of the kernel's (at most 4,095 bytes) at pos; returns its length without NUL, 0 if unreadable.
 * pos never is the slot's first byte: kernels 5.8 to 6.1 write dst[-1] on a fault.
 */
INLINE u32 put_kernel_str(struct kt_slot *slot, u64 pos, const void *str)
{
	long n;

	barrier_var(pos);
	if (pos > KT_SLOT_DATA - KT_PATH_MAX)
		return 0;
	n = bpf_probe_read_kernel_str(&slot->data[pos], KT_PATH_MAX, str);
	return n > 0 ? (u32)n - 1 : 0;
}

/* Copies len <= KT_PATH_MAX bytes of kernel memory (also of a map value) to pos. */
INLINE u32 put_kernel_bytes(struct kt_slot *slot, u64 pos, const void *src, u32 len)
{
	barrier_var(pos);
	if (pos > KT_SLOT_DATA - KT_PATH_MAX)
		return 0;
	barrier_var(len);
	if (len > KT_PATH_MAX)
		return 0;
	barrier_var(len); /* as in slot_emit */
	if (len && bpf_probe_read_kernel(&slot->data[pos], len, src))
		return 0;
	return len;
}

#endif
