/* SPDX-License-Identifier: Apache-2.0 */
/* tcp: TCP connections over loopback, both ends in this process; their ends in each direction. */
#include "inet.h"

static char label_text[8][96];

static const char *label(const char *name, const char *suffix)
{
	static int slot;
	char *out = label_text[slot = (slot + 1) % 8];
	snprintf(out, sizeof(label_text[0]), "%s-%s", name, suffix);
	return out;
}

struct pair {
	const char *name;
	int client, server;
};

/* `asked` is what the client passes, `listen_ip` what the server binds. */
static struct pair open_pair(const char *name, const char *listen_ip, const char *asked_ip, int accept4_flags)
{
	struct pair p = { .name = name };
	int listener = said_listen(label(name, "listen"), bound(listen_ip, SOCK_STREAM, 0), 16);
	union address where = local_of(listener), asked = address_of(asked_ip, port_of(&where));
	p.client = CHECK(socket(asked.any.sa_family, SOCK_STREAM, 0));
	act();
	CHECK(connect(p.client, &asked.any, size_of(&asked)));
	said_connect(label(name, "connect"), label(name, "client"), p.client, asked.any.sa_family, IPPROTO_TCP, &asked, 0);
	act();
	if (accept4_flags >= 0)
		p.server = (int)CHECK(syscall(SYS_accept4, listener, NULL, NULL, accept4_flags));
	else
		p.server = (int)CHECK(syscall(SYS_accept, listener, NULL, NULL));
	said_accept(label(name, "accept"), label(name, "server"), p.server);
	CHECK(close(listener)); /* a listening socket's end is no event */
	return p;
}

static void exchange(const struct pair *p, size_t up, size_t down)
{
	if (up) {
		send_all(p->client, up);
		receive_all(p->server, up);
	}
	if (down) {
		send_all(p->server, down);
		receive_all(p->client, down);
	}
}

/* Closes `first`, lets the other end see it, then closes that. */
static void orderly(const struct pair *p, int client_first, long up, long down)
{
	struct ending client = before_end(p->client), server = before_end(p->server);
	int first = client_first ? p->client : p->server, second = client_first ? p->server : p->client;
	char byte;
	act();
	CHECK(close(first));
	if (recv(second, &byte, 1, 0) != 0)
		die("no end of stream");
	CHECK(close(second));
	said_end(label(p->name, "close-client"), label(p->name, "client"), &client, up, down,
		 client_first ? "local" : "remote", 0);
	said_end(label(p->name, "close-server"), label(p->name, "server"), &server, down, up,
		 client_first ? "remote" : "local", 0);
}

static void reset(const struct pair *p, int by_client, long up, long down)
{
	struct ending client = before_end(p->client), server = before_end(p->server);
	struct linger none = { .l_onoff = 1, .l_linger = 0 };
	int first = by_client ? p->client : p->server, second = by_client ? p->server : p->client;
	char byte;
	CHECK(setsockopt(first, SOL_SOCKET, SO_LINGER, &none, sizeof(none)));
	act();
	CHECK(close(first));
	if (recv(second, &byte, 1, 0) != -1 || errno != ECONNRESET)
		die("no reset");
	CHECK(close(second));
	/* Result of the end that resets: not compared, the kernel leaves either 0 or ECONNRESET. */
	said_end(label(p->name, "close-client"), label(p->name, "client"), &client, up, down,
		 by_client ? "local_reset" : "remote_reset", by_client ? 1 : -ECONNRESET);
	said_end(label(p->name, "close-server"), label(p->name, "server"), &server, down, up,
		 by_client ? "remote_reset" : "local_reset", by_client ? -ECONNRESET : 1);
}

static void by_exit(void)
{
	struct pair p = open_pair("exiting", "127.0.0.1", "127.0.0.1", -1);
	exchange(&p, 10, 20);
	struct ending client = before_end(p.client);
	struct ending server = before_end(p.server);
	act();
	said_end("exiting-close-client", "exiting-client", &client, -1, -1, "any", 1);
	said_end("exiting-close-server", "exiting-server", &server, -1, -1, "any", 1);
	_exit(0); /* both ends go with the process; in which order is the kernel's affair */
}

/* One process accepts, another that it forked closes last: the connection is the acceptor's. */
static void handed_over(void)
{
	struct pair p = open_pair("handed", "127.0.0.1", "127.0.0.1", -1);
	exchange(&p, 5, 6);
	struct ending client = before_end(p.client), server = before_end(p.server);
	int go[2];
	char byte;
	CHECK(pipe(go));
	act();
	said_end("handed-close-client", "handed-client", &client, 5, 6, "local", 0);
	said_end("handed-close-server", "handed-server", &server, 6, 5, "remote", 0);
	pid_t child = CHECK(fork());
	if (child == 0) {
		CHECK(close(go[1]));
		if (read(go[0], &byte, 1) != 0)
			die("read");
		CHECK(close(p.client));
		if (recv(p.server, &byte, 1, 0) != 0)
			die("no end of stream");
		CHECK(close(p.server));
		_exit(0);
	}
	CHECK(close(p.client));
	CHECK(close(p.server));
	CHECK(close(go[1]));
	say_exit("handed-exit", child);
}

int main(void)
{
	struct pair p = open_pair("v4", "127.0.0.1", "127.0.0.1", -1);
	exchange(&p, 100, 250);
	orderly(&p, 1, 100, 250);
	p = open_pair("v4-server-first", "127.0.0.1", "127.0.0.1", 0);
	exchange(&p, 100, 250);
	orderly(&p, 0, 100, 250);
	p = open_pair("v6", "::1", "::1", SOCK_CLOEXEC);
	exchange(&p, 3, 0);
	orderly(&p, 1, 3, 0);
	p = open_pair("mapped", "127.0.0.1", "::ffff:127.0.0.1", -1);
	exchange(&p, 0, 4);
	orderly(&p, 1, 0, 4);
	p = open_pair("mapped-server", "::", "127.0.0.1", -1);
	exchange(&p, 1, 1);
	orderly(&p, 0, 1, 1);
	p = open_pair("any-address", "0.0.0.0", "0.0.0.0", -1); /* reaches 127.0.0.1: asked and reached differ */
	orderly(&p, 1, 0, 0);
	p = open_pair("bulk", "127.0.0.1", "127.0.0.1", -1);
	for (int i = 0; i < 160; i++)
		exchange(&p, 65536, 1000);
	orderly(&p, 1, 160 * 65536, 160 * 1000);
	p = open_pair("reset-by-client", "127.0.0.1", "127.0.0.1", -1);
	exchange(&p, 7, 8);
	reset(&p, 1, 7, 8);
	p = open_pair("reset-by-server", "::1", "::1", -1);
	exchange(&p, 7, 8);
	reset(&p, 0, 7, 8);
	handed_over();
	by_exit();
	return 0;
}
