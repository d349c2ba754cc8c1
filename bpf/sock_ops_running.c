// SPDX-License-Identifier: GPL-2.0
/*
 * sock_ops_running: an iter/task_file program.  It goes through the open files of all
 * processes and tells load.sh what runs, and what of it listens already.  A line for each
 * process, and one more for each cgroup that its TCP listeners belong to:
 *
 *   pid      in the pid namespace of the reader
 *   name     of the process, its bytes as 32 hexadecimal digits: any user chooses it
 *   uid      of the user whose it is (owner_of_task)
 *   listens  0: the cgroup of the process; 1: of its listeners
 *   cgroup   its inode number; 0: the one that the programs are attached to; `deep`: one that is
 *            MAX_LEVELS below that or deeper
 *
 * What is not under that cgroup is left out: it stays on TCP anyway.
 *
 * A listener may be in another cgroup than its program: that of systemd, which has made it.
 * No tool tells this without names among the numbers, nor as fast: a user can have 100
 * processes share 10,000 files each.
 */
#include "config.h"
#include "kernel_cgroup.h"
#include "open_files.h"
#include "uapi.h"

struct shown_key {
	__u64 leader;
	__u64 cgroup;
};

/* Lines about listeners, with the list that has them.  If the map is full, some recur. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, struct shown_key);
	__type(value, __u64);
} sock_ops_listeners SEC(".maps");

/* Whose line came last: the files of a process come one after the other. */
static __u64 last_leader;

static __always_inline int listens(__u64 sk)
{
	__u16 family = read_kernel(struct sock_common, sk, skc_family);

	/* Unix sockets have the same number for this state. */
	return (family == AF_INET || family == AF_INET6) &&
	       read_kernel(struct sock_common, sk, skc_state) == BPF_TCP_LISTEN;
}

enum { OUTSIDE, TOP, BELOW, DEEP };

/* Where is a cgroup, seen from the one that the programs are attached to, TOP? */
static __noinline int place_of(__u64 cgroup)
{
	struct sock_config *config = this_config();
	__u64 top = config ? config->cgroup : 0;

	for (int i = 0; i < MAX_LEVELS; i++) {
		if (cgroup_id(cgroup) == top)
			return i ? BELOW : TOP;
		cgroup = parent_of(cgroup);
		if (!cgroup)
			return OUTSIDE;
	}
	return DEEP;
}

/* Fails when the line did not fit into the buffer: the kernel asks for it again. */
static __always_inline int print_line(struct seq_file *seq, __u64 leader, __u64 cgroup,
				      int of_listener)
{
	int place = place_of(cgroup);

	if (place == OUTSIDE)
		return 0;
	print_program(seq, leader);
	BPF_SEQ_PRINTF(seq, "%u %d ", owner_of_task(leader), of_listener);
	if (place == DEEP)
		return BPF_SEQ_PRINTF(seq, "deep\n");
	return BPF_SEQ_PRINTF(seq, "%llu\n", place == TOP ? 0 : cgroup_id(cgroup));
}

static __always_inline void show_listener(struct seq_file *seq, __u64 list, __u64 leader, __u64 sk)
{
	struct shown_key key = {.leader = leader, .cgroup = cgroup_of(sk)};
	__u64 *shown = bpf_map_lookup_elem(&sock_ops_listeners, &key);

	if (shown && *shown == list)
		return;
	if (!print_line(seq, leader, key.cgroup, 1))
		bpf_map_update_elem(&sock_ops_listeners, &key, &list, BPF_ANY);
}

SEC("iter/task_file")
int sock_ops_running(struct bpf_iter__task_file *ctx)
{
	__u64 task = (__u64)ctx->task, file = (__u64)ctx->file, leader, sk;
	__u64 list = ctx->meta->session_id;
	struct seq_file *seq = ctx->meta->seq;

	if (!task || !file)
		return 0; /* the end of the list */
	/* Offsets come after the check: 5.10 and 6.1 refuse them on what may be NULL. */
	barrier_var(task);
	barrier_var(file);
	give_sign_of_life(ctx->meta);
	leader = (__u64)read_kernel(struct task_struct, task, group_leader);
	if (leader != last_leader && !print_line(seq, leader, cgroup_of_task(leader), 0))
		last_leader = leader;
	if (is_shared(task, list, leader))
		return 0;
	sk = socket_of(file);
	if (sk && listens(sk))
		show_listener(seq, list, leader, sk);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
