/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Programs whose sockets stay on TCP, by name (load.sh --exclude-program): also of those that are
 * started later, whatever their cgroup.  And those that have taken the guard's EINVAL for an error.
 *
 * listen(2) and connect(2) are the calls in which a program shows itself.  What it makes there,
 * a listener, and with it all that is accepted from there, or a client's socket, is kept in
 * sock_ops_excluded.  The name is that of the process, which is its main thread's.
 */
#ifndef EXCLUDED_PROGRAMS_H
#define EXCLUDED_PROGRAMS_H

#include "bpf_sockops.h"

/* Of load.sh, and those that are remembered. */
#define MAX_PROGRAMS 128

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PROGRAMS);
	__type(key, struct program_name);
	__type(value, __u32); /* not in use */
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} sock_ops_names SEC(".maps");

/*
 * By the address of the struct sock.  Each of these calls says anew what holds for its socket, so
 * that what is left of one that has gone, or of a connect that has failed, does not count.  No LRU
 * map: a listener may be idle for weeks.  Beside these the listeners of which one connection was
 * enough: port_of().
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, __u64); /* of port_of(): inode number of the listener's cgroup */
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} sock_ops_excluded SEC(".maps");

/* The process that runs, in its own cgroup alone. */
static __always_inline struct program_name this_program(void)
{
	__u64 task = (__u64)read_kernel(struct task_struct, bpf_get_current_task(), group_leader);
	__u64 set = (__u64)read_kernel(struct task_struct, task, cgroups);
	__u64 cgroup = (__u64)read_kernel(struct css_set, set, dfl_cgrp);
	struct program_name name = {};

	/* What follows the end may be left of a longer name. */
	bpf_probe_read_kernel_str(name.text, sizeof(name.text),
				  (void *)(task + offset_of(struct task_struct, comm)));
	name.cgroup = cgroup_id(cgroup);
	return name;
}

static __always_inline int runs_excluded_program(void)
{
	struct program_name name = this_program();

	if (bpf_map_lookup_elem(&sock_ops_names, &name))
		return 1;
	name.cgroup = 0;
	return bpf_map_lookup_elem(&sock_ops_names, &name) != 0;
}

static __always_inline void exclude_socket(__u64 sk, __u64 cgroup)
{
	bpf_map_update_elem(&sock_ops_excluded, &sk, &cgroup, BPF_ANY);
}

/* In a system call of the program. */
static __always_inline void judge_program(__u64 sk)
{
	if (runs_excluded_program())
		exclude_socket(sk, 0);
	else
		bpf_map_delete_elem(&sock_ops_excluded, &sk);
}

/* Where a server's socket, or its request sock, listens: no address of the kernel is as small. */
static __always_inline __u64 port_of(__u64 sk)
{
	__u64 netns = read_kernel(struct net, netns_of(sk), ns.inum);

	return netns << 16 | read_kernel(struct sock_common, sk, skc_num);
}

static __always_inline int is_excluded_listener(__u64 listener, __u64 req)
{
	__u64 port = port_of(req), *cgroup;

	if (bpf_map_lookup_elem(&sock_ops_excluded, &listener))
		return 1;
	cgroup = bpf_map_lookup_elem(&sock_ops_excluded, &port);
	return cgroup && *cgroup == cgroup_id(cgroup_of(listener));
}

/*
 * A socket ends its direction, on which the guard has said EINVAL.  With the bytes still unread
 * that waited then, its program took that for an error, and will do so again.  At a close the
 * psock has gone (sock_map_close), but its memory stays for a while (RCU).  In its cgroup alone,
 * so that nobody's program takes the bypass from others that are called the same, or that listen
 * on the same port of another address.
 */
static __always_inline int remember_program(const struct sock_record *rec)
{
	struct program_name name = rec->refused;
	__u64 sk = rec->view.sk;
	__u32 unused = 0;

	if (!rec->refused_first || read_word(rec->refused_queue) != rec->refused_first)
		return 0;
	if (bpf_map_update_elem(&sock_ops_names, &name, &unused, BPF_ANY))
		return 0; /* there is no room */
	if (rec->server)
		exclude_socket(port_of(sk), cgroup_id(cgroup_of(sk)));
	return 1;
}

/* A client's socket is asked about once. */
static __always_inline int was_excluded(__u64 sk)
{
	return !bpf_map_delete_elem(&sock_ops_excluded, &sk);
}

#endif /* EXCLUDED_PROGRAMS_H */
