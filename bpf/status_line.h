/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The line that sock_ops_status and sock_ops_open write about a socket, for status.sh and
 * unload.sh, also for those of other versions: columns keep their names and meaning, those before
 * `id` their places, and `id` and `peer` stay the last two.  COLUMNS names them, all numbers:
 *
 *   key          struct sock_key: 96 hexadecimal digits, in the order of its bytes
 *   local_port, remote_port
 *   server       1: it was accepted here; 0: it has connected, or has no record
 *   unread       bytes in the psock queue, that is, bypassed and not yet read
 *   more         1: the queue is longer than was counted, on kernels without msg_tot_len
 *   sent_ms      since the oldest of its sends that the other end may not have read
 *   age_ms       since it was admitted
 *   over_tcp     1: it sends over TCP, for good
 *   netns        inode number of its network namespace
 *   inode        of the socket in /proc/PID/fd, 0: not accepted yet
 *   uid          of the user whose it is: not accepted yet, its listener's
 *   idle         1: nothing is unread at this end, and nothing is on its way to it; or it was
 *                dissolved, and nobody will read that
 *   pair         1: the other end is known, and idle as well
 *   held         1: a thread has its lock, inside recv(2) or send(2) as a rule; 2: and another one
 *                waits for it
 *   due          1: unload.sh has taken it out of the map, and not yet put back what it had before
 *   id, peer     of its record and of the other end's, unique among those that are listed; 0: none
 *
 * These programs share no map with the others, and so work for any sock_ops_map, also for one
 * that an earlier load has left behind.  They take no socket's lock: its program may hold it for
 * as long as it likes, in a page fault inside recv(2) or send(2).
 *
 * What branches or loops is a global function, which the verifier checks once and not at each call:
 * sock_ops_open prints in a loop.  Where there is nothing, addresses are 0 and reads give zeroes.
 */
#ifndef STATUS_LINE_H
#define STATUS_LINE_H

#include "holders.h"
#include "messages.h"
#include "sock_record.h"
#include "stored.h"

#define NS_PER_MS 1000000

#define COLUMNS                                                                                    \
	"key local_port remote_port server unread more sent_ms age_ms over_tcp netns inode uid "   \
	"idle pair held due id peer\n"

/* A member of a sock_record, by the record's address; zeroes where it cannot be read. */
#define read_record(address, member)                                                               \
	({                                                                                         \
		typeof(((struct sock_record *)0)->member) val__;                                   \
		bpf_probe_read_kernel(&val__, sizeof(val__),                                       \
				      (void *)((address) + offsetof(struct sock_record, member))); \
		val__;                                                                             \
	})

/*
 * A socket loses its local port when both directions have ended (tcp_set_state), although its
 * program may not have read all; connect() to AF_UNSPEC takes the remote one (tcp_disconnect).
 */
static __always_inline int has_ports(__u64 sk, __u16 local, __u16 remote)
{
	__u16 now = read_kernel(struct sock_common, sk, skc_num);

	return (!now || now == local) &&
	       remote == bpf_ntohs(read_kernel(struct sock_common, sk, skc_dport));
}

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
		return has_ports(sk, has.local_port, has.remote_port);
	a = (const void *)&has;
	for (__u32 i = 0; i < sizeof(has) / sizeof(*a); i++)
		difference |= a[i] ^ b[i];
	return !difference;
}

/*
 * Look through all that programs keep with the socket: bpf_sk_storage_get() would need the map, a
 * socket that the verifier knows, and 5.11.
 */
static __always_inline __u64 find_record(__u64 sk, const struct sock_key *key)
{
	__u64 node = first_stored(sk), data;

	for (int i = 0; i < MAX_STORED && node; i++) {
		data = stored_at(node) + kernel_offset(struct bpf_local_storage_data, data);
		if (is_record(data, sk, key))
			return data;
		node = next_stored(node);
	}
	return 0;
}

/* Bytes in the psock queue, with UNREAD_MORE where it is longer than was counted. */
#define UNREAD_MORE (1ULL << 32)

__noinline __u64 unread_bytes(__u64 sk)
{
	__u64 psock = psock_of(sk), queue = psock_queue(psock), node;
	__u32 sum = 0;

	if (!queue || queue_empty(queue))
		return 0;
	if (counts_bypassed())
		return read_kernel(struct sk_psock, psock, msg_tot_len);
	node = (__u64)read_kernel(struct list_head, queue, next);
	for (int i = 0; i < MAX_COUNTED && node && node != queue; i++) {
		sum += read_kernel(struct sk_msg, node - kernel_offset(struct sk_msg, list),
				   sg.size);
		node = (__u64)read_kernel(struct list_head, node, next);
	}
	return node != queue ? sum | UNREAD_MORE : sum;
}

/* Is nothing unread here, and nothing on its way? */
static __noinline int idle_now(__u64 sk, __u64 peer_sk)
{
	__u64 queue = psock_queue(psock_of(sk));

	if (!sk)
		return 0; /* not known */
	if (!(peer_sk && in_no_call(peer_sk, 0)) && !landed(sk, peer_sk))
		return 0;
	return !queue || queue_empty(queue);
}

/*
 * An end that is switched off sends nothing more to an empty queue, so that this
 * then stays true.  Without the socket's lock a look could fall between two
 * messages: there are two (model: again).
 */
__noinline int idle(__u64 sk, __u64 peer_sk)
{
	return idle_now(sk, peer_sk) && idle_now(sk, peer_sk);
}

/*
 * Was the socket dissolved, by connect() to AF_UNSPEC?  It may have another connection by now,
 * which must not read what is unread of the first one.
 */
static __always_inline int dissolved(__u64 sk, __u64 record)
{
	return sk && record &&
	       !has_ports(sk, read_record(record, key.local_port),
			  read_record(record, key.remote_port));
}

/*
 * The record of the other end, by what this one's says of it.  0: not met, or gone, and its memory
 * may serve something else by now.
 */
__noinline __u64 peer_of(__u64 record)
{
	struct sock_key peer_key = read_record(record, peer_key);
	__u64 peer = read_record(record, peer);

	return is_record(peer, read_record(record, peer_sk), &peer_key) ? peer : 0;
}

__noinline __u64 age_ns(__u64 record)
{
	__u64 admitted = read_record(record, admitted_ns);

	return admitted ? bpf_ktime_get_ns() - admitted : 0;
}

/*
 * Sends are dated in jiffies.  The admission is dated in both, which gives the length of a jiffy.
 */
__noinline __u64 sent_ns(__u64 record)
{
	__u64 now = bpf_jiffies64(), sent = read_record(record, unread_since);
	__u64 jiffies = now - read_record(record, admitted_at);

	return sent && jiffies ? (now - sent) * (age_ns(record) / jiffies) : 0;
}

__noinline int held(__u64 sk)
{
	if (!is_held(sk))
		return 0;
	return lock_is_awaited(sk) ? 2 : 1;
}

__noinline int due(__u64 sk, __u64 record)
{
	return read_record(record, in_map) && in_no_sockmap(sk);
}

static __always_inline void print_key(struct seq_file *seq, const struct sock_key *key)
{
	const __u32 *word = (const void *)key;

	for (__u32 i = 0; i < sizeof(*key) / sizeof(*word); i += 4)
		BPF_SEQ_PRINTF(seq, "%08x%08x%08x%08x", bpf_htonl(word[i]), bpf_htonl(word[i + 1]),
			       bpf_htonl(word[i + 2]), bpf_htonl(word[i + 3]));
	BPF_SEQ_PRINTF(seq, " %u %u ", key->local_port, key->remote_port);
}

static __always_inline void print_place(struct seq_file *seq, __u64 sk)
{
	__u64 file, inode, socket = (__u64)read_kernel(struct sock, sk, sk_socket);

	file = (__u64)read_kernel(struct socket, socket, file);
	inode = (__u64)read_kernel(struct file, file, f_inode);
	BPF_SEQ_PRINTF(seq, "%u %llu %u ", read_kernel(struct net, netns_of(sk), ns.inum),
		       read_kernel(struct inode, inode, i_ino),
		       read_kernel(struct sock, sk, sk_uid.val));
}

/* Fails when the line did not fit into the buffer: the kernel asks for it again. */
static __always_inline int print_line(struct seq_file *seq, __u64 sk, __u64 record,
				      const struct sock_key *key)
{
	__u64 unread = unread_bytes(sk), peer = peer_of(record);
	__u64 peer_sk = read_record(peer, view.sk);

	print_key(seq, key);
	BPF_SEQ_PRINTF(seq, "%u %u %u %llu %llu %u ", read_record(record, server), (__u32)unread,
		       (__u32)(unread >> 32), sent_ns(record) / NS_PER_MS,
		       age_ns(record) / NS_PER_MS, read_record(record, view.left) != 0);
	print_place(seq, sk);
	return BPF_SEQ_PRINTF(seq, "%u %u %u %u %llu %llu\n",
			      idle(sk, peer_sk) || dissolved(sk, record),
			      idle(peer_sk, sk) || dissolved(peer_sk, peer), held(sk),
			      due(sk, record), record, peer);
}

#endif /* STATUS_LINE_H */
