// SPDX-License-Identifier: GPL-2.0
/* Cases: options of the socket. */
#include "semantics.h"
#include <stdio.h>
#include <linux/tcp.h>

CASE(keepalive_shown, bypass, "SO_KEEPALIVE, TCP_KEEPIDLE: what getsockopt says")
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

static void with_option(const char *name, int level, int option, int value)
{
	struct conn c = dial();

	tell("%s", name);
	set(c.client, level, option, value);
	set(c.server, level, option, value);
	exchange(c);
	tell("client has %d", get_option(c.client, level, option));
	shut(c.client);
	get(c.server, 100, 0);
	close(c.server);
}

CASE(options, bypass, "options that are set, and kept")
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
CASE(filter, bypass, "SO_ATTACH_FILTER")
{
	struct conn c = dial();

	greet(c);
	hide_packets(c.server);
	put(c.client, "hello", 0);
	tell("server, behind the filter:%s", poll_names(await(c.server, POLLIN, 100)));
	show_packets(c.server);
	get(c.server, 100, 0);
	hang_up(c);
}

/* A quiet connection with keepalive on, both ends there. */
CASE(keepalive, bypass, "keepalive of a quiet connection")
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

#define RTO_MS 300 /* after which what was held back is sent again */

/* As CRIU does to save a connection: what is unread, and what was sent. */
CASE(repair, bypass, "TCP_REPAIR: the queues of a connection, which then goes on")
{
	struct conn c = dial();

	greet(c);
	put(c.client, "hello", 0);
	settle();
	set(c.server, IPPROTO_TCP, TCP_REPAIR, 1);
	set(c.server, IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_RECV_QUEUE);
	get(c.server, 100, MSG_PEEK | MSG_DONTWAIT);
	set(c.server, IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE);
	get(c.server, 100, MSG_PEEK | MSG_DONTWAIT);
	set(c.server, IPPROTO_TCP, TCP_REPAIR, 0);
	exchange(c);
	hang_up(c);
}

/* One message waits on the bypass, and one that was sent while it was in TCP_REPAIR behind it. */
CASE(repair_both, bypass, "TCP_REPAIR twice: what is unread of both kinds")
{
	struct conn c = dial();
	socklen_t len = sizeof(int);
	int number;

	greet(c);
	put(c.client, "first", 0);
	settle();
	set(c.server, IPPROTO_TCP, TCP_REPAIR, 1);
	put(c.client, "second", 0);
	settle();
	set(c.server, IPPROTO_TCP, TCP_REPAIR, 0);
	sleep_ms(2 * RTO_MS);
	set(c.server, IPPROTO_TCP, TCP_REPAIR, 1);
	set(c.server, IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_RECV_QUEUE);
	tell("server getsockopt TCP_QUEUE_SEQ -> %s",
	     res(getsockopt(c.server, IPPROTO_TCP, TCP_QUEUE_SEQ, &number, &len)));
	get(c.server, 100, MSG_PEEK | MSG_DONTWAIT);
	set(c.server, IPPROTO_TCP, TCP_REPAIR, 0);
	hang_up(c);
}

/* What comes to the receive queue while CRIU saves it: TCP counts it, and holds it back. */
static void sent_to_repair(struct conn c, int dumped, int other)
{
	unsigned int before, after;

	greet(c);
	set(dumped, IPPROTO_TCP, TCP_REPAIR, 1);
	set(dumped, IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_RECV_QUEUE);
	before = get_option(dumped, IPPROTO_TCP, TCP_QUEUE_SEQ);
	put(other, "meanwhile", 0);
	settle();
	after = get_option(dumped, IPPROTO_TCP, TCP_QUEUE_SEQ);
	tell("TCP has received %u bytes", after - before);
	set(dumped, IPPROTO_TCP, TCP_REPAIR, 0);
	get(dumped, 100, 0);
	put(dumped, "afterwards", 0);
	get(other, 100, 0);
	hang_up(c);
}

CASE(repair_client, bypass, "TCP_REPAIR of the client: what the server sends meanwhile")
{
	struct conn c = dial();

	sent_to_repair(c, c.client, c.server);
}

CASE(repair_server, bypass, "TCP_REPAIR of the server: what the client sends meanwhile")
{
	struct conn c = dial_family(AF_INET6);

	sent_to_repair(c, c.server, c.client);
}

/* 100 kB at 500 kB/s, in messages that are answered. */
CASE(pacing, bypass, "SO_MAX_PACING_RATE")
{
	unsigned int rate = 500000;
	struct conn c = dial();
	char message[1000] = "";
	long begin_ms;

	greet(c);
	if (setsockopt(c.server, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof(rate)))
		fail("SO_MAX_PACING_RATE");
	begin_ms = now_ms();
	for (int i = 0; i < 100; i++) {
		if (send(c.server, message, sizeof(message), 0) != sizeof(message) ||
		    recv(c.client, message, sizeof(message), MSG_WAITALL) != sizeof(message) ||
		    send(c.client, "", 1, 0) != 1 || recv(c.server, message, 1, 0) != 1)
			fail("a message and its answer");
	}
	tell("it was %s", now_ms() - begin_ms > 100 ? "paced" : "not paced");
	hang_up(c);
}

CASE(info, bypass, "TCP_INFO: the state")
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
CASE(info_counters, bypass, "TCP_INFO: bytes and times")
{
	struct conn c = dial();
	struct tcp_info before = {0}, after = {0};
	socklen_t len = sizeof(before);

	greet(c);
	if (getsockopt(c.server, IPPROTO_TCP, TCP_INFO, &before, &len))
		fail("TCP_INFO");
	sleep_ms(500);
	exchange(c);
	settle();
	len = sizeof(after);
	if (getsockopt(c.server, IPPROTO_TCP, TCP_INFO, &after, &len))
		fail("TCP_INFO");
	tell("received %llu more, acknowledged %llu more",
	     (unsigned long long)(after.tcpi_bytes_received - before.tcpi_bytes_received),
	     (unsigned long long)(after.tcpi_bytes_acked - before.tcpi_bytes_acked));
	tell("last data received %s, sent %s",
	     after.tcpi_last_data_recv < 500 ? "after the pause" : "before it",
	     after.tcpi_last_data_sent < 500 ? "after the pause" : "before it");
	hang_up(c);
}
