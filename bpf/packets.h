/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The packets of a socket in the map: what each one says, and how the socket leaves the map with
 * one.
 */
#ifndef PACKETS_H
#define PACKETS_H

#include "accounts.h"
#include "handover.h"
#include "last_packet.h"
#include "release.h"
#include "remembered.h"

/*
 * What bpf_sockops is called for once a socket is in the map.  No header option is read or
 * written: the callbacks for them are the ones that come for each packet that a socket sends
 * (HDR_OPT_LEN, in tcp_established_options) or gets (PARSE_HDR_OPT, in tcp_validate_incoming: not
 * for those of the fast path), with the socket locked.  On the bypass a connection has no
 * packets, so that they cost nothing, and each packet is news: on_packet().
 */
#define CB_FLAGS (BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG | BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG)

/* Other programs may have flags of their own. */
static __always_inline void drop_callbacks(struct bpf_sock_ops *skops, struct sock_record *rec)
{
	bpf_sock_ops_cb_flags_set(skops, skops->bpf_sock_ops_cb_flags & ~rec->cb_flags);
	rec->cb_flags = 0;
}

/*
 * A send that had begun before the socket entered the map goes past bpf_tcpip_bypass: the
 * peer must know that bytes come over TCP.
 */
static __always_inline void detect_early_send(struct sock_record *rec, struct sock_cpu *cpu)
{
	if (rec->view.left || rec->view.threads ||
	    read_kernel(struct tcp_sock, rec->view.sk, write_seq) == rec->write_seq)
		return;
	set_left(rec, left_tcp_bytes, LEFT_QUEUED); /* no send has come by the program */
	count(cpu, left_tcp_bytes, 1);
}

/*
 * The socket stays in the map.  A closed end answers probes for tcp_fin_timeout, then with a reset.
 * So after its FIN only a reader that is behind is probed for, and only half that long.
 */
static __noinline void go_on_probing(struct bpf_sock_ops *skops, struct sock_record *rec,
				     int is_behind, int sent)
{
	if (skops->state == BPF_TCP_CLOSE_WAIT &&
	    (!is_behind || 2 * rec->probe_hz * rec->probes_since_fin >=
				   sysctl_value(rec->view.sk, sysctl_tcp_fin_timeout))) {
		stop_probing(skops, rec);
		return;
	}
	if (skops->state == BPF_TCP_CLOSE_WAIT && sent)
		rec->probes_since_fin++;
	if (is_behind)
		start_probing(skops, rec, LEAVING_SECONDS);
	/* Not what an unload has taken out. */
	if (sent && (psock_of(rec->view.sk) || rec->in_map == OUT_AS_CLOCK))
		pace_probing(skops, rec);
}

/*
 * A reader that is behind is taken out of the map by the next packet after it has read.  That is a
 * probe.  Its own ones alone would not do: its program may set another keepalive at any time.  So
 * the sender, which goes before it, remains as a clock.
 */
static __noinline int peer_is_behind(const struct sock_record *rec)
{
	__u64 psock = is_there(rec) ? psock_of(rec->peer_sk) : 0;

	return psock && !queue_empty(psock_queue(psock));
}

/* A packet of a socket that has left the map, and remains as a clock. */
static __noinline void tick(struct bpf_sock_ops *skops, struct sock_record *rec, int sent)
{
	if ((skops->state == BPF_TCP_ESTABLISHED || skops->state == BPF_TCP_CLOSE_WAIT) &&
	    peer_is_behind(rec)) {
		go_on_probing(skops, rec, 1, sent);
		return;
	}
	drop_callbacks(skops, rec);
	release_socket(skops, rec);
}

#define TCPHDR_RST 4 /* include/net/tcp.h */

/*
 * The socket ends its direction, or has ended it; 1: with this packet, which waits for what is on
 * its way.
 */
static __always_inline int on_end(struct sock_record *rec, struct sock_cpu *cpu, __u32 state,
				  int sent)
{
	int fin = set_ended(rec);

	if (fin)
		wait_before_fin(rec);
	if (sent && (fin || state == BPF_TCP_CLOSE) && rec->peer_sk && rec->unread > MUCH_UNREAD)
		wait_before_last_packet(rec->peer_sk);
	settle(rec, state == BPF_TCP_CLOSE && !rec->server && is_there(rec));
	if (fin)
		remember_program(rec, cpu);
	return fin;
}

/* The socket leaves the map. */
static __always_inline void go(struct bpf_sock_ops *skops, struct sock_record *rec,
			       struct sock_cpu *cpu, int sent)
{
	/* A send that has found the psock, and waits for the lock, would still ask the program. */
	if (!rec->view.left)
		set_left(rec, left_peer_left, LEFT_QUEUED);
	if (bpf_map_delete_elem(&sock_ops_map, &rec->key))
		return; /* the socket is being closed, which removes it */
	settle(rec, 0);
	count(cpu, ejected, 1);
	wake_reader(skops, rec->view.sk);
	rec->in_map = OUT_AS_CLOCK;
	tick(skops, rec, sent);
}

/*
 * A TCP packet of a socket in the map, sent or received.  It is a probe, or the socket's bytes, or
 * its peer's, are on TCP again, or the socket ends its direction.  Once nothing can come in over
 * the bypass, the socket leaves the map and is plain TCP.
 */
static __always_inline void on_packet(struct bpf_sock_ops *skops, int sent)
{
	struct bpf_sock *ctx_sk = skops->sk;
	struct sock_cpu *cpu = this_cpu();
	__u32 state = skops->state;
	struct sock_record *rec;
	int fin = 0, leave;

	if (!ctx_sk || !cpu)
		return;
	rec = bpf_sk_storage_get(&sock_ops_record, ctx_sk, 0, 0);
	if (!rec || !rec->in_map)
		return;
	if (rec->in_map == OUT_AS_CLOCK) {
		tick(skops, rec, sent);
		return;
	}
	/*
	 * On a socket with a psock the acknowledgment of a FIN makes a blocking
	 * recv return EAGAIN (tcp_msg_wait_data): this is the moment to go.
	 */
	if (state != BPF_TCP_ESTABLISHED && state != BPF_TCP_CLOSE_WAIT) {
		fin = on_end(rec, cpu, state, sent);
	} else if (sent) {
		detect_early_send(rec, cpu);
		/* The kernel ends it: by keepalive, TCP_USER_TIMEOUT or SOCK_DESTROY. */
		if (skops->skb_tcp_flags & TCPHDR_RST)
			set_ended(rec);
	}
	leave = may_leave_map(rec, fin, sent);
	if (leave == GOES) {
		go(skops, rec, cpu, sent);
	} else if (state == BPF_TCP_CLOSE) {
		/* It may be used again, as after connect() to AF_UNSPEC. */
		drop_callbacks(skops, rec);
		stop_probing(skops, rec);
	} else {
		go_on_probing(skops, rec, leave == STAYS_BEHIND, sent);
	}
}

#endif /* PACKETS_H */
