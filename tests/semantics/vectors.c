// SPDX-License-Identifier: GPL-2.0
/* Cases: calls with many segments, and with many messages. */
#include "semantics.h"
#include <sys/uio.h>
#include <time.h>

#define SEGMENTS 1024

static void segments(struct iovec *v, unsigned char *data)
{
	for (int i = 0; i < SEGMENTS; i++) {
		v[i].iov_base = data;
		v[i].iov_len = i % 17;
		data += i % 17;
	}
}

static size_t length(const struct iovec *v)
{
	size_t len = 0;

	for (int i = 0; i < SEGMENTS; i++)
		len += v[i].iov_len;
	return len;
}

CASE(vectors, bypass, "writev, readv, sendmsg, recvmsg of 1024 segments")
{
	struct conn c = dial();
	struct stream out = {.seed = 7};
	struct incoming in = {.stream.seed = 7};
	static unsigned char a[17 * SEGMENTS], b[17 * SEGMENTS];
	struct iovec v[SEGMENTS], w[SEGMENTS];
	struct msghdr m = {.msg_iov = v, .msg_iovlen = SEGMENTS}, n = {.msg_iov = w};
	long r;

	n.msg_iovlen = SEGMENTS;
	segments(v, a);
	segments(w, b);
	fill(&out, a, length(v));
	tell("client writev -> %s", res(writev(c.client, v, SEGMENTS)));
	settle();
	r = readv(c.server, w, SEGMENTS);
	compare(&in, b, r > 0 ? r : 0);
	tell("server readv -> %s, %s", res(r), order(&in));
	fill(&out, a, length(v));
	tell("client sendmsg -> %s", res(sendmsg(c.client, &m, 0)));
	settle();
	r = recvmsg(c.server, &n, 0);
	compare(&in, b, r > 0 ? r : 0);
	tell("server recvmsg -> %s, %s", res(r), order(&in));
	m.msg_iovlen = SEGMENTS + 1;
	tell("client sendmsg, too many -> %s", res(sendmsg(c.client, &m, 0)));
	hang_up(c);
}

CASE(mmsg, bypass, "sendmmsg, recvmmsg")
{
	struct conn c = dial();
	char buf[4][5];
	struct iovec out[3] = {{"one,", 4}, {"two,", 4}, {"three", 5}}, in[4];
	struct mmsghdr m[4];
	struct timespec limit = {1, 0};
	int r;

	memset(m, 0, sizeof(m));
	for (int i = 0; i < 3; i++)
		m[i].msg_hdr = (struct msghdr){.msg_iov = &out[i], .msg_iovlen = 1};
	tell("client sendmmsg -> %s", res(sendmmsg(c.client, m, 3, 0)));
	tell("lengths %u %u %u", m[0].msg_len, m[1].msg_len, m[2].msg_len);
	settle();
	memset(m, 0, sizeof(m));
	for (int i = 0; i < 4; i++) {
		in[i] = (struct iovec){buf[i], sizeof(buf[i])};
		m[i].msg_hdr = (struct msghdr){.msg_iov = &in[i], .msg_iovlen = 1};
	}
	r = recvmmsg(c.server, m, 4, MSG_DONTWAIT, &limit);
	tell("server recvmmsg -> %s", res(r));
	for (int i = 0; i < r; i++)
		tell("%u \"%.*s\"", m[i].msg_len, (int)m[i].msg_len, buf[i]);
	hang_up(c);
}
