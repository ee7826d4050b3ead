/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reading sockets: what a descriptor refers to, both ends, bytes, the socket's own cgroup. */
#ifndef KT_SOCK_H
#define KT_SOCK_H

#include "task.h"

#define AF_UNSPEC 0
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define SOCK_RAW 3
#define IPPROTO_TCP 6
#define IPPROTO_MPTCP 262
#define S_IFMT 0xf000
#define S_IFSOCK 0xc000
#define PF_KTHREAD 0x00200000
#define SOCK_DONE 1 /* bit of sk_flags that tcp_fin() sets */

/* include/net/tcp_states.h */
enum {
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT = 2,
	TCP_SYN_RECV = 3,
	TCP_FIN_WAIT1 = 4,
	TCP_FIN_WAIT2 = 5,
	TCP_CLOSE = 7,
	TCP_CLOSE_WAIT = 8,
	TCP_LAST_ACK = 9,
	TCP_LISTEN = 10,
	TCP_CLOSING = 11,
	TCP_NEW_SYN_RECV = 12,
};

/* errno of asm-generic, the same on x86 and arm64 */
enum {
	EINTR = 4,
	EPIPE = 32,
	ENETUNREACH = 101,
	ECONNABORTED = 103,
	ECONNRESET = 104,
	EISCONN = 106,
	ETIMEDOUT = 110,
	EHOSTUNREACH = 113,
	EALREADY = 114,
	EINPROGRESS = 115,
	ECANCELED = 125,
	ERESTARTSYS = 512, /* to 516: the call is made again or becomes EINTR: not a result */
	ERESTART_RESTARTBLOCK = 516,
};

INLINE u16 from_be16(u16 v)
{
	return v >> 8 | v << 8;
}

/* The struct socket behind an open file; 0 if it is none. An O_PATH file of a socket's inode has no private data. */
INLINE u64 socket_of_file(u64 file)
{
	u64 inode;

	if (!file)
		return 0;
	inode = (u64)RD(file, file, f_inode);
	if ((RD(inode, inode, i_mode) & S_IFMT) != S_IFSOCK)
		return 0;
	return (u64)RD(file, file, private_data);
}

INLINE u16 sock_family(u64 sk)
{
	return RD(sock, sk, __sk_common.skc_family);
}

INLINE u16 sock_protocol(u64 sk)
{
	return RD(sock, sk, sk_protocol);
}

INLINE u8 sock_state(u64 sk)
{
	return RD(sock, sk, __sk_common.skc_state);
}

INLINE int is_inet(u16 family)
{
	return family == AF_INET || family == AF_INET6;
}

/*
 * The sock of a struct socket; of an MPTCP one (Go's listeners by default since 1.24) its first subflow: the TCP sock
 * whose states and end the tracepoints tell.
 */
INLINE u64 sock_of_socket(u64 socket)
{
	u64 sk, first;

	if (!socket)
		return 0;
	sk = (u64)RD(socket, socket, sk);
	if (sk && bpf_core_field_exists(struct mptcp_sock, first) && is_inet(sock_family(sk)) &&
	    sock_protocol(sk) == IPPROTO_MPTCP) {
		first = (u64)RD(mptcp_sock, sk, first);
		if (first)
			return first;
	}
	return sk;
}

INLINE u64 sock_cgroup_id(u64 sk)
{
	u64 cgrp;

	if (bpf_core_field_exists(struct sock_cgroup_data, cgroup)) {
		cgrp = (u64)RD(sock, sk, sk_cgrp_data.cgroup);
	} else {
		/* a pointer, unless the low bits say class id and priority (cgroup v1) or that it was never set */
		cgrp = K64(AT(sock, sk, sk_cgrp_data));
		if (cgrp & 3)
			cgrp = 0;
	}
	/* sock_cgroup_ptr(): without one it is the root's, whose id is 1 */
	return cgrp ? RD(kernfs_node, RD(cgroup, cgrp, kn), id) : 1;
}

/* What sampling tells connections apart by where no process is known: the same at both of a connection's events. */
INLINE u64 sock_sampling_key(u64 sk)
{
	return (u64)RD(sock, sk, __sk_common.skc_daddr) << 32 | (u32)RD(sock, sk, __sk_common.skc_dport) << 16 |
	       RD(inet_sock, sk, inet_sport);
}

/* Local end. inet_sport outlives skc_num, which is 0 as soon as a failed or closed socket has given its port back. */
INLINE void put_local(struct kt_socket *body, u64 sk)
{
	u16 port = from_be16(RD(inet_sock, sk, inet_sport));

	if (body->family == AF_INET) {
		u32 addr = RD(sock, sk, __sk_common.skc_rcv_saddr);

		if (!addr)
			addr = RD(inet_sock, sk, inet_saddr);
		*(u32 *)body->local_addr = addr;
	} else {
		*(u64 *)&body->local_addr[0] = K64(AT(sock, sk, __sk_common.skc_v6_rcv_saddr));
		*(u64 *)&body->local_addr[8] = K64(AT(sock, sk, __sk_common.skc_v6_rcv_saddr) + 8);
	}
	if (!port)
		port = RD(sock, sk, __sk_common.skc_num);
	/* raw sockets keep their protocol there */
	if (RD(sock, sk, sk_type) == SOCK_RAW)
		port = 0;
	body->local_port = port;
	if (port || *(u64 *)&body->local_addr[0] || *(u64 *)&body->local_addr[8])
		body->flags |= KT_SOCK_LOCAL;
}

INLINE void put_remote(struct kt_socket *body, u64 sk)
{
	if (body->family == AF_INET) {
		*(u32 *)body->remote_addr = RD(sock, sk, __sk_common.skc_daddr);
	} else {
		*(u64 *)&body->remote_addr[0] = K64(AT(sock, sk, __sk_common.skc_v6_daddr));
		*(u64 *)&body->remote_addr[8] = K64(AT(sock, sk, __sk_common.skc_v6_daddr) + 8);
	}
	body->remote_port = from_be16(RD(sock, sk, __sk_common.skc_dport));
	body->flags |= KT_SOCK_REMOTE;
}

/* Payload of a TCP sock: the FIN counts as a received byte once tcp_fin() has met it, sent bytes never include ours. */
INLINE void put_bytes(struct kt_socket *body, u64 sk)
{
	u64 sent = RD(tcp_sock, sk, bytes_sent), again = RD(tcp_sock, sk, bytes_retrans);
	u64 received = RD(tcp_sock, sk, bytes_received);

	if (received && RD(sock, sk, __sk_common.skc_flags) & (1ul << SOCK_DONE))
		received--;
	body->bytes_sent = sent > again ? sent - again : 0;
	body->bytes_received = received;
	body->flags |= KT_SOCK_COUNTERS;
}

/* A socket.* body without ends; everything else is 0. */
INLINE void body_fill(struct kt_socket *body, u64 sk)
{
	__builtin_memset(body, 0, sizeof(*body));
	body->family = sock_family(sk);
	body->protocol = body->family == AF_UNIX ? RD(sock, sk, sk_type) : sock_protocol(sk);
}

#endif
