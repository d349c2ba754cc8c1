// SPDX-License-Identifier: GPL-2.0
/* Cases: poll, select, epoll, signals; how much there is to read and to send. */
#include "semantics.h"
#include <fcntl.h>
#include <linux/sockios.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <time.h>

CASE(ready_read, bypass, "poll, epoll, select for reading")
{
	struct conn c = dial();

	ready(c.client);
	ready(c.server);
	put(c.client, "hello", 0);
	ready(c.client);
	ready(c.server);
	get(c.server, 2, 0);
	ready(c.server);
	get(c.server, 100, 0);
	ready(c.server);
	hang_up(c);
}

static void ready_write(size_t piece)
{
	struct conn c = dial();
	struct stream out = {.seed = 3};
	struct incoming in = {.stream.seed = 3};
	size_t sent = stuff(c.client, &out, piece), got;

	ready(c.client);
	got = drain(c.server, &in, sent);
	tell("all of it read: %s, %s", got == sent ? "yes" : "no", order(&in));
	tell("client gets writable:%s", poll_names(await(c.client, POLLOUT, ARRIVE_MS)));
	ready(c.server);
	put(c.client, "x", 0);
	get(c.server, 100, 0);
	hang_up(c);
}

CASE(ready_write, bypass, "poll, epoll, select for writing, a stopped reader")
{
	ready_write(16 * KIB);
}

CASE(ready_write_small, bypass, "the same with small sends")
{
	ready_write(700);
}

/* An epoll for these events of one socket. */
static int epoll_of(int fd, unsigned int events)
{
	struct epoll_event e = {.events = events};
	int ep = epoll_create1(EPOLL_CLOEXEC);

	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e))
		fail("epoll_ctl");
	return ep;
}

static void edges(int ep)
{
	struct epoll_event got = {0};

	settle();
	epoll_wait(ep, &got, 1, 0);
	tell("edge:%s", poll_names(got.events));
}

/* The writer is told of room by an edge, and not before there is some. */
CASE(edge_write, bypass, "edge-triggered epoll for writing")
{
	struct conn c = dial();
	struct stream out = {.seed = 4};
	struct incoming in = {.stream.seed = 4};
	struct epoll_event got = {0};
	int ep = epoll_of(c.client, EPOLLOUT | EPOLLET);
	size_t sent;

	epoll_wait(ep, &got, 1, 0);
	tell("first edge:%s", poll_names(got.events));
	sent = stuff(c.client, &out, 16 * KIB);
	settle();
	while (epoll_wait(ep, &got, 1, 0) > 0) /* room that was found meanwhile */
		sent += stuff(c.client, &out, 16 * KIB);
	tell("all of it read: %s", drain(c.server, &in, sent) == sent ? "yes" : "no");
	got.events = 0;
	epoll_wait(ep, &got, 1, ARRIVE_MS);
	tell("edge when there is room:%s", poll_names(got.events));
	hang_up(c);
}

CASE(edge_read, bypass, "edge-triggered epoll for reading")
{
	struct conn c = dial();
	int ep = epoll_of(c.server, EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLET);

	edges(ep);
	put(c.client, "one", 0);
	edges(ep);
	edges(ep);
	get(c.server, 1, 0);
	edges(ep);
	put(c.client, "two", 0);
	edges(ep);
	get(c.server, 100, 0);
	edges(ep);
	put(c.server, "own", 0);
	edges(ep);
	get(c.client, 100, 0);
	edges(ep);
	end(c.client, SHUT_WR);
	edges(ep);
	get(c.server, 100, 0);
	edges(ep);
	hang_up(c);
}

CASE(edge_reset, bypass, "edge-triggered epoll and a reset")
{
	struct conn c = dial();
	int ep;

	put(c.client, "one", 0);
	get(c.server, 100, 0);
	ep = epoll_of(c.server, EPOLLIN | EPOLLRDHUP | EPOLLET);
	edges(ep);
	reset(c.client);
	edges(ep);
	get(c.server, 100, 0);
	close(c.server);
}

CASE(edge_oneshot, bypass, "EPOLLONESHOT")
{
	struct conn c = dial();
	struct epoll_event e = {.events = EPOLLIN | EPOLLONESHOT};
	int ep = epoll_of(c.server, e.events);

	put(c.client, "one", 0);
	edges(ep);
	put(c.client, "two", 0);
	edges(ep);
	get(c.server, 100, 0);
	epoll_ctl(ep, EPOLL_CTL_MOD, c.server, &e);
	edges(ep);
	put(c.client, "three", 0);
	edges(ep);
	hang_up(c);
}

static void woken(const char *what, long (*wait)(struct task *), int flags)
{
	struct conn c = dial();
	struct task t = {.fd = c.server, .flags = flags};

	begin(&t, what, wait);
	put(c.client, "x", 0);
	must_return(&t);
	get(c.server, 100, 0);
	begin(&t, what, wait);
	shut(c.client);
	must_return(&t);
	get(c.server, 100, 0);
	close(c.server);
}

CASE(woken, bypass, "threads that wait in poll, select, epoll")
{
	woken("poll", task_poll, 0);
	woken("select", task_select, 0);
	woken("epoll", task_epoll, EPOLLRDHUP);
	woken("epoll, by edges", task_epoll, EPOLLRDHUP | EPOLLET);
	woken("epoll, exclusive", task_epoll, EPOLLEXCLUSIVE);
}

CASE(sigio, bypass, "O_ASYNC, SIGIO")
{
	struct conn c = dial();
	sigset_t io;
	struct timespec limit = {3, 0}, brief = {0, 50000000};

	sigemptyset(&io);
	sigaddset(&io, SIGIO);
	sigprocmask(SIG_BLOCK, &io, NULL);
	fcntl(c.server, F_SETOWN, getpid());
	fcntl(c.server, F_SETFL, O_ASYNC | O_NONBLOCK);
	while (sigtimedwait(&io, NULL, &brief) > 0)
		;
	put(c.client, "x", 0);
	tell("SIGIO: %s", sigtimedwait(&io, NULL, &limit) == SIGIO ? "yes" : "no");
	get(c.server, 100, 0);
	while (sigtimedwait(&io, NULL, &brief) > 0)
		;
	shut(c.client);
	tell("SIGIO: %s", sigtimedwait(&io, NULL, &limit) == SIGIO ? "yes" : "no");
	get(c.server, 100, 0);
	close(c.server);
}

CASE(fionread, bypass, "FIONREAD")
{
	struct conn c = dial();

	tell_unread(c.server);
	put(c.client, "hello", 0);
	settle();
	tell_unread(c.server);
	put(c.client, "world", 0);
	settle();
	tell_unread(c.server);
	get(c.server, 7, 0);
	tell_unread(c.server);
	get(c.server, 100, 0);
	tell_unread(c.server);
	put(c.client, "good bye", 0);
	shut(c.client);
	tell_unread(c.server);
	get(c.server, 100, 0);
	tell_unread(c.server);
	get(c.server, 100, 0);
	close(c.server);
}

static void queued(int fd)
{
	int all = -1, not_sent = -1;

	settle();
	ioctl(fd, SIOCOUTQ, &all);
	ioctl(fd, SIOCOUTQNSD, &not_sent);
	tell("%s SIOCOUTQ %d, SIOCOUTQNSD %d", names[fd], all, not_sent);
}

CASE(outq, bypass, "SIOCOUTQ, SIOCOUTQNSD")
{
	struct conn c = dial();

	queued(c.client);
	put(c.client, "hello", 0);
	queued(c.client);
	get(c.server, 100, 0);
	queued(c.client);
	end(c.client, SHUT_WR);
	get(c.server, 100, 0);
	queued(c.client);
	hang_up(c);
}
