/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The switch and the terms of admission, which the scripts write.
 */
#ifndef CONFIG_H
#define CONFIG_H

#include "kernel_sock.h"

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
	__u32 state;   /* SWITCH_* */
	__u32 quiet;   /* 1: no trace lines */
	__u32 program; /* id of bpf_sockops */
	__u32 terms;   /* ADMIT_*, together, and from SCOPE_SHIFT on the number of the scope */
};

/* Flags: who may be admitted. */
enum {
	ADMIT_MPTCP = 1,       /* to a listener of Multipath TCP */
	ADMIT_SHORT = 2,       /* although those before were short (accounts.h) */
	ADMIT_ALL_CGROUPS = 4, /* no cgroup is excluded (cgroups.h) */
	ADMIT_NEW_ALONE = 8,   /* fewer: only to listeners that called listen(2) since it was set */
	ADMIT_ZEROCOPY = 16,   /* of sockets with SO_ZEROCOPY */
};

_Static_assert(sizeof(struct sock_config) == 24, "lib/config.sh writes it");

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

	return config ? config->state : SWITCH_OFF;
}

/*
 * The terms of admission.  Read once for each decision, which then goes by one
 * scope (ports.h, cgroups.h), although load.sh --reload may change it meanwhile.  bpf_sockops
 * decides at each handshake; bpf_tcpip_bypass at the first send of each direction after a change.
 */
static __always_inline __u32 terms_now(void)
{
	struct sock_config *config = this_config();

	return config ? config->terms : 0;
}

#define SCOPE_SHIFT 8

/* The scope's number: of 24 bits. */
static __always_inline __u32 scope_in(__u32 terms)
{
	return terms >> SCOPE_SHIFT;
}

/*
 * The marks of new listeners (ADMIT_NEW_ALONE) count in all scopes whose numbers differ in their
 * last 8 bits alone: load.sh --reload goes on with them where it cannot see what listens.
 */
static __always_inline __u32 scopes_of_marks(__u32 scope)
{
	return scope >> 8;
}

#endif /* CONFIG_H */
