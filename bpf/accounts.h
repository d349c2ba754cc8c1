/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Short connections are left to TCP: sock_ops_accounts.
 *
 * Admitting a connection and taking it out again costs as much as a few round trips over it gain:
 * one that ends after the first answer is better left to TCP.  Nothing tells at the SYN how long a
 * connection will live, but those of one process to one server are much alike.  So connections that
 * were short spend a budget, longer ones pay it back, and while it is spent the server's end makes
 * no announcement: its client finds nothing, and both are plain TCP from the first byte.
 *
 * What is learned here decides about announcements alone: no order of bytes rests on it, and no
 * more than speed is lost where two share an account by chance.
 */
#ifndef ACCOUNTS_H
#define ACCOUNTS_H

#include "kernel_task.h"
#include "secret.h"
#include "sock_record.h"

/* A connection is short when its server has answered so many times, at most. */
#define SHORT_ANSWERS 2

/*
 * Short connections in a window, after which no more are announced in it.  A window is 2 to the
 * power of WINDOW_BITS nanoseconds, a second.  So short connections cost next to nothing, and
 * a process that begins to hold its connections longer is noticed within a window.
 */
#define SHORT_BUDGET 48
#define WINDOW_BITS  30

/*
 * After 2 to the power of EPOCH_BITS windows each has another account: with listeners of his own
 * and sock_diag, which shows whose connections are on TCP, a stranger can find one that shares the
 * account of a process, in a minute or two.  Who pays or spends after that does so for another.
 */
#define EPOCH_BITS 3

/* A connection pays each time that its server has answered so many times, and at its end. */
#define PAID_IN_ANSWERS 64

/* Of a connection that is nobody's: it spends nothing, and pays nothing. */
#define NO_ACCOUNT MAX_ACCOUNTS

/* NULL for NO_ACCOUNT; else the entry exists. */
static __always_inline struct sock_account *account_at(__u32 index)
{
	if (index == NO_ACCOUNT)
		return 0;
	index &= MAX_ACCOUNTS - 1;
	return bpf_map_lookup_elem(&sock_ops_accounts, &index);
}

/*
 * The account of a server's socket, or of its request sock: by network namespace, port, epoch, and
 * the process that connects.  Over loopback and veth all packets of a handshake are handled in its
 * connect(); where they are not, in whatever runs then (runs_in_client).
 */
static __noinline __u32 account_of(__u64 sk)
{
	__u64 netns = read_kernel(struct net, netns_of(sk), ns.inum), task = bpf_get_current_task();
	__u64 port = read_kernel(struct sock_common, sk, skc_num);
	__u64 process = read_kernel(struct task_struct, task, tgid);
	__u64 epoch = bpf_ktime_get_ns() >> (WINDOW_BITS + EPOCH_BITS);
	__u64 *secret = secrets();

	if (!secret)
		return 0;
	return mix(mix(netns << 16 ^ port ^ secret[0]) ^ epoch << 32 ^ process ^ secret[1]) >>
	       (64 - ACCOUNT_BITS);
}

/*
 * Does a program run that may be the one of this client's socket, by its user and cgroup?  A
 * stranger can have the timer of a delayed ACK send the last packet of his handshake, in whatever
 * runs on that CPU: what he spends must not be another program's.
 */
static __always_inline int runs_in_client(__u64 client)
{
	__u64 task = bpf_get_current_task(), cgroup = cgroup_of(client);

	return uid_of_task(task) == read_kernel(struct sock, client, sk_uid.val) &&
	       (!cgroup || cgroup_of_task(task) == cgroup);
}

/* Have connections like this one spent their budget? */
static __always_inline int budget_spent(__u64 sk)
{
	struct sock_account *account = account_at(account_of(sk));

	return account && account->spent >= SHORT_BUDGET &&
	       account->window == bpf_ktime_get_ns() >> WINDOW_BITS;
}

/* Several may pay or spend at once, and a window end meanwhile: some of it may be lost. */
static __always_inline void pay(__u32 index, __u64 answers)
{
	struct sock_account *account = account_at(index);

	if (account && account->spent)
		account->spent -= account->spent < answers ? account->spent : answers;
}

static __always_inline void spend(__u32 index)
{
	struct sock_account *account = account_at(index);
	__u64 window = bpf_ktime_get_ns() >> WINDOW_BITS;

	if (!account)
		return;
	if (account->window != window) {
		account->window = window;
		account->spent = 0;
	}
	__sync_fetch_and_add(&account->spent, 1);
}

/* This end has answered once more. */
static __always_inline void count_answer(struct sock_record *rec)
{
	rec->view.answers++;
	if (rec->server && rec->view.answers % PAID_IN_ANSWERS == 0)
		pay(rec->view.account, PAID_IN_ANSWERS);
}

/*
 * A connection ends, or its server leaves the map: settled once, by the server's end.  Only the end
 * that sends a reset hears of it.  If that is the client, it settles, provided that the server's
 * record is still there.
 */
static __always_inline void settle(struct sock_record *rec, int by_client)
{
	struct sock_view server = rec->view;

	if (!rec->server) {
		if (!by_client)
			return;
		read_view(&server, rec->peer);
	}
	if (server.settled || rec->view.settled)
		return;
	rec->view.settled = 1;
	if (server.answers <= SHORT_ANSWERS)
		spend(rec->view.account);
	else
		pay(rec->view.account, server.answers % PAID_IN_ANSWERS);
}

#endif /* ACCOUNTS_H */
