/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The line that sock_ops_status and sock_ops_open write about a socket, for status.sh and
 * unload.sh.  Its columns, which COLUMNS names:
 *
 *   numbers      the two sequence numbers of its key, its own first: 16 hexadecimal digits
 *   peer         the same of the other end
 *   key          struct sock_key: 96 hexadecimal digits, in the order of its bytes
 *   local        address:port, [address]:port for IPv6, with all its zeros
 *   remote       the same
 *   server       1: it was accepted here; 0: it has connected, or has no record
 *   unread       bytes in the psock queue, that is, bypassed and not yet read; with a "+"
 *                where the queue is longer than was counted, on kernels without msg_tot_len
 *   sent_ms      since the oldest of its sends that the other end may not have read
 *   age_ms       since it was admitted
 *   over_tcp     1: it sends over TCP, for good
 *   netns        inode number of its network namespace
 *   inode        of the socket in /proc/PID/fd, 0: not accepted yet
 *   idle         1: nothing is unread at this end, and nothing is on its way to it
 *   pair         1: the other end is known, and idle as well, or its own line tells
 *
 * These programs share no map with the others, and so work for any sock_ops_map, also for one
 * that an earlier load has left behind.
 *
 * `held` is 1 where the iterator has the socket's lock and a reference to it, as iter/tcp from
 * 5.15 on: then no thread that sends from it stands between its look at the peer and the
 * reference that it takes to the peer.
 */
#ifndef STATUS_LINE_H
#define STATUS_LINE_H

#include "sock_record.h"

/* Messages counted at most, on kernels without msg_tot_len. */
#define MOST_MESSAGES 256

/* Programs that keep storage with one socket, at most. */
#define MOST_STORAGES 16

#define NS_PER_MS 1000000

#define COLUMNS                                                                                    \
	"numbers peer key local remote server unread sent_ms age_ms over_tcp netns inode "         \
	"idle pair\n"

/* A socket and the other end of its connection, with their records; 0: not known. */
struct ends {
	__u64 sk;
	__u64 record;
	__u64 peer_sk;
	__u64 peer;
};

/* A member of a sock_record, by the record's address; zeroes where it cannot be read. */
#define read_record(address, member)                                                               \
	({                                                                                         \
		typeof(((struct sock_record *)0)->member) val__;                                   \
		bpf_probe_read_kernel(                                                             \
			&val__, sizeof(val__),                                                     \
			(void *)((address) + __builtin_offsetof(struct sock_record, member)));     \
		val__;                                                                             \
	})

/*
 * Is there a record at this address, of this socket, and with this key?  Without a key: one with
 * the socket's ports; what other tools keep with a socket does not begin with its address.
 */
static __always_inline int is_record(__u64 address, __u64 sk, const struct sock_key *key)
{
	const __u32 *a, *b = (const void *)key;
	__u32 difference = 0;
	struct sock_key has;

	if (!address || read_record(address, view.sk) != sk)
		return 0;
	has = read_record(address, key);
	if (!key)
		return has.local_port == read_kernel(struct sock_common, sk, skc_num) &&
		       has.remote_port == bpf_ntohs(read_kernel(struct sock_common, sk, skc_dport));
	a = (const void *)&has;
	for (__u32 i = 0; i < sizeof(has) / sizeof(*a); i++)
		difference |= a[i] ^ b[i];
	return !difference;
}

/*
 * Look through all that programs keep with the socket: bpf_sk_storage_get()
 * would need the map, and came to iterators in 5.11.
 */
static __always_inline __u64 find_record(__u64 sk, const struct sock_key *key)
{
	__u64 storage = (__u64)read_kernel(struct sock, sk, sk_bpf_storage), node;

	if (!storage)
		return 0;
	node = (__u64)read_kernel(struct bpf_local_storage, storage, list.first);
	for (int i = 0; i < MOST_STORAGES && node; i++) {
		__u64 elem = node - offset_of(struct bpf_local_storage_elem, snode);
		__u64 data = elem + offset_of(struct bpf_local_storage_elem, sdata) +
			     offset_of(struct bpf_local_storage_data, data);

		if (is_record(data, sk, key))
			return data;
		node = (__u64)read_kernel(struct hlist_node, node, next);
	}
	return 0;
}

static __always_inline __u32 unread_bytes(__u64 sk, __u32 *more)
{
	__u64 psock = psock_of(sk), queue = psock_queue(psock), node;
	__u32 sum = 0;

	if (!queue || queue_empty(queue))
		return 0;
	if (counts_bypassed())
		return read_kernel(struct sk_psock, psock, msg_tot_len);
	node = (__u64)read_kernel(struct list_head, queue, next);
	for (int i = 0; i < MOST_MESSAGES && node && node != queue; i++) {
		sum += read_kernel(struct sk_msg, node - offset_of(struct sk_msg, list), sg.size);
		node = (__u64)read_kernel(struct list_head, node, next);
	}
	*more = node != queue;
	return sum;
}

/*
 * Is nothing unread here, and nothing on its way?  The arguments are those of landed().  A
 * function of its own: in a loop clang moves the offsets of members that a kernel does not have
 * to where they are always used, and the verifier refuses them.
 */
static __noinline int idle_now(__u64 sk, __u64 peer_sk, int others)
{
	__u64 queue = psock_queue(psock_of(sk));

	if (!landed(sk, peer_sk, others))
		return 0;
	return !queue || queue_empty(queue);
}

/*
 * An end that is switched off sends nothing more to an empty queue, so that this
 * then stays true.  Without the socket's lock a look could fall between two
 * messages: there are two.
 */
static __always_inline int idle(__u64 sk, __u64 peer_sk, int others)
{
	return idle_now(sk, peer_sk, others) && idle_now(sk, peer_sk, others);
}

static __always_inline void find_ends(struct ends *ends, __u64 sk, const struct sock_key *key)
{
	struct sock_key peer_key;

	ends->sk = sk;
	ends->record = find_record(sk, key);
	if (!ends->record)
		return;
	ends->peer = read_record(ends->record, peer);
	ends->peer_sk = read_record(ends->record, peer_sk);
	peer_key = read_record(ends->record, peer_key);
	/* Gone, its memory may serve something else by now. */
	if (!is_record(ends->peer, ends->peer_sk, &peer_key))
		ends->peer = ends->peer_sk = 0;
}

static __always_inline void print_key(struct seq_file *seq, const struct sock_key *key)
{
	const __u32 *word = (const void *)key;

	for (__u32 i = 0; i < sizeof(*key) / sizeof(*word); i += 4)
		BPF_SEQ_PRINTF(seq, "%08x%08x%08x%08x", bpf_htonl(word[i]), bpf_htonl(word[i + 1]),
			       bpf_htonl(word[i + 2]), bpf_htonl(word[i + 3]));
	BPF_SEQ_PRINTF(seq, " ");
}

/* One of the eight groups of an IPv6 address. */
#define group(ip, i) (bpf_ntohl((ip)[(i) / 2]) >> ((i) % 2 ? 0 : 16) & 0xffff)

/*
 * IPv6 in full: to find the longest run of zeros takes the verifier half a second, and from
 * 5.13 on bpf_seq_printf() does not shorten %pI6c either.
 */
static __always_inline void print_address(struct seq_file *seq, const __be32 ip[4], __u16 port)
{
	if (is_mapped(ip))
		BPF_SEQ_PRINTF(seq, "%pI4:%u ", &ip[3], port);
	else
		BPF_SEQ_PRINTF(seq, "[%x:%x:%x:%x:%x:%x:%x:%x]:%u ", group(ip, 0), group(ip, 1),
			       group(ip, 2), group(ip, 3), group(ip, 4), group(ip, 5), group(ip, 6),
			       group(ip, 7), port);
}

/* Of the two ends the numbers alone are the same, with NAT between them. */
static __always_inline void print_ends(struct seq_file *seq, const struct sock_key *key)
{
	struct sock_key own = *key;

	BPF_SEQ_PRINTF(seq, "%08x%08x %08x%08x ", own.local_seq, own.remote_seq, own.remote_seq,
		       own.local_seq);
	print_key(seq, &own);
	print_address(seq, own.local_ip, own.local_port);
	print_address(seq, own.remote_ip, own.remote_port);
}

static __always_inline void print_unread(struct seq_file *seq, __u64 sk)
{
	__u32 more = 0, unread = unread_bytes(sk, &more);

	if (more)
		BPF_SEQ_PRINTF(seq, "%u+ ", unread);
	else
		BPF_SEQ_PRINTF(seq, "%u ", unread);
}

/*
 * Sends are dated in jiffies.  How long one is tells the admission, which is dated in
 * nanoseconds as well.
 */
static __always_inline void print_times(struct seq_file *seq, __u64 record)
{
	__u64 now = bpf_jiffies64(), jiffies, sent, sent_ns = 0, age_ns = 0;

	if (record) {
		age_ns = bpf_ktime_get_ns() - read_record(record, admitted_ns);
		jiffies = now - read_record(record, admitted_at);
		sent = read_record(record, unread_since);
		if (sent && jiffies)
			sent_ns = (now - sent) * (age_ns / jiffies);
	}
	BPF_SEQ_PRINTF(seq, "%llu %llu ", sent_ns / NS_PER_MS, age_ns / NS_PER_MS);
}

static __always_inline void print_place(struct seq_file *seq, __u64 sk)
{
	__u64 file, inode, socket = (__u64)read_kernel(struct sock, sk, sk_socket);

	file = (__u64)read_kernel(struct socket, socket, file);
	inode = (__u64)read_kernel(struct file, file, f_inode);
	BPF_SEQ_PRINTF(seq, "%u %llu ", read_kernel(struct net, netns_of(sk), ns.inum),
		       read_kernel(struct inode, inode, i_ino));
}

static __always_inline void print_idle(struct seq_file *seq, const struct ends *ends, int held)
{
	int own, pair = 0;

	own = idle(ends->sk, ends->peer_sk, held);
	/* It may be held as well, and its references not be known: its own line tells. */
	if (ends->peer && held && read_record(ends->peer, peer) == ends->record)
		pair = 1;
	else if (ends->peer)
		pair = idle(ends->peer_sk, held ? 0 : ends->sk, 0);
	BPF_SEQ_PRINTF(seq, "%u %u\n", own, pair);
}

static __always_inline void print_line(struct seq_file *seq, const struct ends *ends,
				       const struct sock_key *key, int held)
{
	print_ends(seq, key);
	BPF_SEQ_PRINTF(seq, "%u ", ends->record ? read_record(ends->record, server) : 0);
	print_unread(seq, ends->sk);
	print_times(seq, ends->record);
	BPF_SEQ_PRINTF(seq, "%u ", ends->record ? read_record(ends->record, view.left) : 0);
	print_place(seq, ends->sk);
	print_idle(seq, ends, held);
}

#endif /* STATUS_LINE_H */
