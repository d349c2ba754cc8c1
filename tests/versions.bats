#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# Versions: what scripts of one and a pair of another know of each other.

bats_require_minimum_version 1.5.0
load sandbox.bash
load scenarios.bash
load fakes.bash

box_each_test

# What scripts and programs of one LAYOUT agree upon: maps, and what is in them.
layout() {
	local map
	echo "layout $(sed -n 's/^LAYOUT=//p' "$ROOT/lib/version.sh")"
	for map in map record meet accounts stats config ports cgroups names excluded remembered; do
		in_box bpftool -j map show pinned "/sys/fs/bpf/sock_ops_$map" | jq -r \
			'"\(.name) \(.type) flags \(.flags) key \(.bytes_key) value \(.bytes_value) entries \(.max_entries)"'
	done
	for object in bpf_sockops bpf_tcpip_bypass; do
		bpftool btf dump file "$ROOT/build/$object.o" format c | awk '
			/^struct (sock_(key|view|record|stats|cpu|account|range|config)|meet_key|program_name) {/, /^};/'
	done | awk '/^struct/ { known = seen[$2]++ } !known'
}

@test "versions: maps and records are those of the layout's number" {
	load_pair >/dev/null 2>&1
	# If they differ: raise LAYOUT in lib/version.sh.
	diff "$ROOT/tests/layout.expected" <(layout)
}

@test "versions: one number, in the scripts, in both lists of changes, and of the image" {
	version=$(sed -n 's/^VERSION=//p' "$ROOT/lib/version.sh")
	have_want "of the package" "$(sed -n '1s/.*(\(.*\)).*/\1/p' "$ROOT/debian/changelog")" = "$version"
	have_want "of CHANGELOG.md" "$(sed -n 's/^## //p' "$ROOT/CHANGELOG.md" | sed -n 1p)" = "$version"
	for script in load unload status; do
		have_want "of $script.sh" "$("$ROOT/$script.sh" --version)" = "tcpip-bypass $version"
	done
	have_want "of the image" "$(sed -nE 's/.*(tcpip-bypass:|newTag: ")([0-9.]*[0-9]).*/\2/p' \
		"$ROOT"/docs/{Dockerfile,kubernetes.md,kustomization.yaml} | sort -u)" = "$version"
}

# pretend LAYOUT VERSION-IN-HEX: what is loaded says that it is of these.
pretend() {
	in_box bpftool map update pinned /sys/fs/bpf/sock_ops_config key 1 0 0 0 \
		value hex "$1" 0 0 0 0 0 0 0 $2
}

@test "versions: status.sh says which is loaded, and when it is not that of the scripts" {
	load_pair --quiet >/dev/null 2>&1
	version=$(sed -n 's/^VERSION=//p' "$ROOT/lib/version.sh")
	run -0 in_box "$ROOT/status.sh"
	output_has " ago), version $version"
	output_lacks "these scripts"
	# 9.9$(x), a line break, an escape sequence
	pretend 1 "39 2e 39 24 28 78 29 a 1b 5b 0 0 0 0 0 0"
	run -0 in_box "$ROOT/status.sh"
	output_has ' ago), version 9.9$(x)\x0a\x1b[' "these scripts are of version $version"
	have_want "in JSON" "$(in_box "$ROOT/status.sh" --json | jq -r .version)" = '9.9$(x)\x0a\x1b['
	run -0 load_pair --reload --quiet --port 7000
	unload_pair
}

@test "versions: a pair with another layout is not changed in place, and unloads" {
	load_pair --quiet >/dev/null 2>&1
	before=$(in_box "$ROOT/status.sh" --json | jq -c .ports)
	pretend 2 "39 2e 39 0 0 0 0 0 0 0 0 0 0 0 0 0"
	run -3 load_pair --reload --port 7000
	output_has "loaded by version 9.9" "unload.sh"
	pretend 0 "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"
	run -3 load_pair --reload --port 7000
	output_has "another" "unload.sh"
	have_want "status" "$(in_box "$ROOT/status.sh" --json | jq -c .ports)" = "$before"
	unload_pair
	assert_no_pins
}

# other_version: a copy of the project, built, with another VERSION and the same LAYOUT.
other_version() {
	OTHER=$BOX_TMP/other
	copy_project "$OTHER"
	sed -i 's/^VERSION=.*/VERSION=9.9/' "$OTHER/lib/version.sh"
	# Other programs, by their tag.
	sed -i 's/^#define TRACE_LINES .*/#define TRACE_LINES 99/' "$OTHER/bpf/trace.h"
	make -s -C "$OTHER" all
}

# another_layout: the same with another LAYOUT.
another_layout() {
	OTHER=$BOX_TMP/other
	copy_project "$OTHER"
	sed -i 's/^VERSION=.*/VERSION=9.9/' "$OTHER/lib/version.sh"
	lay_out_otherwise "$OTHER"
	make -s -C "$OTHER" all
}

# first_version: the scripts and objects of 1.1, the first version that pins its lists, as `make
# install` has put them, without debugging symbols.
first_version() {
	tar -xJf "$ROOT/tests/tcpip-bypass-1.1.tar.xz" -C "$BOX_TMP"
	FIRST=$BOX_TMP/tcpip-bypass-1.1
}

# bats test_tags=long
@test "versions: each shows and unloads what another one has loaded, with another layout, or the first one" {
	local scripts with by id
	another_layout
	first_version
	for scripts in "$OTHER $ROOT" "$ROOT $OTHER" "$FIRST $ROOT" "$ROOT $FIRST"; do
		read -r with by <<<"$scripts"
		in_box "$with/load.sh" --quiet
		id=$(program_id bpf_tcpip_bypass)
		hold_many 20 3
		have_want "unread, of each connection" \
			"$(in_box "$by/status.sh" --json | jq -c '[.connections[].client.unread] | [length, add]')" = "[20,9000]"
		run -0 in_box "$by/unload.sh" --timeout 1
		assert_three_stay "$id"
		exec 8>&-
		wait "$MANY"
	done
}

@test "versions: without its lists, what another layout has is switched off, and left to its own scripts" {
	another_layout
	in_box "$OTHER/load.sh" --quiet
	hold_many 5 0
	in_box rm /sys/fs/bpf/sock_ops_{open,status,release}
	run -2 in_box "$ROOT/status.sh"
	output_has "cannot list the sockets: their layout is that of another version"
	run -1 in_box "$ROOT/unload.sh"
	output_has "what is left in the map cannot be seen"
	run -0 in_box "$ROOT/unload.sh"
	output_has "left behind by another version"
	many_talk 1
	run -0 in_box "$OTHER/unload.sh"
	output_has "connections taken off the bypass: 5"
	many_talk 2
	exec 8>&-
	wait "$MANY"
}

# tags: of the programs that are pinned.
tags() {
	in_box bpftool -j prog show pinned /sys/fs/bpf/bpf_sockops | jq -r .tag
	in_box bpftool -j prog show pinned /sys/fs/bpf/bpf_tcpip_bypass | jq -r .tag
}

# bats test_tags=long
@test "versions: the programs of another one take the places of those that are loaded" {
	local before after since
	other_version
	load_pair --quiet --all-connections
	since=$(in_box "$ROOT/status.sh" --json | jq .since)
	before=$(tags)
	hold_many 100 0
	many_talk 1
	run -0 in_box "$OTHER/load.sh" --reload --quiet --all-connections
	output_has reloaded
	after=$(tags)
	have_want "programs that stayed" "$(comm -12 <(sort <<<"$before") <(sort <<<"$after"))" = ""
	have_want "pins" "$(in_box find /sys/fs/bpf -name '*_new')" = ""
	have_want "sock_ops programs attached" \
		"$(in_box bpftool cgroup show "$(box_root)" | grep -c sock_ops)" -eq 1
	# The old connections go on, with the program that they have entered with, and new ones come.
	zero_counters
	many_talk 2
	assert_stayed 200
	in_box "$PAIR" talk
	assert_stayed 400
	have_want "version" "$(in_box "$ROOT/status.sh" --json | jq -r .version)" = 9.9
	have_want "loaded, of which the counters are" "$(in_box "$ROOT/status.sh" --json | jq .since)" \
		-eq "$since"
	# The old scripts unload it, and take all connections out.
	run -0 unload_pair
	[[ $output =~ "connections taken off the bypass: "(98|99|100) ]]
	assert_no_pins
	many_talk 3
	exec 8>&-
	wait "$MANY"
}

# bats test_tags=long
@test "versions: bytes stay in order while versions take each other's places" {
	local i pid
	other_version
	load_pair --quiet --all-connections
	in_box bash -c 'while [[ ! -e $1 ]]; do "$2" --timeout 20 turns && "$2" talk || exit; done' \
		traffic \
		"$BOX_TMP/stop" "$PAIR" >"$BOX_TMP/traffic" 2>&1 3>&- &
	pid=$!
	hold_many 50 0
	for i in 1 2 3; do
		in_box "$OTHER/load.sh" --reload --quiet --all-connections
		many_talk $((2 * i - 1))
		load_pair --reload --quiet --all-connections
		many_talk $((2 * i))
	done
	touch "$BOX_TMP/stop"
	wait "$pid"
	have_want "in the map" "$(in_map)" -ge 98
	exec 8>&-
	wait "$MANY"
	unload_pair
	assert_no_pins
}

# take_over N ACTION: by the other version, whose n-th command of bpftool that changes something
# does ACTION.
take_over() {
	fake_nth "$1" "$2"
	with_fakes "$OTHER/load.sh" --reload --quiet --all-connections
}

# A new connection is on the bypass, and nothing of the exchange is left.
assert_whole() {
	admitted 7000
	have_want "pins, step $1" "$(in_box find /sys/fs/bpf -name '*_new')" = ""
}

# bats test_tags=long
@test "versions: when a step fails, the loaded one goes on" {
	local n
	other_version
	load_pair --quiet --all-connections
	for n in {3..9}; do # two attach what is attached; two loads, names, three that attach, the switch
		run -1 take_over "$n" 'echo injected >&2; exit 1'
		output_has injected "nothing has changed"
		assert_whole "$n"
		have_want "version" "$(in_box "$ROOT/status.sh" --json | jq -r .version)" != 9.9
	done
	# The tenth notes the version, once it is in force.
	run -0 take_over 10 'echo injected >&2; exit 1'
	output_has "not all was done"
	assert_whole 10
	rm "$BOX_TMP/bin/bpftool"
	in_box "$OTHER/load.sh" --reload --quiet --all-connections
	have_want "version" "$(in_box "$ROOT/status.sh" --json | jq -r .version)" = 9.9
	unload_pair
	assert_no_pins
}

# bats test_tags=long
@test "versions: a step that a signal ends, or that is done and said to have failed, is undone as well" {
	local n
	other_version
	load_pair --quiet --all-connections
	for n in {3..9}; do
		run -143 take_over "$n" "$DONE_AND_TERM"
		output_has "not reloaded: nothing has changed"
		assert_whole "$n"
		run -1 take_over "$n" "$DONE_AND_FAILED"
		output_has injected "nothing has changed"
		assert_whole "$n"
		have_want "version" "$(in_box "$ROOT/status.sh" --json | jq -r .version)" != 9.9
	done
	# From then on it is in force, and what is left is done.
	run -0 take_over 10 "$DONE_AND_TERM"
	assert_whole 10
	have_want "version" "$(in_box "$ROOT/status.sh" --json | jq -r .version)" = 9.9
	unload_pair
	assert_no_pins
}

# bats test_tags=long,beside
@test "versions: killed between any two steps, the next one does the rest, and so does an unload" {
	local n
	other_version
	for n in {3..10}; do # behind two that attach what is attached; the last one says which version it is
		load_pair --quiet --all-connections
		run ! take_over "$n" "$KILL"
		rm "$BOX_TMP/bin/bpftool"
		if ((n % 2)); then
			in_box "$OTHER/load.sh" --reload --quiet --all-connections
			assert_whole "$n"
			have_want "version" "$(in_box "$ROOT/status.sh" --json | jq -r .version)" = 9.9
		fi
		# With what the unit has.
		in_box setpriv --bounding-set "-all,+bpf,+perfmon,+net_admin" "$ROOT/unload.sh"
		assert_no_pins
		have_want "attached, step $n" "$(in_box bpftool cgroup show "$(box_root)")" = ""
	done
}
@test "versions: what a killed reload has put in force stays so when bpftool does not tell" {
	other_version
	load_pair --quiet --all-connections
	fake mv "$KILL"
	run ! with_fakes "$OTHER/load.sh" --reload --quiet --all-connections
	rm "$BOX_TMP/bin/mv"
	fail_at "-j\ prog\ show\ pinned\ */bpf_sockops_new"
	have_want "attached" "$(in_box "$ROOT/status.sh" --json | jq .attached)" = true
	run -1 with_fakes "$ROOT/load.sh" --reload --quiet --all-connections
	output_has "bpftool does not tell what is loaded"
	admitted 7000
	rm "$BOX_TMP/bin/bpftool"
	in_box "$ROOT/load.sh" --reload --quiet --all-connections
	assert_whole 10
	unload_pair
	assert_no_pins
}

# inodes_of_lists: of the lists that load.sh has pinned.
inodes_of_lists() {
	in_box bash -c 'stat -c %i /sys/fs/bpf/sock_ops_{open,status,release}' | sort
}

@test "versions: the lists of a former one go, also where a reload is killed at them, or cannot take them out" {
	local before how
	other_version
	for how in "$KILL" 'echo injected >&2; exit 1'; do
		load_pair --quiet --all-connections
		before=$(inodes_of_lists)
		fake rm "[[ \$* != *'/sock_ops_open '* ]] || { $how
			}
			exec \"\$REAL\" \"\$@\""
		run with_fakes "$OTHER/load.sh" --reload --quiet --all-connections
		rm "$BOX_TMP/bin/rm"
		in_box "$OTHER/load.sh" --reload --quiet --all-connections
		have_want "lists of before" \
			"$(comm -12 <(echo "$before") <(inodes_of_lists))" = ""
		assert_whole 10
		unload_pair
		assert_no_pins
	done
}

@test "versions: where a killed reload's program cannot be detached, the next one says so, and the one after it does it" {
	other_version
	load_pair --quiet --all-connections
	fail_at '"cgroup detach"*' "$KILL"
	run ! with_fakes "$OTHER/load.sh" --reload --quiet --all-connections
	fail_at '"cgroup detach"*_new'
	run -1 with_fakes "$ROOT/load.sh" --reload --quiet --all-connections
	output_has "bpftool cannot detach what a load.sh that was killed has left"
	rm "$BOX_TMP/bin/bpftool"
	in_box "$ROOT/load.sh" --reload --quiet --all-connections
	assert_whole 10
	unload_pair
	assert_no_pins
}
