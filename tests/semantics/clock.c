// SPDX-License-Identifier: GPL-2.0
/* Time: sleeping, and waiting no longer than that. */
#include "semantics.h"
#include <time.h>

long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void sleep_ms(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};

	while (nanosleep(&t, &t) && errno == EINTR)
		;
}

void settle(void)
{
	sleep_ms(SETTLE_MS);
}

int await(int fd, int events, int ms)
{
	struct pollfd p = {.fd = fd, .events = events};
	long end = now_ms() + ms;
	int n;

	do {
		n = poll(&p, 1, ms);
		ms = end - now_ms();
	} while (n < 0 && errno == EINTR && ms > 0);
	return n > 0 ? p.revents : 0;
}
