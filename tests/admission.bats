#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# Which connections are on the bypass: for each kind that is, a twin that is not.
#
#   bypassed                                not bypassed
#   127.0.0.1, ::1, v4-mapped both ways,    either end outside the cgroup, over
#   127.0.0.2, the host's own address       lo and over veth
#   two namespaces over veth                deferred accept, Fast Open, MPTCP
#   TCP to a listener of MPTCP
#
# Bypassed: every payload byte is counted as redirected, none goes over the
# device.  Not bypassed: both ends are out of the map, all bytes go over TCP.

bats_require_minimum_version 1.5.0
load sandbox.bash
box_loaded

# assert_bypassed DEVICE COMMAND...: where a CPU stops amid a message, the direction leaves
# (docs/limits.md); it does not in each of three conversations.
assert_bypassed() {
	local try
	for try in 1 2; do
		! all_bypassed "$@" || return 0
		have_want "messages over TCP" "$(counter passed_messages)" -gt 0
		wait_until 5 "the map to be empty" map_is_empty
		zero_counters
	done
	all_bypassed "$@"
}

# all_bypassed DEVICE COMMAND...: one conversation, from counters at 0.
all_bypassed() {
	local device=$1 before bytes
	shift
	before=$(device_bytes "$device")
	"$@" || return
	bytes=$(($(device_bytes "$device") - before))
	have_want "admitted clients" "$(counter admitted_active)" -eq 1 &&
		have_want "admitted servers" "$(counter admitted_passive)" -eq 1 &&
		have_want "redirected messages" "$(counter redirected_messages)" -eq 200 &&
		have_want "redirected bytes" "$(counter redirected_bytes)" -gt 100000 &&
		have_want "messages over TCP" "$(counter passed_messages)" -eq 0 &&
		# Handshake and FINs: at most 10 packets of headers.
		have_want "bytes over $device" "$bytes" -lt 1000 &&
		have_want "sockets in the map" "$(in_map)" -eq 0
}

# assert_not_bypassed REASON COMMAND...: refused, counted under that reason.
assert_not_bypassed() {
	local reason=$1
	shift
	"$@"
	have_want "admitted servers" "$(counter admitted_passive)" -eq 0
	have_want "redirected messages" "$(counter redirected_messages)" -eq 0
	have_want "$reason" "$(counter "$reason")" -ge 1
	have_want "sockets in the map" "$(in_map)" -eq 0
}

# Two namespaces of the sandbox, joined by veth: box <-> peer.  They stay.
veth_up() {
	! in_box test -e /run/netns/peer || return 0
	in_box ip netns add peer
	in_box ip link add veth0 type veth peer name veth1 netns peer
	in_box ip addr add 10.7.0.1/24 dev veth0
	in_box ip addr add fd07::1/64 dev veth0 nodad
	in_box ip link set veth0 up
	in_box ip -n peer addr add 10.7.0.2/24 dev veth1
	in_box ip -n peer addr add fd07::2/64 dev veth1 nodad
	in_box ip -n peer link set veth1 up
	in_box ip -n peer link set lo up
}

# The server in namespace `peer`, the client in the sandbox's own.
over_veth() {
	local address=$1
	serve "$BOX_TMP/port" in_box ip netns exec peer -- --listen "$address" talk
	in_box "$PAIR" --connect "$address" --port "$(cat "$BOX_TMP/port")" talk call
	wait "$SERVER"
}

@test "admission: IPv4 is bypassed" {
	assert_bypassed lo in_box "$PAIR" talk
}

@test "admission: IPv6 is bypassed" {
	assert_bypassed lo in_box "$PAIR" --listen ::1 talk
}

@test "admission: an IPv4 client of a dual-stack server is bypassed" {
	assert_bypassed lo in_box "$PAIR" --listen :: --connect 127.0.0.1 talk
}

@test "admission: a v4-mapped client of an IPv4 server is bypassed" {
	assert_bypassed lo in_box "$PAIR" --listen 127.0.0.1 --connect ::ffff:127.0.0.1 talk
}

@test "admission: 127.0.0.2 is bypassed, from 127.0.0.1 and from itself" {
	assert_bypassed lo in_box "$PAIR" --listen 127.0.0.2 --connect 127.0.0.2 talk
	in_box "$PAIR" --listen 127.0.0.2 --connect 127.0.0.2 --client 127.0.0.1 talk
	have_want "redirected messages" "$(counter redirected_messages)" -eq 400
}

@test "admission: the host's own address is bypassed" {
	veth_up
	assert_bypassed lo in_box "$PAIR" --listen 10.7.0.1 --connect 10.7.0.1 talk
}

@test "admission: two namespaces over veth are bypassed, IPv4" {
	veth_up
	in_box ping -q -c 1 10.7.0.2 || true # neighbours, and IPv6 chatter, first
	assert_bypassed veth0 over_veth 10.7.0.2
}

@test "admission: two namespaces over veth are bypassed, IPv6" {
	veth_up
	over_veth fd07::2
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
	have_want "messages over TCP" "$(counter passed_messages)" -eq 0
}

@test "admission: a server outside the cgroup is not bypassed" {
	serve "$BOX_TMP/port" out_of_box -- talk
	assert_not_bypassed refused_remote in_box "$PAIR" --port "$(cat "$BOX_TMP/port")" talk call
}

@test "admission: a client outside the cgroup is not bypassed" {
	serve "$BOX_TMP/port" in_box -- talk
	assert_not_bypassed refused_no_client \
		out_of_box "$PAIR" --port "$(cat "$BOX_TMP/port")" talk call
}

@test "admission: a peer over veth outside the cgroup is not bypassed, both ways" {
	veth_up
	serve "$BOX_TMP/port" out_of_box ip netns exec peer -- --listen 10.7.0.2 talk
	assert_not_bypassed refused_remote \
		in_box "$PAIR" --connect 10.7.0.2 --port "$(cat "$BOX_TMP/port")" talk call
	serve "$BOX_TMP/port2" in_box -- --listen 10.7.0.1 talk
	assert_not_bypassed refused_no_client out_of_box ip netns exec peer \
		"$PAIR" --connect 10.7.0.1 --port "$(cat "$BOX_TMP/port2")" talk call
}

@test "admission: a deferred accept is not bypassed, and its client goes back to TCP" {
	in_box "$PAIR" --defer three
	have_want "admitted clients" "$(counter admitted_active)" -eq 1
	have_want "admitted servers" "$(counter admitted_passive)" -eq 0
	have_want "redirected messages" "$(counter redirected_messages)" -eq 0
	have_want "left for want of a peer" "$(counter left_no_peer)" -eq 1
	have_want "ejected" "$(counter ejected)" -eq 1
}

@test "admission: Fast Open with data in the SYN is not bypassed" {
	in_box sysctl -qw net.ipv4.tcp_fastopen=3
	in_box "$PAIR" --fastopen talk # fetches the cookie
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
	in_box "$PAIR" --fastopen talk
	have_want "SYNs with data" \
		"$(in_box nstat -asz TcpExtTCPFastOpenPassive | awk '/FastOpen/ { print $2 }')" -eq 1
	have_want "redirected messages" "$(counter redirected_messages)" -eq 200
	have_want "admitted servers" "$(counter admitted_passive)" -eq 1
}

@test "admission: Multipath TCP is not bypassed" {
	assert_not_bypassed refused_mptcp in_box "$PAIR" --mptcp talk
}

# As every server is that is written in Go.
@test "admission: IPv4 to a listener of Multipath TCP is bypassed" {
	assert_bypassed lo in_box "$PAIR" --mptcp-server talk
}

@test "admission: IPv6 to a listener of Multipath TCP is bypassed" {
	assert_bypassed lo in_box "$PAIR" --mptcp-server --listen ::1 talk
}

@test "admission: IPv4 to a dual-stack listener of Multipath TCP is bypassed" {
	assert_bypassed lo in_box "$PAIR" --mptcp-server --listen :: --connect 127.0.0.1 talk
}

# late_accept OPTION... SCENARIO: to a listener of Multipath TCP that accepts once the client has
# sent.
late_accept() {
	local pid server port=$BOX_TMP/port.${*: -1}
	serve "$port" in_box -- --mptcp-server "$@"
	server=$(pid_of pair)
	kill -STOP "$server"
	in_box "$PAIR" --port "$(cat "$port")" "$@" call 3>&- &
	pid=$!
	wait_until 5 "the client to send" have_sent
	kill -CONT "$server"
	wait "$pid"
	wait "$SERVER"
}

have_sent() {
	[[ $(counter redirected_messages left_bulk left_room left_held) -ge 3 ]]
}

@test "admission: what comes before a listener of Multipath TCP accepts is bypassed, but for bulk" {
	late_accept three
	have_want "redirected messages" "$(counter redirected_messages)" -ge 3
	late_accept --size 20000000 bulk
	have_want "admitted servers" "$(counter admitted_passive)" -eq 2
	have_want "left as bulk" "$(counter left_bulk left_room left_held)" -ge 1
	have_want "sockets in the map" "$(in_map)" -eq 0
}

@test "admission: Multipath TCP's client of a plain listener is not bypassed" {
	assert_not_bypassed refused_mptcp in_box "$PAIR" --mptcp-client talk
}

# The last one, since that lasts.  As on kernels that it could crash; such a socket then looks
# like any of the kernel's own.
@test "admission: to a listener of Multipath TCP is not bypassed where load.sh says so" {
	in_box bash -euc '
		HERE=$1
		. "$HERE/lib/common.sh"
		. "$HERE/lib/maps.sh"
		. "$HERE/lib/config.sh"
		read -r cgroup state quiet program _ < <(config_of pinned "$CONFIG_PIN")
		set_config "$cgroup" "$state" "$quiet" "$program" 0 pinned "$CONFIG_PIN"' box "$ROOT"
	assert_not_bypassed refused_special in_box "$PAIR" --mptcp-server talk
}
