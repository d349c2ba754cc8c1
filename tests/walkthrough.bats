#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# The README's walk-through: load, look, talk with socat and nc, unload.

bats_require_minimum_version 1.5.0
load sandbox.bash

box_each_test

# What the kernel's trace says from now on goes to $BOX_TMP/trace.  There is one
# trace for the whole machine: what earlier tests left in it is read first.
start_trace() {
	in_box timeout 0.5 cat /sys/kernel/tracing/trace_pipe >/dev/null || true
	in_box cat /sys/kernel/tracing/trace_pipe >"$BOX_TMP/trace" 3>&- &
	TRACER=$!
}

start_echo_server() {
	in_box socat "$1" exec:cat 3>&- &
	wait_until 5 "socat to listen" in_box bash -c 'ss -ltn | grep -q :1000'
}

has_line() {
	grep -qE "$1" "$BOX_TMP/trace"
}

assert_line() {
	wait_until 3 "a trace line like: $1" has_line "$1" || {
		cat "$BOX_TMP/trace" >&2
		return 1
	}
}

@test "walk-through: programs, map and pins are there after load, and gone after unload" {
	run -0 load_pair
	output_has "bpftool prog load"
	run -0 in_box bpftool prog show pinned /sys/fs/bpf/bpf_sockops
	output_has "sock_ops  name bpf_sockops "
	run -0 in_box bpftool prog show pinned /sys/fs/bpf/bpf_tcpip_bypass
	output_has "sk_msg  name bpf_tcpip_bypas"
	run -0 in_box bpftool map show pinned /sys/fs/bpf/sock_ops_map
	output_has "sockhash  name sock_ops_map " "max_entries 65535"
	run -0 in_box bpftool cgroup tree
	output_has "sock_ops multi           bpf_sockops"

	run -0 unload_pair
	output_has unloaded
	output_lacks "stays in the kernel"
	have_want "pins" "$(in_box find /sys/fs/bpf -name '*bpf*' -o -name '*sock_ops*' | grep -v '^/sys/fs/bpf$')" = ""
	run -0 in_box bpftool cgroup tree
	output_lacks bpf_sockops
}

@test "walk-through: socat and nc talk over IPv4, with the trace lines" {
	start_trace
	load_pair
	start_echo_server TCP4-LISTEN:1000,fork,reuseaddr
	# Each line, and the end, when the one before has come back: two messages each way.
	in_box timeout 60 bash -c '
		comes_back() { until grep -q "$1" "$said"; do sleep 0.1; done; }
		said=$1
		(echo hello; comes_back hello; echo there; comes_back there) | nc -N 127.0.0.1 1000 >"$said"' \
		box "$BOX_TMP/said"
	have_want "output" "$(<"$BOX_TMP/said")" = $'hello\nthere'

	# By whom is chance: under load the handshake runs in ksoftirqd.
	assert_line 'bpf_trace_printk: update sockmap: 127\.0\.0\.1 -> 127\.0\.0\.1$'
	assert_line 'update sockmap: op=4\(Active connect\), port [0-9]+-->1000$'
	assert_line 'update sockmap: op=5\(Passive connect\), port 1000-->[0-9]+$'
	assert_line 'nc-[0-9]+ .*: sock_msg_redirect by sockmap: 127\.0\.0\.1 --> 127\.0\.0\.1$'
	assert_line 'nc-[0-9]+ .*: sock_msg_redirect by sockmap: 1000 --> [0-9]+$'
	assert_line ': sock_msg_redirect by sockmap: [0-9]+ --> 1000$'
	have_want "redirected messages" "$(counter redirected_messages)" -eq 4
	have_want "redirected bytes" "$(counter redirected_bytes)" -eq 24
	unload_pair
}

@test "walk-through: socat and nc talk over IPv6, with the trace lines" {
	start_trace
	load_pair
	start_echo_server TCP6-LISTEN:1000,fork,reuseaddr
	run -0 in_box bash -c '(echo hello; sleep 0.3) | nc -N ::1 1000'
	have_want "output" "$output" = hello
	assert_line 'update sockmap: (0000:){7}0001 -> (0000:){7}0001$'
	assert_line 'sock_msg_redirect by sockmap: (0000:){7}0001 --> (0000:){7}0001$'
	unload_pair
}

# bats test_tags=long
@test "trace: a budget bounds the lines under load, and says what it left out" {
	start_trace
	load_pair
	for _ in {1..20}; do # one may leave amid it, when an end is preempted
		in_box "$PAIR" --count 1000 --size 1 talk
	done
	sleep 1.2 # the budget of the next second, or jiffies' worth
	in_box "$PAIR" --count 10 talk
	in_box taskset 1 "$PAIR" --count 10 talk
	in_box taskset 2 "$PAIR" --count 10 talk
	assert_line 'trace budget: [0-9]+ lines not shown$'
	have_want "trace lines" "$(grep -c sockmap "$BOX_TMP/trace")" -le 2000
	have_want "lines not shown" \
		"$(sed -n 's/.*trace budget: \([0-9]*\) lines.*/\1/p' "$BOX_TMP/trace" | awk '{ n += $1 } END { print n + 0 }')" -gt 50000
	unload_pair
}
