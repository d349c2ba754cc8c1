/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How to look at a task of the kernel by its address.
 */
#ifndef KERNEL_TASK_H
#define KERNEL_TASK_H

#include "kernel_sock.h"

/* Its pid as the process that reads the list would call it, which may be in a container. */
static __always_inline __u32 pid_of(__u64 task)
{
	__u64 reader = (__u64)read_kernel(struct task_struct, bpf_get_current_task(), thread_pid);
	__u64 pid = (__u64)read_kernel(struct task_struct, task, thread_pid);
	__u32 level = read_kernel(struct pid, reader, level);

	pid += kernel_offset(struct pid, numbers) + level * bpf_core_type_size(struct upid);
	return read_kernel(struct upid, pid, nr);
}

static __always_inline __u32 uid_of_task(__u64 task)
{
	__u64 cred = (__u64)read_kernel(struct task_struct, task, cred);

	return read_kernel(struct cred, cred, uid.val);
}

/* Who has logged in, if anybody: also where he runs a setuid program. */
static __always_inline __u32 owner_of_task(__u64 task)
{
	__u32 login = -1;

	if (bpf_core_field_exists(((struct task_struct *)0)->loginuid)) /* CONFIG_AUDIT */
		login = read_kernel(struct task_struct, task, loginuid.val);
	return login == (__u32)-1 ? uid_of_task(task) : login;
}

/* Of cgroup v2. */
static __always_inline __u64 cgroup_of_task(__u64 task)
{
	__u64 set = (__u64)read_kernel(struct task_struct, task, cgroups);

	return (__u64)read_kernel(struct css_set, set, dfl_cgrp);
}

#endif /* KERNEL_TASK_H */
