// SPDX-License-Identifier: GPL-2.0
/*
 * sock_ops_release: an iter/tcp program, for unload.sh.  unload.sh takes sockets out of
 * sock_ops_map from outside, so that bpf_sockops sees nothing of it: what the programs have set on
 * such a socket is undone here.  It goes through the sockets of one network namespace, that of the
 * process that reads it, and prints nothing but now and then an empty line.
 *
 * Needs 5.15 (bpf_setsockopt in iter/tcp), and 6.12 for the callback flags.
 */
#include "release.h"
#include "sign_of_life.h"
#include "sock_record_map.h"

#define TCP_BPF_SOCK_OPS_CB_FLAGS 1008

/* Before 6.12 they stay: other programs are called for more packets than they have asked for. */
static __always_inline void drop_callbacks(struct tcp_sock *tp, struct sock_record *rec)
{
	__u32 has = read_kernel(struct tcp_sock, rec->view.sk, bpf_sock_ops_cb_flags);

	if (!set_tcp(tp, TCP_BPF_SOCK_OPS_CB_FLAGS, has & ~rec->cb_flags))
		rec->cb_flags = 0;
}

SEC("iter/tcp")
int sock_ops_release(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	struct sock_record *rec;
	struct tcp_sock *tp;

	if (!skc)
		return 0; /* the end of the list */
	give_sign_of_life(ctx->meta);
	tp = bpf_skc_to_tcp_sock(skc);
	if (!tp)
		return 0; /* a handshake, or TIME_WAIT */
	rec = bpf_sk_storage_get(&sock_ops_record, tp, 0, 0);
	if (!rec || !rec->in_map || !in_no_sockmap(rec->view.sk))
		return 0;
	/* Closed: its timer is the kernel's. */
	if (has_flag(flags_of(rec->view.sk), SOCK_DEAD))
		return 0;
	drop_callbacks(tp, rec);
	wake_reader(tp, rec->view.sk);
	release_socket(tp, rec);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
