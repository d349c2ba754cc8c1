// SPDX-License-Identifier: GPL-2.0
/* Cases: splice(2), and sendfile(2) from a socket. */
#include "semantics.h"
#include <fcntl.h>
#include <sys/sendfile.h>

CASE(splice_to, bypass, "splice(2) to the socket")
{
	struct conn c = dial();
	int p[2];

	if (pipe(p) || write(p[1], "through a pipe", 14) != 14)
		fail("pipe");
	tell("pipe to client splice -> %s", res(splice(p[0], NULL, c.client, NULL, 100, 0)));
	get(c.server, 100, 0);
	if (write(p[1], "more", 4) != 4)
		fail("pipe");
	tell("pipe to client splice MORE -> %s",
	     res(splice(p[0], NULL, c.client, NULL, 100, SPLICE_F_MORE)));
	get(c.server, 100, 0);
	hang_up(c);
}

/* What a call that moves bytes from a socket into a pipe has returned, and moved. */
static void tell_moved(int fd, int p[2], const char *call, long r)
{
	char buf[100];

	tell("%s to pipe %s -> %s", names[fd], call, res(r));
	if (r > 0) {
		r = read(p[0], buf, sizeof(buf));
		tell("pipe: \"%.*s\"", (int)r, buf);
	}
}

static void splice_out(int fd, int p[2])
{
	tell_moved(fd, p, "splice", splice(fd, NULL, p[1], NULL, 100, SPLICE_F_NONBLOCK));
}

CASE(splice_from, bypass, "splice(2) from the socket")
{
	struct conn c = dial();
	int p[2];

	if (pipe(p))
		fail("pipe");
	nonblock(c.server, 1);
	splice_out(c.server, p);
	put(c.client, "through a pipe", 0);
	settle();
	splice_out(c.server, p);
	get(c.server, 100, MSG_DONTWAIT);
	shut(c.client);
	splice_out(c.server, p);
	close(c.server);
}

static void sendfile_out(int fd, int p[2])
{
	tell_moved(fd, p, "sendfile", sendfile(p[1], fd, NULL, 100));
}

/* Into a pipe, from 5.12 on. */
CASE(sendfile_from, bypass, "sendfile(2) from the socket")
{
	struct conn c = dial();
	int p[2];

	if (pipe(p))
		fail("pipe");
	nonblock(c.server, 1);
	sendfile_out(c.server, p);
	put(c.client, "into a pipe", 0);
	settle();
	sendfile_out(c.server, p);
	get(c.server, 100, MSG_DONTWAIT);
	hang_up(c);
}

/* From t->fd to the socket `want`, until the end of the stream or an error. */
static long relay(struct task *t)
{
	long r, sum = 0;
	int p[2];

	if (pipe(p))
		return -1;
	while ((r = splice(t->fd, NULL, p[1], NULL, 64 * KIB, 0)) > 0) {
		if (splice(p[0], NULL, t->want, NULL, r, 0) != r)
			return -1;
		sum += r;
	}
	shutdown(t->want, SHUT_WR);
	return r ? r : sum;
}

/* The first bytes are there before it comes. */
CASE(splice_relay, bypass, "a proxy that reads with splice(2) alone, and blocks")
{
	struct conn front = dial(), back = dial();
	struct task there = {.fd = front.server, .want = back.client};
	struct task here = {.fd = back.client, .want = front.server};

	put(front.client, "hello", 0);
	settle();
	begin(&there, "splice", relay);
	get(back.server, 100, 0);
	put(back.server, "and back", 0);
	settle();
	begin(&here, "splice", relay);
	get(front.client, 100, 0);
	put(front.client, "again", 0);
	get(back.server, 100, 0);
	shut(front.client);
	must_return(&there);
	hang_up(back);
	must_return(&here);
	close(front.server);
}

/* A reader that has not kept up: more is there than the bypass holds. */
CASE(splice_behind, bypass, "splice(2) from the socket of a reader that has not kept up")
{
	struct conn c = dial();
	struct stream out = {.seed = 5};
	struct incoming in = {.stream.seed = 5};
	unsigned char buf[4 * KIB];
	int p[2];
	long r;

	greet(c);
	settle(); /* a burst of its own: before msg_tot_len it may have 4 KiB, and no more */
	set(c.client, SOL_SOCKET, SO_SNDBUF, 2048);
	stuff(c.client, &out, sizeof(buf));
	settle();
	if (pipe(p))
		fail("pipe");
	r = splice(c.server, NULL, p[1], NULL, sizeof(buf), SPLICE_F_NONBLOCK);
	if (r < 1) {
		tell("server to pipe splice -> %s", res(r)); /* the guard's EINVAL */
		hang_up(c);
		return;
	}
	r = read(p[0], buf, sizeof(buf));
	compare(&in, buf, r);
	tell("server to pipe splice: %s", in.wrong ? "later bytes" : "the first bytes");
	hang_up(c);
}
