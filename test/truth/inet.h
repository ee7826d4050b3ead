/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of socket acts. Addresses come from getsockname(2) and getpeername(2). */
#ifndef TRUTH_INET_H
#define TRUTH_INET_H

#include "truth.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static union address address_of(const char *ip, int port)
{
	union address a;
	memset(&a, 0, sizeof(a));
	if (strchr(ip, ':')) {
		a.v6.sin6_family = AF_INET6;
		a.v6.sin6_port = htons((uint16_t)port);
		if (inet_pton(AF_INET6, ip, &a.v6.sin6_addr) != 1)
			die(ip);
	} else {
		a.v4.sin_family = AF_INET;
		a.v4.sin_port = htons((uint16_t)port);
		if (inet_pton(AF_INET, ip, &a.v4.sin_addr) != 1)
			die(ip);
	}
	return a;
}

static socklen_t size_of(const union address *a)
{
	return a->any.sa_family == AF_INET6 ? sizeof(a->v6) : sizeof(a->v4);
}

static int port_of(const union address *a)
{
	return ntohs(a->any.sa_family == AF_INET6 ? a->v6.sin6_port : a->v4.sin_port);
}

/* An IPv4 address in an IPv6 socket is written as IPv4, as the collector does. */
static void say_address(const char *key, const union address *a)
{
	char ip[INET6_ADDRSTRLEN], name[32];
	if (a->any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr))
		inet_ntop(AF_INET, (const char *)&a->v6.sin6_addr + 12, ip, sizeof(ip));
	else if (a->any.sa_family == AF_INET6)
		inet_ntop(AF_INET6, &a->v6.sin6_addr, ip, sizeof(ip));
	else
		inet_ntop(AF_INET, &a->v4.sin_addr, ip, sizeof(ip));
	snprintf(name, sizeof(name), "%s_ip", key);
	say_string(name, ip);
	snprintf(name, sizeof(name), "%s_port", key);
	say_number(name, port_of(a));
}

static union address local_of(int fd)
{
	union address a;
	socklen_t size = sizeof(a);
	memset(&a, 0, sizeof(a));
	CHECK(getsockname(fd, &a.any, &size));
	return a;
}

static union address peer_of(int fd)
{
	union address a;
	socklen_t size = sizeof(a);
	memset(&a, 0, sizeof(a));
	CHECK(getpeername(fd, &a.any, &size));
	return a;
}

/* `connection` names a connection's end: its connect or accept and its close carry the same start. */
static __attribute__((unused)) void said_connect(const char *act_name, const char *connection, int fd, int family, int protocol,
			 const union address *asked, int result)
{
	line_start(act_name, "socket.connect");
	if (connection)
		say_string("connection", connection);
	say_number("family", family);
	say_number("protocol", protocol);
	if (asked)
		say_address("asked", asked);
	if (!result) {
		union address local = local_of(fd), peer = peer_of(fd);
		say_address("local", &local);
		say_address("remote", &peer);
	}
	say_number("result", result);
	line_finish();
}

static __attribute__((unused)) int said_listen(const char *act_name, int fd, int backlog)
{
	act();
	int done = listen(fd, backlog), protocol = 0;
	line_start(act_name, "socket.listen");
	union address local = local_of(fd);
	socklen_t size = sizeof(protocol);
	CHECK(getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size));
	say_number("family", local.any.sa_family);
	say_number("protocol", protocol);
	if (!done)
		say_address("local", &local);
	say_number("backlog", backlog);
	say_number("result", result_of(done));
	line_finish();
	return fd;
}

static __attribute__((unused)) void said_accept(const char *act_name, const char *connection, int fd)
{
	line_start(act_name, "socket.accept");
	union address local = local_of(fd), peer = peer_of(fd);
	say_string("connection", connection);
	say_number("family", local.any.sa_family);
	say_number("protocol", IPPROTO_TCP);
	say_address("local", &local);
	say_address("remote", &peer);
	line_finish();
}

/* The end of a connection: addresses are taken before it. The event may come later than t1. */
struct ending {
	union address local, peer;
};

static __attribute__((unused)) struct ending before_end(int fd)
{
	return (struct ending){ local_of(fd), peer_of(fd) };
}

static __attribute__((unused)) void said_end(const char *act_name, const char *connection, const struct ending *e, long sent,
					     long received, const char *ended_by, int result)
{
	line_start(act_name, "socket.close");
	say_string("connection", connection);
	say_number("family", e->local.any.sa_family);
	say_number("protocol", IPPROTO_TCP);
	say_address("local", &e->local);
	say_address("remote", &e->peer);
	if (sent >= 0) {
		say_number("bytes_sent", sent);
		say_number("bytes_received", received);
	}
	say_string("ended_by", ended_by);
	if (result <= 0)
		say_number("result", result);
	line_finish();
}

static __attribute__((unused)) void send_all(int fd, size_t bytes)
{
	static char zeros[65536];
	while (bytes) {
		ssize_t n = CHECK(send(fd, zeros, bytes < sizeof(zeros) ? bytes : sizeof(zeros), MSG_NOSIGNAL));
		bytes -= (size_t)n;
	}
}

static __attribute__((unused)) void receive_all(int fd, size_t bytes)
{
	static char buffer[65536];
	while (bytes) {
		ssize_t n = CHECK(recv(fd, buffer, bytes < sizeof(buffer) ? bytes : sizeof(buffer), 0));
		if (!n)
			die("receive_all: end of stream");
		bytes -= (size_t)n;
	}
}

static __attribute__((unused)) void wait_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };
	CHECK(poll(&p, 1, -1));
}

/* A socket bound to the address: an ephemeral port is picked for 0. */
static __attribute__((unused)) int bound(const char *ip, int type, int protocol)
{
	union address a = address_of(ip, 0);
	int fd = CHECK(socket(a.any.sa_family, type, protocol));
	CHECK(bind(fd, &a.any, size_of(&a)));
	return fd;
}

#endif
