/* SPDX-License-Identifier: Apache-2.0 */
/*
 * within CGROUP_DIR [-n NETNS_FILE] [-c CPU] [--] PROGRAM [ARG...]
 * Runs PROGRAM born in the cgroup (CLONE_INTO_CGROUP: no window in another one) and says its exec and exit.
 * born0/born1 bracket the program's birth on the boot clock. Ends with the program's code, 128 + signal if killed.
 */
#include "truth.h"
#include <linux/sched.h>
#include <sched.h>

int main(int argc, char **argv)
{
	int i = 2, cpu = -1, netns = -1;
	if (argc < 3) {
		fprintf(stderr, "usage: within CGROUP_DIR [-n NETNS_FILE] [-c CPU] [--] PROGRAM [ARG...]\n");
		return 2;
	}
	for (; i + 1 < argc && argv[i][0] == '-'; i += 2) {
		if (!strcmp(argv[i], "-n"))
			netns = CHECK(open(argv[i + 1], O_RDONLY | O_CLOEXEC));
		else if (!strcmp(argv[i], "-c"))
			cpu = atoi(argv[i + 1]);
		else
			break;
	}
	if (i < argc && !strcmp(argv[i], "--"))
		i++;
	int dir = CHECK(open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	char exe[4096];
	if (!realpath(argv[i], exe))
		die(argv[i]);
	char cwd[4096];
	if (!getcwd(cwd, sizeof(cwd)))
		die("getcwd");
	if (netns >= 0)
		CHECK(setns(netns, CLONE_NEWNET));
	if (cpu >= 0) {
		cpu_set_t set;
		CPU_ZERO(&set);
		CPU_SET((size_t)cpu, &set);
		CHECK(sched_setaffinity(0, sizeof(set), &set));
	}
	struct clone_args args = { .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t)dir };
	act(); /* the end may come before this process runs again */
	uint64_t born0 = boot_ns();
	pid_t child = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (child < 0)
		die("clone3");
	if (child == 0) {
		uint64_t born1 = boot_ns();
		struct stat st;
		CHECK(stat(exe, &st));
		act();
		line_start("start", "process.exec");
		say_string("filename", argv[i]);
		say_string("exe", exe);
		say_string("cwd", cwd);
		say_strings("argv", argv + i);
		say_number("dev", kernel_dev(st.st_dev));
		say_big("inode", st.st_ino);
		say_big("born0", born0);
		say_big("born1", born1);
		line_finish();
		execv(argv[i], argv + i);
		die(argv[i]);
	}
	int status = say_exit("end", child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
