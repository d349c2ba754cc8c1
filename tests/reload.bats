#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# load.sh --reload: new options for what is loaded, while connections talk.

bats_require_minimum_version 1.5.0
load sandbox.bash
load scenarios.bash
load fakes.bash

box_each_test

# open_connection SERVER-WRAPPER: 127.0.0.1:7001 -> 127.0.0.1:7000 in a namespace of its own.
open_connection() {
	HOLDERS=() ROUND=0
	hold_in one 1 "$1"
	exec 8>"$BOX_TMP/one.go"
	wait_until 5 "the connection" grep -q held "$BOX_TMP/one.out"
}

talk() {
	ROUND=$((ROUND + 1))
	talk_on one 8 "$ROUND"
}

# Ends it: each end has checked all its bytes.
close_connection() {
	local pid
	exec 8>&-
	for pid in "${HOLDERS[@]}"; do
		wait "$pid"
	done
}

# bats test_tags=long
@test "reload: connections stay on the bypass, new ones go by the new ports" {
	load_pair --port 7000,7100
	open_connection in_box
	talk
	not_admitted 7200
	run -0 load_pair --reload --port 7000,7200 --exclude-port 7100 --quiet
	output_has reloaded
	zero_counters
	talk
	talk
	assert_stayed 4
	admitted 7200
	not_admitted 7100
	run -0 in_box "$ROOT/status.sh"
	output_has "ports 7000,7200, but not 7100 of" "trace        off" "map          2 of"
	close_connection
	# And once more, into the half that the first scope had.
	load_pair --reload --exclude-port 7000
	admitted 7200
	not_admitted 7000
	have_want "ports in status.sh" \
		"$(in_box "$ROOT/status.sh" --json | jq -c '[.ports, .exclude_ports]')" = '[[],["7000"]]'
	unload_pair
	assert_no_pins
}

@test "reload: what the new ports leave out goes back to TCP at its next send" {
	load_pair
	open_connection in_box
	talk
	load_pair --reload --exclude-port 7000
	have_want "on the bypass" "$(in_map)" -eq 2
	talk
	have_want "directions that have left" "$(counter left_scope)" -ge 1
	talk
	talk
	wait_until 5 "the map to be empty" map_is_empty
	close_connection
	# Not what stays within it: the same, by an option that does not concern it.
	zero_counters
	load_pair --reload
	admitted 7000
}

@test "reload: what a new --exclude-cgroup leaves out goes back to TCP, and comes again without it" {
	child_up
	load_pair
	open_connection in_child
	talk
	load_pair --reload --exclude-cgroup "$CHILD"
	zero_counters
	talk
	talk
	have_want "directions that have left" "$(counter left_scope)" -ge 1
	have_want "excluded" "$(in_box "$ROOT/status.sh" --json | jq -c .exclude_cgroups)" = "[\"$CHILD\"]"
	zero_counters
	in_child "$PAIR" talk
	have_want "redirected messages, excluded" "$(counter redirected_messages)" -eq 0
	close_connection
	load_pair --reload
	in_child "$PAIR" talk
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
	have_want "excluded" "$(in_box "$ROOT/status.sh" --json | jq -c .exclude_cgroups)" = "[]"
	wait_until 5 "the child's programs to end" rmdir "$BOX_CGROUP/child"
}

# bats test_tags=long
@test "reload: names of programs come and go, also of what runs already" {
	load_pair
	admitted 7000
	load_pair --reload --exclude-program pair
	not_admitted 7000
	have_want "excluded" "$(in_box "$ROOT/status.sh" --json | jq '.exclude_programs | index("pair") != null')" = true
	load_pair --reload
	admitted 7000
	child_up
	open_connection in_child
	talk
	run -0 load_pair --reload --exclude-program pair
	output_has "it is excluded by name" "$CHILD"
	talk
	talk
	have_want "directions that have left" "$(counter left_scope)" -ge 1
	close_connection
	wait_until 5 "the child's programs to end" rmdir "$BOX_CGROUP/child"
}

# bats test_tags=long
@test "reload: no connection is admitted by half of a scope" {
	local i pid
	child_up
	# Neither of the two admits a connection to port 7000 of the child; the ports of the one and the
	# cgroups of the other together would.
	load_pair --quiet --all-connections --exclude-cgroup "$CHILD"
	in_child bash -c 'while [[ ! -e $1 ]]; do "$2" --port 7000 talk || exit; done' talk \
		"$BOX_TMP/stop" "$PAIR" \
		>/dev/null 2>&1 3>&- &
	pid=$!
	for i in {1..5}; do
		load_pair --reload --quiet --all-connections --exclude-port 7000
		load_pair --reload --quiet --all-connections --exclude-cgroup "$CHILD"
	done >/dev/null 2>&1
	touch "$BOX_TMP/stop"
	wait "$pid"
	have_want "connections" "$(counter refused_port refused_cgroup refused_remote)" -ge 20
	have_want "admitted servers" "$(counter admitted_passive)" -eq 0
	wait_until 5 "the child's programs to end" rmdir "$BOX_CGROUP/child"
}

# bats test_tags=long
@test "reload: 200 connections talk through five of them, and all stay" {
	local i
	load_pair --quiet
	hold_many 200 0
	many_talk 1
	zero_counters
	for i in {2..6}; do
		load_pair --reload --quiet --exclude-port "$i" >/dev/null 2>&1
		many_talk "$i"
	done
	assert_stayed $((5 * 2 * 200))
	exec 8>&-
	wait "$MANY"
}

@test "reload: what cannot be changed is refused, and nothing changes" {
	local before
	run -1 load_pair --reload
	output_has "not loaded" "load.sh"
	child_up
	load_pair --quiet --port 7000
	before=$(in_box "$ROOT/status.sh" --json)
	run -3 load_pair --reload --cgroup "$CHILD"
	output_has "another cgroup" "unload.sh"
	run -2 load_pair --reload --port 0
	run -0 load_pair --reload --quiet --port 7000 --cgroup "$(box_root)"
	have_want "status" "$(in_box "$ROOT/status.sh" --json)" = "$before"
	rmdir "$BOX_CGROUP/child"
}

# change_with N ACTION: a reload whose n-th command of bpftool that changes something, or lists what
# runs, does ACTION.
change_with() {
	fake_nth "$1" "$2" "'iter pin'*"
	with_fakes "$ROOT/load.sh" --reload --quiet --port 7200 --exclude-program new \
		--exclude-cgroup "$CHILD"
}

# bats test_tags=long
@test "reload: when a step fails, the old options stay" {
	local n before
	child_up
	load_pair --quiet --port 7000 --exclude-program old
	before=$(in_box "$ROOT/status.sh" --json)
	for n in 3 5 6; do # two attach what is attached, and the fourth one lists what runs
		run -1 change_with "$n" 'echo injected >&2; exit 1'
		output_has injected "not reloaded: nothing has changed"
		have_want "status" "$(in_box "$ROOT/status.sh" --json)" = "$before"
	done
	# The new scope is in force, and bpftool says that it is not.
	run -1 change_with 6 '"$REAL" "$@"; exit 1'
	have_want "status" "$(in_box "$ROOT/status.sh" --json)" = "$before"
	rm "$BOX_TMP/bin/bpftool"
	load_pair --reload --quiet --port 7000 --exclude-program old
	have_want "status" "$(in_box "$ROOT/status.sh" --json)" = "$before"
	rmdir "$BOX_CGROUP/child"
}

# bats test_tags=long
@test "reload: killed between any two steps, it works again, and unloads" {
	local n
	child_up
	for n in {3..7}; do # the last one takes out what is not excluded any more
		load_pair --quiet --port 7000 --exclude-program old
		run ! change_with "$n" "$KILL"
		rm "$BOX_TMP/bin/bpftool"
		load_pair --reload --quiet --port 7100
		admitted 7100
		not_admitted 7200
		have_want "excluded" "$(in_box "$ROOT/status.sh" --json | jq -c .exclude_cgroups)" = "[]"
		unload_pair
		assert_no_pins
	done
	rmdir "$BOX_CGROUP/child"
}

# where_nothing_is_seen OPTION...: load.sh, which cannot list what runs.
where_nothing_is_seen() {
	fail_at '"iter pin"*running*'
	with_fakes "$ROOT/load.sh" --quiet "$@"
	rm "$BOX_TMP/bin/bpftool"
}

@test "reload: where it cannot look at what runs, whatever was there goes to TCP" {
	run -0 where_nothing_is_seen
	output_has "whatever listens already"
	open_connection in_box # its listener is new
	talk
	have_want "on the bypass" "$(in_map)" -eq 2
	# One that fails takes nothing from it.
	fail_at '"-j batch"*'
	run ! with_fakes "$ROOT/load.sh" --reload --quiet
	output_has "nothing has changed"
	rm "$BOX_TMP/bin/bpftool"
	talk
	have_want "directions that have left" "$(counter left_scope)" -eq 0
	run -0 where_nothing_is_seen --reload
	talk
	have_want "directions that have left" "$(counter left_scope)" -ge 1
	# The listener has called listen(2) before this scope.
	zero_counters
	in_box ip netns exec one "$PAIR" --port 7000 --timeout 2 hold call </dev/null || true
	have_want "admitted" "$(counter admitted_passive)" -eq 0
	close_connection
	admitted 7100
}

@test "reload: what is excluded stays so where it cannot be read, and a later step fails" {
	local before
	load_pair --quiet --exclude-program one
	before=$(in_box "$ROOT/status.sh" --json | jq -c .exclude_programs)
	fake awk "[[ \$* != *sock_ops_names* ]] || ! mkdir '$BOX_TMP/once' 2>/dev/null || exit 1
		exec \"\$REAL\" \"\$@\""
	fake bpftool "[[ \$* != '-j batch'* ]] || ! mkdir '$BOX_TMP/batch' 2>/dev/null || exit 1
		exec \"\$REAL\" \"\$@\""
	run ! with_fakes "$ROOT/load.sh" --reload --quiet --exclude-program two
	rm "$BOX_TMP"/bin/*
	have_want "excluded" "$(in_box "$ROOT/status.sh" --json | jq -c .exclude_programs)" = "$before"
}

@test "reload: what a killed one has left of its look disturbs no later one" {
	load_pair --quiet
	in_box bpftool iter pin "$ROOT/build/sock_ops_running.o" /sys/fs/bpf/sock_ops_running
	run -0 load_pair --reload --quiet
	output_lacks "cannot list"
	have_want "new listeners alone" "$(in_box "$ROOT/status.sh" --json | jq .new_listeners_only)" = \
		false
	admitted 7000
}

# scope_number: of the scope in force; scope_is N: pretends that it is N.
scope_number() {
	in_box bpftool -j map lookup pinned /sys/fs/bpf/sock_ops_config key 0 0 0 0 |
		jq -r '.value[21:24] | reverse | map(ltrimstr("0x")) | join("")' | { read -r hex && echo $((16#$hex)); }
}

scope_is() {
	local value
	value=$(in_box bpftool -j map lookup pinned /sys/fs/bpf/sock_ops_config key 0 0 0 0 | jq -r '.value[:21] | join(" ")')
	# shellcheck disable=SC2086 # words
	in_box bpftool map update pinned /sys/fs/bpf/sock_ops_config key 0 0 0 0 \
		value $value $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16))
}

@test "reload: a connection that was idle through many is judged again all the same" {
	load_pair --quiet
	open_connection in_box
	talk
	scope_is 255 # as after so many
	load_pair --reload --quiet --exclude-port 7000
	have_want "number of the scope" "$(scope_number)" -eq 256
	zero_counters
	talk
	have_want "directions that have left" "$(counter left_scope)" -ge 1
	close_connection
	# The number of a scope that was in force for a moment, and taken back, does not come again.
	CHILD=$(box_root)
	run ! change_with 6 '"$REAL" "$@"; exit 1'
	rm "$BOX_TMP/bin/bpftool"
	have_want "number of the scope" "$(scope_number)" -eq 258
	scope_is $((0xffffff))
	load_pair --reload --quiet
	have_want "number of the scope" "$(scope_number)" -eq 0
	admitted 7000
}

@test "reload: where the number of the scope reaches the marks of listeners, it says what that costs" {
	in_box mount -t bpf -o mode=0700 bpf /sys/fs/bpf
	in_box unshare --pid --fork --mount-proc "$ROOT/load.sh" --no-guard --quiet
	scope_is $(($(scope_number) | 254))
	run -0 in_box unshare --pid --fork --mount-proc "$ROOT/load.sh" --reload --no-guard --quiet
	output_has "cannot be seen: what listened at the load"
	run -0 in_box unshare --pid --fork --mount-proc "$ROOT/load.sh" --reload --no-guard --quiet
	output_has "cannot be seen: whatever listens already"
}

@test "reload: a tool that fails does not say that it is another cgroup, nor that a list cannot be had" {
	load_pair --quiet
	fake stat '[[ $* != "-c %i "* ]] || exit 1; exec "$REAL" "$@"'
	run -1 with_fakes "$ROOT/load.sh" --reload --cgroup "$(box_root)"
	output_has "cannot look at $(box_root)"
	rm "$BOX_TMP/bin/stat"
	unload_pair
	fake bpftool '[[ $* != "iter pin "*open.o* ]] || kill -KILL $$
		exec "$REAL" "$@"'
	run -1 with_fakes "$ROOT/load.sh" --quiet
	output_has "bpftool was killed before it had pinned sock_ops_open" "not loaded: nothing has changed"
	assert_no_pins
	# EINVAL, as before 5.15.
	fake bpftool '[[ $* != "iter pin "*release.o* ]] || exit 234
		exec "$REAL" "$@"'
	run -0 with_fakes "$ROOT/load.sh" --quiet
}
