/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connect WORK_DIR [BLACKHOLE_IP]: connects that fail, that do not block, of UDP and of AF_UNIX; listens that fail.
 * BLACKHOLE_IP swallows every packet; the work directory is entered, for the relative socket path.
 */
#include "inet.h"
#include <stddef.h>

static int closed_port(const char *ip)
{
	/* Bound but not listening: refuses, and nobody else can take it. */
	return bound(ip, SOCK_STREAM, 0);
}

static void refused(const char *name, const char *ip)
{
	int holder = closed_port(ip);
	union address asked = local_of(holder);
	int fd = CHECK(socket(asked.any.sa_family, SOCK_STREAM, 0));
	act();
	int done = connect(fd, &asked.any, size_of(&asked));
	if (!done || errno != ECONNREFUSED)
		die(name);
	said_connect(name, NULL, fd, asked.any.sa_family, IPPROTO_TCP, &asked, -ECONNREFUSED);
	CHECK(close(fd));
	CHECK(close(holder));
}

static void non_blocking(const char *name, const char *ip, int refuse)
{
	int listener = refuse ? closed_port(ip) : said_listen("non-blocking-listen", bound(ip, SOCK_STREAM, 0), 4);
	union address asked = local_of(listener);
	int fd = CHECK(socket(asked.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0)), error = 0;
	socklen_t size = sizeof(error);
	act();
	int done = connect(fd, &asked.any, size_of(&asked));
	if (!done || errno != EINPROGRESS)
		die(name);
	wait_for(fd, POLLOUT);
	CHECK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size));
	said_connect(name, refuse ? NULL : "non-blocking", fd, asked.any.sa_family, IPPROTO_TCP, &asked, -error);
	if (!refuse) {
		struct ending e = before_end(fd);
		act();
		said_end("non-blocking-close", "non-blocking", &e, 0, 0, "local", 0);
		/* Accept it, so that the end is an orderly one; the accepted end is closed second. */
		int server = (int)CHECK(accept(listener, NULL, NULL));
		said_accept("non-blocking-accept", "non-blocking-server", server);
		struct ending s = before_end(server);
		said_end("non-blocking-close-server", "non-blocking-server", &s, 0, 0, "remote", 0);
		CHECK(close(fd));
		wait_for(server, POLLIN);
		CHECK(close(server));
	}
	CHECK(close(fd == listener ? -1 : listener));
}

static void failing(const char *name, int type, const union address *asked, socklen_t size, int expected)
{
	int family = asked->any.sa_family == AF_INET6 ? AF_INET6 : AF_INET;
	int fd = CHECK(socket(family, type, 0));
	act();
	int done = connect(fd, &asked->any, size);
	if (!done || errno != expected)
		die(name);
	/* Of a short address nothing can be said. */
	said_connect(name, NULL, fd, family, type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP,
		     size < size_of(asked) ? NULL : asked, -expected);
	CHECK(close(fd));
}

static void udp(const char *name, const char *ip)
{
	int peer = bound(ip, SOCK_DGRAM, 0);
	union address asked = local_of(peer);
	int fd = CHECK(socket(asked.any.sa_family, SOCK_DGRAM, 0));
	act();
	CHECK(connect(fd, &asked.any, size_of(&asked)));
	said_connect(name, NULL, fd, asked.any.sa_family, IPPROTO_UDP, &asked, 0);
	CHECK(send(fd, "x", 1, 0));
	CHECK(close(fd));
	CHECK(close(peer));
}

static socklen_t unix_address(struct sockaddr_un *a, const char *name, size_t len)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	memcpy(a->sun_path, name, len);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

/* `name`: of an abstract one without its NUL. */
static void said_unix(const char *act_name, int type, const char *path, int abstract, const char *name, size_t len,
		      int result)
{
	line_start(act_name, "socket.connect");
	say_number("family", AF_UNIX);
	say_number("protocol", type);
	if (path)
		say_string("unix_path", path);
	say_bytes("unix_name", name, len);
	say_flag("unix_abstract", abstract);
	say_number("result", result);
	line_finish();
}

static int unix_server(const char *name, size_t len, int type, int listening)
{
	struct sockaddr_un a;
	socklen_t size = unix_address(&a, name, len);
	int fd = CHECK(socket(AF_UNIX, type, 0));
	CHECK(bind(fd, (struct sockaddr *)&a, size));
	if (listening)
		CHECK(listen(fd, 4));
	return fd;
}

static void unix_connect(const char *act_name, int type, const char *path, const char *name, size_t len, int expected)
{
	struct sockaddr_un a;
	int abstract = len && !name[0];
	/* A path with its NUL, as callers pass it; an abstract name without one. */
	socklen_t size = unix_address(&a, name, len) + (abstract ? 0 : 1);
	int fd = CHECK(socket(AF_UNIX, type, 0));
	act();
	int done = connect(fd, (struct sockaddr *)&a, size);
	if (done ? errno != expected : expected)
		die(act_name);
	said_unix(act_name, type, path, abstract, abstract ? name + 1 : name, abstract ? len - 1 : len, -expected);
	CHECK(close(fd));
}

static void unix_sockets(const char *dir)
{
	char path[4096], absolute[108];
	snprintf(absolute, sizeof(absolute), "%s/absolute", dir);
	snprintf(path, sizeof(path), "%s/sock", dir);
	unix_server("sock", 4, SOCK_STREAM, 1);
	unix_server(absolute, strlen(absolute), SOCK_STREAM, 1);
	unix_connect("unix-absolute", SOCK_STREAM, absolute, absolute, strlen(absolute), 0);
	unix_connect("unix-relative", SOCK_STREAM, path, "sock", 4, 0);
	CHECK(symlink("sock", "link"));
	unix_connect("unix-symlink", SOCK_STREAM, path, "link", 4, 0);
	unix_server("\0hidden\nname", 12, SOCK_STREAM, 1);
	unix_connect("unix-abstract", SOCK_STREAM, NULL, "\0hidden\nname", 12, 0);
	unix_server("datagram", 8, SOCK_DGRAM, 0);
	snprintf(path, sizeof(path), "%s/datagram", dir);
	unix_connect("unix-datagram", SOCK_DGRAM, path, "datagram", 8, 0);
	unix_connect("unix-enoent", SOCK_STREAM, NULL, "missing", 7, ENOENT); /* no peer: no path of one */
	unix_server("deaf", 4, SOCK_STREAM, 0);
	unix_connect("unix-refused", SOCK_STREAM, NULL, "deaf", 4, ECONNREFUSED);
	unix_connect("unix-abstract-refused", SOCK_STREAM, NULL, "\0nobody", 7, ECONNREFUSED);
}

static void listens(void)
{
	int fd = bound("127.0.0.1", SOCK_DGRAM, 0);
	said_listen("listen-udp", fd, 5);
	fd = CHECK(socket(AF_INET6, SOCK_STREAM, 0));
	said_listen("listen-unbound", fd, 0); /* the kernel picks the port */
	said_listen("listen-again", fd, 4096);
}

static void blackhole(const char *ip)
{
	union address asked = address_of(ip, 9);
	int fd = CHECK(socket(AF_INET, SOCK_STREAM, 0));
	act();
	int done = connect(fd, &asked.any, size_of(&asked));
	if (!done || errno != ETIMEDOUT)
		die("timed-out");
	said_connect("timed-out", NULL, fd, AF_INET, IPPROTO_TCP, &asked, -ETIMEDOUT);
	CHECK(close(fd));

	fd = CHECK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	act();
	done = connect(fd, &asked.any, size_of(&asked));
	if (!done || errno != EINPROGRESS)
		die("timed-out-later");
	wait_for(fd, POLLOUT);
	said_connect("timed-out-later", NULL, fd, AF_INET, IPPROTO_TCP, &asked, -ETIMEDOUT);
	CHECK(close(fd));

	/* Given up by the caller: neither a success nor a time-out. */
	fd = CHECK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	act();
	done = connect(fd, &asked.any, size_of(&asked));
	if (!done || errno != EINPROGRESS)
		die("given-up");
	CHECK(close(fd));
	line_start("given-up", "socket.connect");
	say_number("family", AF_INET);
	say_number("protocol", IPPROTO_TCP);
	say_address("asked", &asked);
	say_flag("result_is_failure", 1);
	line_finish();
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	CHECK(chdir(argv[1]));
	refused("refused-v4", "127.0.0.1");
	refused("refused-v6", "::1");
	non_blocking("non-blocking", "127.0.0.1", 0);
	non_blocking("non-blocking-refused", "127.0.0.1", 1);
	union address a = address_of("203.0.113.1", 80);
	if (argc > 2) { /* in a network namespace without a default route */
		failing("enetunreach", SOCK_STREAM, &a, sizeof(a.v4), ENETUNREACH);
		failing("udp-enetunreach", SOCK_DGRAM, &a, sizeof(a.v4), ENETUNREACH);
	}
	failing("einval-short", SOCK_STREAM, &a, 8, EINVAL);
	a = address_of("255.255.255.255", 80);
	failing("broadcast", SOCK_STREAM, &a, sizeof(a.v4), ENETUNREACH);
	udp("udp-v4", "127.0.0.1");
	udp("udp-v6", "::1");
	unix_sockets(argv[1]);
	listens();
	if (argc > 2)
		blackhole(argv[2]);
	return 0;
}
