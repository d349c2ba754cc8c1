/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The guard: what sees the calls coming that read a socket past its psock, where bypassed bytes
 * would never be seen:
 *
 *   splice(2), and sendfile(2) into a pipe
 *                         wait in tcp_splice_read for bytes of TCP alone
 *   TCP_ZEROCOPY_RECEIVE  maps and copies bytes of TCP alone
 *
 * From the first such call on, the other end sends over TCP.  If bypassed bytes wait already, the
 * call gets EINVAL.  From splice(2) that means a file that cannot be spliced, from
 * TCP_ZEROCOPY_RECEIVE memory that it cannot use: most programs then read and copy.  CRIU, which
 * would copy only a part of what is unread, gets EBUSY (ebusy_of).
 *
 * A program that takes EINVAL for an error is excluded by name, or by its cgroup once it has done
 * so (remembered.h).  A program that was handed its listener never calls listen(2):
 * systemd-socket-proxyd shows itself here, when it asks whether a socket is a listener.
 *
 * There are two ways to these calls, each with its programs: bpf_guard.c and bpf_guard_trace.c.
 * First one looks, then one answers.  These may be two programs, so the record has what the second
 * needs.  Both run at each read(2), write(2) and splice(2) of any file: the cheap checks that rule
 * most calls out come first.
 *
 * A splice that io_uring makes is not seen: it is done by a worker, which has no system call.
 */
#ifndef GUARD_H
#define GUARD_H

#include "excluded.h"
#include "handover.h"
#include "remembered.h"
#include "stored.h"
#include "uapi.h"

#define MAY_READ	     4
#define EBUSY		     16
#define EINVAL		     22
#define SO_ACCEPTCONN	     30
#define TCP_QUEUE_SEQ	     21
#define TCP_ZEROCOPY_RECEIVE 35

/*
 * splice(2), and sendfile(2), which from 5.12 on takes a socket, into a pipe: x86's and arm64's,
 * for programs of 64 and of 32 bits.  No other call of these numbers reads a socket.
 */
#define SYS_SPLICE_X86	    275
#define SYS_SPLICE_IA32	    313
#define SYS_SPLICE_ARM64    76
#define SYS_SPLICE_ARM	    340
#define SYS_SENDFILE_X86    40
#define SYS_SENDFILE_IA32   187
#define SYS_SENDFILE64_IA32 239
#define SYS_SENDFILE_ARM64  71
#define SYS_SENDFILE_ARM    187
#define SYS_SENDFILE64_ARM  239

struct pt_regs___x86 {
	unsigned long orig_ax;
} __attribute__((preserve_access_index));

struct pt_regs___arm64 {
	__s32 syscallno;
} __attribute__((preserve_access_index));

static __always_inline int in_splice(void)
{
	void *regs = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	int call;

	if (bpf_core_field_exists(((struct pt_regs___x86 *)0)->orig_ax)) {
		call = ((struct pt_regs___x86 *)regs)->orig_ax;
		return call == SYS_SPLICE_X86 || call == SYS_SPLICE_IA32 ||
		       call == SYS_SENDFILE_X86 || call == SYS_SENDFILE_IA32 ||
		       call == SYS_SENDFILE64_IA32;
	}
	if (bpf_core_field_exists(((struct pt_regs___arm64 *)0)->syscallno)) {
		call = ((struct pt_regs___arm64 *)regs)->syscallno;
		return call == SYS_SPLICE_ARM64 || call == SYS_SPLICE_ARM ||
		       call == SYS_SENDFILE_ARM64 || call == SYS_SENDFILE_ARM ||
		       call == SYS_SENDFILE64_ARM;
	}
	return 0;
}

/*
 * The other end's socket, 0: none that could send here.  The record or the socket may have gone,
 * and somebody else may have written its memory: the answer of this call must not tell anything of
 * that.  So a record counts only if read_peer_key() recognises it, a socket only if its psock
 * points back.
 */
static __always_inline __u64 peer_socket(const struct sock_record *rec)
{
	__u64 record = rec->peer ? 0 : find_peer(&rec->key), sk = rec->peer_sk;
	struct sock_key key;

	if (record) {
		sk = sock_of(record); /* first, as in meet_peer() */
		if (!has_met(record, rec) || !read_peer_key(&key, record, &rec->key, rec->view.sk))
			return 0;
	}
	return sk && psock_of(sk) ? sk : 0;
}

/*
 * This call reads a socket past its psock: the other end is to send over TCP.  Do bypassed bytes
 * wait here, or may some be on their way?  As where an end has ended (handover.h): first the flag,
 * then the looks, for the peer as well (model: guard).
 */
static __always_inline void guard(struct sock *sk)
{
	struct sock_record *rec = bpf_sk_storage_get(&sock_ops_record, sk, 0, 0);
	struct sock_cpu *cpu = this_cpu();
	__u64 queue;
	int all_landed;

	if (!rec || rec->in_map != IN_MAP || !cpu)
		return;
	if (!rec->view.reads_tcp)
		count(cpu, guarded, 1);
	rec->view.reads_tcp = 1;
	fence(rec);
	all_landed = wait_until_landed(rec->view.sk, peer_socket(rec));
	queue = psock_queue(psock_of(rec->view.sk));
	/* Without a psock the socket is off the bypass. */
	if (!queue || (all_landed && queue_empty(queue))) {
		/* For all threads: nothing can wait here any more. */
		rec->einval_queue = 0;
		return;
	}
	count(cpu, guarded_unread, 1);
	keep_einval(rec, queue, all_landed);
}

/* The record of a socket that is in the map, by address; 0: none. */
static __always_inline __u64 record_in_map(__u64 sk)
{
	__u64 record = find_stored(sk, (__u64)&sock_ops_record);
	__u8 in_map = 0;

	if (!record || record == TOO_MANY) /* that many others have kept it from being admitted */
		return 0;
	bpf_probe_read_kernel(&in_map, sizeof(in_map),
			      (void *)(record + offsetof(struct sock_record, in_map)));
	return in_map == IN_MAP ? record : 0;
}

/* What guard() has found, by address. */
static __always_inline int einval_of(__u64 record)
{
	return read_number(record + offsetof(struct sock_record, einval_queue)) ? -EINVAL : 0;
}

/*
 * TCP_QUEUE_SEQ is what CRIU asks before it copies what FIONREAD and MSG_PEEK show.  These leave
 * out bytes of TCP behind bypassed ones: where there are both, it must fail, not lose some.
 */
static __always_inline int ebusy_of(__u64 sk)
{
	__u64 queue = psock_queue(psock_of(sk));
	__u32 bytes;

	if (!queue || !in_repair(sk))
		return 0;
	bytes = tcp_unread(sk);
	if (bytes && has_flag(flags_of(sk), SOCK_DONE))
		bytes--; /* the peer's FIN, as in tcp_inq() */
	return bytes && !queue_empty(queue) ? -EBUSY : 0;
}

static __always_inline int is_tcp_listener(struct sock *sk)
{
	return sk->sk_protocol == IPPROTO_TCP && sk->__sk_common.skc_state == BPF_TCP_LISTEN;
}

/* ---- the two calls ---------------------------------------------------------- */

/* The socket that a splice(2), or a sendfile(2), reads; 0: this is neither. */
static __always_inline struct sock *spliced(struct file *file, int mask)
{
	struct socket *socket;
	struct sock *sk;

	if (!(mask & MAY_READ))
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	return sk && sk->sk_user_data && in_splice() ? sk : 0;
}

/* getsockopt(2), before its answer. */
static __always_inline void look_at_getsockopt(struct sock *sk, int level, int option)
{
	if (level == IPPROTO_TCP && option == TCP_ZEROCOPY_RECEIVE)
		guard(sk);
	if (level == SOL_SOCKET && option == SO_ACCEPTCONN && is_tcp_listener(sk) &&
	    runs_excluded_program())
		set_mark(sk, MARK_EXCLUDED); /* if it fails: as if the program had not asked */
}

/* The answer to them, by the socket's address: 0, or an error. */
static __always_inline int answer_to_splice(__u64 sk)
{
	__u64 record = record_in_map(sk);

	return record ? einval_of(record) : 0;
}

static __always_inline int answer_to_getsockopt(__u64 sk, int level, int option)
{
	__u64 record;

	if (level != IPPROTO_TCP || (option != TCP_ZEROCOPY_RECEIVE && option != TCP_QUEUE_SEQ))
		return 0;
	record = record_in_map(sk);
	if (!record)
		return 0;
	return option == TCP_QUEUE_SEQ ? ebusy_of(sk) : einval_of(record);
}

#endif /* GUARD_H */
