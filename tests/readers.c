// SPDX-License-Identifier: GPL-2.0
/*
 * Random connections, whose ends read in the ways of real programs: by epoll's edges,
 * by FIONREAD, by poll, or in a blocking recv.  A run draws from its seed who sends how
 * much and when, who reads when, the buffers, and how the ends close.
 *
 *   readers [OPTION]...     --count connections: of --seed and the seeds that follow
 *
 *   --jobs N       so many connections at the same time
 *   --size BYTES   of the longest turn
 *   --buffers N    SO_SNDBUF and SO_RCVBUF of both ends; default: drawn
 *   --styles A,B   the readers to draw from; default: all
 *   --timeout S    a connection stalls when an end could go on, and nothing moves for so long;
 *                  or, if none could, 12 times as long
 *   --listen ADDR  where the server listens, and the client calls
 *   --verbose      show each connection
 *
 * Exit status 0: as it should be; 1: what was received is wrong, said on stderr;
 * 2: something else failed; 3: a stall, said with the state of both ends.
 *
 * Why plain TCP cannot stall here.  The plan is a list of turns, each sent by one end
 * when it has read as many bytes as the turn's gate says, which counts bytes of earlier
 * turns alone.  Of the two ends one at the most, the holder, may refuse to read until it
 * has sent a turn, and then not before it has read up to that turn's gate.  Everything else
 * that keeps an end from reading ends by the clock.  So the earliest turn that is not sent
 * can always be sent: its gate's bytes come, and the other end reads.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "stream.h"

#define MAX_TURNS  12
#define MAX_PAUSES 4
#define MAX_JOBS   64
#define MAX_SEND   MIB
#define MAX_READ   (256 * KIB)
#define HELD	   (40 * KIB) /* with the kernel's own cost of a message */
#define HELD_COST  256
#define MSEC	   1000000ULL /* in nanoseconds, as all times */

static struct {
	const char *listen;
	int buffers, jobs, verbose;
	double timeout;
	uint64_t seed, count;
	size_t size;
	unsigned styles;
} opt = {
	.listen = "127.0.0.1",
	.jobs = 1,
	.timeout = 5,
	.seed = 1,
	.count = 1,
	.size = 8 * MIB,
};

static const char *role = "both ends";
static uint64_t seed; /* of this connection */

void die(int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "readers: seed %llu: %s: ", (unsigned long long)seed, role);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(status);
}

#define fail(what) die(2, "%s: %s", what, strerror(errno))

static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

static void rest(uint64_t ns)
{
	usleep(ns / 1000);
}

static void rest_until(uint64_t when)
{
	uint64_t now = clock_ns();

	if (when > now)
		rest(when - now);
}

/* ---- the plan of a connection ---------------------------------------- */

enum style {
	BLOCKING,      /* recv */
	LEVEL,	       /* poll, and a recv that does not block */
	ASKING,	       /* poll, then as much as FIONREAD says */
	EDGE_SHORT,    /* by edges; a short read says that all is read */
	EDGE_FIONREAD, /* the same; after a full buffer FIONREAD may say it, as in nginx from 1.17.5
			  on */
	EDGE_EAGAIN,   /* by edges; EAGAIN says it */
	STYLES
};

static const char *const style_names[] = {
	"blocking", "level", "asking", "edge-short", "edge-fionread", "edge-eagain",
};

struct turn {
	int client;    /* who sends it */
	uint64_t gate; /* what that end has read before */
	size_t total;  /* bytes */
	size_t most;   /* in one message */
	int even;      /* sizes of messages are drawn evenly, not by magnitude */
	int hold;      /* nothing beyond the gate is read until it is sent */
	int halting;   /* one in so many messages is followed by a pause; 0: none */
	int option;    /* SO_TIMESTAMP is set before it, which only TCP honours */
};

struct pause {
	uint64_t at; /* bytes read */
	uint64_t ns;
	int busy; /* does not send either */
};

struct habits {
	enum style style;
	size_t buffer;
	int varied;    /* the buffer's size is drawn anew for each recv */
	int batch;     /* messages or reads in a row */
	int handing;   /* one in so many sends is another thread's; 0: none */
	int slow;      /* rests between reads */
	int fin_early; /* half-closes when all is sent; else when all is read */
	int leaves;    /* closes without waiting for the end of the peer's stream */
	int sndbuf, rcvbuf;
	struct pause pauses[MAX_PAUSES];
	int count; /* of pauses */
};

/* Of the ends: index 0 the server, 1 the client. */
struct plan {
	struct turn turns[MAX_TURNS];
	int count;
	uint64_t total[2]; /* bytes that an end sends */
	struct habits ends[2];
	int holder; /* -1: none */
	int one_cpu;
	int defer;
	uint64_t accept_late; /* ns */
};

static int one_in(struct random *r, int n)
{
	return draw(r, n) == 0;
}

/* The least that the holder has read before turn `t`, so that little waits. */
static uint64_t least_gate(const struct plan *p, const struct turn *t)
{
	size_t room = opt.buffers / 2, left = room && room < HELD ? room : HELD;
	uint64_t gate = p->total[!t->client];

	while (left && t-- > p->turns) {
		/* A message is about half or an eighth of the longest. */
		size_t message = t->even ? t->most / 2 : t->most / 8;
		size_t fit = left / (1 + HELD_COST / (message + 1));

		if (t->client == p->holder)
			continue;
		fit = fit < t->total ? fit : t->total;
		gate -= fit;
		left = fit < t->total ? 0 : left - fit * (1 + HELD_COST / (message + 1));
	}
	return gate;
}

/* What the other end must have got before turn `t`: all for which the holder does not read. */
static uint64_t held_before(const struct plan *p, const struct turn *t)
{
	uint64_t sum = 0, held = 0;

	for (const struct turn *o = p->turns; o < t; o++) {
		if (o->client != p->holder)
			continue;
		sum += o->total;
		if (o->hold)
			held = sum;
	}
	return held;
}

static void plan_turn(struct plan *p, struct random *r, struct turn *t)
{
	static const size_t some[] = {100, 1000, 16 * KIB};
	uint64_t before = p->total[!t->client]; /* what the peer has sent in earlier turns */
	const struct turn *last = t - 1, *own = NULL;
	int kind;

	t->hold = t->client == p->holder && !one_in(r, 3);
	/* Most of what an end sends before it reads is much. */
	kind = t->hold && !one_in(r, 3) ? 11 + draw(r, 9) : draw(r, 20);
	if (kind < 8) { /* a request, an answer */
		t->total = t->most = draw_size(r, 4 * KIB);
	} else if (kind < 11) {
		t->most = draw_size(r, 32 * KIB);
		t->total = t->most * (1 + draw(r, 10));
	} else if (kind < 14) { /* each costs more than its bytes */
		t->most = some[draw(r, 2)] / 10;
		t->total = t->most * (500 + draw(r, 3500)) / 2;
		t->even = 1;
	} else if (kind < 16) { /* a trickle */
		t->most = draw_size(r, 100);
		t->total = t->most * (2 + draw(r, 20));
		t->halting = 1 + draw(r, 4);
	} else {
		t->total = draw_size(r, opt.size);
		/* Not in tens of thousands of messages. */
		t->most = t->total / 500 + draw_size(r, MAX_SEND);
		if (t->most > MAX_SEND)
			t->most = MAX_SEND;
		if (one_in(r, 3))
			t->halting = 50 + draw(r, 200);
	}
	if (t->total > opt.size)
		t->total = opt.size;

	for (const struct turn *o = p->turns; o < t; o++)
		if (o->client == t->client)
			own = o;
	t->gate = before;
	if (t->hold ? !one_in(r, 4) : one_in(r, 2)) {
		/* An early answer: the head of the last turn has been read, or not even that. */
		if (t > p->turns && last->client != t->client && before)
			t->gate = before - last->total + draw_size(r, last->total) - 1;
		if (one_in(r, 4))
			t->gate = 0;
	}
	if (own && own->gate > t->gate)
		t->gate = own->gate;
	if (t->hold && t->gate < least_gate(p, t))
		t->gate = least_gate(p, t);
	if (t->client != p->holder && t->gate < held_before(p, t))
		t->gate = held_before(p, t);
	t->option = one_in(r, 30);
	p->total[t->client] += t->total;
}

static void plan_habits(struct plan *p, struct random *r, int client)
{
	static const size_t usual[] = {512, 4 * KIB, 16 * KIB, 64 * KIB};
	struct habits *h = &p->ends[client];
	uint64_t coming = p->total[!client];
	size_t least = 1 + coming / 10000; /* reads, so that the run stays short */

	do
		h->style = draw(r, STYLES);
	while (!(opt.styles >> h->style & 1));
	h->buffer = one_in(r, 2) ? usual[draw(r, 4)] : draw_size(r, MAX_READ);
	if (h->buffer < least)
		h->buffer = least;
	h->varied = one_in(r, 3);
	h->batch = one_in(r, 2) ? 1 + draw(r, 20) : 1000000;
	h->handing = one_in(r, 4) ? 1 + draw(r, 8) : 0;
	h->slow = one_in(r, 4);
	/*
	 * Once both directions have ended, a reader that stops where it is told to is told
	 * nothing more, a row of docs/limits.md: it ends its own last.
	 */
	h->fin_early = one_in(r, 2) && h->style != ASKING && h->style != EDGE_SHORT &&
		       h->style != EDGE_FIONREAD;
	h->leaves = one_in(r, 4);
	if (opt.buffers) {
		h->sndbuf = h->rcvbuf = opt.buffers;
	} else {
		h->sndbuf = one_in(r, 2) ? 8 * KIB << draw(r, 5) : 0;
		h->rcvbuf = one_in(r, 2) ? 16 * KIB << draw(r, 5) : 0;
		if (client == p->holder && h->rcvbuf)
			h->rcvbuf = 64 * KIB << draw(r, 3);
	}
	h->count = draw(r, MAX_PAUSES + 1);
	for (int i = 0; i < h->count; i++) {
		struct pause *pause = &h->pauses[i];

		/* In the order of their places; many are at the beginning of a turn. */
		pause->at = coming ? draw(r, coming) : 0;
		if (one_in(r, 2)) {
			const struct turn *end = p->turns + draw(r, p->count);

			pause->at = 0;
			for (const struct turn *t = p->turns; t < end; t++)
				if (t->client != client)
					pause->at += t->total;
		}
		if (i && pause->at < pause[-1].at)
			pause->at = pause[-1].at;
		pause->ns = draw_size(r, 40 * MSEC);
		pause->busy = one_in(r, 2);
	}
}

static void make_plan(struct plan *p)
{
	struct random r = {.state = mix(seed)};

	memset(p, 0, sizeof(*p));
	p->holder = draw(&r, 3) - 1;
	p->count = 1 + draw(&r, MAX_TURNS);
	for (int i = 0; i < p->count; i++) {
		struct turn *t = &p->turns[i];

		t->client = i ? !t[-1].client : !one_in(&r, 8);
		if (one_in(&r, 5))
			t->client = !t->client;
		plan_turn(p, &r, t);
	}
	for (int client = 0; client < 2; client++)
		plan_habits(p, &r, client);
	p->one_cpu = one_in(&r, 3);
	/* accept() then waits for the client's first bytes. */
	p->defer = p->turns[0].client && !p->turns[0].gate && one_in(&r, 12);
	p->accept_late = one_in(&r, 6) ? draw(&r, 20) * MSEC : 0;
}

/* ---- what the supervisor sees of an end ------------------------------ */

static const char *const doing_names[] = {
	"connects", "waits in recv", "waits", "sends", "waits in send", "pauses", "has closed",
};

enum doing { CONNECTS, IN_RECV, WAITS, SENDS, IN_SEND, PAUSES, CLOSED };

struct state {
	atomic_ullong got, sent;
	atomic_int doing;
	atomic_int blocked; /* TCP has taken no more */
	atomic_int ready;   /* by edges: there may be more */
	atomic_int shut, eof;
	atomic_int reads; /* would read, if it were told that it can */
	atomic_int fd;
};

struct shared {
	struct state ends[2];
	atomic_ullong moved;   /* when a byte last did, either way */
	atomic_ullong longest; /* without that */
};

/* ---- one end --------------------------------------------------------- */

static struct {
	int fd, client;
	struct plan plan;
	struct habits *habits;
	struct shared *shared;
	struct state *state;
	struct random own; /* what the other end does not know */
	struct stream out, in;
	int turn; /* the next one of this end */
	size_t turn_sent, message, message_sent;
	int messages; /* in a row */
	int pause;    /* the next one */
	uint64_t send_at, read_at;
	int hup, epoll, epoll_out;
	long available; /* by edges and FIONREAD, -1: not known */
	int asked_room; /* for its send buffer, by a poll or a send that may have waited */
} me;

static unsigned char out[MAX_SEND];

static void progress(void)
{
	uint64_t now = clock_ns(), gap = now - atomic_exchange(&me.shared->moved, now);

	/* The other end may have been later by the clock, and earlier here. */
	if ((int64_t)gap > 0 && gap > me.shared->longest)
		me.shared->longest = gap;
}

static uint64_t total_in(void)
{
	return me.plan.total[!me.client];
}

/* The next turn of this end, NULL: all are sent. */
static struct turn *own_turn(void)
{
	while (me.turn < me.plan.count && me.plan.turns[me.turn].client != me.client)
		me.turn++;
	return me.turn < me.plan.count ? &me.plan.turns[me.turn] : NULL;
}

/* How far this end reads now. */
static uint64_t limit(void)
{
	for (int i = me.turn; i < me.plan.count; i++)
		if (me.plan.turns[i].client == me.client && me.plan.turns[i].hold)
			return me.plan.turns[i].gate;
	return UINT64_MAX;
}

/* A thread that sends for the other one: programs with a pool of threads do so. */
static struct {
	pthread_t thread;
	sem_t go, done;
	const void *buf;
	size_t len;
	int flags, error;
	ssize_t n;
} helper;

static void *help(void *arg)
{
	for (;;) {
		while (sem_wait(&helper.go))
			;
		helper.n = send(me.fd, helper.buf, helper.len, helper.flags);
		helper.error = errno;
		sem_post(&helper.done);
	}
	return arg;
}

static void start_helper(void)
{
	sigset_t all, before;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	sem_init(&helper.go, 0, 0);
	sem_init(&helper.done, 0, 0);
	if (pthread_create(&helper.thread, NULL, help, NULL))
		fail("pthread_create");
	sigprocmask(SIG_SETMASK, &before, NULL);
}

static ssize_t do_send(const void *buf, size_t len, int flags)
{
	if (!me.habits->handing || !one_in(&me.own, me.habits->handing))
		return send(me.fd, buf, len, flags);
	helper.buf = buf;
	helper.len = len;
	helper.flags = flags;
	sem_post(&helper.go);
	while (sem_wait(&helper.done))
		;
	errno = helper.error;
	return helper.n;
}

/* The next piece of the turn is in `out`. */
static void next_message(const struct turn *t)
{
	size_t left = t->total - me.turn_sent;

	me.message = t->even ? 1 + draw(&me.own, t->most) : draw_size(&me.own, t->most);
	if (me.message > left)
		me.message = left;
	me.message_sent = 0;
	fill(&me.out, out, me.message);
}

static void after_message(const struct turn *t)
{
	me.turn_sent += me.message;
	me.message = 0;
	me.messages++;
	if (t->halting && one_in(&me.own, t->halting))
		me.send_at = clock_ns() + draw(&me.own, 2 * MSEC);
	if (me.turn_sent == t->total) {
		me.turn_sent = 0;
		me.turn++;
	}
}

static void half_close(void)
{
	if (me.state->shut)
		return;
	if (shutdown(me.fd, SHUT_WR))
		fail("shutdown");
	me.state->shut = 1;
}

/* Sends what may be sent now: 1 if more may follow at once. */
static int send_some(int wait)
{
	struct turn *t = own_turn();
	ssize_t n;

	if (!t) {
		if (me.habits->fin_early || me.state->got == total_in())
			half_close();
		return 0;
	}
	if (!me.message) {
		int on = 1;

		if (me.state->got < t->gate)
			return 0;
		if (t->option && !me.turn_sent &&
		    setsockopt(me.fd, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof(on)))
			fail("SO_TIMESTAMP");
		next_message(t);
	}
	me.state->doing = wait ? IN_SEND : SENDS;
	me.state->reads = 0;
	n = do_send(out + me.message_sent, me.message - me.message_sent,
		    MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
	me.state->blocked = n < 0 && errno == EAGAIN;
	me.asked_room |= wait;
	if (me.state->blocked && !wait)
		return 0;
	if (n < 0)
		fail("send");
	progress();
	me.state->sent += n;
	me.message_sent += n;
	if (me.message_sent == me.message)
		after_message(t);
	return 1;
}

/* The next pause, if this is its place: 1 if this end does not read now. */
static int pause_reading(void)
{
	struct pause *p = &me.habits->pauses[me.pause];

	if (me.pause < me.habits->count && p->at <= me.state->got) {
		me.pause++;
		me.state->doing = PAUSES;
		if (p->busy)
			rest(p->ns);
		else
			me.read_at = clock_ns() + p->ns;
	}
	return me.read_at > clock_ns();
}

/* A recv of `most` bytes at most: how many, 0 at the end of the stream, -1: EAGAIN. */
static ssize_t get(size_t most, size_t *asked)
{
	static unsigned char buf[MAX_READ];
	struct habits *h = me.habits;
	size_t len = h->varied ? draw_size(&me.own, h->buffer) : h->buffer;
	uint64_t left = limit() - me.state->got;
	ssize_t n;

	len = len < most ? len : most;
	len = len < left ? len : left;
	*asked = len;
	/* A page fault in recv holds the socket's lock for long: a row of docs/limits.md. */
	for (size_t i = 0; i < len && i < 16 * KIB; i += 1 * KIB)
		*(volatile unsigned char *)(buf + i) = 0;
	me.state->doing = IN_RECV;
	me.state->reads = 1;
	n = recv(me.fd, buf, len, h->style == BLOCKING ? 0 : MSG_DONTWAIT);
	me.state->doing = WAITS;
	if (n < 0 && errno == EAGAIN && h->style != BLOCKING)
		return -1;
	if (n < 0)
		fail("recv");
	if (me.state->got + n > total_in())
		die(1, "%zd bytes after the last one", n);
	check(&me.in, buf, n);
	me.state->got += n;
	if (!n && me.state->got < total_in())
		die(1, "end of stream with %llu bytes missing",
		    (unsigned long long)(total_in() - me.state->got));
	me.state->eof = !n;
	progress();
	if (h->slow && draw(&me.own, 256 * KIB) < (size_t)n)
		rest(draw(&me.own, 2 * MSEC));
	return n;
}

/* poll has said that there is something: as much as FIONREAD says. */
static void get_what_is_said(void)
{
	size_t asked;
	ssize_t n;
	int said;
	char byte;

	if (ioctl(me.fd, FIONREAD, &said))
		fail("FIONREAD");
	if (said) {
		/* Fewer where bypassed bytes end and TCP's follow: both are counted since 6.12.117.
		 */
		n = get(said, &asked);
		if (n <= 0)
			die(1, "FIONREAD says %d, a recv of %zu returns %zd", said, asked, n);
	} else if (recv(me.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0) {
		get(1, &asked);
	} else {
		rest(MSEC); /* nothing, it says */
	}
}

/* By edges: until the style believes that all is read. */
static void get_by_edges(void)
{
	enum style style = me.habits->style;
	size_t asked;
	ssize_t n;

	if (style == EDGE_FIONREAD && !me.available && !me.hup) {
		me.state->ready = 0;
		return;
	}
	n = get(MAX_READ, &asked);
	if (n <= 0) {
		me.state->ready = 0;
		return;
	}
	if (style == EDGE_FIONREAD && me.available >= 0) {
		me.available = me.available > n ? me.available - n : 0;
	} else if (style == EDGE_FIONREAD && n == (ssize_t)asked) {
		int said;

		if (ioctl(me.fd, FIONREAD, &said))
			fail("FIONREAD");
		me.available = said;
	}
	/* With the end of the stream at hand it is read to the end. */
	if (style != EDGE_EAGAIN && n < (ssize_t)asked && !me.hup)
		me.state->ready = 0;
}

static int by_edges(void)
{
	return me.epoll >= 0;
}

static int may_read(void)
{
	return !me.state->eof && me.state->got < limit();
}

static int is_done(void)
{
	int read = me.state->got == total_in() && (me.state->eof || me.habits->leaves);

	return read && !own_turn() && me.state->shut;
}

/* Reads what may be read now, when `readable`. */
static void read_some(int readable)
{
	for (int i = 0; i < me.habits->batch && may_read(); i++) {
		size_t asked;

		if (by_edges() ? !me.state->ready : !readable || i)
			return;
		if (pause_reading())
			return;
		if (by_edges())
			get_by_edges();
		else if (me.habits->style == ASKING)
			get_what_is_said();
		else
			get(MAX_READ, &asked);
	}
}

static int new_epoll(unsigned events)
{
	struct epoll_event ev = {.events = events | EPOLLET};
	int fd = epoll_create1(0);

	if (fd < 0 || epoll_ctl(fd, EPOLL_CTL_ADD, me.fd, &ev))
		fail("epoll");
	return fd;
}

static void take_edges(void)
{
	struct epoll_event ev;

	while (epoll_wait(me.epoll, &ev, 1, 0) == 1) {
		me.state->ready = 1;
		me.available = -1;
		me.hup |= ev.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
	}
	while (epoll_wait(me.epoll_out, &ev, 1, 0) == 1)
		me.state->blocked = 0;
}

/* For what the end can go on with: 1 if it can read, as poll sees it. */
static int wait_for_more(void)
{
	struct pollfd p[2] = {{.fd = me.fd}, {.fd = -1}};
	uint64_t now = clock_ns(), until = UINT64_MAX;
	struct turn *t = own_turn();
	struct timespec left;
	int reads = may_read();

	me.state->doing = WAITS;
	me.state->reads = reads;
	if (me.read_at > now) {
		until = me.read_at;
		reads = 0;
	}
	if (t && me.send_at > now) {
		until = me.send_at < until ? me.send_at : until;
	} else if (t && !me.state->blocked && (me.message || me.state->got >= t->gate)) {
		until = now;
	} else if (!t && !me.state->shut && (me.habits->fin_early || me.state->got == total_in())) {
		until = now;
	}
	if (reads && by_edges() && me.state->ready)
		until = now;
	if (by_edges()) {
		p[0] = (struct pollfd){.fd = me.epoll, .events = POLLIN};
		p[1] = (struct pollfd){.fd = me.epoll_out, .events = POLLIN};
	} else {
		p[0].events = (reads ? POLLIN : 0) | (me.state->blocked ? POLLOUT : 0);
		if (!p[0].events)
			p[0].fd = -1; /* no POLLHUP either */
	}
	left.tv_sec = until > now ? (until - now) / 1000000000 : 0;
	left.tv_nsec = until > now ? (until - now) % 1000000000 : 0;
	if (ppoll(p, 2, until == UINT64_MAX ? NULL : &left, NULL) < 0)
		fail("poll");
	if (by_edges()) {
		take_edges();
		return 0;
	}
	if (p[0].revents & (POLLOUT | POLLHUP | POLLERR))
		me.state->blocked = 0;
	return reads && p[0].revents & (POLLIN | POLLHUP | POLLERR);
}

static void play_events(void)
{
	int readable = 0;

	me.epoll = me.epoll_out = -1;
	me.available = -1;
	if (me.habits->style >= EDGE_SHORT) {
		me.epoll = new_epoll(EPOLLIN | EPOLLRDHUP);
		me.epoll_out = new_epoll(EPOLLOUT);
	}
	while (!is_done()) {
		for (int i = 0; i < me.habits->batch && me.send_at <= clock_ns(); i++)
			if (me.state->blocked || !send_some(0))
				break;
		read_some(readable);
		if (is_done())
			break;
		readable = wait_for_more();
	}
}

/* One recv that waits, for what is sure to come. */
static void get_waiting(void)
{
	struct pollfd p = {.fd = me.fd, .events = POLLIN};
	size_t asked;

	/*
	 * The acknowledgment of a half-close can end a recv with EAGAIN, and so can room in
	 * the send buffer that was asked for, a row of docs/limits.md: not when there
	 * is something to read.
	 */
	me.state->doing = WAITS;
	me.state->reads = 1;
	if (me.state->shut || me.asked_room || me.pause < me.habits->count) {
		me.asked_room = 1; /* whatever a poll asks for (tcp_poll) */
		poll(&p, 1, -1);
	}
	while (pause_reading())
		rest_until(me.read_at);
	get(MAX_READ, &asked);
}

/*
 * A program of one thread that waits in recv and, where it reads only when it has sent,
 * in send.  Where the other end may not read until it is read from, it reads when it
 * cannot send.
 */
static void play_blocking(void)
{
	struct turn *t;

	me.epoll = -1;
	while ((t = own_turn())) {
		while (!me.message && me.state->got < t->gate)
			get_waiting();
		rest_until(me.send_at);
		send_some(me.state->got >= limit());
		if (me.state->blocked) {
			struct pollfd p = {.fd = me.fd, .events = POLLOUT};

			if (may_read())
				p.events |= POLLIN;
			me.asked_room = 1;
			me.state->doing = WAITS;
			me.state->reads = may_read();
			poll(&p, 1, -1);
			if (p.events & p.revents & POLLIN)
				get_waiting();
		}
	}
	while (!is_done()) {
		send_some(0); /* half-closes */
		if (!is_done())
			get_waiting();
	}
}

/* ---- the connection -------------------------------------------------- */

static socklen_t address(int port, struct sockaddr_storage *to)
{
	struct sockaddr_in *v4 = (void *)to;
	struct sockaddr_in6 *v6 = (void *)to;

	memset(to, 0, sizeof(*to));
	if (inet_pton(AF_INET, opt.listen, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		return sizeof(*v4);
	}
	if (inet_pton(AF_INET6, opt.listen, &v6->sin6_addr) != 1)
		die(2, "no address: %s", opt.listen);
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	return sizeof(*v6);
}

static int new_socket(int family, const struct habits *h)
{
	int fd = socket(family, SOCK_STREAM, 0);

	if (fd < 0)
		fail("socket");
	if (h->sndbuf)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &h->sndbuf, sizeof(h->sndbuf));
	if (h->rcvbuf)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &h->rcvbuf, sizeof(h->rcvbuf));
	return fd;
}

/* The port is drawn by the kernel. */
static int start_listening(const struct plan *p, int *port)
{
	struct sockaddr_storage addr;
	socklen_t len = address(0, &addr);
	int fd = new_socket(addr.ss_family, &p->ends[0]), seconds = 5;

	if (p->defer && setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds)))
		fail("TCP_DEFER_ACCEPT");
	if (bind(fd, (void *)&addr, len) || listen(fd, 1))
		fail("listen");
	len = sizeof(addr);
	if (getsockname(fd, (void *)&addr, &len))
		fail("getsockname");
	*port = ntohs(((struct sockaddr_in *)&addr)->sin_port);
	return fd;
}

static int call(int port)
{
	struct sockaddr_storage addr;
	socklen_t len = address(port, &addr);
	int fd = new_socket(addr.ss_family, me.habits);

	if (connect(fd, (void *)&addr, len))
		fail("connect");
	return fd;
}

static void stay_on_one_cpu(void)
{
	cpu_set_t set, one;

	if (sched_getaffinity(0, sizeof(set), &set))
		return;
	for (int i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, &set))
			continue;
		CPU_ZERO(&one);
		CPU_SET(i, &one);
		sched_setaffinity(0, sizeof(one), &one);
		return;
	}
}

static void play(const struct plan *plan, struct shared *shared, int client, int listener, int port)
{
	int one = 1;

	role = client ? "client" : "server";
	me.plan = *plan;
	me.client = client;
	me.habits = &me.plan.ends[client];
	me.shared = shared;
	me.state = &shared->ends[client];
	me.own.state = mix(seed * 2 + client);
	me.out.seed = seed * 2 + client;
	me.in.seed = seed * 2 + !client;
	me.fd = -1;
	if (plan->one_cpu)
		stay_on_one_cpu();
	if (me.habits->handing)
		start_helper();

	if (client) {
		close(listener);
		me.fd = call(port);
	} else {
		rest(plan->accept_late);
		me.fd = accept(listener, NULL, NULL);
		if (me.fd < 0)
			fail("accept");
		close(listener);
	}
	me.state->fd = me.fd;
	setsockopt(me.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (me.habits->style == BLOCKING)
		play_blocking();
	else
		play_events();
	me.state->reads = 0;
	me.state->doing = CLOSED;
	close(me.fd);
	progress();
}

/* ---- all connections ------------------------------------------------- */

static struct job {
	int used, status, stalled;
	uint64_t seed;
	uint64_t look_at; /* when nothing has moved until then */
	pid_t pids[2];
	struct plan plan;
	struct shared *shared;
} jobs[MAX_JOBS];

static sigset_t children;
static uint64_t longest, longest_seed;

static void start(struct job *j, uint64_t of)
{
	int port, listener;

	j->used = 1;
	j->status = j->stalled = 0;
	j->look_at = 0;
	j->seed = seed = of;
	make_plan(&j->plan);
	memset(j->shared, 0, sizeof(*j->shared));
	j->shared->moved = clock_ns();
	listener = start_listening(&j->plan, &port);
	fflush(NULL);
	for (int client = 0; client < 2; client++) {
		j->pids[client] = fork();
		if (j->pids[client] < 0)
			fail("fork");
		if (j->pids[client])
			continue;
		sigprocmask(SIG_UNBLOCK, &children, NULL);
		play(&j->plan, j->shared, client, listener, port);
		exit(0);
	}
	close(listener);
}

/* What the kernel says of an end's socket, as its program would see it. */
struct look {
	int known;
	ssize_t peeked;
	int fionread, events;
};

static void look(const struct job *j, int client, struct look *l)
{
	static unsigned char buf[16 * MIB];
	struct pollfd p = {.events = POLLIN | POLLOUT | POLLRDHUP};
	const struct state *s = &j->shared->ends[client];
	int pidfd;

	memset(l, 0, sizeof(*l));
	if (!j->pids[client] || s->doing == CONNECTS || s->doing == CLOSED)
		return;
	pidfd = syscall(SYS_pidfd_open, j->pids[client], 0);
	p.fd = pidfd < 0 ? -1 : syscall(SYS_pidfd_getfd, pidfd, s->fd, 0);
	if (p.fd >= 0) {
		l->known = 1;
		poll(&p, 1, 0);
		l->events = p.revents;
		ioctl(p.fd, FIONREAD, &l->fionread);
		l->peeked = recv(p.fd, buf, sizeof(buf), MSG_PEEK | MSG_DONTWAIT);
		close(p.fd);
	}
	close(pidfd);
}

/*
 * Could this end go on, if it were told?  If none can, the bytes are on their way: TCP may
 * take long, when both windows were full and what it sends again is dropped again.
 */
static int stands(const struct job *j, int client, const struct look *l)
{
	const struct state *s = &j->shared->ends[client];

	return l->known && ((s->reads && l->peeked >= 0) || (s->blocked && l->events & POLLOUT));
}

static void print_end(const struct job *j, int client, const struct look *l)
{
	const struct habits *h = &j->plan.ends[client];
	const struct state *s = &j->shared->ends[client];
	uint64_t total = j->plan.total[client];

	fprintf(stderr, "  %s, %s%s: read %llu of %llu, sent %llu of %llu (%s); %s%s%s",
		client ? "client" : "server", style_names[h->style],
		h->handing ? ", two threads" : "", s->got,
		(unsigned long long)j->plan.total[!client], s->sent, (unsigned long long)total,
		s->shut		   ? "half-closed"
		: s->sent == total ? "all"
		: s->blocked	   ? "blocked"
				   : "not all",
		doing_names[s->doing], s->ready ? ", ready" : "", s->reads ? ", to read" : "");
	if (!l->known) {
		fprintf(stderr, "\n");
		return;
	}
	if (l->peeked < 0)
		fprintf(stderr, "; PEEK finds nothing");
	else
		fprintf(stderr, "; PEEK finds %zd bytes", l->peeked);
	fprintf(stderr, ", FIONREAD says %d, poll %s%s%s\n", l->fionread,
		l->events & POLLIN ? "IN " : "", l->events & POLLOUT ? "OUT " : "",
		l->events & POLLRDHUP ? "RDHUP" : "");
}

/* Nothing has moved for --timeout, or several times as long: 1 if that is a stall. */
static int stalls(struct job *j, uint64_t still)
{
	static const char *const holders[] = {"nobody", "the server", "the client"};
	struct look looks[2];

	look(j, 0, &looks[0]);
	look(j, 1, &looks[1]);
	if (!stands(j, 0, &looks[0]) && !stands(j, 1, &looks[1]) && still < 12 * opt.timeout * 1e9)
		return 0;
	fprintf(stderr, "readers: seed %llu stalls: nothing moves for %g s; %s holds back%s\n",
		(unsigned long long)j->seed, still / 1e9, holders[j->plan.holder + 1],
		j->plan.one_cpu ? "; one CPU" : "");
	print_end(j, 0, &looks[0]);
	print_end(j, 1, &looks[1]);
	fprintf(stderr,
		"  again: readers --seed %llu --size %zu --buffers %d --listen %s --styles ",
		(unsigned long long)j->seed, opt.size, opt.buffers, opt.listen);
	for (int i = 0, n = 0; i < STYLES; i++)
		if (opt.styles >> i & 1)
			fprintf(stderr, "%s%s", n++ ? "," : "", style_names[i]);
	fprintf(stderr, "\n");
	return 1;
}

static void end_both(struct job *j)
{
	for (int client = 0; client < 2; client++)
		if (j->pids[client])
			kill(j->pids[client], SIGKILL);
}

/* A child has ended: the other one cannot go on if it failed. */
static void reap(pid_t pid, int status)
{
	for (struct job *j = jobs; j < jobs + opt.jobs; j++) {
		for (int client = 0; client < 2; client++) {
			if (!j->used || j->pids[client] != pid)
				continue;
			j->pids[client] = 0;
			if (!j->status && !(WIFEXITED(status) && !WEXITSTATUS(status))) {
				j->status = WIFEXITED(status) ? WEXITSTATUS(status) : 2;
				end_both(j);
			}
		}
	}
}

/* Looks at a connection whose two ends may have come to their end: 1 if they have. */
static int finished(struct job *j)
{
	uint64_t moved = j->shared->moved, now = clock_ns();

	if (!j->pids[0] && !j->pids[1]) {
		if (j->shared->longest > longest) {
			longest = j->shared->longest;
			longest_seed = j->seed;
		}
		if (opt.verbose)
			printf("seed %llu: %s and %s, %llu and %llu bytes: %s, at most %llu ms "
			       "without progress\n",
			       (unsigned long long)j->seed, style_names[j->plan.ends[0].style],
			       style_names[j->plan.ends[1].style],
			       (unsigned long long)j->plan.total[0],
			       (unsigned long long)j->plan.total[1],
			       j->stalled  ? "stalled"
			       : j->status ? "failed"
					   : "ok",
			       j->shared->longest / MSEC);
		j->used = 0;
		return 1;
	}
	if (j->look_at < moved + opt.timeout * 1e9)
		j->look_at = moved + opt.timeout * 1e9;
	if (!j->status && now > j->look_at) {
		j->look_at = now + opt.timeout * 1e9;
		if (stalls(j, now - moved)) {
			j->stalled = 1;
			j->status = 3;
			end_both(j);
		}
	}
	return 0;
}

static int run_all(void)
{
	const struct timespec tick = {.tv_nsec = 100 * MSEC};
	uint64_t begun = 0, ended = 0, stalled = 0, failed = 0;
	int status, worst = 0;
	pid_t pid;

	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	sigprocmask(SIG_BLOCK, &children, NULL);
	while (ended < opt.count) {
		for (struct job *j = jobs; j < jobs + opt.jobs && begun < opt.count; j++)
			if (!j->used)
				start(j, opt.seed + begun++);
		sigtimedwait(&children, NULL, &tick);
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			reap(pid, status);
		for (struct job *j = jobs; j < jobs + opt.jobs; j++) {
			if (!j->used || !finished(j))
				continue;
			ended++;
			stalled += j->stalled;
			failed += j->status && !j->stalled;
			/* What is wrong counts more than what stalls. */
			if (j->status && (!worst || j->status < worst))
				worst = j->status;
		}
	}
	if (opt.count > 1 || opt.verbose)
		printf("%llu connections, %llu stalled, %llu failed; at most %llu ms without "
		       "progress, seed %llu\n",
		       (unsigned long long)ended, (unsigned long long)stalled,
		       (unsigned long long)failed, (unsigned long long)(longest / MSEC),
		       (unsigned long long)longest_seed);
	return worst;
}

static unsigned styles_of(char *list)
{
	unsigned styles = 0;

	for (char *name = strtok(list, ","); name; name = strtok(NULL, ",")) {
		int i = 0;

		while (i < STYLES && strcmp(name, style_names[i]))
			i++;
		if (i == STYLES)
			die(2, "no such style: %s", name);
		styles |= 1U << i;
	}
	return styles;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"listen", 1, 0, 'l'},
						{"seed", 1, 0, 's'},
						{"count", 1, 0, 'n'},
						{"jobs", 1, 0, 'j'},
						{"size", 1, 0, 'z'},
						{"buffers", 1, 0, 'b'},
						{"styles", 1, 0, 'y'},
						{"timeout", 1, 0, 't'},
						{"verbose", 0, &opt.verbose, 1},
						{0}};
	struct shared *shared;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'l':
			opt.listen = optarg;
			break;
		case 's':
			opt.seed = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			opt.count = strtoull(optarg, NULL, 0);
			break;
		case 'j':
			opt.jobs = atoi(optarg);
			break;
		case 'z':
			opt.size = strtoull(optarg, NULL, 0);
			break;
		case 'b':
			opt.buffers = atoi(optarg);
			break;
		case 'y':
			opt.styles = styles_of(optarg);
			break;
		case 't':
			opt.timeout = atof(optarg);
			break;
		case 0:
			break;
		default:
			return 2;
		}
	}
	if (opt.jobs < 1 || opt.jobs > MAX_JOBS || !opt.size || optind < argc)
		die(2, "wrong arguments");
	if (!opt.styles)
		opt.styles = (1U << STYLES) - 1;
	shared = mmap(NULL, sizeof(*shared) * opt.jobs, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		fail("mmap");
	for (int i = 0; i < opt.jobs; i++)
		jobs[i].shared = shared + i;
	setlinebuf(stdout);
	return run_all();
}
