// SPDX-License-Identifier: GPL-2.0
#include "classic.h"

SEC("sk_msg")
int bpf_tcpip_bypass(struct sk_msg_md *msg)
{
	struct classic_key peer = {};

	peer.local_ip4 = msg->remote_ip4;
	peer.remote_ip4 = msg->local_ip4;
	peer.local_port = bpf_ntohl(msg->remote_port);
	peer.remote_port = msg->local_port;
	bpf_msg_redirect_hash(msg, &sock_ops_map, &peer, BPF_F_INGRESS);
	return SK_PASS;
}
