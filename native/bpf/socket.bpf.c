// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * socket.*: connect, accept, listen, close and the snapshot of what is open already.
 *
 * TCP is told by its states, most of which change in softirq where `current` is a stranger: whoever sent the SYN or
 * accepted is remembered by socket in kt_socks. System calls add what states do not know: the address asked for,
 * errors before a SYN, backlogs, and everything that is not TCP.
 */
#include "socket_syscall.h"
#include "socket_tcp.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* TP_PROTO(const struct sock *sk, const int oldstate, const int newstate), under the socket's lock */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(kt_inet_sock_set_state, const struct sock *sk, int oldstate, int newstate)
{
	tcp_state((u64)sk, oldstate, newstate);
	return 0;
}

/* TP_PROTO(struct sock *sk), once per TCP socket */
SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(kt_tcp_destroy_sock, struct sock *sk)
{
	u64 key = (u64)sk;
	struct kt_sock *owner = bpf_map_lookup_elem(&kt_socks, &key);

	if (!owner)
		return 0;
	/* reset before it was accepted */
	if (owner->state & KT_S_OPEN)
		tcp_close(key, owner, owner->ended_by);
	bpf_map_delete_elem(&kt_socks, &key);
	return 0;
}

/* ---- system calls ---- */

SEC("tp/syscalls/sys_enter_connect")
int kt_sys_enter_connect(struct trace_event_raw_sys_enter *ctx)
{
	connect__enter(ctx->args[0], ctx->args[1], ctx->args[2]);
	return 0;
}

SEC("tp/syscalls/sys_exit_connect")
int kt_sys_exit_connect(struct trace_event_raw_sys_exit *ctx)
{
	connect__exit(ctx->ret, KT_TIER_SYSCALL);
	return 0;
}

SEC("tp/syscalls/sys_exit_accept")
int kt_sys_exit_accept(struct trace_event_raw_sys_exit *ctx)
{
	accept__exit(ctx->ret, KT_TIER_SYSCALL);
	return 0;
}

SEC("tp/syscalls/sys_exit_accept4")
int kt_sys_exit_accept4(struct trace_event_raw_sys_exit *ctx)
{
	accept__exit(ctx->ret, KT_TIER_SYSCALL);
	return 0;
}

SEC("tp/syscalls/sys_enter_listen")
int kt_sys_enter_listen(struct trace_event_raw_sys_enter *ctx)
{
	listen__enter(ctx->args[0], ctx->args[1]);
	return 0;
}

SEC("tp/syscalls/sys_exit_listen")
int kt_sys_exit_listen(struct trace_event_raw_sys_exit *ctx)
{
	listen__exit(ctx->ret, KT_TIER_SYSCALL);
	return 0;
}

/* TP_PROTO(struct pt_regs *regs, long id) */
SEC("tp_btf/sys_enter")
int BPF_PROG(kt_socket_raw_enter, struct pt_regs *regs, long id)
{
	if (id != NR_CONNECT && id != NR_LISTEN)
		return 0;
	if (!is_raw(id == NR_CONNECT ? KT_SOCKET_CONNECT : KT_SOCKET_LISTEN) || IS_COMPAT(current_task()))
		return 0;
	if (id == NR_CONNECT)
		connect__enter(ARG1(regs), ARG2(regs), ARG3(regs));
	else
		listen__enter(ARG1(regs), ARG2(regs));
	return 0;
}

/* TP_PROTO(struct pt_regs *regs, long ret) */
SEC("tp_btf/sys_exit")
int BPF_PROG(kt_socket_raw_exit, struct pt_regs *regs, long ret)
{
	long id = SYSCALL_NUMBER(regs);

	if (id != NR_CONNECT && id != NR_ACCEPT && id != NR_ACCEPT4 && id != NR_LISTEN)
		return 0;
	if (IS_COMPAT(current_task()))
		return 0;
	if (id == NR_CONNECT) {
		if (is_raw(KT_SOCKET_CONNECT))
			connect__exit(ret, KT_TIER_RAW_SYSCALL);
	} else if (id == NR_LISTEN) {
		if (is_raw(KT_SOCKET_LISTEN))
			listen__exit(ret, KT_TIER_RAW_SYSCALL);
	} else if (is_raw(KT_SOCKET_ACCEPT) || !kind_on(KT_SOCKET_ACCEPT)) {
		/* also where nobody wants to hear of it: it gives the connection its owner */
		accept__exit(ret, KT_TIER_RAW_SYSCALL);
	}
	return 0;
}

/* ---- the snapshot at start ---- */

/* One TCP socket of one task's descriptors: the first task met with it is taken for its owner. */
INLINE void snapshot_socket(struct task_struct *task, u64 file)
{
	struct kt_sock owner = { .state = KT_S_OPEN };
	struct kt_config *cfg = config();
	struct kt_head *head;
	struct kt_socket *body;
	struct kt_act act;
	u32 kind = KT_SOCKET_CONNECT;
	u64 sk = sock_of_socket(socket_of_file(file));
	long err;

	if (!sk || !cfg || !is_inet(sock_family(sk)) || sock_protocol(sk) != IPPROTO_TCP)
		return;
	switch (sock_state(sk)) {
	case TCP_LISTEN:
		kind = KT_SOCKET_LISTEN;
		owner.state = 0;
		break;
	case TCP_SYN_SENT:
		owner.state = KT_S_PENDING;
		break;
	case TCP_ESTABLISHED:
	case TCP_SYN_RECV:
		break;
	case TCP_FIN_WAIT1:
	case TCP_FIN_WAIT2:
		owner.ended_by = KT_ENDED_LOCAL;
		break;
	case TCP_CLOSE_WAIT:
		owner.ended_by = KT_ENDED_REMOTE;
		break;
	default:
		return;
	}
	head_fill(&owner.head, task, 0, KT_TIER_TRACKER, task_cgroup_id(task), 1);
	owner.head.actor = KT_ACTOR_OWNER;
	err = bpf_map_update_elem(&kt_socks, &sk, &owner, BPF_NOEXIST);
	if (err == -17 /* EEXIST */)
		return;
	if (err)
		count_kind(kind, KT_NOTE_STATE_FULL);
	if (owner.state == KT_S_PENDING || !admit_sock(&act, kind, &owner, sk))
		return;
	head = bpf_ringbuf_reserve(&kt_ring_events, KT_SOCKET_RECORD, 0);
	if (!head) {
		count(act.counts, KT_LOST_RING_FULL);
		return;
	}
	body = (struct kt_socket *)(head + 1);
	head_of_owner(head, &owner, &act);
	head->tier = KT_TIER_ITERATOR;
	head->weight = 0;
	body_fill(body, sk);
	put_local(body, sk);
	if (kind == KT_SOCKET_LISTEN)
		body->backlog = RD(sock, sk, sk_max_ack_backlog);
	else
		put_remote(body, sk);
	socket_submit(head, &act);
}

SEC("iter/task_file")
int kt_snapshot_sockets(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;

	if (task && file)
		snapshot_socket(task, (u64)file);
	return 0;
}
