/* SPDX-License-Identifier: Apache-2.0 */
/* mount WORK_DIR: bind mounts, detached mounts, chroot and overlayfs, in a mount namespace of its own. */
#include "file.h"
#include <sched.h>
#include <sys/mount.h>

static void said_at(const char *name, int fd, const char *path, int state, const char *asked, unsigned flags, int created)
{
	if (fd < 0)
		die(name);
	say_open_line(name, fd, path, state, asked, flags, created);
}

static void bind_mount(void)
{
	CHECK(mkdir("source", 0755));
	CHECK(mkdir("target", 0755));
	CHECK(mkdir("source/in", 0755));
	make_file("source/in/file");
	CHECK(mount("source", "target", NULL, MS_BIND, NULL));
	act();
	said_open("bind", (int)syscall(SYS_openat, AT_FDCWD, "target/in/file", O_RDONLY), "target/in/file", O_RDONLY, 0);
	act();
	long done = chmod_call("target/in/file", 0600);
	line_start("bind-chmod", "file.chmod");
	say_string("path", joined(work_dir, "target/in/file"));
	say_number("path_state", 0);
	say_number("new_mode", 0600);
	say_number("result", result_of(done));
	line_finish();
	act();
	int in = said_open("bind-dir", (int)syscall(SYS_openat, AT_FDCWD, "target/in", O_PATH), "target/in", O_PATH, 0);
	act();
	done = syscall(SYS_unlinkat, in, "file", 0);
	said_named("bind-unlink", "file.unlink", joined(work_dir, "target/in/file"), 0, NULL, 0, done);
	make_file("source/in/file");
	CHECK(umount2("target", MNT_DETACH));
	act();
	int fd = (int)syscall(SYS_openat, in, "file", O_RDONLY);
	/* The mount is in no tree any more: its path ends at its own root. */
	said_at("detached", fd, "/in/file", STATE_UNREACHABLE, "file", O_RDONLY, 0);
}

static void in_chroot(void)
{
	CHECK(mkdir("jail", 0755));
	CHECK(mkdir("jail/etc", 0755));
	make_file("jail/etc/passwd");
	act();
	pid_t child = CHECK(fork());
	if (child == 0) {
		CHECK(chroot("jail"));
		CHECK(chdir("/etc"));
		const char *path = joined(work_dir, "jail/etc/passwd");
		act();
		said_at("chroot-absolute", (int)syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY), path,
			STATE_CHROOTED, "/etc/passwd", O_RDONLY, 0);
		act();
		said_at("chroot-relative", (int)syscall(SYS_openat, AT_FDCWD, "passwd", O_RDONLY), path, STATE_CHROOTED,
			"passwd", O_RDONLY, 0);
		act();
		long done = syscall(SYS_openat, AT_FDCWD, "/etc/shadow", O_RDONLY);
		said_named("chroot-enoent", "file.open", joined(work_dir, "jail/etc/shadow"), STATE_CHROOTED,
			   "/etc/shadow", O_RDONLY, done);
		act();
		done = unlink_call("/etc/passwd");
		said_named("chroot-unlink", "file.unlink", path, STATE_CHROOTED, NULL, 0, done);
		_exit(0);
	}
	say_exit("chroot-exit", child);
}

static void overlay(void)
{
	char options[16384];
	static const char *const dirs[] = { "lower", "upper", "work", "merged" };
	for (int i = 0; i < 4; i++)
		CHECK(mkdir(dirs[i], 0755));
	make_file("lower/a");
	make_file("lower/b");
	make_file("upper/c");
	snprintf(options, sizeof(options), "lowerdir=%s,upperdir=%s,workdir=%s", joined(work_dir, "lower"),
		 joined(work_dir, "upper"), joined(work_dir, "work"));
	CHECK(mount("overlay", "merged", "overlay", 0, options));
	act();
	said_open("overlay-lower", (int)syscall(SYS_openat, AT_FDCWD, "merged/a", O_RDONLY), "merged/a", O_RDONLY, 0);
	act();
	said_open("overlay-upper", (int)syscall(SYS_openat, AT_FDCWD, "merged/c", O_RDONLY), "merged/c", O_RDONLY, 0);
	act();
	int fd = said_open("overlay-copy-up", (int)syscall(SYS_openat, AT_FDCWD, "merged/a", O_WRONLY), "merged/a",
			   O_WRONLY, 0);
	CHECK(write(fd, "x", 1));
	said_close("overlay-close", fd, 0, 1);
	act();
	fd = said_open("overlay-create", (int)syscall(SYS_openat, AT_FDCWD, "merged/n", O_CREAT | O_WRONLY, 0600),
		       "merged/n", O_CREAT | O_WRONLY, 1);
	act();
	long done = rename_call("merged/n", "merged/o");
	line_start("overlay-rename", "file.rename");
	say_string("path", joined(work_dir, "merged/n"));
	say_number("path_state", 0);
	say_string("new_path", joined(work_dir, "merged/o"));
	say_number("flags", 0);
	say_number("result", result_of(done));
	line_finish();
	act();
	done = unlink_call("merged/b");
	said_named("overlay-unlink", "file.unlink", joined(work_dir, "merged/b"), 0, NULL, 0, done);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	umask(0);
	enter_work_dir(argv[1]);
	CHECK(unshare(CLONE_NEWNS));
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	bind_mount();
	in_chroot();
	overlay();
	return 0;
}
