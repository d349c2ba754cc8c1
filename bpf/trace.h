/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The lines in the kernel's trace.
 */
#ifndef TRACE_H
#define TRACE_H

#include "config.h"
#include "sock_record.h"
#include "stats.h"

/*
 * Trace lines per CPU and TRACE_JIFFIES, a second where HZ is 250: enough to watch a few
 * programs, too few to slow down many.
 */
#define TRACE_LINES   100
#define TRACE_JIFFIES 250

static __always_inline int silenced(void)
{
	struct sock_config *config = this_config();

	return !config || config->quiet;
}

/*
 * Is there budget for so many trace lines?  The first call after a budget was
 * overdrawn says by how much.
 */
static __always_inline int may_trace(struct sock_cpu *cpu, __u32 lines)
{
	__u64 now;

	if (silenced())
		return 0;
	now = bpf_jiffies64();
	if (now - cpu->trace_since >= TRACE_JIFFIES) {
		if (cpu->trace_missed)
			bpf_printk("trace budget: %u lines not shown", cpu->trace_missed);
		cpu->trace_since = now;
		cpu->trace_left = TRACE_LINES;
		cpu->trace_missed = 0;
	}
	if (cpu->trace_left < lines) {
		cpu->trace_missed += lines;
		return 0;
	}
	cpu->trace_left -= lines;
	return 1;
}

/*
 * One line with the two addresses of a key.  %pI4 and %pI6 need 5.13: older
 * kernels refuse the format and the line is missing there.
 */
#define trace_addresses(what, arrow, key)                                                          \
	do {                                                                                       \
		if (is_mapped((key)->local_ip))                                                    \
			bpf_printk(what ": %pI4 " arrow " %pI4", &(key)->local_ip[3],              \
				   &(key)->remote_ip[3]);                                          \
		else                                                                               \
			bpf_printk(what ": %pI6 " arrow " %pI6", (key)->local_ip,                  \
				   (key)->remote_ip);                                              \
	} while (0)

#endif /* TRACE_H */
