/* SPDX-License-Identifier: Apache-2.0 */
/* path WORK_DIR: names and paths at and beyond every limit. */
#include "file.h"

static void names(void)
{
	char name[256];
	/* 255 bytes, the most a name can have: every value but NUL and '/', then filling. */
	int n = 0;
	for (int c = 1; c < 256; c++)
		if (c != '/')
			name[n++] = (char)c;
	name[n++] = 'z';
	name[n] = 0;
	act();
	said_open("name-255", (int)syscall(SYS_openat, AT_FDCWD, name, O_CREAT | O_WRONLY, 0644), name, O_CREAT | O_WRONLY, 1);
	act();
	long done = unlink_call(name);
	said_named("unlink-255", "file.unlink", joined(work_dir, name), 0, NULL, 0, done);
	for (int len = 30; len <= 42; len++) { /* around the kernel's inline name store */
		char text[64], label[32];
		memset(text, 'a' + len % 26, (size_t)len);
		text[len] = 0;
		snprintf(label, sizeof(label), "name-%d", len);
		act();
		said_open(label, (int)syscall(SYS_openat, AT_FDCWD, text, O_CREAT | O_WRONLY, 0644), text,
			  O_CREAT | O_WRONLY, 1);
	}
}

/* The same directory by a string of 4,095 bytes: the longest that is taken. */
static void long_string(void)
{
	static char text[4096];
	strcpy(text, "short/");
	while (strlen(text) + 2 <= 4095 - 4)
		strcat(text, "./");
	while (strlen(text) < 4095 - 4)
		strcat(text, "/");
	strcat(text, "file");
	CHECK(mkdir("short", 0755));
	make_file("short/file");
	act();
	said_open("asked-4095", (int)syscall(SYS_openat, AT_FDCWD, text, O_RDONLY), text, O_RDONLY, 0);
}

/*
 * Goes down from the work directory until a file's resolved path has exactly `total` bytes, opens it by a relative
 * name, and comes back. The kernel's own rendering stops at a page, so the path is built here.
 */
static void resolved(const char *name, const char *top, size_t total, size_t step)
{
	static char path[20000];
	char part[256];
	strcpy(path, work_dir);
	size_t len = strlen(path);
	int levels = 0;
	char label[64];
	snprintf(label, sizeof(label), "%s-home", name);
	act();
	int home = CHECK((int)syscall(SYS_openat, AT_FDCWD, ".", O_PATH));
	said_open(label, home, ".", O_PATH, 0);
	while (len < total - 2) {
		size_t want = levels ? step : strlen(top);
		if (len + 1 + want > total - 2)
			want = total - 2 - len - 1;
		if ((long)want <= 0)
			break;
		memset(part, 'a' + levels % 26, want);
		part[want] = 0;
		if (!levels)
			strcpy(part, top);
		CHECK(mkdir(part, 0755));
		CHECK(chdir(part));
		path[len++] = '/';
		memcpy(path + len, part, want + 1);
		len += want;
		levels++;
	}
	char leaf[4] = "f";
	if (total - len == 3)
		strcpy(leaf, "ff");
	strcat(strcat(path, "/"), leaf);
	make_file(leaf);
	act();
	int fd = (int)syscall(SYS_openat, AT_FDCWD, leaf, O_RDONLY);
	if (fd < 0)
		die(name);
	line_start(name, "file.open");
	say_string("path", path);
	say_number("levels", levels);
	say_number("path_state", strlen(path) > 4096 ? STATE_TRUNCATED : 0);
	say_string("path_source", "kernel_file");
	say_string("asked", leaf);
	say_number("flags", O_RDONLY);
	say_place(fd);
	say_number("result", 0);
	line_finish();
	act();
	long done = unlink_call(leaf);
	snprintf(label, sizeof(label), "%s-unlink", name);
	/* The directory and the name are told apart: each has a limit of its own. */
	said_named(label, "file.unlink", path, strlen(path) - strlen(leaf) - 1 > 4096 ? STATE_TRUNCATED : 0, NULL, 0, done);
	CHECK(fchdir(home));
}

static void deleted(void)
{
	CHECK(mkdir("doomed", 0755));
	CHECK(chdir("doomed"));
	CHECK(rmdir("../doomed"));
	act();
	int fd = (int)syscall(SYS_openat, AT_FDCWD, ".", O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		die("deleted cwd");
	say_open_line("deleted-cwd", fd, joined(work_dir, "doomed"), STATE_DELETED, ".", O_RDONLY | O_DIRECTORY, 0);
	act();
	long done = syscall(SYS_openat, AT_FDCWD, "new", O_CREAT | O_WRONLY, 0600);
	said_named("create-in-deleted-cwd", "file.open", joined(joined(work_dir, "doomed"), "new"), STATE_DELETED, "new",
		   O_CREAT | O_WRONLY, done);
	CHECK(chdir(work_dir));

	make_file("doomed2");
	act();
	fd = said_open("doomed2", (int)syscall(SYS_openat, AT_FDCWD, "doomed2", O_RDONLY), "doomed2", O_RDONLY, 0);
	act();
	done = unlink_call("doomed2");
	said_named("unlink-doomed2", "file.unlink", joined(work_dir, "doomed2"), 0, NULL, 0, done);
	char asked[64];
	snprintf(asked, sizeof(asked), "/proc/self/fd/%d", fd);
	act();
	fd = (int)syscall(SYS_openat, AT_FDCWD, asked, O_RDONLY);
	if (fd < 0)
		die("deleted file");
	say_open_line("deleted-file", fd, joined(work_dir, "doomed2"), STATE_DELETED, asked, O_RDONLY, 0);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	umask(0);
	enter_work_dir(argv[1]);
	names();
	long_string();
	resolved("resolved-4094", "p4094", 4094, 200);
	resolved("resolved-4095", "p4095", 4095, 200);
	resolved("resolved-4096", "p4096", 4096, 200);
	resolved("resolved-4097", "p4097", 4097, 200);
	resolved("resolved-8000", "p8000", 8000, 240);
	resolved("levels-300", "p300", strlen(work_dir) + 1 + 4 + 299 * 2 + 2, 1);
	resolved("levels-1500", "p1500", strlen(work_dir) + 1 + 5 + 1499 * 2 + 2, 1);
	deleted();
	return 0;
}
