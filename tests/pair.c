// SPDX-License-Identifier: GPL-2.0
/*
 * Both ends of one TCP connection, playing a scenario and checking every byte.
 *
 *   pair [OPTION]... SCENARIO           both ends, the server's in a child
 *   pair [OPTION]... SCENARIO serve     one end: prints its port once it listens
 *   pair [OPTION]... SCENARIO call      the other end, to --port
 *
 * With --until FILE both ends first make small round trips, about two a second, until that
 * file exists.  With --show the server prints its keepalive options before it closes.
 *
 * With --kill one end, drawn by the seed, dies by SIGKILL at a random moment: what
 * the other one has read by then must be right, and its stream must end.
 *
 * Both ends must get the same options.  Exit status 0: as it should be;
 * 1: what was received is wrong, said on stderr; 2: something else failed;
 * 3: a hang (no progress within --timeout).
 *
 * Each direction carries a stream of bytes that both ends can compute from the
 * seed, so that a byte lost, doubled, moved or foreign is seen where it occurs.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <net/if.h>
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
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "stream.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

static struct {
	const char *listen, *connect, *client, *until;
	int port, client_port;
	int defer, fastopen, mptcp, mptcp_server, mptcp_client, nonblock, slow, abort, kill, sndbuf,
		rcvbuf;
	int keepalive, idle, user_timeout, late, show;
	int timeout;
	uint64_t seed;
	size_t size;
	int count;
} opt = {
	.listen = "127.0.0.1",
	.timeout = 20,
	.seed = 1,
	.count = 100,
};

static atomic_int *met; /* ends that have come to meet() */

static const char *role = "both ends";

void die(int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "pair: %s: ", role);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(status);
}

#define fail(what) die(2, "%s: %s", what, strerror(errno))

static void on_alarm(int sig)
{
	static const char msg[] = "pair: no progress: hangs\n";

	(void)sig;
	if (write(STDERR_FILENO, msg, sizeof(msg) - 1) < 0)
		_exit(2);
	_exit(3);
}

static void progress(void)
{
	alarm(opt.timeout);
}

/* ---- an end ---------------------------------------------------------- */

/* An end of the connection: what it sends and what it must receive. */
struct end {
	int fd;
	struct stream out, in;
};

static void wait_for(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	if (poll(&p, 1, -1) < 0)
		fail("poll");
}

static void put(struct end *e, size_t len)
{
	static __thread unsigned char buf[4 * MIB];
	size_t sent = 0;

	if (len > sizeof(buf))
		die(2, "a write of %zu bytes is too large for this test", len);
	fill(&e->out, buf, len);
	while (sent < len) {
		ssize_t n = send(e->fd, buf + sent, len - sent, MSG_NOSIGNAL);

		if (n < 0 && opt.nonblock && errno == EAGAIN) {
			wait_for(e->fd, POLLOUT);
			continue;
		}
		if (n < 0 && opt.kill && (errno == EPIPE || errno == ECONNRESET))
			exit(0);
		if (n < 0)
			fail("send");
		progress();
		sent += n;
	}
}

/* The stream ends where it should not: not a fault if the peer was killed. */
static void ends_early(size_t missing)
{
	if (opt.kill)
		exit(0);
	die(1, "end of stream with %zu bytes missing", missing);
}

/* At most `len` bytes; 0 at the end of the stream. */
static size_t get_some(struct end *e, size_t len)
{
	static __thread unsigned char buf[1 * MIB];
	ssize_t n;

	if (len > sizeof(buf))
		len = sizeof(buf);
	/*
	 * A page fault in recv can cost the CPU while it has the socket's lock, and where the
	 * host has taken the page, hundreds of microseconds; a peer that sends or half-closes
	 * then is a row of docs/limits.md.
	 */
	for (size_t i = 0; i < len; i += 1 * KIB)
		*(volatile unsigned char *)(buf + i) = 0;
	while ((n = recv(e->fd, buf, len, 0)) < 0) {
		if (opt.kill && errno == ECONNRESET)
			exit(0);
		if (opt.kill && errno == EAGAIN)
			continue; /* what a reset does to a waiting recv, see the README's limits */
		if (errno != EAGAIN || !opt.nonblock)
			fail("recv");
		wait_for(e->fd, POLLIN);
	}
	progress();
	check(&e->in, buf, n);
	return n;
}

static void get(struct end *e, size_t len)
{
	while (len) {
		size_t n = get_some(e, len);

		if (!n)
			ends_early(len);
		len -= n;
	}
}

static void get_end(struct end *e)
{
	size_t n = get_some(e, 1);

	if (n)
		die(1, "a byte after the last one");
}

/* close() then sends a reset, and no TIME_WAIT keeps the port. */
static void abort_on_close(int fd)
{
	struct linger abort = {.l_onoff = 1};

	if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort, sizeof(abort)))
		fail("SO_LINGER");
}

static void finish_sending(struct end *e)
{
	if (shutdown(e->fd, SHUT_WR))
		fail("shutdown");
}

/* ---- scenarios ------------------------------------------------------- */

/*
 * Requests and answers of up to --size bytes, --count times.  By default 4 KiB, which
 * stay on the bypass on every kernel (bpf_tcpip_bypass.c).
 */
static void talk(struct end *e, int client)
{
	struct random r = {.state = opt.seed};

	for (int i = 0; i < opt.count; i++) {
		size_t ask = draw_size(&r, opt.size ?: 4 * KIB);
		size_t answer = draw_size(&r, opt.size ?: 4 * KIB);

		if (client) {
			put(e, ask);
			get(e, answer);
		} else {
			get(e, ask);
			put(e, answer);
		}
	}
	finish_sending(e);
	get_end(e);
}

/* Both ends send at once, then read: --count turns of up to --size bytes. */
static void crossed(struct end *e, int client)
{
	struct random r = {.state = opt.seed};

	(void)client;
	for (int i = 0; i < opt.count; i++) {
		size_t size = draw_size(&r, opt.size ?: 4 * KIB);

		put(e, size);
		get(e, size);
	}
	finish_sending(e);
	get_end(e);
}

/*
 * Round trips of 100 bytes, and after each hundred of them an answer of --size: in writes of
 * random sizes, from 2 MiB on in sends that are as large as can be.
 */
static void answers(struct end *e, int client)
{
	struct random own = {.state = opt.seed};

	for (int i = 1; i <= 101 * opt.count; i++) {
		size_t left = i % 101 ? 100 : opt.size ?: 1 * MIB;
		size_t most = left < 2 * MIB ? 8 * KIB + draw_size(&own, left) : 4 * MIB;

		if (client) {
			put(e, 100);
			get(e, left);
			continue;
		}
		get(e, 100);
		while (left) {
			size_t n = most < left ? most : left;

			put(e, n);
			left -= n;
		}
	}
	/* No half-close while the other end reads a large answer: a row of docs/limits.md. */
	if (!client)
		get_end(e);
}

/* Three small sends right after connect: a deferred accept sees them late. */
static void three(struct end *e, int client)
{
	if (client) {
		put(e, 10);
		put(e, 10);
		put(e, 10);
		finish_sending(e);
		get(e, 10);
		get_end(e);
	} else {
		get(e, 30);
		get_end(e);
		put(e, 10);
		finish_sending(e);
	}
}

/* A slow reader rests now and then, whatever the size of its reads. */
static void slow_down(struct random *r, size_t len)
{
	if (opt.slow && draw(r, 128 * KIB) < len)
		usleep(draw(r, 5000));
}

/* So much in messages of up to `most`, or less: millions of tiny ones tell no more than thousands.
 */
static size_t few_messages(size_t len, size_t most)
{
	return len / most < 4096 ? len : most * 4096;
}

/* --count turns of up to --size bytes (default 12 MiB) from a random end. */
static void turns(struct end *e, int client)
{
	struct random plan = {.state = opt.seed};
	struct random own = {.state = opt.seed * 7 + client};

	for (int i = 0; i < opt.count; i++) {
		int from_client = draw(&plan, 2);
		size_t len = draw_size(&plan, opt.size ?: 12 * MIB);
		size_t most = draw_size(&plan, 1 * MIB);

		len = few_messages(len, most);
		while (len && from_client == client) {
			size_t n = draw_size(&own, most);

			n = n < len ? n : len;
			put(e, n);
			len -= n;
		}
		while (len) {
			size_t n = draw_size(&own, most);

			n = get_some(e, n < len ? n : len);
			slow_down(&own, n);
			if (!n)
				ends_early(len);
			len -= n;
		}
	}
	finish_sending(e);
	get_end(e);
}

static void *duplex_writer(void *arg)
{
	struct end *e = arg;
	struct random own = {.state = e->out.seed};
	size_t left = opt.size ?: 16 * MIB;

	while (left) {
		size_t burst = draw_size(&own, 1 * MIB), most = draw_size(&own, 64 * KIB);

		burst = few_messages(burst < left ? burst : left, most);
		left -= burst;
		while (burst) {
			size_t n = draw_size(&own, most);

			n = n < burst ? n : burst;
			put(e, n);
			burst -= n;
		}
		if (!draw(&own, 8))
			usleep(draw(&own, 8000));
	}
	return NULL;
}

/* Both ends send --size bytes (default 16 MiB) in bursts, at the same time. */
static void duplex(struct end *e, int client)
{
	struct random own = {.state = opt.seed * 11 + client};
	size_t left = opt.size ?: 16 * MIB;
	pthread_t writer;

	if (pthread_create(&writer, NULL, duplex_writer, e))
		fail("pthread_create");
	while (left) {
		size_t n = draw_size(&own, 256 * KIB);

		n = get_some(e, n < left ? n : left);
		if (!n)
			ends_early(left);
		left -= n;
		slow_down(&own, n);
	}
	pthread_join(writer, NULL);
	/* Not while the reader waits: its recv would return EAGAIN (README, limits). */
	finish_sending(e);
	get_end(e);
}

/*
 * A reader that has stopped, for STOP seconds: the client sends until it would
 * block, prints how many bytes the connection held, and the server then reads
 * them all.  A client that is too slow to fill it in that time ends then: against
 * a reader that reads it would never block.
 */
#define STOP  2
#define FIRST 100 /* bytes */

static void stopped(struct end *e, int client)
{
	static unsigned char buf[1 * MIB]; /* --size, 64 KiB by default */
	struct pollfd p = {.fd = e->fd, .events = POLLOUT};
	size_t limit = 512 * MIB, total = 0;
	time_t end = time(NULL) + STOP;
	uint64_t net;

	if (!client) {
		sleep(STOP);
		while (get_some(e, 1 * MIB))
			;
		net = e->in.offset;
		if (send(e->fd, &net, sizeof(net), MSG_NOSIGNAL) != sizeof(net))
			fail("send");
		return;
	}
	/* Unread, so that no large send finds the queue empty, and leaves the bypass as bulk. */
	fill(&e->out, buf, FIRST);
	if (send(e->fd, buf, FIRST, MSG_NOSIGNAL) != FIRST)
		fail("send");
	total += FIRST;
	fcntl(e->fd, F_SETFL, O_NONBLOCK);
	while (total < limit && time(NULL) <= end) {
		size_t len = opt.size ?: 64 * KIB;
		struct stream before = e->out;
		ssize_t n;

		fill(&e->out, buf, len);
		n = send(e->fd, buf, len, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			fail("send");
		if (n < (ssize_t)len) {
			e->out = before;
			e->out.offset += n > 0 ? n : 0;
		}
		total += n > 0 ? n : 0;
		if (n < 0 && poll(&p, 1, 200) == 0)
			break;
	}
	printf("held %zu bytes\n", total);
	fcntl(e->fd, F_SETFL, 0);
	finish_sending(e);
	if (recv(e->fd, &net, sizeof(net), MSG_WAITALL) != sizeof(net))
		fail("recv");
	if (net != total)
		die(1, "sent %zu bytes, the server got %llu", total, (unsigned long long)net);
}

/* Small talk, a blocking upload of --size bytes (default 300 MiB), a blocking recv. */
static void upload(struct end *e, int client)
{
	size_t left = opt.size ?: 300 * MIB;

	if (client) {
		put(e, 100);
		get(e, 100);
		for (; left; left -= left < MIB ? left : MIB)
			put(e, left < MIB ? left : MIB);
		get(e, 100);
		finish_sending(e);
	} else {
		struct random own = {.state = opt.seed};

		get(e, 100);
		put(e, 100);
		while (left) {
			size_t n = get_some(e, left < 64 * KIB ? left : 64 * KIB);

			if (!n)
				ends_early(left);
			left -= n;
			slow_down(&own, n);
		}
		usleep(300000); /* the client waits in its recv meanwhile */
		put(e, 100);
		get_end(e);
	}
}

static void *get_answer(void *end)
{
	get(end, 100);
	return NULL;
}

/* The same upload, while another thread already waits for the answer. */
static void upload_waiting(struct end *e, int client)
{
	size_t left = opt.size ?: 300 * MIB;
	pthread_t reader;

	if (!client) {
		upload(e, 0);
		return;
	}
	put(e, 100);
	get(e, 100);
	if (pthread_create(&reader, NULL, get_answer, e))
		fail("pthread_create");
	usleep(20000); /* it is in its recv */
	for (size_t n; left; left -= n) {
		n = left < 32 * KIB ? left : 32 * KIB;
		put(e, n);
	}
	pthread_join(reader, NULL);
	finish_sending(e);
}

/*
 * Requests and answers, --count of each, of which half, by chance, are bursts of up to --size
 * bytes (default 3 MiB) in one send.  At both ends one thread sends and another one waits in its
 * recv: it must not be told EAGAIN, whatever moment the connection chooses to leave the bypass.
 */
struct split {
	struct end *e;
	int client;
	struct random plan;
	sem_t has_read;
};

static size_t split_size(struct random *plan)
{
	return draw_size(plan, draw(plan, 2) ? 4 * KIB : opt.size ?: 3 * MIB);
}

static void *split_reader(void *arg)
{
	struct split *s = arg;
	struct random plan = s->plan;

	for (int i = 0; i < opt.count; i++) {
		size_t ask = split_size(&plan), answer = split_size(&plan);

		get(s->e, s->client ? answer : ask);
		sem_post(&s->has_read);
	}
	return NULL;
}

static void split(struct end *e, int client)
{
	struct split s = {.e = e, .client = client, .plan.state = opt.seed};
	struct random plan = s.plan;
	pthread_t reader;

	sem_init(&s.has_read, 0, 0);
	if (pthread_create(&reader, NULL, split_reader, &s))
		fail("pthread_create");
	for (int i = 0; i < opt.count; i++) {
		size_t ask = split_size(&plan), answer = split_size(&plan);

		if (client)
			put(e, ask);
		while (sem_wait(&s.has_read))
			;
		if (!client)
			put(e, answer);
	}
	pthread_join(reader, NULL);
	/* Not while the other thread waits: that is a row of docs/limits.md. */
	finish_sending(e);
	get_end(e);
}

/* Half-close: the client ends its direction, the answer comes afterwards. */
static void half_close(struct end *e, int client, size_t before)
{
	if (client) {
		if (before) {
			put(e, before);
			usleep(50000);
		}
		finish_sending(e);
		if (send(e->fd, "", 1, MSG_NOSIGNAL) >= 0 || errno != EPIPE)
			die(1, "a send after shutdown did not fail with EPIPE");
		get(e, 100 * KIB);
		get(e, 100);
		get_end(e);
	} else {
		get(e, before);
		get_end(e);
		/* Longer than a delayed acknowledgment: the client waits in its recv. */
		usleep(100000);
		put(e, 100 * KIB);
		usleep(20000);
		put(e, 100);
		finish_sending(e);
	}
}

static void half_close_early(struct end *e, int client)
{
	half_close(e, client, 0);
}

/* Small talk, so that the connection is on the bypass. */
static void round_trips(struct end *e, int client, int count)
{
	for (int i = 0; i < count; i++) {
		if (client) {
			put(e, 1000);
			get(e, 1000);
		} else {
			get(e, 1000);
			put(e, 1000);
		}
	}
}

/*
 * --until FILE: each end in turn rests before a round trip, while the other one waits in a
 * recv.  The client announces one more, or the last, by a byte beside the stream.
 */
static void keep_busy(struct end *e, int client)
{
	char more = 1;

	for (int i = 0; more; i++) {
		if (client) {
			more = access(opt.until, F_OK) != 0;
			if (send(e->fd, &more, 1, MSG_NOSIGNAL) != 1)
				fail("send");
		} else if (recv(e->fd, &more, 1, 0) != 1) {
			fail("recv");
		}
		if (i % 2 == client)
			usleep(500000);
		round_trips(e, client, 1);
	}
}

/* --size bytes (default 8 MiB) from the client, then as many from the server. */
static void bulk(struct end *e, int client)
{
	size_t size = opt.size ?: 8 * MIB;

	for (int from_client = 1; from_client >= 0; from_client--)
		for (size_t left = size, n; left; left -= n) {
			n = left < 64 * KIB ? left : 64 * KIB;
			if (client == from_client)
				put(e, n);
			else
				get(e, n);
		}
	finish_sending(e);
	get_end(e);
}

/* The client ends its direction, then the server. */
static void end_of_stream(struct end *e, int client)
{
	if (client)
		finish_sending(e);
	get_end(e);
	if (!client)
		finish_sending(e);
}

/*
 * A FIN that finds the other end held up in a recv is half_close_busy's matter.  On one slow CPU
 * the other end may be preempted there: a pause lets it read on, and sleep.
 */
static void half_close_late(struct end *e, int client)
{
	round_trips(e, client, 10);
	half_close(e, client, opt.size ?: 3000);
}

/*
 * Half-close while the other end's thread has its socket's lock most of the time: the
 * acknowledgment of the FIN comes when the client waits in its recv.
 */
static void half_close_busy(struct end *e, int client)
{
	char byte;

	round_trips(e, client, 3);
	if (client) {
		finish_sending(e);
		get(e, 100);
		get_end(e);
	} else {
		while (recv(e->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT))
			;
		usleep(10000);
		put(e, 100);
		finish_sending(e);
	}
}

static void spin(uint64_t ns)
{
	struct timespec begin, now;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - begin.tv_sec) * 1000000000ULL + now.tv_nsec - begin.tv_nsec < ns);
}

/* Both ends of one run, on two CPUs, at the same moment. */
static void meet(int client)
{
	cpu_set_t cpu;

	if (!met)
		die(2, "this scenario wants both ends in one run, not serve and call");
	CPU_ZERO(&cpu);
	CPU_SET(client, &cpu);
	sched_setaffinity(0, sizeof(cpu), &cpu); /* fails where there is but one */
	++*met;
	while (*met < 2)
		sched_yield();
}

/*
 * The client half-closes, after up to --size bytes (default 1000), at the moment at which the
 * server sends: for the first time, or, with an odd seed, for the second.  For --nonblock,
 * since a blocking recv after a half-close with unread bytes is a row of docs/limits.md.
 */
static void half_close_crossed(struct end *e, int client)
{
	struct random plan = {.state = opt.seed}, own = {.state = opt.seed * 17 + client};
	size_t ask = draw_size(&plan, opt.size ?: 1000), answer = draw_size(&plan, 1000);

	round_trips(e, client, opt.seed % 2);
	meet(client);
	if (client) {
		put(e, ask);
		spin(draw(&own, 2000));
		finish_sending(e);
		get(e, answer);
		get_end(e);
	} else {
		spin(4000 + draw(&own, 4000));
		put(e, answer);
		get(e, ask);
		get_end(e);
		finish_sending(e);
	}
}

/* The client resets the connection: what it had sent can be read, then ECONNRESET. */
static void reset(struct end *e, int client)
{
	char byte;

	if (client) {
		put(e, 100);
		get(e, 100);
		put(e, 5000);
		get(e, 1); /* the server knows that the 5000 have come */
		abort_on_close(e->fd);
		return; /* closes */
	}
	get(e, 100);
	put(e, 100);
	while (recv(e->fd, &byte, 1, MSG_PEEK) != 1)
		;
	put(e, 1);
	wait_for(e->fd, POLLHUP);
	get(e, 5000);
	if (recv(e->fd, &byte, 1, 0) != -1 || errno != ECONNRESET)
		die(1, "no ECONNRESET after a reset");
}

/*
 * One end, the client with an odd seed, sends as much as can wait unread, and resets the connection
 * while the other end reads: that one learns of it.
 */
static void reset_amid_read(struct end *e, int client)
{
	static unsigned char buf[4 * MIB];
	struct random own = {.state = opt.seed * 17 + client};
	struct timeval patience = {.tv_sec = 5};
	time_t end;
	ssize_t n;

	round_trips(e, client, 10);
	if (client == (int)(opt.seed % 2)) {
		for (size_t sent = 0; sent < 3500000; sent += 64 * KIB)
			if (send(e->fd, buf, 64 * KIB, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
				break;
		meet(client);
		spin(draw(&own, 500000));
		abort_on_close(e->fd);
		return; /* closes */
	}
	if (setsockopt(e->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)))
		fail("SO_RCVTIMEO");
	meet(client);
	/* A recv that the reset wakes may return EAGAIN at once (docs/limits.md). */
	end = time(NULL) + patience.tv_sec;
	do
		n = recv(e->fd, buf, sizeof(buf), 0);
	while (n > 0 || (n < 0 && errno == EAGAIN && time(NULL) < end));
	if (n == 0 || errno != ECONNRESET)
		fail("no ECONNRESET after a reset: recv");
}

/*
 * The client sends batches of random messages; each is answered with one byte
 * when the server, whose reading differs, has all of it.
 */
static void send_batches(struct end *e)
{
	struct random r = {.state = opt.seed};

	for (int i = 0; i < opt.count; i++) {
		int messages = 1 + draw(&r, 20);
		size_t most = opt.size ?: 32 * KIB;

		while (messages--) {
			put(e, draw_size(&r, most));
			if (!draw(&r, 8))
				usleep(draw(&r, 3000));
		}
		put(e, 1);
		get(e, 1);
	}
	finish_sending(e);
	get_end(e);
}

/* The size of batch `i` cannot be told from the bytes: draw it again. */
static size_t batch_size(struct random *r)
{
	int messages = 1 + draw(r, 20);
	size_t total = 1, most = opt.size ?: 32 * KIB;

	while (messages--) {
		total += draw_size(r, most);
		if (!draw(r, 8))
			draw(r, 3000);
	}
	return total;
}

/* An edge-triggered reader that takes a short read for "all read", once it is accepted. */
static void edge(struct end *e, int client)
{
	static unsigned char buf[16 * KIB];
	struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET};
	struct random r = {.state = opt.seed}, own = {.state = opt.seed * 13};
	int ep, batch = 0, ended = 0;
	size_t want;

	/* Before it is accepted, and before 6.1, is a row of docs/limits.md. */
	if (client) {
		get(e, 1);
		send_batches(e);
		return;
	}
	put(e, 1);
	ep = epoll_create1(0);
	fcntl(e->fd, F_SETFL, O_NONBLOCK);
	if (epoll_ctl(ep, EPOLL_CTL_ADD, e->fd, &ev))
		fail("epoll_ctl");
	want = batch_size(&r);
	while (!ended) {
		ssize_t n;

		if (epoll_wait(ep, &ev, 1, -1) < 0)
			fail("epoll_wait");
		do {
			n = recv(e->fd, buf, sizeof(buf), 0);
			if (n < 0 && errno != EAGAIN)
				fail("recv");
			if (n <= 0)
				break;
			check(&e->in, buf, n);
			if ((size_t)n > want)
				die(1, "%zu bytes more than sent", n - want);
			want -= n;
			if (opt.slow && !draw(&own, 8))
				usleep(1000);
		} while (n == sizeof(buf));
		progress();
		ended = n == 0;
		if (!want && batch < opt.count) {
			put(e, 1);
			if (++batch < opt.count)
				want = batch_size(&r);
		}
	}
	if (batch != opt.count)
		die(1, "%d of %d batches", batch, opt.count);
}

/* A reader that reads as much as FIONREAD says there is. */
static void fionread(struct end *e, int client)
{
	struct random r = {.state = opt.seed};
	int batch = 0;
	size_t want;

	if (client) {
		send_batches(e);
		return;
	}
	want = batch_size(&r);
	for (;;) {
		int ready;
		char byte;

		wait_for(e->fd, POLLIN);
		if (ioctl(e->fd, FIONREAD, &ready))
			fail("FIONREAD");
		if (!ready) {
			if (recv(e->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
				break;
			continue;
		}
		want -= get_some(e, ready);
		if (!want && batch < opt.count) {
			put(e, 1);
			if (++batch < opt.count)
				want = batch_size(&r);
		}
	}
	if (batch != opt.count)
		die(1, "%d of %d batches", batch, opt.count);
}

#define WRITERS 4
#define RECORD	512

struct writer {
	pthread_t thread;
	struct end *e;
	uint32_t id;
};

static void *write_records(void *arg)
{
	struct writer *w = arg;
	unsigned char record[RECORD];

	for (uint32_t i = 0; i < (uint32_t)opt.count; i++) {
		struct stream s = {.seed = (uint64_t)w->id << 32 | i};

		memcpy(record, &w->id, 4);
		memcpy(record + 4, &i, 4);
		fill(&s, record + 8, RECORD - 8);
		if (send(w->e->fd, record, RECORD, MSG_NOSIGNAL) != RECORD)
			fail("send of a record");
		progress();
	}
	return NULL;
}

/* Four threads send records without a lock; none is lost, each thread's in order. */
static void writers(struct end *e, int client)
{
	struct writer w[WRITERS];
	uint32_t next[WRITERS] = {0}, id, number, disorder = 0;
	unsigned char record[RECORD];

	if (client) {
		for (uint32_t i = 0; i < WRITERS; i++) {
			w[i].e = e;
			w[i].id = i;
			if (pthread_create(&w[i].thread, NULL, write_records, &w[i]))
				fail("pthread_create");
		}
		for (int i = 0; i < WRITERS; i++)
			pthread_join(w[i].thread, NULL);
		finish_sending(e);
		get_end(e);
		return;
	}
	if (opt.slow)
		usleep(200000); /* the threads send more than is left unread on the bypass */
	for (int i = 0; i < WRITERS * opt.count; i++) {
		size_t got = 0;
		struct stream s;

		while (got < RECORD) {
			ssize_t n = recv(e->fd, record + got, RECORD - got, 0);

			if (n < 0)
				fail("recv");
			if (!n)
				die(1, "%d of %d records, %u out of order", i, WRITERS * opt.count,
				    disorder);
			got += n;
		}
		progress();
		memcpy(&id, record, 4);
		memcpy(&number, record + 4, 4);
		if (id >= WRITERS)
			die(1, "no such thread: %u", id);
		disorder += number != next[id];
		next[id] = number + 1;
		s = (struct stream){.seed = (uint64_t)id << 32 | number};
		check(&s, record + 8, RECORD - 8);
	}
	if (disorder)
		die(1, "%u records out of order", disorder);
	get_end(e);
}

/* --count messages of --size bytes (default 1), of which none is read before all are sent. */
static void unread(struct end *e, int client)
{
	size_t size = opt.size ?: 1;

	if (client) {
		for (int i = 0; i < opt.count; i++)
			put(e, size);
		meet(client);
		finish_sending(e);
		get_end(e);
		return;
	}
	meet(client);
	get(e, size * opt.count);
	get_end(e);
	finish_sending(e);
}

/*
 * --size bytes from the client (default none) and --count round trips of one
 * byte; then one more for each line on the client's stdin, until that ends.
 */
static void hold(struct end *e, int client)
{
	if (client && opt.size)
		for (size_t left = opt.size, n; left; left -= n) {
			n = left < MIB ? left : MIB;
			put(e, n);
		}
	else if (opt.size)
		get(e, opt.size);
	for (int i = 0; i < opt.count; i++) {
		if (client) {
			put(e, 1);
			get(e, 1);
		} else {
			get(e, 1);
			put(e, 1);
		}
	}
	alarm(0);
	if (!client) {
		while (get_some(e, 1)) {
			put(e, 1);
			alarm(0);
		}
		finish_sending(e);
		return;
	}
	printf("held\n");
	fflush(stdout);
	while (getchar() != EOF) {
		put(e, 1);
		get(e, 1);
		alarm(0);
		printf("again\n");
		fflush(stdout);
	}
	finish_sending(e);
	get_end(e);
}

static const struct scenario {
	const char *name;
	void (*play)(struct end *e, int client);
} scenarios[] = {
	{"talk", talk},
	{"crossed", crossed},
	{"answers", answers},
	{"three", three},
	{"turns", turns},
	{"duplex", duplex},
	{"stopped", stopped},
	{"upload", upload},
	{"upload-waiting", upload_waiting},
	{"split", split},
	{"bulk", bulk},
	{"end-of-stream", end_of_stream},
	{"half-close-early", half_close_early},
	{"half-close-late", half_close_late},
	{"half-close-busy", half_close_busy},
	{"half-close-crossed", half_close_crossed},
	{"reset", reset},
	{"reset-amid-read", reset_amid_read},
	{"edge", edge},
	{"fionread", fionread},
	{"writers", writers},
	{"unread", unread},
	{"hold", hold},
};

/* ---- the connection -------------------------------------------------- */

static socklen_t address(const char *text, int port, struct sockaddr_storage *to)
{
	struct sockaddr_in *v4 = (void *)to;
	struct sockaddr_in6 *v6 = (void *)to;

	memset(to, 0, sizeof(*to));
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		return sizeof(*v4);
	}
	if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		return sizeof(*v6);
	}
	die(2, "no address: %s", text);
	return 0;
}

static void set_number(int fd, int level, int option, int number, const char *name)
{
	if (number && setsockopt(fd, level, option, &number, sizeof(number)))
		fail(name);
}

static int new_socket(int family, int mptcp)
{
	int fd = socket(family, SOCK_STREAM, mptcp ? IPPROTO_MPTCP : 0), one = 1;

	if (fd < 0)
		fail("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	set_number(fd, SOL_SOCKET, SO_SNDBUF, opt.sndbuf, "SO_SNDBUF");
	set_number(fd, SOL_SOCKET, SO_RCVBUF, opt.rcvbuf, "SO_RCVBUF");
	return fd;
}

/* The server's, on its listener; with --late on the connection. */
static void set_keepalive(int fd)
{
	set_number(fd, SOL_SOCKET, SO_KEEPALIVE, opt.keepalive, "SO_KEEPALIVE");
	set_number(fd, IPPROTO_TCP, TCP_KEEPIDLE, opt.idle, "TCP_KEEPIDLE");
	set_number(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, opt.user_timeout, "TCP_USER_TIMEOUT");
}

static void show_keepalive(int fd)
{
	int on, idle;
	socklen_t len = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, &len) ||
	    getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, &len))
		fail("getsockopt");
	printf("keepalive %s, idle time %d s\n", on ? "on" : "off", idle);
	fflush(stdout);
}

static int start_listening(void)
{
	struct sockaddr_storage addr;
	socklen_t len = address(opt.listen, opt.port, &addr);
	int fd = new_socket(addr.ss_family, opt.mptcp || opt.mptcp_server), off = 0, seconds = 5,
	    queue = 16;

	if (addr.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, (void *)&addr, len))
		fail("bind");
	if (opt.defer && setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds)))
		fail("TCP_DEFER_ACCEPT");
	if (opt.fastopen && setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN, &queue, sizeof(queue)))
		fail("TCP_FASTOPEN");
	if (!opt.late)
		set_keepalive(fd);
	if (listen(fd, 16))
		fail("listen");
	len = sizeof(addr);
	if (getsockname(fd, (void *)&addr, &len))
		fail("getsockname");
	opt.port = ntohs(((struct sockaddr_in *)&addr)->sin_port);
	return fd;
}

static int call(void)
{
	struct sockaddr_storage addr, own;
	socklen_t len = address(opt.connect ?: opt.listen, opt.port, &addr);
	int fd = new_socket(addr.ss_family, opt.mptcp || opt.mptcp_client), one = 1;

	if (opt.client || opt.client_port) {
		socklen_t own_len = address(opt.client ?: opt.listen, opt.client_port, &own);

		if (bind(fd, (void *)&own, own_len))
			fail("bind");
	}
	if (opt.fastopen && setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &one, sizeof(one)))
		fail("TCP_FASTOPEN_CONNECT");
	if (connect(fd, (void *)&addr, len))
		fail("connect");
	/*
	 * Where softirqs take long, as on an emulated CPU, older kernels may leave the handshake's
	 * last packet to ksoftirqd (ksoftirqd_running).  A client that sends at once is then
	 * earlier than its server, and stays on TCP.
	 */
	if (getenv("SLOWNESS"))
		usleep(20000);
	return fd;
}

/* The end that --kill is about. */
static int victim(void)
{
	return mix(opt.seed) & 1;
}

/* At a random moment within 30 ms. */
static void die_by_sigkill(void)
{
	struct random r = {.state = opt.seed * 31};
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
	struct itimerspec when = {.it_value.tv_nsec = 1 + draw(&r, 30000000)};
	timer_t timer;

	if (timer_create(CLOCK_MONOTONIC, &ev, &timer) || timer_settime(timer, 0, &when, NULL))
		fail("timer");
}

static void run(const struct scenario *s, int fd, int client)
{
	struct stream up = {.seed = opt.seed * 2}, down = {.seed = opt.seed * 2 + 1};
	struct end e = {.fd = fd};
	int one = 1;

	e.out = client ? up : down;
	e.in = client ? down : up;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (opt.nonblock)
		fcntl(fd, F_SETFL, O_NONBLOCK);
	if (opt.kill && client == victim())
		die_by_sigkill();
	if (opt.until)
		keep_busy(&e, client);
	s->play(&e, client);
	if (opt.show && !client)
		show_keepalive(fd);
	if (opt.abort)
		abort_on_close(fd);
	close(fd);
}

static void serve(const struct scenario *s, int listener)
{
	int fd = accept(listener, NULL, NULL);

	role = "server";
	progress();
	if (fd < 0)
		fail("accept");
	close(listener);
	if (opt.late)
		set_keepalive(fd);
	run(s, fd, 0);
}

/* Both ends in children, one of which dies: the other one's exit status. */
static int run_killing(const struct scenario *s, int listener)
{
	int status[2], other;
	pid_t pid[2];

	for (int client = 0; client < 2; client++) {
		pid[client] = fork();
		if (pid[client])
			continue;
		if (client) {
			close(listener);
			role = "client";
			run(s, call(), 1);
		} else {
			serve(s, listener);
		}
		exit(0);
	}
	close(listener);
	for (int client = 0; client < 2; client++)
		if (waitpid(pid[client], &status[client], 0) != pid[client])
			fail("waitpid");
	other = status[!victim()];
	return WIFEXITED(other) ? WEXITSTATUS(other) : 2;
}

/* What opt says, and behind the options the scenario. */
static const struct scenario *parse(int argc, char **argv)
{
	static const struct option options[] = {{"listen", 1, 0, 'l'},
						{"connect", 1, 0, 'c'},
						{"port", 1, 0, 'p'},
						{"client", 1, 0, 'a'},
						{"client-port", 1, 0, 'q'},
						{"sndbuf", 1, 0, 'b'},
						{"rcvbuf", 1, 0, 'r'},
						{"abort", 0, &opt.abort, 1},
						{"seed", 1, 0, 's'},
						{"count", 1, 0, 'n'},
						{"size", 1, 0, 'z'},
						{"timeout", 1, 0, 't'},
						{"defer", 0, &opt.defer, 1},
						{"fastopen", 0, &opt.fastopen, 1},
						{"mptcp", 0, &opt.mptcp, 1},
						{"mptcp-server", 0, &opt.mptcp_server, 1},
						{"mptcp-client", 0, &opt.mptcp_client, 1},
						{"nonblock", 0, &opt.nonblock, 1},
						{"slow", 0, &opt.slow, 1},
						{"kill", 0, &opt.kill, 1},
						{"keepalive", 0, &opt.keepalive, 1},
						{"idle", 1, 0, 'i'},
						{"user-timeout", 1, 0, 'u'},
						{"late", 0, &opt.late, 1},
						{"show", 0, &opt.show, 1},
						{"until", 1, 0, 'w'},
						{0}};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'l':
			opt.listen = optarg;
			break;
		case 'c':
			opt.connect = optarg;
			break;
		case 'p':
			opt.port = atoi(optarg);
			break;
		case 'a':
			opt.client = optarg;
			break;
		case 'b':
			opt.sndbuf = atoi(optarg);
			break;
		case 'r':
			opt.rcvbuf = atoi(optarg);
			break;
		case 'q':
			opt.client_port = atoi(optarg);
			break;
		case 's':
			opt.seed = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			opt.count = atoi(optarg);
			break;
		case 'z':
			opt.size = strtoull(optarg, NULL, 0);
			break;
		case 'i':
			opt.idle = atoi(optarg);
			break;
		case 'u':
			opt.user_timeout = atoi(optarg);
			break;
		case 'w':
			opt.until = optarg;
			break;
		case 't':
			opt.timeout = atoi(optarg);
			break;
		case 0:
			break;
		default:
			exit(2);
		}
	}
	for (size_t i = 0; optind < argc && i < sizeof(scenarios) / sizeof(*scenarios); i++)
		if (!strcmp(argv[optind], scenarios[i].name))
			return &scenarios[i];
	die(2, "no such scenario: %s", optind < argc ? argv[optind] : "(none)");
}

int main(int argc, char **argv)
{
	const struct scenario *s = parse(argc, argv);
	int listener, status;
	pid_t server;

	signal(SIGALRM, on_alarm);
	progress();
	if (argv[optind + 1] && !strcmp(argv[optind + 1], "serve")) {
		listener = start_listening();
		printf("%d\n", opt.port);
		fflush(stdout);
		alarm(0);
		serve(s, listener);
		return 0;
	}
	if (argv[optind + 1] && !strcmp(argv[optind + 1], "call")) {
		role = "client";
		run(s, call(), 1);
		return 0;
	}

	met = mmap(NULL, sizeof(*met), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (met == MAP_FAILED)
		fail("mmap");
	listener = start_listening();
	if (opt.kill)
		return run_killing(s, listener);
	server = fork();
	if (!server) {
		serve(s, listener);
		exit(0);
	}
	close(listener);
	role = "client";
	run(s, call(), 1);
	if (waitpid(server, &status, 0) != server)
		fail("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}
