// SPDX-License-Identifier: GPL-2.0
/* Cases: IPv6, and IPv4 on sockets of IPv6. */
#include "semantics.h"

static void talk_over(int family)
{
	struct conn c = dial_family(family);

	exchange(c);
	shut(c.client);
	get(c.server, 100, 0);
	close(c.server);
}

CASE(ipv6, bypass, "over IPv6")
{
	talk_over(AF_INET6);
}

/* A listener for both families, called over IPv4. */
static struct conn dial_mapped(void)
{
	union address a = {.in6 = {.sin6_family = AF_INET6}}, v4;
	socklen_t len = sizeof(a.in6);
	struct conn c;
	int l = socket(AF_INET6, SOCK_STREAM, 0);

	if (bind(l, &a.any, len) || listen(l, 5) || getsockname(l, &a.any, &len))
		fail("listen");
	loopback(&v4, AF_INET);
	v4.in.sin_port = a.in6.sin6_port;
	c.client = call(&v4);
	c.server = named(accept(l, NULL, NULL), "server");
	close(l);
	return c;
}

CASE(mapped, bypass, "an IPv4 client of a listener for both families")
{
	struct conn c = dial_mapped();

	exchange(c);
	hang_up(c);
}

/* The IPv6 socket of an IPv4 connection becomes one of IPv4. */
CASE(addrform, bypass, "IPV6_ADDRFORM")
{
	struct conn c = dial_mapped();

	greet(c);
	set(c.server, IPPROTO_IPV6, IPV6_ADDRFORM, AF_INET);
	tell("domain %s",
	     get_option(c.server, SOL_SOCKET, SO_DOMAIN) == AF_INET ? "AF_INET" : "AF_INET6");
	put(c.client, "hello", 0);
	get(c.server, 100, 0);
	hang_up(c);
}
