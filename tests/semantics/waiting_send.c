// SPDX-License-Identifier: GPL-2.0
/* Cases: sends that wait for room, and what ends them. */
#include "semantics.h"
#include <stdlib.h>

#define MORE_THAN_FITS (48 * MIB)

/* A send that waits until `act` does something. */
static void blocked_send(struct conn c, struct task *t, void (*act)(struct conn, struct task *))
{
	begin(t, "send of 48 MiB", task_send);
	if (!returned(t, FOREVER_MS)) {
		tell("client send of 48 MiB: waits");
		act(c, t);
		if (!returned(t, ARRIVE_MS))
			tell("client send: never returns");
	}
	errno = t->err;
	tell("client send -> %s",
	     t->result > 0 && t->result < (long)t->want ? "part" : res(t->result));
}

static void act_signal(struct conn c, struct task *t)
{
	(void)c;
	interrupt(t, 0);
}

CASE(send_signal, bypass, "a signal in a blocking send")
{
	struct conn c = dial();
	struct stream out = {.seed = 8};
	struct incoming in = {.stream.seed = 8};
	struct task t = {.fd = c.client, .want = MORE_THAN_FITS};
	size_t got;

	greet(c);
	t.data = malloc(t.want);
	fill(&out, t.data, t.want);
	blocked_send(c, &t, act_signal);
	shutdown(c.client, SHUT_WR);
	got = drain(c.server, &in, t.want);
	tell("got %s, %s", (long)got == t.result ? "as much" : "another amount", order(&in));
	get(c.server, 100, 0);
	hang_up(c);
	free(t.data);
}

/* After this there is nobody to send to. */
static void send_ended(void (*act)(struct conn, struct task *))
{
	struct conn c = dial();
	struct task t = {.fd = c.client, .want = MORE_THAN_FITS};

	count_sigpipes();
	greet(c);
	t.data = calloc(1, t.want);
	blocked_send(c, &t, act);
	put(c.client, "x", 0);
	put(c.client, "y", 0);
	tell("SIGPIPE: %d", sigpipes);
	error_of(c.client);
	close(c.client);
}

static void act_shut(struct conn c, struct task *t)
{
	(void)t;
	end(c.client, SHUT_RDWR);
}

CASE(send_own_shut, bypass, "a blocking send, shutdown of the same socket")
{
	send_ended(act_shut);
}

static void act_reset(struct conn c, struct task *t)
{
	(void)t;
	reset(c.server);
}

CASE(send_reset, bypass, "a blocking send, the peer resets")
{
	send_ended(act_reset);
}

static void act_close(struct conn c, struct task *t)
{
	(void)t;
	shut(c.server);
}

CASE(send_close, bypass, "a blocking send, the peer closes")
{
	send_ended(act_close);
}
