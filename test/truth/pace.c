/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Acts at a pace, and many small processes:
 *   pace acts DIR OPENS EXECS PROGRAM  so many opens and execs a second until stdin ends. Each open makes and removes
 *                                      DIR/<number>; each exec is of PROGRAM with its number as argument. Says
 *                                      `o NUMBER T0 T1` for each open (boot clock, ns) and at the end `e EXECS`.
 *   pace herd DIR PROCESSES OPENS      executes itself so many times, one after the other; each makes so many files in
 *                                      DIR and ends. Says `p PID` for each, when it has ended.
 *   pace member DIR OPENS              one of the herd
 */
#include "truth.h"
#include <pthread.h>

static volatile int ended;

static void *wait_for_end(void *unused)
{
	char byte;
	(void)unused;
	while (read(0, &byte, 1) > 0)
		;
	ended = 1;
	return NULL;
}

static void make_file(const char *dir, long number)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%ld", dir, number);
	CHECK(syscall(SYS_close, CHECK(syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT, 0600))));
	unlink(path);
}

static void execute(char *const args[])
{
	char *env[] = { NULL };
	int status;
	pid_t child = vfork();
	if (child == 0) {
		execve(args[0], args, env);
		_exit(99);
	}
	if (child < 0 || waitpid(child, &status, 0) != child || status)
		die("exec");
	if (!strcmp(args[1], "member"))
		printf("p %d\n", child);
}

static void acts(const char *dir, long opens_per_s, long execs_per_s, char *program)
{
	pthread_t thread;
	uint64_t start = boot_ns();
	long opens = 0, execs = 0;
	char number[32], *args[] = { program, number, NULL };

	if (pthread_create(&thread, NULL, wait_for_end, NULL))
		die("pthread_create");
	while (!ended) {
		uint64_t elapsed = boot_ns() - start;
		struct timespec nap = { .tv_nsec = 1000000 };
		for (; (uint64_t)opens * 1000000000ull < elapsed * (uint64_t)opens_per_s; opens++) {
			uint64_t t0 = boot_ns();
			make_file(dir, opens);
			printf("o %ld %llu %llu\n", opens, (unsigned long long)t0, (unsigned long long)boot_ns());
		}
		for (; (uint64_t)execs * 1000000000ull < elapsed * (uint64_t)execs_per_s; execs++) {
			snprintf(number, sizeof(number), "%ld", execs);
			execute(args);
		}
		fflush(stdout);
		nanosleep(&nap, NULL);
	}
	printf("e %ld\n", execs);
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "acts")) {
		acts(argv[2], atol(argv[3]), atol(argv[4]), argv[5]);
	} else if (argc == 5 && !strcmp(argv[1], "herd")) {
		char *args[] = { "/proc/self/exe", "member", argv[2], argv[4], NULL };
		for (long i = atol(argv[3]); i > 0; i--)
			execute(args);
	} else if (argc == 4 && !strcmp(argv[1], "member")) {
		for (long i = atol(argv[3]); i > 0; i--)
			make_file(argv[2], (long)getpid() * 1000 + i);
	} else {
		return 2;
	}
	say_unused();
	return 0;
}
