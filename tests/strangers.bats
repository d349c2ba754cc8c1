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

# stranger CGROUP PYTHON [ARGUMENT...]: a program of his, in the background; it has begun when it
# prints. name(BYTES) gives it a name, listen() makes a listener.
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
	# Where it is not known whether it is one, it is.
	fake stat '[[ $* != "-f -c %T /sys/fs/bpf" ]] || exit 1; exec "$REAL" "$@"'
	run -1 with_fakes "$ROOT/load.sh"
	output_has "sudo chmod 700 /sys/fs/bpf"
	rm "$BOX_TMP/bin/stat"
	in_box chmod 700 /sys/fs/bpf # what he has put there stays
	in_box bash -c 'HERE=$1; . "$1/lib/common.sh"; . "$1/lib/maps.sh"; ! is_guarded' bash "$ROOT"
	run -1 load_pair
	output_has "loaded in part" sock_ops_record bpf_guard
	unload_pair
	load_pair
	assert_redirected
}

# beside_lock DIRECTORY COMMAND...: while a user holds the lock of that directory.  In a PID
# namespace of its own, whose /proc nobody else reads.
beside_lock() {
	in_box timeout --signal KILL $((90 * SLOWNESS)) unshare --pid --fork --kill-child --mount-proc bash -c '
		coproc exec "$0/build/stuck" lock "$1"
		read -r _ <&"${COPROC[0]}"
		"${@:2}"
		exit' "$ROOT" "$@" # else bash would become the command, without the pipe to it
}

# bats test_tags=long,beside
@test "locks of directories that a user holds stop no script" {
	local directory held beside
	held=$(box_root)/held
	in_box mkdir -p "$held/below" /run/netns
	for directory in /proc/self /run/netns; do
		run -0 beside_lock "$directory" "$ROOT/load.sh" --no-guard
		output_has "open before, and on TCP until they are opened again: 1 connection" loaded
		run -0 beside_lock "$directory" "$ROOT/unload.sh" --timeout 1
		output_has "connections taken off the bypass: 1"
		have_want "pins, $directory" "$(in_box find /sys/fs/bpf -name 'bpf_*')" = ""
	done
	run -2 beside_lock "$held" "$ROOT/load.sh" --no-guard --exclude-cgroup "$held/never"
	output_has "somebody holds the lock of a directory above it"
	load_pair --cgroup "$held/below"
	run -0 beside_lock "$held" "$ROOT/status.sh"
	output_has "cgroup       not found within some seconds" "whether ours is attached there is not known"
	output_lacks "was removed"
	run -1 beside_lock "$held" "$ROOT/load.sh" --reload
	output_has "was not found within some seconds; to name it"
	run -0 in_box "$ROOT/load.sh" --reload --cgroup "$held/below"
	run -1 beside_lock "$held" "$ROOT/unload.sh" --timeout 1
	output_has "was not found within"
	unload_pair
	# One that is looked into before the right one, and does not lead there.
	in_box mkdir "$(box_root)"/beside{1..9}
	mapfile -t beside < <(in_box find "$(box_root)" -mindepth 1 -maxdepth 1 -name 'beside*')
	in_box mkdir "${beside[8]}/below"
	load_pair --cgroup "${beside[8]}/below"
	run -0 beside_lock "${beside[0]}" "$ROOT/status.sh"
	output_has "cgroup       ${beside[8]}/below"
	run -0 beside_lock "${beside[0]}" "$ROOT/unload.sh" --timeout 1
	have_want "pins" "$(in_box find /sys/fs/bpf -name 'bpf_*')" = ""
}

@test "the lock: it is waited for where no timer is to be had, which root of a container can bring about" {
	load_pair --quiet
	in_box bash -c 'exec 9</sys/fs/bpf; flock 9; echo $$; exec sleep 60' >"$BOX_TMP/holder" 3>&- &
	wait_until 5 "his lock" test -s "$BOX_TMP/holder"
	in_box prlimit --sigpending=0 "$ROOT/unload.sh" >"$BOX_TMP/said" 2>&1 3>&- &
	wait_until 5 "it to wait" grep -q waiting "$BOX_TMP/said"
	kill "$(<"$BOX_TMP/holder")"
	wait_until 30 "it to go on" grep -qx unloaded "$BOX_TMP/said"
}

@test "the lock: who has opened it while all could is named, so that it can be ended" {
	local begin
	in_box mount -t bpf bpf /sys/fs/bpf
	in_box bash -c 'exec 9</sys/fs/bpf; chmod 700 /sys/fs/bpf; echo "$$" >"$0"; exec "$@" bash -c "flock 9; sleep 60 9>&-"' \
		"$BOX_TMP/holder" "${STRANGER[@]}" 3>&- &
	wait_until 5 "his lock" grep -q "FLOCK.*WRITE.*$(in_box stat -c %i /sys/fs/bpf) " /proc/locks
	run -124 in_box timeout 2 "$ROOT/load.sh"
	output_has "waiting for another load.sh or unload.sh"
	run -0 in_box bash -c 'HERE=$1; . "$1/lib/common.sh"; lock_holders' bash "$ROOT"
	have_want "holders" "$output" = "$(<"$BOX_TMP/holder") (bash)"
	# As one that reads the fdinfo of an epoll(7) whose mutex a user holds.
	fake grep '[[ $* != *FLOCK* ]] || setsid --wait sleep 60; exec "$REAL" "$@"'
	begin=$SECONDS
	run -0 with_fakes bash -c 'HERE=$1; . "$1/lib/common.sh"; lock_holders' bash "$ROOT"
	have_want "seconds" $((SECONDS - begin)) -le $((15 * SLOWNESS))
	in_box kill "$(<"$BOX_TMP/holder")"
	run -0 beside_lock /proc/self bash -c 'HERE=$1; . "$1/lib/common.sh"; exec 9</sys/fs/bpf; flock 9; lock_holders' \
		bash "$ROOT"
	output_has "(bash)"
	load_pair
	unload_pair
}

@test "names: a program cannot make the scripts exclude another cgroup than its own" {
	cgroup_up user
	stranger user '
server = listen()
if not os.fork():
    name(b"x cgroup:/. ")
    time.sleep(60)
name(b"pasta")
time.sleep(60)'
	stranger user '
server = listen()
name(b"pasta\ncgroup:/")
time.sleep(60)'
	load_within 30 --no-guard
	output_has "stays on TCP, because it reads with splice(2): pasta (pid " \
		"and all of $(box_root)/user"
	have_want "cgroups" "$(in_box "$ROOT/status.sh" --json | jq -c .exclude_cgroups)" = \
		"[\"$(box_root)/user\"]"
	assert_redirected
}

# bats test_tags=long
@test "names: --exclude-program takes all bytes, and shows none of them raw" {
	local octal bytes client names=() n
	for ((n = 1; n < 256; n += 14)); do
		octal=$(for ((i = n; i < n + 14 && i < 256; i++)); do ((i == 47)) || printf '\\%03o' "$i"; done)
		printf -v bytes "%b" "${octal//\\/\\0}"
		names+=("$bytes")
	done
	names+=('naïve' '$(touch x)' '*' ' ' $'\n')
	client='
import socket, sys, ctypes
ctypes.CDLL(None).prctl(15, sys.argv[1].encode("utf-8", "surrogateescape"), 0, 0, 0)
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
served, _ = server.accept()
for _ in range(5):
    client.send(b"q"); served.recv(1); served.send(b"a"); client.recv(1)'
	local arguments=()
	for bytes in "${names[@]}"; do arguments+=(--exclude-program "$bytes"); done
	run -0 load_pair --quiet --no-guard --admit-splicing "${arguments[@]}"
	n=0
	for bytes in "${names[@]}"; do
		in_box python3 -c "$client" "$bytes"
		n=$((n + 1))
		have_want "refused, $(printf %q "$bytes")" "$(counter refused_program)" -eq "$n"
	done
	in_box python3 -c "$client" naive
	have_want "refused" "$(counter refused_program)" -eq "$n"
	have_want "redirected" "$(counter redirected_messages)" -eq 10
}

@test "names: a running program of any name stays on TCP, and is shown in plain characters" {
	cgroup_up user
	stranger user '
server = listen()
name(b"\033[2J\xff\n$(x)")
time.sleep(60)'
	run -0 load_pair --quiet --no-guard --admit-splicing --exclude-program $'\033[2J\xff\n$(x)'
	output_has 'stays on TCP, because it is excluded by name: ' '[2J' '$(x) (pid ' \
		"and all of $(box_root)/user"
	[[ $output != *$'\033'* && $output != *$'\xff'* ]]
}

# haproxies FILE...: processes of that name, each in a cgroup of its own, c0 and so on.
haproxies() {
	local n=0 file
	for file; do
		cgroup_up "c$n"
		stranger "c$n" '
server = listen()
name(b"haproxy")
time.sleep(120)' -f "$file"
		n=$((n + 1))
	done
}

assert_not_known() {
	output_has "because it may read with splice(2), its configuration cannot be read, or has changed: haproxy (pid " \
		"and all of $(box_root)/$1"
}

@test "haproxy: files that do not end, or that wait, count as splicing" {
	in_box mkfifo -m 666 "$BOX_TMP/fifo"
	head -c 5000000 /dev/zero >"$BOX_TMP/big"
	echo "# option splice-auto" >"$BOX_TMP/plain.cfg"
	haproxies "$BOX_TMP/plain.cfg" /dev/stdin "$BOX_TMP/fifo" /dev/zero "$BOX_TMP/big"
	load_within 15 --no-guard
	output_lacks "$(box_root)/c0"
	assert_not_known c1
	assert_not_known c2
	assert_not_known c3
	assert_not_known c4
	assert_redirected
}

@test "haproxy: who judges it has no lock of the scripts, nor of pods" {
	in_box mount -t bpf -o mode=0700 bpf /sys/fs/bpf
	in_box mkdir /sys/fs/bpf/pods
	echo "option splice-auto" >"$BOX_TMP/splices"
	chmod 755 "$BOX_TMP"
	haproxies "$BOX_TMP/splices"
	fake timeout "[[ \$* != *cmdline* ]] || ls -l /proc/\$\$/fd >>'$BOX_TMP/open'; exec \"\$REAL\" \"\$@\""
	run -0 with_fakes bash -c 'exec "$@" 11</sys/fs/bpf/pods' bash "$ROOT/load.sh" --no-guard --quiet
	output_has "because it reads with splice(2): haproxy (pid "
	have_want "descriptors" "$(grep -c ' -> ' "$BOX_TMP/open")" -ge 3
	run ! grep /sys/fs/bpf "$BOX_TMP/open"
}

@test "haproxy: a tool that fails while it is judged does not say that it splices not" {
	local tool arguments action
	echo "option http" >"$BOX_TMP/plain"
	chmod 755 "$BOX_TMP"
	haproxies "$BOX_TMP/plain"
	load_within 15 --no-guard --quiet
	output_lacks haproxy
	while read -r tool arguments action; do
		fake "$tool" "[[ \$* != $arguments ]] || $action; exec \"\$REAL\" \"\$@\""
		run -0 with_fakes "$ROOT/load.sh" --reload --no-guard --quiet
		assert_not_known c0
		rm "$BOX_TMP/bin/$tool"
	done <<-'END'
		grep *splice* kill -9 $$
		grep *splice* exit 2
		sed *\\x* exit 1
		tr *-d* exit 1
		stat *%.3Z* exit 1
		head *4194304* kill -9 $$
		head *-c?1 exit 1
		wc *-c* exit 1
		setpriv *--reuid* exit 1
		env *-i* exit 1
		timeout *cmdline* exit 1
	END
}

@test "haproxy: files that not everybody can read count as splicing" {
	echo "option http" >"$BOX_TMP/secret"
	chmod 600 "$BOX_TMP/secret"
	mkdir "$BOX_TMP/directory"
	chmod 755 "$BOX_TMP/directory"
	echo "  option	splice-request" >"$BOX_TMP/directory/a.cfg"
	haproxies "$BOX_TMP/directory" "$BOX_TMP/secret" /proc /proc/kmsg /nowhere
	load_within 15 --no-guard
	output_has "because it reads with splice(2): haproxy (pid " "and all of $(box_root)/c0"
	assert_not_known c1
	assert_not_known c2
	assert_not_known c3
	assert_not_known c4
	assert_redirected
}

# Where it is started there are files of his by the names of root's commands and libraries.
@test "haproxy: nothing that is where it was started is run, or read as a library" {
	mkdir -m 777 "$BOX_TMP/his"
	printf '#!/bin/bash\nid -u >%q\nexit 1\n' "$BOX_TMP/his/ran" >"$BOX_TMP/his/setpriv"
	chmod 755 "$BOX_TMP/his/setpriv"
	echo "no library" >"$BOX_TMP/his/libcap-ng.so.0"
	echo "# no option" >"$BOX_TMP/his/plain.cfg"
	cgroup_up c0
	stranger c0 '
os.chdir(sys.argv[3])
server = listen()
name(b"haproxy")
time.sleep(120)' -f . "$BOX_TMP/his"
	box_within 15 env -C / PATH=":.:$PATH" LD_LIBRARY_PATH=":/usr/local/lib" "$ROOT/load.sh" \
		--quiet --no-guard
	[[ ! -e $BOX_TMP/his/ran ]]
	output_lacks haproxy
}

@test "haproxy: its arguments and its words are read as it reads them" {
	local words n=0
	echo "option http" >"$BOX_TMP/plain.cfg"
	for words in 'option "splice-auto"' 'option spl\ice-request' 'option $WHAT' \
		'no comment # option splice-auto' 'option splice\x2dauto' '"${LINES[*]}"' '${LINE}'; do
		echo " $words" >"$BOX_TMP/$n.cfg"
		n=$((n + 1))
	done
	haproxies "$BOX_TMP"/[0-6].cfg
	cgroup_up rest
	stranger rest '
server = listen()
name(b"haproxy")
time.sleep(120)' -f "$BOX_TMP/plain.cfg" -- "$BOX_TMP/plain.cfg" "$BOX_TMP/0.cfg"
	cgroup_up other
	stranger other '
server = listen()
name(b"haproxy")
time.sleep(120)' -f "$BOX_TMP/plain.cfg" -fz "$BOX_TMP/0.cfg"
	load_within 15 --no-guard
	for n in c0 c1 c2 c4 c5 c6 rest other; do
		output_has "and all of $(box_root)/$n"
	done
	output_lacks "$(box_root)/c3"
}

@test "haproxy: a file of the same path where it was started is not taken for one of the root" {
	echo "option http" >"$BOX_TMP/plain.cfg"
	echo "option splice-auto" >"$BOX_TMP/splices.cfg"
	mkdir -p "$BOX_TMP/$BOX_TMP"
	cp "$BOX_TMP/plain.cfg" "$BOX_TMP/$BOX_TMP/splices.cfg"
	cgroup_up mixed
	stranger mixed '
os.chdir(sys.argv.pop(1))
server = listen()
name(b"haproxy")
time.sleep(120)' "$BOX_TMP" -f plain.cfg -f "$BOX_TMP/splices.cfg"
	load_within 15 --no-guard
	output_has "and all of $(box_root)/mixed"
}

@test "haproxy: one that has changed its root is judged by what its parent sees" {
	local how
	for how in plain splices; do
		cgroup_up "$how"
		printf '%s\n' global ' chroot /var/empty' defaults ' mode tcp' ' timeout connect 1s' \
			' timeout client 1s' \
			' timeout server 1s' 'listen a' " bind 127.0.0.1:$((7001 + ${#how}))" ' server b 127.0.0.1:7000' >"$BOX_TMP/$how.cfg"
	done
	sed -i 's/ mode tcp/&\n option splice-auto/' "$BOX_TMP/splices.cfg"
	in_box mkdir -p /var/empty
	for how in plain splices; do
		in_cgroup "$how" bash -c 'haproxy -db -f "$1"; exit' bash "$BOX_TMP/$how.cfg" >/dev/null 2>&1 \
			3>&- &
		wait_until 10 HAProxy listens $((7001 + ${#how}))
	done
	run -0 load_pair --quiet --no-guard
	output_has "because it reads with splice(2): haproxy (pid " "and all of $(box_root)/splices"
	output_lacks "$(box_root)/plain"
}

# 4 MiB in each of 12 files: the first of the stranger's processes is looked at, and then root's
# one.
# bats test_tags=long
@test "haproxy: many of one user do not use up the time in which another one's is judged" {
	local n
	mkdir "$BOX_TMP/his" "$BOX_TMP/own"
	chmod 755 "$BOX_TMP/his" "$BOX_TMP/own"
	yes "# no option" | head -c 4194304 >"$BOX_TMP/his/1.cfg"
	for n in {2..12}; do
		ln "$BOX_TMP/his/1.cfg" "$BOX_TMP/his/$n.cfg"
	done
	echo "# no option" >"$BOX_TMP/own/plain.cfg"
	cgroup_up his
	cgroup_up own
	stranger his '
server = listen()
for _ in range(40):
    if not os.fork():
        break
name(b"haproxy")
time.sleep(120)' -f "$BOX_TMP/his"
	local STRANGER=(env) # root's
	stranger own '
server = listen()
name(b"haproxy")
time.sleep(120)' -f "$BOX_TMP/own"
	load_within 20 --no-guard
	output_lacks "$(box_root)/own"
}

# An argument costs the user a byte, and bash a hundred.
@test "haproxy: one with more arguments than are looked at counts as splicing" {
	echo "# no option" >"$BOX_TMP/plain.cfg"
	cgroup_up c0
	stranger c0 '
server = listen()
server.set_inheritable(True)
os.execv(sys.executable, [sys.executable, "-c", "import ctypes, time\n"
    "ctypes.CDLL(None).prctl(15, b\"haproxy\", 0, 0, 0)\nprint(1, flush=True)\ntime.sleep(120)"]
    + sys.argv[1:] + [""] * 100000)' -f "$BOX_TMP/plain.cfg"
	wait_until 10 "its arguments" has_lines 2 "$BOX_TMP/out.$STRANGERS"
	load_within 15 --no-guard
	assert_not_known c0
}

# Where a user's many cgroups leave no place for its own, and where it has none of its own.
# bats test_tags=long,beside
@test "haproxy: one that splices, and cannot be excluded by cgroup, stays on TCP with all its connections" {
	local how
	echo "option splice-auto" >"$BOX_TMP/splices.cfg"
	for how in many attached; do
		cgroup_up user
		if [[ $how == many ]]; then
			cgroup_up own
			pastas 4100 user
		fi
		STRANGER=(env)
		stranger "$([[ $how != many ]] || echo own)" '
server = listen()
name(b"haproxy")
time.sleep(120)' -f "$BOX_TMP/splices.cfg"
		load_within 20 --no-guard
		output_has "stays on TCP, whenever it is started: any program called haproxy"
		in_box python3 - <<-'END'
			import ctypes, socket
			server = socket.create_server(("127.0.0.1", 0))
			ctypes.CDLL(None).prctl(15, b"haproxy", 0, 0, 0)
			client = socket.create_connection(server.getsockname())
			client.send(b"q")
		END
		have_want "redirected messages, $how" "$(counter redirected_messages)" -eq 0
		have_want "refused" "$(counter refused_program)" -eq 1
		unload_pair
	done
}

# It would come back in another cgroup.
@test "haproxy: a user's one hides none of the system's that is in the same cgroup" {
	local stranger=("${STRANGER[@]}")
	echo "option splice-auto" >"$BOX_TMP/splices.cfg"
	echo "option http" >"$BOX_TMP/plain.cfg"
	STRANGER=(env)
	haproxies "$BOX_TMP/plain.cfg" "$BOX_TMP/splices.cfg"
	STRANGER=("${stranger[@]}")
	stranger c1 '
server = listen()
name(b"haproxy")
time.sleep(120)' -f "$BOX_TMP/splices.cfg"
	load_within 15 --no-guard
	output_has "stays on TCP, whenever it is started: any program called haproxy"
}

# A user's own one, in his own cgroup, is no reason.
@test "haproxy: a user's one that splices puts no other one on TCP" {
	cgroup_up c0
	echo "option splice-auto" >"$BOX_TMP/splices.cfg"
	haproxies "$BOX_TMP/splices.cfg"
	load_within 15 --no-guard
	output_has "$(box_root)/c0; until it is started again"
	output_lacks "whenever it is started"
}

# A setuid program, as chsh is, has root's uid while it runs.
@test "haproxy: nor does what runs as root for a user who has logged in" {
	[[ -e /proc/self/loginuid ]] || skip "no CONFIG_AUDIT here"
	cgroup_up c0
	echo "option splice-auto" >"$BOX_TMP/splices.cfg"
	STRANGER=(bash -c 'echo 1000 >/proc/self/loginuid; exec "$@"' -)
	haproxies "$BOX_TMP/splices.cfg"
	load_within 15 --no-guard
	output_has "$(box_root)/c0; until it is started again"
	output_lacks "whenever it is started"
}

@test "numbers: of many programs without a cgroup of their own some are named" {
	for _ in {1..12}; do
		stranger . 'name(b"pasta"); print("ready", flush=True); time.sleep(60)'
	done
	load_within 15 --no-guard
	have_want "of them named" "$(grep -c "pasta (pid [0-9]*) has no cgroup that could be excluded" <<<"$output")" -eq 8
	output_has "nor have 4 more; to see them all: ps -C pasta"
}

# docker_proxy PROGRAM...: a docker-proxy that one connection talks to.
docker_proxy() {
	cp "$PAIR" "$BOX_TMP/docker-proxy"
	PAIR=$BOX_TMP/docker-proxy serve "$BOX_TMP/port" in_cgroup proxy -- talk
}

# bats test_tags=long
@test "what starts while load.sh is at work stays on TCP as well" {
	local step
	cp "$PAIR" "$BOX_TMP/docker-proxy"
	for step in "cgroup attach" "prog attach"; do
		cgroup_up "proxy"
		rm -f "$BOX_TMP/port"
		fake bpftool '
			if [[ "$*" == "'"$step"'"*sock* ]]; then
				( echo $BASHPID >"'"$(box_root)"'/proxy/cgroup.procs"
				exec "'"$BOX_TMP"'/docker-proxy" talk serve >"'"$BOX_TMP"'/port" 2>/dev/null 3>&- ) &
				for _ in {1..200}; do [[ -s "'"$BOX_TMP"'/port" ]] && break; sleep 0.05; done
			fi
			exec "$REAL" "$@"'
		run -0 with_fakes "$ROOT/load.sh" --quiet --no-guard
		output_has "stays on TCP, because it reads with splice(2): docker-proxy (pid " \
			"and all of $(box_root)/proxy"
		in_box "$PAIR" --port "$(<"$BOX_TMP/port")" talk call
		have_want "redirected messages" "$(counter redirected_messages)" -eq 0
		assert_redirected
		unload_pair
	done
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

# bats test_tags=long
@test "output that nobody takes stops nothing" {
	local how
	for how in '>/dev/full' '2>/dev/full' '| head -n 1' '2>&1 | head -n 1' '>&- 2>&-'; do
		run -0 in_box bash -c "set -o pipefail; '$ROOT/load.sh' --quiet $how"
		have_want "loaded, $how" "$(in_box "$ROOT/status.sh" --json | jq .loaded)" = true
		unload_pair
	done
	# And an undo goes to its end.
	fail_at '"prog attach"*'
	run ! with_fakes bash -c "'$ROOT/load.sh' >/dev/full 2>&1"
	assert_no_pins
	have_want "programs of the cgroup" "$(in_box bpftool cgroup show "$(box_root)")" = ""
}

@test "numbers: a million descriptors do not hold it up, nor hide anything" {
	cgroup_up user
	cgroup_up proxy
	cgroup_up maker
	stranger user '
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
name(b"pasta")
first = socket.create_server(("127.0.0.1", 0))
for _ in range(min(most - 100, 10000)):
    os.dup(first.fileno())
libc.unshare(0)
for _ in range(100):
    if not libc.syscall({"x86_64": 56, "aarch64": 220}[os.uname().machine], 0x400 | 17, 0, 0, 0, 0):
        libc.prctl(1, 9)
        while True: time.sleep(100)
print("ready", flush=True)
time.sleep(120)'
	# A listener that another one has made, as systemd.
	in_cgroup maker /usr/bin/python3 -c '
import ctypes, os, socket, time
server = socket.create_server(("127.0.0.1", 0))
open("'"$(box_root)"'/proxy/cgroup.procs", "w").write(str(os.getpid()))
ctypes.CDLL(None).prctl(15, b"docker-proxy", 0, 0, 0)
open("'"$BOX_TMP"'/made", "w").write("made")
time.sleep(120)' 3>&- &
	wait_until 10 "the listener" test -s "$BOX_TMP/made"
	load_within 15 --no-guard
	output_has "docker-proxy (pid " "and all of $(box_root)/maker"
	[[ $output == *"docker-proxy (pid "*"and all of $(box_root)/proxy"* ]]
	have_want "cgroups" "$(in_box "$ROOT/status.sh" --json | jq '.exclude_cgroups | length')" -eq 3
	assert_redirected
}

# pastas COUNT PATH: so many cgroups below that one, with a listener each, of one program.
pastas() {
	local STRANGER=(env) # root's
	stranger user '
name(b"pasta")
resource.setrlimit(resource.RLIMIT_NOFILE, (10000, 10000))
kept = []
for n in range(int(sys.argv[1])):
    path = "%s/%d" % (sys.argv[2], n)
    os.mkdir(path)
    open(path + "/cgroup.procs", "w").write("0")
    kept.append(listen())
time.sleep(120)' "$1" "$(box_root)/$2"
	wait_until 60 "the last one" has_lines "$1" "$BOX_TMP/out.$STRANGERS"
}

# bats test_tags=long
@test "numbers: many cgroups of two users leave room for those of others, and exclude nothing else" {
	local n
	cgroup_up genuine
	cgroup_up system/app/genuine
	cp "$(command -v sleep)" "$BOX_TMP/docker-proxy"
	in_cgroup genuine "$BOX_TMP/docker-proxy" 120 3>&- &
	in_cgroup system/app/genuine "$BOX_TMP/docker-proxy" 120 3>&- &
	cgroup_up system/app/other
	for n in {1..70}; do
		cgroup_up "user/one/$n"
		cgroup_up "user/two/$n"
	done
	chown -R 65534 "$BOX_CGROUP/user" # delegated to him
	stranger user '
for path in sys.argv[1:]:
    if not os.fork():
        open(path + "/cgroup.procs", "w").write("0")
        name(b"docker-proxy")
        print("ready", flush=True)
        time.sleep(120)
os.wait()' "$(box_root)"/user/{one,two}/{1..70}
	wait_until 10 "the last one" has_lines 140 "$BOX_TMP/out.1"
	load_within 15 --no-guard
	output_lacks "whatever listens already"
	output_has "docker-proxy (pid " "and all of $(box_root)/genuine" \
		"and so do the cgroups of 134 more: docker-proxy; status.sh --json lists them"
	have_want "cgroups" "$(in_box "$ROOT/status.sh" --json | jq -c '.exclude_cgroups |
		length, (map(select(contains("genuine"))) | sort)' | paste -sd ' ')" = \
		"142 [\"$(box_root)/genuine\",\"$(box_root)/system/app/genuine\"]"
	assert_redirected
	in_cgroup system/app/other "$PAIR" talk
	have_want "redirected messages, with the neighbour's" "$(counter redirected_messages)" -eq 400
}

# 40 levels, below which there are 70, and one whose path has more than 3,000 bytes.
@test "numbers: cgroups below many others take no place, and hold nothing up" {
	local deep=user$(printf '/d%.0s' {1..40}) long=user n
	for n in {1..15}; do
		long+=/$(printf '%0200d' "$n")
	done
	cgroup_up genuine
	cgroup_up "$long"
	for n in {1..70}; do
		cgroup_up "$deep/$n"
	done
	cp "$(command -v sleep)" "$BOX_TMP/docker-proxy"
	chown -R 65534 "$BOX_CGROUP/user" # delegated to him
	stranger user '
name(b"pasta")
kept = []
for path in sys.argv[1:]:
    open(path + "/cgroup.procs", "w").write("0")
    kept.append(listen())
    if len(kept) == 70 and not os.fork():
        name(b"haproxy")
        time.sleep(120)
time.sleep(120)' "$(box_root)/$deep"/{1..70} "$(box_root)/$long"
	wait_until 10 "the last one" has_lines 71 "$BOX_TMP/out.$STRANGERS"
	in_cgroup genuine "$BOX_TMP/docker-proxy" 120 3>&- &
	load_within 15 --no-guard
	output_lacks "is not excluded"
	output_has "docker-proxy (pid " "and all of $(box_root)/genuine"
	[[ $output == *"pasta (pid "*", and all cgroups as deep as its own"* ]]
	have_want "bytes" "${#output}" -le 10000
	box_within 10 "$ROOT/status.sh" --json
	# The long one by its number.
	have_want "cgroups" "$(jq -c '.exclude_cgroups | map(sub("^[0-9]+$"; "N"))' <<<"$output")" = \
		"[\"$(box_root)/genuine\",\"N\"]"
	assert_redirected
	in_cgroup "$deep/1" "$PAIR" talk
	have_want "redirected, with that below" "$(counter redirected_messages)" -eq 200
}

@test "numbers: cgroups are looked for level by level, so that none is behind many of a user" {
	local depths
	cgroup_up a/b/c
	cgroup_up z
	depths=$(in_box bash -c '. "$1/lib/cgroups.sh"; bash -c "$FIND_CGROUPS" bash "$2" 64' bash "$ROOT" "$(box_root)" |
		sed "s,^[0-9]* $(box_root),,; s,[^/],,g" | while read -r slashes; do echo "${#slashes}"; done | paste -sd ' ')
	have_want "levels" "$depths" = "0 1 1 2 3"
}

# Each path has 900 bytes that are not shown as they are.
# bats test_tags=long
@test "numbers: 3,000 cgroups with long names make no list long, and take no time" {
	local long=user
	long+=/$(printf '\001%.0s' {1..220})/$(printf '\002%.0s' {1..220})/$(printf '\003%.0s' {1..220})/$(printf '\004%.0s' {1..220})
	cgroup_up "$long"
	pastas 3000 "$long"
	load_within 10 --no-guard
	have_want "bytes" "${#output}" -le 10000
	output_has "and so do the cgroups of 2992 more: pasta"
	box_within 10 "$ROOT/status.sh"
	have_want "bytes" "${#output}" -le 10000
	box_within 10 "$ROOT/status.sh" --json
	have_want "cgroups" "$(jq '.exclude_cgroups | length' <<<"$output")" -eq 3000
	have_want "bytes" "${#output}" -le 200000
	assert_redirected
}

# It may be the last to close a socket that lingers, and waits as long.
@test "a list that does not end is ended, and no process stays" {
	fake cat '[[ $1 != */sock_ops_* ]] || exec sleep 300; exec "$REAL" "$@"'
	run -0 with_fakes "$ROOT/load.sh" --quiet --no-guard
	output_has "not all programs could be looked at"
	wait_until 5 "the readers to end" no_reader
}

no_reader() {
	! grep -qx sleep.300. < <(find "$BOX_CGROUP" -name cgroup.procs -exec cat {} + | while read -r pid; do
		tr '\0' . <"/proc/$pid/cmdline"
		echo
	done 2>/dev/null)
}

# bats test_tags=long
@test "where it takes too long to look at all programs, all that listens stays on TCP" {
	local how said before
	cgroup_up other
	# What comes before the end of the time is no list of what listens.  No signal ends it.
	fake cat '[[ $1 != */sock_ops_running ]] || { sleep 60 & wait; }; exec "$REAL" "$@"'
	for how in late refused; do
		PAIR=$PAIR serve "$BOX_TMP/port" in_cgroup other -- talk
		before=$SECONDS
		run -0 with_fakes "$ROOT/load.sh" --quiet --no-guard
		have_want "seconds" $((SECONDS - before)) -le $((25 * SLOWNESS))
		output_has "as not all programs could be looked at: whatever listens already" loaded
		said=$output
		run -0 in_box "$ROOT/status.sh"
		output_has "on TCP       whatever listened already"
		in_box "$PAIR" --port "$(<"$BOX_TMP/port")" talk call
		have_want "redirected messages, $how" "$(counter redirected_messages)" -eq 0
		assert_redirected # of one that listens from now on
		unload_pair
		rm "$BOX_TMP/bin/cat" 2>/dev/null || true
		fail_at '*sock_ops_running*'
	done
	[[ $said == *injected* ]]
}

# Tables of descriptors that are large, empty, and shared by thousands of processes.
# bats test_tags=long,beside
@test "a list that no signal ends is not waited for, however long it is" {
	local before
	load_pair --quiet
	hold_many 1 0
	fake cat '[[ $1 != */sock_ops_open-* ]] || { "$REAL" "$@"; yes "$(printf %0200d 0)" | head -c 30000000; sleep 60 & wait; }; exec "$REAL" "$@"'
	before=$SECONDS
	run -0 with_fakes "$ROOT/status.sh" --json
	output_has "not all sockets are listed" '"all_listed":false,"map":'
	have_want "seconds" $((SECONDS - before)) -le $((30 * SLOWNESS))
	before=$SECONDS
	run with_fakes "$ROOT/unload.sh" --timeout 1 # 1 where lists of the map are refused
	have_want "seconds" $((SECONDS - before)) -le $((30 * SLOWNESS))
	assert_no_pins
}

# As the kernel prints it for more sockets than it remembers, which many processes hold.
@test "a list that has each socket again and again is no longer for it" {
	load_pair --quiet
	hold_many 5 0
	fake cat '"$REAL" "$@"; [[ $1 != */sock_ops_open-* ]] || for _ in {1..20}; do "$REAL" "$@" | sed 1d; done'
	run -0 with_fakes bash -c '
		set -euo pipefail
		HERE=$1
		for part in common maps lists; do
			. "$HERE/lib/$part.sh"
		done
		iterate "$OPEN"
		end_lists' list "$ROOT"
	have_want "lines" "$(grep -c . <<<"$output")" -ge 11
	have_want "records that it has again" \
		"$(awk '{ print $(NF - 1) }' <<<"$output" | sort | uniq -d)" = ""
	exec 8>&-
}

@test "3,000 mounts: no script reads the list of them again and again" {
	local before
	in_box python3 - "$BOX_TMP" <<-'END'
		import ctypes, sys
		mount = ctypes.CDLL(None).mount
		here = sys.argv[1].encode()
		for _ in range(3000):
		    assert mount(here, here, b"", 4096, None) == 0  # MS_BIND
	END
	before=$SECONDS
	load_pair --quiet
	load_pair --reload --quiet
	in_box "$ROOT/status.sh"
	unload_pair
	have_want "seconds" $((SECONDS - before)) -le $((25 * SLOWNESS))
}
