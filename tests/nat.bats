#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# Connections through NAT.  The two ends see other addresses and ports, and meet all the same.
# tests/pods.bash has the pods.

bats_require_minimum_version 1.5.0
load sandbox.bash
load pods.bash

# NAME | client's end | server's end | it listens on | the client connects to
KINDS='
DNAT, prerouting          | pod1 | pod2 | 10.244.2.2 | 10.96.0.1
DNAT, output              | node | pod2 | 10.244.2.2 | 10.96.0.1
DNAT and masquerade       | pod1 | pod2 | 10.244.2.2 | 10.244.1.1
hairpin                   | pod2 | pod2 | 10.244.2.2 | 10.96.0.1
REDIRECT, prerouting      | pod1 | node | 0.0.0.0    | 10.96.0.2
REDIRECT, output          | pod1 | pod1 | 127.0.0.1  | 10.96.0.3
IPv6 DNAT, prerouting     | pod1 | pod2 | fd44:2::2  | fd96::1
IPv6 DNAT, output         | node | pod2 | fd44:2::2  | fd96::1
IPv6 hairpin              | pod2 | pod2 | fd44:2::2  | fd96::1
IPv6 REDIRECT, prerouting | pod1 | node | ::         | fd96::2
IPv6 REDIRECT, output     | pod1 | pod1 | ::1        | fd96::3
'

setup() {
	box_up
	pods_up
}

teardown() {
	box_down
}

@test "nat: with TPROXY both the port of the connection and that of the listener must be in the scope" {
	local option
	in_box ip addr add 192.0.2.1/32 dev lo
	in_box ip route replace default dev lo
	in_box ip rule add fwmark 1 lookup 100
	in_box ip route add local 0.0.0.0/0 dev lo table 100
	in_box nft 'table ip divert {
		chain pre { type filter hook prerouting priority mangle
			ip daddr 10.9.9.9 tcp dport 80 tproxy to 127.0.0.1:8443 meta mark set 1 accept; }
		chain out { type route hook output priority mangle; ip daddr 10.9.9.9 meta mark set 1; }
	}'
	for option in "--exclude-port 8443" "--exclude-port 80" "--port 80" "--exclude-port 81"; do
		# shellcheck disable=SC2086 # words
		load_pair --quiet --all-connections $option
		in_box python3 -c '
import socket
listener = socket.socket()
listener.setsockopt(socket.SOL_IP, 19, 1)  # IP_TRANSPARENT
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", 8443))
listener.listen()
client = socket.create_connection(("10.9.9.9", 80), timeout=5)
server = listener.accept()[0]
for _ in range(10):
    client.sendall(b"x")
    assert server.recv(1) == b"x"'
		have_want "admitted with $option" "$(counter admitted_passive)" -eq \
			$(($([[ $option == *81 ]] && echo 1 || echo 0)))
		unload_pair --timeout 1
	done
}

# each_kind FUNCTION: called with the columns of KINDS.
each_kind() {
	local name client server listen connect
	while IFS='|' read -r name client server listen connect; do
		[[ -z $name ]] || "$1" "$(xargs <<<"$name")" "${client// /}" "${server// /}" "${listen// /}" \
			"${connect// /}"
	done <<<"$KINDS"
}

# count_on: into COUNTED, how far each counter has come since the last time.
count_on() {
	local name value
	while read -r name value; do
		COUNTED[$name]=$((value - ${BEFORE[$name]:-0}))
		BEFORE[$name]=$value
	done < <(counters)
}

# assert_counted WHAT WANT COUNTER...: the sum of these.
assert_counted() {
	local name sum=0
	for name in "${@:3}"; do
		((sum += COUNTED[$name])) || true
	done
	have_want "$1" "$sum" -eq "$2"
}

assert_kind() {
	local name=$1
	shift
	through "$@" 7000 7000 talk
	count_on
	assert_counted "$name: admitted" 2 admitted_active admitted_passive
	assert_counted "$name: redirected messages" 200 redirected_messages
	assert_counted "$name: messages over TCP" 0 passed_messages
	through "$@" 7000 7000 half-close-late
	count_on
	assert_counted "$name: admitted, half-close" 2 admitted_active admitted_passive
	through "$@" 7000 7000 --size 2000000 bulk
	count_on
	assert_counted "$name: admitted, bulk" 2 admitted_active admitted_passive
	assert_counted "$name: sockets that have left the map, bulk" 2 ejected
}

# bats test_tags=long
@test "nat: each kind is on the bypass, with all its bytes" {
	declare -A BEFORE=() COUNTED=()
	load_pair --quiet
	nat_up
	each_kind assert_kind
	assert_kind "another port" pod1 pod2 10.244.2.2 10.96.0.1
	have_want "sockets in the map" "$(in_map)" -eq 0
}

hold_kind() {
	local port=$((7100 + ${#HELD[@]}))
	HELD+=("$1")
	shift
	serve "$BOX_TMP/port$port" at "$2" -- --listen "$3" --port "$port" --count 20 hold
	SERVERS+=("$SERVER")
	mkfifo "$BOX_TMP/go$port"
	at "$1" "$PAIR" --connect "$4" --port "$port" --count 20 hold call <"$BOX_TMP/go$port" \
		>"$BOX_TMP/out$port" 3>&- &
	SERVERS+=("$!")
	exec {FD}>"$BOX_TMP/go$port"
	FDS+=("$FD")
	wait_until 5 "${HELD[-1]}: the connection" grep -q held "$BOX_TMP/out$port"
}

talk_on_all() {
	local i
	for ((i = 0; i < ${#HELD[@]}; i++)); do
		echo >&"${FDS[i]}"
		wait_until 5 "${HELD[i]}: round trip $1" said_again "$BOX_TMP/out$((7100 + i))" "$1"
	done
}

said_again() {
	[[ $(grep -c again "$1") -eq $2 ]]
}

# bats test_tags=long
@test "nat: after an unload each kind goes on over TCP" {
	local HELD=() SERVERS=() FDS=() fd pid
	load_pair --quiet
	nat_up
	each_kind hold_kind
	have_want "sockets in the map" "$(in_map)" -eq $((2 * ${#HELD[@]}))
	talk_on_all 1
	run -0 unload_pair
	output_has "connections taken off the bypass: ${#HELD[@]}"
	talk_on_all 2
	for fd in "${FDS[@]}"; do
		exec {fd}>&-
	done
	for pid in "${SERVERS[@]}"; do
		wait "$pid"
	done
}

# assert_over_tcp WHAT THROUGH-ARGUMENT...
assert_over_tcp() {
	local what=$1
	shift
	through "$@" talk
	count_on
	assert_counted "$what: servers admitted" 0 admitted_passive
	assert_counted "$what: redirected messages" 0 redirected_messages
	have_want "$what: sockets in the map" "$(in_map)" -eq 0
}

@test "nat: what cannot be told apart, or does not keep the numbers, stays on TCP" {
	declare -A BEFORE=() COUNTED=()
	load_pair --quiet
	nat_up
	# A loopback address may be that of any namespace.
	in_box sysctl -qw net.ipv4.conf.all.route_localnet=1
	at node nft add rule inet nat output ip daddr 127.0.0.1 tcp dport 81 dnat ip to 10.244.2.2:7000
	at node nft add rule inet nat postrouting ct original ip daddr 127.0.0.1 masquerade
	assert_over_tcp "127.0.0.1 into another namespace" node pod2 10.244.2.2 127.0.0.1 81 7000

	at pod2 sysctl -qw net.ipv4.tcp_syncookies=2
	assert_over_tcp "SYN cookies" pod1 pod2 10.244.2.2 10.96.0.1 80 7000
	at pod2 sysctl -qw net.ipv4.tcp_syncookies=1

	in_box sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0
	at node nft -f - <<-END
		table ip proxied {
			chain prerouting {
				type filter hook prerouting priority -300;
				tcp dport 7001 tcp flags syn notrack
			}
			chain forward {
				type filter hook forward priority 0;
				tcp dport 7001 ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm
				ct state invalid drop
			}
		}
	END
	assert_over_tcp "SYNPROXY" pod1 pod2 10.244.2.2 10.244.2.2 7001 7001
}

# bats test_tags=long
@test "nat: the filter goes by the port on which the server listens" {
	declare -A BEFORE=() COUNTED=()
	load_pair --quiet --port 7000
	nat_up
	through pod1 pod2 10.244.2.2 10.96.0.1 80 7000 talk
	count_on
	assert_counted "admitted" 2 admitted_active admitted_passive
	unload_pair
	BEFORE=()
	load_pair --quiet --port 80
	through pod1 pod2 10.244.2.2 10.96.0.1 80 7000 talk
	count_on
	assert_counted "admitted" 0 admitted_active admitted_passive
}

json() {
	in_box "$ROOT/status.sh" --json | jq -r "$1"
}

# bats test_tags=long
@test "nat: status.sh shows a connection once, with the addresses that either end sees" {
	local HELD=() SERVERS=() FDS=() fd line
	load_pair --quiet
	nat_up
	hold_kind "DNAT and masquerade" pod1 pod2 10.244.2.2 10.244.1.1
	have_want "connections" "$(json '.connections | length')" -eq 1
	have_want "the server" "$(json '.connections[0].server | [.address, .seen_as] | join(" ")')" = \
		"10.244.2.2:7100 10.244.1.1:7100"
	have_want "the client" \
		"$(json '.connections[0].client | [.address, .seen_as] | join(" ") | gsub(":[0-9]+"; "")')" = "10.244.1.2 10.244.2.1"
	run -0 in_box "$ROOT/status.sh"
	line='^10\.244\.1\.2:[0-9]+ \(10\.244\.2\.1:[0-9]+\) +10\.244\.2\.2:7100 \(10\.244\.1\.1:7100\) '
	grep -E "$line" <<<"$output"
	output_has "In brackets: the address that the other end sees, through NAT."
	fd=${FDS[0]}
	exec {fd}>&-
}

# Each connection is told by whom it was answered.
name_server() {
	at "$1" socat "TCP4-LISTEN:$2,reuseaddr,fork" "SYSTEM:echo $1; cat" 3>&- &
	wait_until 5 "$1 to listen" at "$1" bash -c "ss -ltn | grep -q :$2"
}

# ask CLIENT ADDRESS PORT: who answers; fails if a line does not come back.
ask() {
	local answer
	answer=$(echo "hello from $1" | at "$1" timeout 20 socat -t 20 - "TCP4:$2:$3")
	[[ $answer == *$'\n'"hello from $1" ]] && echo "${answer%%$'\n'*}"
}

# In the words of kube-proxy's iptables mode: a service with three endpoints, of which the
# client's own pod is one, and a node port.
kube_proxy_up() {
	local pod
	at node iptables-restore <<-END
		*nat
		:KUBE-SERVICES - [0:0]
		:KUBE-NODEPORTS - [0:0]
		:KUBE-MARK-MASQ - [0:0]
		:KUBE-POSTROUTING - [0:0]
		:KUBE-EXT-WEB - [0:0]
		:KUBE-SVC-WEB - [0:0]
		$(for pod in 1 2 3; do echo ":KUBE-SEP-$pod - [0:0]"; done)
		-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
		-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
		-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
		-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
		-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
		-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
		-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
		-A KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m comment --comment "default/web cluster IP" -m tcp --dport 80 -j KUBE-SVC-WEB
		-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
		-A KUBE-NODEPORTS -p tcp -m comment --comment "default/web" -m tcp --dport 30080 -j KUBE-EXT-WEB
		-A KUBE-EXT-WEB -m comment --comment "masquerade traffic for default/web external destinations" -j KUBE-MARK-MASQ
		-A KUBE-EXT-WEB -j KUBE-SVC-WEB
		-A KUBE-SVC-WEB ! -s 10.244.0.0/16 -d 10.96.0.10/32 -p tcp -m comment --comment "default/web cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
		-A KUBE-SVC-WEB -m comment --comment "default/web -> 10.244.1.2:8080" -m statistic --mode random --probability 0.33333333349 -j KUBE-SEP-1
		-A KUBE-SVC-WEB -m comment --comment "default/web -> 10.244.2.2:8080" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-2
		-A KUBE-SVC-WEB -m comment --comment "default/web -> 10.244.3.2:8080" -j KUBE-SEP-3
		$(for pod in 1 2 3; do
			echo "-A KUBE-SEP-$pod -s 10.244.$pod.2/32 -m comment --comment default/web -j KUBE-MARK-MASQ"
			echo "-A KUBE-SEP-$pod -p tcp -m comment --comment default/web -m tcp -j DNAT --to-destination 10.244.$pod.2:8080"
		done)
		COMMIT
	END
}

# bats test_tags=long
@test "nat: Kubernetes services and node ports are on the bypass, whichever pod answers" {
	local i pod
	declare -A BEFORE=() COUNTED=()
	load_pair --quiet
	pod_up pod3 3
	kube_proxy_up
	for pod in pod1 pod2 pod3; do
		name_server "$pod" 8080
	done
	for i in {1..30}; do
		ask pod1 10.96.0.10 80
		ask node 10.96.0.10 80
		ask pod2 10.244.2.1 30080
	done >"$BOX_TMP/answers"
	for pod in pod1 pod2 pod3; do
		have_want "answers by $pod" "$(grep -c "^$pod$" "$BOX_TMP/answers")" -ge 1
	done
	have_want "answers" "$(wc -l <"$BOX_TMP/answers")" -eq 90
	count_on
	assert_counted "admitted" 180 admitted_active admitted_passive
	have_want "redirected messages" "$(counter redirected_messages)" -ge 90
}

# In the words of Docker: a bridge, published ports, and without its userland proxy hairpins.
docker_up() {
	at node ip link add docker0 type bridge
	at node ip addr add 172.17.0.1/16 dev docker0
	at node ip link set docker0 up
	container_up web 2
	container_up app 3
	at node iptables-restore <<-END
		*nat
		:DOCKER - [0:0]
		-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
		-A OUTPUT -m addrtype --dst-type LOCAL -j DOCKER
		-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
		-A POSTROUTING -o docker0 -m addrtype --src-type LOCAL -j MASQUERADE
		-A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE
		-A DOCKER -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
		COMMIT
		*filter
		:FORWARD DROP [0:0]
		:DOCKER - [0:0]
		-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
		-A FORWARD -o docker0 -j DOCKER
		-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
		-A FORWARD -i docker0 -o docker0 -j ACCEPT
		-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
		COMMIT
	END
	at node ip link set to-web type bridge_slave hairpin on
}

# container_up NAME NUMBER: on the bridge.
container_up() {
	space_up "$1"
	in_box ip -n "$1" addr add "172.17.0.$2/16" dev eth0
	in_box ip -n "$1" link set eth0 up
	in_box ip link set "to-$1" master docker0 up
	in_box ip -n "$1" route add default via 172.17.0.1
}

@test "nat: Docker's published ports are on the bypass, from everywhere but 127.0.0.1" {
	local client
	declare -A BEFORE=() COUNTED=()
	load_pair --quiet
	docker_up
	name_server web 80
	# The host by its own address, a neighbour, another network, the container itself.
	for client in node app pod1 web; do
		have_want "the answer to $client" "$(ask "$client" 172.17.0.1 8080)" = web
		count_on
		assert_counted "$client: admitted" 2 admitted_active admitted_passive
		have_want "$client: redirected messages" "${COUNTED[redirected_messages]}" -ge 1
	done
	in_box sysctl -qw net.ipv4.conf.all.route_localnet=1
	have_want "the answer to 127.0.0.1" "$(ask node 127.0.0.1 8080)" = web
	have_want "servers admitted" "$(counter admitted_passive)" -eq 4
}
