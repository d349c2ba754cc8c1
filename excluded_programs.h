/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Programs whose sockets stay on TCP, by name (load.sh --exclude-program): also of those that are
 * started later, whatever their cgroup.
 *
 * listen(2) and connect(2) are the calls in which a program shows itself.  What it makes there,
 * a listener, and with it all that is accepted from there, or a client's socket, is kept in
 * sock_ops_excluded.  The name is that of the process, which is its main thread's.
 */
#ifndef EXCLUDED_PROGRAMS_H
#define EXCLUDED_PROGRAMS_H

#include "bpf_sockops.h"

#define MAX_PROGRAMS 64

/* As the kernel has it (TASK_COMM_LEN): at most 15 characters, then zeroes. */
struct program_name {
	char text[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PROGRAMS);
	__type(key, struct program_name);
	__type(value, __u32); /* not in use */
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} sock_ops_names SEC(".maps");

/*
 * By the address of the struct sock.  Each of these calls says anew what holds for its socket, so
 * that what is left of one that has gone does not count.  No LRU map: a listener may be idle for
 * weeks.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, __u32); /* not in use */
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} sock_ops_excluded SEC(".maps");

static __always_inline int runs_excluded_program(void)
{
	__u64 task = (__u64)read_kernel(struct task_struct, bpf_get_current_task(), group_leader);
	struct program_name name = {};

	/* What follows the end may be left of a longer name. */
	bpf_probe_read_kernel_str(name.text, sizeof(name.text),
				  (void *)(task + offset_of(struct task_struct, comm)));
	return bpf_map_lookup_elem(&sock_ops_names, &name) != 0;
}

static __always_inline void exclude_socket(__u64 sk)
{
	__u32 unused = 0;

	bpf_map_update_elem(&sock_ops_excluded, &sk, &unused, BPF_ANY);
}

/* In a system call of the program. */
static __always_inline void judge_program(__u64 sk)
{
	if (runs_excluded_program())
		exclude_socket(sk);
	else
		bpf_map_delete_elem(&sock_ops_excluded, &sk);
}

static __always_inline int is_excluded_listener(__u64 sk)
{
	return bpf_map_lookup_elem(&sock_ops_excluded, &sk) != 0;
}

/* A client's socket is asked about once. */
static __always_inline int was_excluded(__u64 sk)
{
	return !bpf_map_delete_elem(&sock_ops_excluded, &sk);
}

#endif /* EXCLUDED_PROGRAMS_H */
