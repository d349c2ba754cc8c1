/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The counters, in the order of a connection's life: COUNTER(NAME, what status.sh says).
 * bpf_sockops.h makes its struct and its enum of them; status.sh reads this file.
 */
/* clang-format off */
COUNTER(admitted_active, "clients admitted")
COUNTER(admitted_passive, "servers admitted")
COUNTER(refused_off, "not admitted: switched off")
COUNTER(refused_port, "servers not admitted: port outside of the filter")
COUNTER(refused_remote, "clients not admitted: no server of this host under the cgroup, or its port outside of the filter")
COUNTER(refused_no_client, "servers not admitted: no client of this host under the cgroup")
COUNTER(refused_client_left, "servers not admitted: the client had sent over TCP (deferred accept)")
COUNTER(refused_early_data, "clients not admitted: data in the handshake (Fast Open)")
COUNTER(refused_mptcp, "not admitted: Multipath TCP")
COUNTER(refused_special, "not admitted: a socket of the kernel, TCP_REPAIR, kTLS, a socket option, another sockmap, connected before, a recv before connect")
COUNTER(refused_not_last, "not admitted: another sock_ops program runs after ours")
COUNTER(refused_short, "servers not admitted: the last connections of their clients were short")
COUNTER(refused_full, "not admitted: no room in a map, or no memory")
COUNTER(redirected_messages, "messages that skipped the stack")
COUNTER(redirected_bytes, "bytes that skipped the stack")
COUNTER(passed_messages, "messages over TCP by sockets on the bypass")
COUNTER(left_no_peer, "directions back to TCP: the other end is not on the bypass")
COUNTER(left_peer_left, "directions back to TCP: the other direction has left or ended")
COUNTER(left_bulk, "directions back to TCP: bulk")
COUNTER(left_room, "directions back to TCP: too much unread")
COUNTER(left_memory, "directions back to TCP: TCP is short of memory (tcp_mem)")
COUNTER(left_tcp_bytes, "directions back to TCP: bytes had gone over TCP already")
COUNTER(left_ulp, "directions back to TCP: kTLS")
COUNTER(left_option, "directions back to TCP: a socket option")
COUNTER(left_taken, "directions back to TCP: another sockmap, or the kernel, has taken the socket over")
COUNTER(left_closing, "directions back to TCP: closing")
COUNTER(left_off, "directions back to TCP: switched off")
COUNTER(ejected, "sockets taken off the bypass while open")
COUNTER(trace_unshown, "trace lines not shown")
/* clang-format on */
