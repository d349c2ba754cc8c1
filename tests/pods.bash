# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Two pods of a node.  Loaded after sandbox.bash.
#
#   pod1                            node: the sandbox itself          pod2
#   10.244.1.2, fd44:1::2 -- veth -- 10.244.x.1, fd44:x::1 -- veth -- 10.244.2.2, fd44:2::2
#
# Addresses of 10.96.0.0/16 and fd96::/64 are nobody's: services, which NAT makes one of these.

pods_up() {
	in_box sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	pod_up pod1 1
	pod_up pod2 2
	# Where a service would be looked for, were it not for NAT.
	in_box ip route add 10.96.0.0/16 via 10.244.1.2
	in_box ip route add fd96::/64 via fd44:1::2
}

# space_up NAME: a cgroup and a network namespace, with one end of a veth.
space_up() {
	mkdir -p "$BOX_CGROUP/kubepods/$1"
	in_box ip netns add "$1"
	in_box ip -n "$1" link set lo up
	in_box ip -n "$1" link add eth0 type veth peer name "to-$1" netns "$BOX_PID"
}

# pod_up NAME NUMBER
pod_up() {
	space_up "$1"
	in_box ip -n "$1" addr add "10.244.$2.2/24" dev eth0
	in_box ip -n "$1" addr add "fd44:$2::2/64" dev eth0 nodad
	in_box ip -n "$1" link set eth0 up
	in_box ip addr add "10.244.$2.1/24" dev "to-$1"
	in_box ip addr add "fd44:$2::1/64" dev "to-$1" nodad
	in_box ip link set "to-$1" up
	in_box ip -n "$1" route add default via "10.244.$2.1"
	in_box ip -n "$1" route add default via "fd44:$2::1"
}

# at PLACE COMMAND...: in a pod or a container, or on the node.
at() {
	if [[ $1 == node ]]; then
		in_box "${@:2}"
	else
		in_cgroup "kubepods/$1" nsenter --net="/run/netns/$1" "${@:2}"
	fi
}

# Each kind keeps the port, and 80 becomes 7000.
nat_up() {
	at node nft -f - <<-END
		table inet nat {
			chain prerouting {
				type nat hook prerouting priority -100;
				jump services
			}
			chain output {
				type nat hook output priority -100;
				jump services
			}
			chain services {
				ip daddr 10.96.0.1 tcp dport 80 dnat ip to 10.244.2.2:7000
				ip daddr { 10.96.0.1, 10.244.1.1 } dnat ip to 10.244.2.2
				ip6 daddr fd96::1 dnat ip6 to fd44:2::2
				ip daddr 10.96.0.2 tcp dport 1-65535 redirect
				ip6 daddr fd96::2 tcp dport 1-65535 redirect
			}
			chain postrouting {
				type nat hook postrouting priority 100;
				ct original ip daddr 10.244.1.1 masquerade
				ip saddr 10.244.2.2 ip daddr 10.244.2.2 masquerade
				ip6 saddr fd44:2::2 ip6 daddr fd44:2::2 masquerade
			}
		}
	END
	# As a sidecar has it.
	at pod1 nft -f - <<-END
		table inet nat {
			chain output {
				type nat hook output priority -100;
				ip daddr 10.96.0.3 tcp dport 1-65535 redirect
				ip6 daddr fd96::3 tcp dport 1-65535 redirect
			}
		}
	END
}

# shellcheck disable=SC2153 # SERVER is what serve() has started
# through CLIENT SERVER LISTEN CONNECT PORT TO-PORT PAIR-ARGUMENT...
through() {
	local client=$1 server=$2 listen=$3 connect=$4 port=$5 to=$6
	shift 6
	serve "$BOX_TMP/port" at "$server" -- --listen "$listen" --port "$to" "$@"
	at "$client" "$PAIR" --connect "$connect" --port "$port" "$@" call
	wait "$SERVER"
}
