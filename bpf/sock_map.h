/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The sockets of admitted connections.
 */
#ifndef SOCK_MAP_H
#define SOCK_MAP_H

#include "sock_record.h"

/* Sockets in the map, two for each connection. */
#define MAX_SOCKETS 65535

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, MAX_SOCKETS);
	__type(key, struct sock_key); /* its own */
	__type(value, __u32);	      /* the socket, stored by bpf_sock_hash_update */
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} sock_ops_map SEC(".maps");

#endif /* SOCK_MAP_H */
