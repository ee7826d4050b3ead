/* SPDX-License-Identifier: Apache-2.0 */
/* uring WORK_DIR: opens a file by io_uring, with raw system calls. */
#include "file.h"
#include <linux/io_uring.h>
#include <sys/mman.h>

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	enter_work_dir(argv[1]);
	make_file("file");

	struct io_uring_params params = { 0 };
	act();
	int ring = (int)syscall(SYS_io_uring_setup, 8, &params);
	line_start("setup", "process.io_uring");
	say_number("entries", 8);
	say_number("flags", 0);
	say_number("result", ring < 0 ? -errno : ring);
	line_finish();
	if (ring < 0)
		return 0;
	struct io_uring_params bad = { .flags = 1u << 31 };
	act();
	int refused = (int)syscall(SYS_io_uring_setup, 4, &bad);
	line_start("setup-refused", "process.io_uring");
	say_number("entries", 4);
	say_number("flags", 1u << 31);
	say_number("result", refused < 0 ? -errno : refused);
	line_finish();

	size_t bytes = params.sq_off.array + params.sq_entries * sizeof(uint32_t);
	size_t cq_bytes = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
	if (cq_bytes > bytes)
		bytes = cq_bytes;
	char *rings = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	char *cq = params.features & IORING_FEAT_SINGLE_MMAP ?
			   rings :
			   mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
	struct io_uring_sqe *sqes = mmap(NULL, params.sq_entries * sizeof(*sqes), PROT_READ | PROT_WRITE, MAP_SHARED, ring,
					 IORING_OFF_SQES);
	if (rings == MAP_FAILED || cq == MAP_FAILED || sqes == MAP_FAILED)
		die("mmap");
	memset(sqes, 0, sizeof(*sqes));
	sqes->opcode = IORING_OP_OPENAT;
	sqes->fd = AT_FDCWD;
	sqes->addr = (uint64_t)(uintptr_t)"file";
	sqes->open_flags = O_RDONLY;
	((uint32_t *)(rings + params.sq_off.array))[0] = 0;
	__atomic_store_n((uint32_t *)(rings + params.sq_off.tail), 1, __ATOMIC_RELEASE);
	act();
	CHECK(syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0));
	struct io_uring_cqe *cqe = (struct io_uring_cqe *)(cq + params.cq_off.cqes);
	said_open("openat", cqe->res, "file", O_RDONLY, 0);
	return 0;
}
