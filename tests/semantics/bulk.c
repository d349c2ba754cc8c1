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

size_t stuff(int fd, struct stream *s, size_t piece)
{
	static unsigned char buf[64 * KIB];
	size_t sent = 0;
	long r = 0;

	while (sent < 64 * MIB) {
		struct stream ahead = *s;

		fill(&ahead, buf, piece);
		r = send(fd, buf, piece, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (r < 0)
			break;
		s->offset += r;
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
	static unsigned char buf[4096];
	struct stream out = {.seed = 9};
	struct incoming in = {.stream.seed = 9};
	size_t got = 0;

	for (int turn = 0; turn < 2; turn++) {
		for (int i = 0; i < 256; i++) {
			fill(&out, buf, sizeof(buf));
			if (send(turn ? c.server : c.client, buf, sizeof(buf), 0) != sizeof(buf))
				tell("a short send");
			got += drain(turn ? c.client : c.server, &in, sizeof(buf));
		}
	}
	settle();
	tell("bulk both ways: %zu, %s", got, order(&in));
}
