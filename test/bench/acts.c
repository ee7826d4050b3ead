/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The acts that the overhead benchmark times. One line a request on stdin ("<act> <count>"), one line back: nanoseconds
 * a repetition. Acts: open (open + close of a path of six components), chmod and rename of that file, connect (connect +
 * accept + close, loopback), exec (fork + exec + exit + wait), getppid (a system call that no probe is about).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char path[256], other_path[264];
static int listener;
static struct sockaddr_in address = { .sin_family = AF_INET };

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void open_close(void)
{
	int fd = open(path, O_RDONLY);

	if (fd < 0)
		fail(path);
	close(fd);
}

static void change_mode(void)
{
	if (syscall(SYS_chmod, path, 0600))
		fail(path);
}

/* there and back: twice one repetition */
static void rename_twice(void)
{
	if (syscall(SYS_rename, path, other_path) || syscall(SYS_rename, other_path, path))
		fail(path);
}

static void connect_accept_close(void)
{
	int c = socket(AF_INET, SOCK_STREAM, 0), s;
	struct linger reset = { .l_onoff = 1 };

	if (c < 0 || connect(c, (struct sockaddr *)&address, sizeof(address)))
		fail("connect");
	s = accept(listener, NULL, NULL);
	if (s < 0)
		fail("accept");
	/* a reset leaves nothing in time-wait: the local ports last */
	setsockopt(c, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(c);
	close(s);
}

static void exec_exit(void)
{
	pid_t pid = vfork();
	int status;

	if (pid == 0) {
		execl("/proc/self/exe", "acts", "--exit", (char *)NULL);
		_exit(1);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		fail("exec");
}

static void unrelated(void)
{
	syscall(SYS_getppid);
}

int main(int argc, char **argv)
{
	socklen_t len = sizeof(address);
	char act[32], dir[] = "/tmp/ktbench-XXXXXX";
	unsigned long count;

	if (argc > 1)
		return 0;
	if (!mkdtemp(dir))
		fail("mkdtemp");
	snprintf(path, sizeof(path), "%s/alpha", dir);
	mkdir(path, 0700);
	strcat(path, "/bravo");
	mkdir(path, 0700);
	strcat(path, "/charlie");
	mkdir(path, 0700);
	strcat(path, "/file.txt");
	close(open(path, O_CREAT | O_WRONLY, 0600));
	snprintf(other_path, sizeof(other_path), "%s-2", path);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 128) ||
	    getsockname(listener, (struct sockaddr *)&address, &len))
		fail("listen");
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (scanf("%31s %lu", act, &count) == 2) {
		void (*run)(void) = !strcmp(act, "open") ? open_close :
				    !strcmp(act, "chmod") ? change_mode :
				    !strcmp(act, "rename") ? rename_twice :
				    !strcmp(act, "connect") ? connect_accept_close :
				    !strcmp(act, "exec") ? exec_exit : unrelated;
		uint64_t start = now();

		for (unsigned long i = 0; i < count; i++)
			run();
		printf("%.1f\n", (double)(now() - start) / count);
	}
	unlink(path);
	for (int i = 0; i < 4; i++) {
		*strrchr(path, '/') = 0;
		rmdir(path);
	}
	return 0;
}
