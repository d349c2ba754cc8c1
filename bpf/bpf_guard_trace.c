// SPDX-License-Identifier: GPL-2.0
/*
 * bpf_guard_trace: the guard (guard.h) as tracing programs, for where BPF is not among the active
 * LSMs.  They see the calls of all programs of the host; what they act on are sockets of the map,
 * and listeners of excluded programs.
 *
 * The functions through which the kernel asks its LSMs call them by a trampoline: first the fentry
 * programs, which look, and then the fmod_ret programs, which answer.  Those alone can set the
 * result, but may not ask for what is kept with a socket (bpf_sk_storage_tracing_allowed).
 *
 * Needs 5.15 (bpf_task_pt_regs); on arm64 6.4 (such trampolines).
 */
#include "guard.h"

SEC("fmod_ret/security_file_permission")
int bpf_guard_says(unsigned long long *ctx)
{
	struct sock *sk = spliced((struct file *)ctx[0], ctx[1]);

	return sk ? answer_to_splice((__u64)sk) : 0;
}

SEC("fmod_ret/security_socket_getsockopt")
int bpf_guard_tells(unsigned long long *ctx)
{
	struct sock *sk = ((struct socket *)ctx[0])->sk;

	return sk ? answer_to_getsockopt((__u64)sk, ctx[1], ctx[2]) : 0;
}

SEC("fentry/security_file_permission")
int bpf_guard(unsigned long long *ctx)
{
	struct sock *sk = spliced((struct file *)ctx[0], ctx[1]);

	if (sk)
		guard(sk);
	return 0;
}

SEC("fentry/security_socket_getsockopt")
int bpf_guard_get(unsigned long long *ctx)
{
	struct sock *sk = ((struct socket *)ctx[0])->sk;

	if (sk)
		look_at_getsockopt(sk, ctx[1], ctx[2]);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
