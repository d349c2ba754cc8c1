/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One send of a socket in the map, and what it sees of both ends.
 */
#ifndef SEND_H
#define SEND_H

#include "cgroups.h"
#include "handover.h"
#include "ports.h"

struct send {
	struct sock_record *rec;
	struct sock_view peer;
	__u64 now;	   /* jiffies */
	__u32 size;	   /* bytes */
	__u32 state;	   /* of the socket: BPF_TCP_* */
	__u32 switch_seen; /* SWITCH_* */
	int taken_over;	   /* either end: by another tool's sockmap, or by the kernel */
	int has_option;	   /* either end: has one that only TCP honours */
	int caught_up;	   /* this end has read all that came over the bypass */
	int found_empty;   /* tally() has seen the peer's queue empty */
	struct sock_cpu *cpu;
};

/* A sockmap of another tool holds the psock as well: it stays when we are out. */
static __noinline int shared_psock(const struct sock_record *rec)
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
static __noinline int reader_waits(const struct sock_record *rec)
{
	return rec->view.threads < 2 &&
	       read_kernel(struct sk_psock, psock_at(rec->queue), refcnt.refs.counter) > 2 &&
	       !shared_psock(rec);
}

/* Looks whether a connection belongs to a scope that neither of its ends was admitted in. */
static __always_inline void rescope(struct sock_record *rec, __u32 terms)
{
	__u16 port = rec->server ? rec->key.local_port : rec->peer_key.local_port;

	/* ADMIT_NEW_ALONE: older than that, so its listener is, too. */
	rec->outside = (terms & ADMIT_NEW_ALONE &&
			scopes_of_marks(rec->scope) != scopes_of_marks(scope_in(terms))) ||
		       !in_scope(port, terms) || in_excluded_cgroup(rec->view.sk, terms) ||
		       in_excluded_cgroup(rec->peer_sk, terms);
	rec->scope = scope_in(terms);
}

/*
 * Once for each send, so that all that follows goes by the same.  Counts a turn of this end, and
 * looks at the scope anew after a reload.
 */
static __always_inline int look_at_both(struct send *s)
{
	struct sock_record *rec = s->rec;
	struct sock_config *config = this_config();
	__u32 terms;

	if (!config)
		return 0;
	s->switch_seen = config->state;
	terms = config->terms;
	s->caught_up = queue_empty(rec->queue);
	if (s->caught_up)
		rec->view.turn++;
	read_view(&s->peer, rec->peer);
	if (scope_in(terms) != rec->scope)
		rescope(rec, terms);
	/* Where a read is not just a load, once in a jiffy. */
	if (!can_cast() && rec->sent_at == s->now)
		return 1;
	s->taken_over = shared_psock(rec) || !same_handlers(rec->view.sk, rec->peer_sk);
	s->has_option = needs_tcp(rec->view.sk, terms & ADMIT_ZEROCOPY) ||
			needs_tcp(rec->peer_sk, terms & ADMIT_ZEROCOPY);
	return 1;
}

#endif /* SEND_H */
