/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Who a TCP socket belongs to, and the records that are made in its name: most of what happens to it has no caller. */
#ifndef KT_SOCKET_OWNER_H
#define KT_SOCKET_OWNER_H

#include "sock.h"
#include "emit.h"

/* kt_sock.state */
#define KT_S_PENDING 1 /* its SYN is out, no answer yet */
#define KT_S_OPEN 2    /* a close is due */
#define KT_S_FAILED 4  /* its connect failed and was reported; the caller has not fetched the error yet */
#define KT_S_CLOSED 8  /* the close was reported */

struct kt_asked {
	u8 addr[16];
	u16 family; /* AF_UNSPEC: not known */
	u16 port;
	u32 pad;
};

/* Who a TCP socket belongs to. The head is ready to be sent: actor owner, or cgroup_only where nobody can be named. */
struct kt_sock {
	struct kt_head head;
	u64 conn_start;
	struct kt_asked asked;
	u32 state; /* KT_S_* */
	s32 err;   /* of KT_S_FAILED */
	u32 ended_by;
	u32 pad;
};
/* key: address of the struct sock. Deleted in tcp_destroy_sock: the very next socket may get the same address. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__type(key, u64);
	__type(value, struct kt_sock);
} kt_socks SEC(".maps");

INLINE int kind_on(u32 kind)
{
	struct kt_config *cfg = config();

	return cfg && cfg->enabled_kinds & (1u << kind);
}

/* Reserved with one test for NULL, on the spot: a second one after a function's return leaks for the verifier of 5.10. */
#define KT_SOCKET_RECORD (sizeof(struct kt_head) + sizeof(struct kt_socket))

INLINE int is_port_ignored(u32 port)
{
	return port && bpf_map_lookup_elem(&kt_ports, &port) != NULL;
}

INLINE void socket_submit(struct kt_head *head, struct kt_act *act)
{
	struct kt_socket *body = (struct kt_socket *)(head + 1);

	if (act->cfg->port_filter && (is_port_ignored(body->remote_port) || is_port_ignored(body->local_port) ||
				      is_port_ignored(body->asked_port))) {
		bpf_ringbuf_discard(head, BPF_RB_NO_WAKEUP);
		count(act->counts, KT_FILTERED);
		return;
	}
	head->len = KT_SOCKET_RECORD;
	bpf_ringbuf_submit(head, BPF_RB_NO_WAKEUP);
	count(act->counts, KT_EMITTED);
}

/* Admission of what a socket does by itself: by its owner, never by `current`. */
INLINE int admit_sock(struct kt_act *act, u32 kind, struct kt_sock *owner, u64 sk)
{
	struct kt_config *cfg = config();
	u64 key;

	if (!owner)
		return admit_cgroup(act, kind, sock_cgroup_id(sk), sock_sampling_key(sk));
	if (cfg && cfg->self_tgid && cfg->self_tgid == owner->head.tgid) {
		count_kind(kind, KT_SEEN);
		count_kind(kind, KT_SELF);
		return 0;
	}
	key = owner->head.start_time;
	return admit_cgroup(act, kind, owner->head.cgroup_id, key ? key : sock_sampling_key(sk));
}

INLINE void head_of_owner(struct kt_head *head, struct kt_sock *owner, struct kt_act *act)
{
	if (!owner) {
		head_fill_cgroup_only(head, act->kind, KT_TIER_TRACKER, act->cgroup_id, act->weight);
		return;
	}
	*head = owner->head;
	head->kind = act->kind;
	head->ktime = bpf_ktime_get_boot_ns();
	head->weight = act->weight;
}

INLINE void put_asked(struct kt_socket *body, const struct kt_asked *asked)
{
	if (asked->family == AF_UNSPEC)
		return;
	*(u64 *)&body->asked_addr[0] = *(u64 *)&asked->addr[0];
	*(u64 *)&body->asked_addr[8] = *(u64 *)&asked->addr[8];
	body->asked_family = asked->family;
	body->asked_port = asked->port;
	body->flags |= KT_SOCK_ASKED;
}

#endif
