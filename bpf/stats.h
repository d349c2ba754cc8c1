/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The state of each CPU: the counters (counters.h), and the budgets of the trace and of waits.
 */
#ifndef STATS_H
#define STATS_H

#include "kernel_sock.h"

struct sock_stats {
#define COUNTER(name, text) __u64 name;
#include "counters.h"
#undef COUNTER
};

/* The place of each; as the outcome of a decision: the reason that is counted. */
enum counter {
#define COUNTER(name, text) name,
#include "counters.h"
#undef COUNTER
	COUNTERS, /* how many */
};

#define NO_REASON COUNTERS

_Static_assert(sizeof(struct sock_stats) == COUNTERS * sizeof(__u64), "count() finds them");

struct sock_cpu {
	struct sock_stats stats;
	__u64 trace_since;  /* jiffies at which the budget was last filled */
	__u32 trace_left;   /* lines */
	__u32 window;	    /* the last one with a wait for a reader (backlog.h) */
	__u32 trace_missed; /* lines over this budget */
	__u32 waits;	    /* in that window */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sock_cpu);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} sock_ops_stats SEC(".maps");

/* Entry 0 of an array always exists: the NULL is the verifier's. */
static __always_inline struct sock_cpu *this_cpu(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&sock_ops_stats, &zero);
}

/*
 * Atomic: a softirq, or another sender after preemption, counts here as well.  The
 * bound is for the verifier.
 */
static __always_inline void count(struct sock_cpu *cpu, enum counter which, __u64 n)
{
	__u64 *counter = (__u64 *)&cpu->stats;

	if (which < COUNTERS)
		__sync_fetch_and_add(counter + which, n);
}

#endif /* STATS_H */
