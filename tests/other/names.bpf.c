// SPDX-License-Identifier: GPL-2.0
/*
 * A socket filter with the names of our programs and maps, which any user may load where
 * kernel.unprivileged_bpf_disabled is 0.
 */
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

#define MAP(name)                                                                                  \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                  \
		__uint(max_entries, 2);                                                            \
		__uint(key_size, 4);                                                               \
		__uint(value_size, 24);                                                            \
	} name SEC(".maps")

MAP(sock_ops_map);
MAP(sock_ops_config);
MAP(sock_ops_record);

SEC("socket")
int bpf_tcpip_bypass(void *skb __attribute__((unused)))
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&sock_ops_map, &key) &&
	       bpf_map_lookup_elem(&sock_ops_config, &key) &&
	       bpf_map_lookup_elem(&sock_ops_record, &key);
}

char _license[] SEC("license") = "GPL";
