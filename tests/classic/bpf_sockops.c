// SPDX-License-Identifier: GPL-2.0
#include "classic.h"

SEC("sockops")
int bpf_sockops(struct bpf_sock_ops *skops)
{
	__u32 op = skops->op;
	struct classic_key key = {};

	if (op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB && op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		return 1;
	key.local_ip4 = skops->local_ip4;
	key.remote_ip4 = skops->remote_ip4;
	key.local_port = skops->local_port;
	key.remote_port = bpf_ntohl(skops->remote_port);
	bpf_sock_hash_update(skops, &sock_ops_map, &key, BPF_ANY);
	return 1;
}
