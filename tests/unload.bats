#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# unload.sh with connections alive: not a byte is lost or out of order, each
# connection is usable afterwards, nothing stays in the kernel that is not needed,
# and what stays is named.
#
#   idle     nothing unread: taken out at once
#   unread   named, left alone, and taken out when it has been read
#   busy     talking, sending bulk: taken out when it pauses
#   waiting  a thread waits in a recv: the kernel holds its socket until it returns
#   stuck    a thread stands in a page fault and holds its socket's lock: named, left alone
#   closing  connections are closed while they are taken out: none of the others has to wait

bats_require_minimum_version 1.5.0
load sandbox.bash
load fakes.bash

setup() {
	box_up
	load_pair >/dev/null 2>&1
	BYPASS_ID=$(program_id bpf_tcpip_bypass)
	SOCKOPS_ID=$(program_id bpf_sockops)
}

teardown() {
	box_down
}

assert_programs_gone() {
	wait_until "${1:-2}" "the sk_msg program to go" is_gone "$BYPASS_ID"
	wait_until 2 "the sock_ops program to go" is_gone "$SOCKOPS_ID"
}

# The process in the background pins its iterators.
assert_nothing_pinned() {
	have_want "pins" "$(in_box find /sys/fs/bpf -name 'bpf_*' -o -name 'sock_ops_*' ! -name 'sock_ops_status-*' ! -name 'sock_ops_open-*' ! -name 'sock_ops_release-*')" = ""
}

# Bytes that have gone over lo since the last call.
lo_bytes() {
	local now
	now=$(device_bytes lo)
	echo $((now - ${LO_BYTES:-0}))
	LO_BYTES=$now
}

@test "unload: idle connections are taken out at once, and go on over TCP" {
	hold_many 100 0
	have_want "sockets in the map" "$(in_map)" -eq 200
	run -0 unload_pair
	output_has "connections taken off the bypass: 100"
	output_lacks "unread"
	output_lacks "stays"
	assert_programs_gone
	assert_nothing_pinned
	LO_BYTES=$(device_bytes lo)
	many_talk 1
	have_want "bytes over lo" "$(lo_bytes)" -gt $((200 * 4))
	many_talk 2
	exec 8>&-
	wait "$MANY"
}

# both_ended READER FIRST: 100,000 bytes are unread when both ends have shut down, FIRST its first, and
# unload.sh runs.
both_ended() {
	in_box timeout 20 python3 - "$1" "$2" "$ROOT/unload.sh" <<-'END'
		import socket, subprocess, sys, time
		server = socket.create_server(("127.0.0.1", 0))
		client = socket.create_connection(server.getsockname())
		server = server.accept()[0]
		reader, writer = (client, server) if sys.argv[1] == "client" else (server, client)
		for _ in range(10):
		    client.send(b"ask"), server.recv(3), server.send(b"say"), client.recv(3)
		for _ in range(10):
		    writer.sendall(b"x" * 10000)
		ends = (reader, writer) if sys.argv[2] == "reader" else (writer, reader)
		for end in ends:
		    end.shutdown(socket.SHUT_WR)
		    time.sleep(0.1)
		print(subprocess.run([sys.argv[3], "--timeout", "0"], capture_output=True, text=True).stdout)
		print("read", len(reader.makefile("rb").read()))
	END
}

@test "unload: what both ends have ended, and one has not read, can be read" {
	local reader first
	for reader in client server; do
		for first in reader writer; do
			run -0 both_ended "$reader" "$first"
			output_has "100000 bytes unread by the $reader" "read 100000"
			load_pair --quiet >/dev/null 2>&1
		done
	done
	unload_pair
}

# fail_from PATTERN TIMES: bpftool fails from its first command on that matches, so often.
fail_from() {
	: >"$BOX_TMP/calls"
	fake bpftool "
		if [[ -s '$BOX_TMP/calls' || \$* == $1 ]]; then
			echo \"\$*\" >>'$BOX_TMP/calls'
			((\$(wc -l <'$BOX_TMP/calls') > $2)) || exit 1
		fi
		exec \"\$REAL\" \"\$@\""
}

@test "unload: a bpftool that fails is no answer, and the next one does what was not done" {
	local pattern times
	hold_many 20 3
	for pattern in "*lookup*" "map\ update*" "*getnext*" "*detach*" "*-j\ map\ show"; do
		for times in 1 1000; do
			load_pair --reload --quiet >/dev/null 2>&1 || load_pair --quiet >/dev/null 2>&1
			fail_from "$pattern" "$times"
			run with_fakes "$ROOT/unload.sh" --timeout 0
			have_want "failing commands: $pattern" "$(wc -l <"$BOX_TMP/calls")" -ge 1
			[[ $status -eq 0 ]] || output_lacks "^unloaded"
			if ((times > 1)); then
				have_want "status" "$status" -eq 1
				output_lacks "taken off the bypass: 20"
			fi
			run -0 unload_pair --timeout 0
			have_want "programs of the cgroup" "$(in_box bpftool cgroup show "$(box_root)")" = ""
			have_want "pins" "$(in_box ls /sys/fs/bpf | grep -c '^bpf_')" -eq 0
		done
	done
	# So often that it is not told what is pinned, though it is pinned.
	load_pair --quiet >/dev/null 2>&1
	fail_from "*-j\ map\ show\ pinned*config" 3
	run -1 with_fakes "$ROOT/unload.sh" --timeout 0
	output_has "nothing has changed"
	have_want "pins" "$(in_box ls /sys/fs/bpf | grep -c '^bpf_')" -ge 2
	run -0 unload_pair --timeout 0
	have_want "programs of the cgroup" "$(in_box bpftool cgroup show "$(box_root)")" = ""
	many_talk 1
	exec 8>&-
	wait "$MANY"
	assert_programs_gone 15
}

@test "unload: where no pin can be removed it does not say that something is still attached" {
	in_box mount --bind /sys/fs/bpf /sys/fs/bpf
	in_box mount -o remount,ro,bind /sys/fs/bpf
	run -1 unload_pair
	output_has "failed: rm "
	output_lacks "still attached"
	output_lacks "stays in the kernel"
	have_want "programs of the cgroup" "$(in_box bpftool cgroup show "$(box_root)")" = ""
	in_box umount /sys/fs/bpf
	run -0 unload_pair
	assert_nothing_pinned
}

# bats test_tags=long
@test "unload: 10,000 idle connections in a bounded time" {
	local begin=$SECONDS
	hold_many 10000 0
	begin=$SECONDS
	run -0 unload_pair --timeout 60
	output_has "connections taken off the bypass: 10000"
	have_want "seconds" $((SECONDS - begin)) -le $((30 * SLOWNESS))
	assert_programs_gone
	many_talk 1
	exec 8>&-
	wait "$MANY"
}

# refuse_map_iterators: as some hosts' policies do.
refuse_map_iterators() {
	fake bpftool '
		if [[ $1 == iter && $3 == *sock_ops_status.o ]]; then
			echo "libbpf: prog '"'sock_ops_status'"': BPF program load failed: $REFUSED" >&2
			exit 255
		fi
		exec "$REAL" "$@"'
	in_box rm /sys/fs/bpf/sock_ops_status # nor would load.sh have it there
}

# without_map_iterators SCRIPT ARGUMENT...: in the words of an older libbpf or of a newer one.
without_map_iterators() {
	with_fakes env REFUSED="${REFUSED:-Operation not permitted}" "$ROOT/$1.sh" "${@:2}"
}

# bats test_tags=long
@test "unload: the same where iterators over maps are refused, in each network namespace" {
	refuse_map_iterators
	hold_many 50 3
	in_box ip netns add peer
	in_box ip -n peer link set lo up
	mkfifo "$BOX_TMP/stay"
	in_box ip netns exec peer "$ROOT/build/many" 1 0 <"$BOX_TMP/stay" >"$BOX_TMP/neighbour" 3>&- 8>&- &
	exec 9>"$BOX_TMP/stay"
	wait_until 10 "the neighbour's connection" grep -q ready "$BOX_TMP/neighbour"

	run -0 without_map_iterators status --json
	have_want "connections" "$(jq '.connections | length' <<<"$output")" -eq 51
	have_want "unread bytes" "$(jq '[.connections[].client.unread] | add' <<<"$output")" -eq 9000
	have_want "on the bypass" "$(jq .open.on_bypass <<<"$output")" -eq 102
	REFUSED=-EPERM run -0 without_map_iterators unload --timeout 2
	output_has "connections taken off the bypass: 48" "3000 bytes unread by the client (many/"
	many_talk 1
	assert_programs_gone 15
	many_talk 2
	exec 8>&- 9>&-
	wait "$MANY"
}

@test "unload: a process by which a network namespace is entered may have ended, another one is taken" {
	local peer
	in_box ip netns add peer
	in_box ip -n peer link set lo up
	mkfifo "$BOX_TMP/stay"
	exec 9<>"$BOX_TMP/stay"
	in_box ip netns exec peer "$ROOT/build/many" 5 0 <"$BOX_TMP/stay" >"$BOX_TMP/peer" 3>&- 9>&- &
	peer=$!
	wait_until 10 "connections" grep -q ready "$BOX_TMP/peer"
	have_want "in the map" "$(in_map)" -eq 10
	[[ $(in_box ip netns exec peer ss -tno) == *keepalive* ]]
	fake nsenter "
		rm '$BOX_TMP/first' 2>/dev/null && exit 1
		rm '$BOX_TMP/second' 2>/dev/null && exec \"\${@:2}\" # of another namespace by now
		exec \"\$REAL\" \"\$@\""
	touch "$BOX_TMP/first" "$BOX_TMP/second"
	run -0 with_fakes "$ROOT/unload.sh"
	[[ ! -e $BOX_TMP/first && ! -e $BOX_TMP/second ]]
	run -0 in_box ip netns exec peer ss -tno
	output_lacks keepalive
	exec 9>&-
	wait "$peer"
}

@test "unload: a program that only has the names of ours is none of ours" {
	in_box mkdir /sys/fs/bpf/theirs
	in_box bpftool prog load "$ROOT/build/other/names.bpf.o" /sys/fs/bpf/theirs/names type socket \
		pinmaps /sys/fs/bpf/theirs
	in_box bpftool map update pinned /sys/fs/bpf/theirs/sock_ops_config key 0 0 0 0 \
		value 1 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
	in_box bpftool map update pinned /sys/fs/bpf/theirs/sock_ops_config key 1 0 0 0 \
		value "$(sed -n 's/^LAYOUT=//p' "$ROOT/lib/version.sh")" 0 0 0 0 0 0 0 49 46 50 0 0 0 0 0 0 0 0 0 0 0 0 0
	run -0 unload_pair
	output_has unloaded
	output_lacks "switched on" "cannot" "another version"
	run -0 unload_pair
	output_has "nothing is loaded"
	in_box rm -r /sys/fs/bpf/theirs
}

# hold PROGRAM: of tests/programs, which says when it has a connection; it ends with fd 9.
hold() {
	mkfifo "$BOX_TMP/stay"
	in_box python3 "$ROOT/tests/programs/$1" <"$BOX_TMP/stay" >"$BOX_TMP/out" 3>&- &
	exec 9>"$BOX_TMP/stay"
	wait_until 10 "a connection" test -s "$BOX_TMP/out"
}

# bats test_tags=long
@test "unload: takes out what is in a network namespace without a name or a process" {
	refuse_map_iterators
	hold nameless.py
	run -0 without_map_iterators unload --timeout 2
	output_has "connections taken off the bypass: 1"
	assert_programs_gone 15
	exec 9>&-
}

# bats test_tags=long
@test "unload: sees what has not been accepted" {
	refuse_map_iterators
	hold waiting.py
	run -0 without_map_iterators unload --timeout 0
	output_has "127.0.0.1:$(cat "$BOX_TMP/out"), 5 bytes unread by the server (uid 0)"
	exec 9>&-
	assert_programs_gone 15
}

# bats test_tags=long
@test "unload: says so where a connection cannot be seen" {
	refuse_map_iterators
	hold in_flight.py
	run -1 without_map_iterators unload --timeout 0
	output_has "what is left in the map cannot be seen: connections stay in it until they are closed"
	exec 9>&-
	assert_programs_gone 15
}

# bats test_tags=long
@test "unload: unread connections are named and left alone, until they are read" {
	local begin line
	hold_many 20 3
	begin=$SECONDS
	run -0 unload_pair --timeout 1
	# Its steps take 2 s, and 12 beside busy neighbours.
	have_want "seconds" $((SECONDS - begin)) -le $((20 * SLOWNESS))
	output_has "connections taken off the bypass: 17"
	line="^  127\.0\.0\.1:[0-9]+ -> 127\.0\.0\.1:[0-9]+, 3000 bytes unread by the client \(many/[0-9]+\) for [0-9]+ s$"
	have_want "lines that name one" "$(grep -cE "$line" <<<"$output")" -eq 3
	assert_nothing_pinned
	have_want "programs of the cgroup" "$(in_box bpftool cgroup show "$(box_root)")" = ""
	assert_sockops_gone_alone
	many_talk 1
	assert_programs_gone 15 # by the process in the background
	many_talk 2
	exec 8>&-
	wait "$MANY"
}

assert_sockops_gone_alone() {
	wait_until 2 "the sock_ops program to go" is_gone "$SOCKOPS_ID"
	! is_gone "$BYPASS_ID"
}

# bats test_tags=long
@test "unload: unread connections go when they are closed as well" {
	hold_many 20 20
	run -0 unload_pair --timeout 0
	have_want "lines that name one" "$(grep -c '3000 bytes unread by the client' <<<"$output")" -eq 20
	kill "$(pid_of many)"
	exec 8>&-
	wait "$MANY" || true
	assert_programs_gone 15
}

is_going_off() {
	[[ $(in_box bpftool -j map lookup pinned /sys/fs/bpf/sock_ops_config key 0 0 0 0 | jq -r '.value[8]') == 0x02 ]]
}

# bats test_tags=long
@test "unload: waits for what is being read" {
	hold_many 20 20
	(
		wait_until 10 "unload.sh to wait" is_going_off
		sleep "$SLOWNESS"
		many_talk 1
	) 3>&- &
	run -0 unload_pair --timeout 20
	output_has "connections taken off the bypass: 20"
	output_lacks unread
	assert_programs_gone
	wait_until 5 "the round trip" many_have_talked 1
	many_talk 2
	exec 8>&-
	wait "$MANY"
}

# bats test_tags=long
@test "unload: run again, it takes out what has been read since" {
	local pid
	hold_many 20 20
	run -0 unload_pair --timeout 0
	pid=$(sed -n 's/^process \([0-9]*\) takes.*/\1/p' <<<"$output")
	kill -9 "$pid"
	many_talk 1
	! is_gone "$BYPASS_ID"
	run -0 unload_pair
	output_has "connections taken off the bypass: 20"
	assert_programs_gone
	exec 8>&-
	wait "$MANY"
}

# As the systemd unit's stop, and unload.sh by hand later.
# bats test_tags=long
@test "unload: what it leaves behind a second time gets its keepalive back when it is read" {
	hold_many 3 3
	have_want "sockets with probes" "$(probing)" -eq 6
	run -0 without_background
	output_has "they stay until they are closed, or unload.sh is run with CAP_SYS_ADMIN"
	run -0 unload_pair --timeout 0
	output_has "takes them off the bypass once they are read"
	many_talk 1
	assert_programs_gone 15
	wait_until 5 "their own keepalive" none_probes
	exec 8>&-
	wait "$MANY"
}

# bats test_tags=long
@test "unload: run again, it leaves what is unread to the process that goes on with it" {
	local first
	hold_many 3 3
	run -0 unload_pair --timeout 0
	[[ $output =~ process\ ([0-9]+)\ takes ]]
	first=${BASH_REMATCH[1]}
	load_pair --quiet
	run -0 unload_pair --timeout 0
	output_has "still on the bypass" \
		"process $first, of an earlier unload.sh, takes them off the bypass once they are read"
	have_want "processes" "$(in_box find /sys/fs/bpf -name "sock_ops_open-*" | wc -l)" -eq 1
	many_talk 1
	assert_programs_gone 15
	wait_until 5 "its pins to go" eval 'assert_no_pins 2>/dev/null'
	exec 8>&-
	wait "$MANY"
}

probing() {
	in_box ss -tnoH state established | grep -c timer:.keepalive || true
}

# As one who may not have maps by their id: then nothing stays to take them out.
without_background() {
	fake bpftool '[[ "$1 $2 $3" != "map show id" ]] || { echo "Error: get map by id ($4): Operation not permitted" >&2; exit 255; }
		exec "$REAL" "$@"'
	with_fakes "$ROOT/unload.sh" --timeout 0
}

# bats test_tags=long
@test "unload: busy connections lose nothing, and end up on plain TCP" {
	local seed pids=() pid
	for seed in 1 2 3; do
		in_box "$PAIR" --seed "$seed" --count 200 --size 20000 turns 3>&- &
		pids+=("$!")
		in_box "$PAIR" --seed "$seed" --size 6000000 duplex 3>&- &
		pids+=("$!")
		in_box "$PAIR" --seed "$seed" --count 50000 talk 3>&- &
		pids+=("$!")
	done
	wait_until 5 "traffic" busy
	unload_pair
	for pid in "${pids[@]}"; do
		wait "$pid"
	done
	assert_programs_gone
}

busy() {
	[[ $(counter redirected_messages) -gt 10000 ]]
}

# bats test_tags=long
@test "unload: a blocking recv that waits goes on waiting, and its program is named" {
	mkfifo "$BOX_TMP/go"
	in_box "$PAIR" --count 20 hold <"$BOX_TMP/go" >"$BOX_TMP/out" 3>&- &
	local pid=$!
	exec 8>"$BOX_TMP/go"
	wait_until 5 "small talk" grep -q held "$BOX_TMP/out"
	run -0 unload_pair
	output_has "taken off the bypass: 1" "until threads that wait in a recv"
	assert_nothing_pinned
	! is_gone "$BYPASS_ID"
	echo >&8
	wait_until 5 "an answer" grep -q again "$BOX_TMP/out"
	assert_programs_gone
	exec 8>&-
	wait "$pid"
}

# bats test_tags=long
@test "unload: load again works, with old connections still alive, and both talk" {
	local go old
	hold_many 20 5
	unload_pair --timeout 0
	load_pair
	in_box "$PAIR" talk
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
	many_talk 1
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
	run -0 in_box "$ROOT/status.sh"
	output_has "0 of 65535 sockets"
	many_talk 2
	unload_pair
	assert_programs_gone 15
	exec 8>&-
	wait "$MANY"
}

# again_and_again SCENARIO...: until $BOX_TMP/stop exists.
again_and_again() {
	in_box bash -c 'stop=$1; shift; while [[ ! -e $stop ]]; do "$@" --seed $((++seed)) || exit; done' \
		again "$BOX_TMP/stop" "$PAIR" "$@" 3>&- 8>&- &
}

@test "unload: twice under traffic, with loads between, nothing is lost" {
	local i pids=() pid redirected=0
	hold_many 50 0
	for i in "talk --count 400" "turns --count 20 --size 100000" "duplex --size 3000000" \
		"half-close-late"; do
		# shellcheck disable=SC2086 # words
		again_and_again $i
		pids+=("$!")
	done
	for i in {1..2}; do
		unload_pair --timeout 5 >/dev/null 2>&1
		load_pair >/dev/null 2>&1
		many_talk "$i"
		redirected=$((redirected + $(counter redirected_messages)))
	done
	touch "$BOX_TMP/stop"
	for pid in "${pids[@]}"; do
		wait "$pid"
	done
	have_want "redirected messages" "$redirected" -gt 1000
	many_talk 3
	exec 8>&-
	wait "$MANY"
	unload_pair
	assert_programs_gone
}

# stuck_up [IN...]: a connection on the bypass whose client holds its socket's lock until fd 9 is
# closed.
stuck_up() {
	mkfifo "$BOX_TMP/stay"
	in_box "$@" "$ROOT/build/stuck" recv <"$BOX_TMP/stay" >"$BOX_TMP/stuck" 3>&- 8>&- &
	STUCK=$!
	exec 9>"$BOX_TMP/stay"
	wait_until 10 "a held lock" grep -q ready "$BOX_TMP/stuck"
}

# bats test_tags=long
@test "unload: an end that stands in a page fault is named, and holds nothing else up" {
	hold_many 20 0
	have_want "sockets with probes" "$(probing)" -eq 40
	stuck_up
	run -0 timeout $((60 * SLOWNESS)) nsenter --target "$BOX_PID" \
		--cgroup --mount --net -- "$ROOT/unload.sh" --timeout 2
	output_has "connections taken off the bypass: 20" "still on the bypass" \
		" 5 bytes unread by the client (stuck/"
	output_has "sockets get back what they had before once no program of their network namespace holds a socket's lock; these hold one now:" \
		"  127.0.0.1:" " -> 127.0.0.1:" ", the client (stuck/"
	assert_nothing_pinned
	assert_sockops_gone_alone
	have_want "programs of the cgroup" "$(in_box bpftool cgroup show "$(box_root)")" = ""
	many_talk 1
	exec 9>&-
	wait "$STUCK"
	assert_programs_gone 15
	wait_until 5 "their own keepalive" none_probes
	exec 8>&-
	wait "$MANY"
}

none_probes() {
	[[ $(probing) -eq 0 ]]
}

# bats test_tags=long
@test "unload: a lock that is held in one network namespace holds no other one up" {
	in_box ip netns add peer
	in_box ip -n peer link set lo up
	stuck_up ip netns exec peer
	in_box ip netns exec peer "$PAIR" --count 20 hold </dev/stdin >"$BOX_TMP/out" 3>&- 8>&- 9>&- \
		< <(sleep 100) &
	wait_until 5 "small talk" grep -q held "$BOX_TMP/out"
	hold_many 5 0
	run -0 unload_pair --timeout 1
	have_want "sockets with probes" "$(probing)" -eq 0
	exec 8>&- 9>&-
	wait "$MANY"
}

# bats test_tags=long
@test "unload: what one that is killed had to give back, or its process in the background, the next one does" {
	local function
	for function in linger finish; do
		copy_project "$BOX_TMP/killed"
		cp -r "$ROOT/build" "$BOX_TMP/killed"
		# No namespace gets its turn before the end.
		sed -i 's/^RELEASE_MS=.*/RELEASE_MS=0/' "$BOX_TMP/killed/lib/release.sh"
		sed -i "s/^$function() {/&\n\tkill -KILL \$BASHPID/" "$BOX_TMP/killed/lib/lingering.sh"
		in_box test -e /sys/fs/bpf/bpf_sockops || load_pair >/dev/null
		hold_many 5 0
		have_want "sockets with probes" "$(probing)" -eq 10
		in_box "$BOX_TMP/killed/unload.sh" --timeout 0 >/dev/null 2>&1 || true
		have_want "the same, $function() killed" "$(probing)" -eq 10
		run -0 unload_pair
		output_has unloaded
		wait_until 5 "their own keepalive" none_probes
		wait_until 5 "no pins" assert_nothing_pinned
		exec 8>&-
		wait "$MANY"
		rm -r "$BOX_TMP/killed" "$BOX_TMP/go"
	done
}

# bats test_tags=long
@test "unload: connections that are closed meanwhile do not put off the others" {
	command -v python3 >/dev/null || skip "no python3 here"
	mkfifo "$BOX_TMP/stay"
	in_box python3 "$ROOT/tests/programs/closing.py" 1000 10 <"$BOX_TMP/stay" >"$BOX_TMP/out" 3>&- &
	exec 9>"$BOX_TMP/stay"
	wait_until 30 "connections" grep -q ready "$BOX_TMP/out"
	echo >&9
	run -0 unload_pair --timeout 2
	assert_programs_gone 15 # at the next look, in the background, what was behind those closed last
	run -1 grep closed "$BOX_TMP/out"
	exec 9>&-
}

@test "unload: its lists have one bound together" {
	local begin map
	map=$(in_box bpftool -j map show pinned /sys/fs/bpf/sock_ops_map | jq .id)
	refuse_map_iterators # so that each look lists all open files
	fake cat '[[ $1 != */sock_ops_open-* ]] || { "$REAL" "$@"; exec sleep 100; }; exec "$REAL" "$@"'
	hold_many 5 1
	begin=$SECONDS
	run -0 without_map_iterators unload --timeout 1
	have_want "seconds" $((SECONDS - begin)) -le $((25 * SLOWNESS))
	output_has "still on the bypass" "3000 bytes unread by the client" "and perhaps others"
	have_want "sockets in the map" "$(bpftool map dump id "$map" | grep -c ^key)" -eq 2
	exec 8>&-
	wait "$MANY"
}

@test "unload: goes to its end where nobody takes its output, in silence" {
	local how
	for how in '2>&1 | head -n 1' '>/dev/full' '>&- 2>&-' '2>&1 | true'; do
		in_box test -e /sys/fs/bpf/bpf_sockops || load_pair --quiet >/dev/null 2>&1
		hold_many 200 150 # the lines that name the unread ones do not fit into a pipe that nobody reads
		run -0 in_box bash -c "set -o pipefail; '$ROOT/unload.sh' --timeout 0 $how"
		output_lacks "roken pipe"
		output_lacks "write"
		assert_nothing_pinned
		have_want "programs of the cgroup, $how" "$(in_box bpftool cgroup show "$(box_root)")" = ""
		kill "$(pid_of many)"
		exec 8>&-
		wait "$MANY" || true
	done
}

# As many namespaces as there are places, one, in which a lock is held for as long as it takes.
@test "unload: locks that are held in all places do not keep other namespaces from getting theirs back" {
	copy_project "$BOX_TMP/copy"
	ln -s "$ROOT/build" "$BOX_TMP/copy/build"
	sed -i 's/^MAX_HELD=64 /MAX_HELD=1 /' "$BOX_TMP/copy/lib/release.sh"
	hold_many 3 0
	stuck_up # in the same namespace, the first one
	in_box ip netns add peer
	in_box ip -n peer link set lo up
	mkfifo "$BOX_TMP/peer.go"
	in_box ip netns exec peer "$PAIR" --count 20 hold <"$BOX_TMP/peer.go" >"$BOX_TMP/out" 3>&- 8>&- \
		9>&- &
	exec 7>"$BOX_TMP/peer.go"
	wait_until 5 "small talk" grep -q held "$BOX_TMP/out"
	have_want "sockets with probes" "$(probing_in_peer)" -ge 1
	run -0 in_box "$BOX_TMP/copy/unload.sh" --timeout 1
	output_has "network namespaces where sockets get back later what they had before: 1" \
		", the client (stuck/"
	wait_until 10 "their own keepalive" none_probes_in_peer
	exec 7>&- 8>&- 9>&-
	wait "$STUCK" "$MANY"
}

probing_in_peer() {
	in_box ip netns exec peer ss -tnoH state established | grep -c timer:.keepalive || true
}

none_probes_in_peer() {
	[[ $(probing_in_peer) -eq 0 ]]
}

# bats test_tags=long
@test "unload: --timeout is a bound where connections cannot be taken out" {
	fail_at '*batch*'
	hold_many 5 0
	run -0 timeout $((60 * SLOWNESS)) nsenter --target "$BOX_PID" --cgroup --mount --net -- \
		env PATH="$BOX_TMP/bin:$PATH" "$ROOT/unload.sh" --timeout 1
	output_has "still on the bypass when the time was up:" ", idle"
	assert_nothing_pinned
	exec 8>&-
	wait "$MANY"
}

# Where each namespace of the host was visited, once after each batch.
# bats test_tags=long
@test "unload: only the network namespaces that have connections are entered, once" {
	local i
	fake nsenter 'echo >>"$ENTERED"; exec "$REAL" "$@"'
	for i in {1..5}; do
		in_box ip netns add "n$i"
		in_box ip -n "n$i" link set lo up
	done
	mkfifo "$BOX_TMP/stay"
	in_box ip netns exec n3 "$ROOT/build/many" 3 0 <"$BOX_TMP/stay" >"$BOX_TMP/neighbour" 3>&- 8>&- &
	exec 9>"$BOX_TMP/stay"
	wait_until 10 "the neighbour's connections" grep -q ready "$BOX_TMP/neighbour"
	hold_many 10 0
	run -0 with_fakes env ENTERED="$BOX_TMP/entered" "$ROOT/unload.sh"
	output_has "connections taken off the bypass: 13"
	have_want "namespaces entered" "$(wc -l <"$BOX_TMP/entered")" -eq 1
	have_want "sockets with probes in the other one" \
		"$(in_box ip netns exec n3 ss -tnoH state established | grep -c timer:.keepalive || true)" -eq 0
	exec 8>&- 9>&-
	wait "$MANY"
}

# As after a load.sh that failed once it had switched the pair on.
@test "unload: what is switched on, but attached nowhere, is switched off and taken out" {
	hold_many 10 0
	in_box bpftool cgroup detach "$(box_root)" sock_ops pinned /sys/fs/bpf/bpf_sockops
	in_box bash -c 'rm -r /sys/fs/bpf/bpf_* /sys/fs/bpf/sock_ops_*'
	run -0 unload_pair
	output_has "the pair was switched on, but attached nowhere (program $BYPASS_ID)" \
		unloaded "connections taken off the bypass: 10"
	assert_programs_gone
	LO_BYTES=$(device_bytes lo)
	many_talk 1
	have_want "bytes over lo" "$(lo_bytes)" -gt $((20 * 4))
	exec 8>&-
	wait "$MANY"
}

@test "unload: what goes by itself meanwhile is nothing that failed" {
	fake bpftool '
		"$REAL" "$@" || exit
		if [[ $* == "-j map show" ]]; then
			kill "$MANY"
			for _ in {1..100}; do
				"$REAL" prog show id "$BYPASS_ID" >/dev/null 2>&1 || break
				sleep 0.05
			done
		fi'
	hold_many 10 0
	in_box bpftool cgroup detach "$(box_root)" sock_ops pinned /sys/fs/bpf/bpf_sockops
	in_box bash -c 'rm -r /sys/fs/bpf/bpf_* /sys/fs/bpf/sock_ops_*'
	run -0 with_fakes env MANY="$(pid_of many)" BYPASS_ID="$BYPASS_ID" "$ROOT/unload.sh"
	output_has "nothing is loaded"
	assert_no_pins
	exec 8>&-
	wait "$MANY" || true
}

# in_container COMMAND...: a cgroup, and a BPF file system, of its own.
in_container() {
	in_child unshare --mount --cgroup bash -c '
		umount --lazy "$1"
		mount -t cgroup2 none "$1"
		mount -t bpf -o mode=0700 bpf /sys/fs/bpf
		shift
		exec "$@"' container "$(box_root)" "$@"
}

# bats test_tags=long
@test "unload: what another one is in the middle of, in another container, is left to it" {
	local first
	child_up
	fake bpftool '
		if [[ " $* " == *" batch "* ]]; then
			touch "$BUSY"
			while [[ -e $BUSY ]]; do sleep 0.1; done
		fi
		exec "$REAL" "$@"'
	hold_many 20 0
	with_fakes env BUSY="$BOX_TMP/busy" "$ROOT/unload.sh" >"$BOX_TMP/first" 2>&1 3>&- 8>&- &
	first=$!
	wait_until 10 "the first one to be in the middle" test -e "$BOX_TMP/busy"
	run -0 in_container "$ROOT/unload.sh" --timeout 0
	output_has "nothing is loaded"
	output_lacks "bypass"
	have_want "sockets in the map" "$(in_map)" -eq 40
	rm "$BOX_TMP/busy"
	wait "$first"
	run -0 cat "$BOX_TMP/first"
	output_has "connections taken off the bypass: 20"
	exec 8>&-
	wait "$MANY"
}

@test "unload: sockets that are accepted, or used again, later have their own keepalive" {
	mkfifo "$BOX_TMP/go"
	in_box python3 "$ROOT/tests/programs/kept_options.py" <"$BOX_TMP/go" >"$BOX_TMP/said" 3>&- &
	local pid=$!
	exec 8>"$BOX_TMP/go"
	wait_until 10 "connections" grep -q ready "$BOX_TMP/said"
	have_want "sockets with probes" "$(probing)" -ge 6
	run -0 unload_pair --timeout 1
	echo >&8
	exec 8>&-
	wait "$pid"
	have_want "have their own options" "$(tail -n 2 "$BOX_TMP/said")" = \
		$'accepted: True True True\nagain: True'
}
