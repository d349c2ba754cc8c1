/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How to look at a socket of the kernel by its address: no maps, nothing of ours.
 */
#ifndef KERNEL_SOCK_H
#define KERNEL_SOCK_H

#include "read_kernel.h"

/*
 * What is in sk_user_data, without its flags in the lower bits (SK_USER_DATA_PTRMASK in
 * net/sock.h): the psock, or what another subsystem has put there, as iscsi_tcp does when it takes
 * a socket over.
 */
static __always_inline __u64 user_data_of(__u64 sk)
{
	return (__u64)read_kernel(struct sock, sk, sk_user_data) & ~7ULL;
}

/* A socket's psock; 0: it has none, or sk_user_data is somebody else's. */
static __always_inline __u64 psock_of(__u64 sk)
{
	__u64 psock = user_data_of(sk);

	return psock && (__u64)read_kernel(struct sk_psock, psock, sk) == sk ? psock : 0;
}

/* The address of its queue, an empty one points at itself. */
static __always_inline __u64 psock_queue(__u64 psock)
{
	struct sk_psock *p = (struct sk_psock *)psock;

	return psock ? (__u64)__builtin_preserve_access_index(&p->ingress_msg) : 0;
}

/* The psock that has a queue. */
static __always_inline __u64 psock_at(__u64 queue)
{
	return queue - kernel_offset(struct sk_psock, ingress_msg);
}

/* Does FIONREAD count bypassed bytes?  From 6.6.128, 6.12.75, 6.18.14 and 7.0 on. */
static __always_inline int counts_bypassed(void)
{
	return bpf_core_field_exists(((struct sk_psock *)0)->msg_tot_len);
}

/* Is it 6.1 or newer?  That is when this member came. */
static __always_inline int is_6_1(void)
{
	return bpf_core_field_exists(((struct netns_ipv4 *)0)->sysctl_tcp_child_ehash_entries);
}

/* Does a socket take no packet any more, after a reset or connect(2) to AF_UNSPEC? */
static __always_inline int is_closed(__u64 sk)
{
	return read_kernel(struct sock_common, sk, skc_state) == BPF_TCP_CLOSE;
}

static __always_inline int queue_empty(__u64 queue)
{
	return read_word(queue) == queue;
}

/* The address of its struct net. */
static __always_inline __u64 netns_of(__u64 sk)
{
	return (__u64)read_kernel(struct sock_common, sk, skc_net.net);
}

/* Before 5.15: the cgroup's address, unless one of the two lowest bits is set. */
struct sock_cgroup_data___ours {
	__u64 val;
} __attribute__((preserve_access_index));

/* A socket's cgroup, 0: cannot be seen, before 5.15 with net_cls or net_prio. */
static __always_inline __u64 cgroup_of(__u64 sk)
{
	__u64 cgroup;

	if (bpf_core_field_exists(((struct sock_cgroup_data *)0)->cgroup))
		return (__u64)read_kernel(struct sock, sk, sk_cgrp_data.cgroup);
	cgroup = read_word(sk + kernel_offset(struct sock, sk_cgrp_data) +
			   kernel_offset(struct sock_cgroup_data___ours, val));
	return cgroup & 3 ? 0 : cgroup;
}

static __always_inline int has_ulp(__u64 sk)
{
	return read_kernel(struct tcp_sock, sk, inet_conn.icsk_ulp_ops) != 0;
}

/*
 * Is it in TCP_REPAIR, as while CRIU saves it?  Then its queues are copied, and closed: what is
 * queued to it meanwhile is lost.  TCP holds such bytes back, and sends them again.
 */
static __always_inline int in_repair(__u64 sk)
{
	struct tcp_sock *tp;

	if (!can_cast())
		return read_kernel_bit(struct tcp_sock, sk, repair);
	tp = cast(struct tcp_sock, sk);
	return BPF_CORE_READ_BITFIELD(tp, repair);
}

/* Has a program got it, by accept(2) or as its own? */
static __always_inline int is_accepted(__u64 sk)
{
	return read_kernel(struct sock, sk, sk_socket) != 0;
}

/* Has the program set SO_RCVBUF?  Then the kernel leaves sk_rcvbuf as it is. */
#define SOCK_RCVBUF_LOCK 2 /* include/net/sock.h */

static __always_inline int locks_rcvbuf(__u64 sk)
{
	return read_kernel_bit(struct sock, sk, sk_userlocks) & SOCK_RCVBUF_LOCK;
}

/* 16 bits before 6.8; only a load is resized by libbpf. */
static __always_inline int timestamping(struct sock *sk)
{
	return can_cast() ? load_member(sk, sk_tsflags) != 0
			  : BPF_CORE_READ_BITFIELD_PROBED(sk, sk_tsflags) != 0;
}

static __always_inline unsigned long flags_of(__u64 sk)
{
	return read_kernel(struct sock_common, sk, skc_flags);
}

#define has_flag(flags, flag) ((flags) >> bpf_core_enum_value(enum sock_flags, flag) & 1)

/*
 * Has a socket an option that only TCP honours: SO_TIMESTAMP, SO_TIMESTAMPING,
 * SO_ZEROCOPY, SO_PEEK_OFF, SO_RCVLOWAT, SO_ATTACH_FILTER or SO_MAX_PACING_RATE?  Not
 * sk_pacing_status, which bbr sets.  SO_ZEROCOPY alone may be admitted.
 */
static __always_inline int needs_tcp(__u64 address, int zerocopy_admitted)
{
	struct sock *sk = look_at(struct sock, address);
	unsigned long flags = read_member(sk, __sk_common.skc_flags);

	return has_flag(flags, SOCK_RCVTSTAMP) ||
	       (has_flag(flags, SOCK_ZEROCOPY) && !zerocopy_admitted) || timestamping(sk) ||
	       read_member(sk, sk_peek_off) >= 0 || read_member(sk, sk_rcvlowat) > 1 ||
	       read_member(sk, sk_filter) || read_member(sk, sk_max_pacing_rate) != ~0UL;
}

/*
 * Are two sockets read in the same way?  A program may hand its socket to the kernel after it has
 * connected: iSCSI then reads it with callbacks, past the psock, and nbd gives up at an
 * EAGAIN.  These set sk_data_ready and sk_allocation; programs cannot.
 */
static __always_inline int same_handlers(__u64 address, __u64 peer_address)
{
	struct sock *sk = look_at(struct sock, address), *peer = look_at(struct sock, peer_address);

	return read_member(sk, sk_data_ready) == read_member(peer, sk_data_ready) &&
	       read_member(sk, sk_allocation) == read_member(peer, sk_allocation);
}

/*
 * While a thread is in a call, its socket takes packets of the other end up to that sk_rmem_alloc,
 * in which bypassed bytes count as TCP's do; else it drops them (tcp_add_backlog).  It is the bound
 * of the kernels before 6.10, without its 64 KiB for what else comes.
 */
static __always_inline __u32 most_rmem_for_packets(__u64 address)
{
	struct sock *sk = look_at(struct sock, address);

	return (__u32)read_member(sk, sk_sndbuf) / 2 + read_member(sk, sk_rcvbuf);
}

/*
 * Does TCP close its window behind a packet that it drops for want of room (6.6)?  Before, the
 * sender takes it for lost, and in the end gives up.
 */
enum inet_csk_ack_state_t___ours { ICSK_ACK_NOMEM___ours };

static __always_inline int closes_window(void)
{
	return bpf_core_enum_value_exists(enum inet_csk_ack_state_t___ours, ICSK_ACK_NOMEM___ours);
}

/*
 * What a socket's sk_rcvbuf is, or may become (tcp_clamp_window), in bytes.  It may not when the
 * packets come, if others have taken the memory meanwhile, of TCP or of its memory cgroup.
 */
static __always_inline __u64 most_rcvbuf(__u64 sk)
{
	__u64 prot = (__u64)read_kernel(struct sock_common, sk, skc_prot);
	__s64 allocated = read_number((__u64)read_kernel(struct proto, prot, memory_allocated));
	__s64 low = read_number((__u64)read_kernel(struct proto, prot, sysctl_mem));
	__u64 now = read_kernel(struct sock, sk, sk_rcvbuf);
	__u64 most = read_kernel(struct net, netns_of(sk), ipv4.sysctl_tcp_rmem[2]);

	/* What is allocated may be below 0, since CPUs count late (SK_MEMORY_PCPU_RESERVE). */
	if (!closes_window() || locks_rcvbuf(sk) || most < now || allocated >= low)
		return now;
	return most;
}

static __always_inline __u32 rmem_of(__u64 sk)
{
	return read_kernel(struct sock, sk, sk_backlog.rmem_alloc.counter);
}

/* What waits in TCP's queue, in bytes; a FIN counts as one. */
static __always_inline __u32 tcp_unread(__u64 sk)
{
	return read_kernel(struct tcp_sock, sk, rcv_nxt) -
	       read_kernel(struct tcp_sock, sk, copied_seq);
}

/* Is the socket in no sockmap?  A thread that waits in a recv keeps the psock. */
static __always_inline int in_no_sockmap(__u64 sk)
{
	__u64 psock = psock_of(sk);

	return !psock || queue_empty(psock + kernel_offset(struct sk_psock, link));
}

#endif /* KERNEL_SOCK_H */
