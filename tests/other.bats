#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# Other BPF tools on the same sockets.  What a connection does is what it does with the
# other tool alone: it is refused, or goes back to TCP, where ours could not let go of it.
#
#   flags   sets its callback flags absolutely: ours are lost if it runs after ours
#   map     has every socket in a sockhash of its own: the psock stays when ours is out.
#           A blocking recv after a half-close ends with EAGAIN under such a tool alone.
#   calls   asks for no callbacks, and counts what it is called for

bats_require_minimum_version 1.5.0
load sandbox.bash

setup() {
	box_up
	CGROUP=$(box_root)
}

teardown() {
	box_down
}

# other_up NAME: load the other tool's program and attach it, as such tools do.
other_up() {
	in_box bpftool prog load "$ROOT/build/other/$1.bpf.o" /sys/fs/bpf/other type sockops
	in_box bpftool cgroup attach "$CGROUP" sock_ops pinned /sys/fs/bpf/other multi
}

other_down() {
	in_box bpftool cgroup detach "$CGROUP" sock_ops pinned /sys/fs/bpf/other
}

load_quietly() {
	load_pair --quiet >"$BOX_TMP/load.log" 2>&1
}

# converse [OPTION]: turns, and what needs the way out of the map: bulk, a recv after a half-close.
# An end that closes just after its peer need not have left before: EJECTED_BY_TURNS may be 1.
converse() {
	in_box "$PAIR" --seed 3 --timeout 10 --count 10 "$@" turns
	EJECTED_BY_TURNS=$(counter ejected)
	in_box "$PAIR" --seed 1 --timeout 10 "$@" half-close-late
	in_box "$PAIR" --seed 2 --timeout 10 --size 3000000 "$@" half-close-late
	in_box "$PAIR" --seed 4 --timeout 10 --listen ::1 "$@" half-close-late
}

assert_all_admitted() {
	have_want "clients admitted" "$(counter admitted_active)" -eq 4
	have_want "servers admitted" "$(counter admitted_passive)" -eq 4
	have_want "redirected messages" "$(counter redirected_messages)" -gt 60
	have_want "sockets of half-closed connections that left the map" \
		"$(($(counter ejected) - EJECTED_BY_TURNS))" -eq 6
	have_want "sockets in the map" "$(in_map)" -eq 0
}

assert_none_admitted() {
	have_want "clients refused" "$(counter "$1")" -eq 4
	have_want "admitted" "$(counter admitted_active admitted_passive)" -eq 0
	have_want "sockets in the map" "$(in_map)" -eq 0
}

@test "flags: attached after ours, no connection is admitted, and status.sh names the program" {
	local id
	load_quietly
	other_up flags
	id=$(program_id other)
	converse
	assert_none_admitted refused_not_last
	run -0 in_box "$ROOT/status.sh"
	output_has "another sock_ops program runs after ours (other_flags/$id)" unload.sh
	other_down
	run -0 in_box "$ROOT/status.sh"
	output_lacks "other_flags"
	in_box "$PAIR" --count 10 talk
	have_want "redirected messages" "$(counter redirected_messages)" -eq 20
}

@test "flags: attached before ours, connections are admitted and leave" {
	other_up flags
	load_quietly
	converse
	assert_all_admitted
}

@test "map: attached before ours, no connection is admitted" {
	other_up map
	load_quietly
	converse --nonblock
	assert_none_admitted refused_special
}

@test "map: attached after ours, no connection is admitted" {
	load_quietly
	other_up map
	converse --nonblock
	assert_none_admitted refused_not_last
}

@test "map: a socket that is put into it while on the bypass goes back to TCP" {
	command -v python3 >/dev/null || skip "no python3 here"
	in_box bpftool prog load "$ROOT/build/other/map.bpf.o" /sys/fs/bpf/other type sockops
	load_quietly
	in_box timeout 20 python3 "$ROOT/tests/programs/sockmap.py" /sys/fs/bpf/other_map
	have_want "admitted" "$(counter admitted_active admitted_passive)" -eq 2
	have_want "left for the other sockmap" "$(counter left_taken)" -eq 1
	# The other end's at its next send, or before it.
	have_want "sockets that left the map" "$(counter ejected)" -eq 2
}

# Calls of the other tool's program for packets: BPF_SOCK_OPS_PARSE_HDR_OPT_CB, _HDR_OPT_LEN_CB, and
# _WRITE_HDR_OPT_CB.
calls_for_packets() {
	in_box bpftool -j map dump pinned /sys/fs/bpf/other_calls |
		jq '[.[].formatted | select(.key >= 13 and .key <= 15).value] | add'
}

calls_up() {
	other_up calls
	in_box bpftool map pin id \
		"$(in_box bpftool -j prog show pinned /sys/fs/bpf/other | jq '.map_ids[0]')" /sys/fs/bpf/other_calls
	load_quietly
}

# Before 6.12 they stay: a row of docs/limits.md.
# bats test_tags=long
@test "calls: the packets of sockets that unload.sh has taken out call nobody" {
	[[ $(printf '%s\n' 6.12 "$(uname -r)" | sort -V | head -n 1) == 6.12 ]] ||
		skip "this kernel cannot take callback flags back"
	calls_up
	hold_many 5 0
	unload_pair >/dev/null 2>&1
	have_want "calls at the handshakes and by ours" "$(calls_for_packets)" -gt 0
	in_box bpftool map update pinned /sys/fs/bpf/other_calls key 13 0 0 0 value 0 0 0 0 0 0 0 0
	in_box bpftool map update pinned /sys/fs/bpf/other_calls key 14 0 0 0 value 0 0 0 0 0 0 0 0
	in_box bpftool map update pinned /sys/fs/bpf/other_calls key 15 0 0 0 value 0 0 0 0 0 0 0 0
	many_talk 1
	have_want "calls" "$(calls_for_packets)" -eq 0
	exec 8>&-
	wait "$MANY"
}

@test "calls: nor do those of a socket that makes a second connection, which is not admitted" {
	command -v python3 >/dev/null || skip "no python3 here"
	calls_up
	in_box timeout 20 python3 "$ROOT/tests/programs/reopen.py" >"$BOX_TMP/reopened" 3>&- < <(
		wait_until 10 "the second connection" grep -q second "$BOX_TMP/reopened" >&2
		calls_for_packets >"$BOX_TMP/calls"
		echo
	)
	have_want "admitted" "$(counter admitted_active)" -eq 1
	have_want "calls while it talks" "$(($(calls_for_packets) - $(cat "$BOX_TMP/calls")))" -eq 0
}
