// SPDX-License-Identifier: GPL-2.0
/*
 * Another tool's sock_ops program, which asks for no callbacks.  It counts what it is called for,
 * by operation.
 */
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

enum { MOST_OPERATIONS = 32 };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MOST_OPERATIONS);
	__type(key, __u32);
	__type(value, __u64);
} other_calls SEC(".maps");

SEC("sockops")
int other_count(struct bpf_sock_ops *skops)
{
	__u32 op = skops->op;
	__u64 *calls = bpf_map_lookup_elem(&other_calls, &op);

	if (calls)
		__sync_fetch_and_add(calls, 1);
	return 1;
}

char _license[] SEC("license") = "GPL";
