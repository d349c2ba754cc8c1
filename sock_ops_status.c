// SPDX-License-Identifier: GPL-2.0
/*
 * sock_ops_status: an iter/sockmap program.  It writes a line for each socket of
 * sock_ops_map, for status.sh and unload.sh:
 *
 *   key          struct sock_key: 96 hexadecimal digits, in the order of its bytes
 *   local        port
 *   remote       port
 *   server       1: it was accepted here; 0: it has connected, or has no record
 *   unread       bytes in the psock queue, that is, bypassed and not yet read
 *   more         1: the queue is longer than was counted, on kernels without msg_tot_len
 *   sent_ms      since the oldest of its sends that the other end may not have read
 *   age_ms       since it was admitted
 *   leaving      1: it sends over TCP, for good
 *   netns        inode number of its network namespace
 *   inode        of the socket in /proc/PID/fd, 0: not accepted yet
 *   idle         1: nothing is unread at this end, and nothing is on its way to it
 *   pair         1: the other end is known, and idle as well
 *
 * It shares no map with the other two programs, and so works for any sock_ops_map,
 * also for one that an earlier load has left behind.
 */
#include "sock_record.h"

/* Messages counted at most, on kernels without msg_tot_len. */
#define MOST_MESSAGES 256

/* Programs that keep storage with one socket, at most. */
#define MOST_STORAGES 16

#define NS_PER_MS 1000000

/* A member of a sock_record, by the record's address. */
#define read_record(address, member)                                                               \
	({                                                                                         \
		typeof(((struct sock_record *)0)->member) val__ = 0;                               \
		bpf_probe_read_kernel(                                                             \
			&val__, sizeof(val__),                                                     \
			(void *)((address) + __builtin_offsetof(struct sock_record, member)));     \
		val__;                                                                             \
	})

/* Is there a record at this address, of this socket, and with this key in that place? */
static __always_inline int is_record(__u64 address, __u64 sk, __u64 place,
				     const struct sock_key *key)
{
	struct sock_key has = {};
	const __u32 *a = (const void *)&has, *b = (const void *)key;
	__u32 difference = 0;

	if (!address || read_record(address, view.sk) != sk)
		return 0;
	bpf_probe_read_kernel(&has, sizeof(has), (void *)(address + place));
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

		if (is_record(data, sk, __builtin_offsetof(struct sock_record, key), key))
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
	if (bpf_core_field_exists(((struct sk_psock *)0)->msg_tot_len))
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
 * Is nothing unread here, and nothing on its way?  A function of its own: in a
 * loop clang moves the offsets of members that a kernel does not have to where
 * they are always used, and the verifier refuses them.
 */
static __noinline int idle_now(__u64 sk, __u64 peer_sk, int settled)
{
	__u64 queue = psock_queue(psock_of(sk));

	if (peer_sk && read_kernel(struct sock, peer_sk, sk_lock.owned))
		return 0;
	if (!own_references_only(sk) && !settled)
		return 0;
	return !queue || queue_empty(queue);
}

/*
 * An end that is switched off sends nothing more to an empty queue, so that this
 * then stays true.  Without the socket's lock a look could fall between two
 * messages: there are two.
 */
static __always_inline int idle(__u64 sk, __u64 peer_sk, __u64 peer_redirected_at)
{
	int settled = peer_sk && bpf_jiffies64() - peer_redirected_at > SETTLE_JIFFIES;

	return idle_now(sk, peer_sk, settled) && idle_now(sk, peer_sk, settled);
}

/* How long a jiffy is, in nanoseconds: as many have passed since the admission. */
static __always_inline __u64 jiffy_ns(__u64 record, __u64 age_ns)
{
	__u64 jiffies = bpf_jiffies64() - read_record(record, admitted_at);

	return jiffies ? age_ns / jiffies : 0;
}

static __always_inline __u64 socket_inode(__u64 sk)
{
	__u64 file, inode, socket = (__u64)read_kernel(struct sock, sk, sk_socket);

	file = (__u64)read_kernel(struct socket, socket, file);
	inode = (__u64)read_kernel(struct file, file, f_inode);
	return read_kernel(struct inode, inode, i_ino);
}

SEC("iter/sockmap")
int sock_ops_status(struct bpf_iter__sockmap *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	__u64 sk = (__u64)ctx->sk, record, peer = 0, peer_sk = 0, net;
	__u64 now = bpf_jiffies64(), age_ns = 0, sent = 0, redirected = 0, jiffy;
	const struct sock_key *key = ctx->key;
	const __u32 *word = ctx->key;
	__u32 unread, more = 0;
	int own_idle, peer_idle = 0;

	if (!sk || !key)
		return 0; /* the end of the map */

	record = find_record(sk, key);
	if (record) {
		age_ns = bpf_ktime_get_ns() - read_record(record, admitted_ns);
		sent = read_record(record, unread_since);
		redirected = read_record(record, view.redirected_at);
		peer = read_record(record, peer);
		peer_sk = read_record(record, peer_sk);
	}
	/* Gone, its memory may serve something else by now. */
	if (!is_record(peer, peer_sk, __builtin_offsetof(struct sock_record, peer_key), key))
		peer = peer_sk = 0;
	unread = unread_bytes(sk, &more);
	own_idle = idle(sk, peer_sk, peer ? read_record(peer, view.redirected_at) : 0);
	if (peer)
		peer_idle = idle(peer_sk, sk, redirected);

	net = (__u64)read_kernel(struct sock_common, sk, skc_net.net);
	jiffy = record ? jiffy_ns(record, age_ns) : 0;
	for (int i = 0; i < 3; i++, word += 4)
		BPF_SEQ_PRINTF(seq, "%08x%08x%08x%08x", bpf_htonl(word[0]), bpf_htonl(word[1]),
			       bpf_htonl(word[2]), bpf_htonl(word[3]));
	BPF_SEQ_PRINTF(seq, " %u %u ", key->local_port, key->remote_port);
	BPF_SEQ_PRINTF(seq, "%u %u %u %llu %llu %u %u %llu %u %u\n",
		       record ? read_record(record, server) : 0, unread, more,
		       sent ? (now - sent) * jiffy / NS_PER_MS : 0, age_ns / NS_PER_MS,
		       record ? read_record(record, view.left) : 0,
		       read_kernel(struct net, net, ns.inum), socket_inode(sk), own_idle,
		       peer_idle);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
