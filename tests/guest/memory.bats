#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# Less memory than connections would take.  In a guest of tests/kernels.sh alone, since
# tcp_mem is the whole machine's.

bats_require_minimum_version 1.5.0
load ../sandbox.bash
load ../scenarios.bash

setup() {
	box_up
	read -r -a TCP_MEM </proc/sys/net/ipv4/tcp_mem
	load_pair --quiet >/dev/null 2>&1
	echo +memory >"$BOX_HOME/cgroup.subtree_control"
}

teardown() {
	echo "${TCP_MEM[*]}" >/proc/sys/net/ipv4/tcp_mem
	box_down
	! dmesg | grep -E 'WARNING:|BUG:|Oops|refcount_t|use-after-free'
}

# at_once COUNT SCENARIO...: succeeds when each of them got all that it was sent.
at_once() {
	local i pids=() pid status=0
	for ((i = 1; i <= $1; i++)); do
		in_box "$PAIR" --seed "$i" --timeout 60 "${@:2}" >/dev/null 3>&- &
		pids+=("$!")
	done
	for pid in "${pids[@]}"; do
		wait "$pid" || status=1
	done
	return "$status"
}

events() {
	sed -n "s/^$1 //p" "$BOX_CGROUP/memory.events"
}

@test "memory: under pressure of its cgroup nothing is lost (memory.high)" {
	local peak percent
	counts_unread || skip "a stopped reader holds up to 64 MiB here"
	at_once 3 --size 1000 stopped
	peak=$(<"$BOX_CGROUP/memory.peak")
	# A little less than is wanted: a sender sleeps longer with the square of what
	# it is over the limit (mem_cgroup_handle_over_high), over plain TCP as well.
	for percent in 90 80 70; do
		echo $((peak * percent / 100)) >"$BOX_CGROUP/memory.high"
		at_once 3 --size 1000 stopped
		(($(events high) == 0)) || break
	done
	have_want "times over the limit" "$(events high)" -gt 0
	have_want "redirected bytes" "$(counter redirected_bytes)" -gt 100000
	wait_until 10 "the map to be empty" map_is_empty
}

@test "memory: programs killed for want of memory leave nothing behind (memory.max)" {
	echo -1000 >"/proc/$BOX_PID/oom_score_adj" # not the process that holds the namespaces
	echo 16M >"$BOX_CGROUP/memory.max"
	at_once 8 --size 1000 stopped 2>/dev/null && return 1
	have_want "killed" "$(events oom_kill)" -gt 0
	echo max >"$BOX_CGROUP/memory.max"
	wait_until 10 "the map to be empty" map_is_empty
	in_box "$PAIR" talk
	have_want "redirected messages" "$(counter redirected_messages)" -ge 200
}

@test "memory: what a connection held is not charged to its cgroup any more" {
	local before after
	before=$(<"$BOX_CGROUP/memory.current")
	at_once 6 --size 1000 stopped # on one CPU: the first bytes come before the accepts
	after=$(<"$BOX_CGROUP/memory.current")
	# Too much given back shows as a number near 2^64.
	have_want "digits of bytes charged, before $before" "${#after}" -le 8
}

# MESSAGES_LEAST, or HOST_UNCOUNTED times the second number for two sockets (bpf/backlog.h).
@test "memory: the host's share bounds small messages that nobody reads (tcp_mem)" {
	local most=80 second=40
	# There TCP itself may hold as much, and be short of memory.
	! counts_unread || most=4 second=50000
	echo "2 $second 100000" >/proc/sys/net/ipv4/tcp_mem
	in_box "$PAIR" --count 300 unread
	have_want "messages on the bypass" "$(counter redirected_messages)" -le "$most"
	have_want "left with too much unread" "$(counter left_room)" -eq 1
}

# The kernel may count up to 256 pages late for each CPU (SK_MEMORY_PCPU_RESERVE).
tcp_holds_pages() {
	[[ $(sed -n 's/^TCP: .* mem //p' /proc/net/sockstat) -ge $1 ]]
}

# A reader that does not read: TCP, to which its bulk leaves, holds memory.  The 4 MiB
# that the sender's queue may hold are far more than the kernel may count late.
have_tcp_hold_memory() {
	in_box sysctl -qw net.ipv4.tcp_wmem="4096 4194304 4194304"
	in_box sh -c 'nc -l 127.0.0.1 7100 | sleep 1000' 3>&- &
	wait_until 5 "a server to listen" listens 7100
	in_box nc 127.0.0.1 7100 </dev/zero 3>&- &
	wait_until 10 "TCP to hold memory" tcp_holds_pages 257
}

PRESSURE="1 1 100000" # and no want

@test "memory: when TCP becomes short of memory, connections leave (tcp_mem)" {
	have_tcp_hold_memory
	echo "$PRESSURE" >/proc/sys/net/ipv4/tcp_mem
	at_once 3 --count 20 talk
	at_once 3 --size 100000 --count 3 turns
	have_want "left for want of memory" "$(counter left_memory)" -ge 6
	while kill "$(pid_of nc)" 2>/dev/null; do sleep 0.1; done
	wait_until 10 "the map to be empty" map_is_empty
}

@test "memory: when TCP is short of memory now and then, no reader stalls (tcp_mem)" {
	local pid
	counts_unread || skip "FIONREAD does not count bypassed bytes"
	have_tcp_hold_memory
	in_box "$ROOT/build/readers" --count 30 --jobs 2 --size 300000 --timeout 20 \
		--styles asking,edge-short,edge-fionread 3>&- &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		echo "$PRESSURE" >/proc/sys/net/ipv4/tcp_mem
		sleep "0.$((RANDOM % 10))" # at any moment
		echo "${TCP_MEM[*]}" >/proc/sys/net/ipv4/tcp_mem
		sleep "0.$((RANDOM % 10))"
	done
	wait "$pid"
	have_want "left for want of memory" "$(counter left_memory)" -ge 3
	while kill "$(pid_of nc)" 2>/dev/null; do sleep 0.1; done
	wait_until 10 "the map to be empty" map_is_empty
}

@test "memory: TCP out of memory makes senders wait, it does not fail them (tcp_mem)" {
	local stopped
	counts_unread || skip "bulk is on TCP at once here"
	in_box "$PAIR" talk # ends what pressure an earlier test has left (tcp_leave_memory_pressure)
	# Between pressure and limit is more than the kernel may count late, so that no message
	# meets the limit before the pressure shows.  Then senders are on TCP, and their queues,
	# which pressure leaves tcp_wmem[0], take more than there is.
	in_box sysctl -qw net.ipv4.tcp_wmem="4194304 4194304 4194304"
	echo "128 256 1024" >/proc/sys/net/ipv4/tcp_mem
	at_once 6 stopped 3>&- &
	stopped=$!
	wait_until 20 "TCP to be out of memory" tcp_holds_pages 1025
	wait "$stopped"
	have_want "left for want of memory" "$(counter left_memory)" -ge 1
	# Or first for want of room, where the reader's turn comes late.
	have_want "left" "$(counter left_memory left_room)" -ge 6
	at_once 6 --size 200000 duplex
	wait_until 10 "the map to be empty" map_is_empty
}

# who_has FILTER: the pid of the process with that socket.
who_has() {
	in_box ss -Htnp "$@" | sed -n 's/.*pid=\([0-9]*\).*/\1/p'
}

# has_written PID BYTES
has_written() {
	[[ $(sed -n 's/^wchar: //p' "/proc/$1/io") -ge $2 ]]
}

all_is_there() {
	[[ $(stat -c %s "$BOX_TMP/got") -eq $1 ]]
}

# The kernel lets the reader's buffer grow while TCP as a whole holds less than tcp_mem's first
# number (tcp_clamp_window).  Behind a backlog that counted on that, and has more than the buffer by
# then, TCP drops what comes.  (Since 6.6 it closes the window instead.)
@test "memory: what is behind a backlog is not dropped when others have TCP hold much (tcp_mem)" {
	local reader writer job
	in_box socat -u TCP-LISTEN:7100 "CREATE:$BOX_TMP/got" 3>&- &
	wait_until 5 "a server to listen" listens 7100
	mkfifo "$BOX_TMP/to_send"
	in_box socat -u -b 1000 "PIPE:$BOX_TMP/to_send" TCP:127.0.0.1:7100 3>&- &
	job=$!
	exec 8>"$BOX_TMP/to_send"
	printf %1000s "" >&8
	wait_until 10 "the first message" all_is_there 1000
	reader=$(who_has "sport = 7100")
	writer=$(who_has "dport = 7100")
	kill -STOP "$reader"
	head -c 1000000 /dev/zero >&8
	wait_until 10 "the writer to have sent that" has_written "$writer" 1001000
	have_want "redirected bytes" "$(counter redirected_bytes)" -gt 10000
	echo "1 50000 100000" >/proc/sys/net/ipv4/tcp_mem
	head -c 1500000 /dev/zero >&8 &
	exec 8>&-
	wait_until 30 "the writer to have sent more" has_written "$writer" 1200000
	kill -CONT "$reader"
	wait_until 30 "all bytes" all_is_there 2501000
	wait "$job"
	have_want "packets dropped behind it" "$(in_box nstat -asz TcpExtTCPRcvQDrop |
		sed -n 's/^TcpExtTCPRcvQDrop *\([0-9]*\) .*/\1/p')" -eq 0
}
