// SPDX-License-Identifier: GPL-2.0
/*
 * sock_ops_release: an iter/tcp program, for unload.sh.  unload.sh takes sockets out of
 * sock_ops_map from outside, so that bpf_sockops sees nothing of it: what a socket has got
 * with its place in the map is put back here.  It writes a line for each such socket, and
 * goes through those of one network namespace, that of the process that reads it.
 *
 * Needs 5.15 (bpf_setsockopt in iter/tcp).
 */
#define WITHOUT_MAPS
#define WITH_RECORDS
#include "bpf_sockops.h"
#include "socket_options.h"

/* Is the socket in no sockmap?  A thread that waits in a recv keeps the psock. */
static __always_inline int in_no_map(__u64 sk)
{
	__u64 psock = psock_of(sk);

	return !psock || queue_empty(psock + offset_of(struct sk_psock, link));
}

SEC("iter/tcp")
int sock_ops_release(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	struct seq_file *seq = ctx->meta->seq;
	struct sock_record *rec;
	struct tcp_sock *tp;
	__u32 port;

	if (!skc)
		return 0; /* the end of the list */
	tp = bpf_skc_to_tcp_sock(skc);
	if (!tp)
		return 0; /* a handshake, or TIME_WAIT */
	rec = bpf_sk_storage_get(&sock_ops_record, tp, 0, 0);
	if (!rec || !rec->in_map || !in_no_map(rec->view.sk))
		return 0;
	release_socket(tp, rec);
	port = rec->key.local_port;
	BPF_SEQ_PRINTF(seq, "%d\n", port);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
