// SPDX-License-Identifier: GPL-2.0
/* Cases: the flags of recv. */
#include "semantics.h"
#include <sys/uio.h>

CASE(peek, bypass, "MSG_PEEK, repeated, then read")
{
	struct conn c = dial();

	get(c.server, 100, MSG_PEEK | MSG_DONTWAIT);
	put(c.client, "hello", 0);
	get(c.server, 100, MSG_PEEK);
	get(c.server, 3, MSG_PEEK);
	get(c.server, 100, MSG_PEEK);
	tell_unread(c.server);
	get(c.server, 2, 0);
	get(c.server, 100, MSG_PEEK);
	get(c.server, 100, 0);
	get(c.server, 100, MSG_PEEK | MSG_DONTWAIT);
	shut(c.client);
	get(c.server, 100, MSG_PEEK);
	get(c.server, 100, MSG_PEEK);
	get(c.server, 100, 0);
	close(c.server);
}

CASE(peek_several, bypass, "MSG_PEEK over several messages")
{
	struct conn c = dial();

	put(c.client, "one,", 0);
	put(c.client, "two,", 0);
	put(c.client, "three", 0);
	settle();
	get(c.server, 2, MSG_PEEK);
	get(c.server, 4, MSG_PEEK);
	get(c.server, 6, MSG_PEEK);
	get(c.server, 100, MSG_PEEK);
	get(c.server, 6, 0);
	get(c.server, 100, MSG_PEEK);
	put(c.client, ",four", 0);
	settle();
	get(c.server, 100, MSG_PEEK);
	get(c.server, 100, 0);
	hang_up(c);
}

CASE(peek_many, bypass, "MSG_PEEK over 50 messages of 1000 bytes")
{
	struct conn c = dial();
	struct stream out = {.seed = 13};
	struct incoming in = {.stream.seed = 13}, again = {.stream.seed = 13};
	static unsigned char buf[60000];
	long r;

	for (int i = 0; i < 50; i++)
		send_all(c.client, &out, 1000);
	settle();
	r = recv(c.server, buf, sizeof(buf), MSG_PEEK | MSG_DONTWAIT);
	compare(&in, buf, r > 0 ? r : 0);
	tell("peeked %s, %s", res(r), order(&in));
	r = recv(c.server, buf, sizeof(buf), MSG_DONTWAIT);
	compare(&again, buf, r > 0 ? r : 0);
	tell("read %s, %s", res(r), order(&again));
	no_more(c.server);
	hang_up(c);
}

/* A server that decides by a peek whether a line is there does not see what went over TCP. */
CASE(peek_small, any, "MSG_PEEK over 40 messages of 1 byte")
{
	struct conn c = dial();
	char got[100];
	long r = 0;

	for (int i = 0; i < 40; i++)
		put(c.client, "x", 0);
	settle();
	tell("peeked %s", res(recv(c.server, got, sizeof(got), MSG_PEEK | MSG_DONTWAIT)));
	for (int i = 0; i < 5 && r < 40; i++)
		r += recv(c.server, got, sizeof(got), MSG_DONTWAIT);
	tell("read %s", res(r));
	no_more(c.server);
	hang_up(c);
}

/* A blocked peek, then the read: servers that sniff the protocol do it. */
CASE(peek_blocked, bypass, "a blocking MSG_PEEK")
{
	struct conn c = dial();
	struct task t = {.fd = c.server, .want = 100, .flags = MSG_PEEK};

	begin(&t, "recv PEEK", task_recv);
	put(c.client, "hello", 0);
	must_return(&t);
	get(c.server, 100, 0);
	hang_up(c);
}

CASE(peek_off, bypass, "SO_PEEK_OFF")
{
	struct conn c = dial();
	int from = 0;

	greet(c);
	if (setsockopt(c.server, SOL_SOCKET, SO_PEEK_OFF, &from, sizeof(from)))
		skip("no SO_PEEK_OFF for TCP before Linux 6.10");
	put(c.client, "abcdefgh", 0);
	settle();
	get(c.server, 2, MSG_PEEK);
	get(c.server, 2, MSG_PEEK);
	get(c.server, 100, MSG_PEEK);
	get(c.server, 100, 0);
	hang_up(c);
}

CASE(trunc, bypass, "MSG_TRUNC: bytes thrown away")
{
	struct conn c = dial();

	put(c.client, "thrown away, kept", 0);
	settle();
	get(c.server, 13, MSG_TRUNC);
	get(c.server, 100, 0);
	hang_up(c);
}

CASE(trunc_null, bypass, "MSG_TRUNC without a buffer")
{
	struct conn c = dial();

	put(c.client, "thrown away, kept", 0);
	settle();
	tell("server recv TRUNC NULL -> %s",
	     res(recv(c.server, NULL, 13, MSG_TRUNC | MSG_DONTWAIT)));
	get(c.server, 100, 0);
	hang_up(c);
}

CASE(waitall, bypass, "MSG_WAITALL, the second half comes later")
{
	struct conn c = dial();
	struct task t = {.fd = c.server, .want = 10, .flags = MSG_WAITALL};

	put(c.client, "hello", 0);
	settle();
	begin(&t, "recv WAITALL", task_recv);
	fed(&t, c.client, "world");
	hang_up(c);
}

CASE(waitall_there, bypass, "MSG_WAITALL, all is there, or the end comes")
{
	struct conn c = dial();

	put(c.client, "hello", 0);
	put(c.client, "world", 0);
	settle();
	get(c.server, 10, MSG_WAITALL);
	put(c.client, "hello", 0);
	end(c.client, SHUT_WR);
	get(c.server, 10, MSG_WAITALL);
	get(c.server, 10, MSG_WAITALL);
	hang_up(c);
}

CASE(waitall_dontwait, bypass, "MSG_WAITALL with MSG_DONTWAIT")
{
	struct conn c = dial();

	put(c.client, "hello", 0);
	settle();
	get(c.server, 10, MSG_WAITALL | MSG_DONTWAIT);
	get(c.server, 10, MSG_WAITALL | MSG_DONTWAIT);
	hang_up(c);
}

CASE(errqueue_empty, bypass, "MSG_ERRQUEUE of an empty queue")
{
	struct conn c = dial();

	put(c.client, "x", 0);
	settle();
	get(c.client, 100, MSG_ERRQUEUE | MSG_DONTWAIT);
	get(c.server, 100, MSG_ERRQUEUE | MSG_DONTWAIT);
	get(c.server, 100, 0);
	hang_up(c);
}

CASE(recvmsg_flags, bypass, "MSG_EOR, msg_flags, msg_controllen")
{
	struct conn c = dial();
	char buf[3], control[64];
	struct iovec v = {buf, sizeof(buf)};
	struct msghdr m = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};

	put(c.client, "hello", MSG_EOR);
	settle();
	tell("server recvmsg -> %s", res(recvmsg(c.server, &m, 0)));
	tell("msg_flags:%s, %zu bytes of control data", flag_names(m.msg_flags), m.msg_controllen);
	get(c.server, 100, 0);
	hang_up(c);
}

CASE(rcvlowat, bypass, "SO_RCVLOWAT")
{
	struct conn c = dial();
	struct task t = {.fd = c.server, .want = 100};

	greet(c);
	set(c.server, SOL_SOCKET, SO_RCVLOWAT, 10);
	begin(&t, "recv", task_recv);
	put(c.client, "hello", 0);
	fed(&t, c.client, "world");
	put(c.client, "again", 0);
	ready(c.server);
	hang_up(c);
}
