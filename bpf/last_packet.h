/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The last packet of a socket in the map waits until its peer has room for it.
 */
#ifndef LAST_PACKET_H
#define LAST_PACKET_H

#include "handover.h"

/*
 * A FIN, or a reset: while the reader is in a call, with much unread, its socket
 * would drop it.  A FIN is sent again, 0.2 s later; a reset is not, and a reader would wait for
 * ever.  So what is unread gets a FIN's time to become less.  A reader that is in no call for
 * LANDING_NS is not reading: its socket takes the packet.
 *
 * Who is in a call and does not read, as one that peeks, or is in a page fault, gets STANDSTILL
 * times LANDING_NS, some 2 ms: any user can do that to whoever ends a connection with him, if he
 * has been sent MUCH_UNREAD.  Behind less than that no buffer drops packets, unless its program has
 * made it smaller since.
 */
#define STANDSTILL  10
#define MUCH_UNREAD (256 * 1024) /* bytes */

__noinline int takes_packets_soon(__u64 sk)
{
	__u64 now = bpf_ktime_get_ns(), until = now + LANDING_NS;
	int held = 0;

	for (int i = 0; i < LANDING_STEPS && now < until; i++) {
		if (rmem_of(sk) <= most_rmem_for_packets(sk))
			return 1;
		held |= is_held(sk);
		now = time_after(LANDING_CLOCK_READS);
	}
	return !held;
}

__noinline int takes_packets_after_all(__u64 sk)
{
	for (int i = 0; i < STANDSTILL; i++)
		if (takes_packets_soon(sk))
			return 1;
	return 0;
}

__noinline int wait_before_last_packet(__u64 sk)
{
	__u32 unread;

	for (int i = 0; i < FIN_WAITS / STANDSTILL; i++) {
		unread = rmem_of(sk);
		if (takes_packets_after_all(sk))
			return 1;
		if (rmem_of(sk) >= unread)
			return 0;
	}
	return 0;
}

#endif /* LAST_PACKET_H */
