/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A model of the handover: one connection, and every order in which the steps of its threads, its
 * packets, and of who looks from outside can happen.  bpf/handover.h says what must hold; variants.txt
 * says which instances are searched, and run.sh searches them.
 *
 * Two ends, e = 0 (client) and 1 (server); P(e) is the peer.  Names are those of the code; an inline
 * is the function of that name in handover.h, holders.h, packets.h, meet.h or bpf_guard.c.  The
 * labels are named in comments there, as (model: LABEL): locks, looks, verdict, leaves, lands of a
 * send; packet, look_lock, look_refs, out of a packet; guard; again of an unload.
 *
 * Each ";" outside of atomic is a place where others may go on.  A step that nobody else can see is
 * in one atomic with the next one that can be seen.
 *
 * What it asserts, by the names that variants.txt gives:
 *
 *   in_order      of each thread the messages are read in order, none twice
 *   nothing_lost  no psock goes with a message in its queue, and none is sent to one that has gone
 *   all_read      when nothing moves any more, all that send() has taken has been read: no reader
 *                 waits for one queue while there is something for it in the other
 *   goes_out      when nothing moves any more, a packet takes a socket out that rule 3 lets go
 */

/* ---- the instance ---- */

#ifndef T0
#define T0 1 /* threads that send at the client */
#endif
#ifndef N0
#define N0 1 /* messages of each */
#endif
#ifndef T1
#define T1 1 /* the same of the server */
#endif
#ifndef N1
#define N1 2
#endif
/* CLOSE: an end whose program closes its socket, instead of reading, when its FIN is due. */
#ifdef CLOSE
#define CLOSES(e) ((e) == CLOSE)
#else
#define CLOSES(e) 0
#endif
#define QUEUE 7 /* more than there are messages in one direction, and a FIN */

#define P(e)	     (1 - (e))
#define THREADS(e)   ((e) == 0 -> T0 : T1)
#define MESSAGES(e)  ((e) == 0 -> N0 : N1)
#define MESSAGE(t, n) ((t) * 8 + (n)) /* n from 1 on */
#define THREAD(m)    ((m) / 8)
#define NUMBER(m)    ((m) % 8)
#define FIN	     0
#define FULL(queue)  (len(queue) > 0)
#define EMPTY(queue) (len(queue) == 0)

/* They are 0: who asserts one has found a counterexample. */
bit in_order, nothing_lost, all_read, goes_out;

/* ---- the kernel's ---- */

bool locked[2];			  /* the socket's lock: a thread's, or a softirq's */
bool owned[2];			  /* sk_lock.owned: a thread has it */
byte refs[2];			  /* references to the socket that messages on the way hold */
byte psock[2];			  /* references to its psock, 0: none; the map's entry holds one */
bool in_map[2];			  /* its key is in sock_ops_map */
chan ingress[2] = [QUEUE] of { byte }; /* sk_psock.ingress_msg */
chan receive[2] = [QUEUE] of { byte }; /* sk_receive_queue */
chan wire[2] = [QUEUE] of { byte }; /* TCP's packets to it that have not come */
bool shut[2];			  /* no longer ESTABLISHED or CLOSE_WAIT */
bool wrote[2];			  /* write_seq has moved: bytes have gone over TCP */
bool received[2];		  /* rcv_nxt has moved */

/* ---- the records, and sock_ops_meet ---- */

#define LEFT_QUEUED    1
#define LEFT_IN_FLIGHT 2

byte left[2], threads[2];
bool ended[2], reads_tcp[2];
byte thread[2];			  /* the last one that has sent, + 1 */
bool met[2], alone[2];
bool note[2];			  /* this end's record */
bool off;			  /* the switch */
bool established;		  /* PASSIVE_ESTABLISHED has come */

/* ---- what is held against it ---- */

#define PLACE(reader, t) ((reader) * 3 + (t))
byte got[6];			  /* number of the last message read, by reader and thread */
byte sent[6];			  /* the last one that send() has taken */
byte senders;			  /* threads that are not done */
byte senders_of[2];
byte began[2];			  /* threads that have: those that are alike do in the order of their numbers */
bool fin_due[2];		  /* shutdown(SHUT_WR) is still to come */
bool waits[2];			  /* with the lock, for what its other threads have on the way */
bool hand_over[2];		  /* a send has left its lock to the packet that it sends */
byte mode[2];			  /* of the reader: */
#define BETWEEN	 0
#define IN_PSOCK 1 /* in tcp_bpf_recvmsg */
#define IN_TCP	 2 /* in tcp_recvmsg, or tcp_splice_read */
#define AT_END	 3

/* ---- memory order ---- */

/*
 * With TSO a store waits in the buffer of its processor until drain() or a fence; others see the
 * stores of one end in the order owned, threads, left, ended, as the program makes them under its
 * lock.  With WEAK (arm64) they see them in any order.  reads_tcp is the guard's.  Who looks sees
 * SEES_...; what is no store of ours (a queue, a key, a note, a psock) changes with an atomic
 * operation, or under a lock that who looks takes as well.
 */
#ifdef WEAK
#define TSO
#define IN_PROGRAM_ORDER(is_so) 1
#else
#define IN_PROGRAM_ORDER(is_so) (is_so)
#endif

#ifdef TSO
bool seen_owned[2], seen_ended[2], seen_reads[2];
byte seen_left[2], seen_threads[2];
byte unseen_refs[2];		  /* WEAK: of refs */
#define SEES_OWNED(e)	seen_owned[e]
#define SEES_LEFT(e)	seen_left[e]
#define SEES_ENDED(e)	seen_ended[e]
#define SEES_READS(e)	seen_reads[e]
#define SEES_THREADS(e) seen_threads[e]
#define SEES_REFS(e)	(refs[e] - unseen_refs[e])
#define flush(e)                                                                                   \
	seen_owned[e] = owned[e];                                                                  \
	seen_threads[e] = threads[e];                                                              \
	seen_left[e] = left[e];                                                                    \
	seen_ended[e] = ended[e]
#else
#define SEES_OWNED(e)	owned[e]
#define SEES_LEFT(e)	left[e]
#define SEES_ENDED(e)	ended[e]
#define SEES_READS(e)	reads_tcp[e]
#define SEES_THREADS(e) threads[e]
#define SEES_REFS(e)	refs[e]
#define flush(e)	skip
#endif

/* fence(), by who calls it */
#ifdef NO_FENCE_LEFT
#define fence_left(e) skip
#else
#define fence_left(e) flush(e)
#endif
#ifdef NO_FENCE_ENDED
#define fence_ended(e) skip
#else
#define fence_ended(e) flush(e)
#endif
#ifdef NO_FENCE_THREADS
#define fence_threads(e) skip
#else
#define fence_threads(e) flush(e)
#endif
#if defined(TSO) && !defined(NO_FENCE_READS)
#define fence_reads(e) seen_reads[e] = reads_tcp[e]
#else
#define fence_reads(e) skip
#endif

/* ---- locks and references ---- */

/* Rests on time: that the copying of the message lets others see the lock, before the look. */
#ifdef UNTIMED_LOCK
#define after_copying(e) skip
#else
#define after_copying(e) flush(e)
#endif

/* release_sock(); a spin lock in it orders the stores before. */
inline unlock(e)
{
	flush(e);
	owned[e] = 0;
	flush(e);
	locked[e] = 0
}

/* sk_psock_put(): with the last reference what is queued goes as well. */
inline put_psock(e)
{
	psock[e]--;
	if
	:: psock[e] == 0 && FULL(ingress[e]) && !CLOSES(e) -> assert(nothing_lost)
	:: else
	fi
}

/* bpf_map_delete_elem() */
inline delete_key(e)
{
	if
	:: in_map[e] ->
		in_map[e] = 0;
		put_psock(e)
	:: else
	fi
}

/* What each of these breaks, variants.txt says. */
#ifdef BREAK_LANDED_LOCK
#define LOOKS_AT_LOCK 0
#else
#define LOOKS_AT_LOCK 1
#endif
#ifdef BREAK_LANDED_REFS
#define LOOKS_AT_REFS 0
#else
#define LOOKS_AT_REFS 1
#endif

/*
 * own_references_only(): of another's socket, without its lock, timers may be miscounted by one while
 * one is being armed: that rests on time.
 */
#ifdef UNTIMED_TIMER
#define HAS_REFS(e) (SEES_REFS(e) > 1)
#else
#define HAS_REFS(e) (SEES_REFS(e) > 0)
#endif

/*
 * landed() in two looks: the lock of the peer, if that is known; then e's references.  `busy` is
 * between the two.
 */
inline look_at_lock(e, known)
{
	busy = busy || ((known) && LOOKS_AT_LOCK && SEES_OWNED(P(e)))
}

inline look_at_refs(e)
{
	busy = busy || (LOOKS_AT_REFS && SEES_REFS(e) > 0)
}

/* A packet to the peer.  It comes later, or with DIRECT at once. */
inline over_tcp(e, m)
{
#ifdef DIRECT
	receive[P(e)] ! m;
#ifdef UNMET
	received[P(e)] = 1
#endif
#else
	wire[P(e)] ! m
#endif
}

/* ---- leaving ---- */

#define OTHERS_QUEUED(e) (threads[e] < 2 || !HAS_REFS(P(e)))
#ifdef BREAK_OTHERS
#define MAY_LEAVE(e) 1
#else
#define MAY_LEAVE(e) OTHERS_QUEUED(e)
#endif

/* Who must leave waits for that, and otherwise redirects. */
#ifdef BREAK_PUT_OFF
#define MAY_LEAVE_NOW(e) 1
#else
#define MAY_LEAVE_NOW(e) OTHERS_QUEUED(e)
#endif

/*
 * wait_until_queued(): that it lasts long enough rests on time.  It cannot where the peer's thread
 * waits in the same way, or at a FIN: each has the lock that the other one's message needs.
 */
#define STUCK(e) (waits[e] && refs[P(e)] > 0 && waits[P(e)] && refs[e] > 0)
#ifdef UNTIMED_LEAVE
#define WAITED_UNTIL_QUEUED(e) 1
#else
#define WAITED_UNTIL_QUEUED(e) (OTHERS_QUEUED(e) || !met[e] || STUCK(e))
#endif

#ifdef BREAK_QUEUED
#define HOW(e) LEFT_QUEUED
#else
#define HOW(e) (OTHERS_QUEUED(e) || !met[e] -> LEFT_QUEUED : LEFT_IN_FLIGHT)
#endif

inline set_left(e, how)
{
	left[e] = how;
	fence_left(e)
}

inline set_ended(e)
{
	ended[e] = 1;
	fence_ended(e)
}

inline leave_bypass(e)
{
	set_left(e, HOW(e));
	if
	:: !met[e] && !alone[e] ->
#ifdef BREAK_TAKE_BACK
		alone[e] = 1
#else
		if
		:: note[e] ->
			note[e] = 0;
			alone[e] = 1
		:: else
		fi
#endif
	:: else
	fi
}

#ifdef BREAK_THREADS
#define MOST_THREADS 1
#else
#define MOST_THREADS 2
#endif

inline count_thread(e, t)
{
	if
	:: thread[e] != t + 1 ->
		thread[e] = t + 1;
		if
		:: threads[e] < MOST_THREADS ->
			threads[e]++;
			fence_threads(e)
		:: else
		fi
	:: else
	fi
}

/* meet_peer() */
inline meet_peer(e)
{
	if
	:: !met[e] && !alone[e] && note[P(e)] ->
		note[P(e)] = 0;
		met[e] = 1
	:: else
	fi
}

/* Rule 2, must_leave(): each BREAK_ takes one of its parts away. */
#ifdef BREAK_RULE2_LEFT
#define MINDS_LEFT 0
#else
#define MINDS_LEFT 1
#endif
#ifdef BREAK_RULE2_ENDED
#define MINDS_ENDED 0
#else
#define MINDS_ENDED 1
#endif
#ifdef BREAK_RULE2_READS
#define MINDS_READS 0
#else
#define MINDS_READS 1
#endif
#ifdef BREAK_RULE2_OFF
#define MINDS_OFF 0
#else
#define MINDS_OFF 1
#endif
#define MUST_LEAVE(e)                                                                              \
	((SEES_LEFT(P(e)) && MINDS_LEFT) || (SEES_ENDED(P(e)) && MINDS_ENDED) ||                   \
	 (SEES_READS(P(e)) && MINDS_READS) || (off && MINDS_OFF))

/* ---- rule 3 ---- */

/* What a packet does next. */
#define STAYS  0
#define LANDED 1 /* if landed() */
#define GOES   2

#ifdef BREAK_IN_FLIGHT
#define LEFT_FOR_RULE3(e) SEES_LEFT(e)
#else
#define LEFT_FOR_RULE3(e) (SEES_LEFT(e) == LEFT_QUEUED)
#endif
#ifdef BREAK_STAYS
#define SOMEBODY_SEES(e) 1
#elif defined(BREAK_OWN)
#define SOMEBODY_SEES(e) SEES_LEFT(P(e))
#else
#define SOMEBODY_SEES(e) (SEES_LEFT(P(e)) || left[e] || ended[e] || SEES_READS(e))
#endif

inline peer_may_redirect(e)
{
	if
	:: psock[P(e)] == 0 || LEFT_FOR_RULE3(P(e)) -> next = GOES
	:: else ->
		if
		:: !SOMEBODY_SEES(e) -> next = STAYS
		:: SOMEBODY_SEES(e) && SEES_THREADS(P(e)) == 0 -> next = GOES
		:: SOMEBODY_SEES(e) && SEES_THREADS(P(e)) > 0 -> next = LANDED
		fi
	fi
}

/* may_leave_map(), unmet_server_left() */
inline may_leave_map(e, is_sent)
{
	meet_peer(e);
	if
	:: !met[e] && !alone[e] && !is_sent && note[e] ->
		note[e] = 0;
		alone[e] = 1
	:: else
	fi;
	if
#ifndef BREAK_QUEUE
	:: FULL(ingress[e]) -> next = STAYS
	:: EMPTY(ingress[e]) && alone[e] -> next = GOES
	:: EMPTY(ingress[e]) && !alone[e] && met[e] -> peer_may_redirect(e)
	:: EMPTY(ingress[e]) && !alone[e] && !met[e] -> next = (received[e] -> GOES : STAYS)
#else
	:: true -> peer_may_redirect(e)
#endif
	fi
}

/* ---- a thread that sends: tcp_bpf_sendmsg, and under its lock bpf_tcpip_bypass ---- */

#define PASS	 0
#define LOOK	 1
#define REDIRECT 2
#define LEAVE	 3

/* A send that has begun before its socket entered the map goes past the program. */
#ifdef EARLY
#define BEGAN_EARLY(e, t, n) ((e) == 0 && (t) == T0 - 1 && (n) == 1)
#else
#define BEGAN_EARLY(e, t, n) 0
#endif

/* Of a psock that is gone anything may be read. */
#define MAY_BE_FULL(e) (FULL(ingress[e]) || psock[e] == 0)

#ifdef BREAK_LOOK_FIRST
#define LOOKS_AGAIN 0
#else
#define LOOKS_AGAIN 1
#endif

proctype sender(byte e; byte t)
{
	byte n = 1, todo = PASS;
	bool with_psock; /* has a reference to its own end's: while it has, the program runs */
	bool must;

	established || e == 0;
	/* sk_psock_get() comes before the lock: with a socket that goes OUT between them. */
	atomic {
		if
		:: psock[e] > 0 && !BEGAN_EARLY(e, t, 1) ->
			with_psock = 1;
			psock[e]++
		:: true
		fi
	}
	do
	:: n <= MESSAGES(e) ->
#ifdef BREAK_LOOK_FIRST
		must = MUST_LEAVE(e);
#endif
locks:		atomic {
			!locked[e] && began[e] >= t;
			began[e] = (began[e] > t -> began[e] : t + 1);
			locked[e] = 1;
			owned[e] = 1;
			after_copying(e);
			if
			:: !with_psock && psock[e] > 0 && !BEGAN_EARLY(e, t, n) ->
				with_psock = 1;
				psock[e]++
			:: else
			fi;
			if
			:: with_psock ->
#ifndef BREAK_COUNT_LATE
				count_thread(e, t);
#endif
				meet_peer(e);
				if
#ifdef BREAK_RULE1_RETURNS
				:: left[e] && EMPTY(ingress[P(e)]) && in_map[P(e)] -> todo = LOOK
				:: left[e] && !(EMPTY(ingress[P(e)]) && in_map[P(e)]) -> todo = PASS
#else
				:: left[e] -> todo = PASS
#endif
				:: !left[e] && (wrote[e] || !met[e] || shut[e]) -> todo = LEAVE
				:: else -> todo = LOOK
				fi
			:: else -> todo = PASS
			fi
		}
		/* look_at_both() */
looks:		if
		:: todo == LOOK && LOOKS_AGAIN -> must = MUST_LEAVE(e)
		:: else
		fi;
#ifdef BREAK_COUNT_LATE
		atomic {
			if
			:: todo == LOOK -> count_thread(e, t)
			:: else
			fi
		}
#endif
		/* reason_to_leave(), bpf_msg_redirect_hash(), sk_psock_msg_verdict(), release_sock() */
verdict:	atomic {
			if
			:: todo == LOOK && must && EMPTY(ingress[P(e)]) ->
				todo = (MAY_LEAVE_NOW(e) -> LEAVE : REDIRECT)
			:: todo == LOOK && (!must || MAY_BE_FULL(P(e))) -> todo = REDIRECT
#ifndef ONLY_MUST
			/* Once read, held, or more than room: for none of these while others are. */
			:: todo == LOOK && MAY_LEAVE(e) -> todo = LEAVE
#endif
#ifdef AT_ONCE
			/* What only TCP can carry: a wait. */
			:: todo == LOOK -> todo = LEAVE
#endif
			:: todo != LOOK
			fi;
			must = 0;
			if
			:: todo == REDIRECT && !in_map[P(e)] -> todo = LEAVE
			:: todo == REDIRECT && in_map[P(e)] ->
#ifdef BREAK_HOLD_LATE
				unlock(e)
#else
				refs[P(e)]++;
#ifdef UNTIMED_HOLD
				unseen_refs[P(e)]++;
#endif
				unlock(e)
#endif
			:: else
			fi;
			waits[e] = (todo == LEAVE)
		}
		if
		:: todo == REDIRECT ->
#ifdef BREAK_HOLD_LATE
			refs[P(e)]++;
#endif
#ifdef BREAK_PSOCK
			/* The reference to the own psock is given back too early. */
			atomic {
				with_psock = 0;
				put_psock(e)
			}
#endif
			/* tcp_bpf_sendmsg_redir(), bpf_tcp_ingress(), sock_put() */
lands:			atomic {
				!locked[P(e)];
				if
				:: psock[P(e)] == 0 && !CLOSES(P(e)) -> assert(nothing_lost) /* EPIPE */
				:: else
				fi;
				if
				:: psock[P(e)] > 0 -> ingress[P(e)] ! MESSAGE(t, n)
				:: else
				fi;
				sent[PLACE(P(e), t)] = n;
#ifdef UNTIMED_HOLD
				if
				:: unseen_refs[P(e)] > 0 -> unseen_refs[P(e)]--
				:: else
				fi;
#endif
				refs[P(e)]--;
				todo = PASS
			}
		:: else ->
leaves:			atomic {
				if
				:: todo == LEAVE ->
					(WAITED_UNTIL_QUEUED(e)) -> leave_bypass(e)
				:: else
				fi;
				waits[e] = 0;
				todo = PASS;
				if
				:: shut[e] -> n = MESSAGES(e) /* EPIPE */
				:: else ->
					over_tcp(e, MESSAGE(t, n));
					sent[PLACE(P(e), t)] = n;
					wrote[e] = 1
				fi;
#ifdef TSO
				hand_over[e] = 1
#else
				unlock(e)
#endif
			}
#ifdef TSO
			!hand_over[e]
#endif
		fi;
		/* The end of this call, or not: a long send, or the next one has the psock already. */
		atomic {
			n++;
			if
			:: with_psock ->
				with_psock = 0;
				put_psock(e)
			:: with_psock && n <= MESSAGES(e)
			:: !with_psock
			fi
		}
	:: else -> break
	od;
	atomic {
		senders--;
		senders_of[e]--
	}
}

/* ---- the packets of a socket ---- */

/* A packet may be sent or received at any moment; those that would do nothing are left out. */
#ifdef BREAK_QUEUE
#define WORTH_A_PACKET(e) (in_map[e] && psock[e] > 0)
#else
#define WORTH_A_PACKET(e) (in_map[e] && psock[e] > 0 && EMPTY(ingress[e]))
#endif

#ifdef FIN_RACE
#define FIN_MAY_COME(e) 1
#else
#define FIN_MAY_COME(e) (senders_of[e] == 0)
#endif

/* wait_before_fin(): that it lasts long enough rests on time. */
#ifdef UNTIMED_FIN
#define WAITED_BEFORE_FIN(e) 1
#else
#define WAITED_BEFORE_FIN(e)                                                                       \
	(threads[e] == 0 || left[e] == LEFT_QUEUED || psock[P(e)] == 0 || refs[P(e)] == 0 || STUCK(e))
#endif

/* Nothing moves any more, but for this packet. */
#define AT_REST                                                                                    \
	(senders == 0 && established && EMPTY(wire[0]) && EMPTY(wire[1]) && EMPTY(ingress[0]) &&   \
	 EMPTY(ingress[1]) && !fin_due[0] && !fin_due[1] && refs[0] == 0 && refs[1] == 0)
#define RULE3_LETS_GO(e)                                                                           \
	(in_map[e] &&                                                                              \
	 (alone[e] || (met[e] && (left[P(e)] == LEFT_QUEUED || left[e] || ended[e] ||              \
				  psock[P(e)] == 0))))

proctype packets(byte e)
{
	byte m, next;
	bool fin, busy, rests;

end:	atomic {
		if
		/* TCP's bytes come.  A packet that finds the lock owned waits in the backlog. */
		:: !locked[e] && FULL(wire[e]) ->
			wire[e] ? m;
			receive[e] ! m;
			m = 0;
#ifdef UNMET
			received[e] = 1;
#endif
			goto end
#ifdef TSO
		/* The packet of a send itself, before the lock is given back. */
		:: hand_over[e]
#endif
		/* Any other one. */
		:: !locked[e] && WORTH_A_PACKET(e) -> locked[e] = 1
		/* The FIN: shutdown(SHUT_WR) by some thread. */
		:: !locked[e] && fin_due[e] && FIN_MAY_COME(e) && (e == 0 || established) ->
			locked[e] = 1;
			owned[e] = 1;
			shut[e] = 1;
			fin_due[e] = 0;
			fin = 1;
			waits[e] = 1;
			if
			:: in_map[e] -> set_ended(e)
			:: else
			fi;
			if /* sock_map_close() comes first, and nothing is in the way of that */
			:: CLOSES(e) -> delete_key(e)
			:: else
			fi
		fi;
		/* on_packet() */
packet:		!fin || !in_map[e] || WAITED_BEFORE_FIN(e);
		waits[e] = 0;
		rests = AT_REST && !fin && RULE3_LETS_GO(e) && !locked[P(e)];
		if /* detect_early_send() */
		:: in_map[e] && !fin && !left[e] && threads[e] == 0 && wrote[e] ->
			set_left(e, LEFT_QUEUED)
		:: else
		fi;
		if
		:: WORTH_A_PACKET(e) -> may_leave_map(e, 1)
#ifdef UNMET
		:: WORTH_A_PACKET(e) && established && !fin -> may_leave_map(e, 0)
#endif
		:: else
		fi;
#ifdef OLD
		if
		:: next != STAYS && met[e] && !left[e] && !ended[e] && psock[P(e)] > 0 &&
		   FULL(ingress[P(e)]) -> next = STAYS
		:: else
		fi;
#endif
#ifndef BREAK_OWN_QUEUED
		if
		:: next != STAYS && met[e] && threads[e] > 0 && left[e] != LEFT_QUEUED &&
		   psock[P(e)] > 0 && refs[P(e)] > 0 -> next = STAYS
		:: else
		fi;
#endif
		if
		:: next == STAYS -> goto out
		:: else
		fi
	}
	if
	:: next == LANDED ->
#ifndef BREAK_LANDED_ORDER
look_lock:	look_at_lock(e, met[e]);
look_refs:	atomic {
			look_at_refs(e);
#else
		look_at_refs(e);
		atomic {
			look_at_lock(e, met[e]);
#endif
			next = (busy -> STAYS : GOES);
			if
			:: next == STAYS -> goto out
			:: else
			fi
		}
	:: else
	fi;
out:	atomic {
		if
		:: next == GOES ->
#ifndef BREAK_OUT_LEAVES
			if
			:: !left[e] -> set_left(e, LEFT_QUEUED)
			:: else
			fi;
#endif
			delete_key(e)
		:: next == STAYS && rests -> assert(goes_out)
		:: else
		fi;
		next = STAYS;
		busy = 0;
		rests = 0;
		if
		:: fin -> over_tcp(e, FIN)
		:: else
		fi;
		fin = 0;
#ifdef TSO
		hand_over[e] = 0;
#endif
		unlock(e);
		goto end
	}
}

/* ---- a thread that reads ---- */

inline take(queue, e)
{
	queue ? m;
	if
	:: m == FIN -> mode[e] = AT_END
	:: else ->
		if
		:: NUMBER(m) != got[PLACE(e, THREAD(m))] + 1 -> assert(in_order)
		:: else
		fi;
		got[PLACE(e, THREAD(m))] = NUMBER(m);
		mode[e] = BETWEEN
	fi;
	m = 0
}

#ifdef BREAK_READER
#define TCP_FIRST(e) 1
#else
#define TCP_FIRST(e) EMPTY(ingress[e])
#endif

proctype reader(byte e)
{
	byte m;
	bool busy;

end:
	(established || e == 0) && !CLOSES(e);
recv:	if
	:: mode[e] == AT_END -> goto done
	:: else
	fi;
#ifdef GUARD
	if
	:: e == GUARD -> goto guard
	:: true
	fi;
#endif
	/* tcp_bpf_recvmsg(): the first looks are without the lock. */
	atomic {
		if
		:: psock[e] == 0 ->
			mode[e] = IN_TCP;
			goto from_tcp
		:: psock[e] > 0 && FULL(receive[e]) && TCP_FIRST(e) ->
			mode[e] = IN_TCP;
			goto from_tcp
		:: else ->
			psock[e]++;
			mode[e] = IN_PSOCK
		fi
	}
	/* With the lock, which a wait gives back. */
end1:	if
	:: atomic {
		!locked[e] && FULL(ingress[e]);
		take(ingress[e], e);
		put_psock(e)
	   }
	   goto recv
	:: atomic {
		!locked[e] && EMPTY(ingress[e]) && FULL(receive[e]);
		put_psock(e);
		mode[e] = IN_TCP
	   }
	fi;

	/* tcp_recvmsg(): as long as it likes to (MSG_WAITALL), or as there is more. */
from_tcp:
end2:	atomic {
		!locked[e] && FULL(receive[e]);
		take(receive[e], e);
		if
		:: mode[e] == BETWEEN ->
			mode[e] = IN_TCP;
			goto from_tcp
		:: true -> goto recv
		fi
	}

#ifdef GUARD
	/* guard(), has_unread(); then tcp_splice_read() */
guard:	if
	:: !in_map[e]
	:: else ->
		atomic {
			reads_tcp[e] = 1;
			fence_reads(e)
		}
#ifdef BREAK_GUARD_ORDER
		if
		:: FULL(ingress[e]) -> goto recv
		:: else
		fi;
#endif
		look_at_lock(e, met[e] || note[P(e)]);
		atomic {
			look_at_refs(e);
			if
			:: busy ->
				busy = 0;
				goto recv /* wait_until_landed(), or EINVAL */
			:: else
			fi
		}
#ifndef BREAK_GUARD_ORDER
		if
		:: FULL(ingress[e]) -> goto recv
		:: else
		fi
#endif
	fi;
	mode[e] = IN_TCP;
	goto from_tcp;
#endif
done:	skip
}

#if defined(BREAK_RULE1_LOCK) || defined(BREAK_RULE1_BY_SEND)
/* The server's flag is set from outside, not by a send. */
proctype outsider()
{
	threads[1] > 0;
#ifdef BREAK_RULE1_BY_SEND
	atomic {
		!locked[1] -> left[1] = LEFT_QUEUED
	}
#else
	left[1] = LEFT_QUEUED
#endif
}
#endif

/* ---- the handshake ---- */

#ifdef UNMET
/*
 * The client is in the map, and has left its note.  The server becomes established at any later
 * moment: vet_server(), admit().
 */
proctype handshake()
{
	bool refused;

	atomic {
		!locked[1] -> locked[1] = 1
	}
	refused = !note[0];
	refused = refused || SEES_LEFT(0);
	atomic { /* take_note(): one of two succeeds */
		refused = refused || !note[0];
#ifndef BREAK_ADMIT
		if
		:: !refused -> note[0] = 0
		:: else
		fi
#endif
	}
	if
	:: !refused ->
#ifdef BREAK_ENTERS
		note[1] = 1;
#endif
enters:		atomic {
			met[1] = 1;
			psock[1] = 1;
			in_map[1] = 1
		}
#ifndef BREAK_ENTERS
		note[1] = 1
#endif
	:: else
	fi;
	atomic {
		established = 1;
		locked[1] = 0
	}
}
#endif

#ifdef SWITCH
/* The switch goes off at some moment, and no unload follows. */
proctype switches()
{
	off = 1
}
#endif

#ifdef LOST
/* Others push notes out of the LRU map. */
proctype lru()
{
end:	do
	:: atomic { note[0] -> note[0] = 0 }
	:: atomic { note[1] -> note[1] = 0 }
	od
}
#endif

/* ---- memory order ---- */

#ifdef TSO
/* A store leaves its buffer. */
proctype drain(byte e)
{
#define DRAINED_OWNED	(seen_owned[e] == owned[e])
#define DRAINED_THREADS (seen_threads[e] == threads[e])
#define DRAINED_LEFT	(seen_left[e] == left[e])
end:	do
	:: atomic { !DRAINED_OWNED -> seen_owned[e] = owned[e] }
	:: atomic {
		!DRAINED_THREADS && IN_PROGRAM_ORDER(DRAINED_OWNED) -> seen_threads[e] = threads[e]
	   }
	:: atomic {
		!DRAINED_LEFT && IN_PROGRAM_ORDER(DRAINED_OWNED && DRAINED_THREADS) ->
			seen_left[e] = left[e]
	   }
	:: atomic {
		seen_ended[e] != ended[e] &&
			IN_PROGRAM_ORDER(DRAINED_OWNED && DRAINED_THREADS && DRAINED_LEFT) ->
			seen_ended[e] = ended[e]
	   }
	:: atomic { seen_reads[e] != reads_tcp[e] -> seen_reads[e] = reads_tcp[e] }
#ifdef UNTIMED_HOLD
	:: atomic { unseen_refs[e] > 0 -> unseen_refs[e]-- }
#endif
	od
}
#endif

/* ---- unload.sh ---- */

#ifdef UNLOAD
/* idle_now(): without a lock. */
inline idle_now(e)
{
	look_at_lock(e, 1);
	atomic {
		look_at_refs(e);
		if
		:: busy ->
			busy = 0;
			goto again
		:: else
		fi
	}
	if
	:: FULL(ingress[e]) -> goto again
	:: else
	fi
}

proctype unload()
{
	byte looks;
	bool busy;

	established;
#ifndef BREAK_UNLOAD
	off = 1;
#endif
again:	looks = 0;
	do
	:: looks < LOOKS ->
		idle_now(0);
		idle_now(1);
		looks++
	:: else -> break
	od;
	atomic { delete_key(0) }
	atomic { delete_key(1) }
	off = 1
}
#endif

/* ---- the end ---- */

#define WAITS(e)                                                                                   \
	(CLOSES(e) || mode[e] == AT_END ||                                                         \
	 (mode[e] == IN_PSOCK && EMPTY(ingress[e]) && EMPTY(receive[e])) ||                        \
	 (mode[e] == IN_TCP && EMPTY(receive[e])))

proctype monitor()
{
end:	atomic {
		senders == 0 && established && !locked[0] && !locked[1] && EMPTY(wire[0]) &&
			EMPTY(wire[1]) && !fin_due[0] && !fin_due[1] && WAITS(0) && WAITS(1);
		if
		:: !CLOSES(0) && (got[0] != sent[0] || got[1] != sent[1] || got[2] != sent[2]) ->
			assert(all_read)
		:: !CLOSES(1) && (got[3] != sent[3] || got[4] != sent[4] || got[5] != sent[5]) ->
			assert(all_read)
		:: else
		fi
	}
}

init {
	atomic {
		psock[0] = 1;
		in_map[0] = 1;
#ifdef UNMET
		note[0] = 1;
#else
		psock[1] = 1;
		in_map[1] = 1;
		met[0] = 1;
		met[1] = 1;
		established = 1;
#endif
#ifdef FIN0
		fin_due[0] = 1;
#endif
#ifdef FIN1
		fin_due[1] = 1;
#endif
		senders = T0 + T1;
		senders_of[0] = T0;
		senders_of[1] = T1;
#if T0 > 0
		run sender(0, 0);
#endif
#if T0 > 1
		run sender(0, 1);
#endif
#if T1 > 0
		run sender(1, 0);
#endif
#if T1 > 1
		run sender(1, 1);
#endif
#if T1 > 2
		run sender(1, 2);
#endif
		run reader(0);
		run reader(1);
		run packets(0);
		run packets(1);
		run monitor();
#ifdef UNMET
		run handshake();
#endif
#if defined(BREAK_RULE1_LOCK) || defined(BREAK_RULE1_BY_SEND)
		run outsider();
#endif
#ifdef SWITCH
		run switches();
#endif
#ifdef LOST
		run lru();
#endif
#ifdef TSO
		run drain(0);
		run drain(1);
#endif
#ifdef UNLOAD
		run unload();
#endif
	}
}
