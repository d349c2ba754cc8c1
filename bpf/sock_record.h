/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the programs keep about one end of a connection: its key, and its record, which the
 * other end reads by address.
 */
#ifndef SOCK_RECORD_H
#define SOCK_RECORD_H

#include "kernel_sock.h"

/*
 * One end of one connection, as this end sees it: with NAT between them the other end sees
 * other addresses and ports.  Addresses are in network byte order, IPv4 as
 * ::ffff:a.b.c.d, so that an AF_INET socket meets a dual-stack one; ports and
 * sequence numbers are in host byte order.  The sequence numbers are those
 * right after the handshake: local_seq is the first byte that this end will
 * send.
 *
 * netns is the namespace's inode number where either address is a loopback address (such a
 * connection cannot leave its namespace), else 0, XOR key_secret() (secret.h).  A sockhash hashes
 * keys without a seed, and root of a network namespace chooses all the rest: he could fill one
 * bucket, in which each read(2) of an iterator begins anew (sock_hash_seq_start), so that a list of
 * the map never ended.  It is the first member, since jhash() begins with that.
 */
struct sock_key {
	__u32 netns;
	__be32 local_ip[4];
	__be32 remote_ip[4];
	__u32 local_seq;
	__u32 remote_seq;
	__u16 local_port;
	__u16 remote_port;
};

_Static_assert(sizeof(struct sock_key) == 48, "no padding: maps hash all its bytes");

/* The values of sock_view.left, unless 0. */
enum {
	LEFT_QUEUED = 1,    /* all that this end has redirected is in the peer's queue */
	LEFT_IN_FLIGHT = 2, /* other threads may have messages on their way there */
};

/* The values of sock_record.in_map, unless 0. */
enum {
	IN_MAP = 1,
	OUT_AS_CLOCK = 2, /* OUT, and probing for a peer that is still in the map (packets.h) */
};

/* Of sock_view.past. */
#define MANY_PAST 255

/* Of sock_view.waits_for_lock: no user's. */
#define WAITS_TO_END (~0ULL)

/*
 * What the other end reads of a record, by address (read_view): it has no
 * reference to it.  Stale memory is harmless: once a socket has gone its key
 * has left the map, so a redirect to it finds nothing and the bytes go over TCP.  It sends
 * nothing more either: at the worst our socket stays in the map.  But its user can choose what that
 * memory holds: no address and no index is taken out of it, unless read_peer_key() has recognised
 * it.
 */
struct sock_view {
	__u64 sk;	/* struct sock, this end's */
	__u32 turn;	/* counts sends that found the own queue empty: all was read */
	__u32 answers;	/* sends before which the peer had had its turn */
	__u16 account;	/* the server's place in sock_ops_accounts; a client's when it has met it */
	__u8 reads_tcp; /* this end reads past its psock (guard.h) */
	__u8 settled;	/* 1: the connection has been counted as short or long (accounts.h) */
	/* In one word, so that who reads them sees them as of one moment. */
	__u8 left;    /* LEFT*: this end has left the bypass: it sends over TCP for good */
	__u8 ended;   /* this end has ended its direction (SHUT_WR, close) */
	__u8 threads; /* that have sent, or tried to: none, 1, or 2 for several */
	__u8 past;    /* messages redirected since the other end reads_tcp; MANY_PAST: or more */
	/*
	 * Who waits here, with this end's lock, for something that may need the other end's lock.
	 * 0: nobody; 1 + the user whose send waits; WAITS_TO_END: a FIN.
	 */
	__u64 waits_for_lock;
};

_Static_assert(sizeof(struct sock_view) % sizeof(struct rlimit) == 0,
	       "copy_from_record() copies it whole");
_Static_assert(__builtin_offsetof(struct sock_view, left) % sizeof(__u32) == 0 &&
		       __builtin_offsetof(struct sock_view, threads) -
				       __builtin_offsetof(struct sock_view, left) <
			       sizeof(__u32),
	       "left and threads are read as of one moment");

/*
 * A socket's own record, kept with the socket (BPF sk_storage, sock_record_map.h) from its
 * admission until it is freed.  Written under the lock of this socket alone, by
 *
 *   O  bpf_sockops       at the handshake, and for packets sent and received
 *   B  bpf_tcpip_bypass  for sends
 *   R  sock_ops_release  at an unload
 *
 * and read by these.  The peer's programs read `view`, and `key` and `scope` when they meet,
 * without a lock; so do sock_ops_status and sock_ops_open, which read the fields marked S as well,
 * and the guard.  Only the guard writes without the lock: reads_tcp, which nobody takes back,
 * `einval_*`, and `fence`, atomically.
 */
struct sock_record {
	struct sock_view view;	  /* first, a pointer to the record is one to it: O, B; S */
	struct sock_key key;	  /* O: this end, in sock_ops_map; S */
	struct sock_key peer_key; /* O, B: the other end, the target of redirects, once met; S */
	__u64 peer;		  /* O, B: the other end's record, 0: not met; S */
	__u64 peer_sk;		  /* O, B: its struct sock; S */
	__u64 queue;		  /* B: &sk_psock.ingress_msg of this end, 0: not looked up */
	__u64 peer_queue;	  /* B: the same of the other end */
	__u64 pressure;		  /* B: &tcp_memory_pressure, 0: not looked up */
	__u64 sent_at;		  /* B: jiffies of the last send */
	__u64 unread_since;	  /* B: jiffies of the oldest send that may be unread; S */
	__u64 admitted_at;	  /* O: jiffies; S */
	__u64 admitted_ns;	  /* O: bpf_ktime_get_ns() of the same moment; S */
	__u64 burst;		  /* B: bytes since the peer's last turn, or since a pause */
	__u64 earned;		  /* B: bytes that bursts may have beyond CREDIT */
	__u64 wait_at;		  /* B: the burst at which the next wait_for_reader() is due */
	__u64 unread;		  /* B: bytes that may be unread, plus MESSAGE_COST each */
	__u64 messages;		  /* B: how many these are, at most */
	__u64 fence;		  /* O, B, guard: for the atomic operation of fence() */
	__u32 peer_turn;	  /* B: the peer's turn at the last send */
	__u32 write_seq;	  /* O: tcp_sock.write_seq while nothing went over TCP */
	__u32 thread;		  /* B: id of the thread that sent last */
	__u32 put_offs;		  /* B: sends past all bounds, in this burst or since was_read() */
	__u32 cb_flags;		  /* O, R: callback flags that we have set on the socket */
	__u32 scope;		  /* O, B: that this end was looked at in last (scope_in) */
	/* O, R: what keepalive.h has set, and what the program had set before; 0: nothing. */
	__u32 probe_idle;	/* jiffies */
	__u32 program_idle;	/* jiffies */
	__u32 program_interval; /* jiffies */
	__u32 program_timeout;	/* ms */
	__u16 probe_hz;		/* jiffies of a second */
	__u8 in_map;		/* O, R: IN_MAP, OUT_AS_CLOCK; 0: OUT, plain TCP; S */
	__u8 unused;		/* 1.1 counts waits here */
	__u8 alone;		/* O, B: no peer was admitted, and none will be */
	__u8 server;		/* O: accepted here; S */
	__u8 probe_seconds;	/* probe_idle in seconds, 0: the keepalive is the program's */
	__u8 probe_switched;	/* SO_KEEPALIVE was off */
	__u8 program_count;
	__u8 changed;  /* what else was set: an enum of keepalive.h */
	__u8 reason;   /* O, B: why this direction is back on TCP: an enum counter; S */
	__u8 in_parts; /* B: a message of this burst was PART_OF_SEND or more */
	__u8 outside;  /* B: of that scope */
	/* O, R: also of keepalive.h.  Unused up to 1.1, so 0 in its records. */
	__u8 raised_count;	/* of probes, until there is an answer, 0: it is the program's */
	__u16 probes_since_fin; /* of the other end; each a second after the one before */
	/* By bpf_guard: its answer, and what waited when a call got EINVAL here. */
	__u64 einval_queue;    /* &sk_psock.ingress_msg; 0: the last such call may go on */
	__u32 einval_bytes;    /* unread ones of its first message, 0: what waited is not known */
	__u16 einval_messages; /* in that queue */
	__u16 einval_past;     /* the peer's `past` */
};

static __always_inline int is_mapped(const __be32 ip[4])
{
	return !ip[0] && !ip[1] && ip[2] == bpf_htonl(0xffff);
}

/* The kernel has no type for a record; rlimit is two plain words of 64 bits. */
static __always_inline void copy_from_record(void *to, __u64 from, __u32 size)
{
	struct rlimit *words = to;

	if (!can_cast()) {
		bpf_probe_read_kernel(to, size, (void *)from);
		return;
	}
	for (__u32 i = 0; i < size / sizeof(*words); i++)
		words[i] = *cast(struct rlimit, from + i * sizeof(*words));
}

static __always_inline void read_view(struct sock_view *view, __u64 record)
{
	copy_from_record(view, record, sizeof(*view));
}

/* The socket that has a record. */
static __always_inline __u64 sock_of(__u64 record)
{
	return read_number(record + __builtin_offsetof(struct sock_record, view.sk));
}

#endif /* SOCK_RECORD_H */
