/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Two random numbers, which load.sh draws, and what is made of them: the hash of account_of(), and
 * a number in the keys of the socket map.
 *
 * All else that account_of() hashes, and all else in a sock_key, is public: without them a stranger
 * could choose a port and a process of his own that share the account of a program, and spend its
 * budget.  Not bpf_get_prandom_u32(): any user can work out its numbers, from a socket filter that
 * returns them.
 */
#ifndef SECRET_H
#define SECRET_H

#include "accounts_map.h"

static __always_inline __u64 *secrets(void)
{
	__u32 index = SECRET;

	return bpf_map_lookup_elem(&sock_ops_accounts, &index);
}

/*
 * The multipliers are odd and without pattern (multiplicative hashing).  They carry upwards only:
 * so the upper half is folded down, or words that differ little would meet for most secrets.
 */
static __always_inline __u64 mix(__u64 hash)
{
	hash *= 0x9e3779b97f4a7c15ULL;
	hash = (hash ^ hash >> 32) * 0xc2b2ae3d27d4eb4fULL;
	return hash ^ hash >> 32;
}

/* For the keys of the map: a number that tells nothing of those that account_of() takes. */
static __always_inline __u32 key_secret(void)
{
	__u64 *secret = secrets();

	return secret ? mix(secret[0] ^ mix(secret[1])) : 0;
}

#endif /* SECRET_H */
