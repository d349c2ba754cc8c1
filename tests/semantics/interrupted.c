// SPDX-License-Identifier: GPL-2.0
/* Cases: a signal comes while a call waits. */
#include "semantics.h"
#include <signal.h>
#include <stdlib.h>

static void on_user(int sig)
{
	(void)sig;
}

static void catch_user(int flags)
{
	struct sigaction a = {.sa_handler = on_user, .sa_flags = flags};

	sigaction(SIGUSR1, &a, NULL);
}

static void recv_signal(int flags)
{
	struct conn c = dial();
	struct task t = {.fd = c.server, .want = 100};

	catch_user(flags);
	begin(&t, "recv", task_recv);
	pthread_kill(t.thread, SIGUSR1);
	if (still_waits(&t)) {
		put(c.client, "hello", 0);
		must_return(&t);
	} else {
		put(c.client, "hello", 0);
		get(c.server, 100, 0);
	}
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

CASE(send_signal, bypass, "a signal in a blocking send")
{
	struct conn c = dial();
	struct stream out = {.seed = 8};
	struct incoming in = {.stream.seed = 8};
	struct task t = {.fd = c.client, .want = 48 * MIB};
	size_t got;

	greet(c);
	t.data = malloc(t.want);
	fill(&out, t.data, t.want);
	catch_user(0);
	begin(&t, "send", task_send);
	if (!returned(&t, FOREVER_MS)) {
		tell("client send of 48 MiB: waits");
		pthread_kill(t.thread, SIGUSR1);
		if (!returned(&t, ARRIVE_MS))
			tell("client send: never returns");
	}
	tell("client send -> %s", t.result > 0 && t.result < (long)t.want ? "part" : res(t.result));
	shutdown(c.client, SHUT_WR);
	got = drain(c.server, &in, t.want);
	tell("got %s, %s", (long)got == t.result ? "as much" : "another amount", order(&in));
	get(c.server, 100, 0);
	hang_up(c);
	free(t.data);
}
