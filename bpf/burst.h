/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How much a direction sends at once: more than it has credit for is bulk, which TCP carries
 * faster.
 */
#ifndef BURST_H
#define BURST_H

#include "send.h"

/*
 * CREDIT, in bytes: what a direction may send in one burst and stay on the
 * bypass.  A reader that asks FIONREAD how much there is must find it: before
 * sk_psock.msg_tot_len (6.6.128, 6.12.75, 6.18.14, 7.0) the kernel does not
 * count bypassed bytes there, and readers such as nginx then stop at what fits
 * the buffer they have.
 *
 * Why this much: docs/performance.md.
 */
#define CREDIT		 (256 * 1024)
#define CREDIT_UNCOUNTED (4 * 1024)

/*
 * Earned credit, in bytes: a turn whose burst was no larger than EARNED_PER_TURN earns that
 * much, up to MAX_EARNED, and what a burst takes beyond CREDIT is spent, EARNED_PER_BURST at
 * most.  So a connection that mostly talks, and now and then gets a large answer, keeps the
 * bypass for good; a stream does not.  No burst is kept beyond CREDIT once half of ROOM is
 * unread: its reader needs the other half to catch up before the direction leaves.  Nothing
 * is earned where CREDIT_UNCOUNTED holds, which is there for the reader.
 *
 * Why these figures: docs/performance.md.
 */
#define EARNED_PER_TURN	 (32 * 1024)
#define EARNED_PER_BURST (1024 * 1024)
#define MAX_EARNED	 (8 * 1024 * 1024)

/* What a burst may have now. */
static __always_inline __u64 credit(const struct sock_record *rec)
{
	if (!counts_bypassed())
		return CREDIT_UNCOUNTED;
	return CREDIT + (rec->earned < EARNED_PER_BURST ? rec->earned : EARNED_PER_BURST);
}

/* A burst has ended, with the peer's turn or with a pause. */
static __always_inline void settle_credit(struct sock_record *rec, int turned)
{
	__u64 beyond = rec->burst > CREDIT ? rec->burst - CREDIT : 0;

	if (beyond)
		rec->earned -= beyond < rec->earned ? beyond : rec->earned;
	else if (turned && counts_bypassed() && rec->burst <= EARNED_PER_TURN &&
		 rec->earned < MAX_EARNED)
		rec->earned += EARNED_PER_TURN;
}

#endif /* BURST_H */
