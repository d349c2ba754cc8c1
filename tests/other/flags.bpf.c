// SPDX-License-Identifier: GPL-2.0
/*
 * Another tool's sock_ops program, as many are written: at both established events
 * it says which callbacks it wants, and so takes away what others have asked for.
 */
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

/* linux/bpf.h */
enum {
	STATE_CALLBACKS = 1 << 2,
	RTT_CALLBACKS = 1 << 3,
};

SEC("sockops")
int other_flags(struct bpf_sock_ops *skops)
{
	switch (skops->op) {
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		bpf_sock_ops_cb_flags_set(skops, STATE_CALLBACKS | RTT_CALLBACKS);
	}
	return 1;
}

char _license[] SEC("license") = "GPL";
