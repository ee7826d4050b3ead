/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroups PARENT_DIR FILE COUNT: COUNT times makes a cgroup as a kubelet does, starts a process in it that at once opens
 * FILE, and removes the cgroup as soon as that ended: nobody who looks later finds it.
 * Says for each: pod_uid, container_id, cgroup_id, child.
 */
#include "truth.h"
#include <linux/sched.h>
#include <sys/random.h>

static void random_hex(char *out, size_t digits)
{
	unsigned char bytes[32];
	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		die("getrandom");
	for (size_t i = 0; i < digits; i++)
		out[i] = "0123456789abcdef"[bytes[i / 2] >> (i % 2 ? 0 : 4) & 15];
	out[digits] = 0;
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	for (int i = 0; i < atoi(argv[3]); i++) {
		char hex[65], uid[40], id[65], pod[4096], dir[4200];
		struct stat st;
		int status;
		random_hex(hex, 32);
		snprintf(uid, sizeof(uid), "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
		random_hex(id, 64);
		snprintf(pod, sizeof(pod), "%s/pod%s", argv[1], uid);
		snprintf(dir, sizeof(dir), "%s/%s", pod, id);
		act();
		CHECK(mkdir(pod, 0755));
		CHECK(mkdir(dir, 0755));
		int fd = CHECK(open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
		struct clone_args args = { .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t)fd };
		pid_t child = (pid_t)CHECK(syscall(SYS_clone3, &args, sizeof(args)));
		if (child == 0) {
			CHECK(open(argv[2], O_RDONLY));
			_exit(0);
		}
		CHECK(waitpid(child, &status, 0));
		CHECK(fstat(fd, &st));
		CHECK(close(fd));
		CHECK(rmdir(dir));
		CHECK(rmdir(pod));
		line_start("open", "file.open");
		say_number("child", child);
		say_string("pod_uid", uid);
		say_string("container_id", id);
		say_big("cgroup_id", st.st_ino);
		say_number("status", status);
		line_finish();
	}
	return 0;
}
