#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# What goes wrong on a host, and what must not follow from it: wrong bytes, a
# hang, entries that stay in the map, warnings of the kernel.

bats_require_minimum_version 1.5.0
load sandbox.bash
load scenarios.bash

setup() {
	box_up
	DMESG=$(kernel_warnings)
}

teardown() {
	box_down
	have_want "warnings of the kernel" "$(kernel_warnings)" -eq "$DMESG"
}

kernel_warnings() {
	dmesg |
		grep -cE 'WARNING:|BUG:|Oops|general protection|refcount_t|use-after-free|suspicious RCU|hung_task|blocked for more' || true
}

# Nothing of past connections is left: sockets, notes of handshakes, psocks.
assert_nothing_left() {
	wait_until 5 "the map to be empty" map_is_empty
}

quiet_load() {
	load_pair --quiet "$@" >/dev/null 2>&1
}

# bats test_tags=long
@test "faults: kill -9 of either end at random moments" {
	local scenario seed
	quiet_load
	for scenario in talk turns duplex; do
		for seed in {1..40}; do
			in_box "$PAIR" --seed "$seed" --kill --timeout 10 --count 100000 "$scenario"
			in_box taskset 1 "$PAIR" --seed "$((seed + 1000))" --kill --timeout 10 --count 100000 "$scenario"
		done
	done
	have_want "redirected messages" "$(counter redirected_messages)" -gt 10000
	assert_nothing_left
}

# Not in a blocking recv, which SIGCONT ends with EAGAIN (docs/limits.md).  Requests and answers
# stay on the bypass; of turns of many messages too many are soon unread, and they go on over TCP.
# bats test_tags=long
@test "faults: a reader is stopped now and then" {
	local i pid talk turns
	quiet_load
	in_box "$PAIR" --seed 3 --count 5000 --size 100000 --timeout 60 --nonblock talk 3>&- &
	talk=$!
	wait_until 5 "traffic" traffic_of 100
	in_box "$PAIR" --seed 3 --count 1000 --size 300000 --timeout 60 --nonblock turns 3>&- &
	turns=$!
	for i in {1..12}; do
		for pid in $(pids_of pair); do
			kill -STOP "$pid" || true
			sleep 0.1
			kill -CONT "$pid" || true
		done
	done
	wait "$talk"
	wait "$turns"
	have_want "redirected messages" "$(counter redirected_messages)" -ge 10000
	assert_nothing_left
}

traffic_of() {
	[[ $(counter redirected_messages) -ge $1 ]]
}

# pids_of NAME: of all programs of that name in the sandbox.
pids_of() {
	local pid
	while read -r pid; do
		[[ $(cat "/proc/$pid/comm" 2>/dev/null) != "$1" ]] || echo "$pid"
	done <"$BOX_CGROUP/cgroup.procs"
}

@test "faults: both ends move between the CPUs" {
	local i pid both
	quiet_load
	in_box "$PAIR" --seed 5 --count 5000 --size 100000 --timeout 60 talk 3>&- &
	both=$!
	wait_until 5 "traffic" traffic_of 100
	for ((i = 0; i < 40; i++)); do
		for pid in $(pids_of pair); do
			taskset -pc $((i % 2)) "$pid" >/dev/null 2>&1 || true
		done
		kill -0 "$both" 2>/dev/null || break
		sleep 0.05
	done
	wait "$both"
	assert_nothing_left
}

# load_small SOCKETS: the pair with a map for so few.
load_small() {
	copy_project "$BOX_TMP/small"
	sed -i "s/^#define MAX_SOCKETS .*/#define MAX_SOCKETS $1/" "$BOX_TMP/small/bpf/sock_map.h"
	in_box "$BOX_TMP/small/load.sh" --quiet >/dev/null 2>&1
}

# bats test_tags=long
@test "faults: the map is full, and all connections work" {
	load_small 64
	hold_many 200 0
	have_want "sockets in the map" "$(in_map)" -le 64
	have_want "sockets in the map" "$(in_map)" -ge 60
	have_want "refused for want of room" "$(counter refused_full)" -ge 100
	# What was not admitted is not said to be back on TCP.
	have_want "open" "$(in_box "$BOX_TMP/small/status.sh" --json | jq '.open | has("admitted_active")')" = false
	many_talk 1
	many_talk 2
	exec 8>&-
	wait "$MANY"
	assert_nothing_left
	in_box "$PAIR" talk # there is room again
	have_want "admitted servers" "$(counter admitted_passive)" -ge 31
}

# bats test_tags=long
@test "faults: a port is used again within TIME_WAIT" {
	local i
	quiet_load
	in_box sysctl -qw net.ipv4.tcp_tw_reuse=1
	for i in {1..5}; do
		in_box "$PAIR" --seed "$i" --port 7000 --client-port 7001 --count 20 talk
		sleep 1.1 # from then on the kernel lets it be used
	done
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
	assert_nothing_left
}

@test "faults: a path that is taken away does not cut a connection (docs/limits.md)" {
	local holder
	quiet_load
	in_box ip address add 192.0.2.1/32 dev lo
	mkfifo "$BOX_TMP/go"
	in_box "$PAIR" --listen 192.0.2.1 --count 1 hold <"$BOX_TMP/go" >"$BOX_TMP/out" 3>&- &
	holder=$!
	exec 8>"$BOX_TMP/go"
	wait_until 5 "a connection" grep -q held "$BOX_TMP/out"
	in_box ip address del 192.0.2.1/32 dev lo
	in_box ip link set lo down
	echo >&8
	wait_until 5 "an answer" has_answers "$BOX_TMP/out" 1
	in_box ip link set lo up
	in_box ip address add 192.0.2.1/32 dev lo
	exec 8>&-
	wait "$holder"
}

# The sockets of the map share as many messages as the first number of tcp_mem has pages.
@test "faults: the more sockets are in the map, the fewer messages of each wait unread" {
	local pages most
	counts_unread || skip "this kernel shares another number"
	quiet_load
	read -r pages _ </proc/sys/net/ipv4/tcp_mem
	hold_many 9000 0
	most=$((pages / 18002))
	((most < 24)) || skip "much memory: a share is $most messages"
	zero_counters
	in_box "$PAIR" --count 100 unread
	have_want "unread messages" "$(counter redirected_messages)" -le $((most > 4 ? most : 4))
	exec 8>&-
	wait "$MANY"
}

# assert_all_redirected MESSAGES: but for those of directions whose reader was stopped amid a call,
# by a hypervisor for one: at most one in 10,000.
assert_all_redirected() {
	have_want "messages" "$(counter redirected_messages passed_messages)" -eq "$1"
	have_want "directions that left" "$(counter left_held)" -le $(($1 / 10000))
	have_want "messages over TCP" "$(counter passed_messages)" -le $(($1 / 500))
}

# bats test_tags=long
@test "faults: 9,000 idle connections beside 1,000 busy ones" {
	local i
	quiet_load
	hold_many 9000 0
	exec 9>&8 8>&-
	mv "$BOX_TMP/many" "$BOX_TMP/idle"
	mv "$BOX_TMP/go" "$BOX_TMP/go.idle"
	local idle=$MANY
	hold_many 1000 0
	for i in {1..20}; do
		many_talk "$i"
	done
	have_want "sockets in the map" "$(in_map)" -eq 20000
	# 10,000 round trips at first, then 20 on each of 1,000.
	assert_all_redirected $((20000 + 40000))
	exec 8>&-
	wait "$MANY"
	echo >&9
	wait_until 30 "a round trip on the idle ones" grep -q again "$BOX_TMP/idle"
	exec 9>&-
	wait "$idle"
	assert_all_redirected $((20000 + 40000 + 18000))
	assert_nothing_left
}

# bats test_tags=long
@test "faults: 100,000 short connections, one after the other" {
	quiet_load --all-connections
	in_box "$ROOT/build/many" --churn 100000
	have_want "admitted" "$(counter admitted_active admitted_passive)" -eq 200000
	assert_all_redirected 200000
	have_want "redirected bytes" "$(counter redirected_bytes)" \
		-eq $((4 * $(counter redirected_messages)))
	assert_nothing_left
	# Each end has removed the note that the other one left.
	have_want "notes of handshakes" \
		"$(in_box bpftool map dump pinned /sys/fs/bpf/sock_ops_meet | grep -c '"key"' || true)" -eq 0
}
