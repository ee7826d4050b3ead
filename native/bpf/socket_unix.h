/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* AF_UNIX connects: the path of the peer, and the name as it was passed. */
#ifndef KT_SOCKET_UNIX_H
#define KT_SOCKET_UNIX_H

#include "socket_call.h"
#include "path.h"

/*
 * AF_UNIX: makes the text that was asked for a walk of its components, for where there is no peer to resolve the path
 * by. Textually: no links, no dots. It is done in place behind the record: each '/' becomes the length of what follows.
 */
#define KT_TEXT_AT (KT_SLOT_DATA - 2048)
#define KT_TEXT_FIRSTS (KT_TEXT_AT + 256)

INLINE int text_step(struct kt_slot *slot, u32 i)
{
	struct kt_walk *w = &slot->walk;
	u32 start = w->pos, n = w->components;
	u8 c = slot->data[KT_TEXT_AT + (i & 127)];

	if (c && c != '/')
		return 0;
	barrier_var(start);
	start &= 127;
	if (i > start + 1) {
		slot->data[KT_TEXT_AT + start] = i - start - 1;
		if (n < KT_COMPONENTS_KEPT)
			*(u16 *)&slot->data[KT_TEXT_FIRSTS + 2 * (n & (KT_COMPONENTS_KEPT - 1))] = KT_TEXT_AT + start;
		w->components = n + 1;
	}
	w->pos = i;
	return !c;
}

#ifndef KT_LEGACY
static long text_callback(u32 index, void *ctx)
{
	return text_step(*(struct kt_slot **)ctx, index + 1);
}
#endif

INLINE void text_walk(struct kt_slot *slot, const struct kt_call *call)
{
	struct kt_walk *w = &slot->walk;

	w->components = 0;
	w->state = 0;
	w->pos = 0; /* of the last '/' */
	slot->data[KT_TEXT_AT] = 0;
	bpf_probe_read_kernel(&slot->data[KT_TEXT_AT], KT_SOCKADDR - 2, &call->addr[2]);
	slot->data[KT_TEXT_AT + KT_SOCKADDR - 2] = 0;
	if (slot->data[KT_TEXT_AT] != '/')
		return;
#ifdef KT_LEGACY
	for (u32 i = 1; i < KT_SOCKADDR; i++) {
		if (text_step(slot, i))
			break;
	}
#else
	bpf_loop(KT_SOCKADDR, text_callback, &slot, 0);
#endif
#pragma unroll
	for (u32 i = 0; i < KT_COMPONENTS_KEPT; i++)
		w->tops[(w->components - 1 - i) & (KT_COMPONENTS_KEPT - 1)] = *(u16 *)&slot->data[KT_TEXT_FIRSTS + 2 * i];
}

/* The name as passed, abstract without its NUL. Returns the position behind it. */
INLINE u32 put_unix_name(struct kt_slot *slot, struct kt_socket *body, u32 pos, const struct kt_call *call)
{
	u32 len = call->addr_len;

	if (call->fault || len <= 2 || len > 110)
		return pos;
	if (call->addr[2]) {
		body->name_len = put_kernel_str(slot, pos, &call->addr[2]);
	} else {
		body->name_len = put_kernel_bytes(slot, pos, &call->addr[3], len - 3);
		body->flags |= KT_SOCK_UNIX_ABSTRACT;
	}
	return pos + body->name_len;
}

INLINE void connect_unix(struct kt_act *act, const struct kt_call *call, u64 sk, long ret, u32 tier)
{
	struct task_struct *task = current_task();
	struct kt_slot *slot;
	struct kt_head *head;
	struct kt_socket *body;
	u32 pos = KT_SOCKET_RECORD;
	u64 peer;

	if (act->cfg->unix_mode == KT_UNIX_OFF || (!call->fault && call_family(call) == AF_UNSPEC)) {
		count(act->counts, KT_FILTERED);
		return;
	}
	slot = slot_claim();
	if (!slot) {
		count(act->counts, KT_LOST_NO_SLOT);
		return;
	}
	head = (struct kt_head *)slot->data;
	body = (struct kt_socket *)(head + 1);
	body_fill(body, sk);
	body->ret = ret;
	peer = ret ? 0 : (u64)RD(unix_sock, sk, peer);
	/* a stream's peer is the listener's new socket, which got its path */
	if (peer && K64(AT(unix_sock, peer, path) + bpf_core_field_offset(struct path, dentry))) {
		pos = put_path(&body->path, slot, pos, AT(unix_sock, peer, path), task);
	} else {
		text_walk(slot, call);
	}
	if (act->cfg->unix_mode == KT_UNIX_SENSITIVE && !(path_marks(slot) & KT_PREFIX_UNIX)) {
		count(act->counts, KT_FILTERED);
		slot_release(slot);
		return;
	}
	pos = put_unix_name(slot, body, pos, call);
	head_fill(head, task, KT_SOCKET_CONNECT, tier, act->cgroup_id, act->weight);
	slot_emit(&kt_ring_events, slot, pos, act->counts);
}

#endif
