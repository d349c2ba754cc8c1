// SPDX-License-Identifier: GPL-2.0
/*
 * sock_ops_status: an iter/sockmap program.  It writes a line for each socket of
 * sock_ops_map (status_line.h), after one line with the names of the columns.
 */
#include "status_line.h"

SEC("iter/sockmap")
int sock_ops_status(struct bpf_iter__sockmap *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	const struct sock_key *key = ctx->key;
	__u64 sk = read_number((__u64)&ctx->sk);

	if (!sk || !key)
		return 0; /* the end of the map, still under the number of the last socket */
	if (!ctx->meta->seq_num)
		BPF_SEQ_PRINTF(seq, COLUMNS);
	print_line(seq, sk, find_record(sk, key), key);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
