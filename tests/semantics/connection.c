// SPDX-License-Identifier: GPL-2.0
/* Connections over loopback, and their options. */
#include "semantics.h"
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/tcp.h>

socklen_t loopback(union address *a, int family)
{
	memset(a, 0, sizeof(*a));
	a->any.sa_family = family;
	if (family == AF_INET6) {
		a->in6.sin6_addr = in6addr_loopback;
		return sizeof(a->in6);
	}
	a->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return sizeof(a->in);
}

void set(int fd, int level, int option, int value)
{
	if (setsockopt(fd, level, option, &value, sizeof(value)))
		tell("%s setsockopt -> %s", names[fd], res(-1));
}

int get_option(int fd, int level, int option)
{
	int value = 0;
	socklen_t len = sizeof(value);

	if (getsockopt(fd, level, option, &value, &len))
		fail("getsockopt");
	return value;
}

void nonblock(int fd, int on)
{
	int flags = fcntl(fd, F_GETFL);

	fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

int bound(union address *a, int family)
{
	socklen_t len = loopback(a, family);
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, &a->any, len) || getsockname(fd, &a->any, &len))
		fail("bind");
	return named(fd, "socket");
}

int listener(union address *a, int family)
{
	int fd = bound(a, family);

	if (listen(fd, 64))
		fail("listen");
	set(fd, IPPROTO_TCP, TCP_NODELAY, 1); /* accepted sockets inherit it */
	return named(fd, "listener");
}

int call(const union address *a)
{
	int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = a->any.sa_family == AF_INET6 ? sizeof(a->in6) : sizeof(a->in);

	if (fd < 0 || connect(fd, &a->any, len))
		fail("connect");
	set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	return named(fd, "client");
}

struct conn dial_family(int family)
{
	union address a;
	int l = listener(&a, family);
	struct conn c = {.client = call(&a)};

	c.server = named(accept(l, NULL, NULL), "server");
	close(l);
	return c;
}

struct conn dial(void)
{
	return dial_family(AF_INET);
}

struct conn dial_nagle(void)
{
	struct conn c = dial();

	set(c.client, IPPROTO_TCP, TCP_NODELAY, 0);
	set(c.server, IPPROTO_TCP, TCP_NODELAY, 0);
	return c;
}

void hang_up(struct conn c)
{
	close(c.client);
	close(c.server);
}

void hide_packets(int fd)
{
	struct sock_filter none[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
	struct sock_fprog drop = {1, none};

	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &drop, sizeof(drop)))
		fail("SO_ATTACH_FILTER");
}

void show_packets(int fd)
{
	int ignored = 0;

	if (setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &ignored, sizeof(ignored)))
		fail("SO_DETACH_FILTER");
}
