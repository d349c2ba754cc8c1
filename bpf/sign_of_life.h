/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An iterator must print something now and then: a read(2) of it that goes through a million
 * objects and has nothing to give fails with EAGAIN (bpf_seq_read, MAX_ITER_OBJECTS).
 */
#ifndef SIGN_OF_LIFE_H
#define SIGN_OF_LIFE_H

#include "kernel_sock.h"

#define SIGN_OF_LIFE 65536 /* objects */

static __always_inline void give_sign_of_life(struct bpf_iter_meta *meta)
{
	if (!(meta->seq_num % SIGN_OF_LIFE))
		BPF_SEQ_PRINTF(meta->seq, "\n");
}

#endif /* SIGN_OF_LIFE_H */
