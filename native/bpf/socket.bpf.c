// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * socket.*: connect, accept, listen, close and the snapshot of what is open already.
 *
 * TCP is told by its states, most of which change in softirq where `current` is a stranger: whoever sent the SYN or
 * accepted is remembered by socket in kt_socks. System calls add what states do not know: the address asked for,
 * errors before a SYN, backlogs, and everything that is not TCP.
 */
#include "sock.h"
#include "path.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

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

#if defined(__TARGET_ARCH_x86)
enum { NR_CONNECT = 42, NR_ACCEPT = 43, NR_ACCEPT4 = 288, NR_LISTEN = 50 };
#else
enum { NR_CONNECT = 203, NR_ACCEPT = 202, NR_ACCEPT4 = 242, NR_LISTEN = 201 };
#endif

/*
 * A connect(2) or listen(2) that is being made, by thread. Oldest out when full: what stays behind is of exits that were
 * missed, and a call that waits so long is made up for at its exit, or counted there.
 */
#define KT_SOCKADDR 112 /* sockaddr_un is 110: what follows is its NUL */
struct kt_call {
	u64 sk; /* the TCP socket whose SYN this call has sent */
	u64 user_addr;
	u32 nr;
	u32 fd;
	u32 addr_len; /* as passed */
	u32 backlog;
	u32 undone; /* the SYN's state was taken back without an error in the socket: the result says why */
	u32 fault;  /* addr could not be read */
	u8 addr[KT_SOCKADDR];
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, struct kt_call);
} kt_calls SEC(".maps");

INLINE int kind_on(u32 kind)
{
	struct kt_config *cfg = config();

	return cfg && cfg->enabled_kinds & (1u << kind);
}

/* ---- records ---- */

/* Reserved with one test for NULL, on the spot: a second one after a function's return leaks for the verifier of 5.10. */
#define KT_SOCKET_RECORD (sizeof(struct kt_head) + sizeof(struct kt_socket))

INLINE void socket_submit(struct kt_head *head, struct kt_act *act)
{
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

/* ---- calls in flight ---- */

INLINE void call_read_addr(struct kt_call *call)
{
	u32 len = call->addr_len;

	/* the kernel takes at most a sockaddr_storage */
	if (len < sizeof(u16) || len > 128) {
		call->fault = 0;
		return;
	}
	if (len > KT_SOCKADDR)
		len = KT_SOCKADDR;
	barrier_var(len);
	call->fault = bpf_probe_read_user(call->addr, len & 127, (void *)call->user_addr) != 0;
}

INLINE u16 call_family(const struct kt_call *call)
{
	return *(u16 *)call->addr;
}

INLINE void asked_of_call(struct kt_asked *asked, const struct kt_call *call)
{
	u16 family = call_family(call);

	if (call->fault)
		return;
	if (family == AF_INET && call->addr_len >= 16) {
		*(u32 *)asked->addr = *(u32 *)&call->addr[4];
	} else if (family == AF_INET6 && call->addr_len >= 24) {
		*(u64 *)&asked->addr[0] = *(u64 *)&call->addr[8];
		*(u64 *)&asked->addr[8] = *(u64 *)&call->addr[16];
	} else {
		return;
	}
	asked->port = from_be16(*(u16 *)&call->addr[2]);
	asked->family = family;
}

INLINE void call_begin(u32 nr, u64 fd, u64 arg1, u64 arg2)
{
	struct kt_call call = { .nr = nr, .fd = fd };
	u64 id = bpf_get_current_pid_tgid();

	if (nr == NR_CONNECT) {
		call.user_addr = arg1;
		call.addr_len = arg2;
		call_read_addr(&call);
	} else {
		call.backlog = arg1;
	}
	bpf_map_update_elem(&kt_calls, &id, &call, BPF_ANY);
}

/*
 * An entry that was missed (the probe was just attached, or perf-attached programs were held off by a map update on
 * this CPU) is made up for from the saved registers, which still hold the arguments; 5.10 has no helper for that.
 */
INLINE int call_recover(struct kt_call *call, u32 nr)
{
#ifdef KT_LEGACY
	return 0;
#else
	u64 regs = bpf_task_pt_regs(bpf_get_current_task_btf());
	u64 arg1, arg2;

	call->nr = nr;
#if defined(__TARGET_ARCH_x86)
	if (RD(pt_regs, regs, orig_ax) != nr)
		return 0;
	call->fd = RD(pt_regs, regs, di);
	arg1 = RD(pt_regs, regs, si);
	arg2 = RD(pt_regs, regs, dx);
#else
	if (RD(pt_regs, regs, syscallno) != nr)
		return 0;
	call->fd = RD(pt_regs, regs, orig_x0);
	arg1 = RD(pt_regs, regs, user_regs.regs[1]);
	arg2 = RD(pt_regs, regs, user_regs.regs[2]);
#endif
	if (nr == NR_CONNECT) {
		call->user_addr = arg1;
		call->addr_len = arg2;
		call_read_addr(call);
	} else {
		call->backlog = arg1;
	}
	return 1;
#endif
}

/* At the call's exit: copies it out of the map. Returns 0 if it is not known. */
INLINE int call_end(struct kt_call *call, u32 nr)
{
	u64 id = bpf_get_current_pid_tgid();
	struct kt_call *found = bpf_map_lookup_elem(&kt_calls, &id);

	if (!found || found->nr != nr)
		return call_recover(call, nr);
	*call = *found;
	bpf_map_delete_elem(&kt_calls, &id);
	return 1;
}

/* ---- TCP by its states ---- */

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
#ifndef KT_LEGACY
	if (!call && kind_on(KT_SOCKET_CONNECT)) {
		struct kt_call made = {};

		if (call_recover(&made, NR_CONNECT)) {
			bpf_map_update_elem(&kt_calls, &id, &made, BPF_ANY);
			call = bpf_map_lookup_elem(&kt_calls, &id);
		}
	}
#endif
	/* not an older call's: a SYN may also come of sendto(MSG_FASTOPEN), or of io_uring */
	if (call && call->nr == NR_CONNECT &&
	    socket_of_file(file_of_fd(task, call->fd)) == (u64)RD(sock, sk, sk_socket)) {
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
	if (kind_on(KT_SOCKET_CONNECT))
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
	known = call_end(&call, NR_CONNECT);
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

/* A 32-bit system call has other numbers; per-syscall tracepoints leave those out as well. */
INLINE int is_compat(void)
{
#if defined(__TARGET_ARCH_x86)
	return RD(task_struct, current_task(), thread_info.status) & 2; /* TS_COMPAT */
#else
	return RD(task_struct, current_task(), thread_info.flags) >> 22 & 1; /* TIF_32BIT */
#endif
}

/* TP_PROTO(struct pt_regs *regs, long id) */
SEC("tp_btf/sys_enter")
int BPF_PROG(kt_socket_raw_enter, struct pt_regs *regs, long id)
{
	u64 args[3];

	if (id != NR_CONNECT && id != NR_LISTEN)
		return 0;
	if (!is_raw(id == NR_CONNECT ? KT_SOCKET_CONNECT : KT_SOCKET_LISTEN) || is_compat())
		return 0;
#if defined(__TARGET_ARCH_x86)
	args[0] = RD(pt_regs, regs, di);
	args[1] = RD(pt_regs, regs, si);
	args[2] = RD(pt_regs, regs, dx);
#else
	args[0] = RD(pt_regs, regs, user_regs.regs[0]);
	args[1] = RD(pt_regs, regs, user_regs.regs[1]);
	args[2] = RD(pt_regs, regs, user_regs.regs[2]);
#endif
	if (id == NR_CONNECT)
		connect__enter(args[0], args[1], args[2]);
	else
		listen__enter(args[0], args[1]);
	return 0;
}

/* TP_PROTO(struct pt_regs *regs, long ret) */
SEC("tp_btf/sys_exit")
int BPF_PROG(kt_socket_raw_exit, struct pt_regs *regs, long ret)
{
#if defined(__TARGET_ARCH_x86)
	long id = RD(pt_regs, regs, orig_ax);
#else
	long id = RD(pt_regs, regs, syscallno);
#endif

	if (id != NR_CONNECT && id != NR_ACCEPT && id != NR_ACCEPT4 && id != NR_LISTEN)
		return 0;
	if (is_compat())
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
