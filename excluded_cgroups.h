/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Cgroups whose sockets stay on TCP (load.sh --exclude-cgroup), with all below them: for
 * programs that ports do not tell from others, as a proxy on its way to many servers.
 */
#ifndef EXCLUDED_CGROUPS_H
#define EXCLUDED_CGROUPS_H

#include "bpf_sockops.h"

#define MAX_CGROUPS 64

/* By the id of the cgroup, which is the inode number of its directory. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_CGROUPS);
	__type(key, __u64);
	__type(value, __u32); /* not in use */
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} sock_ops_cgroups SEC(".maps");

/* More levels are seldom to be met; those above the last look do not count. */
#define MOST_LEVELS 32

/*
 * Is a socket's cgroup one of these, or below one?  It is that of the process that has created
 * the socket, of an accepted one the listener's.  Where it is not to be seen the answer is no.
 */
static __noinline int in_excluded_cgroup(__u64 sk)
{
	__u64 cgroup = cgroup_of(sk), id;

	for (int i = 0; i < MOST_LEVELS && cgroup; i++) {
		id = cgroup_id(cgroup);
		if (bpf_map_lookup_elem(&sock_ops_cgroups, &id))
			return 1;
		/* The first member of a cgroup, so that its address is the cgroup's. */
		cgroup = (__u64)read_kernel(struct cgroup, cgroup, self.parent);
	}
	return 0;
}

#endif /* EXCLUDED_CGROUPS_H */
