// SPDX-License-Identifier: GPL-2.0
/*
 * sock_ops_open: an iter/tcp program.  It goes through the sockets of one network namespace,
 * that of the process that reads it, and writes a line for each that has a record, also when it
 * has left sock_ops_map: first
 *
 *   open     1: its direction is not ended
 *   records  id of the map that its record is in: of which load it is
 *   reason   why it is back on TCP: the place of a counter in counters.h; "-": on the bypass
 *   maps     ids of the sockmaps that it is in, with a "," after each; "-" for none
 *
 * and then what status_line.h says; at the beginning the names of the columns.
 *
 * It serves status.sh, and both scripts where the kernel's policy refuses sock_ops_status.
 */
#include "status_line.h"

/* Sockmaps that a socket is in, at most. */
#define MOST_MAPS 4

static __always_inline void print_maps(struct seq_file *seq, __u64 sk)
{
	__u64 psock = psock_of(sk), list = psock + offset_of(struct sk_psock, link), node;

	node = psock ? (__u64)read_kernel(struct list_head, list, next) : list;
	if (node == list)
		BPF_SEQ_PRINTF(seq, "-");
	for (int i = 0; i < MOST_MAPS && node && node != list; i++) {
		__u64 link = node - offset_of(struct sk_psock_link, list);
		__u64 map = (__u64)read_kernel(struct sk_psock_link, link, map);

		BPF_SEQ_PRINTF(seq, "%u,", read_kernel(struct bpf_map, map, id));
		node = (__u64)read_kernel(struct list_head, node, next);
	}
	BPF_SEQ_PRINTF(seq, " ");
}

/* bpf_sk_storage's: the map comes first in it. */
static __always_inline __u32 map_of_record(__u64 record)
{
	__u64 data = record - offset_of(struct bpf_local_storage_data, data);
	__u64 map = (__u64)read_kernel(struct bpf_local_storage_data, data, smap);

	return read_kernel(struct bpf_map, map, id);
}

static __always_inline void print_direction(struct seq_file *seq, __u64 sk, __u64 record)
{
	__u8 state = read_kernel(struct sock_common, sk, skc_state);

	BPF_SEQ_PRINTF(seq, "%u %u ", state == BPF_TCP_ESTABLISHED || state == BPF_TCP_CLOSE_WAIT,
		       map_of_record(record));
	if (read_record(record, in_map) && !read_record(record, view.left))
		BPF_SEQ_PRINTF(seq, "- ");
	else
		BPF_SEQ_PRINTF(seq, "%u ", read_record(record, reason));
}

/* The kernel has this type since iter/tcp holds sockets. */
struct bpf_tcp_iter_state___ours {
};

static __always_inline int iterator_holds(void)
{
	return bpf_core_type_exists(struct bpf_tcp_iter_state___ours);
}

SEC("iter/tcp")
int sock_ops_open(struct bpf_iter__tcp *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct sock_common *skc = ctx->sk_common;
	struct ends ends = {};
	struct sock_key key;
	__u64 sk;

	if (!skc)
		return 0; /* the end of the list */
	if (!ctx->meta->seq_num)
		BPF_SEQ_PRINTF(seq, "open records reason maps " COLUMNS);
	sk = (__u64)bpf_skc_to_tcp_sock(skc);
	if (!sk)
		return 0; /* a handshake, or TIME_WAIT */
	barrier_var(sk);
	find_ends(&ends, sk, 0);
	if (!ends.record)
		return 0;
	key = read_record(ends.record, key);
	print_direction(seq, sk, ends.record);
	print_maps(seq, sk);
	print_line(seq, &ends, &key, iterator_holds());
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
