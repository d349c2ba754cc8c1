// SPDX-License-Identifier: GPL-2.0
/* Cases: receives that wait, and what ends them. */
#include "semantics.h"
#include <signal.h>

CASE(recv_waits, bypass, "a blocking recv and read")
{
	struct conn c = dial();
	struct task t = {.fd = c.server, .want = 100};

	begin(&t, "recv", task_recv);
	still_waits(&t);
	put(c.client, "hello", 0);
	must_return(&t);
	begin(&t, "read", task_read);
	still_waits(&t);
	put(c.client, "world", 0);
	must_return(&t);
	hang_up(c);
}

CASE(recv_eof, bypass, "a blocking recv, the peer closes")
{
	struct conn c = dial();
	struct task t = {.fd = c.server, .want = 100};

	greet(c);
	begin(&t, "recv", task_recv);
	shut(c.client);
	must_return(&t);
	close(c.server);
}

CASE(recv_reset, bypass, "a blocking recv, the peer resets")
{
	struct conn c = dial();
	struct task t = {.fd = c.server, .want = 100};

	put(c.client, "hello", 0);
	get(c.server, 100, 0);
	begin(&t, "recv", task_recv);
	reset(c.client);
	must_return(&t);
	get(c.server, 100, 0);
	get(c.server, 100, 0);
	error_of(c.server);
	close(c.server);
}

static void recv_own_shut(int how)
{
	struct conn c = dial();
	struct task t = {.fd = c.server, .want = 100};

	greet(c);
	begin(&t, "recv", task_recv);
	end(c.server, how);
	if (how == SHUT_WR)
		gets_later(&t, c.client, "hello");
	else
		must_return(&t);
	hang_up(c);
}

CASE(recv_own_shut_rd, bypass, "a blocking recv, shutdown(SHUT_RD) of the same socket")
{
	recv_own_shut(SHUT_RD);
}

CASE(recv_own_shut_wr, bypass, "a blocking recv, shutdown(SHUT_WR) of the same socket")
{
	recv_own_shut(SHUT_WR);
}

CASE(recv_own_shut_rdwr, bypass, "a blocking recv, shutdown(SHUT_RDWR) of the same socket")
{
	recv_own_shut(SHUT_RDWR);
}

/* The descriptor goes, the call that uses it stays. */
CASE(recv_own_close, bypass, "a blocking recv, its descriptor is closed")
{
	struct conn c = dial();
	struct task t = {.fd = c.server, .want = 100};

	greet(c);
	begin(&t, "recv", task_recv);
	shut(c.server);
	fed(&t, c.client, "hello");
	no_more(c.client);
	close(c.client);
}

CASE(poll_own_shut, bypass, "a blocking poll, shutdown of the same socket")
{
	struct conn c = dial();
	struct task t = {.fd = c.server};

	greet(c);
	begin(&t, "poll", task_poll);
	end(c.server, SHUT_RDWR);
	must_return(&t);
	get(c.server, 100, 0);
	hang_up(c);
}

/* Two readers of one socket, one message: which of them gets it is not told. */
CASE(recv_two, bypass, "two blocking recvs on one socket")
{
	struct conn c = dial();
	struct task t[2] = {{.fd = c.server, .want = 100}, {.fd = c.server, .want = 100}};
	int first;

	begin(&t[0], "recv", task_recv);
	begin(&t[1], "recv", task_recv);
	put(c.client, "one", 0);
	while (!(t[0].done && t[0].result > 0) && !(t[1].done && t[1].result > 0))
		sleep_ms(1);
	first = !(t[0].done && t[0].result > 0);
	must_return(&t[first]);
	gets_later(&t[!first], c.client, "two");
	hang_up(c);
}

static void recv_signal(int flags)
{
	struct conn c = dial();
	struct task t = {.fd = c.server, .want = 100};

	begin(&t, "recv", task_recv);
	interrupt(&t, flags);
	gets_later(&t, c.client, "hello");
	hang_up(c);
}

CASE(recv_signal, bypass, "a signal in a blocking recv")
{
	recv_signal(0);
}

CASE(recv_signal_restart, bypass, "a signal with SA_RESTART in a blocking recv")
{
	recv_signal(SA_RESTART);
}
