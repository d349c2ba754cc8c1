#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A seeded random mix of all patterns, for as long as one likes, as root:
#
#   tests/soak.sh [MINUTES [SEED]]      default: 10 minutes, a random seed
#
# In turns of half a minute: first the pair stays loaded, and at the end the
# counters are held against what the programs did; then it is unloaded and loaded
# again and again under the traffic.  Every program checks every byte that it gets.
# Ends at the first fault, with the command that failed.

set -euo pipefail
export LC_ALL=C
HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
MINUTES=${1:-10}
BOX_SECONDS=$((60 * MINUTES + 600)) # the sandbox outlives the last turn
# shellcheck source=tests/sandbox.bash
. "$HERE/sandbox.bash"

SEED=${2:-$RANDOM}
WORKERS=4
TURN=30 # seconds

# Each line: a scenario of tests/pair.c with options, some sizes keep a run short; or, by its first
# word, tests/readers.c or tests/senders.c with options, or a case of tests/semantics, which must
# say what it says on plain TCP.
PATTERNS=(
	"talk --count 300"
	"talk --count 2000 --size 100"
	"talk --count 50 --size 100000"
	"talk --count 200 --listen ::1"
	"talk --count 200 --listen :: --connect 127.0.0.1"
	"talk --count 100 --abort"
	"turns --count 20 --size 2000000"
	"turns --count 20 --size 2000000 --nonblock"
	"turns --count 6 --size 300000 --slow"
	"duplex --size 2000000"
	"duplex --size 300000 --slow"
	"answers --count 10"
	"answers --count 5 --size 5000000"
	"three --defer"
	"upload --size 20000000"
	"upload-waiting --size 20000000"
	"split --count 60"
	"half-close-early"
	"half-close-late --size 300000"
	"half-close-busy"
	"half-close-crossed --nonblock"
	"reset"
	"edge --size 30000"
	"edge --size 30000 --slow"
	"fionread --size 30000"
	"writers --count 500"
	"talk --count 100000 --kill"
	"turns --count 100000 --kill"
	"duplex --kill"
	"readers --count 20 --jobs 4"
	"readers --count 20 --listen ::1"
	"readers --count 20 --size 100000 --buffers 16384"
	"readers --count 20 --size 1000"
	"readers --count 20 --styles asking,edge-short,edge-fionread"
	"readers --count 20 --styles blocking"
	"unread --count 3000"
	"unread --count 3000 --size 64"
	"senders --rounds 20"
	"senders --rounds 20 --threads 2 --listen ::1"
	"senders --rounds 5 --threads 16"
	"senders --rounds 100 --shut --records 50 --waitall 0"
	"semantics stuck_recv"
	"semantics stuck_send"
	"semantics repair_client"
	"semantics repair_server"
)

[[ $EUID -eq 0 ]] || {
	echo "soak.sh: needs root: sudo $0" >&2
	exit 1
}
make -C "$ROOT" -s all test-programs >&2

# play CPUS SEED PATTERN
play() {
	local on=(in_box taskset "$1") words
	read -ra words <<<"$3"
	case ${words[0]} in
	readers) "${on[@]}" "$ROOT/build/readers" --timeout 10 --seed "$2" "${words[@]:1}" ;;
	senders) "${on[@]}" chrt -f 1 "$ROOT/build/senders" "${words[@]:1}" ;;
	semantics) diff "$BOX_TMP/${words[1]}.tcp" <("${on[@]}" "$ROOT/build/semantics" \
		"${words[1]}") >&2 ;;
	*) "${on[@]}" "$PAIR" --timeout 30 --seed "$2" "${words[@]}" ;;
	esac
}

# What the cases say on plain TCP.
record_tcp() {
	local pattern
	for pattern in "${PATTERNS[@]}"; do
		[[ $pattern != semantics* ]] ||
			in_box "$ROOT/build/semantics" "${pattern#* }" >"$BOX_TMP/${pattern#* }.tcp"
	done
}

# worker NUMBER: patterns drawn by its own seed, until $BOX_TMP/stop exists.
worker() {
	local pattern affinity runs=0
	RANDOM=$((SEED + $1))
	while [[ ! -e $BOX_TMP/stop ]]; do
		pattern=${PATTERNS[RANDOM % ${#PATTERNS[@]}]}
		affinity=$((1 + RANDOM % 3))
		play "$affinity" "$RANDOM" "$pattern" 2>"$BOX_TMP/error.$1" >/dev/null || {
			echo "FAILED: taskset $affinity $pattern: $(cat "$BOX_TMP/error.$1")" >>"$BOX_TMP/failures"
			touch "$BOX_TMP/stop"
		}
		runs=$((runs + 1))
	done
	echo "$runs" >>"$BOX_TMP/runs"
}

start_workers() {
	local i
	rm -f "$BOX_TMP/stop"
	for ((i = 1; i <= WORKERS; i++)); do
		worker $((turn * WORKERS + i)) &
		WORKER_PIDS+=("$!")
	done
}

stop_workers() {
	touch "$BOX_TMP/stop"
	wait "${WORKER_PIDS[@]}"
	WORKER_PIDS=()
	if [[ -e $BOX_TMP/failures ]]; then
		cat "$BOX_TMP/failures"
		echo "soak: failed; again with: tests/soak.sh $MINUTES $SEED"
		exit 1
	fi
}

quietly() {
	"$@" >"$BOX_TMP/log" 2>&1 || {
		cat "$BOX_TMP/log" >&2
		exit 1
	}
}

map_is_empty() {
	[[ $(in_map) -eq 0 ]]
}

reconcile() {
	wait_until 10 "the map to be empty" map_is_empty
	# A server is admitted only beside its client; a client may be alone (deferred accept).
	have_want "servers admitted" "$(counter admitted_passive)" -le "$(counter admitted_active)"
	have_want "refused" \
		"$(counter refused_full refused_special refused_mptcp refused_early_data refused_off)" -eq 0
	# A known number of messages, all on the bypass.
	before=$(counter redirected_messages)
	quietly in_box "$PAIR" --count 500 talk
	have_want "messages of 500 round trips" $(($(counter redirected_messages) - before)) -eq 1000
	MESSAGES=$((MESSAGES + $(counter redirected_messages)))
	BYTES=$((BYTES + $(counter redirected_bytes)))
}

warnings() {
	dmesg | grep -cE 'WARNING:|BUG:|Oops|general protection|refcount_t|use-after-free|hung_task' ||
		true
}

box_up
trap box_down EXIT
disown -a
WARNINGS=$(warnings)
record_tcp
WORKER_PIDS=() MESSAGES=0 BYTES=0 LOADS=0 turn=0
end=$((SECONDS + 60 * MINUTES))
echo "soak: $MINUTES minutes, seed $SEED"
while ((SECONDS < end)); do
	quietly load_pair --quiet
	start_workers
	for ((i = 0; i < TURN && SECONDS < end; i++)); do
		[[ ! -e $BOX_TMP/stop ]] || break
		sleep 1
		quietly in_box "$ROOT/status.sh"
	done
	stop_workers
	reconcile
	turn=$((turn + 1))
	start_workers
	turn_end=$((SECONDS + TURN))
	while ((SECONDS < turn_end && SECONDS < end)); do
		[[ ! -e $BOX_TMP/stop ]] || break
		quietly unload_pair --timeout 2
		quietly load_pair --quiet
		LOADS=$((LOADS + 1))
	done
	stop_workers
	quietly unload_pair
	turn=$((turn + 1))
	echo "soak: $((SECONDS / 60)) min, $(awk '{ n += $1 } END { print n }' "$BOX_TMP/runs") runs, no fault"
done
have_want "warnings of the kernel" "$(warnings)" -eq "$WARNINGS"
echo "soak: $(awk '{ n += $1 } END { print n }' "$BOX_TMP/runs") runs, $LOADS loads under traffic," \
	"$MESSAGES messages and $BYTES bytes on the bypass while loaded for good; no fault"
