// SPDX-License-Identifier: GPL-2.0
/* Cases: how connections come about. */
#include "semantics.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

CASE(self_connect, stack, "a socket connected to itself")
{
	union address a;
	int fd = named(bound(&a, AF_INET), "self");

	tell("self connect -> %s", res(connect(fd, &a.any, sizeof(a.in))));
	put(fd, "to myself", 0);
	ready(fd);
	get(fd, 100, 0);
	no_more(fd);
	end(fd, SHUT_WR);
	get(fd, 100, 0);
	close(fd);
}

/*
 * The first one's SYN finds nobody; a filter hides the answer from it, so that
 * it still tries when the second one's SYN comes.
 */
CASE(simultaneous_open, stack, "both ends connect")
{
	union address a, b;
	int first = named(bound(&a, AF_INET), "first"),
	    second = named(bound(&b, AF_INET), "second");

	nonblock(first, 1);
	hide_packets(first);
	tell("first connect -> %s", res(connect(first, &b.any, sizeof(b.in))));
	settle();
	show_packets(first);
	tell("second connect -> %s", res(connect(second, &a.any, sizeof(a.in))));
	await(first, POLLOUT, ARRIVE_MS);
	error_of(first);
	put(first, "one", 0);
	get(second, 100, 0);
	put(second, "two", 0);
	get(first, 100, 0);
	close(first);
	get(second, 100, 0);
	close(second);
}

CASE(reuseport, bypass, "three listeners with SO_REUSEPORT")
{
	union address a;
	socklen_t len = loopback(&a, AF_INET);
	int l[3], clients[12], one = 1, taken = 0, answers = 0, server;
	char byte;

	for (int i = 0; i < 3; i++) {
		l[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		setsockopt(l[i], SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
		if (bind(l[i], &a.any, len) || listen(l[i], 20) || getsockname(l[i], &a.any, &len))
			fail("SO_REUSEPORT");
	}
	for (int i = 0; i < 12; i++) {
		clients[i] = call(&a);
		if (send(clients[i], "x", 1, 0) != 1)
			tell("send failed");
	}
	settle();
	for (int i = 0; i < 3; i++) {
		while ((server = accept(l[i], NULL, NULL)) >= 0) {
			taken++;
			if (recv(server, &byte, 1, 0) == 1 && send(server, "y", 1, 0) == 1)
				answers++;
			close(server);
		}
	}
	tell("accepted %d, answered %d", taken, answers);
	for (int i = answers = 0; i < 12; i++)
		answers += await(clients[i], POLLIN, ARRIVE_MS) &&
			   recv(clients[i], &byte, 1, 0) == 1 && byte == 'y';
	tell("answers got %d", answers);
}

/* The end that closes first keeps the port for a while. */
CASE(time_wait, bypass, "the port of a closed connection")
{
	union address a;
	int l = listener(&a, AF_INET), client = call(&a), again, one = 1;
	int server = named(accept(l, NULL, NULL), "server");

	close(l);
	greet((struct conn){client, server});
	shut(server);
	get(client, 100, 0);
	shut(client);
	again = socket(AF_INET, SOCK_STREAM, 0);
	tell("bind to its port -> %s", res(bind(again, &a.any, sizeof(a.in))));
	setsockopt(again, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	tell("bind with SO_REUSEADDR -> %s", res(bind(again, &a.any, sizeof(a.in))));
	close(again);
}

CASE(nonblocking_connect, bypass, "EINPROGRESS, EISCONN, accept4")
{
	union address a;
	int l = listener(&a, AF_INET), client, server;

	client = named(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), "client");
	tell("client connect -> %s", res(connect(client, &a.any, sizeof(a.in))));
	tell("client gets:%s", poll_names(await(client, POLLOUT, ARRIVE_MS)));
	error_of(client);
	tell("client connect again -> %s", res(connect(client, &a.any, sizeof(a.in))));
	tell("client connect once more -> %s", res(connect(client, &a.any, sizeof(a.in))));
	await(l, POLLIN, ARRIVE_MS);
	server = named(accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), "server");
	tell("server O_NONBLOCK %s, FD_CLOEXEC %s",
	     fcntl(server, F_GETFL) & O_NONBLOCK ? "yes" : "no",
	     fcntl(server, F_GETFD) & FD_CLOEXEC ? "yes" : "no");
	get(server, 100, MSG_DONTWAIT);
	put(client, "hello", 0);
	get(server, 100, 0);
	close(client);
	close(server);
	close(l);
}

/* Its SYN-ACK is hidden, so that it is sent again, after a second. */
CASE(recv_before_connect, stack, "a blocking recv that begins before connect has returned")
{
	union address a;
	int l = listener(&a, AF_INET), server;
	struct task connecting = {.fd = named(socket(AF_INET, SOCK_STREAM, 0), "client")};
	struct task t = {.fd = connecting.fd, .want = 100};

	memcpy(connecting.buf, &a, sizeof(a));
	hide_packets(connecting.fd);
	begin(&connecting, "connect", task_connect);
	still_waits(&connecting);
	begin(&t, "recv", task_recv);
	still_waits(&t);
	show_packets(connecting.fd);
	must_return(&connecting);
	server = named(accept(l, NULL, NULL), "server");
	settle();
	put(server, "hello", 0);
	must_return(&t);
	hang_up((struct conn){t.fd, server});
	close(l);
}

/* As above, but that no thread is in connect. */
CASE(recv_while_connecting, bypass, "a blocking recv on a socket that connects without blocking")
{
	union address a;
	int l = listener(&a, AF_INET), server;
	struct task t = {.fd = named(socket(AF_INET, SOCK_STREAM, 0), "client"), .want = 100};

	hide_packets(t.fd);
	nonblock(t.fd, 1);
	tell("client connect -> %s", res(connect(t.fd, &a.any, sizeof(a.in))));
	nonblock(t.fd, 0);
	begin(&t, "recv", task_recv);
	still_waits(&t);
	show_packets(t.fd);
	server = named(accept(l, NULL, NULL), "server");
	settle();
	put(server, "hello", 0);
	must_return(&t);
	hang_up((struct conn){t.fd, server});
	close(l);
}

CASE(refused, stack, "a connect that is refused")
{
	union address a;
	int nobody = bound(&a, AF_INET), client = named(socket(AF_INET, SOCK_STREAM, 0), "client");

	tell("client connect -> %s", res(connect(client, &a.any, sizeof(a.in))));
	put(client, "x", 0);
	get(client, 100, MSG_DONTWAIT);
	ready(client);
	close(client);
	close(nobody);
}

/* How many connections were made with a SYN cookie here; -1 where there are none. */
static long syn_cookies(void)
{
	static char names_line[8192], values[8192];
	FILE *f = fopen("/proc/net/netstat", "re");
	char *name, *value, *at_name, *at_value;
	long count = -1;

	if (!f)
		fail("/proc/net/netstat");
	while (count < 0 && fgets(names_line, sizeof(names_line), f) &&
	       fgets(values, sizeof(values), f)) {
		name = strtok_r(names_line, " \n", &at_name);
		value = strtok_r(values, " \n", &at_value);
		while (name && value && strcmp(name, "SyncookiesRecv")) {
			name = strtok_r(NULL, " \n", &at_name);
			value = strtok_r(NULL, " \n", &at_value);
		}
		if (name && value)
			count = atol(value);
	}
	fclose(f);
	return count;
}

/* Without a request socket the handshake cannot be recognised. */
CASE(syn_cookie, stack, "a connection made with a SYN cookie")
{
	static const char path[] = "/proc/sys/net/ipv4/tcp_syncookies";
	char before[8] = "";
	struct conn c;
	long cookies = syn_cookies();
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0 || read(fd, before, sizeof(before)) < 1 || pwrite(fd, "2", 1, 0) != 1)
		skip("no way to ask for SYN cookies");
	c = dial();
	if (pwrite(fd, before, 1, 0) != 1)
		fail(path);
	close(fd);
	tell("with SYN cookies: %ld", syn_cookies() - cookies);
	exchange(c);
	hang_up(c);
}

/* What was sent before the connection was accepted, by one who has gone. */
CASE(late_accept, bypass, "accept after the client has sent and closed")
{
	union address a;
	int l = listener(&a, AF_INET), client = call(&a), server;

	put(client, "hello, ", 0);
	put(client, "good bye", 0);
	shut(client);
	server = named(accept(l, NULL, NULL), "server");
	settle();
	ready(server);
	get(server, 100, 0);
	get(server, 100, 0);
	close(server);
	close(l);
}

CASE(never_accepted, bypass, "a listener that closes without an accept")
{
	union address a;
	int l = listener(&a, AF_INET), client = call(&a);

	put(client, "hello", 0);
	settle();
	shut(l);
	ready(client);
	get(client, 100, 0);
	get(client, 100, 0);
	put(client, "x", 0);
	close(client);
}
