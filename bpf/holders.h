/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who else is at work on a socket, or waits for it: its lock, its wait queue, the references to it
 * and to its psock.
 */
#ifndef HOLDERS_H
#define HOLDERS_H

#include "kernel_sock.h"

/*
 * Does a thread hold the socket's lock?  A redirect to the socket sleeps until it is free
 * (bpf_tcp_ingress), however long that takes: its owner may stand in a page fault, or be
 * preempted.
 */
static __always_inline int is_held(__u64 sk)
{
	return read_kernel(struct sock, sk, sk_lock.owned);
}

/* Does a thread wait for the socket's lock? */
static __always_inline int lock_is_awaited(__u64 sk)
{
	__u64 lock = sk + kernel_offset(struct sock, sk_lock.wq.head);

	return read_word(lock) != lock;
}

/*
 * Does a thread wait on this socket, besides one in connect?  A recv that has begun before the
 * socket gets its psock sleeps in tcp_recvmsg, and never looks at the psock.  A single thread may
 * wait in connect, or in poll, without harm, and cannot be told from one in a recv: a row of
 * docs/limits.md.  A thread that waits for the lock always counts.
 */
static __always_inline int others_wait(__u64 sk)
{
	__u64 wait = (__u64)read_kernel(struct sock, sk, sk_wq), first;

	if (lock_is_awaited(sk))
		return 1;
	if (!wait)
		return 0;
	wait += kernel_offset(struct socket_wq, wait.head);
	first = read_word(wait);
	return first != wait && read_word(first) != wait;
}

/*
 * Timers that not every kernel has: in 7.0 the retransmit timer moved to where
 * the keepalive timer had been, sk_timer.
 */
struct inet_connection_sock___timers {
	struct timer_list icsk_retransmit_timer;
	struct timer_list icsk_keepalive_timer;
} __attribute__((preserve_access_index));

#define timer_pending(type, sk, timer)                                                             \
	(bpf_core_field_exists(((type *)0)->timer) && read_kernel(type, sk, timer.entry.pprev) != 0)

/* Linux 7.2 has the second one; HRTIMER_STATE_ENQUEUED is the first's only bit. */
struct hrtimer___state {
	u8 state;
} __attribute__((preserve_access_index));

struct hrtimer___queued {
	_Bool is_queued;
} __attribute__((preserve_access_index));

static __noinline __attribute__((unused)) int hrtimer_pending(__u64 timer)
{
	if (bpf_core_field_exists(((struct hrtimer___queued *)0)->is_queued))
		return read_kernel(struct hrtimer___queued, timer, is_queued);
	return read_kernel(struct hrtimer___state, timer, state);
}

/*
 * What a timer has left to whoever gives the lock back (tcp_release_cb), from TCP_TSQ_DEFERRED to
 * TCP_MTU_REDUCED_DEFERRED: the places of four bits, with a reference for each.
 */
#define DEFERRED_FIRST 2

static __always_inline int deferred(__u64 sk)
{
	__u32 bits = read_kernel(struct sock, sk, sk_tsq_flags) >> DEFERRED_FIRST & 15;

	bits -= bits >> 1 & 5; /* how many each two of them are */
	return (bits & 3) + (bits >> 2);
}

/*
 * The references that TCP itself has to a socket.  Its program can keep each of them for as long as
 * it likes, as with a pacing rate of a byte a second: none may be taken for a message on its way.
 */
static __always_inline int references_of_tcp(__u64 sk)
{
	return timer_pending(struct sock, sk, sk_timer) +
	       timer_pending(struct inet_connection_sock, sk, icsk_delack_timer) +
	       timer_pending(struct inet_connection_sock___timers, sk, icsk_retransmit_timer) +
	       timer_pending(struct inet_connection_sock___timers, sk, icsk_keepalive_timer) +
	       hrtimer_pending(sk + kernel_offset(struct tcp_sock, pacing_timer)) +
	       hrtimer_pending(sk + kernel_offset(struct tcp_sock, compressed_ack_timer)) +
	       deferred(sk);
}

static __always_inline int references(__u64 sk)
{
	return read_kernel(struct sock_common, sk, skc_refcnt.refs.counter);
}

/*
 * Does nobody hold a reference to this socket but itself, its psock, and TCP?  TCP's are counted
 * between two looks: without the lock a timer may be armed meanwhile.
 */
static __always_inline int own_references_only(__u64 sk)
{
	int refs = references(sk);

	return refs == 2 + references_of_tcp(sk) && refs == references(sk);
}

/*
 * Is nothing on its way from the peer's sends into this socket's psock queue?  A thread of the peer
 * has the peer's lock when it looks at this end, and keeps it until it has a reference to this
 * socket, which it holds until its message is queued (sk_psock_msg_verdict).  So look first at the
 * lock, then at the references.  The answer may be no although all has landed, never the reverse: a
 * recv of the peer has the lock as well, and a packet that is handled in a softirq holds a
 * reference, and so does one that root of this socket's network namespace keeps in an NFQUEUE.
 * Without peer_sk: the peer is not known, or the caller has its lock.
 */
static __always_inline int landed(__u64 sk, __u64 peer_sk)
{
	int owned = peer_sk ? is_held(peer_sk) : 0;

	return !owned && own_references_only(after(owned, sk));
}

/*
 * Is no thread inside a send or a recv on this socket, but for so many `known` ones?  Each has a
 * reference to its psock until it is through, its message queued (tcp_bpf_sendmsg,
 * tcp_bpf_recvmsg), and a sockmap has one.  Then nothing of this end is on its way, whatever
 * references there are to the other end's socket: of these its own program can keep some that are
 * not TCP's, as with MSG_ZEROCOPY.  A global function (5.6): the verifier walks it once.
 */
__noinline int in_no_call(__u64 sk, int known)
{
	__u64 psock = psock_of(sk), maps = psock + kernel_offset(struct sk_psock, link), first;
	int refs;

	if (!psock) /* or another subsystem has taken sk_user_data over */
		return !known && !user_data_of(sk);
	first = read_word(maps);
	if ((__u64)read_kernel(struct list_head, maps, prev) != first)
		return 0;
	refs = read_kernel(struct sk_psock, psock, refcnt.refs.counter);
	/* Without the lock a link, and then its reference, may go meanwhile. */
	return refs == known + (first != maps) && read_word(after(refs, maps)) == first;
}

#endif /* HOLDERS_H */
