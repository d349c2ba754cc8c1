/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the cases share: how a case is written, the transcript, and the calls that
 * write their own lines into it.
 */
#ifndef SEMANTICS_H
#define SEMANTICS_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../stream.h"

#define SETTLE_MS  25	/* what is on its way has arrived */
#define ARRIVE_MS  3000 /* what must come, comes within */
#define FOREVER_MS 150	/* what has not returned by then waits */

/* ---- cases (main.c) ---- */

struct test_case {
	const char *name, *path, *what;
	void (*run)(void);
	const char *file; /* the cases are listed by file and line */
	int line;
	struct test_case *next;
};

void add_case(struct test_case *added);

/*
 * The head of a case's function; there is no other list to keep.  `where` its bytes must
 * go under the pair: see main.c.  The constructor puts the case into the list before main
 * runs; it is not static, so that a name which stands twice does not link.
 */
#define CASE(title, where, text)                                                                   \
	static void case_##title(void);                                                            \
	__attribute__((constructor)) void add_case_##title(void)                                   \
	{                                                                                          \
		static struct test_case self = {                                                   \
			.name = #title,                                                            \
			.path = #where,                                                            \
			.what = text,                                                              \
			.run = case_##title,                                                       \
			.file = __FILE__,                                                          \
			.line = __LINE__,                                                          \
		};                                                                                 \
		add_case(&self);                                                                   \
	}                                                                                          \
	static void case_##title(void)

/* ---- the transcript (transcript.c) ---- */

extern char names[1024][24]; /* of the descriptors */

__attribute__((format(printf, 1, 2))) void tell(const char *fmt, ...);
/* What failed is not under test. */
#define fail(what) die(2, "%s: %s", what, strerror(errno))
__attribute__((noreturn)) void skip(const char *why);
/* A result, or the name of the error.  Several fit into one tell(). */
const char *res(long r);
int named(int fd, const char *name);
const char *flag_names(int flags);
const char *poll_names(unsigned int events);

/* ---- time (clock.c) ---- */

long now_ms(void);
void sleep_ms(long ms);
void settle(void);
/* Wait for one of these events (or an error), and no longer than that. */
int await(int fd, int events, int ms);

/* ---- connections (connection.c) ---- */

struct conn {
	int client, server;
};

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

socklen_t loopback(union address *a, int family);
void set(int fd, int level, int option, int value);
int get_option(int fd, int level, int option);
void nonblock(int fd, int on);
/* Bound to a free port of the loopback address, which is left in *a. */
int bound(union address *a, int family);
int listener(union address *a, int family);
int call(const union address *a);
struct conn dial_family(int family);
/* Small sends do not wait for acknowledgments: each has arrived once it settled. */
struct conn dial(void);
/* As sockets are by default. */
struct conn dial_nagle(void);
void hang_up(struct conn c);
/* Let no packet through to this socket; let all through again. */
void hide_packets(int fd);
void show_packets(int fd);

/* ---- calls with their lines (calls.c) ---- */

void put(int fd, const char *text, int flags);
void tell_got(int fd, size_t want, int flags, long r, const char *buf);
/* Receive; a blocking call is made only when there is something to receive. */
long get(int fd, size_t want, int flags);
void no_more(int fd);
void error_of(int fd);
/* shutdown */
void end(int fd, int how);
void shut(int fd);
void reset(int fd);
/* What poll, select and epoll say now. */
void ready(int fd);
void tell_unread(int fd);
/* A first message, so that what follows is not the first one. */
void greet(struct conn c);
/* A message each way. */
void exchange(struct conn c);
/* Signals that a send to nobody raised since count_sigpipes(). */
extern atomic_int sigpipes;
void count_sigpipes(void);
/* Is a completion, or a time stamp, in the error queue? */
void completion(int fd);

/* ---- streams (bulk.c) ---- */

/* A stream of stream.h as it is received; a wrong byte is told, and does not end the case. */
struct incoming {
	struct stream stream;
	int wrong;
};

void compare(struct incoming *in, const unsigned char *buf, size_t len);
const char *order(const struct incoming *in);
/* Read until `want` bytes, the end, an error, or a while of nothing. */
size_t drain(int fd, struct incoming *in, size_t want);
/* Send the stream's next bytes, 64 KiB at most; it goes on behind those that were taken. */
long send_next(int fd, struct stream *s, size_t len, int flags);
/* The same; all of them are to be taken. */
void send_all(int fd, struct stream *s, size_t len);
/* Send until there is no room, or there never comes an end of room. */
size_t stuff(int fd, struct stream *s, size_t piece);
/* A MiB each way in pieces that are read at once: more than small talk. */
void exchange_bulk(struct conn c);

/* ---- calls that block, in a thread of their own (task.c) ---- */

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

long task_connect(struct task *t); /* to the address in buf */
long task_recv(struct task *t);
long task_read(struct task *t);
long task_recv_into(struct task *t);
long task_send(struct task *t);
long task_poll(struct task *t);
long task_select(struct task *t);
long task_epoll(struct task *t);
/* A thread, or a process. */
int is_asleep(int tid);
/* Start it, and wait until it sleeps in its call or is through. */
void begin(struct task *t, const char *what, long (*run)(struct task *));
int returned(struct task *t, long ms);
/* Has it returned?  If it waits, it will be asked again. */
int still_waits(struct task *t);
void must_return(struct task *t);
/* If it waits, send what ends it.  Did it wait? */
int fed(struct task *t, int from, const char *text);
/* Whether it waits or not: who gets what is sent now, this recv or the next one? */
void gets_later(struct task *t, int from, const char *text);
/* Interrupt it by a signal that does nothing; `flags` are those of sigaction. */
void interrupt(struct task *t, int flags);
void wait_child(pid_t pid);

#endif /* SEMANTICS_H */
