/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Time that passes.  A program of this kind cannot sleep: it looks, reads the clock a few times,
 * and looks again.  The verifier walks each look.
 */
#ifndef CLOCK_H
#define CLOCK_H

#include "kernel_sock.h"

#define MAX_CLOCK_READS 256 /* some 8 us */

/* The time after so many reads of the clock: a global function (5.6), which it walks once. */
__noinline __u64 time_after(int reads)
{
	__u64 now = 0;

	for (int i = 0; i < MAX_CLOCK_READS && i < reads; i++)
		now = bpf_ktime_get_ns();
	return now;
}

#endif /* CLOCK_H */
