// SPDX-License-Identifier: GPL-2.0
/*
 * sock_ops_open: an iter/bpf_sk_storage_map program, for status.sh.  It goes through
 * sock_ops_record, where sockets stay when they have left sock_ops_map, and writes a line for
 * each direction of a connection that is still open:
 *
 *   -   it is on the bypass
 *   N   it is back on TCP, for this reason: the place of a counter in counters.h
 */
#include "sock_record.h"

SEC("iter/bpf_sk_storage_map")
int sock_ops_open(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct sock_record *rec = ctx->value;
	__u64 sk = (__u64)ctx->sk;
	__u8 state;

	if (!sk || !rec)
		return 0; /* the end of the map */
	/* Offsets come after the check: 5.10 and 6.1 refuse them on what may be NULL. */
	barrier_var(sk);
	state = read_kernel(struct sock_common, sk, skc_state);
	if (state != BPF_TCP_ESTABLISHED && state != BPF_TCP_CLOSE_WAIT)
		return 0;
	if (rec->in_map && !rec->view.left)
		BPF_SEQ_PRINTF(seq, "-\n");
	else
		BPF_SEQ_PRINTF(seq, "%u\n", rec->reason);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
