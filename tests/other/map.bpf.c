// SPDX-License-Identifier: GPL-2.0
/*
 * Another tool's sockhash, for the tests: it takes every socket that is established, under
 * its cookie, as agents do that watch or label connections.  No program is attached to it.
 */
#define BPF_NO_PRESERVE_ACCESS_INDEX /* contexts must not be relocated */
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} other_map SEC(".maps");

SEC("sockops")
int other_sockhash(struct bpf_sock_ops *skops)
{
	__u64 cookie;

	if (skops->op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB &&
	    skops->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		return 1;
	cookie = bpf_get_socket_cookie(skops);
	bpf_sock_hash_update(skops, &other_map, &cookie, BPF_ANY);
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
