// SPDX-License-Identifier: GPL-2.0
/* Cases: sendfile, and sends that are larger than any buffer. */
#include "semantics.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>

static int file_of(struct stream *s, size_t len)
{
	static unsigned char buf[64 * KIB];
	FILE *f = tmpfile();

	if (!f)
		fail("tmpfile");
	while (len) {
		size_t n = len < sizeof(buf) ? len : sizeof(buf);

		fill(s, buf, n);
		if (write(fileno(f), buf, n) != (long)n)
			fail("write");
		len -= n;
	}
	return fileno(f);
}

CASE(sendfile, bypass, "sendfile(2)")
{
	struct conn c = dial();
	struct stream out = {.seed = 5};
	struct incoming in = {.stream = {.seed = 5, .offset = 100}};
	int file = file_of(&out, 40 * KIB);
	off_t offset = 100;

	tell("client sendfile 20000 of 40960 from 100 -> %s",
	     res(sendfile(c.client, file, &offset, 20000)));
	tell("offset %ld, %zu got", (long)offset, drain(c.server, &in, 20000));
	tell("client sendfile 40000 from there -> %s",
	     res(sendfile(c.client, file, &offset, 40000)));
	tell("offset %ld, %zu got", (long)offset, drain(c.server, &in, 40 * KIB - 20100));
	tell("client sendfile at the end -> %s", res(sendfile(c.client, file, &offset, 40000)));
	tell("bytes %s", order(&in));
	no_more(c.server);
	hang_up(c);
}

/* Changed after sendfile and before it is read: what is read is not promised. */
CASE(sendfile_changed, bypass, "a file that changes after sendfile(2)")
{
	struct conn c = dial();
	int file = fileno(tmpfile());
	off_t offset = 0;

	if (write(file, "before", 6) != 6)
		fail("write");
	tell("client sendfile -> %s", res(sendfile(c.client, file, &offset, 6)));
	settle();
	if (pwrite(file, "after!", 6, 0) != 6)
		fail("write");
	get(c.server, 100, 0);
	hang_up(c);
}

struct big_send {
	int fd, file;
	size_t len;
	long sent;
};

static void *big_sender(void *arg)
{
	struct big_send *b = arg;
	struct stream out = {.seed = 6};
	unsigned char *data;
	off_t offset = 0;

	if (b->file >= 0) {
		while (offset < (off_t)b->len && sendfile(b->fd, b->file, &offset, b->len) > 0)
			;
		b->sent = offset;
	} else {
		data = malloc(b->len);
		fill(&out, data, b->len);
		b->sent = send(b->fd, data, b->len, 0);
		free(data);
	}
	shutdown(b->fd, SHUT_WR);
	return NULL;
}

static void big(size_t len, int from_file)
{
	struct conn c = dial();
	struct stream out = {.seed = 6};
	struct incoming in = {.stream.seed = 6};
	struct big_send b = {.fd = c.client, .file = from_file ? file_of(&out, len) : -1};
	pthread_t t;
	size_t got;

	greet(c);
	b.len = len;
	pthread_create(&t, NULL, big_sender, &b);
	got = drain(c.server, &in, len + 1);
	pthread_join(t, NULL);
	tell("%ld sent, %zu got, %s", b.sent, got, order(&in));
	get(c.server, 100, 0);
	put(c.server, "thanks", 0);
	get(c.client, 100, 0);
	hang_up(c);
}

CASE(big_send, bypass, "one send of 16 MiB, a concurrent reader")
{
	big(16 * MIB, 0);
}

CASE(big_sendfile, bypass, "sendfile(2) of 4 MiB, a concurrent reader")
{
	big(4 * MIB, 1);
}
