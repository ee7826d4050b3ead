/* SPDX-License-Identifier: Apache-2.0 */
/* failing WORK_DIR: file acts that fail, each with its errno. */
#include "file.h"

static void failed_open(const char *name, int dirfd, const char *dir, const char *asked, unsigned flags)
{
	act();
	long fd = syscall(SYS_openat, dirfd, asked, flags, 0600);
	if (fd >= 0)
		die(name);
	said_named(name, "file.open", asked[0] == '/' ? asked : joined(dir, asked), 0, asked, flags, fd);
}

static void opens(void)
{
	char name256[257];
	memset(name256, 'n', 256);
	name256[256] = 0;
	failed_open("enoent", AT_FDCWD, work_dir, "missing", O_RDONLY);
	failed_open("enoent-absolute", AT_FDCWD, work_dir, "/nowhere/at/all", O_WRONLY);
	failed_open("eexist", AT_FDCWD, work_dir, "plain", O_CREAT | O_EXCL | O_WRONLY);
	failed_open("eisdir", AT_FDCWD, work_dir, "dir", O_WRONLY);
	failed_open("enotdir", AT_FDCWD, work_dir, "plain/below", O_RDONLY);
	failed_open("eloop", AT_FDCWD, work_dir, "loop", O_RDONLY);
	failed_open("eloop-nofollow", AT_FDCWD, work_dir, "link", O_RDONLY | O_NOFOLLOW);
	failed_open("enametoolong", AT_FDCWD, work_dir, name256, O_RDONLY);
	failed_open("enxio", AT_FDCWD, work_dir, "fifo", O_WRONLY | O_NONBLOCK);
	failed_open("hostile", AT_FDCWD, work_dir, "no\nsuch\033[31m\"\\\xff\xc3(\x7f\xe2\x80\xae", O_RDONLY);
	int dir = (int)syscall(SYS_openat, AT_FDCWD, "dir", O_PATH);
	act();
	said_open("dirfd", dir, "dir", O_PATH, 0);
	failed_open("enoent-dirfd", dir, joined(work_dir, "dir"), "missing", O_RDONLY);

	struct open_how_arg how = { .flags = O_RDONLY, .resolve = 8 };
	act();
	long fd = syscall(SYS_openat2, dir, "../plain", &how, sizeof(how));
	said_named("openat2-exdev", "file.open", joined(joined(work_dir, "dir"), "../plain"), 0, "../plain", O_RDONLY, fd);
	act();
	fd = creat_call("dir", 0600);
	said_named("creat-eisdir", "file.open", joined(work_dir, "dir"), 0, "dir", O_CREAT | O_WRONLY | O_TRUNC, fd);

	act();
	fd = syscall(SYS_openat, 12345, "plain", O_RDONLY);
	line_start("ebadf", "file.open");
	say_string("asked", "plain");
	say_number("flags", O_RDONLY);
	say_number("result", result_of(fd));
	line_finish();

	act();
	fd = syscall(SYS_openat, AT_FDCWD, 1L, O_RDONLY);
	line_start("efault", "file.open");
	say_number("path_state", STATE_FAULT);
	say_number("flags", O_RDONLY);
	say_number("result", result_of(fd));
	line_finish();
}

static void long_names(void)
{
	static char text[8193];
	/* The longest string that open(2) takes is 4,095 bytes; what is longer fails before any look-up. */
	for (size_t len = 4094; len <= 4097; len++) {
		char name[32];
		memset(text, 'm', len);
		for (size_t i = 0; i < len; i += 200)
			text[i] = '/';
		text[len] = 0;
		snprintf(name, sizeof(name), "asked-%zu", len);
		act();
		long fd = syscall(SYS_openat, AT_FDCWD, text, O_RDONLY);
		said_named(name, "file.open", text, len > 4095 ? STATE_TRUNCATED : 0, text, O_RDONLY, fd);
	}
	memset(text, 'm', 8000);
	text[0] = '/';
	text[8000] = 0;
	act();
	long fd = syscall(SYS_openat, AT_FDCWD, text, O_RDONLY);
	said_named("asked-8000", "file.open", text, STATE_TRUNCATED, text, O_RDONLY, fd);
}

static void changes(void)
{
	act();
	long done = unlink_call("missing");
	said_named("unlink-enoent", "file.unlink", joined(work_dir, "missing"), 0, NULL, 0, done);
	act();
	done = syscall(SYS_unlinkat, AT_FDCWD, "dir", 0);
	said_named("unlink-eisdir", "file.unlink", joined(work_dir, "dir"), 0, NULL, 0, done);
	act();
	done = chmod_call("missing", 0600);
	line_start("chmod-enoent", "file.chmod");
	say_string("path", joined(work_dir, "missing"));
	say_number("path_state", 0);
	say_number("new_mode", 0600);
	say_number("result", result_of(done));
	line_finish();
	act();
	done = syscall(SYS_fchmod, 12345, 0600);
	line_start("fchmod-ebadf", "file.chmod");
	say_number("new_mode", 0600);
	say_number("result", result_of(done));
	line_finish();
	act();
	done = rename_call("missing", "other");
	line_start("rename-enoent", "file.rename");
	say_string("path", joined(work_dir, "missing"));
	say_number("path_state", 0);
	say_string("new_path", joined(work_dir, "other"));
	say_number("flags", 0);
	say_number("result", result_of(done));
	line_finish();
	act();
	done = syscall(SYS_renameat2, AT_FDCWD, "plain", AT_FDCWD, "plain2", 1 /* RENAME_NOREPLACE */);
	line_start("rename-noreplace-eexist", "file.rename");
	say_string("path", joined(work_dir, "plain"));
	say_number("path_state", 0);
	say_string("new_path", joined(work_dir, "plain2"));
	say_number("flags", 1);
	say_number("result", result_of(done));
	line_finish();
}

static void as_nobody(void)
{
	act();
	pid_t child = CHECK(fork());
	if (child == 0) {
		CHECK(setresgid(65534, 65534, 65534));
		CHECK(setresuid(65534, 65534, 65534));
		failed_open("eacces", AT_FDCWD, work_dir, "secret", O_RDONLY);
		act();
		long done = chmod_call("plain", 0777);
		line_start("chmod-eperm", "file.chmod");
		say_string("path", joined(work_dir, "plain"));
		say_number("path_state", 0);
		say_number("new_mode", 0777);
		say_number("result", result_of(done));
		line_finish();
		act();
		done = unlink_call("plain");
		said_named("unlink-eacces", "file.unlink", joined(work_dir, "plain"), 0, NULL, 0, done);
		_exit(0);
	}
	say_exit("nobody-exit", child);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	umask(0);
	enter_work_dir(argv[1]);
	CHECK(chmod(work_dir, 0755));
	act();
	line_start("chmod-setup", "file.chmod");
	say_string("path", work_dir);
	say_number("path_state", 0);
	say_number("new_mode", 0755);
	say_number("result", 0);
	line_finish();
	make_file("plain");
	make_file("plain2");
	CHECK(mknod("secret", S_IFREG | 0400, 0));
	CHECK(mkdir("dir", 0755));
	CHECK(symlink("loop", "loop"));
	CHECK(symlink("plain", "link"));
	CHECK(mkfifo("fifo", 0600));
	opens();
	long_names();
	changes();
	as_nobody();
	return 0;
}
