/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Cgroups whose sockets stay on TCP: for programs that ports do not tell from others, as a proxy
 * on its way to many servers.
 *
 *   sock_ops_cgroups     load.sh's (--exclude-cgroup), with all below them
 *   sock_ops_remembered  those that the programs have found out themselves, without what is below
 *
 * A socket's cgroup is that of the process that has created it, an accepted one's is its
 * listener's.
 */
#ifndef EXCLUDED_CGROUPS_H
#define EXCLUDED_CGROUPS_H

#include "bpf_sockops.h"

#define MAX_CGROUPS 4096

/* By the id of the cgroup, which is the inode number of its directory. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_CGROUPS);
	__type(key, __u64);
	__type(value, __u32); /* not in use */
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} sock_ops_cgroups SEC(".maps");

/*
 * The same.  Any user who may make cgroups can fill this one: so it takes no place from load.sh's,
 * and when it is full the cgroup is forgotten that has opened no connection for longest.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_CGROUPS);
	__type(key, __u64);
	__type(value, __u32); /* not in use */
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} sock_ops_remembered SEC(".maps");

/* Levels that are looked at. */
#define MOST_LEVELS 32

/*
 * Is a socket's cgroup one of these, or below one of load.sh's?  Where that cannot be seen the
 * answer is yes: for a cgroup that is deeper, or not known (cgroup_of).
 */
static __noinline __attribute__((unused)) int in_excluded_cgroup(__u64 sk)
{
	__u64 cgroup = cgroup_of(sk), id = cgroup_id(cgroup);

	if (bpf_map_lookup_elem(&sock_ops_remembered, &id))
		return 1;
	if (admits(ADMIT_ALL_CGROUPS))
		return 0;
	if (!cgroup)
		return 1;
	for (int i = 0; i < MOST_LEVELS && cgroup; i++) {
		id = cgroup_id(cgroup);
		if (bpf_map_lookup_elem(&sock_ops_cgroups, &id))
			return 1;
		/* The first member of a cgroup, so that its address is the cgroup's. */
		cgroup = (__u64)read_kernel(struct cgroup, cgroup, self.parent);
	}
	return cgroup != 0;
}

/* Fails only where other CPUs are at work on all its places at this moment. */
static __always_inline int remember_cgroup(__u64 sk)
{
	__u64 id = cgroup_id(cgroup_of(sk));
	__u32 unused = 0;

	return !bpf_map_update_elem(&sock_ops_remembered, &id, &unused, BPF_ANY);
}

#endif /* EXCLUDED_CGROUPS_H */
