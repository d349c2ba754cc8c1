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

CASE(zerocopy_receive, bypass, "TCP_ZEROCOPY_RECEIVE")
{
	struct conn c = dial();
	struct tcp_zerocopy_receive z = {0};
	socklen_t len = sizeof(z);
	void *at = mmap(NULL, 4096, PROT_READ, MAP_SHARED, c.server, 0);

	tell("server mmap -> %s", at == MAP_FAILED ? res(-1) : "0");
	if (at == MAP_FAILED)
		return;
	put(c.client, "hello", 0);
	settle();
	z.address = (uintptr_t)at;
	z.length = 4096;
	tell("server TCP_ZEROCOPY_RECEIVE -> %s",
	     res(getsockopt(c.server, IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, &z, &len)));
	tell("mapped %u, to be read %u, in the queue %u", z.length, z.recv_skip_hint, z.inq);
	get(c.server, 100, MSG_DONTWAIT);
	hang_up(c);
}
