/* SPDX-License-Identifier: Apache-2.0 */
/* change WORK_DIR: renames, unlinks and changes of mode that succeed. */
#include "file.h"

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#define EXCHANGE 2
#define NOREPLACE 1

static char sub[4096];

static void renamed(const char *name, const char *path, const char *to, unsigned flags, long done)
{
	line_start(name, "file.rename");
	say_string("path", path);
	say_number("path_state", 0);
	say_string("path_source", "user");
	say_string("new_path", to);
	say_number("flags", flags);
	say_number("result", result_of(done));
	line_finish();
}

static void renames(int dir)
{
	make_file("r1");
	make_file("x1");
	make_file("x2");
	act();
	long done = rename_call("r1", joined(work_dir, "r2"));
	renamed("rename", joined(work_dir, "r1"), joined(work_dir, "r2"), 0, done);
	act();
	done = syscall(SYS_renameat, AT_FDCWD, "r2", dir, "r3");
	renamed("renameat-into-dir", joined(work_dir, "r2"), joined(sub, "r3"), 0, done);
	act();
	done = syscall(SYS_renameat2, dir, "r3", dir, "../r4", NOREPLACE);
	renamed("renameat2-noreplace", joined(sub, "r3"), joined(sub, "../r4"), NOREPLACE, done);
	act();
	done = syscall(SYS_renameat2, AT_FDCWD, "x1", AT_FDCWD, "x2", EXCHANGE);
	renamed("renameat2-exchange", joined(work_dir, "x1"), joined(work_dir, "x2"), EXCHANGE, done);
	act();
	done = rename_call("x1", "x2");
	renamed("rename-over", joined(work_dir, "x1"), joined(work_dir, "x2"), 0, done);
	act();
	done = rename_call("sub2", "sub3");
	renamed("rename-directory", joined(work_dir, "sub2"), joined(work_dir, "sub3"), 0, done);
	act();
	done = rename_call("link/under", "link/after");
	renamed("rename-through-symlink", joined(work_dir, "link/under"), joined(work_dir, "link/after"), 0, done);
}

static void unlinks(int dir)
{
	make_file("u1");
	make_file("u2");
	make_file("sub/u3");
	CHECK(mkdir("sub/gone", 0755));
	CHECK(mkdir("gone2", 0755));
	act();
	long done = unlink_call("u1");
	said_named("unlink", "file.unlink", joined(work_dir, "u1"), 0, NULL, 0, done);
	act();
	done = unlink_call(joined(work_dir, "u2"));
	said_named("unlink-absolute", "file.unlink", joined(work_dir, "u2"), 0, NULL, 0, done);
	act();
	done = syscall(SYS_unlinkat, dir, "u3", 0);
	said_named("unlinkat", "file.unlink", joined(sub, "u3"), 0, NULL, 0, done);
	/* The end of a directory is a kind of its own, not in this catalogue: no event. */
	CHECK(syscall(SYS_unlinkat, dir, "gone", AT_REMOVEDIR));
	CHECK(rmdir("gone2"));
	act();
	done = unlink_call("link");
	said_named("unlink-symlink", "file.unlink", joined(work_dir, "link"), 0, NULL, 0, done);
}

static void said_chmod(const char *name, const char *path, unsigned mode, long done)
{
	line_start(name, "file.chmod");
	say_string("path", path);
	say_number("path_state", 0);
	say_string("path_source", "user");
	say_number("new_mode", mode);
	say_number("result", result_of(done));
	line_finish();
}

static void modes(int dir)
{
	make_file("m1");
	make_file("sub/m2");
	act();
	long done = chmod_call("m1", 0640);
	said_chmod("chmod", joined(work_dir, "m1"), 0640, done);
	act();
	done = chmod_call(joined(work_dir, "m1"), 04755);
	said_chmod("chmod-setuid", joined(work_dir, "m1"), 04755, done);
	act();
	done = syscall(SYS_fchmodat, dir, "m2", 0600);
	said_chmod("fchmodat", joined(sub, "m2"), 0600, done);
	act();
	done = syscall(SYS_fchmodat2, dir, "m2", 0604, 0);
	said_chmod("fchmodat2", joined(sub, "m2"), 0604, done);
	act();
	done = syscall(SYS_fchmodat2, AT_FDCWD, "link2", 0604, AT_SYMLINK_NOFOLLOW);
	said_chmod("fchmodat2-symlink", joined(work_dir, "link2"), 0604, done);
	act();
	int fd = said_open("open-m1", (int)syscall(SYS_openat, AT_FDCWD, "m1", O_RDONLY), "m1", O_RDONLY, 0);
	struct stat st;
	CHECK(fstat(fd, &st));
	act();
	done = syscall(SYS_fchmod, fd, 01777);
	line_start("fchmod", "file.chmod");
	say_string("path", joined(work_dir, "m1"));
	say_number("path_state", 0);
	say_string("path_source", "kernel_file");
	say_number("new_mode", 01777);
	say_number("result", result_of(done));
	say_number("dev", kernel_dev(st.st_dev));
	say_big("inode", st.st_ino);
	line_finish();
	act();
	done = syscall(SYS_fchmodat2, fd, "", 0600, AT_EMPTY_PATH);
	said_chmod("fchmodat2-empty-path", joined(work_dir, "m1"), 0600, done);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	umask(0);
	enter_work_dir(argv[1]);
	CHECK(mkdir("sub", 0755));
	CHECK(mkdir("sub2", 0755));
	CHECK(mknod("sub/under", S_IFREG | 0600, 0));
	CHECK(symlink("sub", "link"));
	CHECK(symlink("m1", "link2"));
	strcpy(sub, joined(work_dir, "sub"));
	act();
	int dir = said_open("dirfd", (int)syscall(SYS_openat, AT_FDCWD, "sub", O_PATH), "sub", O_PATH, 0);
	renames(dir);
	unlinks(dir);
	modes(dir);
	return 0;
}
