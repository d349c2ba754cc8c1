/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Programs whose sockets stay on TCP, by name (load.sh --exclude-program): also of those that are
 * started later, whatever their cgroup.  And those that take the guard's EINVAL for an error, by
 * cgroup.
 *
 * listen(2) and connect(2) are the calls in which a program shows itself.  If it is an excluded
 * one, the socket gets a mark, which it keeps until it is freed: a client's socket, or a listener,
 * from which all sockets that are accepted there inherit it.  The name is that of the process,
 * which is its main thread's.
 */
#ifndef EXCLUDED_PROGRAMS_H
#define EXCLUDED_PROGRAMS_H

#include "excluded_cgroups.h"

/* load.sh's own, and those of --exclude-program. */
#define MAX_PROGRAMS 64

struct program_name {
	char text[16]; /* as the kernel has it (TASK_COMM_LEN): 15 bytes, then zeroes */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PROGRAMS);
	__type(key, struct program_name);
	__type(value, __u32); /* not in use */
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} sock_ops_names SEC(".maps");

/* The marks: who has one is excluded.  No user can take their places, they go with their sockets.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, __u32);
	__type(value, __u32); /* not in use */
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} sock_ops_excluded SEC(".maps");

/* Is the process that runs one of them?  One whose name cannot be read is. */
static __always_inline int runs_excluded_program(void)
{
	__u64 task = (__u64)read_kernel(struct task_struct, bpf_get_current_task(), group_leader);
	struct program_name name = {};

	/* What follows the end may be left of a longer name. */
	if (bpf_probe_read_kernel_str(name.text, sizeof(name.text),
				      (void *)(task + offset_of(struct task_struct, comm))) < 0)
		return 1;
	return bpf_map_lookup_elem(&sock_ops_names, &name) != 0;
}

/*
 * Has somebody else seen to it that a socket gets no mark?  What the kernel grants a socket for
 * such things, net.core.optmem_max, the program can use up, and since 6.8 root of a network
 * namespace, which any user can be, sets it there: that harms nobody else.  MARK_TAKES is more than
 * a mark takes.
 */
#define MARK_TAKES 4096

static __always_inline int refuses_mark(__u64 sk)
{
	if (bpf_core_field_exists(((struct net *)0)->core.sysctl_optmem_max) &&
	    read_kernel(struct net, netns_of(sk), core.sysctl_optmem_max) < MARK_TAKES)
		return 1;
	return read_kernel(struct sock, sk, sk_omem_alloc.counter) != 0;
}

/*
 * Mark a socket: `ctx_sk` is the same as `sk`, for the verifier.  If there is no memory, its whole
 * cgroup is excluded, also the one that the pair is attached to.
 */
static __always_inline void exclude_socket(void *ctx_sk, __u64 sk)
{
	if (ctx_sk &&
	    bpf_sk_storage_get(&sock_ops_excluded, ctx_sk, 0, BPF_SK_STORAGE_GET_F_CREATE))
		return;
	if (!refuses_mark(sk))
		remember_cgroup(sk); /* has its places from the start on */
}

/* Programs that keep storage with one socket, at most. */
#define MOST_MARKS 16

/*
 * Has a socket the mark?  By its address: at a SYN the context does not show the listener.  So look
 * through all that programs keep with it; where that is more, it may have.
 */
static __noinline __attribute__((unused)) int is_excluded(__u64 sk)
{
	__u64 storage = (__u64)read_kernel(struct sock, sk, sk_bpf_storage), node, data;

	if (!storage)
		return 0;
	node = (__u64)read_kernel(struct bpf_local_storage, storage, list.first);
	for (int i = 0; i < MOST_MARKS && node; i++) {
		data = node - offset_of(struct bpf_local_storage_elem, snode) +
		       offset_of(struct bpf_local_storage_elem, sdata);
		if ((__u64)read_kernel(struct bpf_local_storage_data, data, smap) ==
		    (__u64)&sock_ops_excluded)
			return 1;
		node = (__u64)read_kernel(struct hlist_node, node, next);
	}
	return node != 0;
}

/*
 * The guard has answered EINVAL on this socket, and the socket now ends its direction.  If the
 * bytes that waited then are still unread, the program took EINVAL for an error.  It will do so
 * again, so the socket's cgroup is remembered.  At a close the psock has gone (sock_map_close), but
 * its memory stays for a while (RCU).
 *
 * Any program can bring this about.  So it is never the cgroup that the pair is attached to, in
 * which all may run: what runs there itself loses such connections each time, until it is excluded
 * by name.
 */
static __always_inline void remember_program(const struct sock_record *rec, struct sock_cpu *cpu)
{
	struct sock_config *config = this_config();
	__u64 sk = rec->view.sk;

	if (!rec->refused_first || read_word(rec->refused_queue) != rec->refused_first)
		return;
	if (config && cgroup_id(cgroup_of(sk)) != config->cgroup && remember_cgroup(sk))
		count(cpu, remembered, 1);
	else
		count(cpu, not_remembered, 1); /* the next such connection tries again */
}

#endif /* EXCLUDED_PROGRAMS_H */
