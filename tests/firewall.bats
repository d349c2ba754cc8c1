#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# Stateful firewalls: connection tracking sees no packet of a connection that is on the
# bypass, but the probes that the programs have TCP send (keepalive.h).
#
#   client                            server
#   10.7.0.1, fd07::1 --- veth ---    10.7.0.2, fd07::2; 127.0.0.1 is not exempt
#                                     lets in new connections and what belongs to them,
#                                     counts and drops the rest
#                                     forgets what was silent for 70 s (in short tests
#                                     less), and learns no connection from its middle
#   10.8.0.1          --- veth ---    10.8.0.2 (namespace `far`)
#                  cut here: the client drops all, both ways.  In `far` two probes
#                  that find no answer within a second each end a connection.
#   10.9.0.1, fd09::1 are the server's through the client's DNAT, which forgets as well
#
# setup_file starts the long conversations in a sandbox of their own: twice as long on the
# bypass as the firewall remembers, so that one probe alone does not do.  They go on while
# the short tests run; the last tests, named "long", look at how they have ended.

bats_require_minimum_version 1.5.0
# bats file_tags=beside
load sandbox.bash
load scenarios.bash

LONG_SECONDS=142 # the server's firewall forgets after 70

setup_file() {
	box_up
	export BOX_CGROUP BOX_TMP BOX_PID
	LONG_TMP=$BOX_TMP
	export LONG_TMP
	load_pair --quiet
	spaces_up
	firewall_up server 70
	nat_up 70
	in_box ip netns exec far sysctl -qw net.ipv4.tcp_keepalive_intvl=1 net.ipv4.tcp_keepalive_probes=2

	converse nat-end server client 10.9.0.1 end-of-stream
	converse nat-bulk server client 10.9.0.1 bulk
	converse nat-half server client 10.9.0.1 half-close-late
	converse nat6-bulk server client fd09::1 bulk
	converse ipv4-end server client 10.7.0.2 end-of-stream
	converse ipv4-bulk server client 10.7.0.2 bulk
	converse ipv4-half server client 10.7.0.2 half-close-late
	converse ipv6-end server client fd07::2 end-of-stream
	converse ipv6-bulk server client fd07::2 bulk
	converse ipv6-half server client fd07::2 half-close-late
	converse lo-end server server 127.0.0.1 end-of-stream
	converse lo-bulk server server 127.0.0.1 bulk
	converse lo-half server server 127.0.0.1 half-close-late
	converse own-end server client 10.7.0.2 --keepalive end-of-stream
	converse own-bulk server client 10.7.0.2 --keepalive bulk
	# The kernel rests for tcp_keepalive_intvl, 75 s, after each probe.
	converse own-idle server client 10.7.0.2 --keepalive --idle 45 end-of-stream
	converse user-timeout server client 10.7.0.2 --user-timeout 5000 end-of-stream

	converse far far client 10.8.0.2 bulk
	converse far-own far client 10.8.0.2 --keepalive bulk
	converse far-user-timeout far client 10.8.0.2 --user-timeout 5000 bulk
	converse far-both far client 10.8.0.2 --keepalive --user-timeout 5000 bulk
	wait_until 5 "round trips" all_talk 21
	cut
	date +%s >"$BOX_TMP/begin"
}

teardown_file() {
	destroy_sockets
	box_down
}

teardown() {
	[[ $BOX_TMP != "$LONG_TMP" ]] || return 0
	destroy_sockets
	box_down
}

# A FIN that gets no answer keeps its socket for minutes, and with it the programs.
destroy_sockets() {
	local space
	for space in client server far; do
		in_box ip netns exec "$space" ss -Ktn state connected >/dev/null 2>&1 || true
	done
}

# space_up NAME NUMBER: joined with the client's.
space_up() {
	in_box ip netns add "$1"
	in_box ip -n "$1" link set lo up
	in_box ip -n "$1" link add to-client type veth peer name "to-$1" netns client
	in_box ip -n "$1" addr add "10.$2.0.2/24" dev to-client
	in_box ip -n "$1" addr add "fd0$2::2/64" dev to-client nodad
	in_box ip -n "$1" link set to-client up
	in_box ip -n client addr add "10.$2.0.1/24" dev "to-$1"
	in_box ip -n client addr add "fd0$2::1/64" dev "to-$1" nodad
	in_box ip -n client link set "to-$1" up
}

spaces_up() {
	in_box ip netns add client
	space_up server 7
	space_up far 8
}

# firewall_up NAMESPACE SECONDS
firewall_up() {
	in_box ip netns exec "$1" nft -f - <<-END
		table inet firewall {
			counter dropped { }
			chain input {
				type filter hook input priority 0; policy drop;
				ct state established,related accept
				tcp flags & (fin | syn | rst | ack) == syn ct state new accept
				meta l4proto { 1, 58 } accept # ICMP, ICMPv6: guests lack /etc/protocols
				counter name dropped
			}
		}
	END
	in_box ip netns exec "$1" sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_established="$2" \
		net.netfilter.nf_conntrack_tcp_loose=0
}

# nat_up SECONDS: without its entry the answers of a server would be nobody's.
nat_up() {
	in_box ip -n client route add 10.9.0.0/24 via 10.7.0.2
	in_box ip -n client route add fd09::/64 via fd07::2
	in_box ip netns exec client nft -f - <<-END
		table inet nat {
			chain output {
				type nat hook output priority -100;
				ip daddr 10.9.0.1 dnat ip to 10.7.0.2
				ip6 daddr fd09::1 dnat ip6 to fd07::2
			}
		}
	END
	in_box ip netns exec client sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_established="$1" \
		net.netfilter.nf_conntrack_tcp_loose=0
}

# Packets that the firewall of a namespace has dropped.
dropped() {
	in_box ip netns exec "$1" nft list counter inet firewall dropped |
		awk '$1 == "packets" { print $2 }'
}

cut() {
	in_box ip netns exec client nft -f - <<-END
		table ip cut {
			chain input {
				type filter hook input priority 0;
				ip saddr 10.8.0.0/24 drop
			}
			chain output {
				type filter hook output priority 0;
				ip daddr 10.8.0.0/24 drop
			}
		}
	END
}

heal() {
	in_box ip netns exec client nft delete table ip cut
}

# in_background NAME COMMAND...: its output goes to NAME, its exit status to NAME.status.
in_background() {
	local name=$BOX_TMP/$1
	shift
	(
		status=0
		"$@" >"$name" 2>"$name.err" || status=$?
		echo "$status" >"$name.status"
	) 3>&- &
}

# converse NAME SERVER'S-NAMESPACE CLIENT'S-NAMESPACE ADDRESS PAIR-ARGUMENT...: small talk
# until $BOX_TMP/until exists, then the scenario.  Nobody preempts them: a direction whose reader is
# stopped inside a call leaves the bypass.
converse() {
	local name=$1 server=$2 client=$3 address=$4
	shift 4
	set -- --timeout 8 --until "$BOX_TMP/until" "$@"
	in_background "$name.server" in_box ip netns exec "$server" chrt -f 1 "$PAIR" \
		--listen "$(behind "$address")" "$@" serve
	wait_until 5 "a server to listen" test -s "$BOX_TMP/$name.server"
	in_background "$name.client" in_box ip netns exec "$client" \
		chrt -f 1 "$PAIR" --connect "$address" --port "$(head -n 1 "$BOX_TMP/$name.server")" "$@" call
}

# behind ADDRESS: what NAT makes of it.
behind() {
	case $1 in
	10.9.0.1) echo 10.7.0.2 ;;
	fd09::1) echo fd07::2 ;;
	*) echo "$1" ;;
	esac
}

# all_talk CONNECTIONS: each is on the bypass, both its ends.
all_talk() {
	[[ $(in_map) -eq $((2 * $1)) && $(counter redirected_messages) -ge $((6 * $1)) ]]
}

# have_ended NAME...: both ends of each conversation, whatever their status.
have_ended() {
	local name
	for name; do
		[[ -s $BOX_TMP/$name.server.status && -s $BOX_TMP/$name.client.status ]] || return
	done
}

assert_ended_well() {
	local name end good=1
	wait_until 30 "the end of $*" have_ended "$@" || good=0
	for name; do
		for end in server client; do
			[[ $(cat "$BOX_TMP/$name.$end.status") == 0 ]] && continue
			echo "$name: the $end's exit status is '$(cat "$BOX_TMP/$name.$end.status")': $(cat "$BOX_TMP/$name.$end.err")" >&2
			good=0
		done
	done
	((good))
}

# assert_on_bypass CONNECTIONS: all of them, from their first byte on.
assert_on_bypass() {
	local messages
	assert_none_left
	have_want "sockets in the map" "$(in_map)" -ge $((2 * ($1 - HELD)))
	((HELD)) || have_want "messages over TCP" "$(counter passed_messages)" -eq 0
	messages=$(counter redirected_messages)
	sleep 2
	have_want "redirected messages, 2 s later" "$(counter redirected_messages)" \
		-gt $((messages + 4 * ($1 - HELD)))
}

# Keepalive probes that the sockets of a namespace have sent.
probes() {
	in_box ip netns exec "$1" nstat -asz TcpExtTCPKeepAlive | awk '/KeepAlive/ { print $2 }'
}

# The time that is left to a server's next probe, of a conversation.
keepalive_timer() {
	in_box ip netns exec server ss -tnoH state established \
		"sport = :$(head -n 1 "$BOX_TMP/$1.server")" |
		sed -n 's/.*timer:(keepalive,\([^,]*\),.*/\1/p'
}

# What TCP itself would do, and a pair that keeps no track.

# short_up SECONDS
short_up() {
	box_up
	spaces_up
	firewall_up server "$1"
}

# Busy for longer than 3 s.
busy() {
	sleep $((6 * SLOWNESS))
	touch "$BOX_TMP/until"
}

# bats test_tags=long
@test "firewall: on plain TCP what is busy is not forgotten" {
	short_up 3
	converse end server client 10.7.0.2 end-of-stream
	converse bulk server client fd07::2 bulk
	converse half server server 127.0.0.1 half-close-late
	busy
	assert_ended_well end bulk half
	have_want "packets dropped" "$(dropped server)" -eq 0
}

# bats test_tags=long
@test "firewall: the classic pair's connections are forgotten, and do not end" {
	short_up 3
	load_classic
	converse end server client 10.7.0.2 end-of-stream
	busy
	wait_until 15 "the end" have_ended end
	have_want "the server's status" "$(cat "$BOX_TMP/end.server.status")" -eq 3
	have_want "packets dropped" "$(dropped server)" -ge 1
}

# bats test_tags=long
@test "firewall: a program's own probes each second keep it, and end no blocking recv" {
	local i names=()
	short_up 5
	in_box ip netns exec server sysctl -qw net.ipv4.tcp_keepalive_intvl=1
	load_pair --quiet
	for i in {1..10}; do
		converse "bulk$i" server client 10.7.0.2 --keepalive --idle 1 --show --size 1000000 bulk
		names+=("bulk$i")
	done
	wait_until 5 "round trips" all_talk 10
	sleep $((8 * SLOWNESS))
	assert_on_bypass 10
	have_want "probes" "$(probes server)" -ge 40
	touch "$BOX_TMP/until"
	assert_ended_well "${names[@]}"
	have_want "packets dropped" "$(dropped server)" -eq 0
	have_want "servers whose options are their own" \
		"$(cat "$BOX_TMP"/bulk*.server | grep -cx 'keepalive on, idle time 1 s')" -eq 10
}

# What each server asks for, and what getsockopt must say after the connection has left.
OPTIONS="
none            |                       | off, idle time 7200 s
on              | --keepalive           | on, idle time 7200 s
on-longer       | --keepalive --idle 90 | on, idle time 90 s
on-shorter      | --keepalive --idle 20 | on, idle time 20 s
idle-alone      | --idle 90             | off, idle time 90 s
late-longer     | --keepalive --idle 90 --late | on, idle time 90 s
late-minute     | --keepalive --idle 60 --late | on, idle time 60 s
"

# each_option FUNCTION: called with the columns of OPTIONS.
each_option() {
	local name options want
	while IFS='|' read -r name options want; do
		[[ -z $name ]] || "$1" "${name// /}" "$options" "${want# }"
	done <<<"$OPTIONS"
}

start_with_option() {
	# shellcheck disable=SC2086 # words
	converse "$1" server client 10.7.0.2 $2 --show bulk
	NAMES+=("$1")
}

assert_options() {
	have_want "$1: options" "$(tail -n 1 "$BOX_TMP/$1.server")" == "keepalive $3"
}

@test "firewall: a server's keepalive is its own again when the connection has left" {
	local name
	NAMES=()
	short_up 70
	load_pair --quiet
	each_option start_with_option
	wait_until 5 "round trips" all_talk "${#NAMES[@]}"
	for name in none on on-longer on-shorter idle-alone; do
		[[ $(keepalive_timer "$name") =~ ^(1min|[0-9]+sec)$ ]] || {
			echo "$name: the next probe is in '$(keepalive_timer "$name")'" >&2
			return 1
		}
	done
	touch "$BOX_TMP/until"
	assert_ended_well "${NAMES[@]}"
	have_want "sockets that have left the map" "$(counter ejected)" -eq $((2 * ${#NAMES[@]}))
	each_option assert_options
}

# leaves_with NAME SECONDS: a connection of a server without options, whose sysctl is changed
# meanwhile.
leaves_with() {
	rm -f "$BOX_TMP/until"
	converse "$1" server client 10.7.0.2 --show bulk
	wait_until 5 "round trips" all_talk 1
	in_box ip netns exec server sysctl -qw net.ipv4.tcp_keepalive_time="$2"
	touch "$BOX_TMP/until"
	assert_ended_well "$1"
}

# An option takes neither 0, which would mean the sysctl, nor more than 32,767: a row of
# docs/limits.md.
# bats test_tags=long
@test "firewall: a server without options gets the sysctl of the moment when it leaves" {
	short_up 70
	load_pair --quiet
	leaves_with lower 600
	assert_options lower "" "off, idle time 600 s"
	leaves_with zero 0
	assert_options zero "" "off, idle time 1 s"
	leaves_with zero-still 0
	assert_options zero-still "" "off, idle time 1 s"
	leaves_with long 100000
	assert_options long "" "off, idle time 32767 s"
}

# Nothing tells that the program has switched on what was on, a row of docs/limits.md.
@test "firewall: a keepalive that a server switches on after accept is off afterwards" {
	short_up 70
	load_pair --quiet
	converse late server client 10.7.0.2 --keepalive --late --show bulk
	wait_until 5 "round trips" all_talk 1
	touch "$BOX_TMP/until"
	assert_ended_well late
	assert_options late "" "off, idle time 7200 s"
}

# The sockets that send probes, of the sandbox's own namespace and of the server's.
with_keepalive() {
	{
		in_box ss -tnoH state established
		in_box ip netns exec server ss -tnoH state established
	} | grep -c keepalive || true
}

# bats test_tags=long
@test "firewall: a server's keepalive is its own again after an unload, idle or busy" {
	box_up
	load_pair --quiet
	spaces_up
	hold_many 20 0
	have_want "sockets with keepalive" "$(with_keepalive)" -eq 40
	in_background busy in_box "$PAIR" --until "$BOX_TMP/until" --show --timeout 8 --size 1000000 bulk
	mkfifo "$BOX_TMP/idle-go"
	serve "$BOX_TMP/idle" in_box ip netns exec server -- --listen 10.7.0.2 --count 20 --show hold
	in_box ip netns exec client "$PAIR" --connect 10.7.0.2 --port "$(cat "$BOX_TMP/idle")" \
		--count 20 hold call <"$BOX_TMP/idle-go" >"$BOX_TMP/held" 3>&- 8>&- &
	exec 9>"$BOX_TMP/idle-go"
	wait_until 5 "the idle one's small talk" grep -q held "$BOX_TMP/held"
	wait_until 5 "sockets with keepalive" keepalive_on 43
	unload_pair
	wait_until 5 "their own keepalive" keepalive_on 0
	touch "$BOX_TMP/until"
	exec 9>&-
	wait_until 10 "the busy one's end" grep -qx 'keepalive off, idle time 7200 s' "$BOX_TMP/busy"
	wait_until 10 "the idle one's end" grep -qx 'keepalive off, idle time 7200 s' "$BOX_TMP/idle"
	exec 8>&-
	wait "$MANY"
}

keepalive_on() {
	[[ $(with_keepalive) -eq $1 ]]
}

# An idle TCP connection ends so; one on the bypass does, whatever goes over the bypass.
# bats test_tags=long
@test "firewall: a path that is cut ends a connection whose server wants so" {
	short_up 70
	in_box ip netns exec far sysctl -qw net.ipv4.tcp_keepalive_intvl=1 net.ipv4.tcp_keepalive_probes=2
	load_pair --quiet
	converse far far client 10.8.0.2 --keepalive --idle 1 end-of-stream
	wait_until 5 "round trips" all_talk 1
	cut
	wait_until 15 "the server's end" test -s "$BOX_TMP/far.server.status"
	have_want "the server's status" "$(cat "$BOX_TMP/far.server.status")" -ne 0
}

# The probes of a socket that waits for its reader go on until the bytes are under way.
# bats test_tags=long
@test "firewall: TCP_USER_TIMEOUT ends what a path that is cut holds back, the reader behind" {
	box_up
	local how end
	for how in plain loaded; do
		[[ $how == plain ]] || load_pair --quiet
		for end in "server 127.0.0.1" "client 127.0.0.1" "server ::1"; do
			# shellcheck disable=SC2086 # words
			have_want "$end, $how" "$(in_box python3 "$ROOT/tests/programs/user_timeout.py" $end)" = \
				"ended: ETIMEDOUT"
		done
	done
	have_want "left for want of room" "$(counter left_room)" -eq 3
}

# The memory controller of cgroup v1 can take TCP's memory away from one connection alone.
# bats test_tags=long
@test "firewall: probes tell who only waits, and end no connection that its program keeps" {
	local memory=/sys/fs/cgroup/memory/tcpip-bypass-test.$$ end
	box_up
	load_pair --quiet
	mkdir "$memory" || memory=
	run -0 in_box python3 "$ROOT/tests/programs/quiet.py" $memory
	[[ -z $memory ]] || wait_until 5 "that cgroup to go" rmdir "$memory"
	for end in client server; do
		output_has "lost reset, $end: Connection reset by peer"
		[[ -z $memory ]] || output_has "no memory, $end: 1 event"
		output_has "cut path, $end: 1000 bytes"
	done
}

@test "firewall: where the kernel ends what one probe finds without an answer there is none" {
	box_up
	load_pair --quiet
	in_box sysctl -qw net.ipv4.tcp_keepalive_probes=0
	hold_many 2 0
	have_want "sockets in the map" "$(in_map)" -eq 4
	have_want "sockets with keepalive" "$(in_box ss -tnoH state established | grep -c keepalive)" -eq 0
	exec 8>&-
	wait "$MANY"
}

@test "firewall: no probe is sent to an end that has closed, which answers by a reset in the end" {
	box_up
	load_pair --quiet
	in_box sysctl -qw net.ipv4.tcp_fin_timeout=2
	run -0 in_box python3 -c '
import select, socket, time
listener = socket.create_server(("127.0.0.1", 0))
kept = []
for messages in 5, 60:
    for which in 0, 1:
        pair = socket.create_connection(listener.getsockname()), listener.accept()[0]
        for _ in range(10):
            for sender, reader in pair, pair[::-1]:
                sender.send(b"x"), reader.recv(1)
        kept.append((pair[which], messages * 10))
        for _ in range(messages):
            pair[1 - which].send(b"x" * 10)
        pair[1 - which].close()
        del pair, sender, reader
time.sleep(5)
for reader, size in kept:
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    assert poll.poll(0)[0][1] == select.POLLIN, poll.poll(0)
    assert reader.makefile("rb").read() == b"x" * size
    assert reader.send(b"x") == 1'
	have_want "redirected messages" "$(counter redirected_messages)" -ge 100
}

# ---- how the long conversations have ended ------------------------------------

long_enough() {
	[[ $(date +%s) -ge $(($(cat "$BOX_TMP/begin") + LONG_SECONDS)) ]]
}

# Only the first of the tests that are run ends them.
end_long() {
	wait_until "$LONG_SECONDS" "longer conversations" long_enough
	[[ -e $BOX_TMP/until ]] && return
	heal
	touch "$BOX_TMP/until"
}

# bats test_tags=long
@test "long: all are on the bypass until the end, also where the path is cut" {
	wait_until "$LONG_SECONDS" "longer conversations" long_enough
	assert_on_bypass 21
	have_want "probes over the path that is cut" "$(probes far)" -ge 4
	end_long
}

@test "long: busy behind a firewall, then the end of stream comes" {
	end_long
	assert_ended_well ipv4-end ipv6-end lo-end nat-end own-end own-idle user-timeout
}

@test "long: busy behind a firewall, then 8 MB arrive each way" {
	end_long
	assert_ended_well ipv4-bulk ipv6-bulk lo-bulk nat-bulk nat6-bulk own-bulk
}

@test "long: busy behind a firewall, then a half-close gets its answer" {
	end_long
	assert_ended_well ipv4-half ipv6-half lo-half nat-half
}

@test "long: the firewall has dropped nothing" {
	end_long
	assert_ended_well {ipv4,ipv6,lo,nat}-{end,bulk,half} nat6-bulk own-{end,bulk,idle} user-timeout
	have_want "packets dropped" "$(dropped server)" -eq 0
}

@test "long: a path that was cut has ended none, and carries 8 MB each way again" {
	end_long
	assert_ended_well far far-own far-user-timeout far-both
}
