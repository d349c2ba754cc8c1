/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The map of the accounts of short connections (accounts.h), with the secret behind them
 * (secret.h).
 */
#ifndef ACCOUNTS_MAP_H
#define ACCOUNTS_MAP_H

#include "sock_record.h"

/* Entries, and the bits of their number. */
#define ACCOUNT_BITS 12
#define MAX_ACCOUNTS (1 << ACCOUNT_BITS)

_Static_assert(ACCOUNT_BITS < 8 * sizeof(((struct sock_view *)0)->account), "it has room");

struct sock_account {
	__u64 window; /* the last one with a short connection */
	__u64 spent;  /* in it: short connections, less what the others have paid */
};

/* The entry behind the accounts has the secret instead. */
#define SECRET MAX_ACCOUNTS

_Static_assert(sizeof(struct sock_account) == 2 * sizeof(__u64), "lib/updates.sh writes it");

/* By account_of().  Sizes, no types: load.sh must be able to read it, as sock_ops_config. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_ACCOUNTS + 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct sock_account));
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} sock_ops_accounts SEC(".maps");

#endif /* ACCOUNTS_MAP_H */
