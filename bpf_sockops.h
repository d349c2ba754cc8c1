/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the programs share: the key, the record, the maps, the limits, the
 * counters, the trace budget, and how to look at a socket.
 *
 *   bpf_sockops (sock_ops)   pairs the two ends of a connection at its
 *                            handshake, puts them into sock_ops_map, and takes
 *                            them out once both directions are back on TCP.
 *   bpf_tcpip_bypass (sk_msg) redirects each send to the other end's socket.
 *   sock_ops_status (iter)   lists the map, for status.sh and unload.sh.
 *   sock_ops_release (iter)  puts back what sockets had, for unload.sh.
 *
 * Each direction of a connection uses the bypass from its first byte, or never.
 * It may change from the bypass to TCP once, and does not come back.
 * Whatever goes wrong, the bytes go over plain TCP.
 */
#ifndef BPF_SOCKOPS_H
#define BPF_SOCKOPS_H

#define BPF_NO_PRESERVE_ACCESS_INDEX /* contexts must not be relocated */
#include <vmlinux.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define AF_INET6 10

/* Sockets in the map, two for each connection. */
#define MAX_SOCKETS 65535

/*
 * Handshakes whose two ends have not met yet.  An LRU map: a flood of SYNs
 * pushes out old entries, which costs those connections the bypass.
 */
#define MAX_HANDSHAKES 65536

/*
 * CREDIT, in bytes: what a direction may send in one burst and stay on the
 * bypass.  A reader that asks FIONREAD how much there is must find it: before
 * sk_psock.msg_tot_len (6.6.128, 6.12.75, 6.18.14, 7.0) the kernel does not
 * count bypassed bytes there, and readers such as nginx then stop at what fits
 * the buffer they have.
 *
 * Up to 256 KiB an answer is on the bypass 2.2 times as fast as over TCP on one core, and no
 * slower on two; streams do not notice (docs/performance.md).
 */
#define CREDIT		 (256 * 1024)
#define CREDIT_UNCOUNTED (4 * 1024)

/*
 * ROOM, in bytes: the unread backlog at which a direction leaves even though
 * its peer has not read all: the sender's sk_sndbuf and the reader's sk_rcvbuf,
 * which is what plain TCP holds.  Each message counts MESSAGE_COST more, for the
 * kernel's struct sk_msg.  A socket on which another thread waits in a recv gets
 * ROOM_WAITING times as much, each send past ROOM slowed down by a look: leaving
 * would end that recv with EAGAIN (reader_waits).  Below ROOM_LEAST the buffers are
 * not looked at: they are never smaller (SOCK_MIN_SNDBUF and SOCK_MIN_RCVBUF in
 * net/sock.h).  Kernels without msg_tot_len get ROOM_UNCOUNTED: 5.10 does not add
 * redirected bytes to sk_rmem_alloc, and an edge-triggered reader that had paused
 * stalls there at the boundary between the two queues.
 */
#define MESSAGE_COST   1024
#define ROOM_WAITING   4 /* times ROOM, while another thread waits in a recv */
#define ROOM_LEAST     4096
#define ROOM_UNCOUNTED (64 * 1024 * 1024)

/*
 * A look: how long, in nanoseconds, a send waits for the reader to catch up
 * before a bulk direction leaves.  At most LOOK_STEPS reads of the queue.
 */
#define LOOK_NS	   200000
#define LOOK_STEPS 1536

/*
 * A reader that shares the sender's CPU cannot run before the sender is
 * preempted: from half of ROOM on, up to PATIENCE looks are spent (5 ms, more
 * than a scheduler's tick at 250 Hz), one for each send.  A direction that leaves
 * with its reader's buffer full pays more: TCP bytes that find no room are
 * dropped, and wait for a retransmission.
 */
#define PATIENCE 25

/*
 * iSCSI's port, never admitted: the initiator hands its socket to the kernel, which
 * overwrites sk_user_data, and warns when a socket that was in a sockmap is closed then.
 */
#define PORT_ISCSI 3260

/* Ranges of ports in the filter. */
#define MAX_RANGES 64

/*
 * How long, in nanoseconds, a socket that ends its direction waits for its peer to
 * be quiet: longer than a recv or a send takes.  At most QUIET_STEPS looks.
 */
#define QUIET_NS    200000
#define QUIET_STEPS 256

/*
 * How long after its last redirect, in jiffies, the leaving of a socket with
 * several sending threads is believed while quiet() cannot tell: one of them may
 * stand between its verdict and the peer's queue.
 */
#define SETTLE_JIFFIES 250

/* Trace lines per CPU and TRACE_JIFFIES (a second where HZ is 250). */
#define TRACE_LINES   100
#define TRACE_JIFFIES 250

/*
 * One end of one connection.  Addresses are in network byte order, IPv4 as
 * ::ffff:a.b.c.d, so that an AF_INET socket meets a dual-stack one; ports and
 * sequence numbers are in host byte order.  The sequence numbers are those
 * right after the handshake: local_seq is the first byte that this end will
 * send.  netns is the namespace's inode number where either address is a
 * loopback address (such a connection cannot leave its namespace), else 0.
 */
struct sock_key {
	__be32 local_ip[4];
	__be32 remote_ip[4];
	__u32 local_seq;
	__u32 remote_seq;
	__u16 local_port;
	__u16 remote_port;
	__u32 netns;
};

_Static_assert(sizeof(struct sock_key) == 48, "sock_key has no padding: maps hash all its bytes");

/*
 * What the other end reads of a record, by address (read_view): it has no
 * reference to it.  Stale memory is harmless: once a socket has gone its key
 * has left the map, so a redirect to it finds nothing and the bytes go over TCP.
 */
struct sock_view {
	__u64 sk;	     /* struct sock, this end's */
	__u64 redirected_at; /* jiffies of the last redirect */
	__u32 turn;	     /* counts sends that found the own queue empty: all was read */
	__u8 leaving;	     /* this end sends over TCP for good */
	__u8 finished;	     /* this end has ended its direction (SHUT_WR) */
	__u8 senders;	     /* threads that have sent, or tried to: none, 1, or 2 for several */
	__u8 unused[9];
};

_Static_assert(sizeof(struct sock_view) == 2 * sizeof(struct in6_addr),
	       "read_view() copies it whole");

/*
 * A socket's own record, kept with the socket (BPF sk_storage).  Written only
 * by the programs that run on that socket, under its lock.
 */
struct sock_record {
	struct sock_view view;	  /* first: the peer's pointer points here */
	struct sock_key key;	  /* this end, in sock_ops_map */
	struct sock_key peer_key; /* the other end, the target of redirects */
	__u64 peer;		  /* the other end's struct sock_record, 0: not met */
	__u64 peer_sk;		  /* its struct sock */
	__u64 queue;		  /* &sk_psock.ingress_msg of this end, 0: not looked up */
	__u64 peer_queue;	  /* the same of the other end */
	__u64 pressure;		  /* &tcp_memory_pressure, 0: not looked up */
	__u64 sent_at;		  /* jiffies of the last send */
	__u64 since;		  /* jiffies of the oldest send that the peer may not have read */
	__u64 admitted_at;	  /* jiffies */
	__u64 admitted_ns;	  /* bpf_ktime_get_ns() of the same moment */
	__u64 burst;		  /* bytes since the peer's last turn, or since a pause */
	__u64 look_at;		  /* the burst at which the next look is due */
	__u64 unread;	 /* bytes that the peer may not have read, plus MESSAGE_COST each */
	__u64 fence;	 /* for the atomic operation of fence() */
	__u32 peer_turn; /* the peer's turn at the last send */
	__u32 write_seq; /* tcp_sock.write_seq while nothing went over TCP */
	__u32 sender;	 /* thread id of the last sender */
	__u32 cb_flags;	 /* callback flags that we have set on the socket */
	/* What socket_options.h has set, and what it was before; 0: not set. */
	__u32 probe_idle;	/* jiffies */
	__u32 program_idle;	/* jiffies */
	__u32 program_interval; /* jiffies */
	__u32 program_timeout;	/* ms */
	__u16 probe_hz;		/* jiffies of a second */
	__u8 in_map;
	__u8 looks;	     /* past half of ROOM, since the peer had read all */
	__u8 alone;	     /* no peer was admitted, and none will be */
	__u8 server;	     /* accepted here */
	__u8 probe_seconds;  /* probe_idle in seconds, 0: the keepalive is the program's */
	__u8 probe_switched; /* SO_KEEPALIVE was off */
	__u8 program_count;
	__u8 unused[7];
};

struct sock_stats {
#define COUNTER(name, text) __u64 name;
#include "counters.h"
#undef COUNTER
};

/* Per-CPU state: the counters, and what is left of the trace budget. */
struct sock_cpu {
	struct sock_stats stats;
	__u64 trace_since;  /* jiffies at which the budget was last filled */
	__u64 trace_left;   /* lines */
	__u64 trace_missed; /* lines over this budget */
};

/*
 * The switch.  Unless it is on, nothing is admitted, and a direction leaves when its
 * reader has read all: while going off, only if that disturbs no thread that waits
 * in a recv on the sending socket; once off, in any case.
 */
enum {
	SWITCH_OFF = 0,
	SWITCH_ON = 1,
	SWITCH_GOING_OFF = 2,
};

/* Written by the scripts, in the host's byte order. */
struct sock_config {
	__u64 cgroup;  /* inode number of the cgroup's directory, for the scripts alone */
	__u32 on;      /* SWITCH_* */
	__u32 quiet;   /* 1: no trace lines */
	__u32 program; /* id of bpf_sockops */
	__u32 unused;
};

_Static_assert(sizeof(struct sock_config) == 24, "lib.sh writes it");

/* Ports of the listening side, both included, in host byte order. */
struct sock_range {
	__u16 first;
	__u16 last;  /* 0: this range, and all that follow, are not in use */
	__u32 admit; /* 0: not these */
};

_Static_assert(sizeof(struct sock_range) == 8, "load.sh writes it");

/* Atomic: a softirq, or another sender after preemption, counts here as well. */
static __always_inline void add(__u64 *counter, __u64 n)
{
	__sync_fetch_and_add(counter, n);
}

static __always_inline void swap_key(struct sock_key *to, const struct sock_key *from)
{
	__builtin_memcpy(to->local_ip, from->remote_ip, sizeof(to->local_ip));
	__builtin_memcpy(to->remote_ip, from->local_ip, sizeof(to->remote_ip));
	to->local_seq = from->remote_seq;
	to->remote_seq = from->local_seq;
	to->local_port = from->remote_port;
	to->remote_port = from->local_port;
	to->netns = from->netns;
}

static __always_inline int is_mapped(const __be32 ip[4])
{
	return !ip[0] && !ip[1] && ip[2] == bpf_htonl(0xffff);
}

/*
 * Kernel memory is addressed by number here: a socket's address outlives the
 * verifier's pointer to it.  A failing read leaves zeroes.
 *
 * From 6.2 on bpf_rdonly_cast makes it a load, which the kernel lets fail; before,
 * a helper copies (25 ns instead of 1).  The enumeration is the verifier's own and
 * came with the function: should it be renamed one day, the helper serves again.
 */
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak;

enum special_kfunc_type___ours { KF_bpf_rdonly_cast___ours };

#define can_cast()                                                                                 \
	bpf_core_enum_value_exists(enum special_kfunc_type___ours, KF_bpf_rdonly_cast___ours)
#define cast(type, address)                                                                        \
	((type *)bpf_rdonly_cast((const void *)(address), bpf_core_type_id_kernel(type)))

#define read_kernel(type, address, member)                                                         \
	({                                                                                         \
		type *p__ = (type *)(address);                                                     \
		typeof(p__->member) val__ = 0;                                                     \
		if (can_cast())                                                                    \
			val__ = cast(type, p__)->member;                                           \
		else                                                                               \
			bpf_core_read(&val__, sizeof(val__), &p__->member);                        \
		val__;                                                                             \
	})

#define read_kernel_bit(type, address, member)                                                     \
	({                                                                                         \
		type *p__ = (type *)(address);                                                     \
		BPF_CORE_READ_BITFIELD_PROBED(p__, member);                                        \
	})

#define offset_of(type, member) ((__u64)__builtin_preserve_access_index(&((type *)0)->member))

/*
 * A socket's psock, 0 when it has none.  The lower bits of sk_user_data are
 * flags (SK_USER_DATA_PTRMASK in net/sock.h).  iscsi_tcp puts something else there when
 * it takes a socket over.
 */
static __always_inline __u64 psock_of(__u64 sk)
{
	__u64 psock = (__u64)read_kernel(struct sock, sk, sk_user_data) & ~7ULL;

	return psock && (__u64)read_kernel(struct sk_psock, psock, sk) == sk ? psock : 0;
}

/* The address of its queue, an empty one points at itself. */
static __always_inline __u64 psock_queue(__u64 psock)
{
	struct sk_psock *p = (struct sk_psock *)psock;

	return psock ? (__u64)__builtin_preserve_access_index(&p->ingress_msg) : 0;
}

/* One unsigned long; a list_head begins with a word of that size. */
static __always_inline __u64 read_word(__u64 address)
{
	return (__u64)read_kernel(struct list_head, address, next);
}

/* From the kernels on where FIONREAD counts bypassed bytes, see CREDIT. */
static __always_inline int counts_bypassed(void)
{
	return bpf_core_field_exists(((struct sk_psock *)0)->msg_tot_len);
}

static __always_inline int queue_empty(__u64 queue)
{
	return read_word(queue) == queue;
}

/* The kernel has no type for a record; in6_addr is 16 bytes of plain words. */
static __always_inline void read_view(struct sock_view *view, __u64 record)
{
	struct in6_addr *word = (struct in6_addr *)view;

	if (can_cast()) {
		word[0] = *cast(struct in6_addr, record);
		word[1] = *cast(struct in6_addr, record + sizeof(word[0]));
	} else {
		bpf_probe_read_kernel(view, sizeof(*view), (void *)record);
	}
}

/* The socket that has a record. */
static __always_inline __u64 sock_of(__u64 record)
{
	return read_word(record + __builtin_offsetof(struct sock_record, view.sk));
}

static __always_inline int has_ulp(__u64 sk)
{
	return read_kernel(struct tcp_sock, sk, inet_conn.icsk_ulp_ops) != 0;
}

/*
 * Has a socket an option that only TCP honours: SO_TIMESTAMP, SO_TIMESTAMPING,
 * SO_ZEROCOPY, SO_PEEK_OFF, SO_RCVLOWAT or SO_ATTACH_FILTER?  Asked at each send;
 * where a read is not just a load that would cost too much, and the answer is no.
 */
static __always_inline int needs_tcp(__u64 sk)
{
	unsigned long flags;

	if (!can_cast())
		return 0;
	flags = read_kernel(struct sock_common, sk, skc_flags);
	return flags >> bpf_core_enum_value(enum sock_flags, SOCK_RCVTSTAMP) & 1 ||
	       flags >> bpf_core_enum_value(enum sock_flags, SOCK_ZEROCOPY) & 1 ||
	       read_kernel(struct sock, sk, sk_tsflags) ||
	       read_kernel(struct sock, sk, sk_peek_off) >= 0 ||
	       read_kernel(struct sock, sk, sk_rcvlowat) > 1 ||
	       read_kernel(struct sock, sk, sk_filter);
}

/*
 * Do two sockets look alike?  A program may hand its socket to the kernel after it has
 * connected: iSCSI then reads it with callbacks, past the psock, and nbd gives up at an
 * EAGAIN.  These set sk_data_ready and sk_allocation; programs cannot.
 */
static __always_inline int alike(__u64 sk, __u64 peer_sk)
{
	return read_kernel(struct sock, sk, sk_data_ready) ==
		       read_kernel(struct sock, peer_sk, sk_data_ready) &&
	       read_kernel(struct sock, sk, sk_allocation) ==
		       read_kernel(struct sock, peer_sk, sk_allocation);
}

/*
 * Timers that not every kernel has: in 7.0 the retransmit timer moved to where
 * the keepalive timer had been, sk_timer.
 */
struct inet_connection_sock___timers {
	struct timer_list icsk_retransmit_timer;
	struct timer_list icsk_keepalive_timer;
} __attribute__((preserve_access_index));

#define timer_pending(type, sk, timer)                                                             \
	(bpf_core_field_exists(((type *)0)->timer) && read_kernel(type, sk, timer.entry.pprev) != 0)

/*
 * No thread of the peer stands between having read this end's record and this
 * end's queue: it reads the record while it holds the peer's lock, and from
 * there until its message is queued it holds a reference to our socket
 * (sk_psock_msg_verdict).  So there is none when all references are the
 * socket's own, its psock's and its timers'; others only hide a quiet peer.
 * Timers are counted last: they may go meanwhile, but none comes while we have
 * the lock.
 */
static __always_inline int own_references_only(__u64 sk)
{
	int refs = read_kernel(struct sock_common, sk, skc_refcnt.refs.counter);

	return refs == 2 + timer_pending(struct sock, sk, sk_timer) +
			       timer_pending(struct inet_connection_sock, sk, icsk_delack_timer) +
			       timer_pending(struct inet_connection_sock___timers, sk,
					     icsk_retransmit_timer) +
			       timer_pending(struct inet_connection_sock___timers, sk,
					     icsk_keepalive_timer);
}

static __always_inline int quiet(__u64 sk, __u64 peer_sk)
{
	return !read_kernel(struct sock, peer_sk, sk_lock.owned) && own_references_only(sk);
}

#if !defined(WITHOUT_MAPS) || defined(WITH_RECORDS)

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct sock_record);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} sock_ops_record SEC(".maps");

#endif

#ifndef WITHOUT_MAPS /* sock_ops_status works on the map that it is given */

/*
 * Each map is pinned under its name in /sys/fs/bpf by libbpf when the first
 * program is loaded, and found there when the second one is.
 */

/* The sockets of admitted connections, by their own key. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, MAX_SOCKETS);
	__type(key, struct sock_key);
	__type(value, __u32); /* the socket, stored by bpf_sock_hash_update */
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} sock_ops_map SEC(".maps");

/*
 * Where two ends meet, each entry under the key of the end that left it and
 * removed by the end that finds it (deleting is atomic: one of two succeeds):
 * the server's announcement (0), the client's record, the server's record.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_HANDSHAKES);
	__type(key, struct sock_key);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} sock_ops_meet SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sock_cpu);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} sock_ops_stats SEC(".maps");

/* Sizes, no types: bpftool shows a typed value only to CAP_SYS_ADMIN. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct sock_config));
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} sock_ops_config SEC(".maps");

/* The filter: the first range that holds the port decides. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_RANGES);
	__type(key, __u32);
	__type(value, struct sock_range);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} sock_ops_ports SEC(".maps");

/* Entry 0 of an array always exists: the NULL of these is the verifier's. */
static __always_inline struct sock_cpu *this_cpu(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&sock_ops_stats, &zero);
}

static __always_inline __u32 switch_state(void)
{
	__u32 zero = 0;
	struct sock_config *config = bpf_map_lookup_elem(&sock_ops_config, &zero);

	return config ? config->on : SWITCH_OFF;
}

static __always_inline int silenced(void)
{
	__u32 zero = 0;
	struct sock_config *config = bpf_map_lookup_elem(&sock_ops_config, &zero);

	return !config || config->quiet;
}

/*
 * A full memory barrier: after what the other end reads has been written, before what
 * it writes is read.  On x86 any atomic operation is one; elsewhere, as on arm64, the
 * addition without result, the only one that 5.10 has, orders nothing.  There to look
 * for a key that is never there takes the lock of its bucket and gives it back: twice,
 * that orders all that comes before with all that comes after.
 */
struct cpuinfo_x86___ours {
}; /* x86's kernels have this type */

static __always_inline void fence(struct sock_record *rec)
{
	struct sock_key never = {};

	if (bpf_core_type_exists(struct cpuinfo_x86___ours)) {
		__sync_fetch_and_add(&rec->fence, 1);
	} else {
		bpf_map_delete_elem(&sock_ops_meet, &never);
		bpf_map_delete_elem(&sock_ops_meet, &never);
	}
}

/*
 * Fetch the other end's record, if it has left one: a server learns its
 * client's at the handshake, a client its server's here.
 */
static __always_inline int meet_peer(struct sock_record *rec)
{
	__u64 *peer;

	if (rec->peer)
		return 1;
	peer = bpf_map_lookup_elem(&sock_ops_meet, &rec->peer_key);
	if (!peer || !*peer)
		return 0;
	rec->peer = *peer;
	rec->peer_sk = sock_of(rec->peer);
	bpf_map_delete_elem(&sock_ops_meet, &rec->peer_key); /* only makes room earlier */
	return 1;
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
		add(&cpu->stats.trace_unshown, lines);
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

#endif /* WITHOUT_MAPS */

#endif /* BPF_SOCKOPS_H */
