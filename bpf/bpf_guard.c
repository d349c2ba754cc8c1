// SPDX-License-Identifier: GPL-2.0
/*
 * bpf_guard: the guard (guard.h) as two lsm_cgroup programs, attached to the cgroup as bpf_sockops
 * is, which see the calls of the programs under it.
 *
 * Needs 6.0, and BPF among the active LSMs.
 */
#include "guard.h"

/* A hook's programs go on with 1. */
static __always_inline int answer(int error)
{
	if (error)
		bpf_set_retval(error); /* cannot fail: hook and number are right */
	return 1;
}

SEC("lsm_cgroup/file_permission")
int bpf_guard(unsigned long long *ctx)
{
	struct sock *sk = spliced((struct file *)ctx[0], ctx[1]);

	if (!sk)
		return 1;
	guard(sk);
	return answer(answer_to_splice((__u64)sk));
}

SEC("lsm_cgroup/socket_getsockopt")
int bpf_guard_get(unsigned long long *ctx)
{
	struct sock *sk = ((struct socket *)ctx[0])->sk;
	int level = ctx[1], option = ctx[2];

	if (!sk)
		return 1;
	look_at_getsockopt(sk, level, option);
	return answer(answer_to_getsockopt((__u64)sk, level, option));
}

char LICENSE[] SEC("license") = "GPL";
