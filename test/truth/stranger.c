/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that end while their owner does not run. Commands come as lines on stdin; each is answered by lines.
 *   stranger busy                  spins, until stdin ends
 *   stranger remote IP PORT        listens, and accepts what comes. reset: resets the connection it has had longest,
 *                                  also one it made. call IP PORT N: connects so often
 *   stranger victim                connect IP PORT N: connects without blocking, waits until all are up
 *                                  begin IP PORT N: likewise, but does not wait
 *                                  results: waits for all that began and says how each went
 *                                  listen IP PORT; accept N
 *                                  send I MS: one byte on the I-th, with a user timeout
 *                                  drop: closes all
 */
#include "inet.h"
#include <pthread.h>

#define MOST 1024

struct connection {
	int fd;
	union address local, peer;
};

static struct connection held[MOST];
static int count, listener = -1;

static void keep(int fd)
{
	if (count == MOST)
		die("too many");
	held[count++] = (struct connection){ .fd = fd };
}

static void said(const char *what, int i, int result)
{
	struct connection *c = &held[i];
	line_start(what, "socket.connect");
	say_address("local", &c->local);
	say_address("remote", &c->peer);
	say_number("result", result);
	line_finish();
}

static void answered(const char *what)
{
	line_start(what, "none");
	line_finish();
}

static int begin(const char *ip, int port)
{
	union address to = address_of(ip, port);
	int fd = CHECK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	act();
	if (connect(fd, &to.any, sizeof(to.v4)) && errno != EINPROGRESS)
		die("connect");
	keep(fd);
	held[count - 1].local = local_of(fd);
	held[count - 1].peer = to;
	return count - 1;
}

static int result_at(int i)
{
	int error = 0;
	socklen_t size = sizeof(error);
	wait_for(held[i].fd, POLLOUT);
	CHECK(getsockopt(held[i].fd, SOL_SOCKET, SO_ERROR, &error, &size));
	return -error;
}

static void take(void)
{
	int fd = accept(listener, NULL, NULL);
	if (fd < 0)
		return;
	keep(fd);
	held[count - 1].local = local_of(fd);
	held[count - 1].peer = peer_of(fd);
	said("accepted", count - 1, 0);
}

static void drop(void)
{
	for (int i = 0; i < count; i++)
		close(held[i].fd);
	count = 0;
}

/* Resets the connection that it has had longest. */
static void reset(void)
{
	struct linger none = { .l_onoff = 1, .l_linger = 0 };
	if (!count)
		die("nothing to reset");
	setsockopt(held[0].fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	close(held[0].fd);
	memmove(held, held + 1, sizeof(held[0]) * (size_t)--count);
}

static void listen_at(const char *ip, int port)
{
	union address at = address_of(ip, port);
	int on = 1;
	listener = CHECK(socket(AF_INET, SOCK_STREAM, 0));
	CHECK(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
	CHECK(bind(listener, &at.any, sizeof(at.v4)));
	CHECK(listen(listener, MOST));
	answered("listening");
}

static void send_on(int i, int timeout_ms)
{
	if (i >= count)
		die("no such connection");
	CHECK(setsockopt(held[i].fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms)));
	CHECK(send(held[i].fd, "x", 1, MSG_NOSIGNAL));
	answered("sent");
}

static void obey(char *command)
{
	char ip[64] = "";
	int port = 0, n = 0, from = count;
	if (sscanf(command, "connect %63s %d %d", ip, &port, &n) == 3 ||
	    sscanf(command, "call %63s %d %d", ip, &port, &n) == 3) {
		for (int i = 0; i < n; i++)
			begin(ip, port);
		for (int i = from; i < count; i++)
			said("connected", i, result_at(i));
		answered("all-connected");
	} else if (sscanf(command, "begin %63s %d %d", ip, &port, &n) == 3) {
		for (int i = 0; i < n; i++)
			said("began", begin(ip, port), 0);
		answered("all-began");
	} else if (!strncmp(command, "results", 7)) {
		for (int i = 0; i < count; i++)
			said("result", i, result_at(i));
		drop();
		answered("all-results");
	} else if (sscanf(command, "listen %63s %d", ip, &port) == 2) {
		listen_at(ip, port);
	} else if (sscanf(command, "accept %d", &n) == 1) {
		for (int i = 0; i < n; i++)
			take();
		answered("all-accepted");
	} else if (sscanf(command, "send %d %d", &from, &n) == 2) {
		send_on(from, n);
	} else if (!strncmp(command, "reset", 5)) {
		reset();
		answered("was-reset");
	} else if (!strncmp(command, "drop", 4)) {
		drop();
		if (listener >= 0)
			close(listener);
		listener = -1;
		answered("all-dropped");
	} else {
		die(command);
	}
}

static void busy(void)
{
	struct pollfd in = { .fd = 0, .events = POLLIN };
	answered("spinning");
	/* Mostly in user space, as a stranger is. */
	while (poll(&in, 1, 0) == 0)
		for (volatile int i = 0; i < 2000000; i++)
			;
}

int main(int argc, char **argv)
{
	const char *role = argc > 1 ? argv[1] : "";
	char command[256];
	size_t len = 0;
	act();
	if (!strcmp(role, "busy")) {
		busy();
		return 0;
	}
	int remote = !strcmp(role, "remote") && argc == 4;
	if (remote)
		listen_at(argv[2], atoi(argv[3]));
	else if (strcmp(role, "victim"))
		return 2;
	for (;;) {
		struct pollfd in[2] = { { .fd = 0, .events = POLLIN }, { .fd = remote ? listener : -1, .events = POLLIN } };
		CHECK(poll(in, 2, -1));
		if (in[1].revents)
			take();
		if (!in[0].revents)
			continue;
		if (read(0, command + len, 1) != 1)
			return 0;
		if (command[len] == '\n') {
			command[len] = 0;
			obey(command);
			len = 0;
		} else if (++len == sizeof(command)) {
			return 2;
		}
	}
}
