/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The scope, by the port of the listening side (--port, --exclude-port): sock_ops_ports.
 */
#ifndef PORTS_H
#define PORTS_H

#include "bpf_sockops.h"

/* Ranges of ports in a scope. */
#define MAX_RANGES 64

/* Ports of the listening side, both included, in host byte order. */
struct sock_range {
	__u16 first;
	__u16 last;  /* 0: this range, and all that follow, are not in use */
	__u32 admit; /* 0: not these */
};

_Static_assert(sizeof(struct sock_range) == 8, "lib/scope.sh writes it");

/*
 * The first range that holds the port decides.  Scopes with an even number have the first half,
 * the others the second one: load.sh --reload writes a new scope where it is not looked at.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * MAX_RANGES);
	__type(key, __u32);
	__type(value, struct sock_range);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} sock_ops_ports SEC(".maps");

/*
 * iSCSI's port, never admitted: the initiator hands its socket to the kernel, which
 * overwrites sk_user_data, and warns when a socket that was in a sockmap is closed then.
 */
#define PORT_ISCSI 3260

/* Is a server's port within the scope?  A global function, which the verifier walks once. */
__noinline int in_scope(__u16 port, __u32 terms)
{
	__u32 first = scope_in(terms) & 1 ? MAX_RANGES : 0;
	int otherwise = 1;

	if (port == PORT_ISCSI)
		return 0;
	for (__u32 i = 0; i < MAX_RANGES; i++) {
		__u32 index = first + i;
		struct sock_range *range = bpf_map_lookup_elem(&sock_ops_ports, &index);

		if (!range || !range->last)
			break;
		if (port >= range->first && port <= range->last)
			return range->admit != 0;
		if (range->admit)
			otherwise = 0;
	}
	return otherwise;
}

#endif /* PORTS_H */
