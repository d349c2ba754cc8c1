// SPDX-License-Identifier: GPL-2.0
/* Cases: plain sending and receiving. */
#include "semantics.h"
#include <sys/mman.h>

CASE(values, bypass, "what send and recv return, partial reads")
{
	struct conn c = dial();

	put(c.client, "hello", 0);
	get(c.server, 100, 0);
	put(c.server, "a longer answer", 0);
	get(c.client, 8, 0);
	get(c.client, 4, 0);
	get(c.client, 100, 0);
	put(c.client, "one,", 0);
	put(c.client, "two,", 0);
	put(c.client, "three", 0);
	settle();
	get(c.server, 6, 0);
	get(c.server, 100, 0);
	no_more(c.server);
	no_more(c.client);
	hang_up(c);
}

CASE(read_write, bypass, "read, write, pread, lseek")
{
	struct conn c = dial();
	char buf[100];
	long r;

	tell("client write -> %s", res(write(c.client, "hello", 5)));
	await(c.server, POLLIN, ARRIVE_MS);
	r = read(c.server, buf, sizeof(buf));
	tell("server read -> %s \"%.*s\"", res(r), (int)r, buf);
	tell("server pread -> %s", res(pread(c.server, buf, 1, 0)));
	tell("server lseek -> %s", res(lseek(c.server, 0, SEEK_SET)));
	hang_up(c);
}

CASE(one_byte, bypass, "1000 sends of a byte")
{
	struct conn c = dial_nagle();
	struct stream out = {.seed = 1};
	struct incoming in = {.stream.seed = 1};
	int sent = 0;
	size_t got;

	for (int i = 0; i < 1000; i++)
		sent += send_next(c.client, &out, 1, 0);
	tell("sent, a byte each: %d", sent);
	got = drain(c.server, &in, sent);
	tell("got %zu, %s", got, order(&in));
	no_more(c.server);
	hang_up(c);
}

/* Sizes of all magnitudes, read in sizes that do not match. */
CASE(mixed_sizes, bypass, "order of 600 sends of all sizes, read in other sizes")
{
	struct conn c = dial_nagle();
	struct stream out = {.seed = 2};
	struct incoming in = {.stream.seed = 2};
	size_t sent = 0, got = 0;

	for (int i = 0; i < 600; i++) {
		size_t len = 1 + mix(i) % (1UL << (1 + mix(i + 1000) % 14));
		size_t pieces = mix(i + 2000) % 4;

		send_all(c.client, &out, len);
		sent += len;
		if (!pieces)
			got += drain(c.server, &in, 1 + mix(i + 3000) % (sent - got));
	}
	got += drain(c.server, &in, sent - got);
	tell("%zu bytes sent, %zu got, %s", sent, got, order(&in));
	no_more(c.server);
	hang_up(c);
}

static void empty_recv(int fd, const char *when)
{
	char byte;

	tell("%s, recv 0 -> %s", when, res(recv(fd, &byte, 0, MSG_DONTWAIT)));
	tell("%s, recv NULL 0 -> %s", when, res(recv(fd, NULL, 0, MSG_DONTWAIT)));
	tell("%s, read 0 -> %s", when, res(read(fd, &byte, 0)));
}

CASE(empty_send, bypass, "sends of 0 bytes")
{
	struct conn c = dial();

	tell("client send 0 -> %s", res(send(c.client, "", 0, 0)));
	tell("client write 0 -> %s", res(write(c.client, "", 0)));
	ready(c.server);
	no_more(c.server);
	put(c.client, "x", 0);
	get(c.server, 100, 0);
	end(c.client, SHUT_WR);
	tell("client send 0 -> %s", res(send(c.client, "", 0, MSG_NOSIGNAL)));
	hang_up(c);
}

CASE(empty_recv, bypass, "non-blocking receives of 0 bytes, recv(NULL, 0)")
{
	struct conn c = dial();

	nonblock(c.server, 1);
	empty_recv(c.server, "nothing there");
	put(c.client, "x", 0);
	settle();
	empty_recv(c.server, "a byte there");
	get(c.server, 1, 0);
	shut(c.client);
	empty_recv(c.server, "at the end");
	close(c.server);
}

CASE(empty_recv_blocking, bypass, "a blocking receive of 0 bytes")
{
	struct conn c = dial();
	struct task t = {.fd = c.server, .want = 0};

	begin(&t, "recv of 0 bytes", task_recv);
	if (!fed(&t, c.client, "x"))
		put(c.client, "x", 0);
	get(c.server, 1, 0);
	hang_up(c);
}

CASE(empty_recv_reset, bypass, "a receive of 0 bytes after a reset")
{
	struct conn c = dial();
	char byte;

	put(c.client, "x", 0);
	get(c.server, 1, 0);
	reset(c.client);
	tell("after a reset, recv 0 -> %s", res(recv(c.server, &byte, 0, MSG_DONTWAIT)));
	error_of(c.server);
	close(c.server);
}

CASE(addresses, bypass, "getsockname, getpeername, sendto, recvfrom, a second connect")
{
	struct conn c = dial();
	union address mine, theirs, from;
	socklen_t len = sizeof(mine), len2 = sizeof(theirs), from_len = sizeof(from);
	char buf[100];
	long r;

	getsockname(c.client, &mine.any, &len);
	getpeername(c.server, &theirs.any, &len2);
	tell("client's name is server's peer: %s", memcmp(&mine, &theirs, len) ? "no" : "yes");
	len = len2 = sizeof(mine);
	getpeername(c.client, &mine.any, &len);
	getsockname(c.server, &theirs.any, &len2);
	tell("client's peer is server's name: %s", memcmp(&mine, &theirs, len) ? "no" : "yes");
	tell("client sendto -> %s", res(sendto(c.client, "hello", 5, 0, &mine.any, len)));
	await(c.server, POLLIN, ARRIVE_MS);
	r = recvfrom(c.server, buf, sizeof(buf), 0, &from.any, &from_len);
	tell("server recvfrom -> %s, address of %u bytes", res(r), from_len);
	tell("client connect again -> %s", res(connect(c.client, &mine.any, len)));
	put(c.client, "again", 0);
	get(c.server, 100, 0);
	shut(c.client);
	len = sizeof(theirs);
	tell("server getpeername, peer closed -> %s",
	     res(getpeername(c.server, &theirs.any, &len)));
	close(c.server);
}

CASE(fault, bypass, "buffers that are not there")
{
	struct conn c = dial();
	char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	munmap(map + 4096, 4096);
	memset(map, 'a', 4096);
	tell("client send from nowhere -> %s", res(send(c.client, (void *)8, 5, 0)));
	no_more(c.server);
	tell("client send, its second half from nowhere -> %s",
	     res(send(c.client, map + 4092, 8, 0)));
	no_more(c.server);
	put(c.client, "hello", 0);
	settle();
	tell("server recv to nowhere -> %s", res(recv(c.server, (void *)8, 5, MSG_DONTWAIT)));
	get(c.server, 100, 0);
	put(c.client, "abcdefgh", 0);
	settle();
	tell("server recv, its second half to nowhere -> %s",
	     res(recv(c.server, map + 4092, 8, MSG_DONTWAIT)));
	hang_up(c);
}

CASE(dontwait, bypass, "MSG_DONTWAIT, O_NONBLOCK")
{
	struct conn c = dial();

	get(c.server, 100, MSG_DONTWAIT);
	put(c.client, "hello", MSG_DONTWAIT);
	settle();
	get(c.server, 3, MSG_DONTWAIT);
	get(c.server, 100, MSG_DONTWAIT);
	get(c.server, 100, MSG_DONTWAIT);
	nonblock(c.server, 1);
	get(c.server, 100, MSG_DONTWAIT);
	hang_up(c);
}

struct side {
	int fd;
	uint64_t seed;
	size_t len;
	struct incoming in;
};

static void *side_send(void *arg)
{
	struct side *s = arg;
	struct stream out = {.seed = s->seed};
	size_t left = s->len;

	while (left) {
		size_t n = 1 + mix(left) % 5000;

		if (n > left)
			n = left;
		if (send_next(s->fd, &out, n, 0) != (long)n)
			break;
		left -= n;
	}
	return NULL;
}

static void *side_recv(void *arg)
{
	struct side *s = arg;
	static _Thread_local unsigned char buf[7000];
	size_t got = 0;

	while (got < s->len) {
		long r = recv(s->fd, buf, sizeof(buf), 0);

		if (r < 0 && errno == EAGAIN) { /* told by other cases */
			await(s->fd, POLLIN, ARRIVE_MS);
			continue;
		}
		if (r <= 0)
			break;
		compare(&s->in, buf, r);
		got += r;
	}
	return NULL;
}

CASE(duplex, bypass, "each end sends and receives at once, in threads")
{
	struct conn c = dial();
	struct side client = {c.client, 10, 2 * MIB, {.stream.seed = 11}};
	struct side server = {c.server, 11, 2 * MIB, {.stream.seed = 10}};
	pthread_t t[4];

	pthread_create(&t[0], NULL, side_send, &client);
	pthread_create(&t[1], NULL, side_recv, &client);
	pthread_create(&t[2], NULL, side_send, &server);
	pthread_create(&t[3], NULL, side_recv, &server);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	tell("client got %zu, %s", client.in.stream.offset, order(&client.in));
	tell("server got %zu, %s", server.in.stream.offset, order(&server.in));
	no_more(c.client);
	no_more(c.server);
	hang_up(c);
}
