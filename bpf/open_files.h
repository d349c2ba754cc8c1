/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the iterators over the open files of all processes have in common (iter/task_file, from 5.8
 * on): the process, and the socket that is behind a file.
 */
#ifndef OPEN_FILES_H
#define OPEN_FILES_H

#include "kernel_task.h"
#include "sign_of_life.h"

/*
 * Tables of open files that a list has come to, by address: the thread with which it came there
 * first, and the process that it named then.  Any user can have thousands of threads share one
 * (CLONE_FILES).
 */
struct table_key {
	__u64 files;
	__u64 list;
};

struct table {
	__u64 task;
	__u64 named;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct table_key);
	__type(value, struct table);
} sock_ops_tables SEC(".maps");

/*
 * Has this list been through the files of a thread already, with another thread?  `named`: its
 * process, where each process is to be named; 0: one of those that share the files is enough.
 */
static __always_inline int is_shared(__u64 task, __u64 list, __u64 named)
{
	struct table_key key = {
		.files = (__u64)read_kernel(struct task_struct, task, files),
		.list = list,
	};
	struct table own = {.task = task, .named = named}, *before;

	before = bpf_map_lookup_elem(&sock_ops_tables, &key);
	if (before && before->task == task)
		return 0;
	if (before && before->named == named)
		return 1;
	bpf_map_update_elem(&sock_ops_tables, &key, &own, BPF_ANY);
	return 0;
}

#define KIND_OF_FILE 0170000
#define KIND_SOCKET  0140000

/* The socket behind a file, 0: there is none. */
static __always_inline __u64 socket_of(__u64 file)
{
	__u64 inode = (__u64)read_kernel(struct file, file, f_inode), socket;

	if ((read_kernel(struct inode, inode, i_mode) & KIND_OF_FILE) != KIND_SOCKET)
		return 0;
	/* The name of a unix socket, opened with O_PATH, has none. */
	socket = (__u64)read_kernel(struct file, file, private_data);
	if (!socket || (__u64)read_kernel(struct socket, socket, file) != file)
		return 0;
	return read_number(socket + kernel_offset(struct socket, sk));
}

/*
 * The columns `pid` and `name` of a process, by its main thread, whose name is the program's: 16
 * bytes, which any user chooses, as 32 hexadecimal digits.
 */
static __always_inline void print_program(struct seq_file *seq, __u64 leader)
{
	__u32 name[4] = {};

	bpf_probe_read_kernel_str(name, sizeof(name),
				  (void *)(leader + kernel_offset(struct task_struct, comm)));
	BPF_SEQ_PRINTF(seq, "%u %08x%08x%08x%08x ", pid_of(leader), bpf_htonl(name[0]),
		       bpf_htonl(name[1]), bpf_htonl(name[2]), bpf_htonl(name[3]));
}

#endif /* OPEN_FILES_H */
