// SPDX-License-Identifier: GPL-2.0
/*
 * sock_ops_open: an iter/task_file program.  It goes through the open files of all processes,
 * and writes a line for each TCP socket that has a record, also when it has left sock_ops_map:
 * first
 *
 *   pid      of the process that holds it: of several the lowest one; 0: not accepted yet
 *   name     of that process, its bytes as 32 hexadecimal digits: any user chooses it
 *   open     1: it was admitted, and its direction is not ended
 *   records  id of the map that its record is in: of which load it is
 *   reason   why it is back on TCP: the place of a counter in counters.h; -1: on the bypass
 *   maps     ids of four sockmaps that it is in, 0 for none, with a "," after each
 *
 * and then what status_line.h says; at the beginning the names of the columns, and now and then an
 * empty line.
 *
 * status.sh and unload.sh learn from it which processes have the connections, and all else where
 * the kernel's policy refuses sock_ops_status.  It does not see sockets that no process holds, such
 * as one on its way through a unix socket.  Of those that a listener has not accepted it sees the
 * first MAX_WAITING (of a Multipath TCP listener: none).
 *
 * Needs 5.10.  It holds a reference to each file while it looks, and no lock.
 */
#include "open_files.h"
#include "status_line.h"
#include "uapi.h"

/* Sockmaps that are looked at. */
#define MAX_MAPS 4

/* Their lines fit into the kernel's buffer. */
#define MAX_WAITING 32

/*
 * Sockets that were shown, by address, with the list that shows them.  A process may hold a
 * socket many times, and so may its children.  The program stays loaded: so a socket that is gone
 * must leave its place to another one (LRU).  Of more sockets than there are places some are shown
 * more than once: a reader of the list has to take the first of their lines.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, __u64);
} sock_ops_shown SEC(".maps");

static __always_inline int was_shown(__u64 sk, __u64 list)
{
	__u64 *shown = bpf_map_lookup_elem(&sock_ops_shown, &sk);

	return shown && *shown == list;
}

__noinline __u64 record_of(__u64 sk)
{
	return find_record(sk, 0);
}

/* The struct bpf_map is the first member of what smap points to. */
static __always_inline __u32 map_of_record(__u64 record)
{
	__u64 data = record - kernel_offset(struct bpf_local_storage_data, data);
	__u64 map = (__u64)read_kernel(struct bpf_local_storage_data, data, smap);

	return read_kernel(struct bpf_map, map, id);
}

/* A record without a reason, out of the map, is of a socket that was not admitted after all. */
__noinline int is_open(__u64 sk, __u64 record)
{
	__u8 state = read_kernel(struct sock_common, sk, skc_state);

	return (state == BPF_TCP_ESTABLISHED || state == BPF_TCP_CLOSE_WAIT) &&
	       (read_record(record, in_map) || read_record(record, reason));
}

#define ON_BYPASS (-1)

__noinline int reason_of(__u64 record)
{
	if (read_record(record, in_map) && !read_record(record, view.left))
		return ON_BYPASS;
	return read_record(record, reason);
}

/* The id of the N-th sockmap that a socket is in, 0: there is none. */
__noinline int map_of(__u64 sk, int n)
{
	__u64 psock = psock_of(sk), list = psock + kernel_offset(struct sk_psock, link), node;
	__u64 map;

	node = psock ? (__u64)read_kernel(struct list_head, list, next) : list;
	for (int i = 0; i < MAX_MAPS && i < n && node != list; i++)
		node = (__u64)read_kernel(struct list_head, node, next);
	if (node == list)
		return 0;
	map = (__u64)read_kernel(struct sk_psock_link,
				 node - kernel_offset(struct sk_psock_link, list), map);
	return read_kernel(struct bpf_map, map, id);
}

/* Fails as print_line() does. */
static __always_inline int print_socket(struct seq_file *seq, __u64 task, __u64 sk, __u64 record)
{
	struct sock_key key = read_record(record, key);

	print_program(seq, (__u64)read_kernel(struct task_struct, task, group_leader));
	BPF_SEQ_PRINTF(seq, "%d %u %d %u,%u,%u,%u, ", is_open(sk, record), map_of_record(record),
		       reason_of(record), map_of(sk, 0), map_of(sk, 1), map_of(sk, 2),
		       map_of(sk, 3));
	return print_line(seq, sk, record, &key);
}

/* Not those of Multipath TCP: what they have not accepted is not in this queue. */
__noinline int has_accept_queue(__u64 sk)
{
	return read_kernel(struct sock_common, sk, skc_state) == BPF_TCP_LISTEN &&
	       read_kernel(struct sock, sk, sk_protocol) == IPPROTO_TCP;
}

/* The first connection that a listener's program has not accepted, and the one after a request. */
static __always_inline __u64 first_waiting(__u64 listener)
{
	return read_number(listener + kernel_offset(struct inet_connection_sock,
						    icsk_accept_queue.rskq_accept_head));
}

static __always_inline __u64 next_waiting(__u64 request)
{
	return read_number(request + kernel_offset(struct request_sock, dl_next));
}

/*
 * The socket itself, or of a listener what waits to be accepted.  Nothing holds that queue still:
 * what has left it is read as zeroes, or as a socket without a record of its own.
 */
static __always_inline int print_all(struct seq_file *seq, __u64 task, __u64 sk)
{
	__u64 request = has_accept_queue(sk) ? first_waiting(sk) : 0, record;

	if (request)
		task = 0;
	for (int i = 0; i < MAX_WAITING; i++) {
		if (request)
			sk = read_number(request + kernel_offset(struct request_sock, sk));
		record = record_of(sk);
		if (record && print_socket(seq, task, sk, record))
			return 1;
		request = request ? next_waiting(request) : 0;
		if (!request)
			break;
	}
	return 0;
}

SEC("iter/task_file")
int sock_ops_open(struct bpf_iter__task_file *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	__u64 task = read_number((__u64)&ctx->task), file = read_number((__u64)&ctx->file), sk;
	__u64 list = ctx->meta->session_id;

	if (!task || !file)
		return 0; /* the end of the list */
	if (!ctx->meta->seq_num)
		BPF_SEQ_PRINTF(seq, "pid name open records reason maps " COLUMNS);
	else
		give_sign_of_life(ctx->meta);
	if (is_shared(task, list, 0))
		return 0;
	sk = socket_of(file);
	if (sk && !was_shown(sk, list) && !print_all(seq, task, sk))
		bpf_map_update_elem(&sock_ops_shown, &sk, &list, BPF_ANY);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
