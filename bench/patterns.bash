# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# The groups of bench.sh that bench.c plays, and what the pair itself takes.  Sourced by bench.sh,
# whose comment on groups says what figures_*, before_* and after_* are.
#
# shellcheck disable=SC2034,SC2153 # names of bench.sh

# Round trips of 1 B to 1 MiB.
figures_rr() {
	local size cores
	for cores in "${CORES[@]}"; do
		for size in "${SIZES[@]}"; do
			measure rr "$size" 1 "$cores" 1/s both_ends rr "$size" "$cores"
		done
	done
}

# Round trips of 64 B, and a large answer after each 20 ms: one in 1,500 or so.
figures_mixed() {
	local size cores
	for cores in "${CORES[@]}"; do
		for size in "${ANSWERS[@]}"; do
			measure mixed "$size" 1 "$cores" 1/s both_ends mixed "$size" "$cores" --every 20
		done
	done
}

# Streams, on a new connection and after small talk.
figures_stream() {
	streams stream "${WRITES[@]}"
}

figures_warm() {
	streams warm "${WARM_WRITES[@]}"
}

streams() {
	local size cores pattern=$1
	shift
	for cores in "${CORES[@]}"; do
		for size; do
			measure "$pattern" "$size" 1 "$cores" MB/s both_ends "$pattern" "$size" "$cores"
		done
	done
}

# in_storm PATTERN SIZE CORES: both_ends, while another program connects, asks once and closes
# as fast as it can.
in_storm() {
	local status=0
	RUN=0.5 both_ends crr 64 "$3" >/dev/null &
	both_ends "$@" || status=$?
	wait $! || status=$?
	return "$status"
}

# Connect, one request or more, close; and round trips on a connection beside that.
figures_crr() {
	local size cores requests
	for cores in "${CORES[@]}"; do
		for size in 64 16384; do
			measure crr "$size" 1 "$cores" 1/s both_ends crr "$size" "$cores"
		done
		for requests in 2 5 20; do
			measure "crr of $requests" 64 1 "$cores" 1/s both_ends crr 64 "$cores" --requests "$requests"
		done
		measure "rr in a storm" 64 1 "$cores" 1/s in_storm rr 64 "$cores"
	done
}

# New connections that are all admitted.
before_admitted() {
	OPTIONS=(--all-connections)
}

figures_admitted() {
	local cores
	for cores in "${CORES[@]}"; do
		measure crr 64 1 "$cores" 1/s both_ends crr 64 "$cores"
	done
}

# Requests of 64 B, one outstanding on each connection.
figures_connections() {
	local n
	for n in "${CONNECTIONS[@]}"; do
		measure many 64 "$n" "${CORES[-1]}" 1/s both_ends many 64 "${CORES[-1]}" --connections "$n"
	done
}

# Between two namespaces: box <-> peer.
PEER=10.7.0.2
SERVICE=10.9.0.1 # with DNAT the same
TARGET=$PEER     # what the client connects to

before_veth() {
	in_box ip netns add peer
	in_box ip link add veth0 type veth peer name veth1 netns peer
	in_box ip addr add 10.7.0.1/24 dev veth0
	in_box ip link set veth0 up
	in_box ip -n peer addr add "$PEER/24" dev veth1
	in_box ip -n peer link set veth1 up
	in_box ip -n peer link set lo up
	use_cubic in_box ip netns exec peer
}

after_veth() {
	in_box ip link del veth0
	in_box ip netns del peer
}

figures_veth() {
	figures_peer in_box
}

figures_peer() {
	local size cores
	for cores in "${CORES[@]}"; do
		for size in 64 16384; do
			measure rr "$size" 1 "$cores" 1/s to_peer "$1" rr "$size" "$cores"
		done
		measure stream 65536 1 "$cores" MB/s to_peer "$1" stream 65536 "$cores"
		measure crr 64 1 "$cores" 1/s to_peer "$1" crr 64 "$cores"
	done
}

# The same through NAT.
before_dnat() {
	before_veth
	in_box ip route add "$SERVICE" via "$PEER"
	in_box nft -f - <<-END
		table ip nat {
			chain output {
				type nat hook output priority -100;
				ip daddr $SERVICE dnat to $PEER
			}
		}
	END
	TARGET=$SERVICE
}

after_dnat() {
	TARGET=$PEER
	in_box nft delete table ip nat
	in_box ip route del "$SERVICE"
	after_veth
}

figures_dnat() {
	figures_peer in_box
}

# The same with a server outside of the cgroup: what the pair costs connections that
# are not its own.
before_foreign() {
	before_veth
}

after_foreign() {
	after_veth
}

figures_foreign() {
	figures_peer out_of_box
}

# The kernel's objects in use, in bytes.
slab_used() {
	awk 'NR > 2 { sum += $2 * $4 } END { printf "%d\n", sum }' /proc/slabinfo
}

# memlock PIN...: bytes of these maps, together.
memlock() {
	local pin
	for pin; do
		in_box bpftool -j map show pinned "$pin"
	done | jq -s 'map(.bytes_memlock) | add'
}

# Idle connections that have had one round trip, and the maps.
figures_memory() {
	local before
	before=$(slab_used)
	hold_many "$IDLE" 0
	row "idle connection" "" "$IDLE" "" bytes "$((($(slab_used) - before) / IDLE)),,,"
	exec 8>&-
	wait "$MANY"
	if [[ $VARIANT == ours ]]; then
		row maps "" "" "" bytes "$(memlock "${MAP_PINS[@]}"),,,"
		row "map of handshakes" "" "" "" bytes "$(memlock "$BPFFS/sock_ops_meet"),,,"
	fi
}

# What the two programs take for each call, the kernel's two looks at the clock
# included (kernel.bpf_stats_enabled, for the while).
before_cost() {
	BPF_STATS=$(sysctl -n kernel.bpf_stats_enabled)
	sysctl -qw kernel.bpf_stats_enabled=1
	OPTIONS=(--all-connections) # what an admitted one costs
}

after_cost() {
	sysctl -qw kernel.bpf_stats_enabled="$BPF_STATS"
	BPF_STATS=
}

figures_cost() {
	local program
	for program in bpf_sockops bpf_tcpip_bypass; do
		in_box bpftool -j prog show pinned "/sys/fs/bpf/$program" >"$BOX_TMP/prog"
		row "$program instructions" "" "" "" insns "$(($(jq .bytes_xlated "$BOX_TMP/prog") / 8)),,,"
		row "$program machine code" "" "" "" bytes "$(jq .bytes_jited "$BOX_TMP/prog"),,,"
	done
	cost_of bpf_tcpip_bypass "send of round trips" rr 64
	cost_of bpf_tcpip_bypass "send of a stream" stream 65536
	cost_of bpf_sockops "call at new connections" crr 64
}

# cost_of PROGRAM WHAT PATTERN SIZE
cost_of() {
	local before after result time calls status=0
	before=$(run_stats "$1")
	result=$(both_ends "$3" "$4" 1) || status=$?
	after=$(run_stats "$1")
	read -r time calls < <(echo "$before $after" | awk '{ print $3 - $1, $4 - $2 }')
	if ((status || !calls)); then
		row "$1 each $2" "$4" 1 1 ns fail,,,
		return
	fi
	row "$1 each $2" "$4" 1 1 ns "$((time / calls)),,,"
	case $3 in
	# Few and long, where it looks whether the reader has caught up.
	stream) row "$1 sends of a stream" "$4" 1 1 calls "$calls,,," ;;
	crr)
		row "$1 each new connection" "$4" 1 1 ns \
			"$(awk -F , -v time="$time" -v run="$RUN" '{ printf "%d", time / ($1 * run) }' <<<"$result"),,,"
		;;
	esac
}

# run_stats PROGRAM: NANOSECONDS CALLS
run_stats() {
	in_box bpftool -j prog show pinned "/sys/fs/bpf/$1" |
		jq -r '"\(.run_time_ns // 0) \(.run_cnt // 0)"'
}

# What idle connections beside it do to a round trip, a new connection, and the scripts.  Once in a
# run, since it takes so long.
before_growth() {
	OPTIONS=(--all-connections)
	in_box sysctl -qw net.ipv4.ip_local_port_range="1024 65000"
	mkfifo "$BOX_TMP/idle"
}

figures_growth() {
	local n
	((ROUND == 1)) || return 0
	for n in "${IDLE_BESIDE[@]}"; do
		hold_idle "$n"
		measure rr 64 "$n" 1 1/s both_ends rr 64 1
		measure crr 64 "$n" 1 1/s both_ends crr 64 1
		seconds_of "status.sh" "$n" in_box "$ROOT/status.sh"
		seconds_of "status.sh --prometheus" "$n" in_box "$ROOT/status.sh" --prometheus
		seconds_of "unload.sh" "$n" unload_pair
		((!n)) || kill "${IDLE_HOLDERS[@]}"
		enter ours
	done
}

# hold_idle CONNECTIONS: by as many processes as have the descriptors for both ends of each.
hold_idle() {
	local left part said
	IDLE_HOLDERS=()
	for ((left = $1; left > 0; left -= part)); do
		part=$((left < 5000 ? left : 5000))
		said=$BOX_TMP/idle.${#IDLE_HOLDERS[@]}
		: >"$said"
		in_box "$ROOT/build/many" "$part" 0 >"$said" <>"$BOX_TMP/idle" &
		IDLE_HOLDERS+=($!)
		wait_until 30 "$part connections" grep -q ready "$said"
	done
}

# seconds_of NAME CONNECTIONS COMMAND...
seconds_of() {
	local begin=$EPOCHREALTIME
	quietly "${@:3}"
	row "$1" "" "$2" "" s "$(awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.3f", b - a }'),,,"
}
