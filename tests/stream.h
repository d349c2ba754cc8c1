/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests send: a stream of bytes that both ends of a connection can compute
 * from the seed, and random numbers that are the same in each run.
 */
#ifndef STREAM_H
#define STREAM_H

#include <stdint.h>
#include <stddef.h>
#include <string.h>

#define KIB 1024UL
#define MIB (1024 * KIB)

/* The program's own: says what is wrong and ends with this status. */
__attribute__((format(printf, 2, 3), noreturn)) void die(int status, const char *fmt, ...);

static inline uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

struct random {
	uint64_t state;
};

static inline uint64_t draw(struct random *r, uint64_t below)
{
	return mix(r->state++) % below;
}

/* Sizes of all magnitudes: 1 up to `most`. */
static inline size_t draw_size(struct random *r, size_t most)
{
	size_t bits = 1;

	while (most >> bits)
		bits++;
	return 1 + draw(r, 1UL << (1 + draw(r, bits))) % most;
}

struct stream {
	uint64_t seed, offset;
};

static inline void fill(struct stream *s, unsigned char *buf, size_t len)
{
	for (size_t i = 0; i < len;) {
		uint64_t word = mix(s->seed ^ (s->offset / 8) * 0x100000001b3);
		size_t at = s->offset % 8, n = 8 - at;

		if (n > len - i)
			n = len - i;
		memcpy(buf + i, (unsigned char *)&word + at, n);
		i += n;
		s->offset += n;
	}
}

/* Where the first byte stands that is not the stream's; `len` if there is none. */
static inline size_t differs(struct stream *s, const unsigned char *buf, size_t len)
{
	static __thread unsigned char want[64 * KIB];
	size_t at = len;

	for (size_t i = 0, n; i < len; i += n) {
		n = len - i < sizeof(want) ? len - i : sizeof(want);
		fill(s, want, n);
		if (at == len && memcmp(want, buf + i, n))
			for (at = i; want[at - i] == buf[at];)
				at++;
	}
	return at;
}

/* A wrong byte is the end of the program. */
static inline void check(struct stream *s, const unsigned char *buf, size_t len)
{
	struct stream at = *s;
	size_t right = differs(s, buf, len);
	unsigned char want;

	if (right == len)
		return;
	at.offset += right;
	fill(&at, &want, 1);
	die(1, "wrong byte at offset %llu: have %#x, want %#x", (unsigned long long)(at.offset - 1),
	    buf[right], want);
}

#endif /* STREAM_H */
