/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the programs have in common: the maps, the counters, the switch and the trace.
 *
 *   bpf_sockops (sock_ops)    pairs the two ends of a connection at its handshake, puts
 *                             them into sock_ops_map, and takes them out once both
 *                             directions are back on TCP.
 *   bpf_tcpip_bypass (sk_msg) redirects each send to the other end's socket.
 *   bpf_guard                 puts a direction back on TCP when its reader goes past the psock
 *                             (lsm_cgroup, or fentry and fmod_ret).
 *   sock_ops_status (iter)    lists the map, for status.sh and unload.sh.
 *   sock_ops_open (iter)      lists the sockets that processes hold and that have been in the
 *                             map, with the processes, for both.
 *   sock_ops_release (iter)   puts back what sockets had, for unload.sh.
 *   sock_ops_running (iter)   lists what runs and listens already, for load.sh.
 *
 * Whatever goes wrong, the bytes go over plain TCP.  The headers are in bpf/, and each builds on
 * some of those before it:
 *
 *   uapi.h             constants of the kernel's UAPI
 *   kernel_sock.h      how to look at a socket of the kernel; no maps
 *   holders.h          who else is at work on a socket
 *   memcg.h            the memory cgroup of a socket
 *   kernel_task.h      how to look at a task
 *   sock_record.h      what is kept about one end of a connection
 *   sock_record_map.h  where it is kept
 *   bpf_sockops.h      this one; counters.h is the list of counters
 *   meet.h             where the two ends of a connection find each other
 *   handover.h         how a direction goes from the bypass to TCP: why no byte is lost
 *   ports.h            the scope: which servers,
 *   cgroups.h          and whose sockets stay on TCP
 *   excluded.h         programs whose sockets stay on TCP
 *   accounts.h         short connections are left to TCP
 *   keepalive.h        the clock of sockets that send no packet
 *   release.h          what a socket gets back when it has left the map
 *
 * those of bpf_sockops.c:
 *
 *   effective_programs.h  which other sock_ops programs run for a socket
 *   packets.h             the packets of a socket in the map, and how it leaves with one
 *
 * those of bpf_tcpip_bypass.c:
 *
 *   send.h     one send, and what it sees of both ends
 *   burst.h    how much a direction sends at once
 *   backlog.h  how much of it is unread
 *   waits.h    what a send waits for
 *
 * that of the guard:
 *
 *   guard.h    which calls read a socket past its psock, and what they are answered
 *
 * and of the iterators:
 *
 *   open_files.h   from an open file to its process and its socket
 *   status_line.h  what sock_ops_status and sock_ops_open print of a socket
 */
#ifndef BPF_SOCKOPS_H
#define BPF_SOCKOPS_H

#include "sock_record_map.h"

/* ---- counters ---- */

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

/* Per-CPU state: the counters, and what is left of the trace budget. */
struct sock_cpu {
	struct sock_stats stats;
	__u64 trace_since;  /* jiffies at which the budget was last filled */
	__u64 trace_left;   /* lines */
	__u64 trace_missed; /* lines over this budget */
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

/* ---- the switch, written by the scripts ---- */

/*
 * Unless it is on, nothing is admitted, and a direction leaves when its reader has read all.
 * GOING_OFF: only if no thread waits in a recv on the sending socket.  OFF: in any case.
 */
enum {
	SWITCH_OFF = 0,
	SWITCH_ON = 1,
	SWITCH_GOING_OFF = 2,
};

/* In the host's byte order. */
struct sock_config {
	__u64 cgroup;  /* where the pair is attached: inode number of its directory */
	__u32 on;      /* SWITCH_* */
	__u32 quiet;   /* 1: no trace lines */
	__u32 program; /* id of bpf_sockops */
	__u32 admit;   /* ADMIT_*, together, and from SCOPE_SHIFT on the number of the scope */
};

/* Connections that may be admitted beside the others. */
enum {
	ADMIT_MPTCP = 1,       /* to a listener of Multipath TCP */
	ADMIT_SHORT = 2,       /* although those before were short (accounts.h) */
	ADMIT_ALL_CGROUPS = 4, /* no cgroup is excluded (cgroups.h) */
	ADMIT_NEW_ALONE = 8,   /* fewer: only to listeners that called listen(2) since it was set */
	ADMIT_ZEROCOPY = 16,   /* of sockets with SO_ZEROCOPY */
};

_Static_assert(sizeof(struct sock_config) == 24, "lib/maps.sh writes it");

/*
 * In entry 0.  Entry 1 is for the scripts: a __u32 LAYOUT, a __u32 for when it was loaded, in
 * seconds since the host was started (0: not known), and VERSION, zeroes after it (lib/version.sh).
 * Sizes, no types: bpftool shows a typed value only to CAP_SYS_ADMIN.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct sock_config));
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} sock_ops_config SEC(".maps");

/* Entry 0 of an array: never NULL. */
static __always_inline struct sock_config *this_config(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&sock_ops_config, &zero);
}

static __always_inline __u32 switch_state(void)
{
	struct sock_config *config = this_config();

	return config ? config->on : SWITCH_OFF;
}

/*
 * The terms of admission, sock_config.admit.  Read once for each decision, which then goes by one
 * scope (ports.h, cgroups.h), although load.sh --reload may change it meanwhile.  bpf_sockops
 * decides at each handshake; bpf_tcpip_bypass at the first send of each direction after a change.
 */
static __always_inline __u32 terms_now(void)
{
	struct sock_config *config = this_config();

	return config ? config->admit : 0;
}

#define SCOPE_SHIFT 8

/* The scope's number: of 24 bits. */
static __always_inline __u32 scope_in(__u32 terms)
{
	return terms >> SCOPE_SHIFT;
}

/* ---- the connections ---- */

/* Sockets in the map, two for each connection. */
#define MAX_SOCKETS 65535

/* The sockets of admitted connections, by their own key. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, MAX_SOCKETS);
	__type(key, struct sock_key);
	__type(value, __u32); /* the socket, stored by bpf_sock_hash_update */
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} sock_ops_map SEC(".maps");

/* ---- the trace ---- */

/*
 * Trace lines per CPU and TRACE_JIFFIES, a second where HZ is 250: enough to watch a few
 * programs, too few to slow down many.
 */
#define TRACE_LINES   100
#define TRACE_JIFFIES 250

static __always_inline int silenced(void)
{
	struct sock_config *config = this_config();

	return !config || config->quiet;
}

/*
 * Is there budget for so many trace lines?  The first call after a budget was
 * overdrawn says by how much.
 */
static __always_inline int may_trace(struct sock_cpu *cpu, __u32 lines)
{
	__u64 now;

	if (silenced())
		return 0;
	now = bpf_jiffies64();
	if (now - cpu->trace_since >= TRACE_JIFFIES) {
		if (cpu->trace_missed)
			bpf_printk("trace budget: %llu lines not shown", cpu->trace_missed);
		cpu->trace_since = now;
		cpu->trace_left = TRACE_LINES;
		cpu->trace_missed = 0;
	}
	if (cpu->trace_left < lines) {
		cpu->trace_missed += lines;
		return 0;
	}
	cpu->trace_left -= lines;
	return 1;
}

/*
 * One line with the two addresses of a key.  %pI4 and %pI6 need 5.13: older
 * kernels refuse the format and the line is missing there.
 */
#define trace_addresses(what, arrow, key)                                                          \
	do {                                                                                       \
		if (is_mapped((key)->local_ip))                                                    \
			bpf_printk(what ": %pI4 " arrow " %pI4", &(key)->local_ip[3],              \
				   &(key)->remote_ip[3]);                                          \
		else                                                                               \
			bpf_printk(what ": %pI6 " arrow " %pI6", (key)->local_ip,                  \
				   (key)->remote_ip);                                              \
	} while (0)

#endif /* BPF_SOCKOPS_H */
