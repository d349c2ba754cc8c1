// SPDX-License-Identifier: GPL-2.0
/* Cases: calls that wait, and what ends them. */
#include "semantics.h"
#include <stdlib.h>

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

CASE(recv_own_shut_rd, bypass, "a blocking recv, shutdown(SHUT_RD) of the same socket")
{
	struct conn c = dial();
	struct task t = {.fd = c.server, .want = 100};

	greet(c);
	begin(&t, "recv", task_recv);
	end(c.server, SHUT_RD);
	must_return(&t);
	hang_up(c);
}

CASE(recv_own_shut_wr, bypass, "a blocking recv, shutdown(SHUT_WR) of the same socket")
{
	struct conn c = dial();
	struct task t = {.fd = c.server, .want = 100};

	greet(c);
	begin(&t, "recv", task_recv);
	end(c.server, SHUT_WR);
	if (still_waits(&t)) {
		put(c.client, "hello", 0);
		must_return(&t);
	} else {
		put(c.client, "hello", 0);
		get(c.server, 100, 0);
	}
	hang_up(c);
}

CASE(recv_own_shut_rdwr, bypass, "a blocking recv, shutdown(SHUT_RDWR) of the same socket")
{
	struct conn c = dial();
	struct task t = {.fd = c.server, .want = 100};

	greet(c);
	begin(&t, "recv", task_recv);
	end(c.server, SHUT_RDWR);
	must_return(&t);
	hang_up(c);
}

/* The descriptor goes, the call that uses it stays. */
CASE(recv_own_close, bypass, "a blocking recv, its descriptor is closed")
{
	struct conn c = dial();
	struct task t = {.fd = c.server, .want = 100};

	greet(c);
	begin(&t, "recv", task_recv);
	shut(c.server);
	if (still_waits(&t)) {
		put(c.client, "hello", 0);
		must_return(&t);
	}
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
	if (still_waits(&t[!first])) {
		put(c.client, "two", 0);
		must_return(&t[!first]);
	} else {
		put(c.client, "two", 0);
		get(c.server, 100, 0);
	}
	hang_up(c);
}

/* A send that waits for room, and is ended by what `act` does. */
static void send_ended(void (*act)(struct conn))
{
	struct conn c = dial();
	struct task t = {.fd = c.client, .want = 48 * MIB};

	count_sigpipes();
	greet(c);
	t.data = calloc(1, t.want);
	begin(&t, "send of 48 MiB", task_send);
	if (!returned(&t, FOREVER_MS)) {
		tell("client send of 48 MiB: waits");
		act(c);
		if (!returned(&t, ARRIVE_MS))
			tell("client send: never returns");
	}
	errno = t.err;
	tell("client send -> %s", t.result > 0 && t.result < (long)t.want ? "part" : res(t.result));
	put(c.client, "x", 0);
	put(c.client, "y", 0);
	tell("SIGPIPE: %d", sigpipes);
	error_of(c.client);
	close(c.client);
}

static void act_shut(struct conn c)
{
	end(c.client, SHUT_RDWR);
}

static void act_reset(struct conn c)
{
	reset(c.server);
}

static void act_close(struct conn c)
{
	shut(c.server);
}

CASE(send_own_shut, bypass, "a blocking send, shutdown of the same socket")
{
	send_ended(act_shut);
}

CASE(send_reset, bypass, "a blocking send, the peer resets")
{
	send_ended(act_reset);
}

CASE(send_close, bypass, "a blocking send, the peer closes")
{
	send_ended(act_close);
}
