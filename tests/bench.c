// SPDX-License-Identifier: GPL-2.0
/*
 * One measurement of one TCP connection over 127.0.0.1, both ends in processes
 * of their own.
 *
 *   bench rr SIZE SECONDS CPU_CLIENT CPU_SERVER      round trips per second
 *   bench stream SIZE SECONDS CPU_CLIENT CPU_SERVER  MB per second received
 *   bench warm SIZE SECONDS CPU_CLIENT CPU_SERVER    the same, after small talk
 *
 * SIZE is that of each write, in bytes.  Prints the rate alone.  A `warm` stream
 * follows ten round trips of 100 bytes, as on most connections of real programs:
 * what plain TCP reaches depends on it, since the first moments of a connection
 * decide how large its receive buffer grows, and whether that fits the cache.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		err(2, "sched_setaffinity to CPU %d", cpu);
}

static int read_all(int fd, char *buf, size_t len)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = recv(fd, buf + got, len - got, 0);

		if (n == 0 && !got)
			return 0;
		if (n <= 0)
			err(2, "recv after %zu of %zu", got, len);
		got += n;
	}
	return 1;
}

static void write_all(int fd, const char *buf, size_t len)
{
	while (len) {
		ssize_t n = send(fd, buf, len, 0);

		if (n < 0)
			err(2, "send");
		buf += n;
		len -= n;
	}
}

#define SMALL_TALK 10
#define SMALL	   100

static void small_talk(int fd, int client)
{
	char buf[SMALL] = {0};

	for (int i = 0; i < SMALL_TALK; i++) {
		if (client)
			write_all(fd, buf, SMALL);
		if (!read_all(fd, buf, SMALL))
			errx(2, "the connection ended early");
		if (!client)
			write_all(fd, buf, SMALL);
	}
}

static void serve_rr(int fd, char *buf, size_t size)
{
	while (read_all(fd, buf, size))
		write_all(fd, buf, size);
}

/* Returns the rate as an 8-byte double over the same connection. */
static void serve_stream(int fd)
{
	static char buf[256 * 1024];
	double start = 0, total = 0, rate;
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0) {
		if (!start)
			start = now();
		total += n;
	}
	if (n < 0)
		err(2, "recv");
	rate = total / 1e6 / (now() - start);
	write_all(fd, (char *)&rate, sizeof(rate));
}

int main(int argc, char **argv)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	int listener, fd, status, one = 1, rr, warm;
	double seconds, start, rate;
	size_t size;
	char *buf;
	pid_t pid;

	if (argc != 6)
		errx(2, "usage: bench rr|stream|warm SIZE SECONDS CPU_CLIENT CPU_SERVER");
	rr = !strcmp(argv[1], "rr");
	warm = !strcmp(argv[1], "warm");
	size = atol(argv[2]);
	seconds = atof(argv[3]);
	buf = calloc(1, size);
	if (!size || !buf)
		errx(2, "no such size: %s", argv[2]);

	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(listener, (void *)&addr, len) || listen(listener, 1) ||
	    getsockname(listener, (void *)&addr, &len))
		err(2, "listen");
	pid = fork();
	if (pid == 0) {
		pin(atoi(argv[5]));
		fd = accept(listener, NULL, NULL);
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (warm)
			small_talk(fd, 0);
		if (rr)
			serve_rr(fd, buf, size);
		else
			serve_stream(fd);
		exit(0);
	}
	pin(atoi(argv[4]));
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(fd, (void *)&addr, len))
		err(2, "connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (warm)
		small_talk(fd, 1);
	start = now();
	if (rr) {
		long trips = 0;

		while (now() - start < seconds) {
			write_all(fd, buf, size);
			read_all(fd, buf, size);
			trips++;
		}
		rate = trips / (now() - start);
	} else {
		while (now() - start < seconds)
			for (int i = 0; i < 16; i++)
				write_all(fd, buf, size);
		shutdown(fd, SHUT_WR);
		read_all(fd, (char *)&rate, sizeof(rate));
	}
	close(fd);
	if (waitpid(pid, &status, 0) != pid || status)
		errx(2, "the server failed");
	printf("%.1f\n", rate);
	return 0;
}
