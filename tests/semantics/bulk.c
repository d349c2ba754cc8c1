// SPDX-License-Identifier: GPL-2.0
/* Streams: bytes that both ends can compute, checked as they come. */
#include "semantics.h"

void compare(struct incoming *in, const unsigned char *buf, size_t len)
{
	if (differs(&in->stream, buf, len) < len)
		in->wrong = 1;
}

const char *order(const struct incoming *in)
{
	return in->wrong ? "WRONG BYTES" : "in order";
}

size_t drain(int fd, struct incoming *in, size_t want)
{
	static unsigned char buf[256 * KIB];
	size_t got = 0;

	while (got < want) {
		size_t most = want - got < sizeof(buf) ? want - got : sizeof(buf);
		long r;

		if (!await(fd, POLLIN, ARRIVE_MS))
			break;
		r = recv(fd, buf, most, MSG_DONTWAIT);
		if (r == 0 || (r < 0 && errno != EAGAIN))
			break;
		if (r > 0) {
			compare(in, buf, r);
			got += r;
		}
	}
	return got;
}

long send_next(int fd, struct stream *s, size_t len, int flags)
{
	static _Thread_local unsigned char buf[64 * KIB];
	struct stream ahead = *s;
	long r;

	fill(&ahead, buf, len);
	r = send(fd, buf, len, flags | MSG_NOSIGNAL);
	if (r > 0)
		s->offset += r;
	return r;
}

void send_all(int fd, struct stream *s, size_t len)
{
	if (send_next(fd, s, len, 0) != (long)len)
		tell("a short send");
}

size_t stuff(int fd, struct stream *s, size_t piece)
{
	size_t sent = 0;
	long r = 0;

	while (sent < 64 * MIB) {
		r = send_next(fd, s, piece, MSG_DONTWAIT);
		if (r < 0)
			break;
		sent += r;
	}
	if (r < 0)
		tell("%s send, repeated -> eventually %s", names[fd], res(r));
	else
		tell("%s send, repeated -> never refused", names[fd]);
	return sent;
}

void exchange_bulk(struct conn c)
{
	struct stream out = {.seed = 9};
	struct incoming in = {.stream.seed = 9};
	size_t got = 0;

	for (int turn = 0; turn < 2; turn++) {
		for (int i = 0; i < 256; i++) {
			send_all(turn ? c.server : c.client, &out, 4096);
			got += drain(turn ? c.client : c.server, &in, 4096);
		}
	}
	settle();
	tell("bulk both ways: %zu, %s", got, order(&in));
}
