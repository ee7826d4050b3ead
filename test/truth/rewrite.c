/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rewrite CGROUP_DIR FROM_IP FROM_PORT TO_IP TO_PORT: whoever in the control group connects to FROM reaches TO, as with the
 * socket load balancer of a CNI (cgroup/connect4, before the SYN). Says `ready`; until stdin ends.
 */
#include "inet.h"
#include <linux/bpf.h>
#include <stddef.h>

static long bpf(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

int main(int argc, char **argv)
{
	if (argc != 6)
		return 2;
	union address from = address_of(argv[2], atoi(argv[3])), to = address_of(argv[4], atoi(argv[5]));
	int ip = offsetof(struct bpf_sock_addr, user_ip4), port = offsetof(struct bpf_sock_addr, user_port);
	/* Addresses and ports are in network order in the context, as in the socket's address. */
	struct bpf_insn program[] = {
		{ .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 2, .src_reg = 1, .off = (short)ip },
		{ .code = BPF_JMP32 | BPF_JNE | BPF_K, .dst_reg = 2, .off = 6, .imm = (int)from.v4.sin_addr.s_addr },
		{ .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 2, .src_reg = 1, .off = (short)port },
		{ .code = BPF_JMP32 | BPF_JNE | BPF_K, .dst_reg = 2, .off = 4, .imm = from.v4.sin_port },
		{ .code = BPF_ALU | BPF_MOV | BPF_K, .dst_reg = 2, .imm = (int)to.v4.sin_addr.s_addr },
		{ .code = BPF_STX | BPF_MEM | BPF_W, .dst_reg = 1, .src_reg = 2, .off = (short)ip },
		{ .code = BPF_ALU | BPF_MOV | BPF_K, .dst_reg = 2, .imm = to.v4.sin_port },
		{ .code = BPF_STX | BPF_MEM | BPF_W, .dst_reg = 1, .src_reg = 2, .off = (short)port },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	char log[4096] = "";
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
		.expected_attach_type = BPF_CGROUP_INET4_CONNECT,
		.insns = (uint64_t)program,
		.insn_cnt = sizeof(program) / sizeof(*program),
		.license = (uint64_t)"GPL",
		.log_buf = (uint64_t)log,
		.log_size = sizeof(log),
		.log_level = 1,
	};
	int fd = (int)bpf(BPF_PROG_LOAD, &load);
	if (fd < 0)
		fprintf(stderr, "%s", log);
	CHECK(fd);
	/* A link goes with this process. */
	union bpf_attr link = { 0 };
	link.link_create.prog_fd = (uint32_t)fd;
	link.link_create.target_fd = (uint32_t)CHECK(open(argv[1], O_RDONLY | O_DIRECTORY));
	link.link_create.attach_type = BPF_CGROUP_INET4_CONNECT;
	CHECK(bpf(BPF_LINK_CREATE, &link));
	line_start("ready", "");
	line_finish();
	char byte;
	while (CHECK(read(0, &byte, 1)))
		;
	return 0;
}
