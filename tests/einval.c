// SPDX-License-Identifier: GPL-2.0
/*
 * einval nothing|part|all CONNECTIONS: servers that call splice(2) while bypassed bytes wait, and
 * get the guard's EINVAL.  Then each
 *
 *   nothing  gets another message, and closes with all unread
 *   part     reads a part of the first message, and closes
 *   all      reads message by message, while others come, of which one can get the place in memory
 *            of one that was read; closes with the last ones unread
 *
 * Prints how many of these calls got EINVAL.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SIZE 100 /* bytes of a message */

static void check(int failed, const char *what)
{
	if (failed)
		err(1, "%s", what);
}

static void put(int fd)
{
	static const char message[SIZE];

	check(send(fd, message, SIZE, 0) != SIZE, "send");
}

static void get(int fd, int size)
{
	char message[SIZE];

	check(recv(fd, message, size, MSG_WAITALL) != size, "recv");
}

static int gets_einval(int fd)
{
	int p[2], failed;

	check(pipe(p), "pipe");
	failed = splice(fd, NULL, p[1], NULL, SIZE, SPLICE_F_NONBLOCK) < 0 && errno == EINVAL;
	close(p[0]);
	close(p[1]);
	return failed;
}

static int play(const char *what, int client, int server)
{
	int einval;

	put(client);
	einval = gets_einval(server);
	put(client);
	if (!strcmp(what, "part"))
		get(server, SIZE / 2);
	for (int i = 0; !strcmp(what, "all") && i < 20; i++) {
		get(server, SIZE);
		put(client);
	}
	close(server);
	close(client);
	return einval;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int listener = socket(AF_INET, SOCK_STREAM, 0), client, server, einval = 0;
	socklen_t len = sizeof(to);

	if (argc != 3)
		errx(2, "usage: einval nothing|part|all CONNECTIONS");
	check(bind(listener, (void *)&to, len) || listen(listener, 1) ||
		      getsockname(listener, (void *)&to, &len),
	      "listen");
	for (int i = 0; i < atoi(argv[2]); i++) {
		client = socket(AF_INET, SOCK_STREAM, 0);
		check(connect(client, (void *)&to, len), "connect");
		server = accept(listener, NULL, NULL);
		check(server < 0, "accept");
		einval += play(argv[1], client, server);
	}
	printf("%d\n", einval);
	return 0;
}
