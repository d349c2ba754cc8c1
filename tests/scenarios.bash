# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Checks that ours must pass and the control must fail.

# Three small sends to a deferred accept, 20 times: prints how often they came
# in the wrong order.
disorders() {
	local i wrong=0
	for i in {1..20}; do
		in_box "$PAIR" --seed "$i" --timeout 5 --defer three 2>>"$BOX_TMP/disorders" ||
			wrong=$((wrong + 1))
	done
	echo "$wrong"
}

# held_by_stopped_reader OPTION...: how many bytes a connection took whose reader
# had stopped.
held_by_stopped_reader() {
	in_box "$PAIR" "$@" stopped | sed -n 's/held \([0-9]*\) bytes/\1/p'
}

# Does the kernel count what is queued for a reader?  Else one that has stopped
# is bounded by ROOM_UNCOUNTED alone (bpf/backlog.h).
counts_unread() {
	grep -q msg_tot_len /sys/kernel/btf/vmlinux
}

answers() {
	grep -c again "$1" 2>/dev/null || true
}

has_answers() {
	[[ $(answers "$1") -ge $2 ]]
}

# hold_in NAMESPACE SEED WRAPPER: a connection 127.0.0.1:7001 -> 127.0.0.1:7000 in
# that namespace, the server run by WRAPPER (in_box or out_of_box).  It carries a
# byte each way for each line written to $BOX_TMP/NAMESPACE.go.
hold_in() {
	local name=$1 seed=$2 wrapper=$3 file=$BOX_TMP/$1
	local args=(--seed "$seed" --port 7000 --count 20 --timeout 5 hold)
	in_box ip netns add "$name"
	in_box ip -n "$name" link set lo up
	serve "$file.port" "$wrapper" ip netns exec "$name" -- "${args[@]}"
	mkfifo "$file.go"
	in_box ip netns exec "$name" "$PAIR" --client-port 7001 "${args[@]}" call \
		<"$file.go" >"$file.out" 3>&- &
	HOLDERS+=("$!" "$SERVER")
}

# talk_on NAMESPACE FD ROUND: one more round trip on that connection.
talk_on() {
	echo >&"$2" && wait_until 5 "an answer in $1" has_answers "$BOX_TMP/$1.out" "$3"
}

# One 4-tuple in two namespaces, the second one's server run by in_box or
# out_of_box; fails when an end reads what is not its own, or nothing.
same_tuple_in_two_namespaces() {
	local round pid status=0
	HOLDERS=()
	hold_in one 1 in_box
	exec 8>"$BOX_TMP/one.go"
	wait_until 5 "the first connection" grep -q held "$BOX_TMP/one.out" || status=1
	hold_in two 2 "$1"
	exec 9>"$BOX_TMP/two.go"
	wait_until 5 "the second connection" grep -q held "$BOX_TMP/two.out" || status=1
	for round in {1..10}; do
		((status == 0)) || break
		talk_on one 8 "$round" && talk_on two 9 "$round" || status=1
	done
	exec 8>&- 9>&-
	for pid in "${HOLDERS[@]}"; do
		wait "$pid" || status=1
	done
	rm "$BOX_TMP"/{one,two}.go
	in_box ip netns del one
	in_box ip netns del two
	return "$status"
}

# assert_none_left: no direction has left.  Where the host takes a CPU away from a reader amid its
# call, that direction leaves: two may, HELD of them have.
assert_none_left() {
	HELD=$(counter left_held)
	have_want "directions whose reader was preempted" "$HELD" -le 2
	have_want "directions that have left for another reason" "$(counters | awk '
		/^left_/ && !/^left_(held|peer_left)/ { n += $2 }
		END { print n + 0 }')" -eq 0
}

# assert_stayed MESSAGES: so many have skipped the stack, and no direction has left.
assert_stayed() {
	local messages
	messages=$(counter redirected_messages)
	assert_none_left
	((HELD)) || have_want "redirected messages" "$messages" -eq "$1"
	have_want "redirected messages" "$messages" -ge $(($1 * 9 / 10))
}

# assert_three_stay ID: of `hold_many 20 3`, as an unload has just said: until they are read, and
# with them the sk_msg program of that id.
# shellcheck disable=SC2154 # `run` sets $output
assert_three_stay() {
	output_has "connections taken off the bypass: 17"
	have_want "lines that name one" \
		"$(grep -c ', 3000 bytes unread by the client (many/[0-9]*) for ' <<<"$output")" -eq 3
	many_talk 1
	wait_until 15 "the process in the background" is_gone "$1"
	wait_until 15 "its pins to go" eval 'assert_no_pins 2>/dev/null'
	many_talk 2
}

# admitted PORT, not_admitted PORT: what becomes of a new connection to a server there.
admitted() {
	zero_counters
	in_box "$PAIR" --port "$1" talk
	have_want "redirected messages, port $1" "$(counter redirected_messages)" -eq 200
}

not_admitted() {
	zero_counters
	in_box "$PAIR" --port "$1" talk
	have_want "redirected messages, port $1" "$(counter redirected_messages)" -eq 0
}
