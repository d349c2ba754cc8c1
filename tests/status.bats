#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# status.sh, in its three forms, against what the programs did.

bats_require_minimum_version 1.5.0
load sandbox.bash
load fakes.bash

box_each_test

status() {
	in_box "$ROOT/status.sh" "$@"
}

# json FILTER: what jq says of status.sh --json.
json() {
	status --json | jq -r "$1"
}

# nc talks to socat as an echo server at port 1000, and goes on with what is
# written to fd 8.
hold_echo() {
	in_box socat TCP4-LISTEN:1000 exec:cat 3>&- &
	wait_until 5 "socat to listen" in_box bash -c 'ss -ltn | grep -q :1000'
	mkfifo "$BOX_TMP/go"
	in_box nc 127.0.0.1 1000 <"$BOX_TMP/go" >"$BOX_TMP/echo" 3>&- &
	exec 8>"$BOX_TMP/go"
	echo hello >&8
	wait_until 5 "the echo" grep -q hello "$BOX_TMP/echo"
}

@test "status.sh: tells loaded from not by its exit status" {
	run -1 status
	output_has "not loaded" load.sh
	run -1 status --json
	have_want "loaded" "$(jq -r .loaded <<<"$output")" = false
	load_pair
	run -0 status
	output_has "loaded "
	run -0 status --json
	have_want "loaded" "$(jq -r .loaded <<<"$output")" = true
	in_box rm /sys/fs/bpf/sock_ops_map
	run -1 status
	output_has "loaded in part" unload.sh
	unload_pair
	run -1 status
}

# bats test_tags=long
@test "status.sh: what cannot be written is an error, and what nobody wants is none" {
	local how
	for how in '' --json; do
		run -2 in_box bash -c "'$ROOT/status.sh' $how >/dev/full"
		run -1 in_box bash -c "'$ROOT/status.sh' $how >&-"
	done
	run -2 in_box bash -c "'$ROOT/status.sh' --help >/dev/full"
	load_pair --quiet
	for how in '' --json '--watch 1'; do
		run -2 in_box timeout $((20 * SLOWNESS)) bash -c "'$ROOT/status.sh' $how >/dev/full"
	done
	for how in '' --json; do
		run -0 in_box bash -c "'$ROOT/status.sh' $how >&-"
		have_want "output" "$output" = ""
		run -0 in_box bash -c "'$ROOT/status.sh' $how >&- 2>&-"
	done
}

@test "status.sh: needs root, and says so" {
	chmod 755 "$BOX_TMP"
	copy_project "$BOX_TMP/copy"
	run -2 in_box setpriv --reuid 65534 --clear-groups "$BOX_TMP/copy/status.sh"
	output_has "needs root"
}

@test "status.sh: shows since when, where, and the filter" {
	local root since now
	root=$(box_root)
	now=$(date +%s)
	load_pair --port 1-9000,9100 --exclude-port 22 --quiet
	run -0 status
	output_has "cgroup       $root"
	output_has "filter       ports 1-9000,9100, but not 22 of the listening side"
	output_has "trace        off" "0 of 65535 sockets" "no connection is on the bypass"
	since=$(json .since)
	have_want "loaded since" "$since" -ge $((now - 2))
	have_want "loaded since" "$since" -le $((now + 10))
	have_want "the scope" "$(json '[.cgroup, .ports[], .exclude_ports[], .trace] | join(" ")')" = \
		"$root 1-9000 9100 22 false"
}

# bats test_tags=long
@test "status.sh: shows both ends of each connection, with their programs" {
	local netns
	load_pair
	hold_echo
	netns=$(in_box stat -L -c %i /proc/self/ns/net)
	run -0 status
	echo "$output" | grep \
		-E "^127\.0\.0\.1:[0-9]+ +127\.0\.0\.1:1000 +[0-9]+ s +0 +0 +$netns +nc/$(pid_of nc) -> socat/[0-9]+$"
	have_want "all are listed, and connections" \
		"$(json '"\(.all_listed) \(.connections | length)"')" = "true 1"
	have_want "the server's end" \
		"$(json '.connections[0].server | [.address, .netns, .unread, .on_bypass] | join(" ")')" = \
		"127.0.0.1:1000 $netns 0 true"
	have_want "program of the client" "$(json .connections[0].client.program)" = "nc/$(pid_of nc)"
	exec 8>&-
}

@test "status.sh: says how many directions of open connections are back on TCP, and why" {
	local size pids=()
	load_pair --quiet
	mkfifo "$BOX_TMP/go"
	exec 8<>"$BOX_TMP/go"
	for size in 0 32000000 32000000; do
		in_box "$PAIR" --size "$size" hold <"$BOX_TMP/go" >"$BOX_TMP/out.${#pids[@]}" 3>&- 8>&- &
		pids+=("$!")
	done
	for size in 0 1 2; do
		wait_until 10 "connection $size" grep -q held "$BOX_TMP/out.$size"
	done
	have_want "open" "$(json '.open | tostring')" = '{"on_bypass":2,"left_peer_left":2,"left_bulk":2}'
	run -0 status
	output_has "open         2 directions on the bypass, 4 back on TCP: 2 (the other direction has left or ended), 2 (bulk)"
	exec 8>&-
	wait "${pids[@]}"
	wait_until 5 "the connections to close" directions_are '{"on_bypass":0}'
}

directions_are() {
	[[ $(json '.open | tostring') == "$1" ]]
}

@test "status.sh: shows IPv6 addresses as programs write them" {
	load_pair
	in_box ip addr add fd07:0:0:1::5/64 dev lo nodad
	in_box ip addr add fd07::/128 dev lo nodad
	mkfifo "$BOX_TMP/go"
	local address
	for address in ::1 fd07:0:0:1::5 fd07::; do
		in_box "$PAIR" --listen "$address" --port 7000 --count 1 hold <"$BOX_TMP/go" >"$BOX_TMP/out" \
			3>&- &
		exec 8>"$BOX_TMP/go"
		wait_until 5 "the connection" grep -q held "$BOX_TMP/out"
		have_want "address of the server" "$(json .connections[0].server.address)" = "[$address]:7000"
		exec 8>&-
		wait $!
		rm "$BOX_TMP/out"
	done
}

# bats test_tags=long
@test "status.sh: shows what is unread, for how long, and by whom" {
	local server since
	load_pair
	hold_echo
	server=$(pid_of socat)
	kill -STOP "$server"
	since=${EPOCHREALTIME/./}
	echo more >&8
	echo and more >&8
	wait_until 5 "unread bytes" unread_is 14
	sleep 1
	have_want "unread by the client" "$(json .connections[0].client.unread)" -eq 0
	have_want "for so many ms" "$(json .connections[0].server.unread_ms)" -ge 1000
	have_want "for so many ms" "$(json .connections[0].server.unread_ms)" \
		-le $(((${EPOCHREALTIME/./} - since) / 1000 + 10))
	status | grep -E " 14 for [1-9][0-9]? s .* -> socat/$server$"
	kill -CONT "$server"
	wait_until 5 "all to be read" unread_is 0
	exec 8>&-
}

# bats test_tags=long
@test "status.sh: shows what a sender has left behind, and the end that is gone" {
	load_pair
	hold_echo
	kill -STOP "$(pid_of socat)"
	echo last >&8
	wait_until 5 "unread bytes" unread_is 5
	kill "$(pid_of nc)"
	exec 8>&-
	wait_until 5 "the client to be gone" client_is_gone
	have_want "unread by the server" \
		"$(json '.connections[0].server | [.unread, .unread_ms] | join(" ")')" = "5 "
	status | grep -E "^127\.0\.0\.1:[0-9]+ +127\.0\.0\.1:1000 +[0-9]+ s +- +5 +[0-9]+ +- -> socat/"
}

client_is_gone() {
	[[ $(json .connections[0].client.on_bypass) == null ]]
}

unread_is() {
	[[ $(json .connections[0].server.unread) -eq $1 ]]
}

@test "status.sh: knows two ends in two network namespaces" {
	load_pair
	in_box ip netns add peer
	in_box ip link add veth0 type veth peer name veth1 netns peer
	in_box ip addr add 10.7.0.1/24 dev veth0
	in_box ip link set veth0 up
	in_box ip -n peer addr add 10.7.0.2/24 dev veth1
	in_box ip -n peer link set veth1 up
	serve "$BOX_TMP/port" in_box ip netns exec peer -- --listen 10.7.0.2 --count 1 hold
	mkfifo "$BOX_TMP/go"
	in_box "$PAIR" --connect 10.7.0.2 --port "$(cat "$BOX_TMP/port")" --count 1 hold call \
		<"$BOX_TMP/go" >"$BOX_TMP/out" 3>&- &
	exec 8>"$BOX_TMP/go"
	wait_until 5 "the connection" grep -q held "$BOX_TMP/out"
	have_want "connections" "$(json '.connections | length')" -eq 1
	have_want "namespace of the client" "$(json '.connections[0].client.netns')" \
		-eq $(in_box stat -L -c %i /proc/self/ns/net)
	have_want "namespace of the server" "$(json '.connections[0].server.netns')" \
		-eq $(in_box ip netns exec peer stat -L -c %i /proc/self/ns/net)
	exec 8>&-
}

@test "status.sh: the counters are those of the programs, each with a plain name" {
	load_pair
	in_box "$PAIR" talk
	have_want "counters" "$(json '.counters | [.admitted_active, .admitted_passive, .redirected_messages, .refused_remote] | join(" ")')" = "1 1 200 0"
	have_want "bytes" "$(json .counters.redirected_bytes)" -eq "$(counter redirected_bytes)"
	run -0 status
	echo "$output" | grep -E '^ +200 +[0-9.]+  messages that skipped the stack$'
	have_want "the counters" "$(json '.counters | keys_unsorted | join(" ")')" = \
		"$(sed -n 's/^COUNTER(\([a-z_]*\),.*/\1/p' "$ROOT/bpf/counters.h" | paste -sd ' ')"
}

# bats test_tags=long
@test "status.sh: --watch shows it again, with the rates of the time between" {
	load_pair
	in_box timeout 60 "$ROOT/status.sh" --watch 1 >"$BOX_TMP/watch" 3>&- &
	wait_until 20 "the first look" watched '0 +0\.0  messages that skipped'
	in_box "$PAIR" talk
	wait_until 20 "their rate" watched '200 +[1-9][0-9.]*  messages that skipped'
	wait_until 20 "the rate of a time without" watched '200 +0\.0  messages that skipped'
	kill "$(pid_of timeout)"
}

# bats test_tags=long
@test "status.sh: --watch goes on when the pair is unloaded amid a look, and loaded again" {
	local watches
	load_pair --quiet
	fake bpftool "[[ \$* != *batch* ]] || ! rm '$BOX_TMP/now' 2>/dev/null || '$ROOT/unload.sh' >/dev/null 2>&1
		exec \"\$REAL\" \"\$@\""
	with_fakes "$ROOT/status.sh" --watch 1 >>"$BOX_TMP/watch" 2>&1 3>&- &
	watches=$!
	wait_until 20 "a look" watched '0 +0\.0  messages that skipped'
	touch "$BOX_TMP/now"
	wait_until 20 "a look without it" grep -q "not loaded" "$BOX_TMP/watch"
	run ! grep "cannot" "$BOX_TMP/watch"
	assert_no_pins
	: >"$BOX_TMP/watch"
	load_pair --quiet
	wait_until 20 "a look again" grep -q "messages that skipped" "$BOX_TMP/watch"
	kill "$watches"
}

# bats test_tags=long
@test "status.sh: --watch has no rates between one load and the next" {
	load_pair --quiet
	in_box "$PAIR" talk
	fake bpftool "[[ \$* != *batch* ]] || ! rm '$BOX_TMP/now' 2>/dev/null ||
			{ '$ROOT/unload.sh' && '$ROOT/load.sh' --quiet; } >/dev/null 2>&1
		exec \"\$REAL\" \"\$@\""
	with_fakes "$ROOT/status.sh" --watch 1 >>"$BOX_TMP/watch" 2>&1 3>&- &
	wait_until 20 "a look" watched '200 +0\.0  messages that skipped'
	touch "$BOX_TMP/now"
	wait_until 20 "a look at the next one" watched '0 +0\.0  messages that skipped'
	run ! grep -E ' -[0-9.]+  ' "$BOX_TMP/watch"
	kill "$!"
}

@test "status.sh: says that its program is not attached, and --reload attaches it" {
	load_pair --quiet
	have_want "attached" "$(in_box "$ROOT/status.sh" --json | jq .attached)" = true
	in_box bpftool cgroup detach "$(box_root)" sock_ops pinned /sys/fs/bpf/bpf_sockops
	in_box bpftool prog detach pinned /sys/fs/bpf/bpf_tcpip_bypass msg_verdict pinned \
		/sys/fs/bpf/sock_ops_map
	run -0 in_box "$ROOT/status.sh"
	output_has "no new connection is admitted: ours is not attached there" "load.sh --reload"
	have_want "attached" "$(in_box "$ROOT/status.sh" --json | jq .attached)" = false
	load_pair --reload --quiet
	have_want "attached" "$(in_box "$ROOT/status.sh" --json | jq .attached)" = true
	in_box "$PAIR" talk
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
}

@test "status.sh: a bpftool that fails is an error, not what is not loaded, and unload.sh then changes nothing" {
	load_pair --quiet
	fake bpftool 'exit 2'
	for how in '' '--watch 1' --json --prometheus; do
		# shellcheck disable=SC2086 # words
		run -2 with_fakes timeout 20 "$ROOT/status.sh" $how
		output_has "bpftool cannot read"
	done
	run -1 with_fakes "$ROOT/unload.sh"
	output_has "bpftool does not tell what is loaded; nothing has changed"
	# One of its commands alone: what it cannot detach is not taken for detached.
	fail_at '*cgroup*'
	run -1 with_fakes "$ROOT/unload.sh"
	output_has "bpftool cannot detach /sys/fs/bpf/bpf_sockops" "what is pinned stays"
	rm "$BOX_TMP/bin/bpftool"
	run -0 unload_pair
	output_has unloaded
	have_want "programs of the cgroup" "$(in_box bpftool cgroup show "$(box_root)")" = ""
}

@test "status.sh: says no less where another tool fails, and that it did" {
	load_pair --quiet --exclude-port 7001
	local how tool words
	for tool in "sed btime" "awk comma" "awk on_bypass"; do
		read -r tool words <<<"$tool"
		rm -rf "$BOX_TMP/bin"
		fake "$tool" "[[ \$* != *$words* ]] || exit 1; exec \"\$REAL\" \"\$@\""
		for how in '' --json; do
			# shellcheck disable=SC2086 # words
			run -2 with_fakes "$ROOT/status.sh" $how
			output_has "a command that was needed for that has failed"
		done
	done
}

@test "status.sh: says that nothing is loaded when the pair is unloaded amid its look" {
	load_pair --quiet
	fake bpftool "[[ \$* != *batch* ]] || '$ROOT/unload.sh' >/dev/null 2>&1
		exec \"\$REAL\" \"\$@\""
	run -1 with_fakes "$ROOT/status.sh" --json
	have_want "output" "$output" = '{"loaded":false}'
}

@test "status.sh: --prometheus shows each counter, and looks at no socket" {
	fail_at '"iter "*'
	run -1 with_fakes "$ROOT/status.sh" --prometheus
	have_want "last line" "${lines[-1]}" = "tcpip_bypass_loaded 0"
	promtool check metrics <<<"$output"
	load_pair --quiet --exclude-port 7001
	in_box "$PAIR" talk
	in_box "$PAIR" --port 7001 talk
	run -0 with_fakes "$ROOT/status.sh" --prometheus
	promtool check metrics <<<"$output"
	output_has "tcpip_bypass_loaded 1" 'tcpip_bypass_admitted_total{end="active"} 1' \
		'tcpip_bypass_refused_total{reason="port"} 1' "tcpip_bypass_redirected_messages_total 200"
	have_want "counters" "$(grep -c '^tcpip_bypass_.*_total' <<<"$output")" \
		-eq "$(grep -c '^COUNTER' "$ROOT/bpf/counters.h")"
	run -2 in_box "$ROOT/status.sh" --prometheus --json
}

@test "status.sh: loads nothing, and reads the lists that load.sh has pinned" {
	fake bpftool '[[ $1 != iter && $* != *load* ]] || exit 1; exec "$REAL" "$@"'
	load_pair --quiet
	hold_many 3 1
	run -0 with_fakes "$ROOT/status.sh" --json
	have_want "unread, of each connection" \
		"$(jq -c '[.connections[].client.unread] | [length, add]' <<<"$output")" = "[3,3000]"
	exec 8>&-
	wait "$MANY"
}

# Each has the sockets of all processes, while others read the same pin.
@test "status.sh: four lists at once miss no socket" {
	local reader n readers netns
	netns=$(in_box stat -L -c %i /proc/self/ns/net)
	load_pair --quiet --all-connections
	in_box python3 -c '
import ctypes, os, socket, time
CLONE = {"x86_64": 56, "aarch64": 220}[os.uname().machine]
CLONE_FILES = 0x400
for _ in range(100): # of which the list names one
    if not ctypes.CDLL(None).syscall(CLONE, CLONE_FILES | 17, 0, 0, 0, 0):
        time.sleep(60)
server = socket.create_server(("127.0.0.1", 7000), backlog=300)
for _ in range(8):
    if not os.fork():
        clients = [socket.create_connection(("127.0.0.1", 7000)) for _ in range(25)]
        for client in clients:
            client.send(b"x")
        time.sleep(60)
servers = [server.accept()[0] for _ in range(200)]
for one in servers:
    one.recv(1)
print("ready", flush=True)
time.sleep(60)' >"$BOX_TMP/held" 3>&- &
	wait_until 10 "the connections" grep -q ready "$BOX_TMP/held"
	for n in {1..25}; do
		readers=()
		for reader in 1 2 3 4; do
			in_box cat /sys/fs/bpf/sock_ops_open >"$BOX_TMP/list.$n.$reader" &
			readers+=($!)
		done
		wait "${readers[@]}"
	done
	for n in "$BOX_TMP"/list.*; do
		have_want "sockets" "$(awk -v netns="$netns" '
			NR == 1 {
				for (columns = NF; NF; NF--)
					at[$NF] = NF
			}
			NF == columns && $at["netns"] == netns { seen[$at["inode"]] }
			END { print length(seen) }' "$n")" -eq 400
	done
}

@test "status.sh: what cannot be listed is an error, and not shown as nothing" {
	local how
	fake bpftool '[[ $1 != iter ]] || { echo "failed: Operation not permitted" >&2; exit 255; }
		exec "$REAL" "$@"'
	load_pair --quiet
	in_box rm /sys/fs/bpf/sock_ops_{open,status}
	for how in '' --json; do
		# shellcheck disable=SC2086 # nothing, or a word
		run -2 with_fakes "$ROOT/status.sh" $how
		output_has "cannot list the sockets: failed: Operation not permitted"
		output_lacks "of 65535 sockets" "no connection is" '"connections"'
	done
}

# hold PROGRAM ARGUMENT...: of tests/programs, which says when it is ready; it ends with fd 8.
hold() {
	rm -f "$BOX_TMP/said"
	mkfifo "$BOX_TMP/go"
	in_box python3 "$ROOT/tests/programs/$1" "${@:2}" <"$BOX_TMP/go" >"$BOX_TMP/said" 3>&- &
	exec 8>"$BOX_TMP/go"
	wait_until 20 "$1" test -s "$BOX_TMP/said"
}

@test "status.sh: lists what its server has not accepted, and what has no name and no process" {
	load_pair --quiet
	hold waiting.py
	have_want "the server" \
		"$(json '.connections[0].server | "\(.address) \(.unread) \(.program)"')" = "127.0.0.1:$(cat "$BOX_TMP/said") 5 uid 0"
	exec 8>&-
	rm "$BOX_TMP/go"
	wait_until 5 "the end" map_is_empty
	hold nameless.py
	have_want "connections" "$(json '.connections | length')" -eq 1
	exec 8>&-
}

# bats test_tags=long
@test "status.sh: tells connections with the same sequence numbers apart, and unload.sh takes out each" {
	load_pair --quiet --all-connections
	hold twins.py 20
	have_want "connections" "$(json '.connections | length')" -eq 20
	have_want "pairs of ends" "$(json '[.connections[] | select(.server.address == "127.0.0.1:7300" and
		.client.address == .client.seen_as) | .client.address] | unique | length')" -eq 20
	run -0 unload_pair --timeout 2
	output_has "connections taken off the bypass: 20"
	output_lacks "still on the bypass"
	exec 8>&-
}

# Where the kernel's policy refuses iterators over maps, a socket without a process is not seen.
lists_the_map() {
	in_box bpftool iter pin "$ROOT/build/sock_ops_status.o" /sys/fs/bpf/try map pinned \
		/sys/fs/bpf/sock_ops_map 2>/dev/null &&
		in_box rm /sys/fs/bpf/try
}

@test "status.sh: names the user where no process holds a socket" {
	local seen=1
	load_pair --quiet
	! lists_the_map || seen=2
	hold no_process.py
	run -0 status
	have_want "servers that no process holds" \
		"$(grep -c ' 6 for .* python3/[0-9]* -> uid 65534$' <<<"$output")" -eq "$seen"
	exec 8>&-
}

@test "status.sh: does not wait for an end that stands in a page fault, and lists it" {
	local how port stuck
	load_pair --quiet
	hold_echo
	for how in recv send; do
		mkfifo "$BOX_TMP/$how"
		in_box "$ROOT/build/stuck" "$how" <"$BOX_TMP/$how" >"$BOX_TMP/$how.said" 3>&- 8>&- &
		stuck=$!
		exec 9>"$BOX_TMP/$how"
		wait_until 10 "the fault" grep -q ready "$BOX_TMP/$how.said"
		port=$(sed 's/ready //' "$BOX_TMP/$how.said")
		run -0 in_box timeout $((10 * SLOWNESS)) "$ROOT/status.sh"
		echo "$output" | grep \
			-E "^127\.0\.0\.1:[0-9]+ +127\.0\.0\.1:$port .* stuck/[0-9]+ -> stuck-server/[0-9]+$"
		echo "$output" | grep -E "^127\.0\.0\.1:[0-9]+ +127\.0\.0\.1:1000 "
		exec 9>&-
		wait "$stuck"
	done
	exec 8>&-
}

# bats test_tags=long
@test "status.sh: goes into no network namespace, and once through what many processes share" {
	local i begin alone
	load_pair --quiet
	fake nsenter 'echo >>"'"$BOX_TMP"'/entered"
		exec "$REAL" "$@"'
	begin=${EPOCHREALTIME/./}
	run -0 with_fakes "$ROOT/status.sh"
	alone=$((${EPOCHREALTIME/./} - begin))
	# shellcheck disable=SC2016 # the inner shell expands it
	in_box bash -c 'for i in {1..200}; do unshare --user --map-root-user --net -- sleep 600 & done' \
		3>&-
	hold shared_files.py 50 4000
	begin=${EPOCHREALTIME/./}
	run -0 with_fakes "$ROOT/status.sh"
	have_want "microseconds, $alone without" $((${EPOCHREALTIME/./} - begin)) \
		-le $((2 * alone + 1000000))
	echo "$output" | grep -E " python3/$(cat "$BOX_TMP/said") -> python3/$(cat "$BOX_TMP/said")$"
	[[ ! -e $BOX_TMP/entered ]]
	exec 8>&-
}

# assert_plain: the output has no bytes that a terminal obeys, and none that is not ASCII.
assert_plain() {
	have_want "lines with other bytes" "$(LC_ALL=C grep -c '[^ -~]' <<<"$output" || true)" -eq 0
}

# as_shown: of lines of bytes, in hexadecimal, what the filter is to make of each.
as_shown() {
	python3 -c '
import re, sys
for line in sys.stdin:
    text = bytes.fromhex(line).decode("latin-1")
    print(re.sub(r"[^!-\[\]-~ ]|(?<![A-Za-z0-9]) ", lambda m: "\\x%02x" % ord(m[0]), text))'
}

# hex_of STRING...: a line for each.
hex_of() {
	local text
	for text; do
		printf %s "$text" | od -A n -v -t x1 | tr -d ' \n'
		echo
	done
}

# bats test_tags=long
@test "status.sh: names of processes, of all bytes, do nothing and are told apart" {
	local pid _ name
	load_pair --quiet
	hold named.py
	wait_until 20 "all names" grep -q ready "$BOX_TMP/said"
	run -0 status
	assert_plain
	cp <(echo "$output") "$BOX_TMP/status"
	run -0 status --json
	assert_plain
	echo "$output" | python3 -c 'import json, sys
for c in json.load(sys.stdin)["connections"]: print(c["client"]["program"])' >"$BOX_TMP/json"
	sed -i '$d' "$BOX_TMP/said" # ready
	while read -r pid _ && IFS= read -r name <&9; do
		grep -F -- " $name/$pid -> $name/$pid" "$BOX_TMP/status"
		grep -xF -- "$name/$pid" "$BOX_TMP/json"
	done <"$BOX_TMP/said" 9< <(cut -d ' ' -f 2 "$BOX_TMP/said" | as_shown)
	have_want "names" "$(grep -c . "$BOX_TMP/json")" -eq 25
	exec 8>&-
}

# every_byte FIRST LAST: but "/" and newline, which no path and no name has.
every_byte() {
	local i text=''
	for ((i = $1; i <= $2; i++)); do
		((i == 10 || i == 47)) || printf -v text '%s\\x%02x' "$text" "$i"
	done
	printf '%b' "$text"
}

# bats test_tags=long
@test "status.sh: names and paths of what is excluded, of all bytes, do nothing and are told apart" {
	local LC_ALL=C i name dirs \
		names=($'na\xc3\xafve' $'a\nb' 'ON[$(touch pwned)]' '$(touch pwned)' ', sshd') dir options=()
	for ((i = 1; i < 256; i += 15)); do
		names+=("$(every_byte $i $((i + 14)))")
	done
	for name in "${names[@]}"; do
		options+=(--exclude-program "$name")
	done
	dirs=("$(every_byte 1 127)" "$(every_byte 128 255)" 'a, $(touch pwned)')
	for dir in "${dirs[@]}"; do
		mkdir "$BOX_CGROUP/$dir"
		options+=(--exclude-cgroup "$(box_root)/$dir")
	done
	run ! mkdir "$BOX_CGROUP/"$'a\nb' # the kernel has none of these
	load_pair --quiet --cgroup "$(box_root)" "${options[@]}"
	run -0 status
	assert_plain
	hex_of "${names[@]}" | cut -c 1-30 | as_shown >"$BOX_TMP/names"
	hex_of "${dirs[@]}" | as_shown | sed "s|^|$(box_root)/|" >"$BOX_TMP/dirs"
	while IFS= read -r name; do
		output_has "$name"
	done < <(cat "$BOX_TMP/names" "$BOX_TMP/dirs")
	run -0 status --json
	assert_plain
	have_want "cgroups" "$(echo "$output" | jq -r '.exclude_cgroups[]')" = "$(sort "$BOX_TMP/dirs")"
	have_want "programs" "$(echo "$output" | jq -r '.exclude_programs[]' | grep -cxFf "$BOX_TMP/names")" -eq ${#names[@]}
	[[ ! -e pwned ]]
}

@test "status.sh: a cgroup with a hostile name is what it is loaded on" {
	local LC_ALL=C dir shown
	dir=$(every_byte 1 90)
	shown=$(box_root)/$(hex_of "$dir" | as_shown)
	mkdir "$BOX_CGROUP/$dir"
	load_pair --quiet --cgroup "$(box_root)/$dir"
	run -0 status
	assert_plain
	output_has "cgroup       $shown"
	have_want "in JSON" "$(json .cgroup)" = "$shown"
	unload_pair
}

watched() {
	grep -qE "^ +$1" "$BOX_TMP/watch"
}

# bats test_tags=long
@test "status.sh: is quick with 10,000 connections, and lists each of them" {
	local begin
	load_pair --quiet
	hold_many 10000 7
	begin=${EPOCHREALTIME/./}
	status >"$BOX_TMP/status"
	have_want "microseconds" $((${EPOCHREALTIME/./} - begin)) -le 15000000
	grep "20000 of 65535 sockets" "$BOX_TMP/status"
	have_want "connections" "$(grep -c '^127\.0\.0\.1:' "$BOX_TMP/status")" -eq 10000
	have_want "of them unread" "$(grep -c ' 3000 for ' "$BOX_TMP/status")" -eq 7
	# The unread ones come first.
	run -0 grep -m1 '^127' "$BOX_TMP/status"
	output_has " 3000 for "
	many_talk 1
	exec 8>&-
	wait "$MANY"
	have_want "sockets in the map" "$(in_map)" -eq 0
}
