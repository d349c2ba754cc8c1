/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The memory that a redirect may lack: TCP's, and that of the reader's memory cgroup.  To the
 * latter it charges the message (sk_wmem_schedule in bpf_tcp_ingress), with the right to reclaim
 * memory there, and to kill for it: the sender may be a stranger.  TCP charges in a softirq, and
 * drops the packet instead.
 */
#ifndef MEMORY_H
#define MEMORY_H

#include "sock_record.h"

/*
 * Once TCP's memory has come to its limit, a redirect fails with ENOMEM, where TCP
 * makes the sender wait (sk_wmem_schedule in bpf_tcp_ingress).  The pressure begins
 * before that (tcp_mem[1]), but each CPU counts up to 1 MiB late (SK_MEMORY_PCPU_RESERVE):
 * where tcp_mem leaves less than that and a message between the two, a send may fail.
 */
static __always_inline int memory_pressure(struct sock_record *rec)
{
	if (!rec->pressure) {
		struct proto *prot = read_kernel(struct sock_common, rec->view.sk, skc_prot);

		rec->pressure = (__u64)read_kernel(struct proto, prot, memory_pressure);
	}
	return read_word(rec->pressure) != 0;
}

#define MEMCG_LEVELS 16
#define MEMCG_PAGE   4096 /* bytes, at least */

/* Sockets have one in cgroup v2, and in v1 with memory.kmem.tcp.limit_in_bytes.  0: none. */
static __always_inline __u64 memcg_of(__u64 sk)
{
	if (!bpf_core_field_exists(((struct sock *)0)->sk_memcg))
		return 0;
	return read_number(sk + kernel_offset(struct sock, sk_memcg)) &
	       ~7ULL; /* flags, where the kernel has any */
}

static __always_inline int is_tcpmem(__u64 memcg)
{
	return bpf_core_field_exists(((struct mem_cgroup *)0)->tcpmem) &&
	       read_kernel(struct mem_cgroup, memcg, tcpmem_active);
}

/* Bytes to the next limit, memory.high and memory.max, of the cgroup or of one above it. */
__noinline __u64 memcg_room(__u64 sk)
{
	__u64 memcg = memcg_of(sk), counter, room = ~0ULL, most, high, used;

	if (!memcg)
		return room;
	counter = memcg + kernel_offset(struct mem_cgroup, memory);
	if (is_tcpmem(memcg))
		counter = memcg + kernel_offset(struct mem_cgroup, tcpmem);
	for (int i = 0; i < MEMCG_LEVELS && counter; i++) {
		used = read_kernel(struct page_counter, counter, usage.counter);
		most = read_kernel(struct page_counter, counter, max);
		high = read_kernel(struct page_counter, counter, high);
		if (high < most)
			most = high;
		most = used < most ? most - used : 0;
		if (most < room)
			room = most;
		counter = (__u64)read_kernel(struct page_counter, counter, parent);
	}
	return room < ~0ULL / MEMCG_PAGE ? room * MEMCG_PAGE : room;
}

/* Has it refused memory, or reclaimed some with an effort (mem_cgroup_under_socket_pressure)? */
static __always_inline int memcg_pressure(__u64 sk, __u64 jiffies)
{
	__u64 memcg = memcg_of(sk);

	if (!memcg)
		return 0;
	if (is_tcpmem(memcg))
		return read_kernel(struct mem_cgroup, memcg, tcpmem_pressure) != 0;
	return (__s64)(jiffies - read_kernel(struct mem_cgroup, memcg, socket_pressure)) < 0;
}

#endif /* MEMORY_H */
