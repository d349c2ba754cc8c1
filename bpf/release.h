/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a socket gets when it has left the map, by a packet or by an unload: back what it had
 * before.
 */
#ifndef RELEASE_H
#define RELEASE_H

#include "keepalive.h"

#define SO_RCVLOWAT 18

/*
 * A reader that got 0 from FIONREAD, or has stopped at a short read, waits for an event.  Setting
 * SO_RCVLOWAT to the value that it has brings one, if there are bytes (tcp_set_rcvlowat, reached
 * from here since 6.1).
 */
static __always_inline void wake_reader(void *socket, __u64 sk)
{
	int bytes = read_kernel(struct sock, sk, sk_rcvlowat);

	if (tcp_unread(sk))
		bpf_setsockopt(socket, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
}

/* The socket has left the map, and its reader was woken. */
static __always_inline void release_socket(void *socket, struct sock_record *rec)
{
	rec->in_map = 0;
	stop_probing(socket, rec);
	if (rec->raised_count)
		give_count_back(socket, rec, rec->raised_count);
}

#endif /* RELEASE_H */
