/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the programs are, and which header holds which idea.
 *
 *   bpf_sockops (sock_ops)    pairs the two ends of a connection at its handshake, puts
 *                             them into sock_ops_map, and takes them out once both
 *                             directions are back on TCP.
 *   bpf_tcpip_bypass (sk_msg) redirects each send to the other end's socket.
 *   bpf_guard                 puts a direction back on TCP when its reader goes past the psock
 *                             (lsm_cgroup, or fentry and fmod_ret).
 *   sock_ops_status (iter)    lists the map, for status.sh and unload.sh.
 *   sock_ops_open (iter)      lists the sockets that processes hold and that have been in the
 *                             map, with the processes, for both.
 *   sock_ops_release (iter)   puts back what sockets had, for unload.sh.
 *   sock_ops_running (iter)   lists what runs and listens already, for load.sh.
 *
 * Whatever goes wrong, the bytes go over plain TCP.  The headers are in bpf/, and each builds on
 * some of those before it:
 *
 *   uapi.h             constants of the kernel's UAPI
 *   read_kernel.h      how kernel memory is read
 *   kernel_sock.h      how to look at a socket of the kernel; no maps
 *   kernel_cgroup.h    how to look at a cgroup
 *   stored.h           what maps keep with a socket
 *   messages.h         what is in a psock's queue
 *   clock.h            time that passes
 *   holders.h          who else is at work on a socket
 *   kernel_task.h      how to look at a task
 *   sock_record.h      what is kept about one end of a connection
 *   sock_record_map.h  where it is kept
 *   memory.h           the memory that a redirect may lack
 *   config.h           the switch and the terms, which the scripts write
 *   stats.h            the counters; counters.h is their list
 *   sock_map.h         the map of sockets
 *   trace.h            the lines in the kernel's trace
 *   bpf_sockops.h      the maps and the record: what most programs need
 *   meet.h             where the two ends of a connection find each other
 *   handover.h         how a direction goes from the bypass to TCP: why no byte is lost
 *   ports.h            the scope: which servers,
 *   cgroups.h          and whose sockets stay on TCP
 *   excluded.h         programs whose sockets stay on TCP, by name
 *   remembered.h       and by what they do
 *   accounts_map.h     the accounts of short connections
 *   secret.h           the random numbers of a load
 *   accounts.h         short connections are left to TCP
 *   keepalive.h        the clock of sockets that send no packet
 *   release.h          what a socket gets back when it has left the map
 *
 * those of bpf_sockops.c:
 *
 *   effective_programs.h  which other sock_ops programs run for a socket
 *   last_packet.h         what a FIN or a reset waits for
 *   packets.h             the packets of a socket in the map, and how it leaves with one
 *
 * those of bpf_tcpip_bypass.c:
 *
 *   send.h     one send, and what it sees of both ends
 *   burst.h    how much a direction sends at once
 *   waits.h    what a send waits for
 *   backlog.h  how much of it is unread
 *
 * that of the guard:
 *
 *   guard.h    which calls read a socket past its psock, and what they are answered
 *
 * and of the iterators:
 *
 *   sign_of_life.h  what they print where there is nothing to print
 *   open_files.h    from an open file to its process and its socket
 *   status_line.h   what sock_ops_status and sock_ops_open print of a socket
 */
#ifndef BPF_SOCKOPS_H
#define BPF_SOCKOPS_H

#include "config.h"
#include "sock_map.h"
#include "sock_record_map.h"
#include "stats.h"
#include "trace.h"

#endif /* BPF_SOCKOPS_H */
