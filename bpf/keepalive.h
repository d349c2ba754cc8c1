/* SPDX-License-Identifier: GPL-2.0 */
/*
 * TCP keepalive, which the programs set on a socket in the map and put back when it leaves: the
 * clock of sockets that send no packet by themselves.
 *
 *   conntrack  While on the bypass a connection sends no packet, and connection tracking
 *              forgets it (nf_conntrack_tcp_timeout_established): a stateful firewall then
 *              drops its FIN.  A probe of each end each minute, and its answer, refresh the
 *              entry.  They also tell an end that its peer has gone where the reset was dropped
 *              (wait_before_last_packet), and wake one whose send found no memory of TCP's.
 *   leaving    If a reader takes the last bypassed bytes after the last packet has come, no
 *              packet would take its socket out of the map: the next probe does.
 *
 * A probe is an empty segment (tcp_xmit_probe_skb): it touches no queue, no sequence number
 * and no record.  A path that is cut must not end a connection: where the program has no
 * keepalive of its own, probes that find no answer do not count.  TCP_USER_TIMEOUT would count
 * them, so it waits as long as TCP has nothing under way.  A program's own keepalive is only made
 * more frequent; not while a probe is unanswered, nor with TCP_USER_TIMEOUT, nor where it counts
 * two probes or fewer.  These exceptions are for the clock of conntrack: the leaving one probes
 * in any case, and TCP_USER_TIMEOUT waits meanwhile.  The kernel goes on counting from the probes
 * that have found no answer by then, so the program's count gets that many more until there is
 * an answer.
 *
 * SO_KEEPALIVE cannot tell who has switched it on.  It is switched off again, unless the
 * program has set TCP_KEEPIDLE meanwhile.
 *
 * A program that has set no option follows the sysctls of its network namespace: the socket has
 * a 0 then.  No option takes a 0, so that the sysctls of the moment of leaving are put back, as
 * far as options go: 1 to MAX_KEEPALIVE seconds.  From then on they are the socket's own.
 *
 * An option that cannot be set leaves the socket as it was: nothing else depends on it.
 *
 * `socket` is what bpf_setsockopt() takes: a sock_ops context, or the socket itself in an
 * iter/tcp program (5.15).  The socket is locked.
 */
#ifndef KEEPALIVE_H
#define KEEPALIVE_H

#include "sock_record.h"
#include "uapi.h"

#define CONNTRACK_SECONDS 59 /* below the time-outs covered (70 s); unlike 60, no program's own */
#define LEAVING_SECONDS	  1  /* the shortest that TCP_KEEPIDLE takes */

#define MAX_UNANSWERED 100 /* probes, then there are no more */

/* Of the kernel's headers. */
#define SO_KEEPALIVE	 9
#define TCP_KEEPIDLE	 4 /* seconds */
#define TCP_KEEPINTVL	 5 /* seconds */
#define TCP_KEEPCNT	 6
#define TCP_USER_TIMEOUT 18    /* milliseconds */
#define MAX_KEEPALIVE	 32767 /* seconds, MAX_TCP_KEEPIDLE and MAX_TCP_KEEPINTVL */
#define MAX_KEEPCNT	 127   /* MAX_TCP_KEEPCNT */

/* Of sock_record.changed: keep_pace() has seen the socket, and what it has set. */
enum { SEEN = 1, INTERVAL = 2, COUNT = 4 };

static __always_inline long set_tcp(void *socket, int option, int value)
{
	return bpf_setsockopt(socket, IPPROTO_TCP, option, &value, sizeof(value));
}

static __always_inline long set_within(void *socket, int option, __u32 value, __u32 most)
{
	return set_tcp(socket, option, value > most ? most : value ?: 1);
}

static __always_inline long set_seconds(void *socket, int option, __u32 seconds)
{
	return set_within(socket, option, seconds, MAX_KEEPALIVE);
}

static __always_inline long switch_keepalive(void *socket, int on)
{
	return bpf_setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

static __always_inline int keepalive_is_on(__u64 sk)
{
	return has_flag(flags_of(sk), SOCK_KEEPOPEN);
}

/* Times are in jiffies.  What a socket has, 0: nothing of its own. */
#define own_value(sk, member) read_kernel(struct tcp_sock, sk, member)

#define sysctl_value(sk, member)                                                                   \
	({                                                                                         \
		__u64 net__ = netns_of(sk);                                                        \
		read_kernel(struct net, net__, ipv4.member);                                       \
	})

/* What applies, as keepalive_time_when() in net/tcp.h. */
static __always_inline __u32 idle_time(__u64 sk)
{
	return own_value(sk, keepalive_time) ?: sysctl_value(sk, sysctl_tcp_keepalive_time);
}

static __always_inline __u32 probe_interval(__u64 sk)
{
	return own_value(sk, keepalive_intvl) ?: sysctl_value(sk, sysctl_tcp_keepalive_intvl);
}

static __always_inline __u8 probe_count(__u64 sk)
{
	return own_value(sk, keepalive_probes) ?: sysctl_value(sk, sysctl_tcp_keepalive_probes);
}

static __always_inline __u32 user_timeout(__u64 sk)
{
	return read_kernel(struct tcp_sock, sk, inet_conn.icsk_user_timeout);
}

static __always_inline void give_timeout_back(void *socket, struct sock_record *rec)
{
	if (rec->program_timeout && !user_timeout(rec->view.sk))
		set_tcp(socket, TCP_USER_TIMEOUT, rec->program_timeout);
	rec->program_timeout = 0;
}

/* Probes that have found no answer. */
static __always_inline __u8 unanswered(__u64 sk)
{
	return read_kernel(struct tcp_sock, sk, inet_conn.icsk_probes_out);
}

/* Unless the program has set another one than OURS. */
static __noinline void give_count_back(void *socket, struct sock_record *rec, __u8 ours)
{
	__u64 sk = rec->view.sk;
	__u32 more = unanswered(sk), count = rec->program_count;

	rec->raised_count = 0;
	if (probe_count(sk) != ours)
		return;
	count = (count ?: sysctl_value(sk, sysctl_tcp_keepalive_probes)) + more;
	if (!set_within(socket, TCP_KEEPCNT, count, MAX_KEEPCNT) && more)
		rec->raised_count = count > MAX_KEEPCNT ? MAX_KEEPCNT : count;
}

static __always_inline void give_pace_back(void *socket, struct sock_record *rec)
{
	__u64 sk = rec->view.sk;
	__u32 hz = rec->probe_hz ?: 1;

	if (rec->changed & INTERVAL && probe_interval(sk) == rec->probe_seconds * hz)
		set_seconds(
			socket, TCP_KEEPINTVL,
			(rec->program_interval ?: sysctl_value(sk, sysctl_tcp_keepalive_intvl)) /
				hz);
	if (rec->changed & COUNT)
		give_count_back(socket, rec, MAX_KEEPCNT);
	rec->changed = 0;
}

/* The program's settings again, but for those that it has changed meanwhile. */
static __noinline void stop_probing(void *socket, struct sock_record *rec)
{
	__u64 sk = rec->view.sk;
	__u32 hz = rec->probe_hz;

	if (!rec->probe_seconds || !hz)
		return;
	if (idle_time(sk) == rec->probe_idle) {
		set_seconds(socket, TCP_KEEPIDLE,
			    (rec->program_idle ?: sysctl_value(sk, sysctl_tcp_keepalive_time)) /
				    hz);
		if (rec->probe_switched)
			switch_keepalive(socket, 0);
	}
	give_pace_back(socket, rec);
	give_timeout_back(socket, rec);
	rec->probe_seconds = rec->probe_switched = 0;
}

/* May the program's own keepalive be made more frequent, without a change of what it decides? */
static __always_inline int may_hasten(__u64 sk)
{
	return !user_timeout(sk) && probe_count(sk) > 2 && !unanswered(sk);
}

/*
 * Probe each `seconds`, where the program's own keepalive does not do so as often.  How
 * many jiffies a second has is read off the value that was set.
 */
static __noinline void start_probing(void *socket, struct sock_record *rec, __u8 seconds)
{
	__u64 sk = rec->view.sk;
	__u32 idle, before;
	int on;

	if (rec->probe_seconds && rec->probe_seconds <= seconds)
		return;
	stop_probing(socket, rec);
	on = keepalive_is_on(sk);
	if (on && seconds != LEAVING_SECONDS && !may_hasten(sk))
		return;
	/* The kernel asks before the first one whether as many have found no answer. */
	if (!probe_count(sk))
		return;
	rec->program_idle = own_value(sk, keepalive_time);
	before = idle_time(sk);
	if (set_tcp(socket, TCP_KEEPIDLE, seconds))
		return;
	rec->probe_seconds = seconds;
	rec->probe_idle = idle = idle_time(sk);
	rec->probe_hz = idle / seconds;
	if (!on) {
		rec->probe_switched = !switch_keepalive(socket, 1);
	} else if (before <= idle) {
		set_seconds(socket, TCP_KEEPIDLE, before / (rec->probe_hz ?: 1));
		rec->probe_idle = idle_time(sk);
		if (probe_interval(sk) <= idle)
			rec->probe_seconds = 0;
	}
}

/* Must the connection survive when its probes get no answer? */
static __always_inline int probes_are_ours(const struct sock_record *rec)
{
	return rec->probe_switched || rec->probe_seconds == LEAVING_SECONDS;
}

/* The program's own keepalive is as frequent as it needs be for conntrack. */
static __always_inline int is_frequent(__u64 sk, const struct sock_record *rec)
{
	__u32 most = CONNTRACK_SECONDS * rec->probe_hz;

	return idle_time(sk) <= most && probe_interval(sk) <= most;
}

/* The first probe: from then on the kernel waits for tcp_keepalive_intvl after each. */
static __always_inline void keep_pace(void *socket, struct sock_record *rec)
{
	__u64 sk = rec->view.sk;

	rec->changed = SEEN;
	rec->program_interval = own_value(sk, keepalive_intvl);
	if (probe_interval(sk) > rec->probe_seconds * rec->probe_hz &&
	    !set_tcp(socket, TCP_KEEPINTVL, rec->probe_seconds))
		rec->changed |= INTERVAL;
	if (!rec->raised_count)
		rec->program_count = own_value(sk, keepalive_probes);
	if (probes_are_ours(rec) && !set_tcp(socket, TCP_KEEPCNT, MAX_KEEPCNT))
		rec->changed |= COUNT;
}

/* A socket in the map, which has not been closed, sends a packet: a probe perhaps. */
static __always_inline void pace_probing(void *socket, struct sock_record *rec)
{
	__u64 sk = rec->view.sk;
	__u32 timeout = user_timeout(sk);

	if (rec->raised_count && !unanswered(sk))
		give_count_back(socket, rec, rec->raised_count);
	/* The program has made up its mind about keepalive meanwhile. */
	if (rec->probe_switched && idle_time(sk) != rec->probe_idle)
		stop_probing(socket, rec);
	/* Nobody answers. */
	if (unanswered(sk) >= MAX_UNANSWERED)
		stop_probing(socket, rec);
	/* The program's own rule applies. */
	if (!probes_are_ours(rec) && !may_hasten(sk))
		stop_probing(socket, rec);
	if (!rec->probe_seconds && keepalive_is_on(sk) && may_hasten(sk) && !is_frequent(sk, rec))
		start_probing(socket, rec, CONNTRACK_SECONDS);
	if (!rec->probe_seconds)
		return;
	/* With bytes under way the kernel sends no probes: the rule is the program's again. */
	if (read_kernel(struct tcp_sock, sk, write_seq) !=
	    read_kernel(struct tcp_sock, sk, snd_una))
		give_timeout_back(socket, rec);
	else if (probes_are_ours(rec) && timeout && !set_tcp(socket, TCP_USER_TIMEOUT, 0))
		rec->program_timeout = timeout;
	if (!rec->changed)
		keep_pace(socket, rec);
}

#endif /* KEEPALIVE_H */
