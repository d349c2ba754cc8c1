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
#include "handover.h"

/*
 * CREDIT, in bytes: what a direction may send in one burst and stay on the
 * bypass.  A reader that asks FIONREAD how much there is must find it: before
 * sk_psock.msg_tot_len (6.6.128, 6.12.75, 6.18.14, 7.0) the kernel does not
 * count bypassed bytes there, and readers such as nginx then stop at what fits
 * the buffer they have.
 *
 * Up to 256 KiB an answer is on the bypass 2.2 times as fast as over TCP on one core, and no
 * slower on two; streams do not notice (docs/performance.md).
 */
#define CREDIT		 (256 * 1024)
#define CREDIT_UNCOUNTED (4 * 1024)

/*
 * Earned credit, in bytes: a turn whose burst was no larger than EARNED_PER_TURN earns that
 * much, up to EARNED_MOST, and what a burst takes beyond CREDIT is spent, EARNED_PER_BURST at
 * most.  So a connection that mostly talks, and now and then gets a large answer, keeps the
 * bypass for good; a stream does not.  No burst is kept beyond CREDIT once half of ROOM is
 * unread: its reader needs the other half to catch up before the direction leaves.  Nothing
 * is earned where CREDIT_UNCOUNTED holds, which is there for the reader.
 *
 * Why these figures: docs/performance.md.
 */
#define EARNED_PER_TURN	 (32 * 1024)
#define EARNED_PER_BURST (1024 * 1024)
#define EARNED_MOST	 (8 * 1024 * 1024)

/*
 * ROOM, in bytes: the unread backlog at which a direction leaves even though
 * its peer has not read all: the sender's sk_sndbuf and the reader's sk_rcvbuf,
 * which is what plain TCP holds.  Each message counts MESSAGE_COST more, for the
 * kernel's struct sk_msg.  A socket on which another thread waits in a recv gets
 * ROOM_WAITING times as much, each send past ROOM slowed down by a wait for the reader:
 * leaving would end that recv with EAGAIN (reader_waits).  So does a burst with a message of
 * PART_OF_SEND or more: a longer send comes as messages of 544 KiB (MAX_MSG_FRAGS pages of
 * 32 KiB).  They belong to one call.  A reader on the same CPU cannot run before it returns, so
 * leaving in the middle would leave much unread.  A wait that finds this reader where it was is
 * the last one of such a burst.  What ALWAYS_FITS needs no look at
 * the buffers: they are never smaller (SOCK_MIN_SNDBUF and SOCK_MIN_RCVBUF in
 * net/sock.h).  Kernels without msg_tot_len get ROOM_UNCOUNTED, and no more in either
 * case: 5.10 does not add redirected bytes to sk_rmem_alloc, and an edge-triggered reader that
 * had paused stalls there at the boundary between the two queues.
 */
#define MESSAGE_COST   1024
#define ROOM_WAITING   4 /* times ROOM, while another thread waits in a recv, or in one send */
#define PART_OF_SEND   (512 * 1024)
#define ALWAYS_FITS    4096
#define ROOM_UNCOUNTED (64 * 1024 * 1024)

/*
 * Of a message the kernel holds a kilobyte (struct sk_msg, in its slab), which neither tcp_mem
 * nor a memory cgroup counts; TCP merges small segments.  So that a direction holds at most
 * three times what TCP would, MESSAGES_FEW may be unread, and one more for each BYTES_A_MESSAGE
 * that are, up to MESSAGES_MOST.
 *
 * The sockets in the map share as many messages as the first number of tcp_mem has pages: about
 * 1 % of the memory.  Whatever a socket's share is, MESSAGES_LEAST fit.
 *
 * Kernels without msg_tot_len have this second bound alone, for the reader's sake, as with
 * ROOM_UNCOUNTED: HOST_UNCOUNTED times the second number of tcp_mem, 6 % of the memory.
 */
#define MESSAGES_FEW	24
#define BYTES_A_MESSAGE 64
#define MESSAGES_MOST	256
#define MESSAGES_LEAST	4
#define HOST_UNCOUNTED	4

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
 * A reader that shares the sender's CPU cannot run before the sender is
 * preempted: from half of ROOM on, up to PATIENCE waits are spent (5 ms, more
 * than a scheduler's tick at 250 Hz), one for each send.  A direction that leaves
 * with its reader's buffer full pays more: TCP bytes that find no room are
 * dropped, and wait for a retransmission.
 */
#define PATIENCE 25

/* One send, and what it has seen of both ends. */
struct send {
	struct sock_record *rec;
	struct sock_view peer;
	__u64 now;	 /* jiffies */
	__u32 size;	 /* bytes */
	__u32 state;	 /* of the socket: BPF_TCP_* */
	__u32 switched;	 /* SWITCH_* */
	int taken;	 /* either end: by another tool's sockmap, or by the kernel */
	int option;	 /* either end: has one that only TCP honours */
	int caught_up;	 /* this end has read all that came over the bypass */
	int found_empty; /* the peer's queue was empty */
};

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
 * waits_for_lock) is not waited for, one of another user only if this end is PATIENT.
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
		if (waits && !patient)
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

/*
 * How many messages are in a queue, `most` + 1 for more.  Its reader takes some out meanwhile:
 * a look that strays reads zeroes, and ends.
 */
__noinline int messages_in(__u64 queue, int most)
{
	__u64 node = read_word(queue);
	int n = 0;

	for (int i = 0; i <= MESSAGES_MOST; i++) {
		if (i > most || !node || node == queue)
			break;
		node = read_word(node);
		n++;
	}
	return n;
}

/* ---- what a send sees ---- */

/* What a burst may have now. */
static __always_inline __u64 credit(const struct sock_record *rec)
{
	if (!counts_bypassed())
		return CREDIT_UNCOUNTED;
	return CREDIT + (rec->earned < EARNED_PER_BURST ? rec->earned : EARNED_PER_BURST);
}

static __always_inline __u64 room(const struct sock_record *rec)
{
	if (!counts_bypassed())
		return ROOM_UNCOUNTED;
	return (__u64)read_kernel(struct sock, rec->view.sk, sk_sndbuf) +
	       read_kernel(struct sock, rec->peer_sk, sk_rcvbuf);
}

/* The psock that has a queue. */
static __always_inline __u64 psock_at(__u64 queue)
{
	return queue - offset_of(struct sk_psock, ingress_msg);
}

/* A sockmap of another tool holds the psock as well: it stays when we are out. */
static __always_inline int shared_psock(const struct sock_record *rec)
{
	__u64 psock = psock_at(rec->queue);

	return read_kernel(struct sk_psock, psock, link.next) !=
	       read_kernel(struct sk_psock, psock, link.prev);
}

/*
 * Does another thread wait in a recv on this socket?  If the direction left now,
 * that recv would return EAGAIN when TCP's send buffer, once full, has room again:
 * on a psock any wake-up without data does that (tcp_msg_wait_data).  The map and
 * our send hold a reference to the psock each.  Once several threads have sent, a
 * waiting reader cannot be told from a waiting sender.
 */
static __always_inline int reader_waits(const struct sock_record *rec)
{
	return rec->view.threads < 2 &&
	       read_kernel(struct sk_psock, psock_at(rec->queue), refcnt.refs.counter) > 2 &&
	       !shared_psock(rec);
}

/*
 * Once TCP's memory has come to its limit, a redirect fails with ENOMEM, where TCP
 * makes the sender wait (sk_wmem_schedule in bpf_tcp_ingress).  The pressure begins
 * before that (tcp_mem[1]), but each CPU counts up to 1 MiB late (SK_MEMORY_PCPU_RESERVE):
 * where tcp_mem leaves less than that and a message between the two, a send may fail.
 */
static __always_inline int memory_pressure(struct sock_record *rec)
{
	if (!rec->pressure) {
		struct proto *prot = read_kernel(struct sock_common, rec->view.sk, skc_prot);

		rec->pressure = (__u64)read_kernel(struct proto, prot, memory_pressure);
	}
	return read_word(rec->pressure) != 0;
}

/* Once for each send, so that all that follows goes by the same. */
static __always_inline void see(struct send *s)
{
	struct sock_record *rec = s->rec;

	s->caught_up = queue_empty(rec->queue);
	if (s->caught_up)
		rec->view.turn++;
	read_view(&s->peer, rec->peer);
	s->switched = switch_state();
	/* Where a read is not just a load, once in a jiffy. */
	if (!can_cast() && rec->sent_at == s->now)
		return;
	s->taken = shared_psock(rec) || !same_handlers(rec->view.sk, rec->peer_sk);
	s->option = needs_tcp(rec->view.sk) || needs_tcp(rec->peer_sk);
}

/* A burst has ended, with the peer's turn or with a pause. */
static __always_inline void settle_credit(struct sock_record *rec, int turned)
{
	__u64 beyond = rec->burst > CREDIT ? rec->burst - CREDIT : 0;

	if (beyond)
		rec->earned -= beyond < rec->earned ? beyond : rec->earned;
	else if (turned && counts_bypassed() && rec->burst <= EARNED_PER_TURN &&
		 rec->earned < EARNED_MOST)
		rec->earned += EARNED_PER_TURN;
}

/*
 * Count this send into the burst and the backlog.  The backlog begins anew when all was read,
 * the burst when the peer has answered, or after a pause: an empty queue in another jiffy.
 */
static __always_inline void account(struct send *s)
{
	struct sock_record *rec = s->rec;
	int turned = s->peer.turn != rec->peer_turn;

	rec->peer_turn = s->peer.turn;
	if (turned)
		note_answer(rec);
	if (turned || queue_empty(rec->peer_queue)) {
		s->found_empty = !turned;
		rec->unread = 0;
		rec->messages = 0;
		rec->unread_since = s->now;
		if (turned || rec->sent_at != s->now) {
			settle_credit(rec, turned);
			rec->burst = 0;
			rec->in_parts = 0;
			rec->waits = 0;
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
	if (!meet_peer(rec))
		return left_no_peer;
	if (!rec->queue)
		rec->queue = psock_queue(psock_of(rec->view.sk));
	if (!rec->peer_queue)
		rec->peer_queue = psock_queue(psock_of(rec->peer_sk));
	if (has_ulp(rec->view.sk) || has_ulp(rec->peer_sk))
		return left_ulp;
	if (in_repair(rec->view.sk) || in_repair(rec->peer_sk))
		return left_repair;
	if (memory_pressure(rec))
		return left_memory;
	return NO_REASON;
}

/*
 * accept(2) charges a socket's memory to its memory cgroup; 5.10 does not see then
 * what the psock's queue holds, and uncharges it all the same: that adds up to a
 * cgroup that seems to use 2^64 bytes.  Less than a page is charged with the page.
 */
static __always_inline int miscounted_at_accept(const struct sock_record *rec)
{
	return !counts_bypassed() && rec->burst >= CREDIT_UNCOUNTED &&
	       !read_kernel(struct sock, rec->peer_sk, sk_socket);
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
	if (s->taken)
		return left_taken;
	if (s->switched != SWITCH_ON)
		return left_off;
	if (s->option)
		return left_option;
	if (is_bulk(rec))
		return left_bulk;
	return NO_REASON;
}

/* By rule 2 of handover.h it must leave once the reader has read all; also once not ours alone. */
static __always_inline int must_leave(const struct send *s)
{
	return s->peer.left || s->peer.ended || s->peer.reads_tcp || s->switched == SWITCH_OFF ||
	       s->taken;
}

/*
 * The reader has read all: does this direction leave?  Unless it must, only when none of its
 * threads has a message on the way, and on_packet() then takes the socket out of the map with
 * this very send.
 */
static __always_inline int may_leave(const struct send *s)
{
	const struct sock_record *rec = s->rec;

	if (must_leave(s))
		return 1;
	return s->caught_up && !reader_waits(rec) &&
	       (!s->peer.threads || landed_now(rec->view.sk, rec->peer_sk)) && others_queued(rec);
}

/*
 * Has the reader read all, or does it within a wait?  Each wait doubles the burst to the
 * next one: few in a long stream.  None amid one send: it has room, and ends soon.
 */
static __always_inline int has_caught_up(const struct send *s)
{
	struct sock_record *rec = s->rec;

	if (s->found_empty || queue_empty(rec->peer_queue))
		return 1;
	if (rec->burst <= rec->wait_at || rec->in_parts)
		return 0;
	rec->wait_at = 2 * rec->burst;
	return wait_for_reader(rec->peer_queue, rec->peer);
}

enum backlog { FITS, WAS_READ, TOO_MUCH };

struct bpf_shtab___ours {
	atomic_t count;
} __attribute__((preserve_access_index));

/* A socket's share of the messages that may be unread on this host. */
static __always_inline __u64 host_share(const struct sock_record *rec)
{
	struct bpf_shtab___ours *map = (struct bpf_shtab___ours *)&sock_ops_map;
	__u64 prot = (__u64)read_kernel(struct sock_common, rec->view.sk, skc_prot);
	__u64 mem = (__u64)read_kernel(struct proto, prot, sysctl_mem);
	__u32 sockets = map->count.counter;
	__u64 pages;

	if (counts_bypassed())
		pages = read_number(mem);
	else
		pages = HOST_UNCOUNTED * read_number(mem + sizeof(unsigned long));
	return sockets ? pages / sockets : pages;
}

/* How many messages may be unread. */
static __always_inline __u64 messages_most(const struct sock_record *rec)
{
	__u64 share = host_share(rec), most = MESSAGES_FEW;

	if (!counts_bypassed())
		return share > MESSAGES_LEAST ? share : MESSAGES_LEAST;
	most += read_kernel(struct sk_psock, psock_at(rec->peer_queue), msg_tot_len) /
		BYTES_A_MESSAGE;
	if (most > MESSAGES_MOST)
		most = MESSAGES_MOST;
	if (most > share)
		most = share;
	return most > MESSAGES_LEAST ? most : MESSAGES_LEAST;
}

/* Are more unread, this one included?  They were counted since the reader had read all: look. */
static __always_inline int too_many(struct sock_record *rec)
{
	__u64 most;

	if (rec->messages <= MESSAGES_LEAST)
		return 0;
	most = messages_most(rec);
	if (rec->messages > most && most <= MESSAGES_MOST)
		rec->messages = messages_in(rec->peer_queue, most) + 1;
	return rec->messages > most;
}

/* The reader has read all but this message. */
static __always_inline enum backlog was_read(const struct send *s)
{
	s->rec->unread = s->size + MESSAGE_COST;
	s->rec->messages = 1;
	s->rec->waits = 0;
	return WAS_READ;
}

/* Hold what is unread against ROOM; from half of it on the reader is given time. */
static __always_inline enum backlog backlog(const struct send *s)
{
	struct sock_record *rec = s->rec;
	__u64 most, waiting, first;

	if (rec->unread <= ALWAYS_FITS)
		return FITS;
	if (too_many(rec))
		return wait_for_reader(rec->peer_queue, rec->peer) ? was_read(s) : TOO_MUCH;
	most = room(rec);
	waiting = counts_bypassed() ? ROOM_WAITING * most : most;
	if (rec->in_parts)
		most = waiting;
	if (rec->unread > most && (rec->in_parts || rec->unread > waiting || !reader_waits(rec)))
		return TOO_MUCH;
	if (rec->unread <= most && (rec->unread <= most / 2 || rec->waits >= PATIENCE))
		return FITS;
	rec->waits++;
	first = read_word(rec->peer_queue);
	if (wait_for_reader(rec->peer_queue, rec->peer))
		return was_read(s);
	/* It has not moved, and may not before this call has ended. */
	if (rec->in_parts && read_word(rec->peer_queue) == first)
		rec->waits = PATIENCE;
	return FITS;
}

/*
 * Too much is unread, but other threads have messages on the way, for longer than a wait: one
 * has been preempted.  The order counts more, up to what a burst may hold at the most.
 */
static __always_inline int put_off(const struct sock_record *rec)
{
	return !wait_until_queued(rec) && rec->unread <= ROOM_WAITING * room(rec);
}

/*
 * Does a thread hold the other end's socket, and go on doing so?  A redirect would wait for it,
 * and cannot be ended meanwhile, not even by a signal; TCP never does.  But with other threads'
 * messages on the way the order counts more.
 *
 * Where both ends send at once, each has the lock that the other one waits for.  A redirect gives
 * it back before it waits, and gets the other one at the end of that send, unless the other end's
 * program sees to it that its socket is held again at once, by a thread in a page fault.  Programs
 * of one user and namespace can stop each other anyway; of others the client gives way.
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
	see(s);
	account(s);
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

static __always_inline void leave(struct sock_record *rec, struct sock_cpu *cpu,
				  enum counter reason)
{
	set_left(rec, reason, wait_until_queued(rec) ? LEFT_QUEUED : LEFT_IN_FLIGHT);
	count(cpu, reason, 1);
	count(cpu, passed_messages, 1);
	/*
	 * With no peer, take the note back that the server would find: if it is
	 * still there, none has been admitted and none will be.
	 */
	if (!rec->peer && take_back(&rec->key))
		rec->alone = 1;
}

static __always_inline void redirected(const struct send *s, struct sock_cpu *cpu)
{
	struct sock_record *rec = s->rec;

	count(cpu, redirected_messages, 1);
	count(cpu, redirected_bytes, s->size);
	if (!may_trace(cpu, 2))
		return;
	trace_addresses("sock_msg_redirect by sockmap", "-->", &rec->peer_key);
	bpf_printk("sock_msg_redirect by sockmap: %d --> %d", rec->peer_key.local_port,
		   rec->peer_key.remote_port);
}

SEC("sk_msg")
int bpf_tcpip_bypass(struct sk_msg_md *msg)
{
	struct bpf_sock *sk = msg->sk;
	struct sock_cpu *cpu = this_cpu();
	enum counter reason;
	struct send s = {};

	if (!sk || !cpu)
		return SK_PASS;
	s.rec = bpf_sk_storage_get(&sock_ops_record, sk, 0, 0);
	if (!s.rec)
		return SK_PASS;
	s.now = bpf_jiffies64();
	s.size = msg->size;
	s.state = sk->state;
	note_thread(s.rec);
	if (s.rec->view.left) {
		count(cpu, passed_messages, 1);
		return SK_PASS;
	}

	reason = reason_to_leave(&s);
	if (reason == NO_REASON &&
	    bpf_msg_redirect_hash(msg, &sock_ops_map, &s.rec->peer_key, BPF_F_INGRESS) != SK_PASS)
		reason = left_no_peer;
	if (reason == NO_REASON)
		redirected(&s, cpu);
	else
		leave(s.rec, cpu, reason);
	return SK_PASS;
}

char LICENSE[] SEC("license") = "GPL";
