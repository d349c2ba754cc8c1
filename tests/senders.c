// SPDX-License-Identifier: GPL-2.0
/*
 * Several threads that send on one socket without a lock of their own, and a reader inside a TCP
 * recv (MSG_WAITALL).
 *
 *   senders [--rounds N] [--threads N] [--records N] [--waitall BYTES] [--shut] [--listen ADDRESS]
 *
 * Each round is a connection within this process, by default 100.  The server's threads send
 * numbered records, 200 of 512 bytes each by default, and the client reads, BYTES at a time (64
 * KiB, 0: without MSG_WAITALL).  With --shut another thread ends the direction in their midst.
 *
 * Of each thread the records must come whole and in order, and all that send(2) has taken must
 * come before the end of the stream.  Prints how many rounds were wrong, in which way; exit status
 * 1 if any was, 2 for other errors, 3 for a hang (10 s without a round).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RECORD	     512
#define MOST_THREADS 64
#define HANG	     10 /* seconds */

struct record {
	uint32_t thread;
	uint32_t number; /* from 1 */
	char filling[RECORD - 8];
};

struct sender {
	pthread_t thread;
	uint32_t id, taken; /* records that send(2) has taken */
};

static int rounds = 100, threads = 4, records = 200, waitall = 64 * 1024, shut;
static const char *listen_on = "127.0.0.1";

static int client, server; /* of this round */
static struct sender senders[MOST_THREADS];
static pthread_barrier_t start;
static int disordered, torn, lost;

static void fail(const char *what)
{
	perror(what);
	exit(2);
}

static void on_alarm(int sig)
{
	(void)sig;
	_exit(3);
}

static void *send_records(void *arg)
{
	struct sender *s = arg;
	struct record r = {.thread = s->id};

	memset(r.filling, s->id, sizeof(r.filling));
	pthread_barrier_wait(&start);
	for (s->taken = 0; s->taken < (uint32_t)records; s->taken++) {
		r.number = s->taken + 1;
		if (send(server, &r, RECORD, MSG_NOSIGNAL) == RECORD)
			continue;
		if (shut && errno == EPIPE)
			break;
		fail("send");
	}
	return NULL;
}

/* Shortly after the senders have begun, each time a little later. */
static void *end_direction(void *arg)
{
	int round = *(int *)arg;

	pthread_barrier_wait(&start);
	for (volatile int i = 0; i < round * 997 % 20000; i++)
		;
	if (shutdown(server, SHUT_WR))
		fail("shutdown");
	return NULL;
}

/* Whole records, as many as the buffer holds; 0 at the end of the stream. */
static size_t get_records(struct record *buf, size_t most)
{
	size_t want = most * RECORD, got = 0;

	do {
		ssize_t n = recv(client, (char *)buf + got, want - got, waitall ? MSG_WAITALL : 0);

		if (n < 0)
			fail("recv");
		if (!n)
			break;
		got += n;
	} while (got % RECORD); /* on the bypass MSG_WAITALL may be short */
	torn += got % RECORD != 0;
	return got / RECORD;
}

/* Until the end of the stream, or all have come. */
static void read_records(void)
{
	size_t most = waitall / RECORD ?: 64, all = (size_t)threads * records, got = 0, n;
	uint32_t last[MOST_THREADS] = {0}, bad = 0, taken = 0;
	struct record *buf = malloc(most * RECORD);

	if (!buf)
		fail("malloc");
	while (got < all && (n = get_records(buf, most < all - got ? most : all - got))) {
		for (size_t i = 0; i < n; i++) {
			uint32_t id = buf[i].thread;

			if (id >= (uint32_t)threads || buf[i].filling[0] != (char)id ||
			    buf[i].filling[sizeof(buf[i].filling) - 1] != (char)id) {
				torn++;
				goto out;
			}
			bad += buf[i].number != last[id] + 1;
			last[id] = buf[i].number;
		}
		got += n;
	}
out:
	for (int i = 0; i < threads; i++) {
		pthread_join(senders[i].thread, NULL);
		taken += senders[i].taken;
	}
	disordered += bad > 0;
	lost += got != taken;
	free(buf);
}

/* A connection, on which both ends have sent before. */
static void make_connection(int listener, const struct sockaddr_in6 *address, socklen_t len)
{
	int one = 1;
	char byte = 0;

	client = socket(address->sin6_family, SOCK_STREAM, 0);
	if (client < 0 || connect(client, (const struct sockaddr *)address, len))
		fail("connect");
	server = accept(listener, NULL, NULL);
	if (server < 0)
		fail("accept");
	if (setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
		fail("TCP_NODELAY");
	if (send(client, &byte, 1, 0) != 1 || recv(server, &byte, 1, 0) != 1 ||
	    send(server, &byte, 1, 0) != 1 || recv(client, &byte, 1, 0) != 1)
		fail("the first bytes");
}

static void play(int round)
{
	pthread_t ender;

	pthread_barrier_init(&start, NULL, threads + shut);
	for (int i = 0; i < threads; i++) {
		senders[i].id = i;
		if (pthread_create(&senders[i].thread, NULL, send_records, &senders[i]))
			fail("pthread_create");
	}
	if (shut && pthread_create(&ender, NULL, end_direction, &round))
		fail("pthread_create");
	read_records();
	if (shut)
		pthread_join(ender, NULL);
	pthread_barrier_destroy(&start);
	close(client);
	close(server);
}

static int start_listening(struct sockaddr_in6 *address, socklen_t *len)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)address;
	int fd;

	memset(address, 0, sizeof(*address));
	if (inet_pton(AF_INET, listen_on, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		*len = sizeof(*v4);
	} else if (inet_pton(AF_INET6, listen_on, &address->sin6_addr) == 1) {
		address->sin6_family = AF_INET6;
	} else {
		fail(listen_on);
	}
	fd = socket(address->sin6_family, SOCK_STREAM, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)address, *len) || listen(fd, 8) ||
	    getsockname(fd, (struct sockaddr *)address, len))
		fail("listen");
	return fd;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"rounds", 1, 0, 'r'},
						{"threads", 1, 0, 't'},
						{"records", 1, 0, 'n'},
						{"waitall", 1, 0, 'w'},
						{"listen", 1, 0, 'l'},
						{"shut", 0, &shut, 1},
						{0}};
	struct sockaddr_in6 address;
	socklen_t len = sizeof(address);
	int c, listener;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'r':
			rounds = atoi(optarg);
			break;
		case 't':
			threads = atoi(optarg);
			break;
		case 'n':
			records = atoi(optarg);
			break;
		case 'w':
			waitall = atoi(optarg);
			break;
		case 'l':
			listen_on = optarg;
			break;
		case 0:
			break;
		default:
			return 2;
		}
	}
	if (threads < 1 || threads > MOST_THREADS)
		return 2;
	signal(SIGALRM, on_alarm);
	listener = start_listening(&address, &len);
	for (int round = 0; round < rounds; round++) {
		alarm(HANG);
		make_connection(listener, &address, len);
		play(round);
	}
	printf("%d rounds: %d out of order, %d torn, %d with records lost\n", rounds, disordered,
	       torn, lost);
	return disordered || torn || lost;
}
