/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What maps of BPF_MAP_TYPE_SK_STORAGE keep with a socket: a list.  By addresses, for programs that
 * may not ask such a map, or see the socket as a number.
 */
#ifndef STORED_H
#define STORED_H

#include "read_kernel.h"

/*
 * The first node, the one after a node (0: there is none), and the struct bpf_local_storage_data
 * around one.
 */
static __always_inline __u64 first_stored(__u64 sk)
{
	__u64 storage = (__u64)read_kernel(struct sock, sk, sk_bpf_storage);

	return storage ? read_number(storage + kernel_offset(struct bpf_local_storage, list.first))
		       : 0;
}

static __always_inline __u64 next_stored(__u64 node)
{
	return read_number(node + kernel_offset(struct hlist_node, next));
}

static __always_inline __u64 stored_at(__u64 node)
{
	return node - kernel_offset(struct bpf_local_storage_elem, snode) +
	       kernel_offset(struct bpf_local_storage_elem, sdata);
}

/* Maps that keep something with one socket, at most. */
#define MAX_STORED 16
#define TOO_MANY   (~0ULL)

/*
 * Where such a map keeps what it has of a socket; 0: it has nothing; TOO_MANY: not known, behind
 * what MAX_STORED others have.
 */
static __always_inline __u64 find_stored(__u64 sk, __u64 map)
{
	__u64 node = first_stored(sk), data;

	for (int i = 0; i < MAX_STORED && node; i++) {
		data = stored_at(node);
		if ((__u64)read_kernel(struct bpf_local_storage_data, data, smap) == map)
			return data + kernel_offset(struct bpf_local_storage_data, data);
		node = next_stored(node);
	}
	return node ? TOO_MANY : 0;
}

#endif /* STORED_H */
