#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Compares with plain TCP, as root, in a sandbox of its own:
#
#   tests/bench.sh [SECONDS]     for each measurement, default 0.5
#
# Request/response and streams over 127.0.0.1, on one core and on two, cubic; the
# patterns are those of bench.c.
# Each figure is the median of five runs of each kind, in turns: the pair is
# unloaded for plain TCP, loaded for ours.  Takes some minutes.

set -euo pipefail
export LC_ALL=C
HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=tests/sandbox.bash
. "$HERE/sandbox.bash"

SECONDS_EACH=${1:-0.5}
RUNS=5
BENCH=$ROOT/build/bench

[[ $EUID -eq 0 ]] || {
	echo "bench.sh: needs root: sudo $0" >&2
	exit 1
}
make -C "$ROOT" --no-print-directory all test-programs >&2

quietly() {
	"$@" >"$BOX_TMP/log" 2>&1 || {
		cat "$BOX_TMP/log" >&2
		exit 1
	}
}

sorted() {
	printf '%s\n' "$@" | sort -g
}

# compare UNIT PATTERN SIZE CPU CPU
compare() {
	local unit=$1 i plain=() ours=()
	shift
	# Settle first: the first connection after a pause is never the fastest.
	in_box "$BENCH" "$1" "$2" 0.1 "$3" "$4" >/dev/null
	for ((i = 0; i < RUNS; i++)); do
		plain+=("$(in_box "$BENCH" "$1" "$2" "$SECONDS_EACH" "$3" "$4")")
		quietly load_pair
		ours+=("$(in_box "$BENCH" "$1" "$2" "$SECONDS_EACH" "$3" "$4")")
		quietly unload_pair
	done
	mapfile -t plain < <(sorted "${plain[@]}")
	mapfile -t ours < <(sorted "${ours[@]}")
	awk -v name="$1" -v size="$2" -v cpus="$(($4 + 1))" -v unit="$unit" \
		-v plain="${plain[*]}" -v ours="${ours[*]}" 'BEGIN {
			n = split(plain, p); split(ours, o); m = (n + 1) / 2
			printf "%-7s %8d %5d %11.0f %11.0f  %-5s %6.2f   %s..%s / %s..%s\n",
				name, size, cpus, p[m], o[m], unit, o[m] / p[m], p[1], p[n], o[1], o[n]
		}'
}

trap 'box_down >/dev/null 2>&1' EXIT
box_up
grep -qw cubic /proc/sys/net/ipv4/tcp_allowed_congestion_control 2>/dev/null ||
	sysctl -qw net.ipv4.tcp_allowed_congestion_control="$(sysctl -n net.ipv4.tcp_allowed_congestion_control) cubic"
in_box sysctl -qw net.ipv4.tcp_congestion_control=cubic

echo "# kernel $(uname -r), $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), $RUNS runs of $SECONDS_EACH s each"
echo "# pattern    bytes cores   plain TCP        ours  unit   ratio  lowest..highest, plain / ours"
for size in 64 1024 4096 16384 65536; do
	compare "1/s" rr "$size" 0 0
done
for size in 64 1024 16384; do
	compare "1/s" rr "$size" 0 1
done
for cpu in 0 1; do
	for pattern in warm stream; do
		for size in 64 1024 4096 16384 65536 262144 1048576 4194304; do
			compare "MB/s" "$pattern" "$size" 0 "$cpu"
		done
	done
done
