#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# A network block device: nbd-client connects, negotiates, and hands its socket to
# the kernel, which sends and receives on it from then on.  nbd-server stays a
# program.
#
#   nbd-client --- negotiation ---> nbd-server --- disk    (the exported file)
#       | netlink, or ioctl             |
#   /dev/nbd0 ----- requests ---------->|
#
# Both ways to hand the socket over, with the pair and without it.  In a guest of
# tests/kernels.sh alone: the device is the whole machine's.

bats_require_minimum_version 1.5.0
load ../sandbox.bash

DEVICE=/dev/nbd0
PORT=10809
MIB=16 # of the exported file

setup() {
	box_up
	DISK=$BOX_TMP/disk
	truncate -s "${MIB}M" "$DISK"
	cat >"$BOX_TMP/config" <<-END
		[generic]
		listenaddr = 127.0.0.1
		port = $PORT
		[disk]
		exportname = $DISK
		flush = true
	END
	KERNEL_LINES=$(dmesg | wc -l)
}

teardown() {
	# First, else those that wait for the device would go on waiting.
	nbd-client -d "$DEVICE" >/dev/null 2>&1 || true
	box_down
	! dmesg | grep -E 'WARNING:|BUG:|Oops|refcount_t|use-after-free'
}

# As in_box, but in the guest's own network namespace: there nbd's netlink is on every
# kernel.
in_guest() {
	(
		echo "$BASHPID" >"$BOX_CGROUP/cgroup.procs"
		exec nsenter --target "$BOX_PID" --cgroup --mount -- "$@"
	)
}

listens() {
	[[ -n $(in_guest ss -Hltn "sport = $PORT") ]]
}

ends_connected() {
	in_guest ss -Htn state established "( sport = $PORT or dport = $PORT )" | wc -l
}

nobody_is_connected() {
	[[ $(ends_connected) -eq 0 ]]
}

has_size() {
	[[ $(blockdev --getsize64 "$DEVICE") -eq $((MIB * 1024 * 1024)) ]]
}

# attach OPTION...: a request without an answer fails after a time (-t), so that no
# program waits for the device for ever.
attach() {
	in_guest nbd-server -C "$BOX_TMP/config" -d >"$BOX_TMP/server.log" 2>&1 3>&- &
	wait_until 5 "nbd-server to listen" listens
	in_guest nbd-client 127.0.0.1 "$PORT" "$DEVICE" -N disk -b 4096 -t 20 "$@" 3>&-
	wait_until 5 "the device to have its size" has_size
}

detach() {
	nbd-client -d "$DEVICE"
	wait_until 5 "the connection to end" nobody_is_connected
}

new_bytes() {
	head -c "${MIB}M" /dev/urandom >"$BOX_TMP/random"
}

# write_at UNIT COUNT AT FLAG...: that part of the random bytes, at the same place.
write_at() {
	dd if="$BOX_TMP/random" of="$DEVICE" bs="$1" count="$2" skip="$3" seek="$3" \
		conv=notrunc,fsync "${@:4}" status=none
}

# same_at UNIT COUNT AT FILE FLAG...: has that part of FILE the random bytes?
same_at() {
	cmp <(dd if="$4" bs="$1" count="$2" skip="$3" "${@:5}" status=none) \
		<(dd if="$BOX_TMP/random" bs="$1" count="$2" skip="$3" status=none)
}

same_on_disk() {
	blockdev --flushbufs "$DEVICE"
	cmp "$BOX_TMP/random" "$DEVICE"
	cmp "$BOX_TMP/random" "$DISK"
}

# The server stops while a request is sent that is larger than all buffers.  The kernel's
# send then waits for room, and its receiving thread for the answer: room, when it comes,
# must not end the latter.  To be used first: the rest would leave the bypass.
use_while_server_stops() {
	local writer server
	server=$(pid_of nbd-server)
	echo $((MIB * 1024)) >"/sys/block/${DEVICE##*/}/queue/max_sectors_kb"
	new_bytes
	kill -STOP "$server"
	write_at "${MIB}M" 1 0 oflag=direct 3>&- &
	writer=$!
	sleep 0.5 # until the buffers are full: what they hold differs, over TCP or not
	kill -CONT "$server"
	wait "$writer"
	same_on_disk
}

# Pieces of several sizes, written and read back.
use_in_pieces() {
	local size
	new_bytes
	for size in 4096 28672 1048576; do
		write_at "$size" 3 1 oflag=direct
		same_at "$size" 3 1 "$DEVICE" iflag=direct
		same_at "$size" 3 1 "$DISK"
	done
}

# One half through the cache, then the other one past it while the first is read.
use_at_once() {
	local half=$((MIB / 2)) reader
	new_bytes
	write_at 1M "$half" 0
	same_at 64K $((half * 16)) 0 "$DEVICE" iflag=direct 3>&- &
	reader=$!
	write_at 1M "$half" "$half" oflag=direct
	wait "$reader"
	same_on_disk
}

# What the kernel has logged since the test began.
nothing_failed() {
	! dmesg | tail -n "+$((KERNEL_LINES + 1))" |
		grep -iE 'error.*nbd|nbd.*(fail|error|tim|magic|unexpected|suspicious|double|dead|unable|losing)'
}

# use_device OPTION...: handed over that way.
use_device() {
	attach "$@"
	use_while_server_stops
	use_in_pieces
	use_at_once
	have_want "ends that are connected" "$(ends_connected)" -eq 2
}

negotiated_on_bypass() {
	have_want "ends admitted" "$(counter admitted_active admitted_passive)" -eq 2
	have_want "messages redirected" "$(counter redirected_messages)" -ge 4
}

@test "nbd: the data is right, the socket handed over by netlink" {
	load_pair --quiet
	use_device
	negotiated_on_bypass
	detach
	nothing_failed
	wait_until 5 "the map to be empty" map_is_empty
}

@test "nbd: the same over plain TCP, netlink" {
	use_device
	detach
	nothing_failed
}

@test "nbd: the data is right, the socket handed over by ioctl" {
	load_pair --quiet
	use_device -nonetlink
	negotiated_on_bypass
	detach
	nothing_failed
	wait_until 5 "the map to be empty" map_is_empty
}

@test "nbd: the same over plain TCP, ioctl" {
	use_device -nonetlink
	detach
	nothing_failed
}
