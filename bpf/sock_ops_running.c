// SPDX-License-Identifier: GPL-2.0
/*
 * sock_ops_running: an iter/task_file program.  It goes through the open files of all
 * processes and tells load.sh what runs, and what of it listens already.  A line for each
 * process, and one more for each cgroup that its TCP listeners belong to:
 *
 *   pid      in the pid namespace of the reader
 *   name     of the process, its bytes as 32 hexadecimal digits: any user chooses it
 *   listens  0: the cgroup of the process; 1: of its listeners
 *   cgroup   its inode number; 0: the one that the programs are attached to; `deep`: one that is
 *            more than MAX_LEVELS below that
 *
 * What is not under that cgroup is left out: it stays on TCP anyway.
 *
 * A listener may be in another cgroup than its program: that of systemd, which has made it.
 * No tool tells this without names among the numbers, nor as fast: a user can have 100
 * processes share 10,000 files each.
 */
#include "kernel_task.h"
#include "bpf_sockops.h"

#define KIND_OF_FILE 0170000
#define KIND_SOCKET  0140000
#define INET	     2
#define INET6	     10

/*
 * After so many files an empty line: a read(2) that goes through a million of them and has nothing
 * to give fails with EAGAIN.
 */
#define SIGN_OF_LIFE 65536

struct shown_key {
	__u64 leader;
	__u64 cgroup;
};

/* Lines about listeners, with the session that showed them.  If the map is full, some recur. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, struct shown_key);
	__type(value, __u64);
} sock_ops_shown SEC(".maps");

/* Whose line came last: the files of a process come one after the other. */
static __u64 last_leader;

/* 0: it is none that listens. */
static __always_inline __u64 listener_of(__u64 file)
{
	__u64 inode = (__u64)read_kernel(struct file, file, f_inode), socket, sk;
	__u16 family;

	if ((read_kernel(struct inode, inode, i_mode) & KIND_OF_FILE) != KIND_SOCKET)
		return 0;
	/* The name of a unix socket, opened with O_PATH, has no socket. */
	socket = (__u64)read_kernel(struct file, file, private_data);
	if (!socket || (__u64)read_kernel(struct socket, socket, file) != file)
		return 0;
	sk = (__u64)read_kernel(struct socket, socket, sk);
	if (!sk || read_kernel(struct sock_common, sk, skc_state) != BPF_TCP_LISTEN)
		return 0;
	/* Unix sockets have the same number for this state. */
	family = read_kernel(struct sock_common, sk, skc_family);
	return family == INET || family == INET6 ? sk : 0;
}

/*
 * The same number as in cgroups.h, counted down from the cgroup that the programs are attached to:
 * what is deeper, in_excluded_cgroup() takes for excluded.
 */
#define MAX_LEVELS 32

enum { OUTSIDE, TOP, BELOW, DEEP };

/* Where is a cgroup, seen from the one that the programs are attached to, TOP? */
static __noinline int place_of(__u64 cgroup)
{
	struct sock_config *config = this_config();
	__u64 top = config ? config->cgroup : 0;

	for (int i = 0; i <= MAX_LEVELS; i++) {
		if (cgroup_id(cgroup) == top)
			return i ? BELOW : TOP;
		/* The first member of a cgroup, so that its address is the cgroup's. */
		cgroup = (__u64)read_kernel(struct cgroup, cgroup, self.parent);
		if (!cgroup)
			return OUTSIDE;
	}
	return DEEP;
}

/* Fails when the line did not fit into the buffer: the kernel asks for it again. */
static __always_inline int print_line(struct seq_file *seq, __u64 leader, __u64 cgroup, int listens)
{
	int place = place_of(cgroup);
	__u32 name[4] = {};

	if (place == OUTSIDE)
		return 0;
	bpf_probe_read_kernel_str(name, sizeof(name),
				  (void *)(leader + offset_of(struct task_struct, comm)));
	BPF_SEQ_PRINTF(seq, "%u %08x%08x%08x%08x %d ", pid_of(leader), bpf_htonl(name[0]),
		       bpf_htonl(name[1]), bpf_htonl(name[2]), bpf_htonl(name[3]), listens);
	if (place == DEEP)
		return BPF_SEQ_PRINTF(seq, "deep\n");
	return BPF_SEQ_PRINTF(seq, "%llu\n", place == TOP ? 0 : cgroup_id(cgroup));
}

static __always_inline void show_listener(struct seq_file *seq, __u64 session, __u64 leader,
					  __u64 sk)
{
	struct shown_key key = {.leader = leader, .cgroup = cgroup_of(sk)};
	__u64 *shown = bpf_map_lookup_elem(&sock_ops_shown, &key);

	if (shown && *shown == session)
		return;
	if (!print_line(seq, leader, key.cgroup, 1))
		bpf_map_update_elem(&sock_ops_shown, &key, &session, BPF_ANY);
}

SEC("iter/task_file")
int sock_ops_running(struct bpf_iter__task_file *ctx)
{
	__u64 task = (__u64)ctx->task, file = (__u64)ctx->file, leader, sk;
	__u64 session = ctx->meta->session_id, seen = ctx->meta->seq_num;
	struct seq_file *seq = ctx->meta->seq;

	if (!task || !file)
		return 0; /* the end of the list */
	/* Offsets come after the check: 5.10 and 6.1 refuse them on what may be NULL. */
	barrier_var(task);
	barrier_var(file);
	if (!(seen % SIGN_OF_LIFE))
		BPF_SEQ_PRINTF(seq, "\n");
	leader = (__u64)read_kernel(struct task_struct, task, group_leader);
	if (leader != last_leader && !print_line(seq, leader, cgroup_of_task(leader), 0))
		last_leader = leader;
	sk = listener_of(file);
	if (sk)
		show_listener(seq, session, leader, sk);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
