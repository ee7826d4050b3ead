/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Acts at a pace, and many small processes:
 *   pace acts DIR OPENS EXECS PROGRAM  so many opens and execs a second until stdin ends, each from a thread of its own.
 *                                      Each open makes and removes DIR/<number>; each exec is of PROGRAM with its number
 *                                      as argument. Says `o NUMBER T0 T1` for each open (boot clock, ns) and at the end
 *                                      `e EXECS NS`, NS being the time from the first to after the last.
 *   pace stream DIR OPENS SECONDS      so many opens a second for so long, each as above; says `d OPENS` at the end
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

struct execs {
	long per_s;
	char *program;
	long done;
	uint64_t took_ns;
};

/* How many are due, so long after the start: what was held up is made up for. */
static int is_due(long done, uint64_t elapsed_ns, long per_s)
{
	return (uint64_t)done * 1000000000ull < elapsed_ns * (uint64_t)per_s;
}

static void nap(void)
{
	struct timespec millisecond = { .tv_nsec = 1000000 };
	nanosleep(&millisecond, NULL);
}

static void *execs_at_pace(void *arg)
{
	struct execs *execs = arg;
	char number[32], *args[] = { execs->program, number, NULL };
	uint64_t start = boot_ns();

	for (; !ended; nap())
		for (; !ended && is_due(execs->done, boot_ns() - start, execs->per_s); execs->done++) {
			snprintf(number, sizeof(number), "%ld", execs->done);
			execute(args);
		}
	execs->took_ns = boot_ns() - start;
	return NULL;
}

static void acts(const char *dir, long opens_per_s, struct execs *execs)
{
	pthread_t ending, executing;
	uint64_t start = boot_ns();
	long opens = 0;

	if (pthread_create(&ending, NULL, wait_for_end, NULL) || pthread_create(&executing, NULL, execs_at_pace, execs))
		die("pthread_create");
	for (; !ended; nap()) {
		for (; !ended && is_due(opens, boot_ns() - start, opens_per_s); opens++) {
			uint64_t t0 = boot_ns();
			make_file(dir, opens);
			printf("o %ld %llu %llu\n", opens, (unsigned long long)t0, (unsigned long long)boot_ns());
		}
		fflush(stdout);
	}
	if (pthread_join(executing, NULL))
		die("pthread_join");
	printf("e %ld %llu\n", execs->done, (unsigned long long)execs->took_ns);
}

static void stream(const char *dir, long opens_per_s, long seconds)
{
	uint64_t start = boot_ns(), elapsed;
	long opens = 0;

	while ((elapsed = boot_ns() - start) < (uint64_t)seconds * 1000000000ull) {
		struct timespec nap = { .tv_nsec = 1000000 };
		for (; (uint64_t)opens * 1000000000ull < elapsed * (uint64_t)opens_per_s; opens++)
			make_file(dir, opens);
		nanosleep(&nap, NULL);
	}
	printf("d %ld\n", opens);
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "acts")) {
		struct execs execs = { .per_s = atol(argv[4]), .program = argv[5] };
		acts(argv[2], atol(argv[3]), &execs);
	} else if (argc == 5 && !strcmp(argv[1], "stream")) {
		stream(argv[2], atol(argv[3]), atol(argv[4]));
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
