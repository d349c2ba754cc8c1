/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Programs whose sockets stay on TCP, whatever their ports and cgroups: the scope, by name
 * (--exclude-program).  They may be started later.  A program shows itself when it calls listen(2)
 * or connect(2).  If it is excluded, that socket gets a mark, which it keeps until it is freed.
 * Sockets that are accepted from a marked listener inherit the mark.  The name is that of the
 * process, that is, of its main thread.  With ADMIT_NEW_ALONE, listeners get another mark, which
 * says in which scopes they have called listen(2) (scopes_of_marks).
 *
 *   sock_ops_names       the names
 *   sock_ops_excluded    the marks
 */
#ifndef EXCLUDED_H
#define EXCLUDED_H

#include "cgroups.h"
#include "stored.h"

/* load.sh's own, and those of --exclude-program, of two scopes. */
#define MAX_NAMES 128

struct program_name {
	char text[16]; /* task_struct.comm (TASK_COMM_LEN): 15 bytes, then zeroes */
};

/* Sizes, no types: load.sh --reload must be able to read it, as sock_ops_config. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_NAMES);
	__uint(key_size, sizeof(struct program_name));
	__uint(value_size, sizeof(__u32)); /* the number of its scope (lib/scope.sh) */
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} sock_ops_names SEC(".maps");

enum {
	MARK_EXCLUDED = 1, /* of an excluded program */
	MARK_NEW = 2, /* a listener that has called listen(2) while ADMIT_NEW_ALONE: mark_new() */
};

/* With the number of the scopes in which it counts. */
static __always_inline __u32 mark_new(__u32 terms)
{
	return scopes_of_marks(scope_in(terms)) << 8 | MARK_NEW;
}

/* No user can take the places of others here: a mark goes with its socket. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, __u32);
	__type(value, __u32); /* MARK_* */
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} sock_ops_excluded SEC(".maps");

/* Is the process that runs one of them?  One whose name cannot be read is. */
static __always_inline int runs_excluded_program(void)
{
	__u64 task = (__u64)read_kernel(struct task_struct, bpf_get_current_task(), group_leader);
	struct program_name name = {};

	/* What follows the end may be left of a longer name. */
	if (bpf_probe_read_kernel_str(name.text, sizeof(name.text),
				      (void *)(task + kernel_offset(struct task_struct, comm))) < 0)
		return 1;
	return bpf_map_lookup_elem(&sock_ops_names, &name) != 0;
}

/* Fails where there is no memory. */
static __always_inline int set_mark(void *ctx_sk, __u32 mark)
{
	__u32 *has;

	if (!ctx_sk)
		return 0;
	has = bpf_sk_storage_get(&sock_ops_excluded, ctx_sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!has)
		return 0;
	if (*has != MARK_EXCLUDED)
		*has = mark;
	return 1;
}

/*
 * The mark of a socket, found by its address: at a SYN the context does not show the listener.  If
 * it cannot be found among so much, the socket counts as excluded.
 */
static __noinline __attribute__((unused)) __u32 mark_of(__u64 sk)
{
	__u64 mark = find_stored(sk, (__u64)&sock_ops_excluded);

	if (mark == TOO_MANY)
		return MARK_EXCLUDED;
	return mark ? read_number(mark) : 0;
}

/*
 * The mark of a socket for which there was no memory: a callback flag with no other use here, which
 * accepted sockets inherit from their listener (tcp_create_openreq_child).  A program can bring
 * about that there is no memory (by SO_ATTACH_FILTER, or by net.core.optmem_max: since 6.8 root of
 * a network namespace can set that, and any user can become such a root).  So this must cost nobody
 * but that program.
 */
#define EXCLUDED_CB_FLAG BPF_SOCK_OPS_RTO_CB_FLAG

static __always_inline int is_excluded(__u64 sk)
{
	return read_kernel(struct tcp_sock, sk, bpf_sock_ops_cb_flags) & EXCLUDED_CB_FLAG ||
	       mark_of(sk) == MARK_EXCLUDED;
}

/* The same of a listener, or of what was accepted there. */
static __always_inline int is_excluded_server(__u64 sk, __u32 terms)
{
	return is_excluded(sk) || (terms & ADMIT_NEW_ALONE && mark_of(sk) != mark_new(terms));
}

#endif /* EXCLUDED_H */
