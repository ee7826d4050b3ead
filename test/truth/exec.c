/* SPDX-License-Identifier: Apache-2.0 */
/* exec WORK_DIR: every way to execute a program. What is executed is a copy of nop that lies beside this program. */
#include "file.h"
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>

extern char **environ;

struct expected {
	const char *act, *filename, *exe, *cwd, *interp, *comm;
	char *const *argv;
	int exe_state, upper, memfd, deleted, secure, euid;
};

static char nop[4200];

/* The line of an exec that is about to happen; the caller's pid keeps. */
static void say_exec(const struct expected *e)
{
	size_t argc = 0, bytes = 0;
	while (e->argv[argc])
		bytes += strlen(e->argv[argc++]) + 1;
	uint64_t caps = 0;
	if (e->euid == 0)
		for (int cap = 0; cap < 64 && prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
			caps |= (uint64_t)prctl(PR_CAPBSET_READ, cap) << cap;
	act();
	line_start(e->act, "process.exec");
	say_string("filename", e->filename);
	say_string("exe", e->exe);
	say_number("exe_state", e->exe_state);
	say_string("cwd", e->cwd ? e->cwd : work_dir);
	say_string("exec_comm", e->comm ? e->comm : "nop");
	say_strings("argv", e->argv);
	say_number("argc", (long long)argc);
	say_number("argv_length", (long long)bytes);
	say_string("interpreter", e->interp ? e->interp : "");
	say_flag("upper_layer", e->upper);
	say_flag("memfd", e->memfd);
	say_flag("deleted", e->deleted);
	say_flag("secureexec", e->secure);
	say_number("exec_euid", e->euid);
	say_big("cap_permitted", caps);
	line_finish();
}

/* Runs `body` in a child, which is to execute something, and says how it ended. */
static void in_child(const char *name, void (*body)(void))
{
	char label[80];
	snprintf(label, sizeof(label), "%s-exit", name);
	act();
	pid_t child = CHECK(fork());
	if (child == 0) {
		body();
		die(name);
	}
	say_exit(label, child);
}

static void run(struct expected e)
{
	if (!e.exe)
		e.exe = nop;
	say_exec(&e);
	execve(e.filename, e.argv, environ);
}

static void plain(void)
{
	run((struct expected){ .act = "execve", .filename = nop, .argv = (char *[]){ "nop", "one", "two words", NULL } });
}

static void relative(void)
{
	run((struct expected){ .act = "execve-relative", .filename = "./nop", .argv = (char *[]){ "other name", NULL } });
}

static void by_link(void)
{
	run((struct expected){
		.act = "execve-symlink", .filename = "link", .comm = "link", .argv = (char *[]){ "link", NULL } });
}

static void hostile(void)
{
	run((struct expected){ .act = "argv-hostile",
			       .filename = nop,
			       .argv = (char *[]){ "\033[31mred\n{\"kind\":\"process.exec\"}", "", "\xff\xfe\xc3(", "\x7f\xe2\x80\xae\"\\",
						   "\xf0\x9f\x90\xb3", "", NULL } });
}

static void no_argv(void)
{
	/* Since Linux 5.18 an empty list becomes one empty string. */
	struct expected e = { .act = "argc-0", .filename = nop, .exe = nop, .argv = (char *[]){ "", NULL } };
	say_exec(&e);
	execve(nop, (char *[]){ NULL }, environ);
}

static void huge(void)
{
	static char *argv[5] = { "nop" };
	for (int i = 1; i < 4; i++) {
		argv[i] = malloc(100001);
		memset(argv[i], 'a' + i, 100000);
		argv[i][100000] = 0;
	}
	run((struct expected){ .act = "argv-300k", .filename = nop, .argv = argv });
}

static void many(void)
{
	static char *argv[20001];
	for (int i = 0; i < 20000; i++) {
		argv[i] = malloc(8);
		sprintf(argv[i], "%d", i);
	}
	run((struct expected){ .act = "argv-20000", .filename = nop, .argv = argv });
}

static void sized(const char *name, size_t bytes)
{
	char *argv[] = { "nop", malloc(bytes), NULL };
	memset(argv[1], 's', bytes - 5);
	argv[1][bytes - 5] = 0;
	run((struct expected){ .act = name, .filename = nop, .argv = argv });
}

static void at_cap(void)
{
	sized("argv-8192", 8192);
}

static void over_cap(void)
{
	sized("argv-8193", 8193);
}

static void script(void)
{
	struct expected e = { .act = "script", .filename = "./script", .exe = nop, .interp = nop, .comm = "script",
			      .argv = (char *[]){ nop, "-x y", "./script", "arg", NULL } };
	say_exec(&e);
	execve("./script", (char *[]){ "lost", "arg", NULL }, environ);
}

static void at_dir(void)
{
	char name[64];
	act();
	int dir = said_open("execveat-dir", (int)syscall(SYS_openat, AT_FDCWD, ".", O_PATH), ".", O_PATH, 0);
	snprintf(name, sizeof(name), "/dev/fd/%d/nop", dir);
	struct expected e = { .act = "execveat", .filename = name, .exe = nop, .argv = (char *[]){ "at", NULL } };
	say_exec(&e);
	syscall(SYS_execveat, dir, "nop", e.argv, environ, 0);
}

static void at_empty(void)
{
	char name[64];
	act();
	int fd = said_open("execveat-fd", (int)syscall(SYS_openat, AT_FDCWD, "nop", O_PATH), "nop", O_PATH, 0);
	snprintf(name, sizeof(name), "/dev/fd/%d", fd);
	struct expected e = { .act = "execveat-empty-path", .filename = name, .exe = nop, .argv = (char *[]){ "fd", NULL } };
	say_exec(&e);
	syscall(SYS_execveat, fd, "", e.argv, environ, AT_EMPTY_PATH);
}

static void copy_to(int to)
{
	int from = CHECK(open(nop, O_RDONLY));
	struct stat st;
	CHECK(fstat(from, &st));
	CHECK(sendfile(to, from, NULL, (size_t)st.st_size));
	CHECK(close(from));
}

static void memory(void)
{
	char name[64];
	act();
	int fd = CHECK(memfd_create("payload", MFD_CLOEXEC));
	copy_to(fd);
	line_start("memfd-source", "file.open");
	say_string("path", nop);
	say_number("path_state", 0);
	say_string("asked", nop);
	say_number("flags", O_RDONLY);
	say_number("result", 0);
	line_finish();
	snprintf(name, sizeof(name), "/dev/fd/%d", fd);
	struct expected e = { .act = "memfd", .filename = name, .exe = "/memfd:payload", .memfd = 1, .deleted = 1,
			      .exe_state = STATE_PSEUDO, .comm = "memfd:payload",
			      .argv = (char *[]){ "m", NULL } };
	say_exec(&e);
	syscall(SYS_execveat, fd, "", e.argv, environ, AT_EMPTY_PATH);
}

static void unlinked(void)
{
	char name[64];
	act();
	int fd = said_open("unlinked-open", (int)syscall(SYS_openat, AT_FDCWD, "doomed", O_RDONLY | O_CLOEXEC), "doomed",
			   O_RDONLY | O_CLOEXEC, 0);
	act();
	long done = unlink_call("doomed");
	said_named("unlinked-unlink", "file.unlink", joined(work_dir, "doomed"), 0, NULL, 0, done);
	snprintf(name, sizeof(name), "/dev/fd/%d", fd);
	struct expected e = { .act = "unlinked", .filename = name, .exe = joined(work_dir, "doomed"), .deleted = 1,
			      .exe_state = STATE_DELETED, .comm = "doomed", .argv = (char *[]){ "u", NULL } };
	say_exec(&e);
	syscall(SYS_execveat, fd, "", e.argv, environ, AT_EMPTY_PATH);
}

static void *thread_exec(void *unused)
{
	(void)unused;
	run((struct expected){ .act = "from-thread", .filename = nop, .argv = (char *[]){ "t", NULL } });
	return NULL;
}

static void from_thread(void)
{
	pthread_t thread;
	if (pthread_create(&thread, NULL, thread_exec, NULL))
		die("pthread_create");
	pthread_join(thread, NULL);
}

static volatile int leader_lives; /* cleared by the kernel when the leader exits */

static void *thread_exec_orphan(void *unused)
{
	(void)unused;
	while (leader_lives)
		sched_yield();
	run((struct expected){ .act = "after-leader", .filename = nop, .argv = (char *[]){ "t", NULL } });
	return NULL;
}

static void after_leader(void)
{
	pthread_t thread;
	leader_lives = 1;
	syscall(SYS_set_tid_address, &leader_lives);
	if (pthread_create(&thread, NULL, thread_exec_orphan, NULL))
		die("pthread_create");
	syscall(SYS_exit, 0);
}

static void set_id(void)
{
	CHECK(setresgid(65534, 65534, 65534));
	CHECK(setresuid(65534, 65534, 65534));
	run((struct expected){ .act = "secureexec", .filename = "./setuid", .exe = joined(work_dir, "setuid"), .secure = 1,
			       .comm = "setuid", .argv = (char *[]){ "s", NULL } });
}

static void unprivileged(void)
{
	CHECK(setresgid(65534, 65534, 65534));
	CHECK(setresuid(65534, 65534, 65534));
	run((struct expected){ .act = "as-nobody", .filename = nop, .euid = 65534, .argv = (char *[]){ "n", NULL } });
}

static void replaced(void)
{
	/* The new image opens a file: the event must carry its own exe, not this program's. */
	char opener[4200];
	ssize_t n = CHECK(readlink("/proc/self/exe", opener, sizeof(opener) - 1));
	opener[n] = 0;
	strcpy(strrchr(opener, '/') + 1, "sentinel");
	struct expected e = { .act = "opener", .filename = opener, .exe = opener, .comm = "sentinel",
			      .argv = (char *[]){ "sentinel", "opened", NULL } };
	say_exec(&e);
	line_start("open-by-new-image", "file.open");
	say_string("path", joined(work_dir, "opened"));
	say_number("path_state", 0);
	say_string("asked", "opened");
	say_number("flags", O_RDWR | O_CREAT);
	say_flag("created", 1);
	say_number("result", 0);
	say_flag("later", 1);
	say_string("process_exe", opener);
	say_string("process_comm", "sentinel");
	line_finish();
	execve(opener, e.argv, environ);
}

static void fails(void)
{
	/* No event: nothing was executed. */
	execve("./missing", (char *[]){ "x", NULL }, environ);
	execve(".", (char *[]){ "x", NULL }, environ);
	execve("./not-executable", (char *[]){ "x", NULL }, environ);
	execve("./not-a-program", (char *[]){ "x", NULL }, environ);
	_exit(0);
}

static void forked(void)
{
	/* Two generations that never execute: their exe is this program's. */
	act();
	pid_t child = CHECK(fork());
	if (child == 0) {
		act();
		said_open("open-by-grandchild", (int)syscall(SYS_openat, AT_FDCWD, "nop", O_RDONLY), "nop", O_RDONLY, 0);
		_exit(3);
	}
	say_exit("grandchild-exit", child);
	_exit(0);
}

static void vforked(void)
{
	struct expected e = { .act = "vfork", .filename = nop, .exe = nop, .argv = (char *[]){ "v", NULL } };
	act();
	pid_t child = vfork();
	if (child == 0) {
		say_exec(&e);
		execve(nop, e.argv, environ);
		_exit(99);
	}
	say_exit("vfork-exit", child);
}

static void in_overlay(const char *name, const char *file, int upper)
{
	run((struct expected){ .act = name, .filename = file, .exe = joined(work_dir, file), .upper = upper,
			       .argv = (char *[]){ "o", NULL } });
}

static void overlay_lower(void)
{
	in_overlay("overlay-lower", "merged/nop", 0);
}

static void overlay_upper(void)
{
	in_overlay("overlay-upper", "merged/sub/nop", 1);
}

static void overlay(void)
{
	char options[16384];
	CHECK(unshare(CLONE_NEWNS));
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	snprintf(options, sizeof(options), "lowerdir=%s,upperdir=%s,workdir=%s", joined(work_dir, "lower"),
		 joined(work_dir, "upper"), joined(work_dir, "work"));
	CHECK(mount("overlay", "merged", "overlay", 0, options));
	in_child("overlay-lower", overlay_lower);
	in_child("overlay-upper", overlay_upper);
}

/* The harness prepares the work directory: nop, link, script, doomed, setuid, not-executable, not-a-program, lower/nop,
 * upper/sub/nop, work, merged. */
int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	enter_work_dir(argv[1]);
	strcpy(nop, joined(work_dir, "nop"));
	in_child("execve", plain);
	in_child("execve-relative", relative);
	in_child("execve-symlink", by_link);
	in_child("argv-hostile", hostile);
	in_child("argc-0", no_argv);
	in_child("argv-300k", huge);
	in_child("argv-20000", many);
	in_child("argv-8192", at_cap);
	in_child("argv-8193", over_cap);
	in_child("script", script);
	in_child("execveat", at_dir);
	in_child("execveat-empty-path", at_empty);
	in_child("memfd", memory);
	in_child("unlinked", unlinked);
	in_child("from-thread", from_thread);
	in_child("after-leader", after_leader);
	in_child("secureexec", set_id);
	in_child("as-nobody", unprivileged);
	in_child("opener", replaced);
	in_child("exec-fails", fails);
	in_child("fork-only", forked);
	vforked();
	overlay();
	return 0;
}
