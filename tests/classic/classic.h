/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The control: the algorithm of the classic demos, in as few lines.  Every TCP
 * socket enters the map under its bare 4-tuple, every send is redirected.  The
 * tests must catch it where it reorders, queues without bound, or mixes
 * namespaces; a check that passes here proves nothing about ours.
 */
#include <vmlinux.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct classic_key {
	__u32 local_ip4, remote_ip4;   /* network byte order */
	__u32 local_port, remote_port; /* host byte order */
};

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 65535);
	__type(key, struct classic_key);
	__type(value, __u32);
} sock_ops_map SEC(".maps");

char LICENSE[] SEC("license") = "GPL";
