// SPDX-License-Identifier: GPL-2.0
/*
 * stale reset|ask CONNECTIONS DIRECTORY WORD: clients whose servers' ends have gone, and whose
 * servers' records are memory with other data.
 *
 * DIRECTORY, of a cgroup that is the caller's, gets cgroups with extended attributes.  From 6.4 on
 * the kernel keeps these in memory of the size of a record; all their words are WORD.  Then each
 * client
 *
 *   reset  resets its connection
 *   ask    reads what is there, and calls getsockopt(TCP_ZEROCOPY_RECEIVE); prints how many of
 *          these got EINVAL
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define AT_ONCE		     40 /* connections */
#define CGROUPS		     30 /* on each CPU */
#define ATTRIBUTES	     80
#define TCP_ZEROCOPY_RECEIVE 35

static void check(int failed, const char *what)
{
	if (failed)
		err(1, "%s", what);
}

/* Some round trips; the last byte of the server is unread: the client's end stays in the map. */
static void converse(int client, int server)
{
	char byte;

	for (int i = 0; i < 5; i++)
		check(send(client, "q", 1, 0) != 1 || recv(server, &byte, 1, 0) != 1 ||
			      send(server, "a", 1, 0) != 1 || recv(client, &byte, 1, 0) != 1,
		      "a round trip");
	check(send(server, "u", 1, 0) != 1, "send");
}

static void open_and_end_servers(int *clients, int count)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int listener = socket(AF_INET, SOCK_STREAM, 0), servers[AT_ONCE];
	socklen_t len = sizeof(to);

	check(bind(listener, (void *)&to, len) || listen(listener, AT_ONCE) ||
		      getsockname(listener, (void *)&to, &len),
	      "listen");
	for (int i = 0; i < count; i++) {
		clients[i] = socket(AF_INET, SOCK_STREAM, 0);
		check(connect(clients[i], (void *)&to, len), "connect");
		servers[i % AT_ONCE] = accept(listener, NULL, NULL);
		converse(clients[i], servers[i % AT_ONCE]);
		if (i % AT_ONCE < AT_ONCE - 1 && i < count - 1)
			continue;
		for (int j = 0; j <= i % AT_ONCE; j++)
			close(servers[j]);
		usleep(20000);
	}
	usleep(300000);
}

/* Memory is taken where the CPU has some that was given back. */
static void fill_memory(const char *directory, uint64_t word)
{
	uint64_t words[56];
	char path[256], name[32];
	cpu_set_t mine, cpus;

	for (int i = 0; i < 56; i++)
		words[i] = word;
	check(sched_getaffinity(0, sizeof(mine), &mine), "sched_getaffinity");
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &mine))
			continue;
		CPU_ZERO(&cpus);
		CPU_SET(cpu, &cpus);
		check(sched_setaffinity(0, sizeof(cpus), &cpus), "sched_setaffinity");
		for (int i = 0; i < CGROUPS * ATTRIBUTES; i++) {
			snprintf(path, sizeof(path), "%s/%d.%d", directory, cpu, i / ATTRIBUTES);
			if (i % ATTRIBUTES == 0)
				check(mkdir(path, 0755), path);
			snprintf(name, sizeof(name), "user.%d", i % ATTRIBUTES);
			check(setxattr(path, name, words, sizeof(words), 0), "setxattr");
		}
	}
}

static int got_einval(int client)
{
	char what[64] = "", byte;
	socklen_t len = sizeof(what);

	check(recv(client, &byte, 1, 0) != 1, "recv");
	return getsockopt(client, IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, what, &len) && errno == EINVAL;
}

int main(int argc, char **argv)
{
	int count = argc == 5 ? atoi(argv[2]) : 0, *clients = calloc(count, sizeof(int)),
	    einval = 0;
	struct linger at_once = {1, 0};
	struct rlimit files;

	if (!count || !clients)
		errx(2, "usage: stale reset|ask CONNECTIONS DIRECTORY WORD");
	alarm(120);
	check(getrlimit(RLIMIT_NOFILE, &files), "getrlimit");
	files.rlim_cur = files.rlim_max;
	check(setrlimit(RLIMIT_NOFILE, &files), "setrlimit");
	open_and_end_servers(clients, count);
	fill_memory(argv[3], strtoull(argv[4], NULL, 0));
	for (int i = 0; i < count; i++) {
		if (!strcmp(argv[1], "ask")) {
			einval += got_einval(clients[i]);
		} else {
			setsockopt(clients[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
			close(clients[i]);
		}
	}
	printf("%d\n", einval);
	return 0;
}
