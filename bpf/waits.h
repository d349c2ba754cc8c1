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

#include "clock.h"
#include "holders.h"
#include "messages.h"
#include "sock_record.h"

/*
 * How long, in nanoseconds, a send waits for the reader to catch up before a bulk direction
 * leaves: what a wake-up on another CPU and a read take.  At most READER_STEPS looks at the
 * queue, READER_CLOCK_READS of the clock between two, which leave the reader's cache line
 * alone: the verifier walks every step, but no clock read of time_after().
 */
#define READER_NS	   200000
#define READER_STEPS	   768
#define READER_CLOCK_READS 8

/*
 * How long, in nanoseconds, a send waits for the other end to release its socket: longer than
 * its calls take, unless it stands in a page fault or has been preempted.  It may be copying what
 * it has been sent: HELD_BYTE_NS more for each byte of the message at the head of its queue, up to
 * HELD_BYTES, and anew as long as that gets less, HELD_PERIODS times in all.  In each the first
 * HELD_STEPS_SHORT looks have READER_CLOCK_READS between two, the rest of HELD_STEPS have
 * HELD_CLOCK_READS (some 8 us).  HELD_WAITING times as long while another thread waits in a recv on
 * this end's socket, as with ROOM_WAITING.
 */
#define HELD_NS		 100000
#define HELD_BYTE_NS	 4
#define HELD_BYTES	 65536
#define HELD_PERIODS	 12
#define HELD_STEPS	 112
#define HELD_STEPS_SHORT 64
#define HELD_CLOCK_READS MAX_CLOCK_READS
#define HELD_WAITING	 8

/*
 * Has the reader of a queue read all?  It gets some time for it; where both share one CPU it
 * cannot use it, nor while it waits itself, for the lock that this send has (held_up()).
 */
__noinline int wait_for_reader(__u64 queue, __u64 record)
{
	__u64 now = bpf_ktime_get_ns(), until = now + READER_NS;
	__u64 waits_at = record + offsetof(struct sock_view, waits_for_lock);

	for (int i = 0; i < READER_STEPS && now < until; i++) {
		if (queue_empty(queue))
			return 1;
		if (read_number(waits_at))
			return 0;
		now = time_after(READER_CLOCK_READS);
	}
	return 0;
}

enum wait { IS_HELD, IS_FREE, IS_OVER };

/*
 * Looks whether a socket becomes free UNTIL then.  `waits_at` is the address of its record's
 * waits_for_lock, which says whether its holder waits for our lock in turn.  If it does: a holder
 * of the same USER counts as free; one of another user is waited for only if this end is PATIENT,
 * and else counts as held; so does a FIN, always.
 */
__noinline int wait_for_lock(__u64 sk, __u64 waits_at, __u64 user, int patient, __u64 until)
{
	for (int i = 0; i < HELD_STEPS; i++) {
		int reads = i < HELD_STEPS_SHORT ? READER_CLOCK_READS : HELD_CLOCK_READS;
		__u64 waits;

		if (!is_held(sk))
			return IS_FREE;
		waits = read_number(waits_at);
		if (waits && waits == user)
			return IS_FREE;
		if (waits == WAITS_TO_END || (waits && !patient))
			return IS_HELD;
		if (time_after(reads) >= until)
			return IS_OVER;
	}
	return IS_OVER;
}

/* Does the other end's socket, which has that queue, become free?  It gets some time for it. */
__noinline int wait_until_free(__u64 sk, __u64 record, __u64 queue, __u64 user, int patient)
{
	__u64 waits_at = record + offsetof(struct sock_view, waits_for_lock), ns;
	__u32 size, left = ~0U;
	int found;

	for (int i = 0; i < HELD_PERIODS; i++) {
		size = first_bytes(queue);
		if (size == left)
			return 0;
		left = size;
		ns = HELD_NS + HELD_BYTE_NS * (size < HELD_BYTES ? size : HELD_BYTES);
		found = wait_for_lock(sk, waits_at, user, patient, bpf_ktime_get_ns() + ns);
		if (found != IS_OVER)
			return found == IS_FREE;
	}
	return 0;
}

#endif /* WAITS_H */
