/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What connect(2), accept(2) and listen(2) tell beside the states: their results, and sockets that are not TCP. */
#ifndef KT_SOCKET_SYSCALL_H
#define KT_SOCKET_SYSCALL_H

#include "socket_tcp.h"
#include "socket_unix.h"

INLINE void connect_inet(struct kt_act *act, const struct kt_call *call, u64 sk, long ret, u32 tier)
{
	struct kt_asked asked = {};
	struct kt_head *head = bpf_ringbuf_reserve(&kt_ring_events, KT_SOCKET_RECORD, 0);
	struct kt_socket *body;

	if (!head) {
		count(act->counts, KT_LOST_RING_FULL);
		return;
	}
	body = (struct kt_socket *)(head + 1);
	head_fill(head, current_task(), KT_SOCKET_CONNECT, tier, act->cgroup_id, act->weight);
	body_fill(body, sk);
	put_local(body, sk);
	/* after a failure the socket may hold an earlier peer, or none */
	if (!ret)
		put_remote(body, sk);
	asked_of_call(&asked, call);
	put_asked(body, &asked);
	body->conn_start = head->ktime;
	body->ret = ret;
	socket_submit(head, act);
}

/* Is this connect(2) of a TCP socket told by the socket's states, so that its exit adds nothing? */
INLINE int told_by_states(const struct kt_call *call, u64 sk, long ret)
{
	struct kt_sock *owner;

	if (call->undone)
		return 0;
	/* 0: also the first call of TCP_FASTOPEN_CONNECT, which only the first write makes real */
	if (!ret || ret == -EINPROGRESS || ret == -EALREADY || ret == -EISCONN)
		return 1;
	owner = bpf_map_lookup_elem(&kt_socks, &sk);
	if (owner && owner->state == KT_S_FAILED) {
		/* fetched by this call, be it the one that sent the SYN or a later one; 103 where SO_ERROR was read before */
		owner->state = 0;
		if (ret == -owner->err || ret == -ECONNABORTED)
			return 1;
	}
	return call->sk == sk || (owner && owner->state == KT_S_PENDING);
}

INLINE void connect__enter(u64 fd, u64 addr, u64 addr_len)
{
	if (is_remembered(KT_SOCKET_CONNECT))
		call_begin(NR_CONNECT, fd, addr, addr_len);
}

INLINE void connect__exit(long ret, u32 tier)
{
	struct task_struct *task = current_task();
	struct kt_call call = {};
	struct kt_act act;
	u16 family = AF_UNSPEC;
	u64 sk;
	int known;

	if (!kind_on(KT_SOCKET_CONNECT))
		return;
	known = is_remembered(KT_SOCKET_CONNECT) ? call_end(&call, NR_CONNECT) : call_from_regs(&call, NR_CONNECT);
	if (ret <= -ERESTARTSYS && ret >= -ERESTART_RESTARTBLOCK)
		return;
	sk = known ? sock_of_socket(socket_of_file(file_of_fd(task, call.fd))) : 0;
	if (sk) {
		family = sock_family(sk);
		if (is_inet(family) && sock_protocol(sk) == IPPROTO_TCP && told_by_states(&call, sk, ret))
			return;
	}
	if (!admit(&act, KT_SOCKET_CONNECT, task, 1))
		return;
	if (!known) {
		count(act.counts, KT_LOST_UNPAIRED);
		return;
	}
	if (call.fault) {
		call_read_addr(&call);
		if (call.fault)
			count(act.counts, KT_NOTE_USER_FAULT);
	}
	if (family == AF_UNIX)
		connect_unix(&act, &call, sk, ret, tier);
	else if (is_inet(family) && (call.fault || call_family(&call) != AF_UNSPEC))
		connect_inet(&act, &call, sk, ret, tier);
	else
		count(act.counts, KT_FILTERED); /* no socket, another family, or a connection dissolved by AF_UNSPEC */
}

INLINE void accept__exit(long fd, u32 tier)
{
	struct task_struct *task = current_task();
	struct kt_sock owner = {}, *before;
	struct kt_head *head;
	struct kt_socket *body;
	struct kt_act act;
	u16 family = AF_UNSPEC;
	u64 sk;

	if (fd < 0)
		return;
	sk = sock_of_socket(socket_of_file(file_of_fd(task, fd)));
	if (sk)
		family = sock_family(sk);
	if (is_inet(family)) {
		head_fill(&owner.head, task, KT_SOCKET_ACCEPT, KT_TIER_TRACKER, task_cgroup_id(task), 1);
		owner.conn_start = owner.head.ktime;
	}
	if (is_inet(family) && sock_protocol(sk) == IPPROTO_TCP) {
		u8 state = sock_state(sk);

		owner.head.actor = KT_ACTOR_OWNER;
		owner.state = KT_S_OPEN;
		/* what happened to it while it waited */
		if (state == TCP_CLOSE_WAIT) {
			owner.ended_by = KT_ENDED_REMOTE;
		} else if (state == TCP_CLOSE) {
			owner.err = RD(sock, sk, sk_err);
			owner.ended_by = owner.err == ETIMEDOUT ? KT_ENDED_TIMEOUT : KT_ENDED_REMOTE_RESET;
		}
		before = bpf_map_lookup_elem(&kt_socks, &sk);
		if (before && before->state == KT_S_CLOSED)
			owner.state = KT_S_CLOSED; /* between the return of accept and here */
		if (bpf_map_update_elem(&kt_socks, &sk, &owner, BPF_ANY))
			count_kind(KT_SOCKET_ACCEPT, KT_NOTE_STATE_FULL);
		owner.head.actor = KT_ACTOR_CURRENT;
	}
	if (!kind_on(KT_SOCKET_ACCEPT) || !admit(&act, KT_SOCKET_ACCEPT, task, 1))
		return;
	if (!sk) {
		count(act.counts, KT_LOST_UNPAIRED); /* another thread has closed it already */
		return;
	}
	if (!is_inet(family)) {
		count(act.counts, KT_FILTERED);
		return;
	}
	head = bpf_ringbuf_reserve(&kt_ring_events, KT_SOCKET_RECORD, 0);
	if (!head) {
		count(act.counts, KT_LOST_RING_FULL);
		return;
	}
	body = (struct kt_socket *)(head + 1);
	*head = owner.head;
	head->tier = tier;
	head->weight = act.weight;
	body_fill(body, sk);
	put_local(body, sk);
	put_remote(body, sk);
	body->conn_start = owner.conn_start;
	socket_submit(head, &act);
}

INLINE void listen__enter(u64 fd, u64 backlog)
{
	if (kind_on(KT_SOCKET_LISTEN))
		call_begin(NR_LISTEN, fd, backlog, 0);
}

INLINE void listen__exit(long ret, u32 tier)
{
	struct task_struct *task = current_task();
	struct kt_call call = {};
	struct kt_head *head;
	struct kt_socket *body;
	struct kt_act act;
	int known;
	u64 sk;

	if (!kind_on(KT_SOCKET_LISTEN))
		return;
	known = call_end(&call, NR_LISTEN);
	if (!admit(&act, KT_SOCKET_LISTEN, task, 1))
		return;
	if (!known) {
		count(act.counts, KT_LOST_UNPAIRED);
		return;
	}
	sk = sock_of_socket(socket_of_file(file_of_fd(task, call.fd)));
	if (!sk || !is_inet(sock_family(sk))) {
		count(act.counts, KT_FILTERED);
		return;
	}
	head = bpf_ringbuf_reserve(&kt_ring_events, KT_SOCKET_RECORD, 0);
	if (!head) {
		count(act.counts, KT_LOST_RING_FULL);
		return;
	}
	body = (struct kt_socket *)(head + 1);
	head_fill(head, task, KT_SOCKET_LISTEN, tier, act.cgroup_id, act.weight);
	body_fill(body, sk);
	put_local(body, sk);
	body->backlog = call.backlog;
	body->ret = ret;
	socket_submit(head, &act);
}

#endif
