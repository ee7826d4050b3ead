/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* connect(2) and listen(2) between their entry and their exit: what was asked for. */
#ifndef KT_SOCKET_CALL_H
#define KT_SOCKET_CALL_H

#include "socket_owner.h"
#include "syscall.h"

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
 * Is a call of this kind remembered at its entry? Not where a policy refuses it: of the saved registers its exit needs no
 * more than the descriptor. Without them (5.10) it is.
 */
INLINE int is_remembered(u32 kind)
{
	struct kt_config *cfg = config();

	return cfg && cfg->enabled_kinds & (1u << kind) && (!HAS_EXIT_REGS || is_wanted(cfg, kind));
}

/* The arguments from the saved registers, which still hold them; 5.10 has no helper for that. Without the address. */
INLINE int call_from_regs(struct kt_call *call, u32 nr)
{
	u64 regs = exit_regs();

	if (!regs || SYSCALL_NUMBER(regs) != nr)
		return 0;
	call->nr = nr;
	call->fd = ARG1(regs);
	if (nr == NR_CONNECT) {
		call->user_addr = ARG2(regs);
		call->addr_len = ARG3(regs);
	} else {
		call->backlog = ARG2(regs);
	}
	return 1;
}

/*
 * An entry that was missed (the probe was just attached, or perf-attached programs were held off by a map update on
 * this CPU) is made up for: with the address as it is by then.
 */
INLINE int call_recover(struct kt_call *call, u32 nr)
{
	if (!call_from_regs(call, nr))
		return 0;
	if (nr == NR_CONNECT)
		call_read_addr(call);
	return 1;
}

/* Is it of the call that is being made? An exit that was missed leaves an older call's behind. */
INLINE int call_is_current(const struct kt_call *call, u32 nr)
{
	u64 regs = exit_regs();

	if (call->nr != nr)
		return 0;
	return !regs || (SYSCALL_NUMBER(regs) == nr && call->fd == (u32)ARG1(regs) &&
			 (nr != NR_CONNECT || call->user_addr == ARG2(regs)));
}

/* At the call's exit: copies it out of the map. Returns 0 if it is not known. */
INLINE int call_end(struct kt_call *call, u32 nr)
{
	u64 id = bpf_get_current_pid_tgid();
	struct kt_call *found = bpf_map_lookup_elem(&kt_calls, &id);

	if (!found || !call_is_current(found, nr))
		return call_recover(call, nr);
	*call = *found;
	bpf_map_delete_elem(&kt_calls, &id);
	return 1;
}

#endif
