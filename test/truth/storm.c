/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Acts in great number, without a word between them:
 *   storm open FILE N        opens FILE for writing and closes it
 *   storm exec PROGRAM BYTES N  executes PROGRAM with an argument of so many bytes
 *   storm connect PORT N     connects to 127.0.0.1 and resets
 *   storm serve              accepts and closes, until stdin ends; says its port
 *   storm knock PORT         connects and resets, until stdin ends
 *   storm map                updates a BPF map, until stdin ends
 * At the end it says how many acts succeeded, how many failed, and how long they took.
 */
#include "inet.h"
#include <linux/bpf.h>
#include <pthread.h>

static volatile int ended;

static void *wait_for_end(void *unused)
{
	char byte;
	(void)unused;
	while (read(0, &byte, 1) > 0)
		;
	ended = 1;
	shutdown(3, SHUT_RDWR); /* serve's listener is the first descriptor: wakes its accept */
	return NULL;
}

static void watch_stdin(void)
{
	pthread_t thread;
	if (pthread_create(&thread, NULL, wait_for_end, NULL))
		die("pthread_create");
}

static void said_done(const char *what, long done, long failed)
{
	line_start("done", what);
	say_number("done", done);
	say_number("failed", failed);
	line_finish();
}

static void opens(const char *file, long n)
{
	long failed = 0;
	act();
	for (long i = 0; i < n; i++) {
		int fd = (int)syscall(SYS_openat, AT_FDCWD, file, O_WRONLY);
		if (fd < 0)
			failed++;
		else
			close(fd);
	}
	said_done("file.open", n - failed, failed);
}

static void execs(char *program, long bytes, long n)
{
	char *argument = malloc((size_t)bytes + 1), *args[] = { program, argument, NULL }, *env[] = { NULL };
	static volatile long failed;
	memset(argument, 'x', (size_t)bytes);
	argument[bytes] = 0;
	act();
	for (volatile long i = 0; i < n; i++) {
		int status;
		pid_t child = vfork();
		if (child == 0) {
			execve(program, args, env);
			_exit(99);
		}
		if (child < 0 || waitpid(child, &status, 0) != child || status)
			failed++;
	}
	said_done("process.exec", n - failed, failed);
}

static int connect_once(const union address *to)
{
	struct linger none = { .l_onoff = 1, .l_linger = 0 };
	int fd = CHECK(socket(AF_INET, SOCK_STREAM, 0));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	int done = connect(fd, &to->any, sizeof(to->v4));
	close(fd);
	return done;
}

static void connects(int port, long n)
{
	union address to = address_of("127.0.0.1", port);
	long failed = 0;
	act();
	for (long i = 0; i < n; i++)
		if (connect_once(&to))
			failed++;
	said_done("socket.connect", n - failed, failed);
}

static void serve(void)
{
	int listener = bound("127.0.0.1", SOCK_STREAM, 0);
	long accepted = 0;
	said_listen("listen", listener, 4096);
	watch_stdin();
	act();
	while (!ended) {
		int fd = accept(listener, NULL, NULL);
		if (fd < 0)
			continue;
		accepted++;
		close(fd);
	}
	said_done("socket.accept", accepted, 0);
}

static void knock(int port)
{
	union address to = address_of("127.0.0.1", port);
	long done = 0, failed = 0;
	watch_stdin();
	act();
	while (!ended) {
		if (connect_once(&to))
			failed++;
		else
			done++;
	}
	said_done("socket.connect", done, failed);
}

static void map(void)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 4096, .max_entries = 64 };
	static char value[4096];
	uint32_t key = 1;
	long done = 0;
	int fd = (int)CHECK(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr)));
	watch_stdin();
	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)fd;
	attr.key = (uint64_t)(uintptr_t)&key;
	attr.value = (uint64_t)(uintptr_t)value;
	act();
	for (; !ended; done++) {
		key = (uint32_t)done % 64;
		CHECK(syscall(SYS_bpf, BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr)));
	}
	said_done("bpf", done, 0);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	if (!strcmp(what, "open") && argc == 4)
		opens(argv[2], atol(argv[3]));
	else if (!strcmp(what, "exec") && argc == 5)
		execs(argv[2], atol(argv[3]), atol(argv[4]));
	else if (!strcmp(what, "connect") && argc == 4)
		connects(atoi(argv[2]), atol(argv[3]));
	else if (!strcmp(what, "serve") && argc == 2)
		serve();
	else if (!strcmp(what, "knock") && argc == 3)
		knock(atoi(argv[2]));
	else if (!strcmp(what, "map") && argc == 2)
		map();
	else
		return 2;
	return 0;
}
