/* SPDX-License-Identifier: Apache-2.0 */
/* close WORK_DIR: ends of files that were open for writing. */
#include "file.h"
#include <sys/mman.h>

static int opened(const char *name, const char *file, unsigned flags)
{
	act();
	return said_open(name, (int)syscall(SYS_openat, AT_FDCWD, file, flags, 0644), file, flags, 0);
}

static void plain(void)
{
	next_tick();
	int fd = opened("open-1", "a", O_WRONLY);
	said_close("unmodified", fd, 0, 0);
	fd = opened("open-2", "a", O_WRONLY);
	CHECK(write(fd, "hello", 5));
	said_close("grown", fd, 0, 1);
	next_tick();
	fd = opened("open-3", "a", O_RDWR);
	CHECK(pwrite(fd, "HELLO", 5, 0));
	said_close("same-size", fd, 0, 1);
	fd = opened("open-4", "a", O_RDWR);
	CHECK(ftruncate(fd, 0));
	said_close("truncated", fd, 0, 1);
	fd = opened("open-5", "a", O_RDONLY);
	CHECK(close(fd)); /* read only: no event */
}

static void duplicates(void)
{
	next_tick();
	int fd = opened("open-6", "b", O_WRONLY);
	int copy = CHECK(dup(fd));
	CHECK(write(fd, "x", 1));
	CHECK(close(fd)); /* not the last one: no event */
	said_close("last-duplicate", copy, 0, 1);

	fd = opened("open-7", "b", O_WRONLY);
	act();
	pid_t child = CHECK(fork());
	if (child == 0)
		_exit(0); /* its copy goes at exit; the parent's is still open */
	say_exit("holder-exit", child);
	said_close("after-child", fd, 0, 0);
}

static void removed(void)
{
	int fd = opened("open-8", "c", O_WRONLY);
	CHECK(write(fd, "x", 1));
	act();
	long done = unlink_call("c");
	said_named("unlink-open", "file.unlink", joined(work_dir, "c"), 0, NULL, 0, done);
	said_close("unlinked", fd, STATE_DELETED, 1);
}

static void said_lost(const char *name, const char *path, long long size)
{
	line_start(name, "file.close");
	say_string("path", joined(work_dir, path));
	say_number("size", size);
	line_finish();
}

/* Ends that are no close(2): the system-call tier does not see them. */
static void otherwise(void)
{
	int fd = opened("open-9", "d", O_WRONLY);
	act();
	CHECK(syscall(SYS_close_range, fd, fd, 0));
	said_lost("by-close-range", "d", 0);
	fd = opened("open-10", "d", O_WRONLY);
	act();
	CHECK(dup2(0, fd));
	said_lost("by-dup2", "d", 0);
	CHECK(close(fd));
	fd = opened("open-11", "d", O_RDWR);
	CHECK(ftruncate(fd, 4096));
	void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK((long)map);
	CHECK(close(fd)); /* the mapping still holds it */
	act();
	CHECK(munmap(map, 4096));
	said_lost("by-munmap", "d", 4096);
	opened("open-12", "d", O_WRONLY);
	act();
	said_lost("by-exit", "d", 4096);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	umask(0);
	enter_work_dir(argv[1]);
	make_file("a");
	make_file("b");
	make_file("c");
	make_file("d");
	plain();
	duplicates();
	removed();
	otherwise();
	return 0;
}
