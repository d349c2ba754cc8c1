/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How a direction goes from the bypass to TCP, and its socket out of the map, so that no byte
 * is lost, doubled or overtaken.
 *
 *               its own send:                  a packet of its socket:
 *               bpf_tcpip_bypass.c             on_packet() in packets.h
 *
 *   BYPASS --------------------------> LEFT --------------------------> OUT
 *      |                                |                              ^  ^
 *      |    its FIN: on_packet()        v                              |  |
 *      +-----------------------------> ENDED --------------------------+  |
 *      |                                                                  |
 *      +------------------------------------------------------------------+
 *           its peer has LEFT, and it has read all: on_packet(); or at an unload
 *
 *   BYPASS  each send is redirected into the peer's psock queue.
 *   LEFT    view.left: each send goes over TCP, for good.  The peer may still redirect.  While a
 *           thread waits for room in TCP's buffer, other threads' sends go over TCP without asking
 *           the program: psock->eval still has its answer to that thread.
 *   ENDED   view.ended: nothing more is sent.  The peer may still redirect.
 *   OUT     in_map is not IN_MAP: the key has gone, the socket is plain TCP, and has LEFT.  A
 *           redirect to it finds nothing, and the peer LEFT with that send.
 *
 * Order.  A direction is on the bypass from its first byte, or never, and goes to TCP once.  So of
 * the bytes that one thread sends, each one in the reader's psock queue is older than each one in
 * its TCP queue, and a recv takes from the TCP queue only when the psock's is empty
 * (tcp_bpf_recvmsg).  But a recv that has begun to take from the TCP queue goes on there.  So where
 * several threads send, the direction leaves only when the others have nothing on the way to the
 * psock queue (others_queued(); none can start meanwhile, since the thread that leaves has the
 * socket's lock).  For the same reason the socket goes OUT only then (own_queued()), and a FIN
 * waits for that.
 *
 * Loss.  A message that is queued to the psock of a socket that is OUT is read by nobody.
 * Three rules keep that from happening:
 *
 *   1. An end that LEFT redirects nothing any more.  Its flag is set under the socket's lock, by a
 *      send (or by on_packet(), for a send that went past the program before the first redirect):
 *      what the same thread has redirected before is in the queue by then.
 *   2. An end that sees that its peer has LEFT or ENDED, or reads past its psock (view.reads_tcp),
 *      or that the switch is off, redirects nothing to an empty queue any more.  There are two
 *      exceptions: a queue that is not empty, since the reader has to come by before it goes OUT;
 *      and any queue while the end's other threads have messages on the way, since rule 3 waits for
 *      these.
 *   3. A socket goes OUT when its queue is empty and stays so.  No message can be queued while
 *      on_packet() looks: that takes this socket's lock (bpf_tcp_ingress).  Afterwards none
 *      comes, because
 *        - the peer has no psock: a send under way would hold it; or
 *        - the peer has LEFT, rule 1, with nothing on the way; or it had to leave at once while its
 *          other threads had messages on the way (LEFT_IN_FLIGHT), and these have landed; or
 *        - the peer will see that this end has LEFT or ENDED, or reads past its psock, rule 2, and
 *          nothing is on the way.
 *
 * "On the way" is from the peer's look at this end until its message is queued
 * (model: looks, verdict, lands).  First the peer's thread has its own socket's lock, then it
 * holds a reference to this socket: landed() looks for both (model: look_lock, look_refs).  So who
 * leaves writes its flag, then fence(), then looks at the sender's lock and its own references;
 * who sends takes its lock, then looks at the flag: at least one of the two sees the other.  An end
 * with its own lock can tell more cheaply that its own sends have landed: if no other thread has a
 * reference to its psock (in_no_call()).
 *
 * What rests on time, not on order:
 *
 *   - A direction that has to leave at once (what TCP alone can carry, four times its room unread)
 *     waits LANDING_NS for what its other threads have on the way, and a FIN FIN_WAITS times as
 *     long.  If one of them is held up for longer, a reader in a recv from TCP gets
 *     that message late, or after the end of the stream.  If threads of both ends wait like that
 *     at the same moment, no wait is long enough: each has the lock that the other end's message
 *     needs.
 *   - Between a sender's lock and its look there is a fence only at the first send of a thread.  At
 *     the others there is the copying of the message: hundreds of instructions, and on x86 an
 *     atomic operation.
 *   - On arm64 nothing orders a sender's reference to the peer (sock_hold) before the release of
 *     its lock, for a reader of both that does not take the lock.
 *   - own_references_only() can miss a message in a short window: a timer is armed (mod_timer(),
 *     hrtimer_start()), or has left its work to the lock's owner (its flag is set), and the
 *     sock_hold() for it has not been called yet.
 *
 * unload.sh takes sockets out from outside by the same rules: once the switch is off, a
 * connection can go whose queues are empty, with nothing on the way (idle_now() in status_line.h),
 * in two looks in a row (let_them_go() and take_out() in lib/taking_out.sh).  They are without the
 * lock, so this rests on time as well: a stream whose messages all come just between them would
 * deceive it.
 *
 * tests/model/handover.pml is all of this as a model, in which spin searches for an order of the
 * steps that breaks it; comments name its labels after "model:".  There is none with up to three
 * threads that send at one end, or two at each, with the store buffers of x86 and of arm64, with
 * the guard, an unload, and notes that are lost.  With a rule, a fence or a wait taken out there is
 * one.  docs/testing.md has the instances, and the four that are open: both ends that end, or leave
 * at once, at the same moment; a lost note and the guard; a send from before the map and a second
 * thread.
 */
#ifndef HANDOVER_H
#define HANDOVER_H

#include "clock.h"
#include "holders.h"
#include "meet.h"

/*
 * A full memory barrier, between writing what the other end reads and reading what it writes.  On
 * x86 any atomic operation is one.  Elsewhere, as on arm64, an addition without a result orders
 * nothing, and 5.10 has no other atomic operation.  There, looking for a key that is never in the
 * map takes the lock of its bucket and gives it back.  Done twice, that orders all that comes
 * before with all that comes after (on arm64).
 */
struct cpuinfo_x86___ours {
}; /* x86's kernels have this type */

static __always_inline void fence(struct sock_record *rec)
{
	struct meet_key never = {.kind = NOTE_NONE};

	if (bpf_core_type_exists(struct cpuinfo_x86___ours)) {
		__sync_fetch_and_add(&rec->fence, 1);
	} else {
		take_note(&never);
		take_note(&never);
	}
}

/*
 * BYPASS -> LEFT, LEFT_QUEUED or LEFT_IN_FLIGHT (model: leaves).  The caller counts the reason if a
 * send, or early bytes, brought it; a direction that ends as its socket leaves the map is not
 * counted.
 */
static __always_inline void set_left(struct sock_record *rec, enum counter reason, int how)
{
	rec->reason = reason;
	rec->view.left = how;
	fence(rec);
}

/* -> ENDED; 0: it has been before. */
static __always_inline int set_ended(struct sock_record *rec)
{
	if (rec->view.ended)
		return 0;
	rec->view.ended = 1;
	fence(rec);
	return 1;
}

/*
 * Each thread that sends is told from the last one; those beyond the second do not matter
 * (model: locks).
 */
static __always_inline void count_thread(struct sock_record *rec)
{
	__u32 thread = bpf_get_current_pid_tgid();

	if (rec->thread == thread)
		return;
	rec->thread = thread;
	if (rec->view.threads < 2) {
		rec->view.threads++;
		fence(rec);
	}
}

/*
 * A global function (5.6): the verifier walks it once, not for each way to each call.  peer_sk: as
 * of landed().
 */
__noinline int landed_now(__u64 sk, __u64 peer_sk)
{
	return landed(sk, peer_sk);
}

/*
 * How long, in nanoseconds, to wait until all has landed, longer than a recv or a send takes.  At
 * most LANDING_STEPS looks, with LANDING_CLOCK_READS of the clock between two, about 1 us.
 *
 * A FIN waits FIN_WAITS times as long, some 30 ms: a sender that gave it the lock may have lost its
 * CPU to it, and gets another one with one of the scheduler's next ticks.
 */
#define LANDING_NS	    200000
#define FIN_WAITS	    150
#define LANDING_STEPS	    256
#define LANDING_CLOCK_READS 32

__noinline int wait_until_landed(__u64 sk, __u64 peer_sk)
{
	__u64 now = bpf_ktime_get_ns(), until = now + LANDING_NS;

	for (int i = 0; i < LANDING_STEPS && now < until; i++) {
		if (landed_now(sk, peer_sk))
			return 1;
		now = time_after(LANDING_CLOCK_READS);
	}
	return 0;
}

/*
 * Have the other threads of this end nothing on its way to the peer?  None can start: the lock
 * of this end is the caller's, in a send.
 */
static __always_inline int others_queued(const struct sock_record *rec)
{
	return rec->view.threads < 2 || in_no_call(rec->view.sk, 1) || landed_now(rec->peer_sk, 0);
}

/* The same, with some time for it: a global function, for the verifier. */
__noinline int wait_for_others(__u64 sk, __u64 peer_sk)
{
	return !peer_sk || in_no_call(sk, 1) || wait_until_landed(peer_sk, 0) || in_no_call(sk, 1);
}

static __noinline __attribute__((unused)) int wait_until_queued(const struct sock_record *rec)
{
	return rec->view.threads < 2 || wait_for_others(rec->view.sk, rec->peer_sk);
}

/*
 * Has no thread of this end a message on the way that could be queued?  The caller has its lock,
 * outside of a send.
 */
static __always_inline int own_queued(const struct sock_record *rec, __u64 peer_psock)
{
	return !peer_psock || !rec->view.threads || rec->view.left == LEFT_QUEUED ||
	       in_no_call(rec->view.sk, 0) || landed_now(rec->peer_sk, 0);
}

/*
 * Has what was on the way to the peer landed?  It gets a FIN's time for it, unless the peer's FIN
 * waits as well, which `peer_waits` says, the address of its waits_for_lock, or 0: do not ask.
 */
__noinline int wait_long_until_landed(__u64 sk, __u64 peer_sk, __u64 peer_waits)
{
	for (int i = 0; i < FIN_WAITS; i++) {
		if (wait_until_landed(peer_sk, 0) || in_no_call(sk, 0))
			return 1;
		if (peer_waits && read_number(peer_waits) == WAITS_TO_END)
			return 0;
	}
	return 0;
}

/*
 * The FIN, in a shutdown by one thread: a reader must not get the end of the stream before what
 * another one has on the way.  Where both ends' FINs wait for each other, the client's goes first.
 */
static __always_inline void wait_before_fin(struct sock_record *rec)
{
	__u64 peer_waits = rec->peer + offsetof(struct sock_view, waits_for_lock);

	if (own_queued(rec, psock_of(rec->peer_sk)))
		return;
	rec->view.waits_for_lock = WAITS_TO_END;
	wait_long_until_landed(rec->view.sk, rec->peer_sk, rec->server ? 0 : peer_waits);
	rec->view.waits_for_lock = 0;
}

/* ---- rule 3 ---- */

/*
 * Can the peer still put something into this end's psock queue, which is empty?
 * At this end's `fin` it is worth a wait.
 */
static __always_inline int peer_may_redirect(struct sock_record *rec, const struct sock_view *peer,
					     __u64 peer_psock, int fin)
{
	if (!peer_psock || peer->left == LEFT_QUEUED)
		return 0;
	/* The peer has not left, and sees no reason to. */
	if (!peer->left && !rec->view.left && !rec->view.ended && !rec->view.reads_tcp)
		return 1;
	/* The peer's next send sees this and leaves; so does its first. */
	if (!peer->threads)
		return 0;
	if (!fin)
		return !landed_now(rec->view.sk, rec->peer_sk);
	/*
	 * Any user can hold references to this socket, by asking sock_diag for it again and again.
	 * After that wait whoever is in a send of the peer is seen by its reference to the peer's
	 * psock, also on arm64.
	 */
	return !wait_until_landed(rec->view.sk, rec->peer_sk) && !in_no_call(rec->peer_sk, 0);
}

enum {
	STAYS,
	STAYS_BEHIND, /* with TCP bytes to come: no packet may follow when its reader has read */
	GOES,
};

/*
 * A client that has not met its server: is there none, or has it LEFT?  If our own note is
 * still there when a packet comes, no server has taken it, and none will.  If not, a server has,
 * and its own note was pushed out of the LRU map: then bytes over TCP tell.
 */
static __always_inline int unmet_server_left(struct sock_record *rec, int sent)
{
	if (!sent && take_back(&rec->key))
		rec->alone = 1;
	return rec->alone ||
	       read_kernel(struct tcp_sock, rec->view.sk, rcv_nxt) != rec->key.remote_seq;
}

/*
 * May a socket leave the map, with a packet that it has sent or received?  It GOES when its queue
 * is empty and stays so, which is rule 3 (model: packet, out).
 */
static __noinline __attribute__((unused)) int may_leave_map(struct sock_record *rec, int fin,
							    int sent)
{
	__u64 queue = psock_queue(psock_of(rec->view.sk)), peer_psock;
	struct sock_view peer = {};

	if (!queue)
		return STAYS;
	if (rec->alone)
		return queue_empty(queue) ? GOES : STAYS;
	if (!meet_peer(rec))
		return unmet_server_left(rec, sent) && queue_empty(queue) ? GOES : STAYS;
	peer_psock = psock_of(rec->peer_sk);
	read_view(&peer, rec->peer);
	if (!queue_empty(queue) || peer_may_redirect(rec, &peer, peer_psock, fin) ||
	    !own_queued(rec, peer_psock))
		return peer.left || !peer_psock ? STAYS_BEHIND : STAYS;
	/*
	 * The peer may not have read all that this end has sent over the bypass.  Before
	 * msg_tot_len FIONREAD counts TCP's bytes alone: were this end's next ones to go over
	 * TCP, the peer's reader could stop between the two.  With it FIONREAD leaves out the
	 * TCP bytes that wait here, as long as this socket stays.
	 */
	if (counts_bypassed() || rec->view.left || rec->view.ended || !peer_psock ||
	    queue_empty(psock_queue(peer_psock)))
		return GOES;
	return STAYS;
}

#endif /* HANDOVER_H */
