#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# load.sh on a host with strangers: what a user without capabilities chooses, the names, files,
# cgroups and numbers of his processes, neither stops it nor leads it astray.

bats_require_minimum_version 1.5.0
load sandbox.bash
load fakes.bash

setup() {
	box_up
	chmod 755 "$BOX_TMP" "$BOX_CGROUP" # as a machine has its own
	STRANGER=(setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set -all --inh-caps -all)
}

teardown() {
	box_down
}

# cgroup_up PATH: below the sandbox's root.
cgroup_up() {
	mkdir -p "$BOX_CGROUP/$1"
}

# in_cgroup PATH COMMAND...: in a cgroup below the sandbox's root.
in_cgroup() {
	(
		echo "$BASHPID" >"$BOX_CGROUP/$1/cgroup.procs"
		exec nsenter --target "$BOX_PID" --cgroup --mount --net -- "${@:2}"
	)
}

# stranger CGROUP PYTHON [ARGUMENT...]: a program of his, in the background; it has begun when it prints.
# name(BYTES) gives it a name, listen() makes a listener.
stranger() {
	local out=$BOX_TMP/out.$((++STRANGERS))
	in_cgroup "$1" "${STRANGER[@]}" /usr/bin/python3 -c '
import ctypes, os, resource, socket, sys, time
libc = ctypes.CDLL(None)
def name(text):
    libc.prctl(15, text, 0, 0, 0)
def listen():
    server = socket.create_server(("127.0.0.1", 0))
    print(server.getsockname()[1], flush=True)
    return server
'"$2" "${@:3}" >"$out" 2>"$out.err" 3>&- &
	wait_until 20 "a stranger's program" test -s "$out"
}

# box_within SECONDS COMMAND...: `run -0` in the sandbox, and it takes no longer.
box_within() {
	local before=$SECONDS most=$(($1 * SLOWNESS))
	run -0 in_box timeout --signal KILL $((most + 1)) "${@:2}"
	have_want "seconds" $((SECONDS - before)) -le "$most"
}

load_within() {
	box_within "$1" "$ROOT/load.sh" --quiet "${@:2}"
}

assert_redirected() {
	local before
	before=$(counter redirected_messages)
	in_box "$PAIR" talk
	have_want "redirected messages" $(($(counter redirected_messages) - before)) -eq 200
}

@test "the lock: a user who locks all that he can does not stop load.sh and unload.sh" {
	local root dir
	root=$(box_root)
	for dir in "$root" /sys/fs/bpf /run /tmp; do
		in_box "${STRANGER[@]}" flock "$dir" sleep 60 3>&- &
	done
	wait_until 5 "his locks" grep -q "FLOCK.*WRITE" /proc/locks
	load_within 30
	output_lacks "waiting for another"
	box_within 30 "$ROOT/unload.sh"
}

@test "the BPF file system: mounted for root alone, and refused where others can use it" {
	while [[ $(in_box stat -f -c %T /sys/fs/bpf) == bpf_fs ]]; do
		in_box umount /sys/fs/bpf # the machine's own may be below
	done
	load_pair
	run ! in_box "${STRANGER[@]}" ls /sys/fs/bpf
	run ! in_box "${STRANGER[@]}" mkdir /sys/fs/bpf/bpf_guard
	unload_pair
	in_box umount /sys/fs/bpf
	in_box mount -t bpf bpf /sys/fs/bpf
	in_box "${STRANGER[@]}" ln -s /nowhere /sys/fs/bpf/sock_ops_record
	in_box "${STRANGER[@]}" mkdir /sys/fs/bpf/bpf_guard
	in_box "${STRANGER[@]}" ln -s /etc/passwd /sys/fs/bpf/bpf_guard/bpf_guard
	in_box "${STRANGER[@]}" ln -s /etc/passwd /sys/fs/bpf/bpf_guard/bpf_guard_get
	run -1 load_pair
	output_has "others than root can use /sys/fs/bpf (mode 1777)" "sudo chmod 700 /sys/fs/bpf"
	run -1 unload_pair
	output_has "sudo chmod 700 /sys/fs/bpf"
	run -2 in_box "$ROOT/status.sh"
	output_has "sudo chmod 700 /sys/fs/bpf"
	in_box chmod 700 /sys/fs/bpf # what he has put there stays
	in_box bash -c 'HERE=$1; . "$1/lib.sh"; ! is_guarded' bash "$ROOT"
	run -1 load_pair
	output_has "loaded in part" sock_ops_record bpf_guard
	unload_pair
	load_pair
	assert_redirected
}

@test "a failure once it is switched on switches it off" {
	local id
	mkfifo "$BOX_TMP/go"
	exec 8<>"$BOX_TMP/go"
	fake bpftool '
		"$REAL" "$@" || exit
		[[ "$*" == *sock_ops_config*"value "* && ! -e "'"$BOX_TMP"'/held" ]] || exit 0
		n=$(cat "'"$BOX_TMP"'/n" 2>/dev/null || echo 0)
		echo $((n + 1)) >"'"$BOX_TMP"'/n"
		((n == 1)) || exit 0
		"$REAL" -j prog show pinned /sys/fs/bpf/bpf_sockops >"'"$BOX_TMP"'/program"
		"'"$PAIR"'" --count 20 hold <"'"$BOX_TMP"'/go" >"'"$BOX_TMP"'/held" 2>&1 3>&- &
		for _ in {1..200}; do grep -q held "'"$BOX_TMP"'/held" && break; sleep 0.05; done
		exit 1'
	run -1 with_fakes "$ROOT/load.sh" --no-guard
	output_has "failed; undoing" "not loaded"
	assert_no_pins
	# The connection holds the program, and that its maps.
	id=
	for map in $(jq -r '.map_ids[]' "$BOX_TMP/program"); do
		[[ $(bpftool -j map show id "$map" | jq -r .name) != sock_ops_config ]] || id=$map
	done
	have_want "the switch" "$(bpftool -j map lookup id "$id" key 0 0 0 0 | jq -r '.value[8]')" = 0x00
	exec 8>&-
}

@test "output that nobody takes stops nothing" {
	local how
	for how in '>/dev/full' '2>/dev/full' '| head -n 1' '2>&1 | head -n 1' '>&- 2>&-'; do
		run -0 in_box bash -c "set -o pipefail; '$ROOT/load.sh' --quiet $how"
		have_want "loaded, $how" "$(in_box "$ROOT/status.sh" --json | jq .loaded)" = true
		unload_pair
	done
	# And an undo goes to its end.
	fake bpftool '[[ "$*" != "prog attach"* ]] || exit 1; exec "$REAL" "$@"'
	run ! with_fakes bash -c "'$ROOT/load.sh' >/dev/full 2>&1"
	assert_no_pins
	have_want "programs of the cgroup" "$(in_box bpftool cgroup show "$(box_root)")" = ""
}
