/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* TCP by its states: what they tell, and whose name it goes under. */
#ifndef KT_SOCKET_TCP_H
#define KT_SOCKET_TCP_H

#include "socket_call.h"

/* CLOSE > SYN_SENT: the caller's own context. */
INLINE void tcp_syn(u64 sk)
{
	struct task_struct *task = current_task();
	u64 id = bpf_get_current_pid_tgid();
	struct kt_sock owner = { .state = KT_S_PENDING };
	struct kt_call *call;

	if (RD(task_struct, task, flags) & PF_KTHREAD) {
		/* a kernel worker: NFS, or a further path of an MPTCP connection, which has its socket's cgroup */
		head_fill_cgroup_only(&owner.head, 0, KT_TIER_TRACKER, sock_cgroup_id(sk), 1);
	} else {
		head_fill(&owner.head, task, 0, KT_TIER_TRACKER, task_cgroup_id(task), 1);
		owner.head.actor = KT_ACTOR_OWNER;
	}
	owner.conn_start = bpf_ktime_get_boot_ns();
	call = bpf_map_lookup_elem(&kt_calls, &id);
	/* a SYN may also come of sendto(MSG_FASTOPEN), or of io_uring */
	if (call && !call_is_current(call, NR_CONNECT))
		call = NULL;
	if (!call && is_remembered(KT_SOCKET_CONNECT)) {
		struct kt_call made = {};

		if (call_recover(&made, NR_CONNECT)) {
			bpf_map_update_elem(&kt_calls, &id, &made, BPF_ANY);
			call = bpf_map_lookup_elem(&kt_calls, &id);
		}
	}
	if (call && socket_of_file(file_of_fd(task, call->fd)) == (u64)RD(sock, sk, sk_socket)) {
		call->sk = sk;
		call->undone = 0;
		if (call->fault)
			call_read_addr(call); /* the kernel has read it meanwhile, so it is there now */
		asked_of_call(&owner.asked, call);
	}
	if (bpf_map_update_elem(&kt_socks, &sk, &owner, BPF_ANY))
		count_kind(KT_SOCKET_CONNECT, KT_NOTE_STATE_FULL);
}

/* The SYN was answered (err 0), refused, timed out or given up. */
INLINE void tcp_connect_result(u64 sk, struct kt_sock *owner, int err)
{
	struct kt_head *head;
	struct kt_socket *body;
	struct kt_act act;

	if (!admit_sock(&act, KT_SOCKET_CONNECT, owner, sk))
		return;
	head = bpf_ringbuf_reserve(&kt_ring_events, KT_SOCKET_RECORD, 0);
	if (!head) {
		count(act.counts, KT_LOST_RING_FULL);
		return;
	}
	body = (struct kt_socket *)(head + 1);
	head_of_owner(head, owner, &act);
	body_fill(body, sk);
	put_local(body, sk);
	put_remote(body, sk);
	if (owner) {
		body->conn_start = owner->conn_start;
		put_asked(body, &owner->asked);
	}
	body->ret = -err;
	socket_submit(head, &act);
}

/* Left SYN_SENT (or SYN_RECV, in a simultaneous open). */
INLINE void tcp_answered(u64 sk, struct kt_sock *owner, int newstate)
{
	u64 id = bpf_get_current_pid_tgid();
	struct kt_call *call;
	int err = RD(sock, sk, sk_err);

	if (newstate == TCP_SYN_RECV)
		return;
	if (newstate == TCP_ESTABLISHED) {
		if (owner)
			owner->state = KT_S_OPEN;
		tcp_connect_result(sk, owner, 0);
		return;
	}
	if (!err) {
		/*
		 * No answer, no error: its connect(2) takes it back (no port left, refused by a filter: the exit knows the
		 * errno), or it was closed. Only process context does this without setting an error.
		 */
		call = bpf_map_lookup_elem(&kt_calls, &id);
		if (call && call->sk == sk) {
			call->undone = 1;
			if (owner)
				owner->state = 0;
			return;
		}
		err = ECANCELED;
	}
	if (owner) {
		owner->state = KT_S_FAILED;
		owner->err = err;
	}
	tcp_connect_result(sk, owner, err);
}

INLINE u32 ended_by(int oldstate, int newstate, int err)
{
	switch (newstate) {
	case TCP_FIN_WAIT1:
		return KT_ENDED_LOCAL;
	case TCP_CLOSE_WAIT:
	case TCP_LAST_ACK:
		return KT_ENDED_REMOTE;
	}
	switch (oldstate) {
	case TCP_FIN_WAIT1:
	case TCP_FIN_WAIT2:
	case TCP_CLOSING:
		return KT_ENDED_LOCAL;
	case TCP_CLOSE_WAIT:
	case TCP_LAST_ACK:
		return KT_ENDED_REMOTE;
	}
	switch (err) {
	case 0:
	case ECONNABORTED: /* tcp_abort(): ss -K */
		return KT_ENDED_LOCAL_RESET;
	case ECONNRESET:
	case EPIPE:
		return KT_ENDED_REMOTE_RESET;
	case ETIMEDOUT:
	case EHOSTUNREACH: /* retransmissions ran out; an ICMP error is what is known of the reason */
	case ENETUNREACH:
		return KT_ENDED_TIMEOUT;
	}
	return KT_ENDED_UNKNOWN;
}

INLINE void tcp_close(u64 sk, struct kt_sock *owner, u32 ended)
{
	struct kt_head *head;
	struct kt_socket *body;
	struct kt_act act;
	s32 err = RD(sock, sk, sk_err);

	if (owner)
		owner->state = KT_S_CLOSED;
	if (!admit_sock(&act, KT_SOCKET_CLOSE, owner, sk))
		return;
	head = bpf_ringbuf_reserve(&kt_ring_events, KT_SOCKET_RECORD, 0);
	if (!head) {
		count(act.counts, KT_LOST_RING_FULL);
		return;
	}
	body = (struct kt_socket *)(head + 1);
	head_of_owner(head, owner, &act);
	body_fill(body, sk);
	put_local(body, sk);
	put_remote(body, sk);
	put_bytes(body, sk);
	if (owner) {
		if (!err)
			err = owner->err;
		body->conn_start = owner->conn_start;
		if (owner->conn_start)
			body->duration = head->ktime - owner->conn_start;
		put_asked(body, &owner->asked);
	}
	body->ended_by = ended;
	body->ret = -err;
	socket_submit(head, &act);
}

/* A connection that nobody was seen to open: older than the agent and not in its snapshot, or accepted by io_uring. */
INLINE struct kt_sock *tcp_adopt(u64 sk)
{
	struct kt_sock owner = { .state = KT_S_OPEN };

	head_fill_cgroup_only(&owner.head, 0, KT_TIER_TRACKER, sock_cgroup_id(sk), 1);
	if (bpf_map_update_elem(&kt_socks, &sk, &owner, BPF_NOEXIST))
		count_kind(KT_SOCKET_CLOSE, KT_NOTE_STATE_FULL);
	return bpf_map_lookup_elem(&kt_socks, &sk);
}

/*
 * Our FIN is sent in the context of the process that closes, while all other transitions may come in softirq: so that
 * process is named where nobody else can be, if it is in the socket's own cgroup.
 */
INLINE void tcp_name_closer(struct kt_sock *owner)
{
	struct task_struct *task = current_task();
	u64 cgroup_id = owner->head.cgroup_id;

	if (RD(task_struct, task, flags) & PF_KTHREAD || task_cgroup_id(task) != cgroup_id)
		return;
	head_fill(&owner->head, task, 0, KT_TIER_TRACKER, cgroup_id, 1);
	owner->head.actor = KT_ACTOR_OWNER;
}

INLINE void tcp_state(u64 sk, int oldstate, int newstate)
{
	struct kt_sock *owner;
	u32 ended;

	if (sock_protocol(sk) != IPPROTO_TCP)
		return;
	if (oldstate == TCP_CLOSE) {
		if (newstate == TCP_SYN_SENT)
			tcp_syn(sk);
		return;
	}
	if (oldstate == TCP_LISTEN) {
		/* a connection's new socket (LISTEN > SYN_RECV) cannot have an owner yet, whatever was missed before */
		if (newstate == TCP_SYN_RECV)
			bpf_map_delete_elem(&kt_socks, &sk);
		return;
	}
	if (oldstate == TCP_NEW_SYN_RECV)
		return;
	owner = bpf_map_lookup_elem(&kt_socks, &sk);
	if (oldstate == TCP_SYN_SENT || (oldstate == TCP_SYN_RECV && owner && owner->state == KT_S_PENDING)) {
		tcp_answered(sk, owner, newstate);
		return;
	}
	if (newstate == TCP_ESTABLISHED)
		return; /* the passive side: reported when it is accepted */
	if (!owner && (oldstate == TCP_ESTABLISHED || oldstate == TCP_CLOSE_WAIT || oldstate == TCP_SYN_RECV)) {
		/* In no process's hands: it was never accepted, and never reported. (Orphans are past these states.) */
		if (!RD(sock, sk, sk_socket))
			return;
		owner = tcp_adopt(sk);
	}
	ended = ended_by(oldstate, newstate, RD(sock, sk, sk_err));
	if (owner) {
		if (!(owner->state & (KT_S_OPEN | KT_S_PENDING)))
			return;
		if (owner->head.actor == KT_ACTOR_CGROUP_ONLY && (newstate == TCP_FIN_WAIT1 || newstate == TCP_LAST_ACK))
			tcp_name_closer(owner);
		if (!owner->ended_by)
			owner->ended_by = ended;
		ended = owner->ended_by;
	}
	if (newstate == TCP_CLOSE)
		tcp_close(sk, owner, ended);
}

#endif
