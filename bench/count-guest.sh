#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The init of bench/count.sh's guests: measures by a clock that counts instructions, a nanosecond
# for each, and writes a line for each figure to the console:
#
#   @count|WHAT|VARIANT|INSTRUCTIONS

# shellcheck source=tests/guest/mounts.bash
. /project/tests/guest/mounts.bash
# shellcheck source=tests/sandbox.bash
. tests/sandbox.bash
set -euo pipefail # what fails ends it, before `@done`

BENCH=$ROOT/build/bench
RUN=0.1   # seconds of that clock, 100,000,000 instructions
SETTLE=30 # what a kernel does after its start has ended then; a pause takes no time here

# figure WHAT VARIANT INSTRUCTIONS
figure() {
	[[ $3 =~ ^[0-9]+$ && $3 -gt 0 ]] || exit
	echo "@count|$1|$2|$3"
}

# count WHAT VARIANT COMMAND...: of what bench prints: operations in a second, or MB of a stream.
count() {
	figure "$1" "$2" "$("${@:3}" | awk -F, '$1 > 0 { printf "%.0f", 1e9 / $1 }')"
}

# connections WHAT VARIANT COMMAND...: the middle one of three longer runs, as they spread by 1 %.
connections() {
	local figures=()
	for _ in 1 2 3; do
		figures+=("$(RUN=0.2 count "$@")")
	done
	printf '%s\n' "${figures[@]}" | sort -t '|' -k 4n | sed -n 2p
}

bench() {
	in_box "$BENCH" "$@" "$RUN"
}

# trips VARIANT [OPTION]: what both ends of a connection do.
trips() {
	count rr_64 "$1" bench "${@:2}" rr 64
	count rr_16k "$1" bench "${@:2}" rr 16384
	count rr_256k "$1" bench "${@:2}" rr 262144
	connections connection "$1" bench "${@:2}" crr 64
	RUN=0.4 count stream_mb "$1" bench "${@:2}" stream 65536
}

# Of all runs, their ns and their number.
runs() {
	in_box bpftool -j prog show pinned /sys/fs/bpf/bpf_tcpip_bypass | jq '.run_time_ns, .run_cnt'
}

# send VARIANT: the sk_msg program, with what the kernel's two looks at the clock take.
send() {
	local before
	echo 1 >/proc/sys/kernel/bpf_stats_enabled
	before=$(runs)
	bench rr 64 >/dev/null
	figure send "$1" \
		"$(echo "$before" "$(runs)" | paste -sd ' ' | awk '{ printf "%.0f", ($3 - $1) / ($4 - $2) }')"
	echo 0 >/proc/sys/kernel/bpf_stats_enabled
}

# to_outside PATTERN: with a server outside of the cgroup.
to_outside() {
	rm -f "$BOX_TMP/port"
	out_of_box "$BENCH" --serve 127.0.0.1 "$1" 64 "$RUN" >"$BOX_TMP/port" &
	wait_until 5 "a server" test -s "$BOX_TMP/port"
	in_box "$BENCH" --connect "127.0.0.1:$(<"$BOX_TMP/port")" "$1" 64 "$RUN"
	wait $!
}

# load [OPTION]...: ours, or its new options.
load() {
	in_box "$ROOT/load.sh" --quiet "$@" >/dev/null 2>&1 || exit
}

# empty: with a sock_ops program that does nothing.
empty() {
	in_box bpftool prog load "$ROOT/build/other/empty.bpf.o" /sys/fs/bpf/empty type sockops
	in_box bpftool cgroup attach "$(box_root)" sock_ops pinned /sys/fs/bpf/empty
	connections connection empty bench crr 64
	connections outside empty to_outside crr
	in_box bpftool cgroup detach "$(box_root)" sock_ops pinned /sys/fs/bpf/empty
	in_box rm /sys/fs/bpf/empty
}

measure() {
	box_up
	sleep "$SETTLE"
	# Until the kernel has its random numbers, a connection takes 40,000 instructions more.
	timeout 100 head -c 16 /dev/random >/dev/null || exit
	trips plain
	trips unix --unix
	count pipe plain bench pipe 1
	connections outside plain to_outside crr
	empty
	load_classic
	trips classic
	send classic
	unload_classic
	load --no-guard
	trips ours
	send ours
	connections outside ours to_outside crr
	load --reload --no-guard --all-connections
	connections connection all bench crr 64
	load --reload
	count rr_64 guard bench rr 64
	count pipe guard bench pipe 1
	# As where BPF is not among the active LSMs.
	in_box umount /sys/kernel/security
	PATH=/later/usr/sbin:$PATH
	load --reload
	count pipe trace bench pipe 1
	echo "@done"
}

echo "@kernel|$(uname -r)"
(measure)
echo b >/proc/sysrq-trigger
sleep 60
