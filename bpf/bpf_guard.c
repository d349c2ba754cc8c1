// SPDX-License-Identifier: GPL-2.0
/*
 * bpf_guard: two lsm_cgroup programs, attached to the cgroup as bpf_sockops is.  They see the calls
 * coming that read a socket past its psock, where bypassed bytes would never be seen:
 *
 *   splice(2)             waits in tcp_splice_read for bytes of TCP alone
 *   TCP_ZEROCOPY_RECEIVE  maps and copies bytes of TCP alone
 *
 * From the first such call on, the other end sends over TCP.  If bypassed bytes wait already, the
 * call gets EINVAL.  From splice(2) that means a file that cannot be spliced, from
 * TCP_ZEROCOPY_RECEIVE memory that it cannot use: most programs then read and copy.  And one that
 * copies a part of what is unread: guard_repair().
 *
 * A program that takes EINVAL for an error is excluded by name, or by its cgroup once it has done
 * so (excluded.h).  A program that was handed its listener never calls listen(2):
 * systemd-socket-proxyd shows itself here, when it asks whether a socket is a listener.
 *
 * bpf_guard (file_permission) is asked at each read(2), write(2) and splice(2) of programs under
 * the cgroup, of any file: what is cheap and rules most out comes first.  bpf_guard_get is asked at
 * getsockopt(2).
 *
 * Needs 6.0, and BPF among the active LSMs.  A splice that io_uring makes is not seen: it is
 * done by a worker, which has no system call.
 */
#include "excluded.h"
#include "handover.h"

#define MAY_READ	     4
#define EBUSY		     16
#define EINVAL		     22
#define SOL_SOCKET	     1
#define SO_ACCEPTCONN	     30
#define TCP_LISTEN	     10
#define IPPROTO_TCP	     6
#define TCP_QUEUE_SEQ	     21
#define TCP_ZEROCOPY_RECEIVE 35

/* x86's 64-bit and 32-bit ones, and arm64's: no other call of these numbers reads a socket. */
#define SYS_SPLICE_X86	 275
#define SYS_SPLICE_IA32	 313
#define SYS_SPLICE_ARM64 76

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
		return call == SYS_SPLICE_X86 || call == SYS_SPLICE_IA32;
	}
	if (bpf_core_field_exists(((struct pt_regs___arm64 *)0)->syscallno))
		return ((struct pt_regs___arm64 *)regs)->syscallno == SYS_SPLICE_ARM64;
	return 0;
}

/*
 * The other end's socket, 0: none that could send here.  Its record, or the socket, may have gone,
 * and the memory be what somebody else has written, which this call's answer must not tell: so a
 * record is one that read_peer_key() recognises, and a socket one whose psock has its address.
 */
static __always_inline __u64 peer_socket(const struct sock_record *rec)
{
	__u64 record = rec->peer ? 0 : find_peer(&rec->key), sk = rec->peer_sk;
	struct sock_key key;

	if (record) {
		sk = sock_of(record); /* first, as in meet_peer() */
		if (!read_peer_key(&key, record, &rec->key, rec->view.sk))
			return 0;
	}
	return sk && psock_of(sk) ? sk : 0;
}

/*
 * The other end is to send over TCP.  Do bypassed bytes wait here, or may some be on their way?
 * As where an end has ended (handover.h): first the flag, then the looks, for the peer as well
 * (model: guard).
 */
static __always_inline int has_unread(struct sock_record *rec)
{
	__u64 queue;

	rec->view.reads_tcp = 1;
	fence(rec);
	if (!wait_until_landed(rec->view.sk, peer_socket(rec)))
		return 1;
	queue = psock_queue(psock_of(rec->view.sk));
	return queue && !queue_empty(queue);
}

/* What it does with these bytes, shows whether it can live with EINVAL (excluded.h). */
static __always_inline void answer_einval(struct sock_record *rec)
{
	__u64 queue = psock_queue(psock_of(rec->view.sk));

	bpf_set_retval(-EINVAL); /* cannot fail: hook and number are right */
	if (!queue || queue_empty(queue))
		return;
	rec->einval_queue = queue;
	rec->einval_first = read_word(queue);
}

/* This call reads a socket past its psock. */
static __always_inline void guard(struct sock *sk)
{
	struct sock_record *rec = bpf_sk_storage_get(&sock_ops_record, sk, 0, 0);
	struct sock_cpu *cpu = this_cpu();

	if (!rec || !rec->in_map || !cpu)
		return;
	if (!rec->view.reads_tcp)
		count(cpu, guarded, 1);
	if (has_unread(rec)) {
		count(cpu, guarded_unread, 1);
		answer_einval(rec);
	}
}

/*
 * TCP_QUEUE_SEQ is what CRIU asks before it copies what FIONREAD and MSG_PEEK show.  These leave
 * out bytes of TCP behind bypassed ones: where there are both, it must fail, not lose some.
 */
static __always_inline void guard_repair(struct sock *sk)
{
	struct sock_record *rec = bpf_sk_storage_get(&sock_ops_record, sk, 0, 0);
	__u32 bytes;
	__u64 queue;

	if (!rec || !rec->in_map || !in_repair(rec->view.sk))
		return;
	queue = psock_queue(psock_of(rec->view.sk));
	bytes = tcp_unread(rec->view.sk);
	if (bytes && has_flag(flags_of(rec->view.sk), SOCK_DONE))
		bytes--; /* the peer's FIN, as in tcp_inq() */
	if (bytes && queue && !queue_empty(queue))
		bpf_set_retval(-EBUSY); /* cannot fail, as above */
}

SEC("lsm_cgroup/file_permission")
int bpf_guard(unsigned long long *ctx)
{
	struct file *file = (struct file *)ctx[0];
	int mask = ctx[1];
	struct socket *socket;
	struct sock *sk;

	if (!(mask & MAY_READ))
		return 1;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 1;
	sk = socket->sk;
	if (sk && sk->sk_user_data && in_splice())
		guard(sk);
	return 1;
}

static __always_inline int is_tcp_listener(struct sock *sk)
{
	return sk->sk_protocol == IPPROTO_TCP && sk->__sk_common.skc_state == TCP_LISTEN;
}

SEC("lsm_cgroup/socket_getsockopt")
int bpf_guard_get(unsigned long long *ctx)
{
	struct socket *socket = (struct socket *)ctx[0];
	int level = ctx[1], option = ctx[2];
	struct sock *sk = socket->sk;

	if (!sk)
		return 1;
	if (level == IPPROTO_TCP && option == TCP_ZEROCOPY_RECEIVE)
		guard(sk);
	if (level == IPPROTO_TCP && option == TCP_QUEUE_SEQ)
		guard_repair(sk);
	if (level == SOL_SOCKET && option == SO_ACCEPTCONN && is_tcp_listener(sk) &&
	    runs_excluded_program())
		set_mark(sk, MARK_EXCLUDED); /* failing, as one that does not ask */
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
