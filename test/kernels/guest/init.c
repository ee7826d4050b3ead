// SPDX-License-Identifier: Apache-2.0
// Process 1 of the test machine: mounts what a node has, runs one command (/run.argv, NUL-separated), and powers off.
// Kernel log and the command's stderr go to the first serial port, its stdout to the second, its status to the third.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static void mount_at(const char *type, const char *where)
{
	mkdir(where, 0755);
	if (mount(type, where, type, 0, NULL) < 0 && errno != EBUSY)
		fprintf(stderr, "init: mount %s on %s: %s\n", type, where, strerror(errno));
}

static int open_port(const char *path)
{
	int fd = open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
	struct termios raw;

	if (fd >= 0 && tcgetattr(fd, &raw) == 0) {
		cfmakeraw(&raw); // no CR before each LF
		tcsetattr(fd, TCSANOW, &raw);
	}
	return fd;
}

static void write_all(int fd, const char *bytes, ssize_t len)
{
	for (ssize_t done; len > 0; bytes += done, len -= done)
		if ((done = write(fd, bytes, len)) < 0)
			return;
}

static void loopback_up(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct ifreq req = { .ifr_flags = IFF_UP | IFF_RUNNING };

	strcpy(req.ifr_name, "lo");
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &req) < 0)
		perror("init: lo");
	close(fd);
}

int main(void)
{
	static char text[65536], *argv[1024];
	int argc = 0, status = 0, out, result, ends[2];
	bool ended = false;
	ssize_t len;

	mount_at("devtmpfs", "/dev");
	mount_at("proc", "/proc");
	mount_at("sysfs", "/sys");
	mount_at("securityfs", "/sys/kernel/security");
	mount_at("tracefs", "/sys/kernel/tracing");
	mount_at("cgroup2", "/sys/fs/cgroup");
	mount_at("tmpfs", "/tmp");
	loopback_up();

	dup2(open_port(CONSOLE), 2);
	out = open_port(STDOUT);
	result = open_port(RESULT);
	int fd = open("/run.argv", O_RDONLY);
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	for (char *p = text; p < text + len && argc < 1023; p += strlen(p) + 1)
		argv[argc++] = p;

	// a pipe, not the port: programs on a terminal behave differently
	pipe2(ends, O_CLOEXEC);
	pid_t child = fork();
	if (child == 0) {
		dup2(open("/dev/null", O_RDONLY), 0);
		dup2(ends[1], 1);
		setsid();
		setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
		setenv("HOME", "/tmp", 1);
		execvp(argv[0], argv);
		fprintf(stderr, "init: %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	while (!ended) {
		struct pollfd readable = { .fd = ends[0], .events = POLLIN };
		int gone;

		poll(&readable, 1, 20);
		for (pid_t pid; (pid = waitpid(-1, &gone, WNOHANG)) > 0;)
			if (pid == child) {
				ended = true;
				status = gone;
			}
		while ((len = read(ends[0], text, sizeof(text))) > 0)
			write_all(out, text, len);
	}
	dprintf(result, "%d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	tcdrain(2);
	tcdrain(out);
	tcdrain(result);
	reboot(RB_POWER_OFF);
	return 1;
}
