// SPDX-License-Identifier: GPL-2.0
/* Cases: a socket that is dissolved by AF_UNSPEC, and used again. */
#include "semantics.h"

static void disconnect(int fd)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};

	tell("client disconnect -> %s", res(connect(fd, &none, sizeof(none))));
}

/* One socket, dissolved by AF_UNSPEC, makes a second connection. */
static void reconnect(const char *unread_one, int bulk)
{
	union address a;
	int l = listener(&a, AF_INET), client = call(&a);
	int server = named(accept(l, NULL, NULL), "server"), second;

	put(client, "before", 0);
	get(server, 100, 0);
	put(server, "before", 0);
	get(client, 100, 0);
	if (bulk)
		exchange_bulk((struct conn){client, server});
	if (unread_one) {
		put(server, unread_one, 0);
		settle();
	}
	disconnect(client);
	settle();
	ready(server);
	get(server, 100, 0);
	put(client, "x", 0);
	tell("client connect -> %s", res(connect(client, &a.any, sizeof(a.in))));
	second = named(accept(l, NULL, NULL), "second server");
	ready(client);
	get(client, 100, MSG_DONTWAIT);
	exchange((struct conn){client, second});
	put(client, "how are you", 0);
	get(second, 100, 0);
	put(second, "fine", 0);
	get(client, 100, 0);
	shut(client);
	get(second, 100, 0);
	close(second);
	close(server);
	close(l);
}

CASE(reconnect, bypass, "connect(AF_UNSPEC), then a second connection")
{
	reconnect(NULL, 0);
}

CASE(reconnect_unread, bypass, "the same with unread bytes")
{
	reconnect("unread", 0);
}

CASE(reconnect_bulk, bypass, "the same after bulk")
{
	reconnect(NULL, 1);
}

/* The second connection's reader stops; the sender takes its time. */
CASE(reconnect_stopped, bypass, "the same, then a stopped reader")
{
	union address a;
	struct stream out = {.seed = 14};
	struct incoming in = {.stream.seed = 14};
	int l = listener(&a, AF_INET);
	struct conn c;
	int old;
	long r;

	set(l, SOL_SOCKET, SO_RCVBUF, 64 * KIB);
	c.client = call(&a);
	set(c.client, SOL_SOCKET, SO_SNDBUF, 64 * KIB);
	old = named(accept(l, NULL, NULL), "old server");
	greet((struct conn){c.client, old});
	disconnect(c.client);
	tell("client connect -> %s", res(connect(c.client, &a.any, sizeof(a.in))));
	c.server = named(accept(l, NULL, NULL), "server");
	do {
		r = send_next(c.client, &out, 60000, MSG_DONTWAIT);
		sleep_ms(11); /* more than a jiffy */
	} while (r > 0 && out.offset < 4 * MIB);
	tell("client send, repeated -> %s", r > 0 ? "never refused" : res(r));
	tell("all of it read: %s", drain(c.server, &in, out.offset) == out.offset ? "yes" : "no");
	tell("bytes %s", order(&in));
	close(old);
	close(l);
	hang_up(c);
}

CASE(disconnect_unread, bypass, "connect(AF_UNSPEC) with unread bytes, then recv")
{
	struct conn c = dial();

	put(c.server, "unread", 0);
	settle();
	disconnect(c.client);
	get(c.client, 100, MSG_DONTWAIT);
	get(c.client, 100, MSG_DONTWAIT);
	hang_up(c);
}

CASE(disconnect_listen, bypass, "connect(AF_UNSPEC), then listen")
{
	struct conn c = dial();
	union address a;
	socklen_t len;

	put(c.client, "hello", 0);
	get(c.server, 100, 0);
	disconnect(c.client);
	len = loopback(&a, AF_INET);
	tell("bind -> %s", res(bind(c.client, &a.any, len)));
	tell("listen -> %s", res(listen(c.client, 5)));
	getsockname(c.client, &a.any, &len);
	close(c.server);
	c.server = c.client;
	c.client = call(&a);
	len = c.server;
	c.server = named(accept(c.server, NULL, NULL), "server");
	exchange(c);
	hang_up(c);
	close(len);
}
