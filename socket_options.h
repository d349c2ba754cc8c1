/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the programs set on a socket in the map, and put back when it leaves.
 *
 * TCP keepalive is the clock of sockets that send no packet by themselves:
 *
 *   conntrack  While on the bypass a connection sends no packet, and connection tracking
 *              forgets it (nf_conntrack_tcp_timeout_established): a stateful firewall then
 *              drops its FIN.  A probe of the server's end each minute, and its answer,
 *              refresh the entry.
 *   leaving    A socket whose last bypassed bytes are read only after its last packet would
 *              stay in the map: the next probe brings it to on_packet().
 *
 * A probe is an empty segment (tcp_xmit_probe_skb): it touches no queue, no sequence number
 * and no record.  A path that is cut must not end a connection: while a probe is
 * unanswered, and with TCP_USER_TIMEOUT from the first one on, the socket has the
 * program's own settings again.
 *
 * `socket` is what bpf_setsockopt() takes: a sock_ops context, or the socket itself in an
 * iter/tcp program (5.15).  The socket is locked.
 */
#ifndef SOCKET_OPTIONS_H
#define SOCKET_OPTIONS_H

#define CONNTRACK_SECONDS 60 /* below the shortest time-out that is covered */
#define LEAVING_SECONDS	  1  /* the shortest that TCP_KEEPIDLE takes */

#define SOL_SOCKET    1
#define SO_KEEPALIVE  9
#define SO_RCVLOWAT   18
#define IPPROTO_TCP   6
#define TCP_KEEPIDLE  4
#define KEEPIDLE_MOST 32767 /* seconds, MAX_TCP_KEEPIDLE in net/tcp.h */

static __always_inline int keepalive_is_on(__u64 sk)
{
	return read_kernel(struct sock_common, sk, skc_flags) >>
		       bpf_core_enum_value(enum sock_flags, SOCK_KEEPOPEN) &
	       1;
}

/* In jiffies, as keepalive_time_when() in net/tcp.h. */
static __always_inline __u32 idle_time(__u64 sk)
{
	__u64 net = (__u64)read_kernel(struct sock_common, sk, skc_net.net);

	return read_kernel(struct tcp_sock, sk, keepalive_time)
		       ?: read_kernel(struct net, net, ipv4.sysctl_tcp_keepalive_time);
}

static __always_inline long set_idle_time(void *socket, int seconds)
{
	return bpf_setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof(seconds));
}

static __always_inline long switch_keepalive(void *socket, int on)
{
	return bpf_setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

/*
 * The program's settings again, unless it has changed the idle time meanwhile: then they
 * are its own already.  What we have set in seconds tells how many jiffies they are.
 */
static __noinline void stop_probing(void *socket, struct sock_record *rec)
{
	__u32 hz, seconds;

	if (!rec->probe_seconds)
		return;
	hz = rec->probe_idle / rec->probe_seconds;
	if (hz && idle_time(rec->view.sk) == rec->probe_idle) {
		seconds = rec->program_idle / hz;
		set_idle_time(socket, seconds < KEEPIDLE_MOST ? seconds : KEEPIDLE_MOST);
		if (rec->probe_switched)
			switch_keepalive(socket, 0);
	}
	rec->probe_seconds = 0;
}

/* Probe each `seconds`, where the program's own keepalive does not do so as often. */
static __noinline void start_probing(void *socket, struct sock_record *rec, __u8 seconds)
{
	__u64 sk = rec->view.sk;
	int on;

	if (rec->probe_seconds && rec->probe_seconds <= seconds)
		return;
	stop_probing(socket, rec);
	on = keepalive_is_on(sk);
	rec->program_idle = idle_time(sk);
	rec->probe_switched = 0;
	if (set_idle_time(socket, seconds))
		return;
	rec->probe_seconds = seconds;
	rec->probe_idle = idle_time(sk);
	if (on && rec->program_idle <= rec->probe_idle)
		stop_probing(socket, rec);
	else if (!on)
		rec->probe_switched = !switch_keepalive(socket, 1);
}

/*
 * At each packet, sent or received, of a socket in the map.  After a probe the kernel waits
 * for tcp_keepalive_intvl (75 s), answered or not: with the answer the idle time begins anew.
 */
static __always_inline void pace_probing(void *socket, struct sock_record *rec, int sent)
{
	__u64 sk = rec->view.sk, net;
	__u8 most;

	if (!rec->probe_seconds && !rec->probe_paused)
		return;
	if (!sent) {
		if (rec->probe_paused)
			start_probing(socket, rec, rec->probe_paused);
		else if (idle_time(sk) == rec->probe_idle)
			set_idle_time(socket, rec->probe_seconds);
		rec->probe_paused = 0;
		return;
	}
	net = (__u64)read_kernel(struct sock_common, sk, skc_net.net);
	most = read_kernel(struct tcp_sock, sk, keepalive_probes)
		       ?: read_kernel(struct net, net, ipv4.sysctl_tcp_keepalive_probes);
	if (most <= 1 || read_kernel(struct tcp_sock, sk, inet_conn.icsk_probes_out) ||
	    read_kernel(struct tcp_sock, sk, inet_conn.icsk_user_timeout)) {
		rec->probe_paused = rec->probe_seconds;
		stop_probing(socket, rec);
	}
}

/*
 * A reader that was told of no bytes by FIONREAD, or has stopped at a short read, waits
 * for an event: to set SO_RCVLOWAT, to what it is, brings one if there are bytes
 * (tcp_set_rcvlowat, reached from here since 6.1).
 */
static __always_inline void wake_reader(void *socket, __u64 sk)
{
	int bytes = read_kernel(struct sock, sk, sk_rcvlowat);

	if (read_kernel(struct tcp_sock, sk, rcv_nxt) !=
	    read_kernel(struct tcp_sock, sk, copied_seq))
		bpf_setsockopt(socket, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
}

/* The socket has left the map. */
static __always_inline void release_socket(void *socket, struct sock_record *rec)
{
	rec->in_map = 0;
	stop_probing(socket, rec);
	wake_reader(socket, rec->view.sk);
}

#endif /* SOCKET_OPTIONS_H */
