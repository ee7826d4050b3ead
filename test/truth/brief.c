/* SPDX-License-Identifier: Apache-2.0 */
/*
 * brief MARK IP PORT: lives as short as it can. Executes itself, and then makes the file ./MARK and connects to IP:PORT.
 * brief wait MARK IP PORT: says `ready`, and does the same once it is told a byte on stdin.
 * brief serve MARK IP [PORT]: listens there, accepts one connection, and ends when that does.
 * The command line, the file and the connection's local port say which event is whose, without any container's name.
 */
#include "inet.h"

static int serve(const char *mark, const char *ip, int port)
{
	union address here = address_of(ip, port);
	char byte;
	int listener = CHECK(socket(here.any.sa_family, SOCK_STREAM, 0));
	CHECK(bind(listener, &here.any, size_of(&here)));
	act();
	CHECK(listen(listener, 1));
	here = local_of(listener);
	line_start("listen", "socket.listen");
	say_string("mark", mark);
	say_address("local", &here);
	line_finish();
	act();
	int fd = CHECK(accept(listener, NULL, NULL));
	union address peer = peer_of(fd);
	here = local_of(fd);
	line_start("accept", "socket.accept");
	say_string("mark", mark);
	say_address("local", &here);
	say_address("remote", &peer);
	line_finish();
	while (CHECK(read(fd, &byte, 1)))
		;
	return 0;
}

int main(int argc, char **argv)
{
	if (argc >= 4 && !strcmp(argv[1], "serve"))
		return serve(argv[2], argv[3], argc == 5 ? atoi(argv[4]) : 0);
	if (argc == 5 && !strcmp(argv[1], "wait")) {
		char go;
		line_start("ready", "");
		line_finish();
		if (CHECK(read(0, &go, 1)) != 1)
			return 3;
		argv++, argc--;
	}
	if (argc == 4) {
		char *again[] = { "brief", argv[1], argv[2], argv[3], "again", NULL };
		act();
		line_start("first", "process.exec");
		say_string("mark", argv[1]);
		line_finish();
		execv("/proc/self/exe", again);
		die("execv");
	}
	if (argc != 5)
		return 2;
	act();
	line_start("exec", "process.exec");
	say_string("mark", argv[1]);
	line_finish();

	act();
	CHECK(open(argv[1], O_WRONLY | O_CREAT | O_EXCL, 0600));
	line_start("open", "file.open");
	say_string("mark", argv[1]);
	line_finish();

	union address to = address_of(argv[2], atoi(argv[3]));
	int fd = CHECK(socket(to.any.sa_family, SOCK_STREAM, 0));
	act();
	int result = result_of(connect(fd, &to.any, size_of(&to)));
	line_start("connect", "socket.connect");
	say_string("mark", argv[1]);
	say_number("result", result);
	say_address("asked", &to);
	union address local = local_of(fd);
	say_address("local", &local);
	if (!result) {
		union address peer = peer_of(fd);
		say_address("remote", &peer);
	}
	line_finish();
	return 0;
}
