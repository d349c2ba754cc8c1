// SPDX-License-Identifier: GPL-2.0
/*
 * Many TCP connections over 127.0.0.1, between this process and a child.
 *
 *   many COUNT UNREAD
 *   many --churn COUNT
 *
 * Opens COUNT connections with a round trip on each, once it is accepted: a client
 * that sends before the kernel has come to the server's end of the handshake stays on
 * TCP.  On the first UNREAD of them the server sends more, which the client does not
 * read.  Prints "ready".  For each line on stdin: reads what is unread, if anything,
 * makes a round trip on every connection, and prints "again".  Neither end waits in a
 * recv, only in poll.
 *
 * With --churn the connections come one after the other, a round trip on each; in
 * turns the client closes first, the server does, or the client resets.
 *
 * Every byte is checked.  Exit status 0: as it should be.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
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

static uint32_t *accepted; /* connections, in both processes' memory */

static void server(int listener, uint32_t count, uint32_t unread)
{
	int *fd = calloc(count, sizeof(*fd)), more = 1;
	struct pollfd p;

	for (uint32_t i = 0; i < count; i++) {
		fd[i] = accept(listener, NULL, NULL);
		if (fd[i] < 0)
			fail("accept");
		__atomic_add_fetch(accepted, 1, __ATOMIC_SEQ_CST);
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

static int call(const struct sockaddr_in *to, uint32_t i)
{
	/* Ports in TIME_WAIT would run out on one address. */
	struct sockaddr_in own = {.sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(0x7f000001 + i / 10000)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	if (fd < 0 || setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one)) ||
	    bind(fd, (void *)&own, sizeof(own)) || connect(fd, (void *)to, sizeof(*to)))
		fail("connect");
	return fd;
}

static void get_end(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char byte;

	if (poll(&p, 1, TIMEOUT_MS) != 1 || recv(fd, &byte, 1, MSG_DONTWAIT) > 0)
		fail("end of stream");
}

static void churn(int listener, const struct sockaddr_in *to, uint32_t count)
{
	struct linger reset = {.l_onoff = 1};
	int server = !fork(), fd, status;

	for (uint32_t i = 0; i < count; i++) {
		fd = server ? accept(listener, NULL, NULL) : call(to, i);
		if (fd < 0)
			fail("accept");
		if (server) {
			get(fd, 4, i, 0);
			put(fd, 4, i, 1);
		} else {
			put(fd, 4, i, 0);
			get(fd, 4, i, 1);
			if (i % 3 == 2)
				setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		}
		if (server == (i % 3 != 1))
			get_end(fd);
		close(fd);
	}
	if (server)
		exit(0);
	if (wait(&status) < 0 || status)
		exit(1);
}

int main(int argc, char **argv)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
	int churning = argc == 3 && !strcmp(argv[1], "--churn");
	uint32_t count = argc == 3 ? atoi(argv[1 + churning]) : 0;
	uint32_t unread = argc == 3 && !churning ? atoi(argv[2]) : 0;
	int listener = socket(AF_INET, SOCK_STREAM, 0), *fd = calloc(count + 1, sizeof(*fd)),
	    status;
	socklen_t len = sizeof(addr);
	struct rlimit files;

	if (argc != 3 || unread > count) {
		fprintf(stderr, "usage: many COUNT UNREAD | many --churn COUNT\n");
		return 2;
	}
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	if (bind(listener, (void *)&addr, len) || listen(listener, 128) ||
	    getsockname(listener, (void *)&addr, &len))
		fail("listen");
	if (churning) {
		churn(listener, &addr, count);
		return 0;
	}
	accepted = mmap(NULL, sizeof(*accepted), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			-1, 0);
	if (accepted == MAP_FAILED)
		fail("mmap");
	if (!fork())
		server(listener, count, unread);
	close(listener);
	for (uint32_t i = 0; i < count; i++) {
		fd[i] = call(&addr, i);
		for (int ms = 0; __atomic_load_n(accepted, __ATOMIC_SEQ_CST) <= i; ms++)
			if (ms == TIMEOUT_MS || poll(NULL, 0, 1))
				fail("accept");
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
	/* So that no socket is left once this program has ended. */
	for (uint32_t i = 0; i < count; i++)
		close(fd[i]);
	if (wait(&status) < 0 || status)
		return 1;
	return 0;
}
