/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What is in a psock's queue of messages (kernel_sock.h, psock_queue()).
 */
#ifndef MESSAGES_H
#define MESSAGES_H

#include "kernel_sock.h"

/* Bytes of a queue's first message that its reader has not copied yet. */
static __always_inline __u32 first_bytes(__u64 queue)
{
	__u64 first = read_word(queue);

	return first == queue ? 0
			      : read_kernel(struct sk_msg,
					    first - kernel_offset(struct sk_msg, list), sg.size);
}

/* Messages of a queue that are looked at, at most. */
#define MAX_COUNTED 256

/*
 * How many messages are in a queue, `most` + 1 for more.  Its reader takes some out meanwhile:
 * a look that strays reads zeroes, and ends.  A global function (5.6): the verifier walks it once.
 */
__noinline int messages_in(__u64 queue, int most)
{
	__u64 node = read_word(queue);
	int n = 0;

	for (int i = 0; i <= MAX_COUNTED; i++) {
		if (i > most || !node || node == queue)
			break;
		node = read_word(node);
		n++;
	}
	return n;
}

#endif /* MESSAGES_H */
