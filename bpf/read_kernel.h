/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How kernel memory is read by its address, with offsets that libbpf relocates.
 *
 * What is read may change at any moment, unless a comment says which lock holds it still.
 */
#ifndef READ_KERNEL_H
#define READ_KERNEL_H

#define BPF_NO_PRESERVE_ACCESS_INDEX /* contexts must not be relocated */
#include <vmlinux.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/*
 * Kernel memory is addressed by number here: a socket's address outlives the
 * verifier's pointer to it.  A failing read leaves zeroes.
 *
 * From 6.2 on bpf_rdonly_cast makes it a load, which the kernel lets fail; before,
 * a helper copies (28 ns instead of 1).  The enumeration is the verifier's own and
 * came with the function: should it be renamed one day, the helper serves again.
 */
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak;

enum special_kfunc_type___ours { KF_bpf_rdonly_cast___ours };

#define can_cast()                                                                                 \
	bpf_core_enum_value_exists(enum special_kfunc_type___ours, KF_bpf_rdonly_cast___ours)
#define cast(type, address)                                                                        \
	((type *)bpf_rdonly_cast((const void *)(address), bpf_core_type_id_kernel(type)))

/* Else clang lets the load and the helper share an address, calculated beforehand. */
#define load_member(object, member)                                                                \
	({                                                                                         \
		typeof((object)->member) val__ = (object)->member;                                 \
		asm volatile("" : "+r"(val__));                                                    \
		val__;                                                                             \
	})
#define copy_member(object, member)                                                                \
	({                                                                                         \
		typeof((object)->member) val__ = 0;                                                \
		bpf_core_read((void *)&val__, sizeof(val__), &(object)->member);                   \
		val__;                                                                             \
	})

#define read_kernel(type, address, member)                                                         \
	({                                                                                         \
		type *p__ = (type *)(address);                                                     \
		can_cast() ? load_member(cast(type, p__), member) : copy_member(p__, member);      \
	})

/* Of several members of one object: look_at() it once. */
#define look_at(type, address) (can_cast() ? cast(type, address) : (type *)(address))
#define read_member(object, member)                                                                \
	(can_cast() ? load_member(object, member) : copy_member(object, member))

#define read_kernel_bit(type, address, member)                                                     \
	({                                                                                         \
		type *p__ = (type *)(address);                                                     \
		BPF_CORE_READ_BITFIELD_PROBED(p__, member);                                        \
	})

/*
 * An address for a load that has to come after the one that gave `value`: it depends on it.
 * Two plain loads arm64 may swap.
 */
static __always_inline __u64 after(__u64 value, __u64 address)
{
	asm volatile("%0 ^= %0" : "+r"(value));
	return address + value;
}

#define kernel_offset(type, member) ((__u64)__builtin_preserve_access_index(&((type *)0)->member))

/* One unsigned long; a list_head begins with a word of that size. */
static __always_inline __u64 read_word(__u64 address)
{
	return (__u64)read_kernel(struct list_head, address, next);
}

/* The same as a number: the verifier refuses to calculate with what may be a pointer. */
static __always_inline __u64 read_number(__u64 address)
{
	return read_kernel(struct rlimit, address, rlim_cur);
}

#endif /* READ_KERNEL_H */
