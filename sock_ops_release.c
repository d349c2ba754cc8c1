// SPDX-License-Identifier: GPL-2.0
/*
 * sock_ops_release: an iter/tcp program, for unload.sh.  unload.sh takes sockets out of
 * sock_ops_map from outside, so that bpf_sockops sees nothing of it: what a socket has got
 * with its place in the map is put back here.  It goes through the sockets of one network
 * namespace, that of the process that reads it, and prints nothing.
 *
 * Needs 5.15 (bpf_setsockopt in iter/tcp).
 */
#include "sock_record_map.h"
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
	struct sock_record *rec;
	struct tcp_sock *tp;

	if (!skc)
		return 0; /* the end of the list */
	tp = bpf_skc_to_tcp_sock(skc);
	if (!tp)
		return 0; /* a handshake, or TIME_WAIT */
	rec = bpf_sk_storage_get(&sock_ops_record, tp, 0, 0);
	if (!rec || !rec->in_map || !in_no_map(rec->view.sk))
		return 0;
	/* Closed: its timer is the kernel's. */
	if (!read_kernel(struct sock, rec->view.sk, sk_socket))
		return 0;
	release_socket(tp, rec);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
