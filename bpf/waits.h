/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a send waits for, a moment at the most, before its direction leaves: that the reader reads
 * all, and that the other end's socket becomes free.
 *
 * It spins: programs of this kind cannot sleep.  The functions are global ones (5.6), which the
 * verifier walks once, not for each way to each call.
 */
#ifndef WAITS_H
#define WAITS_H

#include "holders.h"
#include "sock_record.h"

/*
 * How long, in nanoseconds, a send waits for the reader to catch up before a bulk direction
 * leaves: what a wake-up on another CPU and a read take.  At most READER_STEPS looks at the
 * queue, CLOCK_READS_BETWEEN of the clock between two, which leave the reader's cache line
 * alone: the verifier walks every step, and allows 8192 branches on the way.
 */
#define READER_NS	    200000
#define READER_STEPS	    1536
#define CLOCK_READS_BETWEEN 4

/*
 * How long, in nanoseconds, a send waits for the other end to give its socket free: longer than
 * its calls take, unless it stands in a page fault or has been preempted.  It may be copying what
 * it has been sent: HELD_BYTE_NS more for each byte of the message at the head of its queue, up to
 * HELD_BYTES, and anew as long as that gets less, for HELD_STEPS in all: the first ones with
 * CLOCK_READS_BETWEEN, then HELD_CLOCK_READS (some 8 us).  HELD_WAITING times as long while another
 * thread waits in a recv on this end's socket, as with ROOM_WAITING.
 */
#define HELD_NS		 100000
#define HELD_BYTE_NS	 4
#define HELD_BYTES	 65536
#define HELD_STEPS	 640
#define HELD_STEPS_SHORT 128
#define HELD_CLOCK_READS 256
#define HELD_WAITING	 8

/*
 * Has the reader of a queue read all?  It gets some time for it; where both share one CPU it
 * cannot use it, nor while it waits itself, for the lock that this send has (held_up()).  A
 * global function (5.6) the verifier walks once, not for each way to each call.
 */
__noinline int wait_for_reader(__u64 queue, __u64 record)
{
	__u64 now = bpf_ktime_get_ns(), until = now + READER_NS;
	__u64 waits = record + offsetof(struct sock_view, waits_for_lock);

	for (int i = 0; i < READER_STEPS && now < until; i++) {
		if (queue_empty(queue))
			return 1;
		if (read_number(waits))
			return 0;
		for (int j = 0; j < CLOCK_READS_BETWEEN; j++)
			now = bpf_ktime_get_ns();
	}
	return 0;
}

/* The time after so many reads of the clock: a global function, for the verifier. */
__noinline __u64 time_after(int reads)
{
	__u64 now = 0;

	for (int i = 0; i < HELD_CLOCK_READS && i < reads; i++)
		now = bpf_ktime_get_ns();
	return now;
}

/* Bytes in the message at the head of a queue that are not copied yet. */
static __always_inline __u32 head_size(__u64 queue)
{
	__u64 node = read_word(queue);

	return node == queue
		       ? 0
		       : read_kernel(struct sk_msg, node - offset_of(struct sk_msg, list), sg.size);
}

/*
 * Does the other end's socket, which has that queue, become free?  It gets some time for it.  Its
 * holder may wait for our lock in turn, which its record says: one of the same USER (as in
 * waits_for_lock) is not waited for, one of another user only if this end is PATIENT, and a FIN
 * waits for us.
 */
__noinline int wait_until_free(__u64 sk, __u64 record, __u64 queue, __u64 user, int patient)
{
	__u64 now = bpf_ktime_get_ns(), until = 0, waits;
	__u64 place = record + offsetof(struct sock_view, waits_for_lock);
	__u32 size, left = ~0U;

	for (int i = 0; i < HELD_STEPS; i++) {
		if (!is_held(sk))
			return 1;
		waits = read_number(place);
		if (waits && waits == user)
			return 1;
		if (waits == WAITS_TO_END || (waits && !patient))
			return 0;
		if (now >= until) {
			size = head_size(queue);
			if (size == left)
				return 0;
			left = size;
			until = now + HELD_NS +
				HELD_BYTE_NS * (size < HELD_BYTES ? size : HELD_BYTES);
		}
		now = time_after(i < HELD_STEPS_SHORT ? CLOCK_READS_BETWEEN : HELD_CLOCK_READS);
	}
	return 0;
}

#endif /* WAITS_H */
