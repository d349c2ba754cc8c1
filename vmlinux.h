/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The few kernel types that the programs use, so that building needs no
 * running kernel's BTF.  `make vmlinux` writes the full dump of the running
 * kernel to build against instead.
 *
 * Context structures are the kernel's stable interface to programs: complete,
 * in order, and never relocated.  The structures below them are the kernel's
 * own: only the members in use, relocated by libbpf at load time (CO-RE).
 */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef __u8 u8;
typedef __u32 u32;
typedef __u64 u64;

enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_SOCKHASH = 18,
	BPF_MAP_TYPE_SK_STORAGE = 24,
};

enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
};

enum {
	BPF_F_NO_PREALLOC = 1U << 0,
	BPF_F_CLONE = 1U << 9,
};

enum {
	BPF_F_INGRESS = 1ULL << 0,
};

enum {
	BPF_SK_STORAGE_GET_F_CREATE = 1ULL << 0,
};

enum sock_flags {
	SOCK_DEAD = 0,
	SOCK_DONE = 1,
	SOCK_KEEPOPEN = 3,
	SOCK_RCVTSTAMP = 11,
	SOCK_ZEROCOPY = 18,
};

enum sk_action {
	SK_DROP = 0,
	SK_PASS,
};

enum {
	BPF_SOCK_OPS_RTO_CB_FLAG = 1 << 0,
	BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG = 1 << 4,
	BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG = 1 << 6,
};

enum {
	BPF_SOCK_OPS_RWND_INIT = 2,
	BPF_SOCK_OPS_TCP_CONNECT_CB = 3,
	BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB = 4,
	BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB = 5,
	BPF_SOCK_OPS_TCP_LISTEN_CB = 11,
	BPF_SOCK_OPS_PARSE_HDR_OPT_CB = 13,
	BPF_SOCK_OPS_HDR_OPT_LEN_CB = 14,
};

enum cgroup_bpf_attach_type {
	CGROUP_SOCK_OPS = 3,
};

enum {
	BPF_TCP_ESTABLISHED = 1,
	BPF_TCP_CLOSE = 7,
	BPF_TCP_CLOSE_WAIT = 8,
	BPF_TCP_LISTEN = 10,
};

/* Contexts. */

struct bpf_sock {
	__u32 bound_dev_if;
	__u32 family;
	__u32 type;
	__u32 protocol;
	__u32 mark;
	__u32 priority;
	__u32 src_ip4;
	__u32 src_ip6[4];
	__u32 src_port;
	__be16 dst_port;
	__u32 dst_ip4;
	__u32 dst_ip6[4];
	__u32 state;
	__s32 rx_queue_mapping;
};

struct bpf_sock_ops {
	__u32 op;
	union {
		__u32 args[4];
		__u32 reply;
		__u32 replylong[4];
	};
	__u32 family;
	__u32 remote_ip4;
	__u32 local_ip4;
	__u32 remote_ip6[4];
	__u32 local_ip6[4];
	__u32 remote_port;
	__u32 local_port;
	__u32 is_fullsock;
	__u32 snd_cwnd;
	__u32 srtt_us;
	__u32 bpf_sock_ops_cb_flags;
	__u32 state;
	__u32 rtt_min;
	__u32 snd_ssthresh;
	__u32 rcv_nxt;
	__u32 snd_nxt;
	__u32 snd_una;
	__u32 mss_cache;
	__u32 ecn_flags;
	__u32 rate_delivered;
	__u32 rate_interval_us;
	__u32 packets_out;
	__u32 retrans_out;
	__u32 total_retrans;
	__u32 segs_in;
	__u32 data_segs_in;
	__u32 segs_out;
	__u32 data_segs_out;
	__u32 lost_out;
	__u32 sacked_out;
	__u32 sk_txhash;
	__u64 bytes_received;
	__u64 bytes_acked;
	union {
		struct bpf_sock *sk;
	};
	union {
		void *skb_data;
	};
	union {
		void *skb_data_end;
	};
	__u32 skb_len;
	__u32 skb_tcp_flags;
};

struct sk_msg_md {
	union {
		void *data;
	};
	union {
		void *data_end;
	};
	__u32 family;
	__u32 remote_ip4;
	__u32 local_ip4;
	__u32 remote_ip6[4];
	__u32 local_ip6[4];
	__u32 remote_port;
	__u32 local_port;
	__u32 size;
	union {
		struct bpf_sock *sk;
	};
};

struct seq_file;
struct bpf_map;
struct sock;

struct bpf_iter_meta {
	union {
		struct seq_file *seq;
	};
	__u64 session_id;
	__u64 seq_num;
};

struct bpf_iter__sockmap {
	union {
		struct bpf_iter_meta *meta;
	};
	union {
		struct bpf_map *map;
	};
	union {
		void *key;
	};
	union {
		struct sock *sk;
	};
};

struct task_struct;
struct file;

struct bpf_iter__task_file {
	union {
		struct bpf_iter_meta *meta;
	};
	union {
		struct task_struct *task;
	};
	__u32 fd;
	union {
		struct file *file;
	};
};

struct sock_common;

struct bpf_iter__tcp {
	union {
		struct bpf_iter_meta *meta;
	};
	union {
		struct sock_common *sk_common;
	};
};

/* The kernel's own. */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct bpf_map {
	u32 id;
};

struct list_head {
	struct list_head *next;
	struct list_head *prev;
};

struct in6_addr {
	union {
		__be32 u6_addr32[4];
	} in6_u;
};

struct ns_common {
	unsigned int inum;
};

struct netns_ipv4 {
	int sysctl_tcp_rmem[3];
	unsigned int sysctl_tcp_child_ehash_entries;
	int sysctl_tcp_keepalive_time;
	int sysctl_tcp_keepalive_intvl;
	u8 sysctl_tcp_keepalive_probes;
	int sysctl_tcp_fin_timeout;
};

struct net {
	struct ns_common ns;
	struct netns_ipv4 ipv4;
};

typedef struct {
	struct net *net;
} possible_net_t;

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	__s64 counter;
} atomic_long_t;

typedef struct refcount_struct {
	atomic_t refs;
} refcount_t;

struct hlist_node {
	struct hlist_node *next;
	struct hlist_node **pprev;
};

struct hlist_head {
	struct hlist_node *first;
};

struct timer_list {
	struct hlist_node entry;
};

struct hrtimer {
}; /* its state has two names, see holders.h */

struct wait_queue_head {
	struct list_head head;
};

typedef struct wait_queue_head wait_queue_head_t;

struct socket_wq {
	wait_queue_head_t wait;
};

typedef struct {
	int owned;
	wait_queue_head_t wq;
} socket_lock_t;

struct rlimit {
	unsigned long rlim_cur;
	unsigned long rlim_max;
};

struct proto {
	atomic_long_t *memory_allocated;
	long unsigned int *memory_pressure;
	long int *sysctl_mem;
};

struct sock_common {
	union {
		long unsigned int skc_flags;
		struct sock *skc_listener; /* of a request sock */
	};
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	u8 skc_state;
	struct proto *skc_prot;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	refcount_t skc_refcnt;
};

struct sk_filter;

typedef unsigned int gfp_t;

struct bpf_prog_aux {
	u32 id;
};

struct bpf_prog {
	struct bpf_prog_aux *aux;
};

struct bpf_prog_array_item {
};

struct bpf_prog_array {
	struct bpf_prog_array_item items[0];
};

struct cgroup_bpf {
};

struct cgroup_subsys_state {
	struct cgroup_subsys_state *parent;
};

struct kernfs_node {
	u64 id;
};

struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
	struct cgroup_bpf bpf;
};

struct sock_cgroup_data {
	struct cgroup *cgroup;
};

typedef unsigned int uid_t;

typedef struct {
	uid_t val;
} kuid_t;

struct page_counter {
	atomic_long_t usage;
	unsigned long high;
	unsigned long max;
	struct page_counter *parent;
};

struct mem_cgroup {
	struct page_counter memory;
	u64 socket_pressure;
	struct page_counter tcpmem;
	_Bool tcpmem_active;
	int tcpmem_pressure;
};

struct sock {
	struct sock_common __sk_common;
	socket_lock_t sk_lock;
	struct timer_list sk_timer;
	struct {
		atomic_t rmem_alloc;
	} sk_backlog;
	int sk_rcvbuf;
	int sk_sndbuf;
	u8 sk_kern_sock : 1;
	u8 sk_userlocks : 4;
	__u16 sk_protocol;
	int sk_peek_off;
	int sk_rcvlowat;
	u32 sk_tsflags;
	gfp_t sk_allocation;
	unsigned long sk_max_pacing_rate;
	unsigned long sk_tsq_flags;
	void *sk_data_ready; /* a function */
	union {
		struct socket_wq *sk_wq;
	};
	struct mem_cgroup *sk_memcg;
	struct sk_filter *sk_filter;
	void *sk_user_data;
	struct socket *sk_socket;
	struct bpf_local_storage *sk_bpf_storage;
	struct sock_cgroup_data sk_cgrp_data;
	kuid_t sk_uid;
};

typedef unsigned short umode_t;

struct inode {
	umode_t i_mode;
	unsigned long i_ino;
};

struct file {
	struct inode *f_inode;
	void *private_data;
};

struct socket {
	struct file *file;
	struct sock *sk;
};

struct bpf_local_storage {
	struct hlist_head list;
};

struct bpf_local_storage_map;

struct bpf_local_storage_data {
	struct bpf_local_storage_map *smap;
	u8 data[0];
};

struct bpf_local_storage_elem {
	struct hlist_node snode;
	struct bpf_local_storage_data sdata;
};

struct request_sock {
	struct request_sock *dl_next;
	struct sock *sk;
};

struct request_sock_queue {
	struct request_sock *rskq_accept_head;
};

struct tcp_ulp_ops;

struct inet_connection_sock {
	struct request_sock_queue icsk_accept_queue;
	struct timer_list icsk_delack_timer;
	const struct tcp_ulp_ops *icsk_ulp_ops;
	__u8 icsk_probes_out;
	u32 icsk_user_timeout;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	u32 rcv_nxt;
	u32 snd_nxt;
	u32 snd_una;
	u32 write_seq;
	u32 copied_seq;
	u32 data_segs_out;
	unsigned int keepalive_time;
	unsigned int keepalive_intvl;
	u8 keepalive_probes;
	u8 repair : 1;
	u8 bpf_sock_ops_cb_flags;
	_Bool is_mptcp;
	struct hrtimer pacing_timer;
	struct hrtimer compressed_ack_timer;
};

struct upid {
	int nr;
};

struct pid {
	unsigned int level;
	struct upid numbers[0];
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct files_struct;

struct cred {
	kuid_t uid;
};

struct task_struct {
	struct css_set *cgroups;
	const struct cred *cred;
	struct files_struct *files;
	int tgid;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	char comm[16];
	kuid_t loginuid; /* with CONFIG_AUDIT */
};

struct tcp_request_sock {
	u32 rcv_isn;
	u32 snt_isn;
};

struct bpf_sock_ops_kern {
	struct sock *sk;
};

struct sk_psock {
	struct sock *sk;
	struct list_head ingress_msg;
	u32 msg_tot_len;
	struct list_head link;
	refcount_t refcnt;
};

struct sk_psock_link {
	struct list_head list;
	struct bpf_map *map;
};

struct sk_msg_sg {
	u32 size;
};

struct sk_msg {
	struct sk_msg_sg sg;
	struct list_head list;
};

#pragma clang attribute pop

#endif /* __VMLINUX_H__ */
