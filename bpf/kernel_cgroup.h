/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How to look at a cgroup (v2) of the kernel by its address.
 */
#ifndef KERNEL_CGROUP_H
#define KERNEL_CGROUP_H

#include "read_kernel.h"

/* The inode number of its directory. */
static __always_inline __u64 cgroup_id(__u64 cgroup)
{
	__u64 node = (__u64)read_kernel(struct cgroup, cgroup, kn);

	return read_kernel(struct kernfs_node, node, id);
}

/* Levels of cgroups that are searched upwards.  A cgroup deeper than that counts as excluded. */
#define MAX_LEVELS 32

/* The cgroup above, by its first member: the address of that is the cgroup's. */
static __always_inline __u64 parent_of(__u64 cgroup)
{
	return (__u64)read_kernel(struct cgroup, cgroup, self.parent);
}

#endif /* KERNEL_CGROUP_H */
