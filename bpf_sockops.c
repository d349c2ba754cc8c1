// SPDX-License-Identifier: GPL-2.0
/*
 * bpf_sockops: a sock_ops program, attached to a cgroup.  It admits a TCP
 * connection to sock_ops_map when both its ends are sockets of this host under
 * that cgroup, and takes the two sockets out again when both directions have
 * left the bypass.  On any failure a socket is not admitted: plain TCP.
 *
 *   client                                 server
 *                  SYN ------------------> RWND_INIT: announce
 *   ACTIVE_ESTABLISHED <------- SYN-ACK
 *     take the announcement,
 *     enter the map, leave own record
 *                  ACK ------------------> PASSIVE_ESTABLISHED
 *                                            take the client's record,
 *                                            enter the map, leave own record
 *
 * All notes pass through sock_ops_meet (meet.h).  At listen(2) and connect(2) the sockets of
 * excluded programs get a mark (excluded.h), and what a dissolved socket has left goes.
 */
#include "effective_programs.h"
#include "excluded.h"
#include "packets.h"
#include "ports.h"
#include "uapi.h"

/*
 * The struct sock that this call is about: also a request sock, which the context does not show.
 * The verifier lets us use the context as a plain address, at which the kernel keeps its own
 * struct.
 */
static __always_inline __u64 sock_of_call(struct bpf_sock_ops *skops)
{
	return (__u64)read_kernel(struct bpf_sock_ops_kern, skops, sk);
}

static __always_inline int is_loopback(const __be32 ip[4])
{
	if (is_mapped(ip))
		return (ip[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return !ip[0] && !ip[1] && !ip[2] && ip[3] == bpf_htonl(1);
}

/* Right after the handshake. */
static __always_inline void read_numbers(struct sock_key *key, __u64 sk)
{
	key->local_seq = read_kernel(struct tcp_sock, sk, snd_nxt);
	key->remote_seq = read_kernel(struct tcp_sock, sk, rcv_nxt);
}

static __always_inline void read_addresses(struct sock_key *key, __u64 sk)
{
	key->local_port = read_kernel(struct sock_common, sk, skc_num);
	key->remote_port = bpf_ntohs(read_kernel(struct sock_common, sk, skc_dport));

	if (read_kernel(struct sock_common, sk, skc_family) == AF_INET6 &&
	    bpf_core_field_exists(((struct sock_common *)0)->skc_v6_daddr)) {
		bpf_core_read(key->local_ip, sizeof(key->local_ip),
			      &((struct sock_common *)sk)->skc_v6_rcv_saddr);
		bpf_core_read(key->remote_ip, sizeof(key->remote_ip),
			      &((struct sock_common *)sk)->skc_v6_daddr);
	} else {
		key->local_ip[2] = key->remote_ip[2] = bpf_htonl(0xffff);
		key->local_ip[3] = read_kernel(struct sock_common, sk, skc_rcv_saddr);
		key->remote_ip[3] = read_kernel(struct sock_common, sk, skc_daddr);
	}

	key->netns = key_secret();
	if (is_loopback(key->local_ip) || is_loopback(key->remote_ip))
		key->netns ^= read_kernel(struct net, netns_of(sk), ns.inum);
}

/* The record of this call's socket, if it has one. */
static __always_inline struct sock_record *own_record(struct bpf_sock_ops *skops)
{
	struct bpf_sock *ctx_sk = skops->sk;

	return ctx_sk ? bpf_sk_storage_get(&sock_ops_record, ctx_sk, 0, 0) : 0;
}

/*
 * A socket that was dissolved, by connect() to AF_UNSPEC, and connects or listens again has the
 * record of its first connection, and may still be in the map with what it did not read then: from
 * 5.19 on kernels leave it there until it is closed.  Take it out before it sends a SYN, or accepts
 * sockets that inherit what it has.
 */
static __always_inline void end_former_connection(struct bpf_sock_ops *skops)
{
	struct sock_record *rec = own_record(skops);

	if (!rec)
		return;
	/* Not where another socket, of a stranger's connection, has that key. */
	if (rec->in_map == IN_MAP)
		bpf_map_delete_elem(&sock_ops_map, &rec->key);
	rec->reason = left_closing;
	rec->in_map = 0;
	drop_callbacks(skops, rec);
	stop_probing(skops, rec);
}

static __always_inline int is_mptcp(__u64 sk)
{
	return bpf_core_field_exists(((struct tcp_sock *)0)->is_mptcp) &&
	       read_kernel(struct tcp_sock, sk, is_mptcp);
}

static __always_inline int is_kernel_socket(__u64 sk)
{
	return read_kernel_bit(struct sock, sk, sk_kern_sock);
}

/* Why not to admit a socket, whoever its peer is. */
static __always_inline enum counter vet_socket(__u64 sk, int of_kernel, __u32 terms)
{
	if (switch_state() != SWITCH_ON)
		return refused_off;
	if (is_mptcp(sk))
		return refused_mptcp;
	/*
	 * The kernel's own users (NFS, SMB) read a socket with callbacks, past
	 * the psock.  TCP_REPAIR sets sequence numbers at will.  A socket that is in a
	 * sockmap of another tool has its psock already, and keeps it when it leaves ours.
	 */
	if (has_ulp(sk) || needs_tcp(sk, terms & ADMIT_ZEROCOPY) || of_kernel || in_repair(sk) ||
	    read_kernel(struct sock, sk, sk_user_data))
		return refused_special;
	if (in_excluded_cgroup(sk, terms))
		return refused_cgroup;
	if (!runs_last(sk))
		return refused_not_last;
	return NO_REASON;
}

static __always_inline void trace_admitted(struct sock_cpu *cpu, const struct sock_key *key,
					   __u32 op)
{
	if (!may_trace(cpu, 2))
		return;
	trace_addresses("update sockmap", "->", key);
	if (op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
		bpf_printk("update sockmap: op=4(Active connect), port %d-->%d", key->local_port,
			   key->remote_port);
	else
		bpf_printk("update sockmap: op=5(Passive connect), port %d-->%d", key->local_port,
			   key->remote_port);
}

/*
 * Enter the map, then leave the record for the other end: it must not find the record of a socket
 * that has no psock yet (model: enters).  A server brings its client's record and key.
 */
static __noinline int admit(struct bpf_sock_ops *skops, struct sock_key *key, __u32 scope,
			    __u64 peer, const struct sock_key *peer_key)
{
	__u32 has = skops->bpf_sock_ops_cb_flags;
	struct meet_key note = own_note(key);
	struct bpf_sock *ctx_sk = skops->sk;
	__u64 sk = sock_of_call(skops);
	struct sock_record *rec;

	if (!ctx_sk)
		return 0;
	rec = bpf_sk_storage_get(&sock_ops_record, ctx_sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!rec)
		return 0;
	rec->view.sk = sk;
	rec->scope = scope;
	rec->key = *key;
	rec->write_seq = key->local_seq;
	rec->admitted_at = bpf_jiffies64();
	rec->admitted_ns = bpf_ktime_get_ns();
	rec->peer_key = *peer_key;
	if (peer) {
		rec->server = 1;
		rec->peer = peer;
		rec->peer_sk = sock_of(peer);
		rec->view.account = runs_in_client(rec->peer_sk) ? account_of(sk) : NO_ACCOUNT;
	}

	if (bpf_sock_hash_update(skops, &sock_ops_map, key, BPF_NOEXIST))
		return 0;
	if (!leave_note(&note, (__u64)rec)) {
		bpf_map_delete_elem(&sock_ops_map, key); /* cannot fail: it has just entered */
		return 0;
	}
	/*
	 * The packets of this socket bring it to on_packet().  A failure means
	 * that it stays in the map until it is closed.
	 */
	rec->in_map = IN_MAP;
	rec->cb_flags = CB_FLAGS & ~has;
	bpf_sock_ops_cb_flags_set(skops, has | CB_FLAGS);
	start_probing(skops, rec, CONNTRACK_SECONDS);
	return 1;
}

/* Is a connection to this socket, of a server, likely to be a short one, which is left to TCP? */
static __always_inline int left_to_tcp(__u64 sk, __u32 terms)
{
	return budget_spent(sk) && !(terms & ADMIT_SHORT);
}

/* In a call of listen(2) or connect(2). */
static __always_inline void mark_program(struct bpf_sock_ops *skops)
{
	struct bpf_sock *ctx_sk = skops->sk;
	__u32 terms = terms_now();

	if (runs_excluded_program()) {
		if (!set_mark(ctx_sk, MARK_EXCLUDED))
			bpf_sock_ops_cb_flags_set(skops,
						  skops->bpf_sock_ops_cb_flags | EXCLUDED_CB_FLAG);
	} else if (skops->op == BPF_SOCK_OPS_TCP_LISTEN_CB && terms & ADMIT_NEW_ALONE) {
		set_mark(ctx_sk, mark_new(terms)); /* failing, it stays on TCP */
	}
}

/*
 * The filter of ports is the server's: through NAT a client may know another port.  With TPROXY, or
 * BPF sk_lookup, its listener has another one than the connection: both must be in the scope.
 */
static __always_inline void announce_server(struct bpf_sock_ops *skops)
{
	struct meet_key note = {.kind = NOTE_END};
	__u32 terms = terms_now();
	__u64 req, listener;

	if (skops->is_fullsock || switch_state() != SWITCH_ON)
		return;
	req = sock_of_call(skops);
	listener = (__u64)read_kernel(struct sock_common, req, skc_listener);
	if (!listener || is_excluded_server(listener, terms) || left_to_tcp(req, terms) ||
	    !in_scope(read_kernel(struct sock_common, req, skc_num), terms) ||
	    !in_scope(read_kernel(struct sock_common, listener, skc_num), terms))
		return;
	note.local_seq = read_kernel(struct tcp_request_sock, req, snt_isn) + 1;
	note.remote_seq = read_kernel(struct tcp_request_sock, req, rcv_isn) + 1;
	/* Failing, the client finds nothing and is not admitted. */
	leave_note(&note, announcement(req));
	/*
	 * A listener of Multipath TCP, as those of Go are, gives a plain TCP client a plain TCP
	 * socket, which looks like the kernel's own: it has sk_kern_sock from the listener.
	 */
	if (is_mptcp(listener) && terms & ADMIT_MPTCP) {
		note.kind = NOTE_MPTCP_LISTENER;
		leave_note(&note, announcement(req)); /* failing, the server is not admitted */
	}
}

/* Why not to admit a client.  Takes its server's announcement, which tells that one's netns. */
static __always_inline enum counter vet_client(struct bpf_sock_ops *skops, __u64 sk,
					       const struct sock_key *key, __u32 terms,
					       struct sock_key *peer_key)
{
	struct meet_key server = peer_note(key);
	enum counter why;

	peer_key->netns = take_announcement(&server);
	if (!peer_key->netns)
		return switch_state() == SWITCH_ON ? refused_remote : refused_off;
	why = vet_socket(sk, is_kernel_socket(sk), terms);
	if (why != NO_REASON)
		return why;
	if (is_excluded(sk))
		return refused_program;
	if (read_kernel(struct sock_common, sk, skc_dport) == bpf_htons(PORT_ISCSI))
		return refused_port;
	if (own_record(skops) || others_wait(sk))
		return refused_special;
	if (read_kernel(struct tcp_sock, sk, data_segs_out) ||
	    read_kernel(struct tcp_sock, sk, write_seq) != key->local_seq)
		return refused_early_data;
	return NO_REASON;
}

static __always_inline void admit_client(struct bpf_sock_ops *skops)
{
	struct sock_cpu *cpu = this_cpu();
	__u64 sk = sock_of_call(skops);
	__u32 terms = terms_now();
	struct sock_key key = {}, peer_key = {};
	enum counter why;

	if (!cpu)
		return;
	read_numbers(&key, sk);
	why = vet_client(skops, sk, &key, terms, &peer_key);
	if (why != NO_REASON) {
		count(cpu, why, 1);
		return;
	}
	read_addresses(&key, sk);
	if (!admit(skops, &key, scope_in(terms), 0, &peer_key)) {
		count(cpu, refused_full, 1);
		return;
	}
	count(cpu, admitted_active, 1);
	trace_admitted(cpu, &key, BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB);
}

/* Has the client taken an announcement of the server's network namespace? */
static __always_inline int was_announced_here(__u64 client, __u64 sk)
{
	__u32 netns = read_number(client + offsetof(struct sock_record, peer_key.netns));

	return netns == read_kernel(struct net, netns_of(sk), ns.inum);
}

/* Finds a server's client; then both keys are complete. */
static __always_inline int find_client(__u64 sk, struct sock_key *key, __u64 *peer,
				       struct sock_key *peer_key)
{
	*peer = find_peer(key);
	if (!*peer)
		return 0;
	read_addresses(key, sk);
	return read_peer_key(peer_key, *peer, key, sk) && was_announced_here(*peer, sk);
}

/* Why not to admit a server.  Finds its client; takes the client's note if it may enter. */
static __always_inline enum counter vet_server(__u64 sk, struct sock_key *key, __u32 terms,
					       __u64 *peer, struct sock_key *peer_key)
{
	struct meet_key own = own_note(key), client = peer_note(key);
	struct sock_view view = {};
	enum counter why;
	int of_kernel;

	/*
	 * Such a server announces nothing.  If it was excluded only after its announcement, its
	 * client finds itself alone.
	 */
	if (is_excluded_server(sk, terms))
		return refused_program;
	if (left_to_tcp(sk, terms))
		return refused_short;
	if (!in_scope(read_kernel(struct sock_common, sk, skc_num), terms))
		return refused_port;
	of_kernel = is_kernel_socket(sk) && !take_note_to_self(key);
	if (!find_client(sk, key, peer, peer_key)) {
		/*
		 * A Fast Open server is established at the SYN: its client is
		 * still to come and must not find the announcement.
		 */
		take_note(&own);
		return refused_no_client;
	}
	why = vet_socket(sk, of_kernel, terms);
	if (why != NO_REASON)
		return why;
	if (!same_handlers(sk, sock_of(*peer)))
		return refused_special;
	/*
	 * Whoever removes the note decides: a client that found no peer for its
	 * first send removes it as well, and stays alone.
	 */
	read_view(&view, *peer);
	if ((__u32)read_number(*peer + offsetof(struct sock_record, scope)) != scope_in(terms))
		return refused_no_client; /* admitted in another scope than this one */
	return view.left || !take_note(&client) ? refused_client_left : NO_REASON;
}

static __always_inline void admit_server(struct bpf_sock_ops *skops)
{
	struct sock_key key = {}, peer_key = {};
	__u64 sk = sock_of_call(skops), peer = 0;
	struct sock_cpu *cpu = this_cpu();
	__u32 terms = terms_now();
	enum counter why;
	struct meet_key client;

	if (!cpu)
		return;
	read_numbers(&key, sk);
	why = vet_server(sk, &key, terms, &peer, &peer_key);
	if (why != NO_REASON) {
		count(cpu, why, 1);
		return;
	}
	if (!admit(skops, &key, scope_in(terms), peer, &peer_key)) {
		count(cpu, refused_full, 1);
		/*
		 * Given back, so that the client knows that it is alone.  Failing, it learns that
		 * from bytes over TCP (unmet_server_left).
		 */
		client = peer_note(&key);
		leave_note(&client, peer);
		return;
	}
	count(cpu, admitted_passive, 1);
	trace_admitted(cpu, &key, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB);
}

SEC("sockops")
int bpf_sockops(struct bpf_sock_ops *skops)
{
	switch (skops->op) {
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		end_former_connection(skops);
		mark_program(skops);
		break;
	case BPF_SOCK_OPS_RWND_INIT:
		announce_server(skops);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		admit_client(skops);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		admit_server(skops);
		break;
	case BPF_SOCK_OPS_HDR_OPT_LEN_CB:
		on_packet(skops, 1);
		break;
	case BPF_SOCK_OPS_PARSE_HDR_OPT_CB:
		on_packet(skops, 0);
		break;
	}
	return 1; /* the kernel uses `reply`, which stays as others left it */
}

char LICENSE[] SEC("license") = "GPL";
