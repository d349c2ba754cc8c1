/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How much of a direction is unread, in bytes and in messages: where it is more than TCP would
 * hold, the direction leaves.
 */
#ifndef BACKLOG_H
#define BACKLOG_H

#include "burst.h"
#include "memory.h"
#include "messages.h"
#include "send.h"
#include "waits.h"

/*
 * ROOM, in bytes: the unread backlog at which a direction leaves even though its peer has not read
 * all: the sender's sk_sndbuf and the reader's sk_rcvbuf, which is what plain TCP holds.  Each
 * message counts MESSAGE_COST more, for the kernel's struct sk_msg.  A socket on which another
 * thread waits in a recv gets ROOM_WAITING times as much, since leaving would end that recv with
 * EAGAIN (reader_waits); each send past ROOM then waits for the reader.  A burst with a message of
 * PART_OF_SEND or more gets as much, too: a longer send comes as messages of 544 KiB (MAX_MSG_FRAGS
 * pages of 32 KiB).  They belong to one call.  A reader on the same CPU cannot run before it
 * returns, so leaving in the middle would leave much unread.
 *
 * Up to ALWAYS_FITS the buffers are not looked at: that is 1 KiB of payload, a quarter of the
 * smallest buffer.  Kernels without msg_tot_len get ROOM_UNCOUNTED, and no more in either
 * case: 5.10 does not add redirected bytes to sk_rmem_alloc, and an edge-triggered reader that had
 * paused stalls there at the boundary between the two queues.
 */
#define MESSAGE_COST   1024
#define ROOM_WAITING   4 /* times ROOM, while another thread waits in a recv, or in one send */
#define PART_OF_SEND   (512 * 1024)
#define ALWAYS_FITS    2048
#define ROOM_UNCOUNTED (64 * 1024 * 1024)

/*
 * Each direction gets a MEMCG_SHAREth of what the reader's memory cgroup has left, so that all
 * together never come to its limit, plus MEMCG_LEAST, in bytes: TCP, too, holds a packet beyond the
 * limit (sk_forced_mem_schedule).
 */
#define MEMCG_SHARE 16
#define MEMCG_LEAST (16 * 1024)

/*
 * Of a message the kernel holds a kilobyte (struct sk_msg, in its slab), which neither tcp_mem
 * nor a memory cgroup counts; TCP merges small segments.  So MESSAGES_FEW may be unread, and one
 * more for each BYTES_A_MESSAGE that are, up to MAX_MESSAGES: with single bytes 2.4 times what TCP
 * holds, more where it can merge many.
 *
 * The sockets in the map share a HOST_SHAREth of as many messages as the first number of tcp_mem
 * has pages.  Who came early keeps what it has when others come, so that the sum grows with the
 * logarithm of their number: with 65,535 sockets it is half as many messages as there are pages,
 * 0.6 % of the memory, and MESSAGES_LEAST each, which fit whatever a socket's share is.
 *
 * Kernels without msg_tot_len have this second bound alone, for the reader's sake, as with
 * ROOM_UNCOUNTED: HOST_UNCOUNTED times the second number of tcp_mem, 6 % of the memory.
 */
#define MESSAGES_FEW	24
#define BYTES_A_MESSAGE 64
#define MAX_MESSAGES	MAX_COUNTED
#define MESSAGES_LEAST	4
#define HOST_UNCOUNTED	4
#define HOST_SHARE	16

/*
 * Before a direction leaves, and from half of ROOM on at each send, the reader is given time.  One
 * that shares the sender's CPU cannot run before the sender is preempted, after a scheduler's tick
 * (4 ms at 250 Hz).  Others can let each send to them wait in vain, or just not in vain.  So all
 * sends of a CPU have MAX_WAITS in a window of 2^WINDOW_SHIFT ns (134 ms), an eighth of its time.
 * After these none waits, and more directions leave with unread bytes.
 */
#define WINDOW_SHIFT 27
#define MAX_WAITS    84

static __noinline int reader_catches_up(const struct send *s)
{
	__u32 window = bpf_ktime_get_ns() >> WINDOW_SHIFT;
	struct sock_cpu *cpu = s->cpu;

	if (cpu->window != window) {
		cpu->window = window;
		cpu->waits = 0;
	}
	return cpu->waits++ < MAX_WAITS && wait_for_reader(s->rec->peer_queue, s->rec->peer);
}

static __noinline __u64 room(const struct sock_record *rec)
{
	__u64 most = ROOM_UNCOUNTED, share = memcg_room(rec->peer_sk) / MEMCG_SHARE + MEMCG_LEAST;

	if (counts_bypassed())
		most = (__u64)read_kernel(struct sock, rec->view.sk, sk_sndbuf) +
		       read_kernel(struct sock, rec->peer_sk, sk_rcvbuf);
	return most < share ? most : share;
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
		pages = read_number(mem) / HOST_SHARE;
	else
		pages = HOST_UNCOUNTED * read_number(mem + sizeof(unsigned long));
	return sockets ? pages / sockets : pages;
}

/* How many messages may be unread. */
static __noinline __u64 max_messages(const struct sock_record *rec)
{
	__u64 share = host_share(rec), most = MESSAGES_FEW;

	if (!counts_bypassed())
		return share > MESSAGES_LEAST ? share : MESSAGES_LEAST;
	most += read_kernel(struct sk_psock, psock_at(rec->peer_queue), msg_tot_len) /
		BYTES_A_MESSAGE;
	if (most > MAX_MESSAGES)
		most = MAX_MESSAGES;
	if (most > share)
		most = share;
	return most > MESSAGES_LEAST ? most : MESSAGES_LEAST;
}

/*
 * Are more unread, this one included?  rec->messages counts since the reader had read all, and it
 * may have read some of these: look into the queue.
 */
static __always_inline int too_many(struct sock_record *rec)
{
	__u64 most;

	if (rec->messages <= MESSAGES_LEAST)
		return 0;
	most = max_messages(rec);
	if (rec->messages > most && most <= MAX_MESSAGES)
		rec->messages = messages_in(rec->peer_queue, most) + 1;
	return rec->messages > most;
}

/*
 * Would more be unread than the reader's TCP bears?  Unread bytes count in sk_rmem_alloc, but never
 * shrink the window that TCP has offered, half of sk_rcvbuf, which in small segments takes three
 * quarters.  Behind too many it drops
 *
 *   - what comes within that window: the sender sends it again, ever more seldom, instead of
 *     probing a closed window.  A sender that has closed gives up then (tcp_orphan_retries), before
 *     6.6 also one that has not (tcp_retries2): there the buffer is taken as it is;
 *   - what comes while the reader is in a call: a reset never comes again, and the reader waits.
 *     This bound does not apply within one large send, since readers would stop at the boundary:
 *     wait_before_last_packet() waits for them instead.
 *
 * While another thread waits in a recv the direction must not leave, so these bounds do not apply.
 * They do before accept(2): no memory cgroup bounds what waits then, and accept(2) charges all of
 * it to the server's.  There it is CREDIT at most, four times what TCP holds, whoever waits.
 *
 * Before 6.1 a reader may not learn of the bytes behind the boundary (release.h): ROOM_UNCOUNTED.
 */
static __noinline int over_buffer(const struct sock_record *rec, __u32 size)
{
	__u64 quarter, most, packets;
	int accepted;

	if (!is_6_1())
		return 0;
	quarter = (__u32)read_kernel(struct sock, rec->peer_sk, sk_rcvbuf) / 4;
	if (rec->unread <= quarter)
		return 0;
	accepted = is_accepted(rec->peer_sk);
	most = most_rcvbuf(rec->peer_sk) - 3 * quarter;
	packets = most_rmem_for_packets(rec->peer_sk);
	if (most > packets && !rec->in_parts)
		most = packets;
	if (most > CREDIT && !accepted)
		most = CREDIT;
	return rmem_of(rec->peer_sk) + size > most && (!accepted || !reader_waits(rec));
}

/* The reader has read all but this message. */
static __noinline enum backlog was_read(const struct send *s)
{
	s->rec->unread = s->size + MESSAGE_COST;
	s->rec->unread_since = s->now;
	s->rec->messages = 1;
	s->rec->put_offs = 0;
	return WAS_READ;
}

/* Hold what is unread against ROOM; from half of it on the reader is given time. */
static __always_inline enum backlog backlog(const struct send *s)
{
	struct sock_record *rec = s->rec;
	__u64 most, waiting;

	if (rec->unread <= ALWAYS_FITS)
		return FITS;
	if (too_many(rec) || over_buffer(rec, s->size)) {
		if (!reader_catches_up(s))
			return TOO_MUCH;
		was_read(s);
		return over_buffer(rec, s->size) ? TOO_MUCH : WAS_READ;
	}
	most = room(rec);
	waiting = counts_bypassed() ? ROOM_WAITING * most : most;
	if (rec->in_parts)
		most = waiting;
	if (rec->unread > most && (rec->in_parts || rec->unread > waiting || !reader_waits(rec)))
		return TOO_MUCH;
	if (rec->unread <= most / 2)
		return FITS;
	/* Past ROOM the wait alone slows a sender down that must not leave. */
	if (rec->unread > most ? wait_for_reader(rec->peer_queue, rec->peer) : reader_catches_up(s))
		return was_read(s);
	return FITS;
}

#endif /* BACKLOG_H */
