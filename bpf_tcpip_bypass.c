// SPDX-License-Identifier: GPL-2.0
/*
 * bpf_tcpip_bypass: an sk_msg program, attached to sock_ops_map.  It runs at
 * each send of a socket in the map, under that socket's lock, and redirects the
 * message into the peer's psock queue, from where its recv takes it.
 * On any failure the message goes over TCP, and so do all that follow it.
 *
 * Small talk stays on the bypass; bulk leaves, since TCP carries it faster and
 * alone can make a sender wait.  A direction leaves when its reader has read
 * everything: readers that stop at a short read, or ask FIONREAD, then never
 * have bytes in two queues.
 */
#include "bpf_sockops.h"

/*
 * Wait a little for the reader to catch up; where both share one CPU it cannot.
 * Each step asks the clock several times: the verifier walks every step, and
 * allows 8192 branches on the way, while the wait leaves the reader's cache
 * line alone.  A global function (5.6) it walks once, not for each way to each call.
 */
__noinline int look(__u64 queue)
{
	__u64 now = bpf_ktime_get_ns(), until = now + LOOK_NS;

	for (int i = 0; i < LOOK_STEPS && now < until; i++) {
		if (queue_empty(queue))
			return 1;
		bpf_ktime_get_ns();
		bpf_ktime_get_ns();
		bpf_ktime_get_ns();
		now = bpf_ktime_get_ns();
	}
	return 0;
}

/* This end's psock, once its queue has been looked up. */
static __always_inline __u64 own_psock(const struct sock_record *rec)
{
	return rec->queue - offset_of(struct sk_psock, ingress_msg);
}

/* A sockmap of another tool holds the psock as well: it stays when we are out. */
static __always_inline int shared_psock(const struct sock_record *rec)
{
	__u64 psock = own_psock(rec);

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
	return rec->view.senders < 2 &&
	       read_kernel(struct sk_psock, own_psock(rec), refcnt.refs.counter) > 2 &&
	       !shared_psock(rec);
}

/*
 * With the peer's queue empty: leave only when on_packet() then takes the socket
 * out of the map with this very send.
 */
static __always_inline int may_leave(const struct sock_record *rec, const struct sock_view *peer,
				     int caught_up)
{
	return caught_up && !reader_waits(rec) &&
	       (!peer->senders || quiet(rec->view.sk, rec->peer_sk));
}

/*
 * Once TCP's memory has come to its limit, a redirect fails with ENOMEM, where TCP
 * makes the sender wait (sk_wmem_schedule in bpf_tcp_ingress).  The pressure begins
 * before that (tcp_mem[1]).
 */
static __always_inline int memory_pressure(struct sock_record *rec)
{
	if (!rec->pressure) {
		struct proto *prot = read_kernel(struct sock_common, rec->view.sk, skc_prot);

		rec->pressure = (__u64)read_kernel(struct proto, prot, memory_pressure);
	}
	return read_word(rec->pressure) != 0;
}

/*
 * The counter of the reason to leave with this message, or NULL to redirect it.
 * The order matters: first what must go over TCP now, last what would rather.
 */
static __always_inline __u64 *reason_to_leave(struct sock_stats *stats, struct sock_record *rec,
					      __u32 state, __u32 size, __u64 now)
{
	int counted = counts_bypassed();
	__u64 room = ROOM_UNCOUNTED, credit = counted ? CREDIT : CREDIT_UNCOUNTED;
	struct sock_view peer = {};
	__u32 sw;
	int empty = 0, must, taken, caught_up, turned;
	__u64 *wish;

	/* tcp_bpf_sendmsg does not look at a shutdown: only TCP says EPIPE. */
	if (state != BPF_TCP_ESTABLISHED && state != BPF_TCP_CLOSE_WAIT)
		return &stats->left_closing;
	/* A send that had begun before the socket entered the map, for one. */
	if (read_kernel(struct tcp_sock, rec->view.sk, write_seq) != rec->write_seq)
		return &stats->left_tcp_bytes;
	if (!meet_peer(rec))
		return &stats->left_no_peer;
	if (!rec->queue)
		rec->queue = psock_queue(psock_of(rec->view.sk));
	if (!rec->peer_queue)
		rec->peer_queue = psock_queue(psock_of(rec->peer_sk));
	if (has_ulp(rec->view.sk) || has_ulp(rec->peer_sk))
		return &stats->left_ulp;

	if (memory_pressure(rec))
		return &stats->left_memory;

	caught_up = queue_empty(rec->queue);
	if (caught_up)
		rec->view.turn++;
	read_view(&peer, rec->peer);
	turned = peer.turn != rec->peer_turn;
	rec->peer_turn = peer.turn;
	/* Where a read is not just a load, once in a jiffy. */
	taken = (can_cast() || rec->sent_at != now) &&
		(shared_psock(rec) || !alike(rec->view.sk, rec->peer_sk));
	if (turned || queue_empty(rec->peer_queue)) {
		empty = !turned;
		rec->unread = 0;
		rec->since = now;
		if (turned || rec->sent_at != now) {
			rec->burst = 0;
			rec->looks = 0;
			rec->look_at = credit;
		}
	}
	rec->sent_at = now;
	rec->burst += size;
	rec->unread += size + MESSAGE_COST;

	/*
	 * accept(2) charges a socket's memory to its memory cgroup; 5.10 does not see then
	 * what the psock's queue holds, and uncharges it all the same: that adds up to a
	 * cgroup that seems to use 2^64 bytes.  Less than a page is charged with the page.
	 */
	if (!counted && rec->burst >= CREDIT_UNCOUNTED &&
	    !read_kernel(struct sock, rec->peer_sk, sk_socket))
		return &stats->left_bulk;

	/*
	 * Off, or with a peer that goes: never another redirect to an empty queue.
	 * Whoever takes that peer out of the map relies on it.
	 */
	sw = switch_state();
	must = peer.leaving || peer.finished || sw == SWITCH_OFF || taken;
	if (peer.leaving || peer.finished)
		wish = &stats->left_peer_left;
	else if (taken)
		wish = &stats->left_taken;
	else if (sw != SWITCH_ON)
		wish = &stats->left_off;
	else if (needs_tcp(rec->view.sk) || needs_tcp(rec->peer_sk))
		wish = &stats->left_option;
	else
		wish = rec->burst > credit ? &stats->left_bulk : 0;
	if (wish) {
		if ((empty || queue_empty(rec->peer_queue)) &&
		    (must || may_leave(rec, &peer, caught_up)))
			return wish;
		/* Each look that fails doubles the burst to the next. */
		if (rec->burst > rec->look_at) {
			rec->look_at = 2 * rec->burst;
			if (look(rec->peer_queue) && (must || may_leave(rec, &peer, caught_up)))
				return wish;
		}
	}

	if (rec->unread > ROOM_LEAST) {
		if (counted)
			room = (__u64)read_kernel(struct sock, rec->view.sk, sk_sndbuf) +
			       read_kernel(struct sock, rec->peer_sk, sk_rcvbuf);
		if (rec->unread > ROOM_WAITING * room || (rec->unread > room && !reader_waits(rec)))
			return &stats->left_room;
		if (rec->unread > room || (rec->unread > room / 2 && rec->looks < PATIENCE)) {
			rec->looks++;
			if (look(rec->peer_queue)) {
				if (wish && (must || may_leave(rec, &peer, caught_up)))
					return wish;
				rec->unread = size + MESSAGE_COST;
				rec->looks = 0;
			}
		}
	}
	return 0;
}

static __always_inline void leave(struct sock_record *rec, struct sock_stats *stats, __u64 *reason)
{
	rec->view.leaving = 1;
	fence(rec);
	add(reason, 1);
	add(&stats->passed_messages, 1);
	/*
	 * With no peer, take the note back that the server would find: if it is
	 * still there, none has been admitted and none will be.
	 */
	if (!rec->peer && !bpf_map_delete_elem(&sock_ops_meet, &rec->key))
		rec->alone = 1;
}

SEC("sk_msg")
int bpf_tcpip_bypass(struct sk_msg_md *msg)
{
	struct bpf_sock *sk = msg->sk;
	struct sock_cpu *cpu = this_cpu();
	struct sock_record *rec;
	__u32 state, size, thread;
	__u64 *reason, now;

	if (!sk || !cpu)
		return SK_PASS;
	rec = bpf_sk_storage_get(&sock_ops_record, sk, 0, 0);
	if (!rec)
		return SK_PASS;
	now = bpf_jiffies64();
	thread = bpf_get_current_pid_tgid();
	if (rec->sender != thread) {
		rec->sender = thread;
		if (rec->view.senders < 2) {
			rec->view.senders++;
			fence(rec);
		}
	}
	if (rec->view.leaving) {
		/*
		 * What this thread itself has redirected a moment ago, while
		 * another one left, is to be read before this message.
		 */
		if (rec->view.senders > 1 && now - rec->view.redirected_at <= 1)
			look(rec->peer_queue);
		add(&cpu->stats.passed_messages, 1);
		return SK_PASS;
	}

	state = sk->state;
	size = msg->size;
	reason = reason_to_leave(&cpu->stats, rec, state, size, now);
	if (reason) {
		leave(rec, &cpu->stats, reason);
		return SK_PASS;
	}
	if (bpf_msg_redirect_hash(msg, &sock_ops_map, &rec->peer_key, BPF_F_INGRESS) != SK_PASS) {
		leave(rec, &cpu->stats, &cpu->stats.left_no_peer);
		return SK_PASS;
	}

	rec->view.redirected_at = now;
	add(&cpu->stats.redirected_messages, 1);
	add(&cpu->stats.redirected_bytes, size);
	if (may_trace(cpu, 2)) {
		trace_addresses("sock_msg_redirect by sockmap", "-->", &rec->peer_key);
		bpf_printk("sock_msg_redirect by sockmap: %d --> %d", rec->peer_key.local_port,
			   rec->peer_key.remote_port);
	}
	return SK_PASS;
}

char LICENSE[] SEC("license") = "GPL";
