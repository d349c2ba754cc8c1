// SPDX-License-Identifier: GPL-2.0
/*
 * What a program sees of its TCP sockets, written down line by line.
 *
 *   semantics CASE      play one case, print its transcript
 *   semantics --list    NAME PATH DESCRIPTION of each case, one a line
 *
 * A transcript holds results, error names, readiness, bytes and their order; no
 * times, no ports, no amounts that depend on buffer sizes.  It is thus the same
 * in each run, and semantics.bats compares those of plain TCP with those under
 * the pair.  PATH says where the case's bytes must go when the pair is loaded:
 * `bypass`, at least one message redirected; `stack`, none; `either`.
 *
 * Both ends are in this process (or its children).  Nothing waits for ever: a
 * case that hangs says so in its transcript.  Exit status 0: played to its end;
 * 2: something failed that is not under test; 3: it hung; 77: skipped, the
 * transcript says why.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/net_tstamp.h>
#include <linux/sockios.h>
#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
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
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/tcp.h>

#define KIB 1024UL
#define MIB (1024 * KIB)

#define CASE_SECONDS 15
#define SETTLE_MS    25	  /* what is on its way has arrived */
#define ARRIVE_MS    3000 /* what must come, comes within */
#define FOREVER_MS   150  /* what has not returned by then waits */

#ifndef SO_ZEROCOPY
#define SO_ZEROCOPY 60
#endif
#ifndef MSG_ZEROCOPY
#define MSG_ZEROCOPY 0x4000000
#endif

/* ---- the transcript ---- */

static void tell(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

static void die(const char *what)
{
	fprintf(stderr, "semantics: %s: %s\n", what, strerror(errno));
	fflush(stdout);
	_exit(2);
}

static void skip(const char *why)
{
	tell("skipped: %s", why);
	fflush(stdout);
	_exit(77);
}

static void on_alarm(int sig)
{
	static const char msg[] = "hangs\n";

	(void)sig;
	_exit(write(STDOUT_FILENO, msg, sizeof(msg) - 1) < 0 ? 2 : 3);
}

/* A result, or the name of the error.  Several fit into one tell(). */
static const char *res(long r)
{
	static _Thread_local char text[8][32];
	static _Thread_local int at;

	if (r < 0)
		return strerrorname_np(errno);
	at = (at + 1) % 8;
	snprintf(text[at], sizeof(text[at]), "%ld", r);
	return text[at];
}

static char names[1024][24];

static int named(int fd, const char *name)
{
	if (fd < 0)
		die(name);
	snprintf(names[fd], sizeof(names[fd]), "%s", name);
	return fd;
}

static const char *flag_names(int flags)
{
	static const struct {
		int flag;
		const char *name;
	} known[] = {
		{MSG_PEEK, "PEEK"},	    {MSG_DONTWAIT, "DONTWAIT"}, {MSG_TRUNC, "TRUNC"},
		{MSG_WAITALL, "WAITALL"},   {MSG_OOB, "OOB"},		{MSG_MORE, "MORE"},
		{MSG_ERRQUEUE, "ERRQUEUE"}, {MSG_EOR, "EOR"},		{MSG_NOSIGNAL, "NOSIGNAL"},
		{MSG_ZEROCOPY, "ZEROCOPY"}, {MSG_CTRUNC, "CTRUNC"},
	};
	static char text[128];

	text[0] = 0;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (flags & known[i].flag) {
			strcat(text, " ");
			strcat(text, known[i].name);
		}
	}
	return text;
}

static const char *poll_names(unsigned int events)
{
	static const struct {
		unsigned int event;
		const char *name;
	} known[] = {
		{POLLIN, " in"},   {POLLPRI, " pri"}, {POLLOUT, " out"},
		{POLLERR, " err"}, {POLLHUP, " hup"}, {POLLRDHUP, " rdhup"},
	};
	static char text[4][64];
	static int at;

	at = (at + 1) % 4;
	text[at][0] = 0;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (events & known[i].event)
			strcat(text[at], known[i].name);
	return text[at][0] ? text[at] : " nothing";
}

/* ---- time ---- */

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void sleep_ms(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};

	while (nanosleep(&t, &t) && errno == EINTR)
		;
}

static void settle(void)
{
	sleep_ms(SETTLE_MS);
}

/* Wait for one of these events (or an error), and no longer than that. */
static int await(int fd, int events, int ms)
{
	struct pollfd p = {.fd = fd, .events = events};
	long end = now_ms() + ms;
	int n;

	do {
		n = poll(&p, 1, ms);
		ms = end - now_ms();
	} while (n < 0 && errno == EINTR && ms > 0);
	return n > 0 ? p.revents : 0;
}

/* ---- connections ---- */

struct conn {
	int client, server;
};

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static socklen_t loopback(union address *a, int family)
{
	memset(a, 0, sizeof(*a));
	a->any.sa_family = family;
	if (family == AF_INET6) {
		a->in6.sin6_addr = in6addr_loopback;
		return sizeof(a->in6);
	}
	a->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return sizeof(a->in);
}

static void set(int fd, int level, int option, int value)
{
	if (setsockopt(fd, level, option, &value, sizeof(value)))
		tell("%s setsockopt -> %s", names[fd], res(-1));
}

static int get_option(int fd, int level, int option)
{
	int value = 0;
	socklen_t len = sizeof(value);

	if (getsockopt(fd, level, option, &value, &len))
		die("getsockopt");
	return value;
}

static void nonblock(int fd, int on)
{
	int flags = fcntl(fd, F_GETFL);

	fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

/* Bound to a free port of the loopback address, which is left in *a. */
static int bound(union address *a, int family)
{
	socklen_t len = loopback(a, family);
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, &a->any, len) || getsockname(fd, &a->any, &len))
		die("bind");
	return named(fd, "socket");
}

static int listener(union address *a, int family)
{
	int fd = bound(a, family);

	if (listen(fd, 64))
		die("listen");
	set(fd, IPPROTO_TCP, TCP_NODELAY, 1); /* accepted sockets inherit it */
	return named(fd, "listener");
}

static int call(const union address *a)
{
	int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = a->any.sa_family == AF_INET6 ? sizeof(a->in6) : sizeof(a->in);

	if (fd < 0 || connect(fd, &a->any, len))
		die("connect");
	set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	return named(fd, "client");
}

static struct conn dial_family(int family)
{
	union address a;
	int l = listener(&a, family);
	struct conn c = {.client = call(&a)};

	c.server = named(accept(l, NULL, NULL), "server");
	close(l);
	return c;
}

/* Small sends do not wait for acknowledgments: each has arrived once it settled. */
static struct conn dial(void)
{
	return dial_family(AF_INET);
}

/* As sockets are by default. */
static struct conn dial_nagle(void)
{
	struct conn c = dial();

	set(c.client, IPPROTO_TCP, TCP_NODELAY, 0);
	set(c.server, IPPROTO_TCP, TCP_NODELAY, 0);
	return c;
}

static void hang_up(struct conn c)
{
	close(c.client);
	close(c.server);
}

/* ---- sending, receiving, looking ---- */

static void tell_sent(int fd, const char *text, int flags, long r)
{
	tell("%s send%s \"%s\" -> %s", names[fd], flag_names(flags & ~MSG_NOSIGNAL), text, res(r));
}

static void put(int fd, const char *text, int flags)
{
	tell_sent(fd, text, flags, send(fd, text, strlen(text), flags | MSG_NOSIGNAL));
}

static int is_text(const char *buf, long len)
{
	for (long i = 0; i < len; i++)
		if (buf[i] < ' ' || buf[i] > '~')
			return 0;
	return len > 0;
}

static void tell_got(int fd, size_t want, int flags, long r, const char *buf)
{
	if (r > 0 && r <= 80 && is_text(buf, r))
		tell("%s recv%s %zu -> %ld \"%.*s\"", names[fd], flag_names(flags), want, r, (int)r,
		     buf);
	else
		tell("%s recv%s %zu -> %s", names[fd], flag_names(flags), want, res(r));
}

/* Receive; a blocking call is made only when there is something to receive. */
static long get(int fd, size_t want, int flags)
{
	char buf[4096];
	long r;

	if (want > sizeof(buf))
		want = sizeof(buf);
	memset(buf, '.', sizeof(buf));
	if (!(flags & MSG_DONTWAIT) && !await(fd, flags & MSG_OOB ? POLLPRI : POLLIN, ARRIVE_MS)) {
		tell("%s recv%s %zu: nothing comes", names[fd], flag_names(flags), want);
		return -1;
	}
	r = recv(fd, buf, want, flags);
	tell_got(fd, want, flags, r, buf);
	return r;
}

static void no_more(int fd)
{
	settle();
	get(fd, 100, MSG_DONTWAIT);
}

static void error_of(int fd)
{
	int err = get_option(fd, SOL_SOCKET, SO_ERROR);

	tell("%s SO_ERROR %s", names[fd], err ? strerrorname_np(err) : "0");
}

static void end(int fd, int how)
{
	static const char *const hows[] = {"RD", "WR", "RDWR"};

	tell("%s shutdown %s -> %s", names[fd], hows[how], res(shutdown(fd, how)));
	settle();
}

static void shut(int fd)
{
	tell("%s close -> %s", names[fd], res(close(fd)));
	settle();
}

static void reset(int fd)
{
	struct linger l = {.l_onoff = 1};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	tell("%s close with linger 0 -> %s", names[fd], res(close(fd)));
	settle();
}

static void select_names(int fd, char *text)
{
	struct timeval none = {0, 0};
	fd_set r, w, x;

	FD_ZERO(&r);
	FD_SET(fd, &r);
	w = x = r;
	if (select(fd + 1, &r, &w, &x, &none) < 0)
		die("select");
	strcpy(text, FD_ISSET(fd, &r) ? "r" : "-");
	strcat(text, FD_ISSET(fd, &w) ? "w" : "-");
	strcat(text, FD_ISSET(fd, &x) ? "x" : "-");
}

static unsigned int epoll_once(int fd)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP}, got = {0};
	int ep = epoll_create1(EPOLL_CLOEXEC);

	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e))
		die("epoll");
	if (epoll_wait(ep, &got, 1, 0) < 0)
		die("epoll_wait");
	close(ep);
	return got.events;
}

/* What poll, epoll and select say of a socket. */
static void ready(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLPRI | POLLRDHUP};
	char sel[4];

	settle();
	poll(&p, 1, 0);
	select_names(fd, sel);
	tell("%s ready: poll%s; epoll%s; select %s", names[fd], poll_names(p.revents),
	     poll_names(epoll_once(fd)), sel);
}

static long unread(int fd)
{
	int n = -1;

	return ioctl(fd, FIONREAD, &n) ? -1 : n;
}

/* A first message, so that what follows is not the first one. */
static void greet(struct conn c)
{
	put(c.client, "greeting", 0);
	get(c.server, 100, 0);
}

/* ---- streams of bytes that both ends can compute ---- */

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

static unsigned char byte_at(uint64_t seed, size_t offset)
{
	return mix(seed << 40 ^ offset / 8) >> (offset % 8 * 8);
}

struct stream {
	uint64_t seed;
	size_t offset;
	long wrong; /* the first wrong byte, plus one */
};

static void fill(struct stream *s, unsigned char *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = byte_at(s->seed, s->offset++);
}

static void check(struct stream *s, const unsigned char *buf, size_t len)
{
	for (size_t i = 0; i < len; i++, s->offset++)
		if (buf[i] != byte_at(s->seed, s->offset) && !s->wrong)
			s->wrong = s->offset + 1;
}

static const char *order(const struct stream *s)
{
	return s->wrong ? "WRONG BYTES" : "in order";
}

/* Read until `want` bytes, the end, an error, or a while of nothing. */
static size_t drain(int fd, struct stream *s, size_t want)
{
	static unsigned char buf[256 * KIB];
	size_t got = 0;

	while (got < want) {
		size_t most = want - got < sizeof(buf) ? want - got : sizeof(buf);
		long r;

		if (!await(fd, POLLIN, ARRIVE_MS))
			break;
		r = recv(fd, buf, most, MSG_DONTWAIT);
		if (r == 0 || (r < 0 && errno != EAGAIN))
			break;
		if (r > 0) {
			check(s, buf, r);
			got += r;
		}
	}
	return got;
}

/* Send until there is no room, or there never comes an end of room. */
static size_t stuff(int fd, struct stream *s, size_t piece)
{
	static unsigned char buf[64 * KIB];
	size_t sent = 0;
	long r = 0;

	while (sent < 64 * MIB) {
		struct stream ahead = *s;

		fill(&ahead, buf, piece);
		r = send(fd, buf, piece, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (r < 0)
			break;
		s->offset += r;
		sent += r;
	}
	if (r < 0)
		tell("%s send, repeated -> eventually %s", names[fd], res(r));
	else
		tell("%s send, repeated -> never refused", names[fd]);
	return sent;
}

/* A MiB each way in pieces that are read at once: more than small talk. */
static void exchange_bulk(struct conn c)
{
	static unsigned char buf[4096];
	struct stream out = {.seed = 9}, in = {.seed = 9};
	size_t got = 0;

	for (int turn = 0; turn < 2; turn++) {
		for (int i = 0; i < 256; i++) {
			fill(&out, buf, sizeof(buf));
			if (send(turn ? c.server : c.client, buf, sizeof(buf), 0) != sizeof(buf))
				tell("a short send");
			got += drain(turn ? c.client : c.server, &in, sizeof(buf));
		}
	}
	settle();
	tell("bulk both ways: %zu, %s", got, order(&in));
}

/* ---- calls that block, in a thread of their own ---- */

struct task {
	pthread_t thread;
	int fd, flags;
	const char *what;
	size_t want;
	atomic_int tid, done;
	long (*run)(struct task *);
	long result;
	int err;
	long took;
	char buf[4096];
	unsigned char *data; /* in place of buf */
};

static long task_recv(struct task *t)
{
	return recv(t->fd, t->buf, t->want, t->flags);
}

static long task_read(struct task *t)
{
	return read(t->fd, t->buf, t->want);
}

static long task_recv_into(struct task *t)
{
	return recv(t->fd, t->data, t->want, t->flags);
}

static long task_send(struct task *t)
{
	return send(t->fd, t->data, t->want, t->flags | MSG_NOSIGNAL);
}

static long task_poll(struct task *t)
{
	struct pollfd p = {.fd = t->fd, .events = POLLIN | POLLRDHUP};
	int n = poll(&p, 1, ARRIVE_MS);

	return n > 0 ? p.revents : n;
}

static long task_select(struct task *t)
{
	struct timeval limit = {ARRIVE_MS / 1000, 0};
	fd_set r;

	FD_ZERO(&r);
	FD_SET(t->fd, &r);
	return select(t->fd + 1, &r, NULL, NULL, &limit);
}

static long task_epoll(struct task *t)
{
	struct epoll_event e = {.events = EPOLLIN | t->flags}, got = {0};
	int ep = epoll_create1(EPOLL_CLOEXEC), n;

	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, t->fd, &e))
		die("epoll_ctl");
	n = epoll_wait(ep, &got, 1, ARRIVE_MS);
	close(ep);
	return n > 0 ? (long)got.events : n;
}

static void *task_main(void *arg)
{
	struct task *t = arg;
	long start = now_ms();

	t->tid = syscall(SYS_gettid);
	t->result = t->run(t);
	t->err = errno;
	t->took = now_ms() - start;
	t->done = 1;
	return NULL;
}

/* A thread, or a process. */
static int is_asleep(int tid)
{
	char path[64], line[256] = "", *state;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (!fgets(line, sizeof(line), f))
		line[0] = 0;
	fclose(f);
	state = strrchr(line, ')');
	return state && state[1] && state[2] == 'S';
}

/* Start it, and wait until it sleeps in its call or is through. */
static void begin(struct task *t, const char *what, long (*run)(struct task *))
{
	long limit = now_ms() + ARRIVE_MS;

	t->what = what;
	t->run = run;
	t->tid = t->done = 0;
	if (pthread_create(&t->thread, NULL, task_main, t))
		die("pthread_create");
	while (!t->done && now_ms() < limit) {
		sleep_ms(2);
		if (t->tid && is_asleep(t->tid)) {
			sleep_ms(2);
			if (is_asleep(t->tid))
				break;
		}
	}
}

static int returned(struct task *t, long ms)
{
	long limit = now_ms() + ms;

	while (!t->done && now_ms() < limit)
		sleep_ms(2);
	if (!t->done)
		return 0;
	pthread_join(t->thread, NULL);
	return 1;
}

static void tell_task(struct task *t)
{
	errno = t->err;
	if (t->run == task_recv || t->run == task_read)
		tell_got(t->fd, t->want, t->flags, t->result, t->buf);
	else if (t->run == task_poll || t->run == task_epoll)
		tell("%s %s -> %s", names[t->fd], t->what,
		     t->result > 0 ? poll_names(t->result) + 1 : res(t->result));
	else
		tell("%s %s -> %s", names[t->fd], t->what, res(t->result));
}

/* Has it returned?  If it waits, it will be asked again. */
static int still_waits(struct task *t)
{
	if (!returned(t, FOREVER_MS)) {
		tell("%s %s: waits", names[t->fd], t->what);
		return 1;
	}
	tell_task(t);
	return 0;
}

static void must_return(struct task *t)
{
	if (!returned(t, ARRIVE_MS))
		tell("%s %s: never returns", names[t->fd], t->what);
	else
		tell_task(t);
}

static void wait_child(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || status)
		tell("the child failed");
}

/* ---- cases: plain sending and receiving ---- */

static void case_values(void)
{
	struct conn c = dial();

	put(c.client, "hello", 0);
	get(c.server, 100, 0);
	put(c.server, "a longer answer", 0);
	get(c.client, 8, 0);
	get(c.client, 4, 0);
	get(c.client, 100, 0);
	put(c.client, "one,", 0);
	put(c.client, "two,", 0);
	put(c.client, "three", 0);
	settle();
	get(c.server, 6, 0);
	get(c.server, 100, 0);
	no_more(c.server);
	no_more(c.client);
	hang_up(c);
}

static void talk_over(int family)
{
	struct conn c = dial_family(family);

	put(c.client, "hello", 0);
	get(c.server, 100, 0);
	put(c.server, "welcome", 0);
	get(c.client, 100, 0);
	shut(c.client);
	get(c.server, 100, 0);
	close(c.server);
}

static void case_ipv6(void)
{
	talk_over(AF_INET6);
}

/* A listener for both families, called over IPv4. */
static struct conn dial_mapped(void)
{
	union address a = {.in6 = {.sin6_family = AF_INET6}}, v4;
	socklen_t len = sizeof(a.in6);
	struct conn c;
	int l = socket(AF_INET6, SOCK_STREAM, 0);

	if (bind(l, &a.any, len) || listen(l, 5) || getsockname(l, &a.any, &len))
		die("listen");
	loopback(&v4, AF_INET);
	v4.in.sin_port = a.in6.sin6_port;
	c.client = call(&v4);
	c.server = named(accept(l, NULL, NULL), "server");
	close(l);
	return c;
}

static void case_mapped(void)
{
	struct conn c = dial_mapped();

	put(c.client, "hello", 0);
	get(c.server, 100, 0);
	put(c.server, "welcome", 0);
	get(c.client, 100, 0);
	hang_up(c);
}

/* The IPv6 socket of an IPv4 connection becomes one of IPv4. */
static void case_addrform(void)
{
	struct conn c = dial_mapped();

	greet(c);
	set(c.server, IPPROTO_IPV6, IPV6_ADDRFORM, AF_INET);
	tell("domain %s",
	     get_option(c.server, SOL_SOCKET, SO_DOMAIN) == AF_INET ? "AF_INET" : "AF_INET6");
	put(c.client, "hello", 0);
	get(c.server, 100, 0);
	hang_up(c);
}

static void case_keepalive_shown(void)
{
	struct conn c = dial();

	greet(c);
	tell("server SO_KEEPALIVE %d, TCP_KEEPIDLE %d",
	     get_option(c.server, SOL_SOCKET, SO_KEEPALIVE),
	     get_option(c.server, IPPROTO_TCP, TCP_KEEPIDLE));
	tell("client SO_KEEPALIVE %d, TCP_KEEPIDLE %d",
	     get_option(c.client, SOL_SOCKET, SO_KEEPALIVE),
	     get_option(c.client, IPPROTO_TCP, TCP_KEEPIDLE));
	hang_up(c);
}

/* How many connections were made with a SYN cookie here; -1 where there are none. */
static long syn_cookies(void)
{
	static char names_line[8192], values[8192];
	FILE *f = fopen("/proc/net/netstat", "re");
	char *name, *value, *at_name, *at_value;
	long count = -1;

	if (!f)
		die("/proc/net/netstat");
	while (count < 0 && fgets(names_line, sizeof(names_line), f) &&
	       fgets(values, sizeof(values), f)) {
		name = strtok_r(names_line, " \n", &at_name);
		value = strtok_r(values, " \n", &at_value);
		while (name && value && strcmp(name, "SyncookiesRecv")) {
			name = strtok_r(NULL, " \n", &at_name);
			value = strtok_r(NULL, " \n", &at_value);
		}
		if (name && value)
			count = atol(value);
	}
	fclose(f);
	return count;
}

/* Without a request socket the handshake cannot be recognised. */
static void case_syn_cookie(void)
{
	static const char path[] = "/proc/sys/net/ipv4/tcp_syncookies";
	char before[8] = "";
	struct conn c;
	long cookies = syn_cookies();
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0 || read(fd, before, sizeof(before)) < 1 || pwrite(fd, "2", 1, 0) != 1)
		skip("no way to ask for SYN cookies");
	c = dial();
	if (pwrite(fd, before, 1, 0) != 1)
		die(path);
	close(fd);
	tell("with SYN cookies: %ld", syn_cookies() - cookies);
	put(c.client, "hello", 0);
	get(c.server, 100, 0);
	put(c.server, "welcome", 0);
	get(c.client, 100, 0);
	hang_up(c);
}

static void case_read_write(void)
{
	struct conn c = dial();
	char buf[100];
	long r;

	tell("client write -> %s", res(write(c.client, "hello", 5)));
	await(c.server, POLLIN, ARRIVE_MS);
	r = read(c.server, buf, sizeof(buf));
	tell("server read -> %s \"%.*s\"", res(r), (int)r, buf);
	tell("server pread -> %s", res(pread(c.server, buf, 1, 0)));
	tell("server lseek -> %s", res(lseek(c.server, 0, SEEK_SET)));
	hang_up(c);
}

static void case_one_byte(void)
{
	struct conn c = dial_nagle();
	struct stream out = {.seed = 1}, in = {.seed = 1};
	unsigned char byte;
	int sent = 0;
	size_t got;

	for (int i = 0; i < 1000; i++) {
		fill(&out, &byte, 1);
		sent += send(c.client, &byte, 1, 0);
	}
	tell("sent, a byte each: %d", sent);
	got = drain(c.server, &in, sent);
	tell("got %zu, %s", got, order(&in));
	no_more(c.server);
	hang_up(c);
}

/* Sizes of all magnitudes, read in sizes that do not match. */
static void case_mixed_sizes(void)
{
	struct conn c = dial_nagle();
	struct stream out = {.seed = 2}, in = {.seed = 2};
	static unsigned char buf[20 * KIB];
	size_t sent = 0, got = 0;

	for (int i = 0; i < 600; i++) {
		size_t len = 1 + mix(i) % (1UL << (1 + mix(i + 1000) % 14));
		size_t pieces = mix(i + 2000) % 4;

		fill(&out, buf, len);
		if (send(c.client, buf, len, 0) != (long)len)
			tell("a short send");
		sent += len;
		if (!pieces)
			got += drain(c.server, &in, 1 + mix(i + 3000) % (sent - got));
	}
	got += drain(c.server, &in, sent - got);
	tell("%zu bytes sent, %zu got, %s", sent, got, order(&in));
	no_more(c.server);
	hang_up(c);
}

static void case_empty_send(void)
{
	struct conn c = dial();

	tell("client send 0 -> %s", res(send(c.client, "", 0, 0)));
	tell("client write 0 -> %s", res(write(c.client, "", 0)));
	ready(c.server);
	no_more(c.server);
	put(c.client, "x", 0);
	get(c.server, 100, 0);
	end(c.client, SHUT_WR);
	tell("client send 0 -> %s", res(send(c.client, "", 0, MSG_NOSIGNAL)));
	hang_up(c);
}

static void empty_recv(int fd, const char *when)
{
	char byte;

	tell("%s, recv 0 -> %s", when, res(recv(fd, &byte, 0, MSG_DONTWAIT)));
	tell("%s, recv NULL 0 -> %s", when, res(recv(fd, NULL, 0, MSG_DONTWAIT)));
	tell("%s, read 0 -> %s", when, res(read(fd, &byte, 0)));
}

static void case_empty_recv(void)
{
	struct conn c = dial();

	nonblock(c.server, 1);
	empty_recv(c.server, "nothing there");
	put(c.client, "x", 0);
	settle();
	empty_recv(c.server, "a byte there");
	get(c.server, 1, 0);
	shut(c.client);
	empty_recv(c.server, "at the end");
	close(c.server);
}

static void case_empty_recv_blocking(void)
{
	struct conn c = dial();
	struct task t = {.fd = c.server, .want = 0};

	begin(&t, "recv of 0 bytes", task_recv);
	if (still_waits(&t)) {
		put(c.client, "x", 0);
		must_return(&t);
	} else {
		put(c.client, "x", 0);
	}
	get(c.server, 1, 0);
	hang_up(c);
}

static void case_empty_recv_reset(void)
{
	struct conn c = dial();
	char byte;

	put(c.client, "x", 0);
	get(c.server, 1, 0);
	reset(c.client);
	tell("after a reset, recv 0 -> %s", res(recv(c.server, &byte, 0, MSG_DONTWAIT)));
	error_of(c.server);
	close(c.server);
}

static void case_addresses(void)
{
	struct conn c = dial();
	union address mine, theirs, from;
	socklen_t len = sizeof(mine), len2 = sizeof(theirs), from_len = sizeof(from);
	char buf[100];
	long r;

	getsockname(c.client, &mine.any, &len);
	getpeername(c.server, &theirs.any, &len2);
	tell("client's name is server's peer: %s", memcmp(&mine, &theirs, len) ? "no" : "yes");
	len = len2 = sizeof(mine);
	getpeername(c.client, &mine.any, &len);
	getsockname(c.server, &theirs.any, &len2);
	tell("client's peer is server's name: %s", memcmp(&mine, &theirs, len) ? "no" : "yes");
	tell("client sendto -> %s", res(sendto(c.client, "hello", 5, 0, &mine.any, len)));
	await(c.server, POLLIN, ARRIVE_MS);
	r = recvfrom(c.server, buf, sizeof(buf), 0, &from.any, &from_len);
	tell("server recvfrom -> %s, address of %u bytes", res(r), from_len);
	tell("client connect again -> %s", res(connect(c.client, &mine.any, len)));
	put(c.client, "again", 0);
	get(c.server, 100, 0);
	shut(c.client);
	len = sizeof(theirs);
	tell("server getpeername, peer closed -> %s",
	     res(getpeername(c.server, &theirs.any, &len)));
	close(c.server);
}

static void case_fault(void)
{
	struct conn c = dial();
	char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	munmap(map + 4096, 4096);
	memset(map, 'a', 4096);
	tell("client send from nowhere -> %s", res(send(c.client, (void *)8, 5, 0)));
	no_more(c.server);
	tell("client send, its second half from nowhere -> %s",
	     res(send(c.client, map + 4092, 8, 0)));
	no_more(c.server);
	put(c.client, "hello", 0);
	settle();
	tell("server recv to nowhere -> %s", res(recv(c.server, (void *)8, 5, MSG_DONTWAIT)));
	get(c.server, 100, 0);
	put(c.client, "abcdefgh", 0);
	settle();
	tell("server recv, its second half to nowhere -> %s",
	     res(recv(c.server, map + 4092, 8, MSG_DONTWAIT)));
	hang_up(c);
}

static void case_dontwait(void)
{
	struct conn c = dial();

	get(c.server, 100, MSG_DONTWAIT);
	put(c.client, "hello", MSG_DONTWAIT);
	settle();
	get(c.server, 3, MSG_DONTWAIT);
	get(c.server, 100, MSG_DONTWAIT);
	get(c.server, 100, MSG_DONTWAIT);
	nonblock(c.server, 1);
	get(c.server, 100, MSG_DONTWAIT);
	hang_up(c);
}

/* ---- cases: the flags of recv ---- */

static void case_peek(void)
{
	struct conn c = dial();

	get(c.server, 100, MSG_PEEK | MSG_DONTWAIT);
	put(c.client, "hello", 0);
	get(c.server, 100, MSG_PEEK);
	get(c.server, 3, MSG_PEEK);
	get(c.server, 100, MSG_PEEK);
	tell("server FIONREAD %ld", unread(c.server));
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

static void case_peek_several(void)
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

static void case_peek_many(void)
{
	struct conn c = dial();
	struct stream out = {.seed = 13}, in = {.seed = 13}, again = {.seed = 13};
	static unsigned char buf[60000];
	long r;

	for (int i = 0; i < 50; i++) {
		fill(&out, buf, 1000);
		if (send(c.client, buf, 1000, 0) != 1000)
			tell("a short send");
	}
	settle();
	r = recv(c.server, buf, sizeof(buf), MSG_PEEK | MSG_DONTWAIT);
	check(&in, buf, r > 0 ? r : 0);
	tell("peeked %s, %s", res(r), order(&in));
	r = recv(c.server, buf, sizeof(buf), MSG_DONTWAIT);
	check(&again, buf, r > 0 ? r : 0);
	tell("read %s, %s", res(r), order(&again));
	no_more(c.server);
	hang_up(c);
}

/* A blocked peek, then the read: servers that sniff the protocol do it. */
static void case_peek_blocked(void)
{
	struct conn c = dial();
	struct task t = {.fd = c.server, .want = 100, .flags = MSG_PEEK};

	begin(&t, "recv PEEK", task_recv);
	put(c.client, "hello", 0);
	must_return(&t);
	get(c.server, 100, 0);
	hang_up(c);
}

static void case_peek_off(void)
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

static void case_trunc(void)
{
	struct conn c = dial();

	put(c.client, "thrown away, kept", 0);
	settle();
	get(c.server, 13, MSG_TRUNC);
	get(c.server, 100, 0);
	hang_up(c);
}

static void case_trunc_null(void)
{
	struct conn c = dial();

	put(c.client, "thrown away, kept", 0);
	settle();
	tell("server recv TRUNC NULL -> %s",
	     res(recv(c.server, NULL, 13, MSG_TRUNC | MSG_DONTWAIT)));
	get(c.server, 100, 0);
	hang_up(c);
}

static void case_waitall(void)
{
	struct conn c = dial();
	struct task t = {.fd = c.server, .want = 10, .flags = MSG_WAITALL};

	put(c.client, "hello", 0);
	settle();
	begin(&t, "recv WAITALL", task_recv);
	if (still_waits(&t)) {
		put(c.client, "world", 0);
		must_return(&t);
	}
	hang_up(c);
}

static void case_waitall_there(void)
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

static void case_waitall_dontwait(void)
{
	struct conn c = dial();

	put(c.client, "hello", 0);
	settle();
	get(c.server, 10, MSG_WAITALL | MSG_DONTWAIT);
	get(c.server, 10, MSG_WAITALL | MSG_DONTWAIT);
	hang_up(c);
}

static atomic_int urgent;

static void on_urgent(int sig)
{
	(void)sig;
	urgent++;
}

static void case_oob(void)
{
	struct conn c = dial();
	int mark = -1;

	signal(SIGURG, on_urgent);
	fcntl(c.server, F_SETOWN, getpid());
	put(c.client, "before", 0);
	put(c.client, "!", MSG_OOB);
	put(c.client, "after", 0);
	ready(c.server);
	tell("SIGURG: %s", urgent ? "yes" : "no");
	get(c.server, 1, MSG_OOB | MSG_DONTWAIT);
	get(c.server, 100, 0);
	ioctl(c.server, SIOCATMARK, &mark);
	tell("at the mark: %d", mark);
	get(c.server, 100, MSG_DONTWAIT);
	hang_up(c);
}

static void case_oob_inline(void)
{
	struct conn c = dial();

	set(c.server, SOL_SOCKET, SO_OOBINLINE, 1);
	put(c.client, "before", 0);
	put(c.client, "!", MSG_OOB);
	settle();
	get(c.server, 100, 0);
	get(c.server, 100, MSG_DONTWAIT);
	hang_up(c);
}

static void case_oob_none(void)
{
	struct conn c = dial();
	int mark = -1;

	put(c.client, "x", 0);
	ready(c.server);
	get(c.server, 1, MSG_OOB | MSG_DONTWAIT);
	tell("SIOCATMARK -> %s, %d", res(ioctl(c.server, SIOCATMARK, &mark)), mark);
	get(c.server, 1, 0);
	hang_up(c);
}

static void case_rcvlowat(void)
{
	struct conn c = dial();
	struct task t = {.fd = c.server, .want = 100};

	greet(c);
	set(c.server, SOL_SOCKET, SO_RCVLOWAT, 10);
	begin(&t, "recv", task_recv);
	put(c.client, "hello", 0);
	if (still_waits(&t)) {
		put(c.client, "world", 0);
		must_return(&t);
	}
	put(c.client, "again", 0);
	ready(c.server);
	hang_up(c);
}

static void case_errqueue_empty(void)
{
	struct conn c = dial();

	put(c.client, "x", 0);
	settle();
	get(c.client, 100, MSG_ERRQUEUE | MSG_DONTWAIT);
	get(c.server, 100, MSG_ERRQUEUE | MSG_DONTWAIT);
	get(c.server, 100, 0);
	hang_up(c);
}

static void case_recvmsg_flags(void)
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

/* ---- cases: ends of a stream ---- */

static void case_eof_close(void)
{
	struct conn c = dial();

	ready(c.server);
	put(c.client, "last words", 0);
	ready(c.server);
	shut(c.client);
	ready(c.server);
	get(c.server, 4, 0);
	ready(c.server);
	get(c.server, 100, 0);
	ready(c.server);
	get(c.server, 100, 0);
	get(c.server, 100, 0);
	error_of(c.server);
	close(c.server);
}

static void case_eof_shutdown(void)
{
	struct conn c = dial();

	put(c.client, "last words", 0);
	end(c.client, SHUT_WR);
	ready(c.client);
	ready(c.server);
	get(c.server, 100, 0);
	get(c.server, 100, 0);
	get(c.server, 100, 0);
	ready(c.server);
	hang_up(c);
}

static void case_eof_nothing_sent(void)
{
	struct conn c = dial();

	shut(c.client);
	ready(c.server);
	get(c.server, 100, 0);
	error_of(c.server);
	close(c.server);
}

/* One ends its direction, the other one answers, then ends its own. */
static void half_close(int first, int second)
{
	put(first, "question", 0);
	end(first, SHUT_WR);
	get(second, 100, 0);
	get(second, 100, 0);
	ready(second);
	put(second, "answer, ", 0);
	put(second, "and more", 0);
	ready(first);
	get(first, 100, 0);
	no_more(first);
	end(second, SHUT_WR);
	ready(first);
	ready(second);
	get(first, 100, 0);
	get(second, 100, 0);
	error_of(first);
	error_of(second);
	put(first, "x", 0);
	put(second, "x", 0);
}

static void case_half_close_client(void)
{
	struct conn c = dial();

	half_close(c.client, c.server);
	hang_up(c);
}

static void case_half_close_server(void)
{
	struct conn c = dial();

	half_close(c.server, c.client);
	hang_up(c);
}

static void case_half_close_unread(void)
{
	struct conn c = dial();

	put(c.server, "early answer", 0);
	put(c.client, "question", 0);
	end(c.client, SHUT_WR);
	put(c.server, ", late answer", 0);
	end(c.server, SHUT_WR);
	get(c.client, 100, 0);
	get(c.client, 100, 0);
	get(c.server, 100, 0);
	get(c.server, 100, 0);
	hang_up(c);
}

static void case_shut_rd(void)
{
	struct conn c = dial();

	put(c.client, "one", 0);
	settle();
	end(c.server, SHUT_RD);
	ready(c.server);
	get(c.server, 100, 0);
	get(c.server, 100, 0);
	ready(c.client);
	put(c.client, "two", 0);
	ready(c.server);
	get(c.server, 100, 0);
	get(c.server, 100, 0);
	put(c.server, "answer", 0);
	get(c.client, 100, 0);
	shut(c.client);
	ready(c.server);
	get(c.server, 100, 0);
	close(c.server);
}

static void case_shut_rdwr(void)
{
	struct conn c = dial();

	put(c.client, "one", 0);
	put(c.server, "two", 0);
	settle();
	end(c.client, SHUT_RDWR);
	ready(c.client);
	ready(c.server);
	get(c.client, 100, 0);
	get(c.client, 100, 0);
	put(c.client, "x", 0);
	get(c.server, 100, 0);
	get(c.server, 100, 0);
	put(c.server, "late", 0);
	settle();
	ready(c.server);
	ready(c.client);
	hang_up(c);
}

static atomic_int pipes;

static void on_pipe(int sig)
{
	(void)sig;
	pipes++;
}

static void case_epipe(void)
{
	struct conn c = dial();

	signal(SIGPIPE, on_pipe);
	put(c.client, "x", 0);
	end(c.client, SHUT_WR);
	put(c.client, "y", 0);
	tell("SIGPIPE with MSG_NOSIGNAL: %d", pipes);
	tell("client write -> %s", res(write(c.client, "y", 1)));
	tell("SIGPIPE: %d", pipes);
	error_of(c.client);
	get(c.server, 100, 0);
	get(c.server, 100, 0);
	put(c.server, "answer", 0);
	get(c.client, 100, 0);
	hang_up(c);
}

static void case_closed_peer(void)
{
	struct conn c = dial();

	put(c.client, "hello", 0);
	get(c.server, 100, 0);
	shut(c.server);
	ready(c.client);
	put(c.client, "first", 0);
	settle();
	ready(c.client);
	put(c.client, "second", 0);
	put(c.client, "third", 0);
	error_of(c.client);
	get(c.client, 100, 0);
	close(c.client);
}

static void case_closed_peer_read(void)
{
	struct conn c = dial();

	put(c.server, "unread", 0);
	settle();
	shut(c.server);
	put(c.client, "first", 0);
	settle();
	ready(c.client);
	get(c.client, 100, 0);
	get(c.client, 100, 0);
	error_of(c.client);
	close(c.client);
}

static void case_reset(void)
{
	struct conn c = dial();

	put(c.client, "hello", 0);
	get(c.server, 100, 0);
	reset(c.client);
	ready(c.server);
	get(c.server, 100, 0);
	get(c.server, 100, 0);
	put(c.server, "x", 0);
	error_of(c.server);
	ready(c.server);
	close(c.server);
}

static void case_reset_unread(void)
{
	struct conn c = dial();

	put(c.client, "hello", 0);
	settle();
	reset(c.client);
	ready(c.server);
	get(c.server, 3, 0);
	get(c.server, 100, 0);
	get(c.server, 100, 0);
	error_of(c.server);
	close(c.server);
}

static void case_reset_error(void)
{
	struct conn c = dial();

	put(c.server, "hello", 0);
	get(c.client, 100, 0);
	reset(c.client);
	error_of(c.server);
	error_of(c.server);
	get(c.server, 100, 0);
	close(c.server);
}

static void case_reset_send(void)
{
	struct conn c = dial();

	signal(SIGPIPE, on_pipe);
	put(c.server, "hello", 0);
	get(c.client, 100, 0);
	reset(c.client);
	put(c.server, "first", 0);
	put(c.server, "second", 0);
	tell("server write -> %s", res(write(c.server, "third", 5)));
	tell("SIGPIPE: %d", pipes);
	error_of(c.server);
	put(c.server, "fourth", 0);
	get(c.server, 100, 0);
	close(c.server);
}

static void case_close_unread(void)
{
	struct conn c = dial();

	put(c.client, "unread", 0);
	settle();
	shut(c.server);
	ready(c.client);
	get(c.client, 100, 0);
	get(c.client, 100, 0);
	error_of(c.client);
	put(c.client, "x", 0);
	close(c.client);
}

static void case_close_unread_answered(void)
{
	struct conn c = dial();

	put(c.server, "answer", 0);
	put(c.client, "unread", 0);
	settle();
	shut(c.server);
	ready(c.client);
	get(c.client, 100, 0);
	get(c.client, 100, 0);
	close(c.client);
}

static void case_linger(void)
{
	struct conn c = dial();
	struct linger l = {.l_onoff = 1, .l_linger = 5};
	long start;

	setsockopt(c.client, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	put(c.client, "last words", 0);
	start = now_ms();
	shut(c.client);
	tell("close took long: %s", now_ms() - start > 3000 ? "yes" : "no");
	get(c.server, 100, 0);
	get(c.server, 100, 0);
	close(c.server);
}

/* What was sent before the connection was accepted, by one who has gone. */
static void case_late_accept(void)
{
	union address a;
	int l = listener(&a, AF_INET), client = call(&a), server;

	put(client, "hello, ", 0);
	put(client, "good bye", 0);
	shut(client);
	server = named(accept(l, NULL, NULL), "server");
	settle();
	ready(server);
	get(server, 100, 0);
	get(server, 100, 0);
	close(server);
	close(l);
}

static void case_never_accepted(void)
{
	union address a;
	int l = listener(&a, AF_INET), client = call(&a);

	put(client, "hello", 0);
	settle();
	shut(l);
	ready(client);
	get(client, 100, 0);
	get(client, 100, 0);
	put(client, "x", 0);
	close(client);
}

static void case_child_exits(void)
{
	struct conn c = dial();
	pid_t pid = fork();

	if (!pid) {
		close(c.server);
		_exit(send(c.client, "from a child", 12, 0) != 12);
	}
	close(c.client);
	wait_child(pid);
	settle();
	get(c.server, 100, 0);
	get(c.server, 100, 0);
	close(c.server);
}

static void case_child_killed(void)
{
	struct conn c = dial();
	pid_t pid = fork();

	if (!pid) {
		close(c.server);
		if (send(c.client, "from a child", 12, 0) == 12)
			pause();
		_exit(1);
	}
	close(c.client);
	await(c.server, POLLIN, ARRIVE_MS);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	settle();
	ready(c.server);
	get(c.server, 100, 0);
	get(c.server, 100, 0);
	close(c.server);
}

/* ---- cases: readiness ---- */

static void case_ready_read(void)
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
	struct stream out = {.seed = 3}, in = {.seed = 3};
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

static void case_ready_write(void)
{
	ready_write(16 * KIB);
}

static void case_ready_write_small(void)
{
	ready_write(700);
}

/* The writer is told of room by an edge, and not before there is some. */
static void case_edge_write(void)
{
	struct conn c = dial();
	struct stream out = {.seed = 4}, in = {.seed = 4};
	struct epoll_event e = {.events = EPOLLOUT | EPOLLET}, got = {0};
	int ep = epoll_create1(EPOLL_CLOEXEC);
	size_t sent;

	epoll_ctl(ep, EPOLL_CTL_ADD, c.client, &e);
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

static void edges(int ep)
{
	struct epoll_event got = {0};

	settle();
	epoll_wait(ep, &got, 1, 0);
	tell("edge:%s", poll_names(got.events));
}

static void case_edge_read(void)
{
	struct conn c = dial();
	struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLET};
	int ep = epoll_create1(EPOLL_CLOEXEC);

	epoll_ctl(ep, EPOLL_CTL_ADD, c.server, &e);
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

static void case_edge_reset(void)
{
	struct conn c = dial();
	struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET};
	int ep = epoll_create1(EPOLL_CLOEXEC);

	put(c.client, "one", 0);
	get(c.server, 100, 0);
	epoll_ctl(ep, EPOLL_CTL_ADD, c.server, &e);
	edges(ep);
	reset(c.client);
	edges(ep);
	get(c.server, 100, 0);
	close(c.server);
}

static void case_edge_oneshot(void)
{
	struct conn c = dial();
	struct epoll_event e = {.events = EPOLLIN | EPOLLONESHOT};
	int ep = epoll_create1(EPOLL_CLOEXEC);

	epoll_ctl(ep, EPOLL_CTL_ADD, c.server, &e);
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

static void case_woken(void)
{
	woken("poll", task_poll, 0);
	woken("select", task_select, 0);
	woken("epoll", task_epoll, EPOLLRDHUP);
	woken("epoll, by edges", task_epoll, EPOLLRDHUP | EPOLLET);
	woken("epoll, exclusive", task_epoll, EPOLLEXCLUSIVE);
}

static void case_sigio(void)
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

static void case_fionread(void)
{
	struct conn c = dial();

	tell("server FIONREAD %ld", unread(c.server));
	put(c.client, "hello", 0);
	settle();
	tell("server FIONREAD %ld", unread(c.server));
	put(c.client, "world", 0);
	settle();
	tell("server FIONREAD %ld", unread(c.server));
	get(c.server, 7, 0);
	tell("server FIONREAD %ld", unread(c.server));
	get(c.server, 100, 0);
	tell("server FIONREAD %ld", unread(c.server));
	put(c.client, "good bye", 0);
	shut(c.client);
	tell("server FIONREAD %ld", unread(c.server));
	get(c.server, 100, 0);
	tell("server FIONREAD %ld", unread(c.server));
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

static void case_outq(void)
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

/* ---- cases: time ---- */

static void set_timeout(int fd, int option, int ms)
{
	struct timeval t = {ms / 1000, ms % 1000 * 1000};

	if (setsockopt(fd, SOL_SOCKET, option, &t, sizeof(t)))
		die("timeout");
}

static void case_rcvtimeo(void)
{
	struct conn c = dial();
	struct task t = {.fd = c.server, .want = 100};

	set_timeout(c.server, SO_RCVTIMEO, 100);
	begin(&t, "recv", task_recv);
	must_return(&t);
	tell("after its time: %s", t.took >= 95 ? "yes" : "no");
	put(c.client, "hello", 0);
	get(c.server, 100, 0);
	begin(&t, "recv", task_recv);
	must_return(&t);
	tell("after its time: %s", t.took >= 95 ? "yes" : "no");
	hang_up(c);
}

static void case_rcvtimeo_peek(void)
{
	struct conn c = dial();
	struct task t = {.fd = c.server, .want = 100, .flags = MSG_PEEK};

	greet(c);
	set_timeout(c.server, SO_RCVTIMEO, 100);
	begin(&t, "recv PEEK", task_recv);
	must_return(&t);
	tell("after its time: %s", t.took >= 95 ? "yes" : "no");
	hang_up(c);
}

static void case_sndtimeo(void)
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
static void case_cork(void)
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

static void case_cork_timer(void)
{
	struct conn c = dial();

	set(c.client, IPPROTO_TCP, TCP_CORK, 1);
	put(c.client, "hello", 0);
	tell("server, uncorked by time:%s", poll_names(await(c.server, POLLIN, ARRIVE_MS)));
	get(c.server, 100, 0);
	hang_up(c);
}

static void case_more(void)
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

static void case_more_close(void)
{
	struct conn c = dial();

	put(c.client, "one,", MSG_MORE);
	put(c.client, "two", MSG_MORE);
	shut(c.client);
	get(c.server, 100, 0);
	get(c.server, 100, 0);
	close(c.server);
}

/* ---- cases: other ways to send and receive ---- */

static int file_of(struct stream *s, size_t len)
{
	static unsigned char buf[64 * KIB];
	FILE *f = tmpfile();

	if (!f)
		die("tmpfile");
	while (len) {
		size_t n = len < sizeof(buf) ? len : sizeof(buf);

		fill(s, buf, n);
		if (write(fileno(f), buf, n) != (long)n)
			die("write");
		len -= n;
	}
	return fileno(f);
}

static void case_sendfile(void)
{
	struct conn c = dial();
	struct stream out = {.seed = 5}, in = {.seed = 5, .offset = 100};
	int file = file_of(&out, 40 * KIB);
	off_t offset = 100;

	tell("client sendfile 20000 of 40960 from 100 -> %s",
	     res(sendfile(c.client, file, &offset, 20000)));
	tell("offset %ld, %zu got", (long)offset, drain(c.server, &in, 20000));
	tell("client sendfile 40000 from there -> %s",
	     res(sendfile(c.client, file, &offset, 40000)));
	tell("offset %ld, %zu got", (long)offset, drain(c.server, &in, 40 * KIB - 20100));
	tell("client sendfile at the end -> %s", res(sendfile(c.client, file, &offset, 40000)));
	tell("bytes %s", order(&in));
	no_more(c.server);
	hang_up(c);
}

/* Changed after sendfile and before it is read: what is read is not promised. */
static void case_sendfile_changed(void)
{
	struct conn c = dial();
	int file = fileno(tmpfile());
	off_t offset = 0;

	if (write(file, "before", 6) != 6)
		die("write");
	tell("client sendfile -> %s", res(sendfile(c.client, file, &offset, 6)));
	settle();
	if (pwrite(file, "after!", 6, 0) != 6)
		die("write");
	get(c.server, 100, 0);
	hang_up(c);
}

struct big_send {
	int fd, file;
	size_t len;
	long sent;
};

static void *big_sender(void *arg)
{
	struct big_send *b = arg;
	struct stream out = {.seed = 6};
	unsigned char *data;
	off_t offset = 0;

	if (b->file >= 0) {
		while (offset < (off_t)b->len && sendfile(b->fd, b->file, &offset, b->len) > 0)
			;
		b->sent = offset;
	} else {
		data = malloc(b->len);
		fill(&out, data, b->len);
		b->sent = send(b->fd, data, b->len, 0);
		free(data);
	}
	shutdown(b->fd, SHUT_WR);
	return NULL;
}

static void big(size_t len, int from_file)
{
	struct conn c = dial();
	struct stream out = {.seed = 6}, in = {.seed = 6};
	struct big_send b = {.fd = c.client, .file = from_file ? file_of(&out, len) : -1};
	pthread_t t;
	size_t got;

	greet(c);
	b.len = len;
	pthread_create(&t, NULL, big_sender, &b);
	got = drain(c.server, &in, len + 1);
	pthread_join(t, NULL);
	tell("%ld sent, %zu got, %s", b.sent, got, order(&in));
	get(c.server, 100, 0);
	put(c.server, "thanks", 0);
	get(c.client, 100, 0);
	hang_up(c);
}

static void case_big_send(void)
{
	big(16 * MIB, 0);
}

static void case_big_sendfile(void)
{
	big(4 * MIB, 1);
}

static void case_splice_to(void)
{
	struct conn c = dial();
	int p[2];

	if (pipe(p) || write(p[1], "through a pipe", 14) != 14)
		die("pipe");
	tell("pipe to client splice -> %s", res(splice(p[0], NULL, c.client, NULL, 100, 0)));
	get(c.server, 100, 0);
	if (write(p[1], "more", 4) != 4)
		die("pipe");
	tell("pipe to client splice MORE -> %s",
	     res(splice(p[0], NULL, c.client, NULL, 100, SPLICE_F_MORE)));
	get(c.server, 100, 0);
	hang_up(c);
}

static void splice_out(int fd, int p[2])
{
	char buf[100];
	long r = splice(fd, NULL, p[1], NULL, 100, SPLICE_F_NONBLOCK);

	tell("%s to pipe splice -> %s", names[fd], res(r));
	if (r > 0) {
		r = read(p[0], buf, sizeof(buf));
		tell("pipe: \"%.*s\"", (int)r, buf);
	}
}

static void case_splice_from(void)
{
	struct conn c = dial();
	int p[2];

	if (pipe(p))
		die("pipe");
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

/* A reader that has not kept up: more is there than the bypass holds. */
static void case_splice_behind(void)
{
	struct conn c = dial();
	struct stream out = {.seed = 5}, in = {.seed = 5};
	unsigned char buf[4 * KIB];
	int p[2];
	long r;

	greet(c);
	set(c.client, SOL_SOCKET, SO_SNDBUF, 2048);
	stuff(c.client, &out, sizeof(buf));
	settle();
	if (pipe(p) || splice(c.server, NULL, p[1], NULL, sizeof(buf), SPLICE_F_NONBLOCK) < 1)
		die("splice");
	r = read(p[0], buf, sizeof(buf));
	check(&in, buf, r);
	tell("server to pipe splice: %s", in.wrong ? "later bytes" : "the first bytes");
	hang_up(c);
}

/* Is a completion, or a time stamp, in the error queue? */
static void completion(int fd)
{
	char control[256];
	struct msghdr m = {.msg_control = control, .msg_controllen = sizeof(control)};
	struct sock_extended_err err;
	struct cmsghdr *cmsg;
	long r;

	if (!(await(fd, 0, 300) & POLLERR)) {
		tell("%s error queue: nothing comes", names[fd]);
		return;
	}
	r = recvmsg(fd, &m, MSG_ERRQUEUE);
	tell("%s error queue -> %s", names[fd], res(r));
	for (cmsg = CMSG_FIRSTHDR(&m); r >= 0 && cmsg; cmsg = CMSG_NXTHDR(&m, cmsg)) {
		if (cmsg->cmsg_level == SOL_SOCKET) {
			tell("a time stamp");
		} else {
			memcpy(&err, CMSG_DATA(cmsg), sizeof(err));
			tell("origin %d, errno %d, range %u-%u, copied %s", err.ee_origin,
			     err.ee_errno, err.ee_info, err.ee_data,
			     err.ee_code & SO_EE_CODE_ZEROCOPY_COPIED ? "yes" : "no");
		}
	}
}

static void zerocopy(struct conn c)
{
	static char data[10000];

	memset(data, 'z', sizeof(data));
	tell("client send ZEROCOPY -> %s", res(send(c.client, data, sizeof(data), MSG_ZEROCOPY)));
	get(c.server, 4000, 0);
	get(c.server, 4000, 0);
	get(c.server, 4000, 0);
	completion(c.client);
	ready(c.client);
	hang_up(c);
}

static void case_zerocopy(void)
{
	struct conn c = dial();

	greet(c);
	set(c.client, SOL_SOCKET, SO_ZEROCOPY, 1);
	zerocopy(c);
}

static void case_zerocopy_before(void)
{
	union address a;
	int l = listener(&a, AF_INET);
	struct conn c = {.client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};

	set(named(c.client, "client"), SOL_SOCKET, SO_ZEROCOPY, 1);
	if (connect(c.client, &a.any, sizeof(a.in)))
		die("connect");
	c.server = named(accept(l, NULL, NULL), "server");
	close(l);
	zerocopy(c);
}

static void case_zerocopy_unset(void)
{
	struct conn c = dial();

	put(c.client, "hello", MSG_ZEROCOPY);
	get(c.server, 100, 0);
	completion(c.client);
	hang_up(c);
}

static void case_zerocopy_receive(void)
{
	struct conn c = dial();
	struct tcp_zerocopy_receive z = {0};
	socklen_t len = sizeof(z);
	void *at = mmap(NULL, 4096, PROT_READ, MAP_SHARED, c.server, 0);

	tell("server mmap -> %s", at == MAP_FAILED ? res(-1) : "0");
	if (at == MAP_FAILED)
		return;
	put(c.client, "hello", 0);
	settle();
	z.address = (uintptr_t)at;
	z.length = 4096;
	tell("server TCP_ZEROCOPY_RECEIVE -> %s",
	     res(getsockopt(c.server, IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, &z, &len)));
	tell("mapped %u, to be read %u, in the queue %u", z.length, z.recv_skip_hint, z.inq);
	get(c.server, 100, MSG_DONTWAIT);
	hang_up(c);
}

#define SEGMENTS 1024

static void segments(struct iovec *v, unsigned char *data)
{
	for (int i = 0; i < SEGMENTS; i++) {
		v[i].iov_base = data;
		v[i].iov_len = i % 17;
		data += i % 17;
	}
}

static size_t length(const struct iovec *v)
{
	size_t len = 0;

	for (int i = 0; i < SEGMENTS; i++)
		len += v[i].iov_len;
	return len;
}

static void case_vectors(void)
{
	struct conn c = dial();
	struct stream out = {.seed = 7}, in = {.seed = 7};
	static unsigned char a[17 * SEGMENTS], b[17 * SEGMENTS];
	struct iovec v[SEGMENTS], w[SEGMENTS];
	struct msghdr m = {.msg_iov = v, .msg_iovlen = SEGMENTS}, n = {.msg_iov = w};
	long r;

	n.msg_iovlen = SEGMENTS;
	segments(v, a);
	segments(w, b);
	fill(&out, a, length(v));
	tell("client writev -> %s", res(writev(c.client, v, SEGMENTS)));
	settle();
	r = readv(c.server, w, SEGMENTS);
	check(&in, b, r > 0 ? r : 0);
	tell("server readv -> %s, %s", res(r), order(&in));
	fill(&out, a, length(v));
	tell("client sendmsg -> %s", res(sendmsg(c.client, &m, 0)));
	settle();
	r = recvmsg(c.server, &n, 0);
	check(&in, b, r > 0 ? r : 0);
	tell("server recvmsg -> %s, %s", res(r), order(&in));
	m.msg_iovlen = SEGMENTS + 1;
	tell("client sendmsg, too many -> %s", res(sendmsg(c.client, &m, 0)));
	hang_up(c);
}

static void case_mmsg(void)
{
	struct conn c = dial();
	char buf[4][5];
	struct iovec out[3] = {{"one,", 4}, {"two,", 4}, {"three", 5}}, in[4];
	struct mmsghdr m[4];
	struct timespec limit = {1, 0};
	int r;

	memset(m, 0, sizeof(m));
	for (int i = 0; i < 3; i++)
		m[i].msg_hdr = (struct msghdr){.msg_iov = &out[i], .msg_iovlen = 1};
	tell("client sendmmsg -> %s", res(sendmmsg(c.client, m, 3, 0)));
	tell("lengths %u %u %u", m[0].msg_len, m[1].msg_len, m[2].msg_len);
	settle();
	memset(m, 0, sizeof(m));
	for (int i = 0; i < 4; i++) {
		in[i] = (struct iovec){buf[i], sizeof(buf[i])};
		m[i].msg_hdr = (struct msghdr){.msg_iov = &in[i], .msg_iovlen = 1};
	}
	r = recvmmsg(c.server, m, 4, MSG_DONTWAIT, &limit);
	tell("server recvmmsg -> %s", res(r));
	for (int i = 0; i < r; i++)
		tell("%u \"%.*s\"", m[i].msg_len, (int)m[i].msg_len, buf[i]);
	hang_up(c);
}

/* Control data that is wrong, and control data that does not belong here. */
static void case_control(void)
{
	struct conn c = dial();
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec v = {"hello", 5};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control};
	struct cmsghdr *cmsg;

	m.msg_controllen = sizeof(control);
	cmsg = CMSG_FIRSTHDR(&m);
	*cmsg = (struct cmsghdr){
		.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = 9999};
	tell("client sendmsg with unknown control data -> %s", res(sendmsg(c.client, &m, 0)));
	cmsg->cmsg_level = IPPROTO_IP;
	cmsg->cmsg_type = IP_TTL;
	tell("client sendmsg with IP_TTL -> %s", res(sendmsg(c.client, &m, 0)));
	put(c.client, "!", 0);
	settle();
	get(c.server, 100, 0);
	hang_up(c);
}

/* Prints what control data comes; returns whether any came. */
static int tell_control(int fd)
{
	char buf[100], control[256];
	struct iovec v = {buf, sizeof(buf)};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control};
	struct cmsghdr *cmsg;
	int inq, any = 0;

	m.msg_controllen = sizeof(control);
	if (recvmsg(fd, &m, MSG_DONTWAIT) < 0)
		tell("%s recvmsg -> %s", names[fd], res(-1));
	for (cmsg = CMSG_FIRSTHDR(&m); cmsg; cmsg = CMSG_NXTHDR(&m, cmsg)) {
		any = 1;
		if (cmsg->cmsg_level == IPPROTO_TCP && cmsg->cmsg_type == TCP_CM_INQ) {
			memcpy(&inq, CMSG_DATA(cmsg), sizeof(inq));
			tell("control data: TCP_CM_INQ %d", inq);
		} else {
			tell("control data: level %d, type %d", cmsg->cmsg_level, cmsg->cmsg_type);
		}
	}
	return any;
}

/* The kernel begins to stamp packets a while after it was asked to. */
static void stamped(int option, int value)
{
	struct conn c = dial();
	int any = 0;

	greet(c);
	set(c.server, SOL_SOCKET, option, value);
	for (int i = 0; i < 20 && !any; i++) {
		send(c.client, "hello", 5, 0);
		settle();
		any = tell_control(c.server);
	}
	if (!any)
		tell("never any control data");
	hang_up(c);
}

static void case_timestamp(void)
{
	stamped(SO_TIMESTAMP, 1);
}

static void case_timestamping_rx(void)
{
	stamped(SO_TIMESTAMPING, SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE);
}

static void case_timestamping_tx(void)
{
	struct conn c = dial();

	greet(c);
	set(c.client, SOL_SOCKET, SO_TIMESTAMPING,
	    SOF_TIMESTAMPING_TX_ACK | SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_TSONLY);
	put(c.client, "hello", 0);
	get(c.server, 100, 0);
	completion(c.client);
	hang_up(c);
}

static void case_inq(void)
{
	struct conn c = dial();

	set(c.server, IPPROTO_TCP, TCP_INQ, 1);
	put(c.client, "hello", 0);
	settle();
	if (!tell_control(c.server))
		tell("no control data");
	hang_up(c);
}

/* ---- cases: calls that wait ---- */

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

static void case_recv_signal(void)
{
	recv_signal(0);
}

static void case_recv_signal_restart(void)
{
	recv_signal(SA_RESTART);
}

/* Write to a file of a cgroup, or read it. */
static int cgroup_put(const char *dir, const char *file, const char *text)
{
	char path[512];
	int fd, ok;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return ok;
}

static int cgroup_has(const char *dir, const char *file, const char *text)
{
	char path[512], buf[256] = "";
	int fd, ok;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ok = fd >= 0 && read(fd, buf, sizeof(buf) - 1) > 0 && strstr(buf, text);
	if (fd >= 0)
		close(fd);
	return ok;
}

/* A new cgroup below our own one; NULL when that cannot be. */
static const char *cgroup_new(void)
{
	static char dir[400];
	char line[1024], mount[128] = "", own[128] = "";
	FILE *f = fopen("/proc/self/mounts", "re");

	while (f && !mount[0] && fgets(line, sizeof(line), f))
		if (sscanf(line, "%*s %127s cgroup2 ", mount) != 1 || !strstr(line, " cgroup2 "))
			mount[0] = 0;
	if (f)
		fclose(f);
	f = fopen("/proc/self/cgroup", "re");
	while (f && !own[0] && fgets(line, sizeof(line), f))
		sscanf(line, "0::%127s", own);
	if (f)
		fclose(f);
	snprintf(dir, sizeof(dir), "%s%s/semantics.%d", mount, own, (int)getpid());
	return mount[0] && own[0] && !mkdir(dir, 0755) ? dir : NULL;
}

static void await_frozen(const char *dir, const char *state)
{
	long limit = now_ms() + ARRIVE_MS;

	while (!cgroup_has(dir, "cgroup.events", state) && now_ms() < limit)
		sleep_ms(2);
	if (!cgroup_has(dir, "cgroup.events", state))
		tell("never %s", state);
}

/* As `docker pause` and `systemctl freeze` do it. */
static void case_recv_frozen(void)
{
	const char *dir = cgroup_new();
	struct conn c = dial();
	char pid_text[16];
	long limit;
	pid_t pid;

	if (!dir)
		skip("no cgroup of v2 can be made");
	greet(c);
	pid = fork();
	if (!pid) {
		char buf[100];

		tell_got(c.server, sizeof(buf), 0, recv(c.server, buf, sizeof(buf), 0), buf);
		fflush(stdout);
		_exit(0);
	}
	snprintf(pid_text, sizeof(pid_text), "%d", (int)pid);
	if (!cgroup_put(dir, "cgroup.procs", pid_text))
		die("cgroup.procs");
	limit = now_ms() + ARRIVE_MS;
	while (!is_asleep(pid) && now_ms() < limit)
		sleep_ms(2);
	settle();
	if (!cgroup_put(dir, "cgroup.freeze", "1"))
		die("cgroup.freeze");
	await_frozen(dir, "frozen 1");
	if (!cgroup_put(dir, "cgroup.freeze", "0"))
		die("cgroup.freeze");
	await_frozen(dir, "frozen 0");
	limit = now_ms() + FOREVER_MS;
	while (cgroup_has(dir, "cgroup.events", "populated 1") && now_ms() < limit)
		sleep_ms(2);
	if (send(c.client, "late", 4, 0) != 4) /* the child may be writing a line */
		die("send");
	wait_child(pid);
	tell("left for the parent: %s", await(c.server, POLLIN, SETTLE_MS) ? "late" : "nothing");
	rmdir(dir);
	hang_up(c);
}

static void case_send_signal(void)
{
	struct conn c = dial();
	struct stream out = {.seed = 8}, in = {.seed = 8};
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

/* A send that waits for room, and is ended by what `act` does. */
static void send_ended(void (*act)(struct conn))
{
	struct conn c = dial();
	struct task t = {.fd = c.client, .want = 48 * MIB};

	signal(SIGPIPE, on_pipe);
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
	tell("SIGPIPE: %d", pipes);
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

static void case_send_own_shut(void)
{
	send_ended(act_shut);
}

static void case_send_reset(void)
{
	send_ended(act_reset);
}

static void case_send_close(void)
{
	send_ended(act_close);
}

/* The descriptor goes, the call that uses it stays. */
static void case_recv_own_close(void)
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

static void case_poll_own_shut(void)
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

static void case_recv_waits(void)
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

static void case_recv_eof(void)
{
	struct conn c = dial();
	struct task t = {.fd = c.server, .want = 100};

	greet(c);
	begin(&t, "recv", task_recv);
	shut(c.client);
	must_return(&t);
	close(c.server);
}

static void case_recv_own_shut_rd(void)
{
	struct conn c = dial();
	struct task t = {.fd = c.server, .want = 100};

	greet(c);
	begin(&t, "recv", task_recv);
	end(c.server, SHUT_RD);
	must_return(&t);
	hang_up(c);
}

static void case_recv_own_shut_wr(void)
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

/* A page that is not there: who touches it waits until it is made. */
static int absent_page(unsigned char **page)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register reg = {.mode = UFFDIO_REGISTER_MODE_MISSING};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 && errno == ENOSYS)
		skip("no userfaultfd(2) here");
	*page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	reg.range.start = (uintptr_t)*page;
	reg.range.len = 4096;
	if (fd < 0 || *page == MAP_FAILED || ioctl(fd, UFFDIO_API, &api) ||
	    ioctl(fd, UFFDIO_REGISTER, &reg))
		die("userfaultfd");
	return fd;
}

static void make_page(int fd, unsigned char *page)
{
	struct uffdio_zeropage zero = {.range = {(uintptr_t)page, 4096}};

	if (ioctl(fd, UFFDIO_ZEROPAGE, &zero))
		die("UFFDIO_ZEROPAGE");
	close(fd);
}

/*
 * The client ends its direction while the server's recv, which has the server's socket
 * locked, waits for memory; then it waits for the answer.
 */
static void half_close_fault(struct conn c)
{
	struct task server = {.fd = c.server, .want = 100};
	struct task client = {.fd = c.client, .want = 100};
	int fault = absent_page(&server.data);

	begin(&server, "recv into an absent page", task_recv_into);
	put(c.client, "question", 0);
	tell("the page is %s",
	     await(fault, POLLIN, ARRIVE_MS) == POLLIN ? "asked for" : "not asked for");
	end(c.client, SHUT_WR);
	begin(&client, "recv", task_recv);
	make_page(fault, server.data);
	must_return(&server);
	if (still_waits(&client)) {
		put(c.server, "answer", 0);
		must_return(&client);
	} else {
		put(c.server, "answer", 0);
		get(c.client, 100, 0);
	}
	hang_up(c);
}

static void case_half_close_fault(void)
{
	half_close_fault(dial());
}

static void case_half_close_fault_answered(void)
{
	struct conn c = dial();

	greet(c);
	put(c.server, "answer", 0);
	get(c.client, 100, 0);
	half_close_fault(c);
}

static void case_recv_own_shut_rdwr(void)
{
	struct conn c = dial();
	struct task t = {.fd = c.server, .want = 100};

	greet(c);
	begin(&t, "recv", task_recv);
	end(c.server, SHUT_RDWR);
	must_return(&t);
	hang_up(c);
}

static void case_recv_reset(void)
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

/* Two readers of one socket, one message: which of them gets it is not told. */
static void case_recv_two(void)
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

/* ---- cases: a socket of several owners ---- */

static void case_dup(void)
{
	struct conn c = dial();
	int other = named(dup(c.client), "duplicate");

	put(c.client, "one,", 0);
	put(other, "two", 0);
	settle();
	get(c.server, 100, 0);
	shut(c.client);
	ready(c.server);
	put(other, "three", 0);
	get(c.server, 100, 0);
	put(c.server, "answer", 0);
	get(other, 100, 0);
	shut(other);
	get(c.server, 100, 0);
	close(c.server);
}

static void case_fork(void)
{
	struct conn c = dial();
	pid_t pid;

	put(c.client, "parent,", 0);
	pid = fork();
	if (!pid)
		_exit(send(c.client, "child,", 6, 0) != 6);
	wait_child(pid);
	put(c.client, "parent", 0);
	settle();
	get(c.server, 100, 0);
	pid = fork();
	if (!pid) {
		char buf[10];

		_exit(recv(c.server, buf, 10, 0) != 3);
	}
	put(c.client, "one", 0);
	wait_child(pid);
	put(c.client, "two", 0);
	get(c.server, 100, 0);
	shut(c.client);
	get(c.server, 100, 0);
	close(c.server);
}

static void pass(int over, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec v = {"", 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control};
	struct cmsghdr *cmsg;

	m.msg_controllen = sizeof(control);
	cmsg = CMSG_FIRSTHDR(&m);
	*cmsg = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)),
				 .cmsg_level = SOL_SOCKET,
				 .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	if (sendmsg(over, &m, 0) != 1)
		die("SCM_RIGHTS");
}

static int take(int over)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec v = {&byte, 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control};
	int fd = -1;

	m.msg_controllen = sizeof(control);
	if (recvmsg(over, &m, 0) != 1 || !CMSG_FIRSTHDR(&m))
		die("SCM_RIGHTS");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

/* A worker gets the socket with bytes in it, and goes on. */
static void case_scm_rights(void)
{
	struct conn c = dial();
	int over[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, over))
		die("socketpair");
	put(c.client, "hello", 0);
	get(c.server, 2, 0);
	pid = fork();
	if (!pid) {
		char buf[10];

		close(c.client);
		close(c.server);
		c.server = take(over[1]);
		_exit(recv(c.server, buf, sizeof(buf), 0) != 3 || send(over[1], "", 1, 0) != 1 ||
		      recv(c.server, buf, sizeof(buf), 0) != 8 ||
		      send(c.server, "from the worker", 15, 0) != 15);
	}
	pass(over[0], c.server);
	close(c.server);
	await(over[0], POLLIN, ARRIVE_MS);
	put(c.client, "question", 0);
	wait_child(pid);
	get(c.client, 100, 0);
	get(c.client, 100, 0);
	close(c.client);
}

struct side {
	int fd;
	uint64_t seed;
	size_t len;
	struct stream in;
};

static void *side_send(void *arg)
{
	struct side *s = arg;
	struct stream out = {.seed = s->seed};
	static _Thread_local unsigned char buf[5000];
	size_t left = s->len;

	while (left) {
		size_t n = 1 + mix(left) % sizeof(buf);

		if (n > left)
			n = left;
		fill(&out, buf, n);
		if (send(s->fd, buf, n, MSG_NOSIGNAL) != (long)n)
			break;
		left -= n;
	}
	return NULL;
}

static void *side_recv(void *arg)
{
	struct side *s = arg;
	static _Thread_local unsigned char buf[7000];
	size_t got = 0;

	while (got < s->len) {
		long r = recv(s->fd, buf, sizeof(buf), 0);

		if (r < 0 && errno == EAGAIN) { /* told by other cases */
			await(s->fd, POLLIN, ARRIVE_MS);
			continue;
		}
		if (r <= 0)
			break;
		check(&s->in, buf, r);
		got += r;
	}
	return NULL;
}

static void case_duplex(void)
{
	struct conn c = dial();
	struct side client = {c.client, 10, 2 * MIB, {.seed = 11}};
	struct side server = {c.server, 11, 2 * MIB, {.seed = 10}};
	pthread_t t[4];

	pthread_create(&t[0], NULL, side_send, &client);
	pthread_create(&t[1], NULL, side_recv, &client);
	pthread_create(&t[2], NULL, side_send, &server);
	pthread_create(&t[3], NULL, side_recv, &server);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	tell("client got %zu, %s", client.in.offset, order(&client.in));
	tell("server got %zu, %s", server.in.offset, order(&server.in));
	no_more(c.client);
	no_more(c.server);
	hang_up(c);
}

/* ---- cases: how connections come about ---- */

static void case_self_connect(void)
{
	union address a;
	int fd = named(bound(&a, AF_INET), "self");

	tell("self connect -> %s", res(connect(fd, &a.any, sizeof(a.in))));
	put(fd, "to myself", 0);
	ready(fd);
	get(fd, 100, 0);
	no_more(fd);
	end(fd, SHUT_WR);
	get(fd, 100, 0);
	close(fd);
}

/*
 * The first one's SYN finds nobody; a filter hides the answer from it, so that
 * it still tries when the second one's SYN comes.
 */
static void case_simultaneous_open(void)
{
	union address a, b;
	int first = named(bound(&a, AF_INET), "first"),
	    second = named(bound(&b, AF_INET), "second");
	struct sock_filter none[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
	struct sock_fprog drop = {1, none};

	nonblock(first, 1);
	if (setsockopt(first, SOL_SOCKET, SO_ATTACH_FILTER, &drop, sizeof(drop)))
		die("SO_ATTACH_FILTER");
	tell("first connect -> %s", res(connect(first, &b.any, sizeof(b.in))));
	settle();
	setsockopt(first, SOL_SOCKET, SO_DETACH_FILTER, &drop, sizeof(drop));
	tell("second connect -> %s", res(connect(second, &a.any, sizeof(a.in))));
	await(first, POLLOUT, ARRIVE_MS);
	error_of(first);
	put(first, "one", 0);
	get(second, 100, 0);
	put(second, "two", 0);
	get(first, 100, 0);
	close(first);
	get(second, 100, 0);
	close(second);
}

static void case_reuseport(void)
{
	union address a;
	socklen_t len = loopback(&a, AF_INET);
	int l[3], clients[12], one = 1, taken = 0, answers = 0, server;
	char byte;

	for (int i = 0; i < 3; i++) {
		l[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		setsockopt(l[i], SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
		if (bind(l[i], &a.any, len) || listen(l[i], 20) || getsockname(l[i], &a.any, &len))
			die("SO_REUSEPORT");
	}
	for (int i = 0; i < 12; i++) {
		clients[i] = call(&a);
		if (send(clients[i], "x", 1, 0) != 1)
			tell("send failed");
	}
	settle();
	for (int i = 0; i < 3; i++) {
		while ((server = accept(l[i], NULL, NULL)) >= 0) {
			taken++;
			if (recv(server, &byte, 1, 0) == 1 && send(server, "y", 1, 0) == 1)
				answers++;
			close(server);
		}
	}
	tell("accepted %d, answered %d", taken, answers);
	for (int i = answers = 0; i < 12; i++)
		answers += await(clients[i], POLLIN, ARRIVE_MS) &&
			   recv(clients[i], &byte, 1, 0) == 1 && byte == 'y';
	tell("answers got %d", answers);
}

/* The end that closes first keeps the port for a while. */
static void case_time_wait(void)
{
	union address a;
	int l = listener(&a, AF_INET), client = call(&a), again, one = 1;
	int server = named(accept(l, NULL, NULL), "server");

	close(l);
	greet((struct conn){client, server});
	shut(server);
	get(client, 100, 0);
	shut(client);
	again = socket(AF_INET, SOCK_STREAM, 0);
	tell("bind to its port -> %s", res(bind(again, &a.any, sizeof(a.in))));
	setsockopt(again, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	tell("bind with SO_REUSEADDR -> %s", res(bind(again, &a.any, sizeof(a.in))));
	close(again);
}

static void case_nonblocking_connect(void)
{
	union address a;
	int l = listener(&a, AF_INET), client, server;

	client = named(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), "client");
	tell("client connect -> %s", res(connect(client, &a.any, sizeof(a.in))));
	tell("client gets:%s", poll_names(await(client, POLLOUT, ARRIVE_MS)));
	error_of(client);
	tell("client connect again -> %s", res(connect(client, &a.any, sizeof(a.in))));
	tell("client connect once more -> %s", res(connect(client, &a.any, sizeof(a.in))));
	await(l, POLLIN, ARRIVE_MS);
	server = named(accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), "server");
	tell("server O_NONBLOCK %s, FD_CLOEXEC %s",
	     fcntl(server, F_GETFL) & O_NONBLOCK ? "yes" : "no",
	     fcntl(server, F_GETFD) & FD_CLOEXEC ? "yes" : "no");
	get(server, 100, MSG_DONTWAIT);
	put(client, "hello", 0);
	get(server, 100, 0);
	close(client);
	close(server);
	close(l);
}

static void case_refused(void)
{
	union address a;
	int nobody = bound(&a, AF_INET), client = named(socket(AF_INET, SOCK_STREAM, 0), "client");

	tell("client connect -> %s", res(connect(client, &a.any, sizeof(a.in))));
	put(client, "x", 0);
	get(client, 100, MSG_DONTWAIT);
	ready(client);
	close(client);
	close(nobody);
}

/* One socket, dissolved by AF_UNSPEC, makes a second connection. */
static void reconnect(const char *unread_one, int bulk)
{
	union address a;
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	int l = listener(&a, AF_INET), client = call(&a);
	int server = named(accept(l, NULL, NULL), "server"), second;

	put(client, "before", 0);
	get(server, 100, 0);
	put(server, "before", 0);
	get(client, 100, 0);
	if (bulk)
		exchange_bulk((struct conn){client, server});
	if (unread_one) {
		put(server, unread_one, 0);
		settle();
	}
	tell("client disconnect -> %s", res(connect(client, &none, sizeof(none))));
	settle();
	ready(server);
	get(server, 100, 0);
	put(client, "x", 0);
	tell("client connect -> %s", res(connect(client, &a.any, sizeof(a.in))));
	second = named(accept(l, NULL, NULL), "second server");
	ready(client);
	get(client, 100, MSG_DONTWAIT);
	put(client, "hello", 0);
	get(second, 100, 0);
	put(second, "welcome", 0);
	get(client, 100, 0);
	put(client, "how are you", 0);
	get(second, 100, 0);
	put(second, "fine", 0);
	get(client, 100, 0);
	shut(client);
	get(second, 100, 0);
	close(second);
	close(server);
	close(l);
}

static void case_reconnect(void)
{
	reconnect(NULL, 0);
}

static void case_reconnect_unread(void)
{
	reconnect("unread", 0);
}

static void case_reconnect_bulk(void)
{
	reconnect(NULL, 1);
}

/* The second connection's reader stops; the sender takes its time. */
static void case_reconnect_stopped(void)
{
	union address a;
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	struct stream out = {.seed = 14}, in = {.seed = 14};
	static unsigned char buf[60000];
	int l = listener(&a, AF_INET);
	struct conn c;
	size_t sent = 0;
	int old;
	long r;

	set(l, SOL_SOCKET, SO_RCVBUF, 64 * KIB);
	c.client = call(&a);
	set(c.client, SOL_SOCKET, SO_SNDBUF, 64 * KIB);
	old = named(accept(l, NULL, NULL), "old server");
	greet((struct conn){c.client, old});
	tell("client disconnect -> %s", res(connect(c.client, &none, sizeof(none))));
	tell("client connect -> %s", res(connect(c.client, &a.any, sizeof(a.in))));
	c.server = named(accept(l, NULL, NULL), "server");
	do {
		struct stream ahead = out;

		fill(&ahead, buf, sizeof(buf));
		r = send(c.client, buf, sizeof(buf), MSG_DONTWAIT);
		if (r > 0) {
			sent += r;
			out.offset += r;
		}
		sleep_ms(11); /* more than a jiffy */
	} while (r > 0 && sent < 4 * MIB);
	tell("client send, repeated -> %s", r > 0 ? "never refused" : res(r));
	tell("all of it read: %s", drain(c.server, &in, sent) == sent ? "yes" : "no");
	tell("bytes %s", order(&in));
	close(old);
	close(l);
	hang_up(c);
}

static void case_disconnect_listen(void)
{
	struct conn c = dial();
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	union address a;
	socklen_t len;

	put(c.client, "hello", 0);
	get(c.server, 100, 0);
	tell("client disconnect -> %s", res(connect(c.client, &none, sizeof(none))));
	len = loopback(&a, AF_INET);
	tell("bind -> %s", res(bind(c.client, &a.any, len)));
	tell("listen -> %s", res(listen(c.client, 5)));
	getsockname(c.client, &a.any, &len);
	close(c.server);
	c.server = c.client;
	c.client = call(&a);
	len = c.server;
	c.server = named(accept(c.server, NULL, NULL), "server");
	put(c.client, "hello", 0);
	get(c.server, 100, 0);
	put(c.server, "welcome", 0);
	get(c.client, 100, 0);
	hang_up(c);
	close(len);
}

/* ---- cases: options ---- */

static void with_option(const char *name, int level, int option, int value)
{
	struct conn c = dial();

	tell("%s", name);
	set(c.client, level, option, value);
	set(c.server, level, option, value);
	put(c.client, "hello", 0);
	get(c.server, 100, 0);
	put(c.server, "welcome", 0);
	get(c.client, 100, 0);
	tell("client has %d", get_option(c.client, level, option));
	shut(c.client);
	get(c.server, 100, 0);
	close(c.server);
}

static void case_options(void)
{
	with_option("TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, 1);
	with_option("SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE, 1);
	with_option("TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE, 1);
	with_option("TCP_USER_TIMEOUT", IPPROTO_TCP, TCP_USER_TIMEOUT, 1000);
	with_option("TCP_QUICKACK", IPPROTO_TCP, TCP_QUICKACK, 1);
	with_option("SO_BUSY_POLL", SOL_SOCKET, SO_BUSY_POLL, 50);
	with_option("TCP_NOTSENT_LOWAT", IPPROTO_TCP, TCP_NOTSENT_LOWAT, 16384);
	with_option("SO_PRIORITY", SOL_SOCKET, SO_PRIORITY, 3);
	with_option("TCP_LINGER2", IPPROTO_TCP, TCP_LINGER2, 3);
}

/* A filter that drops all, taken away before TCP sends again. */
static void case_filter(void)
{
	struct conn c = dial();
	struct sock_filter none[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
	struct sock_fprog drop = {1, none};

	greet(c);
	if (setsockopt(c.server, SOL_SOCKET, SO_ATTACH_FILTER, &drop, sizeof(drop)))
		die("SO_ATTACH_FILTER");
	put(c.client, "hello", 0);
	tell("server, behind the filter:%s", poll_names(await(c.server, POLLIN, 100)));
	setsockopt(c.server, SOL_SOCKET, SO_DETACH_FILTER, &drop, sizeof(drop));
	get(c.server, 100, 0);
	hang_up(c);
}

/* A quiet connection with keepalive on, both ends there. */
static void case_keepalive(void)
{
	struct conn c = dial();

	set(c.client, SOL_SOCKET, SO_KEEPALIVE, 1);
	set(c.client, IPPROTO_TCP, TCP_KEEPIDLE, 1);
	set(c.client, IPPROTO_TCP, TCP_KEEPINTVL, 1);
	set(c.client, IPPROTO_TCP, TCP_KEEPCNT, 1);
	put(c.client, "hello", 0);
	get(c.server, 100, 0);
	sleep_ms(2300);
	ready(c.client);
	ready(c.server);
	put(c.client, "hello", 0);
	get(c.server, 100, 0);
	hang_up(c);
}

static void case_info(void)
{
	struct conn c = dial();
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	put(c.client, "hello", 0);
	get(c.server, 100, 0);
	tell("getsockopt TCP_INFO -> %s",
	     res(getsockopt(c.client, IPPROTO_TCP, TCP_INFO, &info, &len)));
	tell("state %d", info.tcpi_state);
	fprintf(stderr, "bytes acked %llu, received %llu\n",
		(unsigned long long)info.tcpi_bytes_acked,
		(unsigned long long)info.tcpi_bytes_received);
	shut(c.server);
	len = sizeof(info);
	getsockopt(c.client, IPPROTO_TCP, TCP_INFO, &info, &len);
	tell("state %d", info.tcpi_state);
	close(c.client);
}

/* What it says of the bytes and their times. */
static void case_info_counters(void)
{
	struct conn c = dial();
	struct tcp_info before = {0}, after = {0};
	socklen_t len = sizeof(before);

	greet(c);
	if (getsockopt(c.server, IPPROTO_TCP, TCP_INFO, &before, &len))
		die("TCP_INFO");
	sleep_ms(500);
	put(c.client, "hello", 0);
	get(c.server, 100, 0);
	put(c.server, "welcome", 0);
	get(c.client, 100, 0);
	settle();
	len = sizeof(after);
	if (getsockopt(c.server, IPPROTO_TCP, TCP_INFO, &after, &len))
		die("TCP_INFO");
	tell("received %llu more, acknowledged %llu more",
	     (unsigned long long)(after.tcpi_bytes_received - before.tcpi_bytes_received),
	     (unsigned long long)(after.tcpi_bytes_acked - before.tcpi_bytes_acked));
	tell("last data received %s, sent %s",
	     after.tcpi_last_data_recv < 500 ? "after the pause" : "before it",
	     after.tcpi_last_data_sent < 500 ? "after the pause" : "before it");
	hang_up(c);
}

/* ---- cases: io_uring ---- */

static struct {
	int fd;
	unsigned int *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
} ring;

static void ring_up(void)
{
	struct io_uring_params p = {0};
	size_t sq_len, cq_len;
	char *sq, *cq;

	ring.fd = syscall(SYS_io_uring_setup, 8, &p);
	if (ring.fd < 0) {
		static char why[80];

		snprintf(why, sizeof(why), "io_uring_setup: %s", strerrorname_np(errno));
		skip(why);
	}
	sq_len = p.sq_off.array + p.sq_entries * sizeof(unsigned int);
	cq_len = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	sq = mmap(NULL, sq_len, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, IORING_OFF_SQ_RING);
	cq = mmap(NULL, cq_len, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, IORING_OFF_CQ_RING);
	ring.sqes = mmap(NULL, p.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE,
			 MAP_SHARED, ring.fd, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || ring.sqes == MAP_FAILED)
		die("io_uring mmap");
	ring.sq_tail = (void *)(sq + p.sq_off.tail);
	ring.sq_mask = (void *)(sq + p.sq_off.ring_mask);
	ring.sq_array = (void *)(sq + p.sq_off.array);
	ring.cq_head = (void *)(cq + p.cq_off.head);
	ring.cq_tail = (void *)(cq + p.cq_off.tail);
	ring.cq_mask = (void *)(cq + p.cq_off.ring_mask);
	ring.cqes = (void *)(cq + p.cq_off.cqes);
}

static void submit(struct io_uring_sqe sqe)
{
	unsigned int tail = *ring.sq_tail, at = tail & *ring.sq_mask;

	ring.sqes[at] = sqe;
	ring.sq_array[at] = at;
	__atomic_store_n(ring.sq_tail, tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring.fd, 1, 0, 0, NULL, 0) != 1)
		die("io_uring_enter");
}

static void ring_op(int op, int fd, const void *buf, unsigned int len, int flags)
{
	submit((struct io_uring_sqe){
		.opcode = op, .fd = fd, .addr = (uintptr_t)buf, .len = len, .msg_flags = flags});
}

/* The next completion: more than once it is waited for no longer than `ms`. */
static int completed(const char *what, int ms, struct io_uring_cqe *cqe)
{
	long limit = now_ms() + ms;

	while (__atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE) == *ring.cq_head) {
		if (now_ms() > limit) {
			tell("io_uring %s: waits", what);
			return 0;
		}
		sleep_ms(2);
		/* completes what waits to be run in this task */
		syscall(SYS_io_uring_enter, ring.fd, 0, 0, IORING_ENTER_GETEVENTS, NULL, 0);
	}
	*cqe = ring.cqes[*ring.cq_head & *ring.cq_mask];
	__atomic_store_n(ring.cq_head, *ring.cq_head + 1, __ATOMIC_RELEASE);
	errno = -cqe->res;
	return 1;
}

static void ring_done(const char *what)
{
	struct io_uring_cqe cqe;

	if (completed(what, ARRIVE_MS, &cqe))
		tell("io_uring %s -> %s", what, res(cqe.res < 0 ? -1 : cqe.res));
}

static void case_uring(void)
{
	struct conn c = dial();
	struct io_uring_cqe cqe;
	char buf[100] = "";

	ring_up();
	ring_op(IORING_OP_SEND, c.client, "hello", 5, 0);
	ring_done("send");
	ring_op(IORING_OP_RECV, c.server, buf, sizeof(buf), 0);
	ring_done("recv, bytes there");
	tell("\"%s\"", buf);
	memset(buf, 0, sizeof(buf));
	ring_op(IORING_OP_RECV, c.server, buf, sizeof(buf), 0);
	if (!completed("recv, none there", FOREVER_MS, &cqe)) {
		put(c.client, "later", 0);
		ring_done("recv");
	} else {
		tell("io_uring recv, none there -> %s", res(cqe.res < 0 ? -1 : cqe.res));
	}
	tell("\"%s\"", buf);
	ring_op(IORING_OP_RECV, c.server, buf, sizeof(buf), 0);
	shut(c.client);
	ring_done("recv, at the end");
	close(c.server);
}

static void case_uring_poll(void)
{
	struct conn c = dial();
	struct io_uring_cqe cqe;

	ring_up();
	submit((struct io_uring_sqe){
		.opcode = IORING_OP_POLL_ADD, .fd = c.server, .poll32_events = POLLIN | POLLRDHUP});
	if (completed("poll", FOREVER_MS, &cqe))
		tell("io_uring poll -> too early");
	put(c.client, "hello", 0);
	if (completed("poll", ARRIVE_MS, &cqe))
		tell("io_uring poll ->%s", poll_names(cqe.res));
	get(c.server, 100, 0);
	submit((struct io_uring_sqe){
		.opcode = IORING_OP_POLL_ADD, .fd = c.server, .poll32_events = POLLIN | POLLRDHUP});
	shut(c.client);
	if (completed("poll", ARRIVE_MS, &cqe))
		tell("io_uring poll ->%s", poll_names(cqe.res));
	close(c.server);
}

static void case_uring_waitall(void)
{
	struct conn c = dial();
	struct io_uring_cqe cqe;
	char buf[11] = "";

	ring_up();
	put(c.client, "hello", 0);
	settle();
	ring_op(IORING_OP_RECV, c.server, buf, 10, MSG_WAITALL);
	if (!completed("recv WAITALL", FOREVER_MS, &cqe)) {
		put(c.client, "world", 0);
		ring_done("recv WAITALL");
	} else {
		tell("io_uring recv WAITALL -> %s", res(cqe.res < 0 ? -1 : cqe.res));
	}
	tell("\"%s\"", buf);
	hang_up(c);
}

static void send_zc(int from, int to)
{
	struct io_uring_cqe cqe;
	static char data[5000];
	int notified = 0;

	memset(data, 'z', sizeof(data));
	ring_op(IORING_OP_SEND_ZC, from, data, sizeof(data), 0);
	if (!completed("send_zc", ARRIVE_MS, &cqe))
		return;
	if (cqe.res == -EINVAL)
		skip("no IORING_OP_SEND_ZC before Linux 6.0");
	tell("io_uring send_zc -> %s, more %s", res(cqe.res < 0 ? -1 : cqe.res),
	     cqe.flags & IORING_CQE_F_MORE ? "yes" : "no");
	if (cqe.res > 0) {
		get(to, 4000, 0);
		get(to, 4000, 0);
	}
	if (cqe.flags & IORING_CQE_F_MORE)
		notified = completed("notification", ARRIVE_MS, &cqe);
	tell("notified: %s", notified ? "yes" : "no");
}

static void case_uring_send_zc(void)
{
	struct conn c = dial();

	ring_up();
	greet(c);
	send_zc(c.client, c.server);
	hang_up(c);
}

static void case_uring_send_zc_server(void)
{
	struct conn c = dial();

	ring_up();
	greet(c);
	send_zc(c.server, c.client);
	hang_up(c);
}

/* Bulk both ways first, so that the connection is plain TCP again. */
static void case_uring_send_zc_left(void)
{
	struct conn c = dial();

	ring_up();
	greet(c);
	exchange_bulk(c);
	send_zc(c.client, c.server);
	send_zc(c.server, c.client);
	hang_up(c);
}

static void case_uring_cancel(void)
{
	struct conn c = dial();
	struct io_uring_cqe cqe;
	char buf[100] = "";

	ring_up();
	submit((struct io_uring_sqe){.opcode = IORING_OP_RECV,
				     .fd = c.server,
				     .addr = (uintptr_t)buf,
				     .len = sizeof(buf),
				     .user_data = 7});
	settle();
	submit((struct io_uring_sqe){.opcode = IORING_OP_ASYNC_CANCEL, .addr = 7});
	for (int i = 0; i < 2; i++)
		if (completed("cancel", ARRIVE_MS, &cqe))
			tell("%s -> %s", cqe.user_data == 7 ? "recv" : "cancel",
			     res(cqe.res < 0 ? -1 : cqe.res));
	put(c.client, "kept", 0);
	get(c.server, 100, 0);
	hang_up(c);
}

/* ---- the table ---- */

static const struct {
	const char *name;
	void (*run)(void);
	const char *path, *what;
} cases[] = {
#define CASE(name, path, what)                                                                     \
	{                                                                                          \
#name, case_##name, #path, what                                                    \
	}
	CASE(values, bypass, "what send and recv return, partial reads"),
	CASE(ipv6, bypass, "over IPv6"),
	CASE(mapped, bypass, "an IPv4 client of a listener for both families"),
	CASE(addrform, bypass, "IPV6_ADDRFORM"),
	CASE(keepalive_shown, bypass, "SO_KEEPALIVE, TCP_KEEPIDLE: what getsockopt says"),
	CASE(syn_cookie, stack, "a connection made with a SYN cookie"),
	CASE(read_write, bypass, "read, write, pread, lseek"),
	CASE(one_byte, bypass, "1000 sends of a byte"),
	CASE(mixed_sizes, bypass, "order of 600 sends of all sizes, read in other sizes"),
	CASE(big_send, bypass, "one send of 16 MiB, a concurrent reader"),
	CASE(empty_send, bypass, "sends of 0 bytes"),
	CASE(empty_recv, bypass, "non-blocking receives of 0 bytes, recv(NULL, 0)"),
	CASE(empty_recv_blocking, bypass, "a blocking receive of 0 bytes"),
	CASE(empty_recv_reset, bypass, "a receive of 0 bytes after a reset"),
	CASE(addresses, bypass, "getsockname, getpeername, sendto, recvfrom, a second connect"),
	CASE(fault, bypass, "buffers that are not there"),
	CASE(dontwait, bypass, "MSG_DONTWAIT, O_NONBLOCK"),
	CASE(peek, bypass, "MSG_PEEK, repeated, then read"),
	CASE(peek_several, bypass, "MSG_PEEK over several messages"),
	CASE(peek_many, bypass, "MSG_PEEK over 50 messages of 1000 bytes"),
	CASE(peek_blocked, bypass, "a blocking MSG_PEEK"),
	CASE(peek_off, bypass, "SO_PEEK_OFF"),
	CASE(trunc, bypass, "MSG_TRUNC: bytes thrown away"),
	CASE(trunc_null, bypass, "MSG_TRUNC without a buffer"),
	CASE(waitall, bypass, "MSG_WAITALL, the second half comes later"),
	CASE(waitall_there, bypass, "MSG_WAITALL, all is there, or the end comes"),
	CASE(waitall_dontwait, bypass, "MSG_WAITALL with MSG_DONTWAIT"),
	CASE(oob, bypass, "MSG_OOB, SIGURG, SIOCATMARK, exceptfds"),
	CASE(oob_inline, bypass, "MSG_OOB with SO_OOBINLINE"),
	CASE(oob_none, bypass, "MSG_OOB where nothing is urgent"),
	CASE(rcvlowat, bypass, "SO_RCVLOWAT"),
	CASE(errqueue_empty, bypass, "MSG_ERRQUEUE of an empty queue"),
	CASE(recvmsg_flags, bypass, "MSG_EOR, msg_flags, msg_controllen"),
	CASE(eof_close, bypass, "the end after close, readiness at each stage"),
	CASE(eof_shutdown, bypass, "the end after shutdown(SHUT_WR)"),
	CASE(eof_nothing_sent, stack, "the end, nothing was sent"),
	CASE(half_close_client, bypass, "half-close, the client first"),
	CASE(half_close_server, bypass, "half-close, the server first"),
	CASE(half_close_unread, bypass, "half-close with unread bytes both ways"),
	CASE(shut_rd, bypass, "shutdown(SHUT_RD)"),
	CASE(shut_rdwr, bypass, "shutdown(SHUT_RDWR)"),
	CASE(epipe, bypass, "EPIPE and SIGPIPE after shutdown(SHUT_WR)"),
	CASE(closed_peer, bypass, "first, second, third send to a peer that has closed"),
	CASE(closed_peer_read, bypass, "a send to a closed peer whose last bytes are unread"),
	CASE(reset, bypass, "a reset"),
	CASE(reset_unread, bypass, "a reset, with bytes unread"),
	CASE(reset_error, bypass, "SO_ERROR after a reset"),
	CASE(reset_send, bypass, "sends after a reset"),
	CASE(close_unread, bypass, "close with unread bytes"),
	CASE(close_unread_answered, bypass, "close with unread bytes after an answer"),
	CASE(linger, bypass, "close with a linger time"),
	CASE(late_accept, bypass, "accept after the client has sent and closed"),
	CASE(never_accepted, bypass, "a listener that closes without an accept"),
	CASE(child_exits, bypass, "a process that exits after its send"),
	CASE(child_killed, bypass, "a process that is killed after its send"),
	CASE(ready_read, bypass, "poll, epoll, select for reading"),
	CASE(ready_write, bypass, "poll, epoll, select for writing, a stopped reader"),
	CASE(ready_write_small, bypass, "the same with small sends"),
	CASE(edge_read, bypass, "edge-triggered epoll for reading"),
	CASE(edge_write, bypass, "edge-triggered epoll for writing"),
	CASE(edge_reset, bypass, "edge-triggered epoll and a reset"),
	CASE(edge_oneshot, bypass, "EPOLLONESHOT"),
	CASE(woken, bypass, "threads that wait in poll, select, epoll"),
	CASE(sigio, bypass, "O_ASYNC, SIGIO"),
	CASE(fionread, bypass, "FIONREAD"),
	CASE(outq, bypass, "SIOCOUTQ, SIOCOUTQNSD"),
	CASE(rcvtimeo, bypass, "SO_RCVTIMEO"),
	CASE(rcvtimeo_peek, bypass, "SO_RCVTIMEO with MSG_PEEK"),
	CASE(sndtimeo, bypass, "SO_SNDTIMEO"),
	CASE(cork, bypass, "TCP_CORK, let go"),
	CASE(cork_timer, bypass, "TCP_CORK, never let go"),
	CASE(more, bypass, "MSG_MORE"),
	CASE(more_close, bypass, "MSG_MORE, then close"),
	CASE(sendfile, bypass, "sendfile(2)"),
	CASE(sendfile_changed, bypass, "a file that changes after sendfile(2)"),
	CASE(big_sendfile, bypass, "sendfile(2) of 4 MiB, a concurrent reader"),
	CASE(splice_to, bypass, "splice(2) to the socket"),
	CASE(splice_from, bypass, "splice(2) from the socket"),
	CASE(splice_behind, bypass, "splice(2) from the socket of a reader that has not kept up"),
	CASE(zerocopy, bypass, "MSG_ZEROCOPY, its completion"),
	CASE(zerocopy_before, any, "MSG_ZEROCOPY, SO_ZEROCOPY before the connect"),
	CASE(zerocopy_unset, bypass, "MSG_ZEROCOPY without SO_ZEROCOPY"),
	CASE(zerocopy_receive, bypass, "TCP_ZEROCOPY_RECEIVE"),
	CASE(vectors, bypass, "writev, readv, sendmsg, recvmsg of 1024 segments"),
	CASE(mmsg, bypass, "sendmmsg, recvmmsg"),
	CASE(control, bypass, "sendmsg with control data"),
	CASE(timestamp, bypass, "SO_TIMESTAMP"),
	CASE(timestamping_rx, bypass, "SO_TIMESTAMPING of what is received"),
	CASE(timestamping_tx, bypass, "SO_TIMESTAMPING of what is sent"),
	CASE(inq, bypass, "TCP_INQ"),
	CASE(recv_waits, bypass, "a blocking recv and read"),
	CASE(recv_eof, bypass, "a blocking recv, the peer closes"),
	CASE(recv_reset, bypass, "a blocking recv, the peer resets"),
	CASE(recv_own_shut_rd, bypass, "a blocking recv, shutdown(SHUT_RD) of the same socket"),
	CASE(recv_own_shut_wr, bypass, "a blocking recv, shutdown(SHUT_WR) of the same socket"),
	CASE(half_close_fault, bypass, "half-close while the other end's recv waits for memory"),
	CASE(half_close_fault_answered, bypass, "the same, the other end has sent before"),
	CASE(recv_own_shut_rdwr, bypass, "a blocking recv, shutdown(SHUT_RDWR) of the same socket"),
	CASE(recv_two, bypass, "two blocking recvs on one socket"),
	CASE(recv_signal, bypass, "a signal in a blocking recv"),
	CASE(recv_signal_restart, bypass, "a signal with SA_RESTART in a blocking recv"),
	CASE(recv_frozen, bypass, "a blocking recv in a cgroup that is frozen and thawed"),
	CASE(send_signal, bypass, "a signal in a blocking send"),
	CASE(send_own_shut, bypass, "a blocking send, shutdown of the same socket"),
	CASE(send_reset, bypass, "a blocking send, the peer resets"),
	CASE(send_close, bypass, "a blocking send, the peer closes"),
	CASE(recv_own_close, bypass, "a blocking recv, its descriptor is closed"),
	CASE(poll_own_shut, bypass, "a blocking poll, shutdown of the same socket"),
	CASE(dup, bypass, "dup(2)"),
	CASE(fork, bypass, "parent and child use both ends"),
	CASE(scm_rights, bypass, "a socket passed to another process, with unread bytes"),
	CASE(duplex, bypass, "each end sends and receives at once, in threads"),
	CASE(self_connect, stack, "a socket connected to itself"),
	CASE(simultaneous_open, stack, "both ends connect"),
	CASE(reuseport, bypass, "three listeners with SO_REUSEPORT"),
	CASE(time_wait, bypass, "the port of a closed connection"),
	CASE(nonblocking_connect, bypass, "EINPROGRESS, EISCONN, accept4"),
	CASE(refused, stack, "a connect that is refused"),
	CASE(reconnect, bypass, "connect(AF_UNSPEC), then a second connection"),
	CASE(reconnect_unread, bypass, "the same with unread bytes"),
	CASE(reconnect_bulk, bypass, "the same after bulk"),
	CASE(reconnect_stopped, bypass, "the same, then a stopped reader"),
	CASE(disconnect_listen, bypass, "connect(AF_UNSPEC), then listen"),
	CASE(options, bypass, "options that are set, and kept"),
	CASE(keepalive, bypass, "keepalive of a quiet connection"),
	CASE(filter, bypass, "SO_ATTACH_FILTER"),
	CASE(info, bypass, "TCP_INFO: the state"),
	CASE(info_counters, bypass, "TCP_INFO: bytes and times"),
	CASE(uring, bypass, "io_uring send, recv"),
	CASE(uring_poll, bypass, "io_uring poll"),
	CASE(uring_waitall, bypass, "io_uring recv with MSG_WAITALL"),
	CASE(uring_send_zc, bypass, "io_uring send_zc, its notification"),
	CASE(uring_send_zc_server, bypass, "io_uring send_zc of the accepted end"),
	CASE(uring_send_zc_left, bypass, "io_uring send_zc after bulk, off the bypass"),
	CASE(uring_cancel, bypass, "io_uring cancels a recv"),
#undef CASE
};

#define CASES (sizeof(cases) / sizeof(cases[0]))

int main(int argc, char **argv)
{
	const char *name = argc == 2 ? argv[1] : "";

	if (!strcmp(name, "--list")) {
		for (size_t i = 0; i < CASES; i++)
			printf("%s %s %s\n", cases[i].name, cases[i].path, cases[i].what);
		return 0;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGALRM, on_alarm);
	alarm(CASE_SECONDS);
	for (size_t i = 0; i < CASES; i++) {
		if (!strcmp(cases[i].name, name)) {
			cases[i].run();
			return 0;
		}
	}
	fprintf(stderr, "usage: semantics CASE | --list\n");
	return 2;
}
