/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The scope, by cgroup: for programs that no port identifies, such as a proxy that connects to many
 * servers.  A socket's cgroup is that of the process that has created it, an accepted one's is its
 * listener's.
 *
 *   sock_ops_cgroups     load.sh's (--exclude-cgroup), with all below them
 *   sock_ops_remembered  those that the programs have found out themselves, without what is below:
 *                        of programs that take the guard's EINVAL for an error (remembered.h)
 */
#ifndef CGROUPS_H
#define CGROUPS_H

#include "bpf_sockops.h"
#include "kernel_cgroup.h"

#define MAX_CGROUPS 4096

/*
 * By the id of the cgroup, which is the inode number of its directory.  Sizes, no types: load.sh
 * must be able to read it, as sock_ops_config.  The value is the number of its scope.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * MAX_CGROUPS); /* of two scopes, while load.sh --reload is at work */
	__uint(key_size, sizeof(__u64));
	__uint(value_size, sizeof(__u32));
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} sock_ops_cgroups SEC(".maps");

/*
 * The same.  Any user who may make cgroups can fill this map.  So it takes no places from
 * load.sh's, and when it is full, the cgroup that has opened no connection for longest is
 * forgotten.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_CGROUPS);
	__type(key, __u64);
	__type(value, __u32); /* not in use */
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} sock_ops_remembered SEC(".maps");

/*
 * Is a socket's cgroup one of these, or below one of load.sh's?  They are below the cgroup that the
 * programs are attached to, or are that one.  Where it cannot be seen the answer is yes: for a
 * cgroup that is MAX_LEVELS below that or deeper, or not known (cgroup_of).
 */
static __noinline __attribute__((unused)) int in_excluded_cgroup(__u64 sk, __u32 terms)
{
	__u64 cgroup = cgroup_of(sk), id = cgroup_id(cgroup);
	struct sock_config *config = this_config();

	if (bpf_map_lookup_elem(&sock_ops_remembered, &id))
		return 1;
	if (terms & ADMIT_ALL_CGROUPS)
		return 0;
	if (!cgroup || !config)
		return 1;
	for (int i = 0; i < MAX_LEVELS && cgroup; i++) {
		id = cgroup_id(cgroup);
		if (bpf_map_lookup_elem(&sock_ops_cgroups, &id))
			return 1;
		if (id == config->cgroup)
			return 0;
		cgroup = parent_of(cgroup);
	}
	return cgroup != 0;
}

#endif /* CGROUPS_H */
