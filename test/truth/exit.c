/* SPDX-License-Identifier: Apache-2.0 */
/* exit WORK_DIR: every way for a process to end. */
#include "file.h"
#include <pthread.h>
#include <sys/resource.h>

#define THREADS 64

static pthread_barrier_t gate;

static void by_code(void)
{
	_exit(7);
}

static void by_code_255(void)
{
	_exit(0x1ff);
}

static void wait_for_signal(void)
{
	for (;;)
		pause();
}

static void segfault(void)
{
	struct rlimit none = { 0, 0 };
	CHECK(setrlimit(RLIMIT_CORE, &none));
	*(volatile int *)8 = 1;
}

static void segfault_core(void)
{
	struct rlimit core = { RLIM_INFINITY, RLIM_INFINITY };
	CHECK(setrlimit(RLIMIT_CORE, &core));
	*(volatile int *)8 = 1;
}

static volatile int leader_lives; /* cleared by the kernel when the leader exits */

static void *ends_with_5(void *unused)
{
	(void)unused;
	pthread_barrier_wait(&gate);
	while (leader_lives)
		sched_yield();
	syscall(SYS_exit, 5);
	return NULL;
}

static void start_threads(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 65536);
	pthread_barrier_init(&gate, NULL, THREADS);
	for (int i = 1; i < THREADS; i++)
		if (pthread_create(&thread, &attr, ends_with_5, NULL))
			die("pthread_create");
	pthread_barrier_wait(&gate);
}

static void leader_first(void)
{
	leader_lives = 1;
	syscall(SYS_set_tid_address, &leader_lives);
	start_threads();
	syscall(SYS_exit, 3); /* the group's status is its leader's */
}

static void all_at_once(void)
{
	start_threads();
	syscall(SYS_exit, 4);
}

static void *group_exit(void *unused)
{
	(void)unused;
	_exit(9);
}

static void from_thread(void)
{
	pthread_t thread;
	if (pthread_create(&thread, NULL, group_exit, NULL))
		die("pthread_create");
	wait_for_signal();
}

static void *crashes(void *unused)
{
	(void)unused;
	*(volatile int *)8 = 1;
	return NULL;
}

static void thread_crash(void)
{
	struct rlimit none = { 0, 0 };
	pthread_t thread;
	CHECK(setrlimit(RLIMIT_CORE, &none));
	if (pthread_create(&thread, NULL, crashes, NULL))
		die("pthread_create");
	wait_for_signal();
}

static void group_exit_threads(void)
{
	start_threads();
	_exit(11);
}

static void ended(const char *name, void (*body)(void), int sig)
{
	act();
	pid_t child = CHECK(fork());
	if (child == 0) {
		body();
		_exit(98);
	}
	if (sig)
		CHECK(kill(child, sig));
	say_exit(name, child);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	enter_work_dir(argv[1]);
	ended("code-7", by_code, 0);
	ended("code-255", by_code_255, 0);
	ended("killed", wait_for_signal, SIGKILL);
	ended("terminated", wait_for_signal, SIGTERM);
	ended("real-time-signal", wait_for_signal, SIGRTMAX);
	ended("segfault", segfault, 0);
	ended("segfault-core", segfault_core, 0);
	ended("leader-first", leader_first, 0);
	ended("threads-at-once", all_at_once, 0);
	ended("from-thread", from_thread, 0);
	ended("thread-crash", thread_crash, 0);
	ended("group-exit-64", group_exit_threads, 0);
	return 42;
}
