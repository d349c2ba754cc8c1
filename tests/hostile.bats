#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# A neighbour on the same host, in namespaces of its own with CAP_NET_ADMIN
# there, tries to get at other connections or to do harm.  Two connections that look alike
# are in isolation.bats.
#
#   box (victims over lo) --- veth 10.7.0.1 | 10.7.0.2 --- neighbour

bats_require_minimum_version 1.5.0
load sandbox.bash

setup() {
	box_up
	load_pair --quiet >/dev/null 2>&1
}

teardown() {
	box_down
}

neighbour_up() {
	in_box ip netns add neighbour
	in_box ip link add veth0 type veth peer name veth1 netns neighbour
	in_box ip addr add 10.7.0.1/16 dev veth0
	in_box ip link set veth0 up
	in_box ip -n neighbour addr add 10.7.0.2/16 dev veth1
	in_box ip -n neighbour link set veth1 up
	in_box ip -n neighbour link set lo up
}

# flood COUNT PORT: so many SYNs from the neighbour, each from another address and
# port.  Nobody answers the SYN-ACKs: half-open states.
flood() {
	in_box ip netns exec neighbour python3 -c '
import random, socket, struct, sys
count, port = int(sys.argv[1]), int(sys.argv[2])
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
s.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff
to = socket.inet_aton("10.7.0.1")
for i in range(count):
    source = struct.pack("!I", 0x0a070100 + i % 60000)
    tcp = struct.pack("!HHIIBBHHH", 1024 + i % 60000, port, random.getrandbits(32), 0, 5 << 4, 2, 65535, 0, 0)
    tcp = tcp[:16] + struct.pack("!H", checksum(source + to + struct.pack("!BBH", 0, 6, 20) + tcp)) + tcp[18:]
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, i & 0xffff, 0, 64, 6, 0, source, to)
    s.sendto(ip + tcp, ("10.7.0.1", 0))
' "$1" "$2"
}

# TCP segments that have arrived in the box.
segments_seen() {
	in_box nstat -asz TcpInSegs | awk '$1 == "TcpInSegs" { print $2 }'
}

# dissolved NAME COMMAND...: tests/programs/dissolved.py, which goes on when a line comes to
# NAME.go.
dissolved() {
	mkfifo "$BOX_TMP/$1.go"
	in_box "${@:2}" python3 "$ROOT/tests/programs/dissolved.py" "$1" <"$BOX_TMP/$1.go" >"$BOX_TMP/$1" \
		3>&- 8>&- 9>&- &
}

# unloaded_and_dissolved: the neighbour does not see that its client has reset the connection.  Its
# server is still on the bypass when the pair is unloaded, since there are bytes unread.
unloaded_and_dissolved() {
	neighbour_up
	in_box ip netns exec neighbour nft 'add table ip f; add chain ip f in { type filter hook input priority 0; };
		add rule ip f in tcp flags & rst == rst drop'
	dissolved server ip netns exec neighbour
	exec 8>"$BOX_TMP/server.go"
	wait_until 5 "the server" in_box ip netns exec neighbour bash -c 'ss -ltn | grep -q :7000'
	dissolved client
	exec 9>"$BOX_TMP/client.go"
	wait_until 5 "the client" grep -q connected "$BOX_TMP/client"
	run -0 unload_pair --timeout 0
	output_has "3 bytes unread by the client"
	[[ $output =~ process\ ([0-9]+)\ takes ]]
}

# dissolve: its former server sends then.
dissolve() {
	echo >&9
	wait_until 5 "its other connection" grep -q again "$BOX_TMP/client"
	echo >&8
	wait_until 5 "the server" grep -q sent "$BOX_TMP/server"
}

# client_has_read: of its other connection.
client_has_read() {
	echo >&9
	wait_until 5 "its answer" grep -q answer "$BOX_TMP/client"
	sed -n 3p "$BOX_TMP/client"
	exec 8>&- 9>&-
}

@test "hostile: a neighbour writes nothing into a later connection of its former client's socket" {
	unloaded_and_dissolved
	kill -9 "${BASH_REMATCH[1]}"
	dissolve
	[[ $(client_has_read) != *injected* ]]
}

# bats test_tags=long
@test "hostile: what is unread of a connection that is dissolved after an unload is not read in the next one" {
	local program
	program=$(program_id bpf_tcpip_bypass)
	unloaded_and_dissolved
	dissolve
	wait_until 15 "the program to go" is_gone "$program"
	have_want "what the client has read" "$(client_has_read)" = answer
}

# Any user can be root of namespaces of his own.
@test "hostile: who learns the numbers of a connection gets none of its bytes, and takes none away" {
	local mode want victim stranger
	chmod 755 "$BOX_TMP"
	cp "$ROOT"/tests/programs/{twins,late_twin}.py "$BOX_TMP"
	in_box ip addr add 10.9.0.1/32 dev lo
	mkfifo "$BOX_TMP/victim.go" "$BOX_TMP/stranger.go"
	for mode in unmet deferred same; do
		in_box python3 "$BOX_TMP/late_twin.py" victim "$mode" <"$BOX_TMP/victim.go" >"$BOX_TMP/victim" 3>&- &
		victim=$!
		exec 8>"$BOX_TMP/victim.go"
		wait_until 10 "the victim" grep -q ready "$BOX_TMP/victim"
		in_box setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all unshare -Urn bash -c '
			ip link set lo up
			ip addr add 10.8.0.1/32 dev lo
			ip addr add 10.9.0.1/32 dev lo
			exec python3 "$@"' bash "$BOX_TMP/late_twin.py" stranger "$mode" \
			<"$BOX_TMP/stranger.go" >"$BOX_TMP/stranger" 3>&- 8>&- &
		stranger=$!
		exec 9>"$BOX_TMP/stranger.go"
		wait_until 10 "the stranger" grep -q ready "$BOX_TMP/stranger"
		echo >&9
		echo >&8
		exec 8>&- 9>&-
		wait "$victim" "$stranger"
		want="for the server"
		[[ $mode != same ]] || want="first second"
		have_want "what the victim's end has read, $mode" "$(tail -n 1 "$BOX_TMP/victim")" = "$want"
		have_want "what the stranger has read, $mode" "$(tail -n 1 "$BOX_TMP/stranger")" = nothing
	done
}

@test "hostile: a dissolved socket that connects to itself, or listens, has nothing of the connection before" {
	local family
	for family in 4 6; do
		run -0 in_box python3 "$ROOT/tests/programs/used_again.py" "$family"
		have_want "what is read, and the options" "$output" = $'new\nTrue True'
	done
	have_want "redirected messages" "$(counter redirected_messages)" -ge 8
}

@test "hostile: who sends to an end that is dissolved, or killed, is told, though its reset was lost" {
	in_box python3 "$ROOT/tests/programs/lost_reset.py" dissolved
	in_box python3 "$ROOT/tests/programs/lost_reset.py" killed
	have_want "admitted" "$(counter admitted_passive)" -eq 2
}

# bats test_tags=long
@test "hostile: a flood of SYNs costs other connections nothing but some acceleration" {
	local before notes
	neighbour_up
	in_box sysctl -qw net.ipv4.tcp_max_syn_backlog=65536 net.core.somaxconn=65535 \
		net.ipv4.tcp_syncookies=0
	hold_many 100 0
	# With room for all half-open connections, so that each is announced.
	in_box socat TCP4-LISTEN:7777,backlog=65535,fork exec:cat 3>&- 8>&- &
	wait_until 5 "socat to listen" in_box bash -c 'ss -ltn | grep -q :7777'
	before=$(segments_seen)
	flood 70000 7777
	have_want "SYNs that arrived" $(($(segments_seen) - before)) -ge 50000
	many_talk 1
	have_want "messages over TCP" "$(counter passed_messages)" -eq 0
	have_want "sockets in the map" "$(in_map)" -eq 200
	in_box "$PAIR" talk # a new one
	notes=$(in_box bpftool map dump pinned /sys/fs/bpf/sock_ops_meet | grep -c '"key"')
	have_want "notes of handshakes" "$notes" -ge 30000
	have_want "notes of handshakes" "$notes" -le 65536
	exec 8>&-
	wait "$MANY"
}

@test "hostile: during a flood new connections get through, with the right bytes" {
	local i flood
	neighbour_up
	in_box socat TCP4-LISTEN:7777,backlog=65535,fork exec:cat 3>&- &
	wait_until 5 "socat to listen" in_box bash -c 'ss -ltn | grep -q :7777'
	flood 60000 7777 3>&- &
	flood=$!
	for i in {1..30}; do
		in_box "$PAIR" --seed "$i" talk
	done
	wait "$flood"
	have_want "connections admitted" "$(counter admitted_passive)" -ge 1
}

@test "hostile: a forged handshake with a loopback connection's addresses crosses nothing" {
	neighbour_up
	in_box "$PAIR" --port 7000 --client-port 7001 --count 1 hold < <(sleep 3) >"$BOX_TMP/out" 3>&- &
	local victim=$!
	wait_until 5 "the victim" grep -q held "$BOX_TMP/out"
	# The same 4-tuple in the neighbour's namespace, 20 times.
	local i
	for i in {1..20}; do
		in_box ip netns exec neighbour "$PAIR" --seed "$((i + 50))" --port 7000 --client-port 7001 \
			--count 5 --abort talk
	done
	wait "$victim"
	have_want "admitted" "$(counter admitted_active admitted_passive)" -eq 42
	have_want "messages over TCP" "$(counter passed_messages)" -eq 0
}

@test "hostile: pins, maps and the list of sockets are for root alone" {
	local pin
	chmod 755 "$BOX_TMP"
	cp "$ROOT/build/sock_ops_status.o" "$BOX_TMP"
	for pin in $(in_box find /sys/fs/bpf -name 'bpf_*' -o -name 'sock_ops_*'); do
		have_want "rights of $pin" "$(in_box stat -c %A:%u "$pin")" = "-rw-------:0"
		run ! in_box setpriv --reuid 65534 --clear-groups bpftool map dump pinned "$pin"
		run ! in_box setpriv --reuid 65534 --clear-groups bpftool prog show pinned "$pin"
	done
	run ! in_box setpriv --reuid 65534 --clear-groups \
		bpftool iter pin "$BOX_TMP/sock_ops_status.o" /sys/fs/bpf/mine map pinned /sys/fs/bpf/sock_ops_map
	# The root of a container with a user namespace is nobody here.
	run ! in_box setpriv --reuid 65534 --clear-groups unshare --user --map-root-user \
		bpftool map dump pinned /sys/fs/bpf/sock_ops_map
	run -0 in_box bpftool map dump pinned /sys/fs/bpf/sock_ops_map
}

# As a flood of handshakes does: the notes are in an LRU map.
lose_notes() {
	local key
	while read -r -a key; do
		in_box bpftool map delete pinned /sys/fs/bpf/sock_ops_meet key hex "${key[@]}"
	done < <(in_box bpftool -j map dump pinned /sys/fs/bpf/sock_ops_meet |
		jq -r '.[].key | map(ltrimstr("0x")) | join(" ")')
}

@test "hostile: a client whose server's note is lost goes back to TCP, and misses no byte" {
	local seen client
	mkfifo "$BOX_TMP/go"
	in_box timeout 20 python3 "$ROOT/tests/programs/note_lost.py" bash \
		-c 'echo greeted; read -r <"$1"' lost "$BOX_TMP/go" \
		>"$BOX_TMP/seen" 3>&- &
	client=$!
	wait_until 5 "the greeting" grep -q greeted "$BOX_TMP/seen"
	have_want "redirected messages" "$(counter redirected_messages)" -eq 1
	lose_notes
	echo >"$BOX_TMP/go"
	wait "$client"
	seen=$(tail -n 1 "$BOX_TMP/seen")
	have_want "bytes that FIONREAD shows" "$seen" -eq 5000
	have_want "left for want of a peer" "$(counter left_no_peer)" -eq 1
	have_want "sockets that have left the map" "$(counter ejected)" -eq 2
}

# numbers_of PORT: the two sequence numbers of the client that is connected to that port.
numbers_of() {
	in_box bpftool -j map dump pinned /sys/fs/bpf/sock_ops_map | python3 -c '
import json, struct, sys
for entry in json.load(sys.stdin):
    local_seq, remote_seq, _, port = struct.unpack("IIHH", bytes(int(b, 16) for b in entry["key"])[36:])
    if port == int(sys.argv[1]):
        print(local_seq, remote_seq)' "$1"
}

FORGE=$ROOT/tests/programs/forge.py

# wire_up CLIENT-SEQ SERVER-SEQ: who answers the neighbour, with these numbers.
wire_up() {
	local mac
	in_box ip netns add wire
	in_box ip -n neighbour link add veth9 type veth peer name wire0 netns wire
	in_box ip -n neighbour addr add 10.9.0.1/24 dev veth9
	in_box ip -n neighbour link set veth9 up
	in_box ip -n wire link set wire0 up
	mac=$(in_box ip netns exec wire cat /sys/class/net/wire0/address)
	in_box ip -n neighbour neigh add 10.9.0.2 lladdr "$mac" dev veth9
	in_box ip netns exec neighbour socat TCP4-LISTEN:9000,backlog=200,fork exec:cat 3>&- 8>&- &
	in_box ip netns exec wire python3 "$FORGE" wire wire0 "$@" >"$BOX_TMP/wire" 3>&- 8>&- &
	wait_until 5 "the wire" grep -q ready "$BOX_TMP/wire"
}

# The worst case: a neighbour cannot know the numbers of a connection whose packets it does not see.
# bats test_tags=long
@test "hostile: who knows the numbers of a connection reads nothing of it, and does not disturb it" {
	local numbers
	neighbour_up
	in_box socat TCP4-LISTEN:7000,fork exec:cat 3>&- &
	wait_until 5 "socat to listen" in_box bash -c 'ss -ltn | grep -q :7000'
	mkfifo "$BOX_TMP/go"
	in_box nc 127.0.0.1 7000 <"$BOX_TMP/go" >"$BOX_TMP/answer" 3>&- &
	exec 8>"$BOX_TMP/go"
	wait_until 5 "the victim" have_in_map 2
	# Its client has not sent yet: the server's note is still there.
	read -ra numbers < <(numbers_of 7000)
	wire_up "${numbers[@]}"
	run -0 in_box timeout 20 ip netns exec neighbour python3 "$FORGE" connect 10.9.0.2 "${numbers[0]}"
	output_has connected "read nothing"
	have_want "clients refused" "$(counter refused_remote)" -eq 1
	echo "to the victim" >&8
	wait_until 5 "the answer" grep -q "to the victim" "$BOX_TMP/answer"
	have_want "redirected messages" "$(counter redirected_messages)" -eq 2
	have_want "messages over TCP" "$(counter passed_messages)" -eq 0
	exec 8>&-
}

@test "hostile: a reader that lets each send to it wait takes no more than a part of a CPU" {
	local slow sends
	read -r slow sends < <(in_box timeout 20 taskset -c 0 python3 "$ROOT/tests/programs/slow_reader.py" 2)
	have_want "slow sends of $sends" "$slow" -lt $((sends / 10))
	have_want "redirected messages" "$(counter redirected_messages)" -gt "$sends"
	have_want "messages over TCP" "$(counter passed_messages)" -eq 0
}

# What decides about the bucket of a socket, beside what its user chooses.
first_of_key() {
	in_box bpftool -j map dump pinned /sys/fs/bpf/sock_ops_map |
		jq -r '.[0].key[0:4] | map(ltrimstr("0x")) | reverse | add'
}

@test "hostile: who knows all of a connection does not know its place in the map" {
	local load netns keys=()
	netns=$(in_box stat -L -c %i /proc/self/ns/net)
	for load in 1 2; do
		hold_many 1 0
		keys+=($((16#$(first_of_key))))
		have_want "hidden, load $load" $((keys[load - 1] ^ netns)) -ne 0
		exec 8>&-
		wait "$MANY"
		unload_pair
		load_pair --quiet
	done
	have_want "hidden by another number" "${keys[0]}" -ne "${keys[1]}"
}

have_in_map() {
	[[ $(in_map) -eq $1 ]]
}

# Any user can fill it.
@test "hostile: where there is no room for a file, all is shown and unloaded" {
	local full=$BOX_TMP/full
	mkdir "$full"
	in_box mount -t tmpfs -o size=4k none "$full"
	in_box bash -c 'head -c 8192 /dev/zero >"$0/file"' "$full" || true
	hold_many 400 0
	run -0 in_box env TMPDIR="$full" "$ROOT/status.sh" --json
	have_want "connections" "$(jq '.connections | length' <<<"$output")" -eq 400
	run -0 in_box env TMPDIR="$full" "$ROOT/unload.sh"
	output_has "connections taken off the bypass: 400"
	many_talk 1
	exec 8>&-
	wait "$MANY"
}

# lists N: how many of N lists of what runs are not whole, in a pid namespace where each number is
# another process's a moment later.  Since 6.14 such a namespace has a pid_max of its own.
lists() {
	in_box timeout 100 unshare --pid --fork --mount-proc bash -c '
		set -euo pipefail
		HERE=$1 bad=0
		for lib in common maps lists; do
			. "$HERE/lib/$lib.sh"
		done
		echo 360 >/proc/sys/kernel/pid_max # of which those below 300 are not taken twice
		for i in 1 2 3; do
			while :; do (:); done &
		done
		for ((i = 0; i < $2; i++)); do
			list=$(read_pin 5 /sys/fs/bpf/list) && [[ $list == *[0-9]* ]] || ((++bad))
		done
		echo "$bad"' lists "$ROOT" "$1"
}

@test "hostile: lists as long as they may be are sorted where there is no room for a file" {
	have_want "other sorts" "$(grep -nE '(^|[|(]|\s)sort( |$|\))' "$ROOT"/*.sh "$ROOT"/lib/*.sh | grep -vE ':\s*#|sort -S')" = ""
	have_want "the last one" "$(awk 'BEGIN { for (i = 200000; i; i--) printf "%0300d\n", i }' |
		TMPDIR=/nowhere bash -c 'HERE=$1; . "$1/lib/common.sh"; sorted' bash "$ROOT" | tail -n 1 | sed 's/^0*//')" = 200000
}

# bats test_tags=long,beside
@test "hostile: a list is whole where pids soon come round again" {
	local kernel
	IFS=. read -ra kernel < <(uname -r)
	((kernel[0] * 100 + kernel[1] >= 614)) || skip "needs Linux 6.14"
	in_box bpftool iter pin "$ROOT/build/sock_ops_running.o" /sys/fs/bpf/list
	have_want "lists that are not whole" "$(lists 1000)" -eq 0
}

@test "hostile: who has the directory of the metrics does not lead root's file to another place" {
	local metrics=$BOX_TMP/metrics
	mkdir "$metrics" "$BOX_TMP/others"
	echo theirs >"$BOX_TMP/others/file"
	ln -s "$BOX_TMP/others/file" "$metrics/tcpip-bypass.new"
	ln -s "$BOX_TMP/others" "$metrics/tcpip-bypass.prom"
	in_box env METRICS="$metrics" "$ROOT/lib/metrics_file.sh"
	have_want "their files" "$(cd "$BOX_TMP/others" && cat ./*)" = theirs
	[[ ! -L $metrics/tcpip-bypass.prom && ! -e $metrics/tcpip-bypass.new ]]
	grep -qx "tcpip_bypass_loaded 1" "$metrics/tcpip-bypass.prom"
}

# As soon as the new file is there, a link takes its place.
# bats test_tags=long
@test "hostile: who has the directory of the metrics makes root open up no other file" {
	local metrics=$BOX_TMP/metrics secret=$BOX_TMP/secret racer i
	install -d -o 65534 "$metrics"
	chmod 755 "$BOX_TMP"
	install -m 600 /dev/null "$secret"
	in_box timeout 60 setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps -all /usr/bin/python3 -c '
import os, stat, sys
os.chdir(sys.argv[1])
os.symlink(sys.argv[2], "link")
while True:
    try:
        if stat.S_ISREG(os.lstat("tcpip-bypass.new").st_mode):
            os.rename("link", "tcpip-bypass.new")
            os.symlink(sys.argv[2], "link")
    except FileNotFoundError:
        pass' "$metrics" "$secret" 3>&- &
	racer=$!
	wait_until 10 "the race" test -L "$metrics/link"
	for i in {1..20}; do
		in_box env METRICS="$metrics" "$ROOT/lib/metrics_file.sh" || true
		have_want "mode of root's file" "$(stat -c %a "$secret")" = 600
	done
	have_want "its bytes" "$(stat -c %s "$secret")" -eq 0
	kill -0 "$racer" # it has raced to the end
	kill "$racer"
}

@test "hostile: the directory of the metrics has an absolute path" {
	run -1 in_box env METRICS= "$ROOT/lib/metrics_file.sh"
	output_has "METRICS is not the path of a directory"
	run ! in_box test -e /tcpip-bypass.prom
}
