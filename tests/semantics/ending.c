// SPDX-License-Identifier: GPL-2.0
/* Cases: the end of a stream, and of the process that sent it. */
#include "semantics.h"
#include <signal.h>
#include <sys/wait.h>

CASE(eof_close, bypass, "the end after close, readiness at each stage")
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

CASE(eof_shutdown, bypass, "the end after shutdown(SHUT_WR)")
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

CASE(eof_nothing_sent, stack, "the end, nothing was sent")
{
	struct conn c = dial();

	shut(c.client);
	ready(c.server);
	get(c.server, 100, 0);
	error_of(c.server);
	close(c.server);
}

CASE(shut_rd, bypass, "shutdown(SHUT_RD)")
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

CASE(shut_rdwr, bypass, "shutdown(SHUT_RDWR)")
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

CASE(epipe, bypass, "EPIPE and SIGPIPE after shutdown(SHUT_WR)")
{
	struct conn c = dial();

	count_sigpipes();
	put(c.client, "x", 0);
	end(c.client, SHUT_WR);
	put(c.client, "y", 0);
	tell("SIGPIPE with MSG_NOSIGNAL: %d", sigpipes);
	tell("client write -> %s", res(write(c.client, "y", 1)));
	tell("SIGPIPE: %d", sigpipes);
	error_of(c.client);
	get(c.server, 100, 0);
	get(c.server, 100, 0);
	put(c.server, "answer", 0);
	get(c.client, 100, 0);
	hang_up(c);
}

CASE(linger, bypass, "close with a linger time")
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

CASE(child_exits, bypass, "a process that exits after its send")
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

CASE(child_killed, bypass, "a process that is killed after its send")
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
