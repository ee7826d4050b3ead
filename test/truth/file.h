/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of file acts. Paths of opened files come from the kernel's own /proc/self/fd, what was there from fstat(2). */
#ifndef TRUTH_FILE_H
#define TRUTH_FILE_H

#include "truth.h"

/* kerntap.v1.Path.state */
#define STATE_TRUNCATED 1
#define STATE_DELETED 2
#define STATE_UNREACHABLE 4
#define STATE_CHROOTED 8
#define STATE_PSEUDO 16
#define STATE_FAULT 32

struct open_how_arg {
	uint64_t flags, mode, resolve;
};

static char work_dir[4096];

static void enter_work_dir(const char *dir)
{
	CHECK(chdir(dir));
	if (!getcwd(work_dir, sizeof(work_dir)))
		die("getcwd");
}

static void say_place(int fd)
{
	struct stat st;
	CHECK(fstat(fd, &st));
	say_number("dev", kernel_dev(st.st_dev));
	say_big("inode", st.st_ino);
	say_number("mode", st.st_mode);
	say_number("size", st.st_size);
}

/* The path of an open file as the kernel renders it, without the mark of a deleted one. */
static void path_of(int fd, char *path, size_t size)
{
	char link[64];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = CHECK(readlink(link, path, size - 1));
	path[n] = 0;
	static const char mark[] = " (deleted)";
	if ((size_t)n > sizeof(mark) && !strcmp(path + n - (sizeof(mark) - 1), mark))
		path[n - (ssize_t)(sizeof(mark) - 1)] = 0;
}

static void say_open_line(const char *name, int fd, const char *path, int state, const char *asked, unsigned flags,
			  int created)
{
	line_start(name, "file.open");
	say_string("path", path);
	say_number("path_state", state);
	say_string("path_source", "kernel_file");
	if (asked)
		say_string("asked", asked);
	say_number("flags", flags);
	say_flag("created", created);
	say_place(fd);
	say_number("result", 0);
	line_finish();
}

/* A successful open of a plain place. `asked` NULL: no string was passed. Call right after the act. */
static __attribute__((unused)) int said_open(const char *name, int fd, const char *asked, unsigned flags, int created)
{
	char path[4200];
	if (fd < 0)
		die(name);
	path_of(fd, path, sizeof(path));
	say_open_line(name, fd, path, 0, asked, flags, created);
	return fd;
}

/* An act that names a file by a string from the caller's memory; `path` is the directory joined with that string. */
static __attribute__((unused)) void said_named(const char *name, const char *kind, const char *path, int state,
					       const char *asked, unsigned flags, long returned)
{
	line_start(name, kind);
	say_string("path", path);
	say_number("path_state", state);
	say_string("path_source", "user");
	if (asked)
		say_string("asked", asked);
	say_number("flags", flags);
	say_number("result", result_of(returned));
	line_finish();
}

static __attribute__((unused)) const char *joined(const char *dir, const char *name)
{
	static __thread char text[4][8400];
	static __thread int slot;
	char *out = text[slot = (slot + 1) % 4];
	snprintf(out, sizeof(text[0]), "%s%s%s", dir, dir[1] ? "/" : "", name);
	return out;
}

/* Closes a file and says so. `modified`: it was changed through this or another descriptor while it was open. */
static __attribute__((unused)) void said_close(const char *name, int fd, int state, int modified)
{
	char path[4200];
	struct stat st;
	path_of(fd, path, sizeof(path));
	CHECK(fstat(fd, &st));
	act();
	CHECK(close(fd));
	line_start(name, "file.close");
	say_string("path", path);
	say_number("path_state", state);
	say_string("path_source", "kernel_file");
	say_flag("modified", modified);
	say_number("dev", kernel_dev(st.st_dev));
	say_big("inode", st.st_ino);
	say_number("mode", st.st_mode);
	say_number("size", st.st_size);
	line_finish();
}

/* Makes a file without saying so: mknod(2) is not an open. */
static __attribute__((unused)) void make_file(const char *name)
{
	CHECK(mknod(name, S_IFREG | 0640, 0));
}

/* Waits until the coarse clock that stamps inodes has moved, so that a later change has a later ctime. */
static __attribute__((unused)) void next_tick(void)
{
	struct timespec a, b;
	clock_gettime(CLOCK_REALTIME_COARSE, &a);
	do
		clock_gettime(CLOCK_REALTIME_COARSE, &b);
	while (a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec);
}

static __attribute__((unused)) void say_file_unused(void)
{
	(void)enter_work_dir;
	(void)say_open_line;
}

#endif
