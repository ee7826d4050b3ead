/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Says what a program did: one JSON object a line on stdout, written at once.
 *
 * Every line has act (a name unique in its program), kind (the event kind it must come out as), pid, tid, ppid, uid,
 * gid, euid, comm, mnt_ns, net_ns, and t0, t1: the boot clock just before and just after the act, in ns; wall_offset is
 * what to add for UTC.
 * Strings are bytes: each byte outside printable ASCII is written as \u00XX, so a reader takes them back as latin-1.
 */
#ifndef TRUTH_H
#define TRUTH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The older calls, each a system call of its own where there is one: arm64 has only those that name a directory. */
static inline long open_call(const char *path, int flags, mode_t mode)
{
#ifdef SYS_open
	return syscall(SYS_open, path, flags, mode);
#else
	return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
#endif
}

static inline long creat_call(const char *path, mode_t mode)
{
#ifdef SYS_creat
	return syscall(SYS_creat, path, mode);
#else
	return open_call(path, O_CREAT | O_WRONLY | O_TRUNC, mode);
#endif
}

static inline long rename_call(const char *from, const char *to)
{
#ifdef SYS_rename
	return syscall(SYS_rename, from, to);
#else
	return syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
#endif
}

static inline long unlink_call(const char *path)
{
#ifdef SYS_unlink
	return syscall(SYS_unlink, path);
#else
	return syscall(SYS_unlinkat, AT_FDCWD, path, 0);
#endif
}

static inline long chmod_call(const char *path, mode_t mode)
{
#ifdef SYS_chmod
	return syscall(SYS_chmod, path, mode);
#else
	return syscall(SYS_fchmodat, AT_FDCWD, path, mode);
#endif
}

struct line {
	char *text;
	size_t len, cap;
	uint64_t t0;
};

static __thread struct line line;

static void die(const char *what)
{
	fprintf(stderr, "truth: %s: %s\n", what, strerror(errno));
	_exit(99);
}

#define CHECK(call) ({ __typeof__(call) check_ = (call); if ((long)check_ == -1) die(#call); check_; })

static uint64_t boot_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static uint64_t wall_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static void line_room(size_t more)
{
	if (line.len + more <= line.cap)
		return;
	line.cap = (line.len + more) * 2 + 4096;
	line.text = realloc(line.text, line.cap);
	if (!line.text)
		die("realloc");
}

__attribute__((format(printf, 1, 2))) static void line_add(const char *format, ...)
{
	va_list args;
	line_room(512);
	va_start(args, format);
	int n = vsnprintf(line.text + line.len, 512, format, args);
	va_end(args);
	if (n < 0 || n >= 512)
		die("line_add");
	line.len += (size_t)n;
}

static void line_bytes(const void *bytes, size_t len)
{
	const unsigned char *b = bytes;
	line_room(len * 6 + 2);
	line.text[line.len++] = '"';
	for (size_t i = 0; i < len; i++) {
		if (b[i] < 0x20 || b[i] > 0x7e || b[i] == '"' || b[i] == '\\')
			line.len += (size_t)sprintf(line.text + line.len, "\\u%04x", b[i]);
		else
			line.text[line.len++] = (char)b[i];
	}
	line.text[line.len++] = '"';
}

static void say_string(const char *key, const char *value)
{
	line_add(",\"%s\":", key);
	line_bytes(value, strlen(value));
}

static void say_bytes(const char *key, const void *value, size_t len)
{
	line_add(",\"%s\":", key);
	line_bytes(value, len);
}

static void say_number(const char *key, long long value)
{
	line_add(",\"%s\":%lld", key, value);
}

static void say_flag(const char *key, int value)
{
	line_add(",\"%s\":%s", key, value ? "true" : "false");
}

/* Numbers above 2^53 (inodes need not be, boot times are not): as text. */
static void say_big(const char *key, unsigned long long value)
{
	line_add(",\"%s\":\"%llu\"", key, value);
}

static void say_strings(const char *key, char *const list[])
{
	line_add(",\"%s\":[", key);
	for (int i = 0; list[i]; i++) {
		if (i)
			line_add(",");
		line_bytes(list[i], strlen(list[i]));
	}
	line_add("]");
}

/* Notes the time before an act; line_start takes the time after it. errno survives. */
static void act(void)
{
	int saved = errno;
	line.t0 = boot_ns();
	errno = saved;
}

static long long namespace_of(const char *path)
{
	struct stat st;
	return stat(path, &st) ? 0 : (long long)st.st_ino;
}

static void line_start(const char *name, const char *kind)
{
	int saved = errno;
	char comm[16] = "";
	uint64_t t1 = boot_ns();
	prctl(PR_GET_NAME, comm);
	line.len = 0;
	line_add("{\"act\":\"%s\",\"kind\":\"%s\",\"pid\":%d,\"tid\":%d,\"ppid\":%d,\"uid\":%d,\"gid\":%d,\"euid\":%d", name,
		 kind, getpid(), (int)syscall(SYS_gettid), getppid(), getuid(), getgid(), geteuid());
	say_string("comm", comm);
	say_number("mnt_ns", namespace_of("/proc/thread-self/ns/mnt"));
	say_number("net_ns", namespace_of("/proc/thread-self/ns/net"));
	say_big("t0", line.t0);
	say_big("t1", t1);
	say_big("wall_offset", wall_ns() - boot_ns());
	errno = saved;
}

static void line_finish(void)
{
	line_room(3);
	memcpy(line.text + line.len, "}\n", 2);
	line.len += 2;
	size_t done = 0;
	while (done < line.len) {
		ssize_t n = write(1, line.text + done, line.len - done);
		if (n < 0 && errno != EINTR)
			die("write");
		if (n > 0)
			done += (size_t)n;
	}
}

/* The result of an act as the kernel returns it: a value or -errno. */
static int result_of(long returned)
{
	return returned < 0 ? -errno : 0;
}

/* s_dev as the kernel holds it. */
static long long kernel_dev(dev_t dev)
{
	return (long long)major(dev) << 20 | minor(dev);
}

/* Waits for a child and says how it ended. `name` is the act's name. */
static __attribute__((unused)) int say_exit(const char *name, pid_t child)
{
	int status;
	if (waitpid(child, &status, __WALL) != child)
		die("waitpid");
	line_start(name, "process.exit");
	say_number("child", child);
	say_number("code", WIFEXITED(status) ? WEXITSTATUS(status) : 0);
	say_number("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	say_flag("core", WIFSIGNALED(status) && WCOREDUMP(status));
	line_finish();
	return status;
}

static __attribute__((unused)) void say_unused(void)
{
	(void)say_string;
	(void)say_bytes;
	(void)say_strings;
	(void)say_flag;
	(void)act;
	(void)kernel_dev;
	(void)result_of;
	(void)say_big;
}

#endif
