// SPDX-License-Identifier: GPL-2.0
/* Cases: sending and receiving without a copy. */
#include "semantics.h"
#include <sys/mman.h>
#include <linux/tcp.h>

static void zerocopy(struct conn c)
{
	static char data[10000];

	memset(data, 'z', sizeof(data));
	tell("client send ZEROCOPY -> %s", res(send(c.client, data, sizeof(data), MSG_ZEROCOPY)));
	get(c.server, 4000, 0);
	get(c.server, 4000, 0);
	get(c.server, 4000, 0);
	completion(c.client);
	ready(c.client);
	hang_up(c);
}

CASE(zerocopy, bypass, "MSG_ZEROCOPY, its completion")
{
	struct conn c = dial();

	greet(c);
	set(c.client, SOL_SOCKET, SO_ZEROCOPY, 1);
	zerocopy(c);
}

CASE(zerocopy_before, any, "MSG_ZEROCOPY, SO_ZEROCOPY before the connect")
{
	union address a;
	int l = listener(&a, AF_INET);
	struct conn c = {.client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};

	set(named(c.client, "client"), SOL_SOCKET, SO_ZEROCOPY, 1);
	if (connect(c.client, &a.any, sizeof(a.in)))
		fail("connect");
	c.server = named(accept(l, NULL, NULL), "server");
	close(l);
	zerocopy(c);
}

CASE(zerocopy_unset, bypass, "MSG_ZEROCOPY without SO_ZEROCOPY")
{
	struct conn c = dial();

	put(c.client, "hello", MSG_ZEROCOPY);
	get(c.server, 100, 0);
	completion(c.client);
	hang_up(c);
}

static void receive_mapped(int fd, void *at)
{
	struct tcp_zerocopy_receive z = {.address = (uintptr_t)at, .length = 4096};
	socklen_t len = sizeof(z);

	tell("%s TCP_ZEROCOPY_RECEIVE -> %s", names[fd],
	     res(getsockopt(fd, IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, &z, &len)));
	tell("mapped %u, to be read %u, in the queue %u", z.length, z.recv_skip_hint, z.inq);
	get(fd, 100, MSG_DONTWAIT);
}

static void *map_socket(int fd)
{
	void *at = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);

	tell("%s mmap -> %s", names[fd], at == MAP_FAILED ? res(-1) : "0");
	return at;
}

CASE(zerocopy_receive, bypass, "TCP_ZEROCOPY_RECEIVE")
{
	struct conn c = dial();
	void *at = map_socket(c.server);

	put(c.client, "hello", 0);
	settle();
	receive_mapped(c.server, at);
	hang_up(c);
}

CASE(zerocopy_receives, bypass, "TCP_ZEROCOPY_RECEIVE, the first before any byte has come")
{
	struct conn c = dial();
	void *at = map_socket(c.server);

	receive_mapped(c.server, at);
	put(c.client, "hello", 0);
	settle();
	receive_mapped(c.server, at);
	hang_up(c);
}
