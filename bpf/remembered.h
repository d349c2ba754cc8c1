/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Programs whose sockets stay on TCP by what they do: one that takes the guard's EINVAL for an
 * error is remembered by its cgroup (sock_ops_remembered, cgroups.h).
 */
#ifndef REMEMBERED_H
#define REMEMBERED_H

#include "cgroups.h"
#include "kernel_cgroup.h"
#include "meet.h"
#include "messages.h"

/*
 * The answer is EINVAL, for einval_of().  What the program does with the bytes that wait shows
 * whether it can live with that (below).  If some may be on their way, or there are too many
 * messages, it is not known what waits.
 */
static __always_inline void keep_einval(struct sock_record *rec, __u64 address, int all_landed)
{
	struct sock_view peer;
	__u64 queue;
	int messages;

	rec->einval_bytes = 0;
	rec->einval_queue = address;
	/* As a number: the verifier lets no global function have what may be a pointer. */
	queue = *(volatile __u64 *)&rec->einval_queue;
	messages = messages_in(queue, MAX_COUNTED);
	if (!all_landed || messages > MAX_COUNTED || !is_there(rec))
		return;
	read_view(&peer, rec->peer);
	rec->einval_past = peer.past;
	rec->einval_messages = messages;
	rec->einval_bytes = first_bytes(queue);
}

/* Fails only where other CPUs are at work on all its places at this moment. */
static __always_inline int remember_cgroup(__u64 sk)
{
	__u64 id = cgroup_id(cgroup_of(sk));
	__u32 unused = 0;

	return !bpf_map_update_elem(&sock_ops_remembered, &id, &unused, BPF_ANY);
}

/*
 * Has nothing been read since the guard's answer?  Then the first message has as many bytes as
 * then, and besides what waited then there is all that was sent since.  Its address would not tell:
 * the next message may get that of one that was read.  Where the peer has gone, it is not known.
 */
static __noinline __attribute__((unused)) int has_read_nothing(const struct sock_record *rec)
{
	struct sock_view peer;
	int messages;

	if (!rec->einval_bytes || first_bytes(rec->einval_queue) != rec->einval_bytes ||
	    !is_there(rec))
		return 0;
	read_view(&peer, rec->peer);
	messages = messages_in(rec->einval_queue, MAX_COUNTED);
	return messages <= MAX_COUNTED && peer.past < MANY_PAST &&
	       messages == rec->einval_messages + peer.past - rec->einval_past;
}

/*
 * The guard has answered EINVAL on this socket, and the socket now ends its direction.  If nothing
 * has been read since, the program took EINVAL for an error.  It will do so again, so the socket's
 * cgroup is remembered.  At a close the psock has gone (sock_map_close), but its memory stays for a
 * while (RCU).
 *
 * Any program can bring this about.  So it is never the cgroup that the pair is attached to, in
 * which all may run: what runs there itself loses such connections each time, until it is excluded
 * by name.
 */
static __always_inline void remember_program(const struct sock_record *rec, struct sock_cpu *cpu)
{
	struct sock_config *config = this_config();
	__u64 sk = rec->view.sk;

	if (!has_read_nothing(rec))
		return;
	if (config && cgroup_id(cgroup_of(sk)) != config->cgroup && remember_cgroup(sk))
		count(cpu, remembered, 1);
	else
		count(cpu, not_remembered, 1); /* the next such connection tries again */
}

#endif /* REMEMBERED_H */
