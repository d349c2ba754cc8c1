// SPDX-License-Identifier: GPL-2.0
/*
 * A sock_ops program that does nothing: bench/count.sh counts what the kernel's way to any takes.
 */
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

SEC("sockops")
int other_empty(void *skops __attribute__((unused)))
{
	return 1;
}

char _license[] SEC("license") = "GPL";
