// SPDX-License-Identifier: GPL-2.0
/* Cases: time limits, and bytes that are held back. */
#include "semantics.h"
#include <linux/tcp.h>

static void set_timeout(int fd, int option, int ms)
{
	struct timeval t = {ms / 1000, ms % 1000 * 1000};

	if (setsockopt(fd, SOL_SOCKET, option, &t, sizeof(t)))
		fail("timeout");
}

/* After the 100 ms that its socket has for it. */
static void times_out(struct task *t, const char *what)
{
	begin(t, what, task_recv);
	must_return(t);
	tell("after its time: %s", t->took >= 95 ? "yes" : "no");
}

CASE(rcvtimeo, bypass, "SO_RCVTIMEO")
{
	struct conn c = dial();
	struct task t = {.fd = c.server, .want = 100};

	set_timeout(c.server, SO_RCVTIMEO, 100);
	times_out(&t, "recv");
	put(c.client, "hello", 0);
	get(c.server, 100, 0);
	times_out(&t, "recv");
	hang_up(c);
}

CASE(rcvtimeo_peek, bypass, "SO_RCVTIMEO with MSG_PEEK")
{
	struct conn c = dial();
	struct task t = {.fd = c.server, .want = 100, .flags = MSG_PEEK};

	greet(c);
	set_timeout(c.server, SO_RCVTIMEO, 100);
	times_out(&t, "recv PEEK");
	hang_up(c);
}

CASE(sndtimeo, bypass, "SO_SNDTIMEO")
{
	struct conn c = dial();
	static unsigned char data[64 * KIB];
	long start = 0, sent = 0, r = 0;

	set_timeout(c.client, SO_SNDTIMEO, 150);
	while (r >= 0 && sent < (long)(64 * MIB)) {
		start = now_ms();
		r = send(c.client, data, sizeof(data), MSG_NOSIGNAL);
		if (r > 0)
			sent += r;
	}
	tell("client send, repeated -> eventually %s", res(r));
	tell("after its time: %s", now_ms() - start >= 140 ? "yes" : "no");
	hang_up(c);
}

/* Held back by a cork, or by MSG_MORE, until it is let go. */
CASE(cork, bypass, "TCP_CORK, let go")
{
	struct conn c = dial();

	set(c.client, IPPROTO_TCP, TCP_CORK, 1);
	put(c.client, "one,", 0);
	put(c.client, "two", 0);
	tell("server, before the uncorking:%s", poll_names(await(c.server, POLLIN, 20)));
	set(c.client, IPPROTO_TCP, TCP_CORK, 0);
	settle();
	get(c.server, 100, 0);
	hang_up(c);
}

CASE(cork_timer, bypass, "TCP_CORK, never let go")
{
	struct conn c = dial();

	set(c.client, IPPROTO_TCP, TCP_CORK, 1);
	put(c.client, "hello", 0);
	tell("server, uncorked by time:%s", poll_names(await(c.server, POLLIN, ARRIVE_MS)));
	get(c.server, 100, 0);
	hang_up(c);
}

CASE(more, bypass, "MSG_MORE")
{
	struct conn c = dial();

	put(c.client, "one,", MSG_MORE);
	tell("server, before the rest:%s", poll_names(await(c.server, POLLIN, 20)));
	put(c.client, "two", 0);
	settle();
	get(c.server, 100, 0);
	put(c.client, "three", MSG_MORE);
	get(c.server, 100, 0);
	hang_up(c);
}

CASE(more_close, bypass, "MSG_MORE, then close")
{
	struct conn c = dial();

	put(c.client, "one,", MSG_MORE);
	put(c.client, "two", MSG_MORE);
	shut(c.client);
	get(c.server, 100, 0);
	get(c.server, 100, 0);
	close(c.server);
}
