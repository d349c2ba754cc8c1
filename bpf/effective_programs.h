/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which sock_ops programs run for a socket: the cgroup's effective ones (cgroup_bpf in
 * include/linux/bpf-cgroup-defs.h).
 */
#ifndef EFFECTIVE_PROGRAMS_H
#define EFFECTIVE_PROGRAMS_H

#include "bpf_sockops.h"

struct cgroup_bpf___ours {
	struct bpf_prog_array *effective[1]; /* by attach type: how many differs */
} __attribute__((preserve_access_index));

#define MAX_EFFECTIVE 64 /* BPF_CGROUP_MAX_PROGS, for each cgroup */

/* The address of the first bpf_prog_array_item.  The list ends with an item without a program. */
static __always_inline __u64 sock_ops_programs(__u64 cgroup)
{
	__u32 type = CGROUP_SOCK_OPS;

	if (bpf_core_enum_value_exists(enum cgroup_bpf_attach_type, CGROUP_SOCK_OPS))
		type = bpf_core_enum_value(enum cgroup_bpf_attach_type, CGROUP_SOCK_OPS);
	return read_word(cgroup + kernel_offset(struct cgroup, bpf) +
			 kernel_offset(struct cgroup_bpf___ours, effective) +
			 type * sizeof(struct bpf_prog_array *)) +
	       kernel_offset(struct bpf_prog_array, items);
}

/*
 * Is ours the last of the sock_ops programs that run for a socket?  Others may set the
 * callback flags to theirs alone, as samples/bpf/tcp_dumpstats_kern.c does: then no packet
 * would come to on_packet() any more.  Those of the socket's cgroup run in the order in
 * which they were attached, then those of its ancestors (compute_effective_progs).
 * Where the cgroup cannot be seen, ours is taken to be the last.
 */
static __noinline int runs_last(__u64 sk)
{
	__u32 last = 0, id, size = bpf_core_type_size(struct bpf_prog_array_item);
	struct sock_config *config = this_config();
	__u64 cgroup = cgroup_of(sk), item, program, aux;

	if (!config || !cgroup)
		return 1;
	item = sock_ops_programs(cgroup);
	for (int i = 0; i < MAX_EFFECTIVE; i++) {
		program = read_word(item);
		if (!program)
			break;
		aux = (__u64)read_kernel(struct bpf_prog, program, aux);
		id = read_kernel(struct bpf_prog_aux, aux, id);
		if (id)
			last = id; /* a program being detached leaves a dummy without an id */
		item += size;
	}
	return last == config->program;
}

#endif /* EFFECTIVE_PROGRAMS_H */
