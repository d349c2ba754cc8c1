/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where the two ends of a connection find each other: sock_ops_meet.
 *
 * They meet under the two sequence numbers of the handshake alone.  NAT rewrites addresses and
 * ports, but not these; what does rewrite them (SYNPROXY) keeps the ends apart.  Each end leaves
 * a note under its own numbers and looks for the other's, whose record then says the rest.
 *
 * Nobody meets an end by chance or by guess: both numbers are hashes under the kernel's secret
 * (secure_tcp_seq), 64 bits together.  Who sees the packets knows both, and can give a connection
 * of his own the same ones.  So he must be in the right network namespace, or be there first: a
 * note is never written over, a client meets only the server that has met it, and a server only a
 * client that has taken an announcement of the server's own network namespace.
 */
#ifndef MEET_H
#define MEET_H

#include "bpf_sockops.h"

/* Whose numbers they are, in host byte order: as in struct sock_key. */
struct meet_key {
	__u32 local_seq;
	__u32 remote_seq;
	__u32 kind; /* NOTE_* */
};

enum {
	NOTE_END,	     /* a server's announcement(), or the address of an end's record */
	NOTE_MPTCP_LISTENER, /* 0: the server's listener speaks Multipath TCP */
	NOTE_NONE,	     /* never there */
};

/*
 * Handshakes whose two ends have not met yet.  An LRU map: a flood of SYNs
 * pushes out old entries, which costs those connections the bypass.
 */
#define MAX_HANDSHAKES 65536

/*
 * Each note is removed by the end that finds it (deleting is atomic: one of two succeeds):
 * the server's announcement, the client's record, the server's record.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_HANDSHAKES);
	__type(key, struct meet_key);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} sock_ops_meet SEC(".maps");

static __always_inline struct meet_key own_note(const struct sock_key *key)
{
	return (struct meet_key){key->local_seq, key->remote_seq, NOTE_END};
}

static __always_inline struct meet_key peer_note(const struct sock_key *key)
{
	return (struct meet_key){key->remote_seq, key->local_seq, NOTE_END};
}

/* Fails where there is one. */
static __always_inline int leave_note(const struct meet_key *key, __u64 value)
{
	return !bpf_map_update_elem(&sock_ops_meet, key, &value, BPF_NOEXIST);
}

/* Says the number of the server's network namespace; it is odd, as no address is. */
static __always_inline __u64 announcement(__u64 sk)
{
	return (__u64)read_kernel(struct net, netns_of(sk), ns.inum) << 1 | 1;
}

/* 0: it is not there, or the other end was faster. */
static __always_inline int take_note(const struct meet_key *key)
{
	return !bpf_map_delete_elem(&sock_ops_meet, key);
}

/* What the server's end has found out at the SYN, of its listener. */
static __always_inline int take_note_to_self(const struct sock_key *key)
{
	struct meet_key note = own_note(key);

	note.kind = NOTE_MPTCP_LISTENER;
	return take_note(&note);
}

/*
 * Takes the server's announcement, never its record.  Returns the server's network namespace; 0:
 * there was no announcement.
 */
static __always_inline __u32 take_announcement(const struct meet_key *key)
{
	__u64 *note = bpf_map_lookup_elem(&sock_ops_meet, key), said = note ? *note : 0;

	return said & 1 && take_note(key) ? said >> 1 : 0;
}

/* An end's own record, while the other end has not found it. */
static __always_inline int take_back(const struct sock_key *key)
{
	struct meet_key own = own_note(key);

	return take_note(&own);
}

static __always_inline __u64 find_peer(const struct sock_key *key)
{
	struct meet_key peer = peer_note(key);
	__u64 *note = bpf_map_lookup_elem(&sock_ops_meet, &peer);

	return note && !(*note & 1) ? *note : 0;
}

/* Has the server whose record is there met this client?  It had, at its admission. */
static __always_inline int has_met(__u64 server, const struct sock_record *client)
{
	return read_number(server + offsetof(struct sock_record, peer)) == (__u64)client;
}

/*
 * The other end's key, from its record.  Its socket may have gone, and the memory serve another
 * one, or hold what a stranger has chosen: the numbers tell, and netns, whose secret he does not
 * know.  A loopback address is one of its network namespace: an end that has one, or sees one, is
 * met there alone.
 */
static __always_inline int read_peer_key(struct sock_key *peer_key, __u64 peer,
					 const struct sock_key *key, __u64 sk)
{
	__u64 netns = netns_of(sk);
	__u32 difference;

	copy_from_record(peer_key, peer + offsetof(struct sock_record, key), sizeof(*peer_key));
	if (peer_key->local_seq != key->remote_seq || peer_key->remote_seq != key->local_seq)
		return 0;
	difference = key->netns ^ peer_key->netns;
	if (!difference)
		return 1;
	return difference == read_kernel(struct net, netns, ns.inum) &&
	       netns_of(sock_of(peer)) == netns;
}

/*
 * Fetch the other end's record, if it has left one: a server learns its
 * client's at the handshake, a client its server's here.
 */
static __always_inline int meet_peer(struct sock_record *rec)
{
	struct sock_view view;
	struct meet_key note;
	__u64 peer;

	if (rec->peer)
		return 1;
	peer = find_peer(&rec->key);
	if (!peer)
		return 0;
	read_view(&view, peer); /* first: what is recognised then has been there since */
	if (!has_met(peer, rec) || !read_peer_key(&rec->peer_key, peer, &rec->key, rec->view.sk))
		return 0;
	rec->peer = peer;
	rec->peer_sk = view.sk;
	if (!rec->server)
		rec->view.account = view.account;
	note = peer_note(&rec->key);
	take_note(&note); /* only makes room earlier */
	return 1;
}

/* Is the record of the other end still that, and not memory that serves something else? */
static __always_inline int is_there(const struct sock_record *rec)
{
	struct sock_key key;

	return rec->peer && read_peer_key(&key, rec->peer, &rec->key, rec->view.sk);
}

#endif /* MEET_H */
