// SPDX-License-Identifier: GPL-2.0
/*
 * bpf_tcpip_bypass: an sk_msg program, attached to sock_ops_map.  It runs at
 * each send of a socket in the map, under that socket's lock, and redirects the
 * message into the peer's psock queue, from where its recv takes it.
 * When in doubt the message goes over TCP, and so do all that follow it.
 *
 * Small talk stays on the bypass; bulk leaves, since TCP carries it faster and
 * alone can make a sender wait.  Unless it must, a direction leaves when its reader
 * has read everything: readers that stop at a short read, or ask FIONREAD, then never
 * have bytes in two queues.  What that means for the bytes: handover.h.
 */
#include "accounts.h"
#include "backlog.h"
#include "burst.h"
#include "memory.h"

/*
 * Count this send into the burst and the backlog.  The backlog begins anew when all was read,
 * the burst when the peer has answered, or after a pause: an empty queue in another jiffy.
 */
static __always_inline void tally(struct send *s)
{
	struct sock_record *rec = s->rec;
	int turned = s->peer.turn != rec->peer_turn;

	rec->peer_turn = s->peer.turn;
	if (turned)
		count_answer(rec);
	if (turned || queue_empty(rec->peer_queue)) {
		s->found_empty = !turned;
		rec->unread = 0;
		rec->messages = 0;
		rec->unread_since = s->now;
		if (turned || rec->sent_at != s->now) {
			settle_credit(rec, turned);
			rec->burst = 0;
			rec->in_parts = 0;
			rec->put_offs = 0;
			rec->wait_at = credit(rec);
		}
	}
	rec->sent_at = s->now;
	rec->burst += s->size;
	if (s->size >= PART_OF_SEND)
		rec->in_parts = 1;
	rec->unread += s->size + MESSAGE_COST;
	rec->messages++;
}

/* ---- what it decides ---- */

/*
 * Fails if the peer has lost its psock: a redirect would find nothing.  Its socket and its queue
 * may then be memory that a program has filled with addresses of its choice, which we would follow.
 * No program knows the psock's address, which that memory would have to hold in sk_user_data.
 */
static __always_inline int find_queues(struct sock_record *rec)
{
	if (!rec->queue)
		rec->queue = psock_queue(psock_of(rec->view.sk));
	if (!rec->peer_queue)
		rec->peer_queue = psock_queue(psock_of(rec->peer_sk));
	return rec->peer_queue && user_data_of(rec->peer_sk) == psock_at(rec->peer_queue);
}

/* What only TCP can carry, whether the reader has caught up or not. */
static __always_inline enum counter why_at_once(const struct send *s)
{
	struct sock_record *rec = s->rec;

	/* tcp_bpf_sendmsg does not look at a shutdown: only TCP says EPIPE. */
	if (s->state != BPF_TCP_ESTABLISHED && s->state != BPF_TCP_CLOSE_WAIT)
		return left_closing;
	/* A send that had begun before the socket entered the map, for one. */
	if (read_kernel(struct tcp_sock, rec->view.sk, write_seq) != rec->write_seq)
		return left_tcp_bytes;
	if (!meet_peer(rec) || !find_queues(rec))
		return left_no_peer;
	if (has_ulp(rec->view.sk) || has_ulp(rec->peer_sk))
		return left_ulp;
	if (in_repair(rec->view.sk) || in_repair(rec->peer_sk))
		return left_repair;
	if (memory_pressure(rec) || memcg_pressure(rec->peer_sk, s->now))
		return left_memory;
	return NO_REASON;
}

/*
 * Has the other end's socket another connection by now, after connect() to AF_UNSPEC?  As long as
 * bpf_sockops is attached it takes such a socket out of the map (end_former_connection).  After an
 * unload nobody does, and from 5.19 on it keeps its psock.  What a peer expects of TCP is what this
 * end would send there first.
 */
static __always_inline int was_dissolved(const struct send *s)
{
	const struct sock_record *rec = s->rec;

	return s->switch_seen != SWITCH_ON &&
	       read_kernel(struct tcp_sock, rec->peer_sk, rcv_nxt) != rec->write_seq;
}

/*
 * accept(2) charges a socket's memory to its memory cgroup; 5.10 does not see then
 * what the psock's queue holds, and uncharges it all the same: that adds up to a
 * cgroup that seems to use 2^64 bytes.  Less than a page is charged with the page.
 */
static __always_inline int miscounted_at_accept(const struct sock_record *rec)
{
	return !counts_bypassed() && rec->burst >= CREDIT_UNCOUNTED && !is_accepted(rec->peer_sk);
}

/* More than it has credit for, or than its reader can catch up with. */
static __always_inline int is_bulk(const struct sock_record *rec)
{
	return rec->burst > credit(rec) || (rec->burst > CREDIT && rec->unread > room(rec) / 2);
}

/* Why this direction should go to TCP, once its reader has read all. */
static __always_inline enum counter why_once_read(const struct send *s)
{
	const struct sock_record *rec = s->rec;

	if (s->peer.left || s->peer.ended)
		return left_peer_left;
	if (s->peer.reads_tcp)
		return left_reads_tcp;
	if (s->taken_over)
		return left_taken;
	if (s->switch_seen != SWITCH_ON)
		return left_off;
	if (rec->outside)
		return left_scope;
	if (s->has_option)
		return left_option;
	if (is_bulk(rec))
		return left_bulk;
	return NO_REASON;
}

/*
 * Must it leave once the reader has read all?  By rule 2 of handover.h, or because another sockmap
 * or the kernel has taken an end over.
 */
static __always_inline int must_leave(const struct send *s)
{
	return s->peer.left || s->peer.ended || s->peer.reads_tcp || s->switch_seen == SWITCH_OFF ||
	       s->taken_over;
}

/*
 * The reader has read all: does this direction leave?  Only when none of its threads has a message
 * on the way; if it must leave, it waits for these.  If it need not, it leaves only when
 * on_packet() can take the socket out of the map with this very send.
 */
static __noinline int may_leave(const struct send *s)
{
	const struct sock_record *rec = s->rec;

	if (must_leave(s))
		return wait_until_queued(rec);
	return s->caught_up && !reader_waits(rec) &&
	       (!s->peer.threads || landed_now(rec->view.sk, rec->peer_sk)) && others_queued(rec);
}

/*
 * Has the reader read all, or does it so within a wait?  After each wait the next is due at twice
 * the burst, so a long stream has few.  In the middle of one send there is none: it has more room,
 * and ends soon.
 */
static __always_inline int has_caught_up(const struct send *s)
{
	struct sock_record *rec = s->rec;

	if (s->found_empty || queue_empty(rec->peer_queue))
		return 1;
	if (rec->burst <= rec->wait_at || rec->in_parts)
		return 0;
	rec->wait_at = 2 * rec->burst;
	return reader_catches_up(s);
}

/*
 * Too much is unread, but other threads have had messages on the way for longer than a wait: one of
 * them has been preempted.  Their order counts more than the bound, up to the most that a burst may
 * hold; and up to a number of sends, since who reads can keep references that are no messages
 * (holders.h).
 */
static __always_inline int put_off(struct sock_record *rec)
{
	if (rec->unread > ROOM_WAITING * room(rec) ||
	    rec->put_offs >= ROOM_WAITING * max_messages(rec) || wait_until_queued(rec))
		return 0;
	rec->put_offs++;
	return 1;
}

/*
 * Does a thread hold the other end's socket, and go on doing so?  A redirect would wait for it, and
 * not even a signal could end that wait; TCP never waits like this.  But while other threads have
 * messages on the way, their order counts more.
 *
 * Where both ends send at once, each holds the lock that the other waits for.  A redirect gives its
 * own lock back before it waits, and gets the other one when the other end's send is over, unless
 * the other end's program has its socket held again at once, by a thread in a page fault.  Programs
 * of one user and namespace can stop each other anyway; between others the client gives way.
 */
static __always_inline int held_up(struct sock_record *rec)
{
	__u64 user;
	int is_free = 0;

	if (!is_held(rec->peer_sk))
		return 0;
	user = 1 + (__u64)(__u32)bpf_get_current_uid_gid();
	rec->view.waits_for_lock = user;
	if (netns_of(rec->view.sk) != netns_of(rec->peer_sk))
		user = 0;
	for (int i = 0; i < HELD_WAITING && !is_free; i++) {
		if (i && !reader_waits(rec))
			break;
		is_free = wait_until_free(rec->peer_sk, rec->peer, rec->peer_queue, user,
					  rec->server);
	}
	rec->view.waits_for_lock = 0;
	return !is_free && others_queued(rec);
}

/* The order matters: first what must go over TCP now, last what would rather. */
static __always_inline enum counter reason_to_leave(struct send *s)
{
	enum counter reason = why_at_once(s);

	if (reason != NO_REASON)
		return reason;
	if (!look_at_both(s) || was_dissolved(s))
		return left_no_peer;
	tally(s);
	/* What waits there is for nobody.  Its reset may have been lost: TCP draws another one. */
	if (s->peer.ended && is_closed(s->rec->peer_sk))
		return left_no_peer;
	if (miscounted_at_accept(s->rec))
		return left_bulk;
	reason = why_once_read(s);
	if (reason != NO_REASON && has_caught_up(s) && may_leave(s))
		return reason;
	switch (backlog(s)) {
	case TOO_MUCH:
		if (!put_off(s->rec))
			return left_room;
		break;
	case WAS_READ:
		if (reason != NO_REASON && may_leave(s))
			return reason;
		break;
	case FITS:
		break;
	}
	return held_up(s->rec) ? left_held : NO_REASON;
}

/* ---- what it does ---- */

static __always_inline void leave_bypass(struct sock_record *rec, struct sock_cpu *cpu,
					 enum counter reason)
{
	set_left(rec, reason, wait_until_queued(rec) ? LEFT_QUEUED : LEFT_IN_FLIGHT);
	count(cpu, reason, 1);
	/*
	 * With no peer, take the note back that the server would find: if it is
	 * still there, none has been admitted and none will be.
	 */
	if (!rec->peer && take_back(&rec->key))
		rec->alone = 1;
}

static __always_inline void count_redirected(const struct send *s, struct sock_cpu *cpu)
{
	struct sock_record *rec = s->rec;

	if (s->peer.reads_tcp && rec->view.past < MANY_PAST)
		rec->view.past++; /* before it is queued (remembered.h) */
	count(cpu, redirected_messages, 1);
	count(cpu, redirected_bytes, s->size);
	if (!may_trace(cpu, 2))
		return;
	trace_addresses("sock_msg_redirect by sockmap", "-->", &rec->peer_key);
	bpf_printk("sock_msg_redirect by sockmap: %d --> %d", rec->peer_key.local_port,
		   rec->peer_key.remote_port);
}

/*
 * Over TCP.  Of a message with MSG_ZEROCOPY each element gets a number (tcp_bpf_push): one element
 * gets one, as the program counts.  Where there is no memory, or more than a message in one send,
 * it gets more: a row of docs/limits.md.
 */
static __noinline int pass(struct sk_msg_md *msg, const struct sock_record *rec,
			   struct sock_cpu *cpu)
{
	count(cpu, passed_messages, 1);
	if (has_flag(flags_of(rec->view.sk), SOCK_ZEROCOPY))
		bpf_msg_pull_data(msg, 0, msg->size, 0);
	return SK_PASS;
}

SEC("sk_msg")
int bpf_tcpip_bypass(struct sk_msg_md *msg)
{
	struct bpf_sock *sk = msg->sk;
	struct sock_cpu *cpu = this_cpu();
	enum counter reason;
	struct send s;

	if (!sk || !cpu)
		return SK_PASS;
	s.rec = bpf_sk_storage_get(&sock_ops_record, sk, 0, 0);
	if (!s.rec)
		return SK_PASS;
	s.now = bpf_jiffies64();
	s.size = msg->size;
	s.state = sk->state;
	s.cpu = cpu;
	s.taken_over = s.has_option = s.found_empty = 0;
	count_thread(s.rec);
	if (s.rec->view.left)
		return pass(msg, s.rec, cpu);

	reason = reason_to_leave(&s);
	if (reason == NO_REASON &&
	    bpf_msg_redirect_hash(msg, &sock_ops_map, &s.rec->peer_key, BPF_F_INGRESS) != SK_PASS)
		reason = left_no_peer;
	if (reason == NO_REASON) {
		count_redirected(&s, cpu);
		return SK_PASS;
	}
	leave_bypass(s.rec, cpu, reason);
	return pass(msg, s.rec, cpu);
}

char LICENSE[] SEC("license") = "GPL";
