// SPDX-License-Identifier: GPL-2.0
/* Cases: a socket of several owners. */
#include "semantics.h"
#include <sys/uio.h>

CASE(dup, bypass, "dup(2)")
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

CASE(fork, bypass, "parent and child use both ends")
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
		fail("SCM_RIGHTS");
}

static int take(int over)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec v = {&byte, 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control};
	int fd = -1;

	m.msg_controllen = sizeof(control);
	if (recvmsg(over, &m, 0) != 1 || !CMSG_FIRSTHDR(&m))
		fail("SCM_RIGHTS");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

/* A worker gets the socket with bytes in it, and goes on. */
CASE(scm_rights, bypass, "a socket passed to another process, with unread bytes")
{
	struct conn c = dial();
	int over[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, over))
		fail("socketpair");
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
