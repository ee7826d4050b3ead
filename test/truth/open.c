/* SPDX-License-Identifier: Apache-2.0 */
/* open WORK_DIR: every way to open a file. Descriptors opened for reading only: closing them is no event. */
#include "file.h"
#include <sys/mman.h>

struct handle {
	struct file_handle head;
	unsigned char bytes[MAX_HANDLE_SZ];
};

static void plain(void)
{
	const char *path = joined(work_dir, "plain");
	make_file("plain");
	act();
	said_open("open-rdonly", (int)open_call(path, O_RDONLY, 0), path, O_RDONLY, 0);
	act();
	said_open("openat-rdonly-absolute", (int)syscall(SYS_openat, 12345, path, O_RDONLY), path, O_RDONLY, 0);
	act();
	said_open("openat-relative-cwd", (int)syscall(SYS_openat, AT_FDCWD, "plain", O_RDONLY), "plain", O_RDONLY, 0);
	act();
	said_open("openat-append", (int)syscall(SYS_openat, AT_FDCWD, "plain", O_RDWR | O_APPEND | O_CLOEXEC), "plain",
		  O_RDWR | O_APPEND | O_CLOEXEC, 0);
	act();
	said_open("open-wronly-trunc", (int)open_call("./plain", O_WRONLY | O_TRUNC, 0), "./plain",
		  O_WRONLY | O_TRUNC, 0);
	struct open_how_arg how = { .flags = O_RDONLY, .resolve = 8 /* RESOLVE_BENEATH */ };
	act();
	said_open("openat2-rdonly", (int)syscall(SYS_openat2, AT_FDCWD, "plain", &how, sizeof(how)), "plain", O_RDONLY, 0);
}

static void creating(void)
{
	act();
	said_open("open-creat", (int)open_call("new1", O_CREAT | O_WRONLY | O_EXCL, 0600), "new1",
		  O_CREAT | O_WRONLY | O_EXCL, 1);
	act();
	said_open("openat-creat", (int)syscall(SYS_openat, AT_FDCWD, "new2", O_CREAT | O_RDWR, 0644), "new2",
		  O_CREAT | O_RDWR, 1);
	act();
	said_open("openat-creat-existing", (int)syscall(SYS_openat, AT_FDCWD, "new2", O_CREAT | O_WRONLY, 0644), "new2",
		  O_CREAT | O_WRONLY, 0);
	act();
	said_open("creat-new", (int)creat_call("new3", 0644), "new3", O_CREAT | O_WRONLY | O_TRUNC, 1);
	act();
	said_open("creat-existing", (int)creat_call("new3", 0644), "new3", O_CREAT | O_WRONLY | O_TRUNC, 0);
	struct open_how_arg how = { .flags = O_CREAT | O_WRONLY, .mode = 0604 };
	act();
	said_open("openat2-creat", (int)syscall(SYS_openat2, AT_FDCWD, "new4", &how, sizeof(how)), "new4",
		  O_CREAT | O_WRONLY, 1);
	act();
	int fd = (int)syscall(SYS_openat, AT_FDCWD, ".", O_TMPFILE | O_RDWR, 0600);
	char path[4200];
	if (fd < 0)
		die("O_TMPFILE");
	path_of(fd, path, sizeof(path));
	say_open_line("o-tmpfile", fd, path, STATE_DELETED, ".", O_TMPFILE | O_RDWR, 1);
}

static void odd(void)
{
	CHECK(mkdir("dir", 0755));
	CHECK(mkdir("dir/below", 0755));
	make_file("dir/below/leaf");
	CHECK(symlink("dir/below", "link"));
	CHECK(mkfifo("fifo", 0600));
	act();
	int dir = said_open("o-directory", (int)syscall(SYS_openat, AT_FDCWD, "dir", O_RDONLY | O_DIRECTORY), "dir",
			    O_RDONLY | O_DIRECTORY, 0);
	act();
	said_open("openat-dirfd", (int)syscall(SYS_openat, dir, "below/leaf", O_RDONLY), "below/leaf", O_RDONLY, 0);
	act();
	said_open("openat-dotdot", (int)syscall(SYS_openat, dir, "../dir//below/./leaf", O_RDONLY), "../dir//below/./leaf",
		  O_RDONLY, 0);
	act();
	said_open("openat-symlink", (int)syscall(SYS_openat, AT_FDCWD, "link/leaf", O_RDONLY), "link/leaf", O_RDONLY, 0);
	act();
	said_open("o-path", (int)syscall(SYS_openat, AT_FDCWD, "dir", O_PATH), "dir", O_PATH, 0);
	act();
	said_open("o-path-symlink", (int)syscall(SYS_openat, AT_FDCWD, "link", O_PATH | O_NOFOLLOW), "link",
		  O_PATH | O_NOFOLLOW, 0);
	act();
	said_open("fifo", (int)syscall(SYS_openat, AT_FDCWD, "fifo", O_RDONLY | O_NONBLOCK), "fifo", O_RDONLY | O_NONBLOCK,
		  0);
	act();
	said_open("device", (int)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY), "/dev/null", O_RDONLY, 0);
	act();
	said_open("proc", (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/status", O_RDONLY), "/proc/self/status", O_RDONLY,
		  0);
	act();
	said_open("root-dir", (int)syscall(SYS_openat, AT_FDCWD, "/", O_RDONLY), "/", O_RDONLY, 0);

	struct handle handle = { .head = { .handle_bytes = MAX_HANDLE_SZ } };
	int mount_id;
	CHECK(name_to_handle_at(AT_FDCWD, "plain", &handle.head, &mount_id, 0));
	act();
	said_open("open-by-handle", (int)syscall(SYS_open_by_handle_at, dir, &handle.head, O_RDONLY), NULL, O_RDONLY, 0);
}

/* Opening what has no place in the tree, through /proc/self/fd. */
static void pseudo(void)
{
	char asked[64], path[4200];
	int pipes[2];
	CHECK(pipe(pipes));
	snprintf(asked, sizeof(asked), "/proc/self/fd/%d", pipes[0]);
	act();
	int fd = (int)syscall(SYS_openat, AT_FDCWD, asked, O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		die("pipe");
	path_of(fd, path, sizeof(path));
	say_open_line("pipe-by-proc", fd, path, STATE_PSEUDO, asked, O_RDONLY | O_NONBLOCK, 0);

	int memory = CHECK(memfd_create("in memory", 0));
	snprintf(asked, sizeof(asked), "/proc/self/fd/%d", memory);
	act();
	fd = (int)syscall(SYS_openat, AT_FDCWD, asked, O_RDONLY);
	if (fd < 0)
		die("memfd");
	path_of(fd, path, sizeof(path));
	say_open_line("memfd-by-proc", fd, path, STATE_PSEUDO, asked, O_RDONLY, 0);
}

/* A 32-bit system call from a 64-bit program: another table, another tracepoint. */
static void compat(void)
{
#ifdef __x86_64__
	char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (low == MAP_FAILED)
		die("mmap");
	strcpy(low, "plain");
	long fd;
	act();
	__asm__ volatile("int $0x80" : "=a"(fd) : "a"(5L), "b"(low), "c"((long)O_RDONLY), "d"(0L) : "memory");
	if (fd < 0)
		errno = (int)-fd, fd = -1;
	said_open("int80-open", (int)fd, "plain", O_RDONLY, 0);
#endif
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	umask(0);
	enter_work_dir(argv[1]);
	plain();
	creating();
	odd();
	pseudo();
	compat();
	return 0;
}
