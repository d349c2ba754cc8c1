/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The map of records: BPF storage of each admitted socket.  Apart from the other maps, since
 * libbpf makes all maps that an object names: sock_ops_release needs this one alone.
 *
 * libbpf pins each map under its name in /sys/fs/bpf when it loads the first program, and
 * finds it there when it loads the next one.
 */
#ifndef SOCK_RECORD_MAP_H
#define SOCK_RECORD_MAP_H

#include "sock_record.h"

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct sock_record);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} sock_ops_record SEC(".maps");

#endif /* SOCK_RECORD_MAP_H */
