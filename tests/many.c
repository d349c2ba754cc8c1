// SPDX-License-Identifier: GPL-2.0
/*
 * Many TCP connections over 127.0.0.1, between this process and a child.
 *
 *   many COUNT UNREAD
 *
 * Opens COUNT connections with a round trip on each, then sends to the client on
 * the first UNREAD of them what it does not read, and prints "ready".  For each line on
 * stdin: reads what is unread, if anything, makes a round trip on every
 * connection, and prints "again".  Neither end waits in a recv, only in poll.
 * Every byte is checked.  Exit status 0: as it should be.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define UNREAD_SIZE 3000
#define TIMEOUT_MS  60000

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* `size` bytes that tell this connection and this round from all others. */
static void fill(char *buf, size_t size, uint32_t connection, uint32_t round)
{
	uint32_t word = connection * 2654435761u ^ round * 40503u;

	for (size_t i = 0; i < size; i++)
		buf[i] = (word >> 8 * (i % 4)) + i / 4;
}

static void put(int fd, size_t size, uint32_t connection, uint32_t round)
{
	char buf[UNREAD_SIZE];

	fill(buf, size, connection, round);
	if (send(fd, buf, size, MSG_NOSIGNAL) != (ssize_t)size)
		fail("send");
}

static void get(int fd, size_t size, uint32_t connection, uint32_t round)
{
	char want[UNREAD_SIZE], have[UNREAD_SIZE];
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t n;

	fill(want, size, connection, round);
	for (size_t got = 0; got < size; got += n) {
		if (poll(&p, 1, TIMEOUT_MS) != 1)
			fail("poll");
		n = recv(fd, have + got, size - got, MSG_DONTWAIT);
		if (n <= 0)
			fail("recv");
	}
	if (memcmp(want, have, size)) {
		fprintf(stderr, "many: wrong bytes on connection %u\n", connection);
		exit(1);
	}
}

static void server(int listener, uint32_t count, uint32_t unread)
{
	int *fd = calloc(count, sizeof(*fd)), more = 1;
	struct pollfd p;

	for (uint32_t i = 0; i < count; i++) {
		fd[i] = accept(listener, NULL, NULL);
		if (fd[i] < 0)
			fail("accept");
		get(fd[i], 4, i, 0);
		put(fd[i], 4, i, 1);
		if (i < unread)
			put(fd[i], UNREAD_SIZE, i, 2);
	}
	for (uint32_t round = 3; more; round += 2) {
		for (uint32_t i = 0; i < count && more; i++) {
			p = (struct pollfd){.fd = fd[i], .events = POLLIN};
			poll(&p, 1, -1);
			more = recv(fd[i], &p, 1, MSG_PEEK) > 0;
			if (!more)
				break;
			get(fd[i], 4, i, round);
			put(fd[i], 4, i, round + 1);
		}
	}
	exit(0);
}

int main(int argc, char **argv)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
	uint32_t count = argc > 1 ? atoi(argv[1]) : 0, unread = argc > 2 ? atoi(argv[2]) : 0;
	int listener = socket(AF_INET, SOCK_STREAM, 0), *fd = calloc(count + 1, sizeof(*fd));
	socklen_t len = sizeof(addr);
	struct rlimit files;

	if (argc != 3 || unread > count) {
		fprintf(stderr, "usage: many COUNT UNREAD\n");
		return 2;
	}
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	if (bind(listener, (void *)&addr, len) || listen(listener, 128) ||
	    getsockname(listener, (void *)&addr, &len))
		fail("listen");
	if (!fork())
		server(listener, count, unread);
	close(listener);
	for (uint32_t i = 0; i < count; i++) {
		fd[i] = socket(AF_INET, SOCK_STREAM, 0);
		if (fd[i] < 0 || connect(fd[i], (void *)&addr, len))
			fail("connect");
		put(fd[i], 4, i, 0);
		get(fd[i], 4, i, 1);
	}
	printf("ready\n");
	fflush(stdout);
	for (uint32_t round = 3; getchar() != EOF; round += 2) {
		for (; unread; unread--)
			get(fd[unread - 1], UNREAD_SIZE, unread - 1, 2);
		for (uint32_t i = 0; i < count; i++)
			put(fd[i], 4, i, round);
		for (uint32_t i = 0; i < count; i++)
			get(fd[i], 4, i, round + 1);
		printf("again\n");
		fflush(stdout);
	}
	return 0;
}
